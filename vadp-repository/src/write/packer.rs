//! Fills packs, one at a time, and hands the full ones to the store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

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
        let mut records = Vec::new();
        for packer in [&self.data, &self.pages] {
            records.extend(Packer::flush(packer, shared).await?);
        }
        Ok(records)
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

/// An open pack of one kind. While a full pack is being stored, appends wait: that is what bounds memory to one pack
/// buffer. Meanwhile other chunks are hashed and compressed, up to the bytes in flight that the limits allow.
struct Packer {
    kind: ObjectKind,
    target: usize,
    state: State,
}

enum State {
    Idle,
    Open(Box<PackBuilder>),
    /// A pack is on its way to the store. Who finds this state while holding the lock knows that storing it was broken off.
    Storing,
}

impl Packer {
    fn new(kind: ObjectKind, target: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { kind, target, state: State::Idle }))
    }

    /// Seals a chunk into the open pack. Gives the bytes it takes there, and the record of the pack that was stored to make room.
    async fn append(
        packer: &Arc<Mutex<Self>>,
        shared: &Arc<Shared>,
        chunk: Encoded,
    ) -> Result<(u32, Option<PackRecord>)> {
        let mut packer = Arc::clone(packer).lock_owned().await;
        let full = match &packer.state {
            State::Open(pack) => pack.len() + chunk.stored_len() > packer.target,
            State::Idle | State::Storing => false,
        };
        let stored = if full { packer.close(shared).await? } else { None };
        let shared = Arc::clone(shared);
        let bytes = blocking(move || {
            let pack = packer.open(&shared)?;
            pack.append(&chunk)
        });
        Ok((bytes.await?, stored))
    }

    /// Stores the open pack, if there is one.
    async fn flush(packer: &Arc<Mutex<Self>>, shared: &Arc<Shared>) -> Result<Option<PackRecord>> {
        packer.lock().await.close(shared).await
    }

    fn open(&mut self, shared: &Shared) -> Result<&mut PackBuilder> {
        if let State::Idle = self.state {
            let id = PackId::from_bytes(random()?);
            let header = shared.new_header(self.kind)?;
            // Data packs get full, so their buffer is made once; page packs are mostly small and grow.
            let capacity = match self.kind {
                ObjectKind::DataPack => self.target.saturating_add(*CHUNK_SIZES.end() as usize),
                _ => 0,
            };
            let pack = PackBuilder::new(id, header, &shared.keyring(), capacity)?;
            self.state = State::Open(Box::new(pack));
        }
        match &mut self.state {
            State::Open(pack) => Ok(pack),
            State::Idle | State::Storing => Err(broken_off()),
        }
    }

    async fn close(&mut self, shared: &Arc<Shared>) -> Result<Option<PackRecord>> {
        match std::mem::replace(&mut self.state, State::Storing) {
            State::Idle => {
                self.state = State::Idle;
                Ok(None)
            }
            State::Storing => Err(broken_off()),
            State::Open(pack) => {
                let (record, object): (PackRecord, Bytes) = blocking(move || pack.finish()).await?;
                shared.store.create(&pack_name(record.pack)?, object).await?;
                self.state = State::Idle;
                Ok(Some(record))
            }
        }
    }
}

fn broken_off() -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "a pack was not stored to its end, so this restore point cannot be completed",
    )
}
