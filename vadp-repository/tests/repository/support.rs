//! A store in memory that can be made to fail, and data to store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;
use vadp_repository::{
    Chunk, ChunkStore, DiskMap, DiskReader, DiskSpec, Error, ErrorKind, InitOptions, Limits, MachineId,
    ObjectName, PointDraft, Repository, RestorePoint, Result, Secret, StoreFuture, StoredObject,
};

/// The smallest chunk that a repository may have: tests move fewer bytes.
pub const CHUNK: usize = 256 * 1024;

/// Objects in memory. Creates can be made to fail from a certain one on.
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
    creates: AtomicUsize,
    /// Creates from this number on (from 0) fail.
    fail_from: usize,
    failure: Failure,
    /// Signalled when a create hangs.
    pub hung: Notify,
}

/// How creates fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// They answer with an error and store nothing.
    Refuse,
    /// The first one stores its object and answers with an error all the same.
    LoseAnswer,
    /// They never answer and store nothing, as when the machine stops.
    Hang,
    /// The first one stores its object, and none ever answers.
    HangAfterStore,
}

impl MemoryStore {
    pub fn new() -> Arc<Self> {
        Self::failing(BTreeMap::new(), usize::MAX, Failure::Refuse)
    }

    pub fn failing(objects: BTreeMap<String, Bytes>, fail_from: usize, failure: Failure) -> Arc<Self> {
        let (objects, creates, hung) = (Mutex::new(objects), AtomicUsize::new(0), Notify::new());
        Arc::new(Self { objects, creates, fail_from, failure, hung })
    }

    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap()
    }

    pub fn creates(&self) -> usize {
        self.creates.load(Ordering::SeqCst)
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        self.objects().keys().filter(|name| name.starts_with(&prefix)).cloned().collect()
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects();
        let mut bytes = objects[name].to_vec();
        change(&mut bytes);
        objects.insert(name.to_owned(), bytes.into());
    }
}

impl ChunkStore for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let number = self.creates.fetch_add(1, Ordering::SeqCst);
            let stores_and_fails = matches!(self.failure, Failure::LoseAnswer | Failure::HangAfterStore);
            if number < self.fail_from || (number == self.fail_from && stores_and_fails) {
                let mut objects = self.objects();
                if objects.contains_key(name.as_str()) {
                    return Err(Error::new(ErrorKind::AlreadyExists, format!("{name} exists")));
                }
                objects.insert(name.as_str().to_owned(), data);
            }
            if number >= self.fail_from && matches!(self.failure, Failure::Hang | Failure::HangAfterStore) {
                self.hung.notify_one();
                std::future::pending::<()>().await;
            }
            match number < self.fail_from {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Store, "the power has gone")),
            }
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            match self.objects().get(name.as_str()) {
                None => Err(Error::new(ErrorKind::NotFound, format!("no {name}"))),
                Some(object) if object.len() as u64 > limit => {
                    Err(Error::new(ErrorKind::Damaged, "too large"))
                }
                Some(object) => Ok(object.clone()),
            }
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let object = self.objects().get(name.as_str()).cloned();
            let object = object.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no {name}")))?;
            let size = object.len() as u64;
            Ok(object.slice(range.start.min(size) as usize..range.end.min(size) as usize))
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(async move {
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let objects = self.objects();
            let inside = objects.iter().filter(|(name, _)| name.starts_with(&prefix));
            Ok(inside
                .map(|(name, bytes)| StoredObject {
                    name: name.clone(),
                    size: bytes.len() as u64,
                    modified: UNIX_EPOCH,
                })
                .collect())
        })
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.objects().remove(name.as_str());
            Ok(())
        })
    }

    fn sweep(&self, _before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(async { Ok(0) })
    }
}

pub fn secret() -> Secret {
    Secret::raw_key([7; 32])
}

pub fn machine(name: &str) -> MachineId {
    MachineId::new(name).unwrap()
}

/// Small packs, so that a small backup has several.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.pack_bytes = 1 << 20;
    limits.in_flight_bytes = 4 << 20;
    limits
}

pub async fn init(store: &Arc<MemoryStore>) -> Repository {
    let mut options = InitOptions::with_chunk_size(CHUNK as u32);
    options.limits = limits();
    Repository::init(Arc::clone(store) as Arc<dyn ChunkStore>, &secret(), options).await.unwrap()
}

pub async fn open(store: &Arc<MemoryStore>) -> Result<Repository> {
    Repository::open_with(Arc::clone(store) as Arc<dyn ChunkStore>, &secret(), limits()).await
}

/// Incompressible bytes.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Compressible bytes.
pub fn prose(seed: u64, length: usize) -> Bytes {
    (0..).flat_map(|line: u64| format!("line {line} of text {seed}\n").into_bytes()).take(length).collect()
}

/// A disk in memory: chunk index to bytes; absent chunks are zero.
pub type Image = BTreeMap<u64, Bytes>;

/// Writes one disk "disk" of these chunks and commits.
pub async fn back_up(
    repo: &Repository,
    name: &str,
    capacity: u64,
    chunks: &Image,
    parent: Option<&DiskMap>,
) -> Result<RestorePoint> {
    let writer = repo.begin(PointDraft::new(machine(name))).await?;
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: capacity };
    let mut disk = writer.disk(spec, parent)?;
    for (chunk, data) in chunks {
        disk.put(*chunk, data.clone()).await?;
    }
    disk.finish().await?;
    writer.commit(Bytes::from(format!("metadata of {name}")), BTreeMap::new()).await
}

/// Compares every chunk of a disk with an image.
pub async fn compare(disk: &DiskReader, image: &Image) -> Result<()> {
    for chunk in 0..disk.map().chunk_count() {
        let expected = image.get(&chunk).map_or(Chunk::Zero, |data| Chunk::Data(data.clone()));
        assert!(disk.read_chunk(chunk).await? == expected, "chunk {chunk} differs");
    }
    Ok(())
}
