//! A cache of what was read, in memory or in a directory of this machine.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::blocking;

/// Where a [`ReadCache`] keeps what it has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// In memory.
    Memory,
    /// In this directory, which is made if need be; what it holds from before is used. What is stored there is as sealed as in the store.
    Directory(PathBuf),
}

/// Keeps the last reads of a slower store. Objects never change, so nothing in it gets old; what has not been used for longest goes when
/// there are more bytes than it may have. Listings and failures are not kept.
///
/// Not for a deep check, which would look at the copies.
#[derive(Debug)]
pub struct ReadCache<S> {
    inner: S,
    place: CachePlace,
    state: Mutex<Lru>,
}

impl<S: ChunkStore> ReadCache<S> {
    /// Wraps a store, with at most `capacity` bytes in the cache.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) when the directory cannot be made or read.
    pub fn open(inner: S, place: CachePlace, capacity: u64) -> Result<Self> {
        let mut lru = Lru { capacity, ..Lru::default() };
        if let CachePlace::Directory(path) = &place {
            let found = adopt(path, &mut lru).map_err(|source| {
                let message = format!("cannot use {} as a cache: choose another directory", path.display());
                Error::new(ErrorKind::Store, message).with_source(source)
            })?;
            // Files that no longer fit, since the capacity is smaller than before.
            found.into_iter().for_each(|key| remove_file(path, key));
        }
        Ok(Self { inner, place, state: Mutex::new(lru) })
    }

    /// Bytes that are in the cache now.
    pub fn bytes(&self) -> u64 {
        self.state().total
    }

    async fn cached(&self, key: Key, limit: u64) -> Option<Bytes> {
        let kept = self.state().touch(&key)?;
        let bytes = match (&self.place, kept) {
            (CachePlace::Memory, kept) => kept,
            (CachePlace::Directory(path), _) => {
                let file = path.join(hex(key));
                blocking(move || Ok(read_file(&file))).await.ok().flatten()
            }
        };
        match bytes {
            Some(bytes) if bytes.len() as u64 <= limit => Some(bytes),
            Some(_) => None,
            None => {
                // Another process has taken the file away, or it has rotted.
                self.state().forget(&key);
                None
            }
        }
    }

    async fn keep(&self, key: Key, bytes: &Bytes) {
        let (size, in_memory) = (bytes.len() as u64, matches!(self.place, CachePlace::Memory));
        let evicted = self.state().insert(key, size, in_memory.then(|| bytes.clone()));
        let CachePlace::Directory(path) = &self.place else { return };
        let (path, bytes) = (path.clone(), bytes.clone());
        let is_kept = evicted.is_some();
        let written = blocking(move || {
            evicted.into_iter().flatten().for_each(|key| remove_file(&path, key));
            Ok(!is_kept || write_file(&path.join(hex(key)), &bytes).is_ok())
        });
        // A cache that cannot be written is a slow one, not a failure.
        if !written.await.unwrap_or(false) {
            tracing::debug!("a read could not be kept in the cache");
            self.state().forget(&key);
        }
    }

    fn state(&self) -> MutexGuard<'_, Lru> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: ChunkStore> ChunkStore for ReadCache<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        self.inner.create(name, data)
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let key = key_of(name, None);
            if let Some(bytes) = self.cached(key, limit).await {
                return Ok(bytes);
            }
            let bytes = self.inner.get(name, limit).await?;
            self.keep(key, &bytes).await;
            Ok(bytes)
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let key = key_of(name, Some(&range));
            if let Some(bytes) = self.cached(key, u64::MAX).await {
                return Ok(bytes);
            }
            let bytes = self.inner.get_range(name, range).await?;
            self.keep(key, &bytes).await;
            Ok(bytes)
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        self.inner.list(folder)
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.inner.remove(name).await?;
            // Ranges of it stay until they are pushed out: nobody asks for them.
            self.state().forget(&key_of(name, None));
            Ok(())
        })
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.inner.sweep(before)
    }
}

/// Digest of a name and a range.
type Key = [u8; 32];

fn key_of(name: &ObjectName, range: Option<&Range<u64>>) -> Key {
    let range = range.map_or(String::new(), |range| format!("{}..{}", range.start, range.end));
    *blake3::hash(format!("{name} {range}").as_bytes()).as_bytes()
}

fn hex(key: Key) -> String {
    blake3::Hash::from_bytes(key).to_hex().to_string()
}

/// What is kept, by last use.
#[derive(Debug, Default)]
struct Lru {
    capacity: u64,
    total: u64,
    /// Counts uses.
    clock: u64,
    entries: HashMap<Key, Kept>,
    by_use: BTreeMap<u64, Key>,
}

#[derive(Debug)]
struct Kept {
    size: u64,
    used: u64,
    /// `None` in a directory.
    bytes: Option<Bytes>,
}

impl Lru {
    /// Marks a use. The inner option is what memory holds of it.
    fn touch(&mut self, key: &Key) -> Option<Option<Bytes>> {
        let kept = self.entries.get_mut(key)?;
        self.by_use.remove(&kept.used);
        self.clock += 1;
        kept.used = self.clock;
        self.by_use.insert(self.clock, *key);
        Some(kept.bytes.clone())
    }

    /// Adds a read, and says what had to go for it; `None` when it is larger than the whole cache.
    fn insert(&mut self, key: Key, size: u64, bytes: Option<Bytes>) -> Option<Vec<Key>> {
        if size > self.capacity {
            return None;
        }
        self.forget(&key);
        self.clock += 1;
        self.entries.insert(key, Kept { size, used: self.clock, bytes });
        self.by_use.insert(self.clock, key);
        self.total += size;
        let mut evicted = Vec::new();
        while self.total > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some(kept) = self.entries.remove(&oldest) {
                self.total -= kept.size;
            }
            evicted.push(oldest);
        }
        Some(evicted)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(kept) = self.entries.remove(key) {
            self.by_use.remove(&kept.used);
            self.total -= kept.size;
        }
    }
}

/// Digest of the bytes before them: a file may be half written when the power goes, or be changed by someone else.
const CHECKSUM_BYTES: usize = 32;

/// Takes over the files of a directory, oldest first; says which ones do not fit.
fn adopt(path: &Path, lru: &mut Lru) -> std::io::Result<Vec<Key>> {
    std::fs::create_dir_all(path)?;
    let mut found = Vec::new();
    for entry in path.read_dir()? {
        let entry = entry?;
        let key = entry.file_name().to_str().and_then(|name| blake3::Hash::from_hex(name).ok());
        let Some(key) = key else { continue };
        let metadata = entry.metadata()?;
        let size = metadata.len().saturating_sub(CHECKSUM_BYTES as u64);
        found.push((metadata.modified()?, *key.as_bytes(), size));
    }
    found.sort_unstable();
    let mut gone = Vec::new();
    for (_, key, size) in found {
        gone.extend(lru.insert(key, size, None).unwrap_or_else(|| vec![key]));
    }
    Ok(gone)
}

fn read_file(file: &Path) -> Option<Bytes> {
    let content = Bytes::from(std::fs::read(file).ok()?);
    let (checksum, _) = content.split_first_chunk::<CHECKSUM_BYTES>()?;
    let bytes = content.slice(CHECKSUM_BYTES..);
    (blake3::hash(&bytes) == blake3::Hash::from_bytes(*checksum)).then_some(bytes)
}

fn write_file(file: &Path, bytes: &Bytes) -> std::io::Result<()> {
    let mut content = Vec::with_capacity(CHECKSUM_BYTES + bytes.len());
    content.extend_from_slice(blake3::hash(bytes).as_bytes());
    content.extend_from_slice(bytes);
    std::fs::write(file, content)
}

fn remove_file(path: &Path, key: Key) {
    // What cannot be removed now is taken over, and pushed out, by the next one who opens the directory.
    let _ = std::fs::remove_file(path.join(hex(key)));
}
