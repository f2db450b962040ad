//! A disk as it is, against a restore point: chunk by chunk, by keyed digests, without reading the repository's data.

use bytes::Bytes;
use vadp_repository::StoredDisk;

use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::pipeline::{chunk_range, read_pieces};
use crate::transport::DiskSource;

/// What is allocated in the window now, and the chunks of it that either the disk or the restore point holds, in rising
/// order. All others are zero on both sides.
pub(crate) async fn chunks_of_interest(
    disk: &dyn DiskSource,
    reader: &dyn StoredDisk,
    window: ByteRange,
) -> Result<(Extents, Vec<u64>), Error> {
    let chunk_size = u64::from(reader.chunk_size());
    let allocated = disk.allocated(window).await?;
    let mut chunks: Vec<u64> = allocated.chunks(chunk_size).collect();
    let context = |e| Error::repository("reading the map of the restore point", e);
    let here = window.start() / chunk_size..window.end().div_ceil(chunk_size);
    chunks.extend(reader.chunks(here).await.map_err(context)?);
    chunks.sort_unstable();
    chunks.dedup();
    Ok((allocated, chunks))
}

/// The chunk as it is on the disk; `None` when nothing of it is allocated.
pub(crate) async fn current(
    disk: &dyn DiskSource,
    reader: &dyn StoredDisk,
    allocated: &Extents,
    chunk: u64,
) -> Result<(ByteRange, Option<Bytes>), Error> {
    let range = range_of(reader, chunk)?;
    let pieces: Vec<ByteRange> = allocated.within(range).collect();
    let read = read_pieces(disk, range, &pieces).await?;
    Ok((range, read.map(|(data, _)| data)))
}

/// The bytes of a chunk.
pub(crate) fn range_of(reader: &dyn StoredDisk, chunk: u64) -> Result<ByteRange, Error> {
    chunk_range(chunk, u64::from(reader.chunk_size()), reader.capacity())
        .ok_or_else(|| Error::new(ErrorKind::RestorePoint, format!("chunk {chunk} is behind the disk")))
}

/// Whether the bytes are those of the restore point, by their keyed digest. `None` stands for zeros.
pub(crate) async fn matches(
    reader: &dyn StoredDisk,
    chunk: u64,
    current: Option<&Bytes>,
) -> Result<bool, Error> {
    let context = |e| Error::repository(format!("comparing chunk {chunk} with the restore point"), e);
    match current {
        Some(data) => reader.matches(chunk, data).await.map_err(context),
        None => Ok(reader.chunks(chunk..chunk + 1).await.map_err(context)?.is_empty()),
    }
}
