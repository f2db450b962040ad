//! The only place where disk bytes move in bulk: chunk by chunk, with a bounded number in flight.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use vadp_repository::ChunkSink;

use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::progress::{Event, Phase, Report};
use crate::transport::DiskSource;

/// Chunks that are being read at a time. With the repository's own budget behind it, memory is bounded whatever the
/// disk's size.
pub(crate) const READ_AHEAD: usize = 6;

/// Allocation is asked for in windows of this many bytes, so that a fragmented disk of any size takes little memory.
pub(crate) const WINDOW: u64 = 32 << 30;

/// Which part of a disk is to be copied.
pub(crate) enum Scope {
    /// All that is allocated.
    Allocated,
    /// The chunks that hold any of these bytes.
    Changed(Extents),
}

impl Scope {
    /// Bytes that a copy will read: the allocated parts of the chunks in question.
    pub(crate) async fn to_read(&self, source: &dyn DiskSource, chunk_size: u64) -> Result<u64, Error> {
        let mut total = 0;
        for window in windows(source.capacity()) {
            let Some(wanted) = self.wanted(window, chunk_size, source.capacity()) else { continue };
            let allocated = source.allocated(window).await?;
            total += allocated.intersection(&wanted).length();
        }
        Ok(total)
    }

    /// What of a window is wanted, rounded to whole chunks; `None` when nothing is, and then nothing is asked of the disk.
    fn wanted(&self, window: ByteRange, chunk_size: u64, capacity: u64) -> Option<Extents> {
        let wanted: Extents = match self {
            Self::Allocated => [window].into_iter().collect(),
            Self::Changed(changed) => {
                let here: Extents = changed.within(window).collect();
                here.chunks(chunk_size).filter_map(|chunk| chunk_range(chunk, chunk_size, capacity)).collect()
            }
        };
        (!wanted.is_empty()).then_some(wanted)
    }
}

/// Copies a disk into the repository. Returns the number of bytes that were read.
///
/// # Errors
/// When a read or a write fails: then nothing of the disk may be committed.
pub(crate) async fn copy(
    source: &dyn DiskSource,
    scope: &Scope,
    writer: &mut dyn ChunkSink,
    key: i32,
    total: u64,
    report: &Report<'_>,
) -> Result<u64, Error> {
    let chunk_size = u64::from(writer.chunk_size());
    let capacity = source.capacity();
    let mut copied = 0;
    for window in windows(capacity) {
        let Some(wanted) = scope.wanted(window, chunk_size, capacity) else { continue };
        let allocated = source.allocated(window).await?;
        // A full backup has no parent: what is not allocated is absent, and absent is zero. In an incremental one it has to
        // be said, since the parent may hold something else.
        let chunks: Box<dyn Iterator<Item = u64> + Send> = match scope {
            Scope::Allocated => Box::new(allocated.chunks(chunk_size)),
            Scope::Changed(_) => Box::new(wanted.chunks(chunk_size)),
        };
        let reads = chunks.filter_map(|chunk| {
            let range = chunk_range(chunk, chunk_size, capacity)?;
            let pieces: Vec<ByteRange> = allocated.within(range).collect();
            Some(async move { read_pieces(source, range, &pieces).await.map(|data| (chunk, data)) })
        });
        let mut reads = futures::stream::iter(reads).buffered(READ_AHEAD);
        while let Some((chunk, data)) = reads.try_next().await? {
            let stored = match data {
                Some((data, read)) => {
                    copied += read;
                    writer.put(chunk, data).await
                }
                None => writer.put_zero(chunk),
            };
            stored.map_err(|e| Error::repository(format!("storing chunk {chunk} of disk {key}"), e))?;
            report.tell(Event::DiskProgress { key, phase: Phase::Backup, done: copied, total });
        }
    }
    Ok(copied)
}

/// Reads the given pieces of a range and fills the rest with zeros. `None` when there are no pieces. With the bytes comes
/// how many of them were read.
pub(crate) async fn read_pieces(
    source: &dyn DiskSource,
    range: ByteRange,
    pieces: &[ByteRange],
) -> Result<Option<(Bytes, u64)>, Error> {
    if pieces.is_empty() {
        return Ok(None);
    }
    if pieces == [range] {
        let data = read_exactly(source, range).await?;
        return Ok(Some((data, range.length())));
    }
    let mut chunk = BytesMut::zeroed(usize_of(range.length())?);
    let mut read = 0;
    for piece in pieces {
        let data = read_exactly(source, *piece).await?;
        let at = usize_of(piece.start() - range.start())?;
        if let Some(place) = chunk.get_mut(at..at + data.len()) {
            place.copy_from_slice(&data);
        }
        read += piece.length();
    }
    Ok(Some((chunk.freeze(), read)))
}

async fn read_exactly(source: &dyn DiskSource, range: ByteRange) -> Result<Bytes, Error> {
    let data = source.read(range).await?;
    if data.len() as u64 == range.length() {
        return Ok(data);
    }
    let context = format!(
        "{} bytes came where {} were asked for, at byte {}",
        data.len(),
        range.length(),
        range.start()
    );
    Err(Error::new(ErrorKind::ShortRead, context))
}

/// The windows of a disk.
pub(crate) fn windows(capacity: u64) -> impl Iterator<Item = ByteRange> + Send {
    (0..capacity.div_ceil(WINDOW))
        .filter_map(move |n| ByteRange::new(n * WINDOW, ((n + 1) * WINDOW).min(capacity)))
}

/// The bytes of a chunk; the last may be shorter.
pub(crate) fn chunk_range(chunk: u64, chunk_size: u64, capacity: u64) -> Option<ByteRange> {
    let start = chunk.checked_mul(chunk_size)?;
    ByteRange::new(start, start.saturating_add(chunk_size).min(capacity))
}

fn usize_of(length: u64) -> Result<usize, Error> {
    usize::try_from(length)
        .map_err(|e| Error::new(ErrorKind::ShortRead, "a chunk beyond the address space").because(e))
}
