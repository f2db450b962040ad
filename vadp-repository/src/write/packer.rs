//! Fills packs, one at a time, and hands the full ones to the store.

use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::crypto::{Content, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::CHUNK_SIZES;
use crate::format::header::ObjectKind;
use crate::format::pack::{Encoded, PackBuilder, PackRecord};
use crate::ids::PackId;
use crate::repository::{Shared, blocking, pack_name};

/// Page packs are closed at this size, in bytes.
const PAGE_PACK_BYTES: usize = 16 << 20;

/// A packer for chunks, and one for pages.
pub(crate) struct Packers {
    data: Arc<Mutex<Packer>>,
    pages: Arc<Mutex<Packer>>,
}

impl Packers {
    pub(crate) fn new(shared: &Shared) -> Self {
        let packer = |content, kind| Packer::new(kind, full_pack_bytes(shared, content));
        Self {
            data: packer(Content::Data, ObjectKind::DataPack),
            pages: packer(Content::Page, ObjectKind::PagePack),
        }
    }

    /// Seals a chunk or page into the open pack of its kind. Gives the bytes it takes there, and the record of the pack that was stored to
    /// make room.
    pub(crate) async fn append(
        &self,
        shared: &Arc<Shared>,
        content: Content,
        chunk: Encoded,
    ) -> Result<(u32, Option<PackRecord>)> {
        let packer = match content {
            Content::Data => &self.data,
            Content::Page => &self.pages,
        };
        Packer::append(packer, shared, chunk).await
    }

    /// Stores the open packs.
    pub(crate) async fn flush(&self, shared: &Arc<Shared>) -> Result<Vec<PackRecord>> {
        let mut records = self.flush_data(shared).await?;
        records.extend(Packer::flush(&self.pages, shared).await?);
        Ok(records)
    }

    /// Stores the open pack of chunks.
    pub(crate) async fn flush_data(&self, shared: &Arc<Shared>) -> Result<Vec<PackRecord>> {
        Packer::flush(&self.data, shared).await
    }
}

/// Size at which a pack is closed, in bytes.
pub(crate) fn full_pack_bytes(shared: &Shared, content: Content) -> usize {
    let pack_bytes = shared.limits.pack_bytes as usize;
    match content {
        Content::Data => pack_bytes,
        Content::Page => PAGE_PACK_BYTES.min(pack_bytes),
    }
}

/// The buffer of a pack that was stored, for the next one: to take new memory from the system costs as much as to encipher what goes
/// into it.
type Spare = Arc<std::sync::Mutex<Vec<u8>>>;

/// A pack that is being stored. Its buffer comes back when the store has done with it.
struct Lent {
    bytes: Vec<u8>,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *lock(&self.spare) = bytes;
    }
}

fn lock(spare: &Spare) -> MutexGuard<'_, Vec<u8>> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Packs of one kind: one is filled while the one before is stored. When that takes longer, appends wait: memory is bounded to two pack
/// buffers, and to the bytes in flight that the limits allow.
struct Packer {
    kind: ObjectKind,
    target: usize,
    open: Option<Box<PackBuilder>>,
    spare: Spare,
    /// At most one. What is dropped is broken off.
    storing: JoinSet<Result<PackRecord>>,
}

impl Packer {
    fn new(kind: ObjectKind, target: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            kind,
            target,
            open: None,
            spare: Spare::default(),
            storing: JoinSet::new(),
        }))
    }

    /// Seals a chunk into the open pack. Gives the bytes it takes there, and the record of a pack that has been stored meanwhile. The
    /// error of a pack comes out of a later call.
    async fn append(
        packer: &Arc<Mutex<Self>>,
        shared: &Arc<Shared>,
        chunk: Encoded,
    ) -> Result<(u32, Option<PackRecord>)> {
        let mut packer = Arc::clone(packer).lock_owned().await;
        let is_full =
            packer.open.as_ref().is_some_and(|pack| pack.len() + chunk.stored_len() > packer.target);
        let stored = if is_full { packer.close(shared).await? } else { None };
        let shared = Arc::clone(shared);
        let bytes = blocking(move || packer.open(&shared)?.append(&chunk));
        Ok((bytes.await?, stored))
    }

    /// Stores the open pack, if there is one, and waits for all.
    async fn flush(packer: &Arc<Mutex<Self>>, shared: &Arc<Shared>) -> Result<Vec<PackRecord>> {
        let mut packer = packer.lock().await;
        let before = packer.close(shared).await?;
        let last = packer.stored().await?;
        Ok(before.into_iter().chain(last).collect())
    }

    fn open(&mut self, shared: &Shared) -> Result<&mut PackBuilder> {
        let pack = match self.open.take() {
            Some(pack) => pack,
            None => {
                let id = PackId::from_bytes(random()?);
                let header = shared.new_header(self.kind)?;
                let mut buffer = std::mem::take(&mut *lock(&self.spare));
                // Data packs get full, so their buffer is made once; page packs are mostly small and grow.
                if self.kind == ObjectKind::DataPack {
                    buffer.reserve(self.target.saturating_add(*CHUNK_SIZES.end() as usize));
                }
                Box::new(PackBuilder::new(id, header, &shared.keyring(), buffer)?)
            }
        };
        Ok(self.open.insert(pack))
    }

    /// Begins to store the open pack, when the one before is stored.
    async fn close(&mut self, shared: &Arc<Shared>) -> Result<Option<PackRecord>> {
        let before = self.stored().await?;
        if let Some(pack) = self.open.take() {
            let (shared, spare) = (Arc::clone(shared), Arc::clone(&self.spare));
            self.storing.spawn(async move {
                let (record, bytes) = blocking(move || pack.finish()).await?;
                let object = Bytes::from_owner(Lent { bytes, spare });
                shared.store.create(&pack_name(record.pack)?, object).await?;
                Ok(record)
            });
        }
        Ok(before)
    }

    /// Waits for the pack that is being stored.
    async fn stored(&mut self) -> Result<Option<PackRecord>> {
        match self.storing.join_next().await {
            None => Ok(None),
            Some(Ok(stored)) => stored.map(Some),
            Some(Err(source)) => {
                let message = "a pack was not stored to its end, so this restore point cannot be completed";
                Err(Error::new(ErrorKind::Incomplete, message).with_source(source))
            }
        }
    }
}
