//! An open repository, and what its parts share.

mod keys;
pub(crate) mod lease;
pub(crate) mod load;
mod names;
mod open;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::buffers::Buffers;
use crate::codec::Codec;
use crate::crypto::{Digests, Keyring, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::Config;
use crate::format::header::{ObjectHeader, ObjectKind};
use crate::format::index::IndexObject;
use crate::format::pack::PackRecord;
use crate::ids::{IndexId, KeySlotId, RepositoryId};
use crate::index::{Index, IndexCache};
use crate::read::ahead::ChunkCache;
use crate::secret::Secret;
use crate::store::{ChunkStore, LocalStore};

pub use keys::{KeyRotation, KeySlotInfo, KeySlotKind};
pub(crate) use keys::{open_by, seal_slot};
pub(crate) use names::*;

/// How much memory and how many threads a repository may use in this process. Not stored.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of chunks on their way into packs, over all writers of this repository: 4 MiB to 1 GiB, 64 MiB by
    /// default. To this comes one open data pack and one open page pack for each [`PointWriter`](crate::PointWriter).
    pub in_flight_bytes: u32,
    /// Most threads that hash, compress and decompress at a time; the number of cores by default, at least 1.
    pub workers: usize,
    /// Size at which a data pack is closed: 1 MiB to 1 GiB, 64 MiB by default.
    pub pack_bytes: u32,
    /// Most bytes of chunks that [`DiskReader::read_at`](crate::DiskReader::read_at) and what is built on it keep, over all disks: 64 MiB by
    /// default, and four chunks at least. To this come 24 chunks that are on
    /// their way, and at most 64 MiB of memory that is kept for the chunks that follow.
    pub cache_bytes: u32,
    /// Time from looking for marks of a prune to the end of the commit after which a backup looks again; 5 minutes, which is well below
    /// the shortest grace period. For tests with shorter ones.
    #[doc(hidden)]
    pub commit_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            in_flight_bytes: 64 << 20,
            workers,
            pack_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            commit_window: Duration::from_secs(300),
        }
    }
}

/// How a repository is opened.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Memory and threads.
    pub limits: Limits,
    /// A folder of this machine for a copy of the index, which is made if need be: for repositories of many terabytes, and for stores that
    /// answer slowly. The index then takes less than 8 bytes of memory for each chunk instead of 50, and is not read from the store again. Any number of
    /// processes and repositories may share the folder. What is in it is sealed, is believed only as far as the store says the same, and
    /// may be deleted at any time. None by default.
    pub index_cache: Option<PathBuf>,
    /// Entries up to which an index is not worth a file; 65,536. For tests with fewer.
    #[doc(hidden)]
    pub small_index: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), index_cache: None, small_index: 1 << 16 }
    }
}

impl From<Limits> for OpenOptions {
    fn from(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}

impl OpenOptions {
    /// The options with a folder for the index.
    #[must_use]
    pub fn index_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.index_cache = Some(folder.into());
        self
    }
}

/// What is fixed when a repository is made.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitOptions {
    /// Bytes of a chunk: a power of two from 256 KiB to 4 MiB, 1 MiB by default.
    pub chunk_size: u32,
    /// Memory and threads of the repository that `init` returns.
    pub limits: Limits,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { chunk_size: 1 << 20, limits: Limits::default() }
    }
}

impl InitOptions {
    /// The defaults with another chunk size.
    pub fn with_chunk_size(chunk_size: u32) -> Self {
        Self { chunk_size, ..Self::default() }
    }
}

/// An open repository. Clones are cheap and share the index, the memory budget and the workers.
///
/// All methods need a tokio runtime. Any number of tasks, processes and machines may read and write at the same time.
#[derive(Clone)]
pub struct Repository {
    pub(crate) shared: Arc<Shared>,
}

impl Repository {
    /// Makes a repository in an empty store.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when the store holds a repository or foreign objects;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a bad chunk size or limit.
    pub async fn init(store: Arc<dyn ChunkStore>, secret: &Secret, options: InitOptions) -> Result<Self> {
        open::init(store, secret, options).await
    }

    /// Opens a repository with the default [`OpenOptions`].
    ///
    /// # Errors
    /// [`NotARepository`](ErrorKind::NotARepository), [`WrongKey`](ErrorKind::WrongKey),
    /// [`UnsupportedFormat`](ErrorKind::UnsupportedFormat), or [`Damaged`](ErrorKind::Damaged) when config, key slot or an index object
    /// cannot be trusted.
    pub async fn open(store: Arc<dyn ChunkStore>, secret: &Secret) -> Result<Self> {
        Self::open_with(store, secret, OpenOptions::default()).await
    }

    /// Opens a repository, with [`OpenOptions`] or just with [`Limits`]; errors as in [`open`](Self::open).
    pub async fn open_with(
        store: Arc<dyn ChunkStore>,
        secret: &Secret,
        options: impl Into<OpenOptions>,
    ) -> Result<Self> {
        open::open(store, secret, options.into()).await
    }

    /// Makes a repository in a local directory, which is created if need be and must be empty; errors as in
    /// [`init`](Self::init).
    pub async fn init_local(path: impl AsRef<Path>, secret: &Secret, options: InitOptions) -> Result<Self> {
        Self::init(Arc::new(LocalStore::create(path)?), secret, options).await
    }

    /// Opens a repository in a local directory; errors as in [`open`](Self::open), and
    /// [`NotARepository`](ErrorKind::NotARepository) when the directory does not exist.
    pub async fn open_local(path: impl AsRef<Path>, secret: &Secret) -> Result<Self> {
        let store = LocalStore::open(&path).map_err(|error| match error.is_not_found() {
            true => {
                let message = format!("{} does not exist, so it is no repository", path.as_ref().display());
                Error::new(ErrorKind::NotARepository, message).with_source(error)
            }
            false => error,
        })?;
        Self::open(Arc::new(store), secret).await
    }

    /// The repository's name for ever.
    pub fn id(&self) -> RepositoryId {
        self.shared.config.repository
    }

    /// Bytes of a chunk.
    pub fn chunk_size(&self) -> u32 {
        self.shared.config.chunk_size
    }

    /// When the repository was made, by the clock of its maker.
    pub fn created(&self) -> SystemTime {
        crate::time::from_micros(self.shared.config.created)
    }

    /// Where the repository is, for messages.
    pub fn location(&self) -> String {
        self.shared.store.describe()
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, location) = (self.id(), self.location());
        f.debug_struct("Repository").field("id", &id).field("location", &location).finish_non_exhaustive()
    }
}

/// The keyring, and the slot out of which it came.
struct OpenKeys {
    keyring: Arc<Keyring>,
    slot: KeySlotId,
}

impl OpenKeys {
    fn new(keyring: Keyring, slot: KeySlotId) -> Self {
        Self { keyring: Arc::new(keyring), slot }
    }
}

/// What everything that works on an open repository shares.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ChunkStore>,
    pub(crate) config: Config,
    keys: RwLock<OpenKeys>,
    /// An index object that is beyond this keyring or program, and why.
    beyond: RwLock<Option<(ErrorKind, String)>>,
    pub(crate) digests: Digests,
    pub(crate) codec: Codec,
    /// What chunks are opened and decoded into.
    pub(crate) buffers: Buffers,
    pub(crate) limits: Limits,
    /// Bytes on their way into packs.
    pub(crate) in_flight: Arc<Semaphore>,
    /// Chunks that were read lately.
    pub(crate) cache: ChunkCache,
    workers: Arc<Semaphore>,
    index: RwLock<Index>,
    /// What the index has beside what is stored; only where packs are looked for.
    unnamed: Option<(IndexId, IndexObject)>,
    pub(crate) index_cache: Option<Arc<IndexCache>>,
    /// Entries of the index that are in memory at once beside it, when packs are gone through.
    pub(crate) rows_at_once: usize,
}

impl Shared {
    fn new(store: Arc<dyn ChunkStore>, config: Config, keys: OpenKeys, options: OpenOptions) -> Self {
        let OpenOptions { limits, index_cache, small_index } = options;
        let index_cache = index_cache
            .map(|folder| Arc::new(IndexCache::new(&folder, small_index, config.repository, &keys.keyring)));
        let cache = ChunkCache::new(limits.cache_bytes, config.chunk_size);
        Self {
            store,
            config,
            cache,
            digests: keys.keyring.digests(),
            keys: RwLock::new(keys),
            beyond: RwLock::default(),
            codec: Codec::new(),
            buffers: Buffers::default(),
            limits,
            in_flight: Arc::new(Semaphore::new(limits.in_flight_bytes as usize)),
            workers: Arc::new(Semaphore::new(limits.workers)),
            index: RwLock::new(Index::new(index_cache.clone())),
            index_cache,
            rows_at_once: small_index.saturating_mul(16),
            unnamed: None,
        }
    }

    /// The same repository with an index of its own, in which there are packs that no index object names. No backup may build on it.
    pub(crate) fn detached(&self, unnamed: Vec<PackRecord>) -> Result<Arc<Self>> {
        let keys = OpenKeys { keyring: self.keyring(), slot: self.own_slot() };
        let mut detached = Self::new(Arc::clone(&self.store), self.config, keys, self.limits.into());
        detached.rows_at_once = self.rows_at_once;
        if !unnamed.is_empty() {
            let (id, object) =
                (IndexId::from_bytes(random()?), IndexObject { supersedes: Vec::new(), packs: unnamed });
            detached.index_mut().add(id, &object)?;
            detached.unnamed = Some((id, object));
        }
        Ok(Arc::new(detached))
    }

    /// What objects are sealed with. A rotation of keys replaces it by one that holds more.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).keyring)
    }

    /// The key slot that has opened the repository here.
    fn own_slot(&self) -> KeySlotId {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).slot
    }

    fn set_keys(&self, keys: OpenKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        *self.beyond.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that an index object is beyond this keyring or program.
    pub(crate) fn note_beyond(&self, kind: ErrorKind, why: String) {
        *self.beyond.write().unwrap_or_else(PoisonError::into_inner) = Some((kind, why));
    }

    /// The kind of the error that says so, if there is such an object.
    pub(crate) fn beyond(&self) -> Option<ErrorKind> {
        self.beyond.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(kind, _)| *kind)
    }

    /// Fails when the index has objects that are beyond this keyring or program, so that it cannot be said what is in the repository.
    pub(crate) fn require_all(&self) -> Result<()> {
        match &*self.beyond.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((kind, why)) => Err(Error::new(*kind, why)),
        }
    }

    /// Reads the index. The guard must not be held over an await.
    pub(crate) fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when the repository has features that this version cannot write.
    pub(crate) fn require_writable(&self) -> Result<()> {
        match self.config.writable {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::UnsupportedFormat,
                "the repository can be read but not written by this version: use a newer program",
            )),
        }
    }

    /// The header of a new object.
    pub(crate) fn new_header(&self, kind: ObjectKind) -> Result<ObjectHeader> {
        let (epoch, repository) = (self.keyring().current_epoch(), self.config.repository);
        Ok(ObjectHeader { kind, epoch, repository, salt: random()? })
    }

    /// Runs processor work on one of a bounded number of threads. Whether somebody polls the future or not, its turn passes: a caller that
    /// waits for one of many, and meanwhile for something else, would otherwise hold up everybody behind it.
    pub(crate) async fn compute<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(self);
        // What is dropped while it waits for its turn is given up.
        let mut turn = JoinSet::new();
        turn.spawn(async move {
            let permit = Arc::clone(&shared.workers).acquire_owned().await.map_err(closed)?;
            blocking(move || {
                // The permit lives as long as the work, even when nobody waits for it any more.
                let _permit = permit;
                work(&shared)
            })
            .await
        });
        let done = turn.join_next().await.map(|done| done.map_err(stopped)?);
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "processor work was never begun")))
    }
}

/// Runs work on a thread that may block.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

fn stopped(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a worker thread was stopped before its end").with_source(source)
}

pub(crate) fn closed(source: tokio::sync::AcquireError) -> Error {
    Error::new(ErrorKind::Internal, "the repository's workers are gone").with_source(source)
}
