//! Reading the bytes of a disk of a restore point.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::crypto::Content;
use crate::error::{Error, Result};
use crate::ids::ChunkId;
use crate::read::map::{AllocatedChunks, DiskMap, MapEntry};

/// The bytes of one chunk, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// All bytes are zero.
    Zero,
    /// The bytes.
    Data(Bytes),
}

/// A disk of a restore point. Clones are cheap; all methods may be called at the same time from many tasks.
/// Every byte handed out was verified against its keyed digest.
#[derive(Clone)]
pub struct DiskReader {
    map: DiskMap,
    metadata: Bytes,
    /// The chunk that [`DiskReader::read_at`] used last.
    last: Arc<Mutex<Option<(ChunkId, Bytes)>>>,
}

impl DiskReader {
    pub(crate) fn new(map: DiskMap, metadata: Bytes) -> Self {
        Self { map, metadata, last: Arc::default() }
    }

    /// The caller's name of the disk.
    pub fn key(&self) -> &str {
        self.map.disk()
    }

    /// Bytes of the disk.
    pub fn capacity(&self) -> u64 {
        self.map.capacity()
    }

    /// Bytes of a chunk; the last chunk may be shorter.
    pub fn chunk_size(&self) -> u32 {
        self.map.chunk_size()
    }

    /// The map of the disk; the parent of the next incremental backup.
    pub fn map(&self) -> &DiskMap {
        &self.map
    }

    /// The caller's metadata of the disk, as given to [`PointWriter::commit`](crate::PointWriter::commit).
    pub fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// Walks over the chunks that hold data, in rising order.
    pub fn allocated_chunks(&self) -> AllocatedChunks {
        self.map.allocated_chunks()
    }

    /// Reads and verifies a chunk. Takes about three times its size in memory while it works.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end; [`Damaged`](crate::ErrorKind::Damaged), naming pack, chunk, disk and byte range, when
    /// the bytes are missing or altered; [`Store`](crate::ErrorKind::Store).
    pub async fn read_chunk(&self, chunk: u64) -> Result<Chunk> {
        match self.map.entry(chunk).await? {
            MapEntry::Zero => Ok(Chunk::Zero),
            MapEntry::Data(id) => self.fetch(chunk, id).await.map(Chunk::Data),
        }
    }

    /// Whether `bytes` are the content of a chunk, without reading it: told by their keyed digest.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end; otherwise those of reading the map.
    pub async fn matches(&self, chunk: u64, bytes: &Bytes) -> Result<bool> {
        if bytes.len() != self.map.geometry().len_of(chunk)? {
            return Ok(false);
        }
        let entry = self.map.entry(chunk).await?;
        let bytes = bytes.clone();
        self.map
            .shared()
            .compute(move |shared| {
                Ok(match entry {
                    MapEntry::Zero => crate::codec::is_zero(&bytes),
                    MapEntry::Data(id) => shared.digests.id(Content::Data, &bytes) == id,
                })
            })
            .await
    }

    /// Fills `buf` with the bytes from `offset` on. Reads within one chunk in a row fetch it once.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless all of `buf` is within the disk, otherwise as
    /// [`read_chunk`](Self::read_chunk); `buf` is then filled in part.
    pub async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.capacity());
        if end.is_none() {
            let (length, capacity) = (buf.len(), self.capacity());
            return Err(Error::invalid(format!(
                "{length} bytes at {offset} are not within the disk's {capacity} bytes"
            )));
        }
        let size = u64::from(self.chunk_size());
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let skip = (at % size) as usize;
            let length = rest.len().min(size as usize - skip);
            let (now, later) = rest.split_at_mut(length);
            match self.map.entry(at / size).await? {
                MapEntry::Zero => now.fill(0),
                MapEntry::Data(id) => {
                    let bytes = self.fetch_cached(at / size, id).await?;
                    // `fetch` has checked that the chunk has the length that its place on the disk asks for.
                    now.copy_from_slice(&bytes[skip..skip + length]);
                }
            }
            (at, rest) = (at + length as u64, later);
        }
        Ok(())
    }

    async fn fetch_cached(&self, chunk: u64, id: ChunkId) -> Result<Bytes> {
        let cached = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, bytes)) = cached.filter(|(cached, _)| *cached == id) {
            self.check_length(chunk, id, &bytes)?;
            return Ok(bytes);
        }
        let bytes = self.fetch(chunk, id).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, bytes.clone()));
        Ok(bytes)
    }

    pub(super) async fn fetch(&self, chunk: u64, id: ChunkId) -> Result<Bytes> {
        let range = self.map.geometry().bytes_of(chunk)?;
        let bytes = self.map.shared().fetch(Content::Data, id).await;
        let bytes = bytes.map_err(|error| error.at_disk(self.key(), range))?;
        self.check_length(chunk, id, &bytes)?;
        Ok(bytes)
    }

    pub(super) fn check_length(&self, chunk: u64, id: ChunkId, bytes: &Bytes) -> Result<()> {
        let geometry = self.map.geometry();
        match bytes.len() == geometry.len_of(chunk)? {
            true => Ok(()),
            false => {
                Err(Error::damaged(format!("a chunk has {} bytes, not the length of its place", bytes.len()))
                    .at_chunk(id)
                    .at_disk(self.key(), geometry.bytes_of(chunk)?))
            }
        }
    }
}

impl fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskReader").field("map", &self.map).finish_non_exhaustive()
    }
}
