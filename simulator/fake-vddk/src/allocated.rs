//! Queries of allocated blocks, with the strict rules of the real library.

use sim_store::SECTOR;

use crate::code::{Answer, Code};
use crate::disk::OpenDisk;
use crate::strict::{self, Rule};

const CHUNK_MIN: u64 = 128;
const CHUNK_MAX: u64 = 131_072;
const CHUNKS: u64 = 524_288;

/// The allocated runs of a window, (start, length) in sectors, whole chunks, ascending, joined.
///
/// Start and count must be multiples of the chunk, the chunk lie within its bounds, and the window be neither too long nor
/// past the disk's end.
pub(crate) fn query(disk: &OpenDisk, start: u64, count: u64, chunk: u64) -> Answer<Vec<(u64, u64)>> {
    disk.faults().suffer("QueryAllocatedBlocks", &disk.path)?.settle()?;
    let fits = (CHUNK_MIN..=CHUNK_MAX).contains(&chunk)
        && start.is_multiple_of(chunk)
        && count.is_multiple_of(chunk)
        && count > 0
        && count / chunk <= CHUNKS;
    if !fits {
        strict::broken(
            Rule::QueryAlignment,
            format_args!("{count} sectors from {start} on in chunks of {chunk} were asked for"),
        );
        return Err(Code::INVALID_ARG);
    }
    if start.checked_add(count).is_none_or(|end| end > disk.sectors()) {
        return Err(Code::OUT_OF_RANGE);
    }
    let extents = disk.content.allocated(start * SECTOR, count * SECTOR)?;
    let step = chunk * SECTOR;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (offset, length) in extents {
        let from = offset / step * chunk;
        let to = (offset + length).div_ceil(step) * chunk;
        match runs.last_mut() {
            Some((last, length)) if from <= *last + *length => *length = (to - *last).max(*length),
            _ => runs.push((from, to - from)),
        }
    }
    Ok(runs)
}
