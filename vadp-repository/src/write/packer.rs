//! Fills packs, one at a time, and hands the full ones to the store.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::crypto::random;
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::CHUNK_SIZES;
use crate::format::header::ObjectKind;
use crate::format::pack::{Encoded, PackBuilder, PackRecord};
use crate::ids::PackId;
use crate::repository::{Shared, blocking, pack_name};

/// Packs of one kind: one is filled while the one before is stored. When that takes longer, appends wait: memory is bounded to two pack
/// buffers, and to the bytes in flight that the limits allow.
pub(crate) struct Packer {
    kind: ObjectKind,
    target: usize,
    open: Option<Box<PackBuilder>>,
    /// At most one. What is dropped is broken off.
    storing: JoinSet<Result<PackRecord>>,
}

impl Packer {
    pub(crate) fn new(kind: ObjectKind, target: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { kind, target, open: None, storing: JoinSet::new() }))
    }

    /// Seals a chunk into the open pack. Gives the bytes it takes there, and the record of a pack that has been stored meanwhile. The
    /// error of a pack comes out of a later call.
    pub(crate) async fn append(
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
    pub(crate) async fn flush(packer: &Arc<Mutex<Self>>, shared: &Arc<Shared>) -> Result<Vec<PackRecord>> {
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
                // Data packs get full, so their buffer is made once; page packs are mostly small and grow.
                let capacity = match self.kind {
                    ObjectKind::DataPack => self.target.saturating_add(*CHUNK_SIZES.end() as usize),
                    _ => 0,
                };
                Box::new(PackBuilder::new(id, header, &shared.keyring, capacity)?)
            }
        };
        Ok(self.open.insert(pack))
    }

    /// Begins to store the open pack, when the one before is stored.
    async fn close(&mut self, shared: &Arc<Shared>) -> Result<Option<PackRecord>> {
        let before = self.stored().await?;
        if let Some(pack) = self.open.take() {
            let shared = Arc::clone(shared);
            self.storing.spawn(async move {
                let (record, object) = blocking(move || pack.finish()).await?;
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
