//! Reading the bytes of a disk of a restore point.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::crypto::Content;
use crate::error::{Error, Result};
use crate::ids::ChunkId;
use crate::read::ahead::Streams;
use crate::read::map::{AllocatedChunks, DiskMap, MapEntry};

/// Chunks of one read that are fetched at a time.
const AT_A_TIME: usize = 8;

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
///
/// There are two ways to read it. [`read_at`](Self::read_at) is for bytes at positions: it keeps chunks that were read lately, as many as
/// [`Limits::cache_bytes`](crate::Limits::cache_bytes) allows for all disks of the repository, and reads ahead of who reads in a row.
/// [`read_chunk`](Self::read_chunk) is for whole chunks, by callers who know what they want next: it keeps nothing.
/// What need not be read since it is zero is told by [`extent`](Self::extent) and [`allocated_chunks`](Self::allocated_chunks).
#[derive(Clone)]
pub struct DiskReader {
    map: DiskMap,
    metadata: Bytes,
    streams: Arc<Streams>,
}

/// Bytes of a disk that are all there or all zero.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Where they are, half open.
    pub bytes: Range<u64>,
    /// Whether no byte is stored for them, as all are zero. Chunks of zeros are never stored, smaller runs may be.
    pub is_zero: bool,
}

/// A piece of what was read.
pub(crate) enum Piece {
    /// So many zeros.
    Zero(u64),
    /// Some bytes of a chunk, which stays in memory as long as they do.
    Data(Bytes),
}

impl DiskReader {
    pub(crate) fn new(map: DiskMap, metadata: Bytes) -> Self {
        Self { map, metadata, streams: Arc::default() }
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

    /// The first of the extents that make up the bytes `within` of the disk: as long as it can be, but not beyond `within.end`.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when `within` is empty or not within the disk; otherwise those of reading the map.
    pub async fn extent(&self, within: Range<u64>) -> Result<Extent> {
        self.map.extent(within).await
    }

    /// Fills `buf` with the bytes from `offset` on. Reads in a row fetch each chunk once, and the next ones before they are asked for.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless all of `buf` is within the disk, otherwise as
    /// [`read_chunk`](Self::read_chunk); `buf` is then filled in part.
    pub async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut pieces = std::pin::pin!(self.pieces(offset, buf.len() as u64)?);
        let mut rest = buf;
        while let Some(piece) = pieces.try_next().await? {
            let length = piece.len();
            // Pieces make up what was asked for.
            let Some((now, later)) = rest.split_at_mut_checked(length) else { break };
            match piece {
                Piece::Zero(_) => now.fill(0),
                Piece::Data(bytes) => now.copy_from_slice(&bytes),
            }
            rest = later;
        }
        Ok(())
    }

    /// The bytes from `offset` on, one piece for each chunk that they touch, without a copy.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub(crate) fn pieces(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<impl Stream<Item = Result<Piece>> + Send + '_> {
        let capacity = self.capacity();
        let Some(end) = offset.checked_add(length).filter(|&end| end <= capacity) else {
            return Err(Error::invalid(format!(
                "{length} bytes at {offset} are not within the disk's {capacity} bytes"
            )));
        };
        let size = u64::from(self.chunk_size());
        let chunks = if offset == end { 0..0 } else { offset / size..end.div_ceil(size) };
        let piece = move |chunk: u64| async move {
            let start = chunk * size;
            let (from, to) = (offset.max(start), end.min(start + size));
            let Some(bytes) = self.cached(chunk).await? else { return Ok(Piece::Zero(to - from)) };
            // The chunk has the length that its place on the disk asks for: both are within it.
            Ok(Piece::Data(bytes.slice((from - start) as usize..(to - start) as usize)))
        };
        Ok(futures::stream::iter(chunks).map(piece).buffered(AT_A_TIME))
    }

    /// A chunk through the cache; `None` when it is zero. Those that follow are fetched too if it was the next one in a row.
    async fn cached(&self, chunk: u64) -> Result<Option<Bytes>> {
        let cache = &self.map.shared().cache;
        let entry = self.map.entry(chunk).await?;
        for next in self.streams.note(chunk, cache.window()) {
            if next >= self.map.chunk_count() {
                break;
            }
            let Some(permit) = cache.may_read_ahead() else { break };
            let disk = self.clone();
            tokio::spawn(async move {
                if let Ok(MapEntry::Data(id)) = disk.map.entry(next).await {
                    let cache = &disk.map.shared().cache;
                    cache.read_ahead(id, permit, disk.fetch(next, id)).await;
                }
            });
        }
        let MapEntry::Data(id) = entry else { return Ok(None) };
        let bytes = cache.get(id, self.fetch(chunk, id)).await?;
        // It may have been fetched for another place.
        self.check_length(chunk, id, &bytes)?;
        Ok(Some(bytes))
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

impl Piece {
    /// Bytes, at most those of a chunk.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Zero(length) => *length as usize,
            Self::Data(bytes) => bytes.len(),
        }
    }
}

impl fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskReader").field("map", &self.map).finish_non_exhaustive()
    }
}
