//! Which parts of a disk are allocated.

use super::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{Block, bindings};
use crate::log;
use crate::units::{SectorRange, Sectors};
use crate::wire::Request;

const OPERATION: &str = "ask for the allocated blocks of";
/// The smallest chunk that may be asked for gives the sharpest answer.
const CHUNK: u64 = bindings::VDDK_CHUNK_MIN as u64;
/// Sectors that one query may cover: 32 GiB.
const WINDOW: u64 = bindings::VDDK_CHUNKS_PER_QUERY as u64 * CHUNK;

/// The answer to a question for allocated blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocatedBlocks {
    /// Allocated runs: ascending, apart from each other, within the range asked for.
    pub ranges: Vec<SectorRange>,
    /// Whether the library knew. Otherwise `ranges` is all that was asked for, because every sector may hold data.
    pub known: bool,
}

impl Disk {
    /// The parts of `range` that hold data; the rest reads as zeros, unless the disk was opened as a single link, where the
    /// rest is what the parent holds.
    ///
    /// The answer is exact to 64 KiB, and the last, incomplete 64 KiB of a disk always count as allocated. Where library, host
    /// or datastore cannot tell, everything does. Whether it can is found out once for each disk. A large disk takes a
    /// moment: ask for large ranges.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] past the end of the disk; what the library reports when it could tell before and fails now;
    /// [`ErrorKind::Failed`] when its answer makes no sense.
    pub fn allocated_blocks(&self, range: SectorRange) -> Result<AllocatedBlocks> {
        if range.end() > self.capacity() {
            let text = format!("sector {} is not within {}", range.end().0, self.capacity());
            return Err(Error::new(ErrorKind::OutOfRange, OPERATION, text).with_subject(self.path()));
        }
        if range.is_empty() {
            return Ok(AllocatedBlocks { ranges: Vec::new(), known: true });
        }
        if !self.knows_allocation()? {
            return Ok(AllocatedBlocks { ranges: vec![range], known: false });
        }
        let askable = self.capacity().0 / CHUNK * CHUNK;
        let mut ranges = Merged::within(range);
        let mut start = range.start().0 / CHUNK * CHUNK;
        let end = range.end().0.div_ceil(CHUNK).saturating_mul(CHUNK).min(askable);
        while start < end {
            let count = (end - start).min(WINDOW);
            let blocks: Vec<Block> = self.call(OPERATION, self.query(start, count))?;
            for block in blocks {
                ranges.push(self.checked(block, start, count)?);
            }
            start += count;
        }
        if let Some(tail) = SectorRange::between(Sectors(askable), self.capacity()) {
            ranges.push(tail);
        }
        Ok(AllocatedBlocks { ranges: ranges.list, known: true })
    }

    /// Asks for the first chunk. A host that cannot tell fails, and floods the log with warnings while it does: so once.
    fn knows_allocation(&self) -> Result<bool> {
        if let Some(known) = self.allocation.get() {
            return Ok(*known);
        }
        if self.capacity().0 < CHUNK {
            return Ok(false);
        }
        let mark = log::mark();
        let known = match self.engine().call::<Vec<Block>>(self.query(0, CHUNK)) {
            Ok(_) => true,
            Err(error) => {
                let error = self.error(OPERATION, error, mark);
                // A lost connection says nothing about what the host can do.
                if error.is_connection_lost() || error.kind() == ErrorKind::Closed {
                    return Err(error);
                }
                tracing::debug!(%error, "every sector will count as allocated");
                false
            }
        };
        Ok(*self.allocation.get_or_init(|| known))
    }

    fn query(&self, start: u64, count: u64) -> Request {
        Request::AllocatedBlocks { disk: self.number, start, count, chunk: CHUNK }
    }

    /// The library's numbers are not taken on trust.
    fn checked(&self, block: Block, start: u64, count: u64) -> Result<SectorRange> {
        SectorRange::new(Sectors(block.offset), Sectors(block.length))
            .filter(|range| range.start().0 >= start && range.end().0 <= start + count)
            .ok_or_else(|| {
                let text = format!(
                    "it answered {} sectors at {}, outside the {count} at {start} that were asked for",
                    block.length, block.offset
                );
                Error::new(ErrorKind::Failed, OPERATION, text).with_subject(self.path())
            })
    }
}

/// Runs that are clipped and joined as they arrive in ascending order.
struct Merged {
    clip: SectorRange,
    list: Vec<SectorRange>,
}

impl Merged {
    fn within(clip: SectorRange) -> Merged {
        Merged { clip, list: Vec::new() }
    }

    fn push(&mut self, range: SectorRange) {
        let mut start = range.start().max(self.clip.start());
        let mut end = range.end().min(self.clip.end());
        if let Some(last) = self.list.last() {
            // Overlap and disorder would be the library's mistake; joining is harmless, listing a sector twice is not.
            if start <= last.end() {
                start = last.start();
                end = end.max(last.end());
                if let Some(joined) = SectorRange::between(start, end) {
                    self.list.pop();
                    self.list.push(joined);
                }
                return;
            }
        }
        if let Some(part) = SectorRange::between(start, end).filter(|part| !part.is_empty()) {
            self.list.push(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> SectorRange {
        SectorRange::between(Sectors(start), Sectors(end)).unwrap()
    }

    #[test]
    fn runs_are_clipped_and_joined() {
        let mut merged = Merged::within(range(100, 1000));
        for (start, end) in [(0, 50), (64, 128), (128, 256), (512, 640), (640, 2000), (2000, 3000)] {
            merged.push(range(start, end));
        }
        assert_eq!(merged.list, [range(100, 256), range(512, 1000)]);
    }
}
