//! What the writers of one restore point share: deduplication, packs, and the index objects that name them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::baseline;
use super::packer::Packers;
use crate::codec;
use crate::crypto::{Content, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::u32_of;
use crate::format::header::ObjectKind;
use crate::format::index::IndexObject;
use crate::format::pack::{Encoded, PackRecord};
use crate::format::point::PointBody;
use crate::ids::{ChunkId, IndexId, PackId};
use crate::index::Place;
use crate::repository::{Shared, index_name, load};

/// Entries after which packs that are already stored get an index object, so that an interrupted backup of many terabytes can
/// be resumed, and their entries need not be kept twice. About 0.7 MB an object.
const ENTRIES_PER_INDEX: usize = 16 * 1024;

/// The writing of one restore point.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    unusable: HashSet<PackId>,
    packers: Packers,
    /// Chunks of this run that the index does not name yet.
    claims: Mutex<HashSet<ChunkId>>,
    /// Packs that this point builds on: of earlier runs, and its own that are named in the index.
    used: Mutex<HashSet<PackId>>,
    /// Packs that are stored and not named by an index object yet.
    unindexed: tokio::sync::Mutex<Vec<PackRecord>>,
    failure: Mutex<Option<String>>,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// All its bytes are zero.
    Zero,
    /// The repository, or this run, already had it.
    Known(ChunkId),
    /// It is new and takes these bytes in a pack.
    New(ChunkId, u32),
}

/// What has to be done with a chunk.
enum Prepared {
    Done(Stored),
    New(Encoded),
}

impl Run {
    pub(super) async fn begin(shared: Arc<Shared>) -> Result<Arc<Self>> {
        load::refresh(&shared).await?;
        let unusable = baseline::unusable_packs(&shared).await?;
        Ok(Arc::new(Self {
            packers: Packers::new(&shared),
            shared,
            unusable,
            claims: Mutex::default(),
            used: Mutex::default(),
            unindexed: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
        }))
    }

    /// Stores a chunk or page, unless it is zero or there already.
    pub(super) async fn store(self: &Arc<Self>, content: Content, plain: Bytes) -> Result<Stored> {
        let run = Arc::clone(self);
        let stored = async {
            match self.shared.compute(move |_| run.prepare(content, &plain)).await? {
                Prepared::Done(stored) => Ok(stored),
                Prepared::New(chunk) => Ok(Stored::New(chunk.id, self.append(content, chunk).await?)),
            }
        };
        // Others may have relied on the claim already, so the run as a whole has failed.
        stored.await.inspect_err(|error: &Error| self.fail(error.to_string()))
    }

    /// All that keeps a processor busy, in one go: so the bytes are still in its caches for the next step.
    fn prepare(&self, content: Content, plain: &Bytes) -> Result<Prepared> {
        if codec::is_zero(plain) {
            return Ok(Prepared::Done(Stored::Zero));
        }
        let id = self.shared.digests.id(content, plain);
        if self.claim(content, id)? {
            return Ok(Prepared::Done(Stored::Known(id)));
        }
        let (encoding, bytes) = self.shared.codec.encode(plain, &self.shared.buffers)?;
        Ok(Prepared::New(Encoded { id, plain: u32_of(plain.len())?, encoding, bytes }))
    }

    /// Notes that the point builds on a stored chunk or page.
    ///
    /// # Errors
    /// `Damaged` when no pack that can be relied on holds it.
    pub(super) fn reuse(&self, content: Content, id: ChunkId) -> Result<Place> {
        let Some(place) = self.usable_place(content, id)? else {
            return Err(match self.shared.index().places(content, &id)?.first() {
                Some(place) => {
                    let message = "the parent builds on a pack that is missing, cut, or about to be pruned: back up in full";
                    Error::damaged(message).at_pack(place.pack).at_chunk(id)
                }
                None => self.shared.not_indexed(content, id),
            });
        };
        lock(&self.used).insert(place.pack);
        Ok(place)
    }

    /// Makes the commit impossible. The first reason is kept.
    pub(super) fn fail(&self, reason: String) {
        lock(&self.failure).get_or_insert(reason);
    }

    /// Stores what is still open, and names everything in the index. Afterwards the point may be written. The caller has seen
    /// that all disks are finished, so nothing can fail beside it.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<()> {
        if let Some(reason) = lock(&self.failure).as_ref() {
            let message = format!("the restore point is not committed, since a part of it failed: {reason}");
            return Err(Error::new(ErrorKind::Incomplete, message));
        }
        let records = self.packers.flush(&self.shared).await?;
        self.unindexed.lock().await.extend(records);
        self.write_index(1).await
    }

    /// Stores what is open of the data, and names it in the index: after a crash another run finds it there.
    pub(super) async fn checkpoint(self: &Arc<Self>) -> Result<()> {
        let records = self.packers.flush_data(&self.shared).await?;
        self.unindexed.lock().await.extend(records);
        self.write_index(1).await
    }

    /// Fails when something that the point needs cannot be relied on any more. See docs/repository-format.md, "Write order" step 3.
    pub(super) async fn verify(&self, body: &PointBody) -> Result<()> {
        let used = lock(&self.used).clone();
        baseline::verify(&self.shared, &used, body).await
    }

    /// Whether the chunk is there, or on its way, already. If not, the caller must store it.
    fn claim(&self, content: Content, id: ChunkId) -> Result<bool> {
        let mut claims = lock(&self.claims);
        if claims.contains(&id) {
            return Ok(true);
        }
        // Claims end after their chunks have come into the index, so looking there second misses nothing.
        match self.usable_place(content, id)? {
            Some(place) => {
                lock(&self.used).insert(place.pack);
                Ok(true)
            }
            None => {
                claims.insert(id);
                Ok(false)
            }
        }
    }

    fn usable_place(&self, content: Content, id: ChunkId) -> Result<Option<Place>> {
        let places = self.shared.index().places(content, &id)?;
        Ok(places.into_iter().find(|place| !self.unusable.contains(&place.pack)))
    }

    async fn append(self: &Arc<Self>, content: Content, chunk: Encoded) -> Result<u32> {
        let (bytes, record) = self.packers.append(&self.shared, content, chunk).await?;
        if let Some(record) = record {
            self.unindexed.lock().await.push(record);
            self.write_index(ENTRIES_PER_INDEX).await?;
        }
        Ok(bytes)
    }

    /// Names the stored packs in index objects, once they have at least `threshold` entries.
    async fn write_index(self: &Arc<Self>, threshold: usize) -> Result<()> {
        let mut unindexed = self.unindexed.lock().await;
        let entries: usize = unindexed.iter().map(|pack| pack.entries.len()).sum();
        if entries < threshold {
            return Ok(());
        }
        let id = IndexId::from_bytes(random()?);
        let object = IndexObject { supersedes: Vec::new(), packs: std::mem::take(&mut *unindexed) };
        let (object, sealed) = self
            .shared
            .compute(move |shared| {
                let header = shared.new_header(ObjectKind::Index)?;
                let sealed = object.seal(id, &header, &shared.keyring())?;
                Ok((object, sealed))
            })
            .await?;
        self.shared.store.create(&index_name(id)?, sealed.into()).await?;
        self.shared.index_mut().add(id, &object)?;
        lock(&self.used).extend(object.packs.iter().map(|pack| pack.pack));
        let mut claims = lock(&self.claims);
        object.packs.iter().flat_map(|pack| &pack.entries).for_each(|entry| _ = claims.remove(&entry.id));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
