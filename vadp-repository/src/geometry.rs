//! How a disk is cut into chunks and pages, see docs/repository-format.md, "Terms".

use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::page::PAGE_SLOTS;
use crate::format::point::page_count;

/// The cut of one disk. `capacity` is at least 1 and its pages are fewer than 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    capacity: u64,
    chunk_size: u32,
}

impl Geometry {
    pub(crate) fn new(capacity: u64, chunk_size: u32) -> Result<Self> {
        match capacity > 0 && u32::try_from(page_count(capacity, chunk_size)).is_ok() {
            true => Ok(Self { capacity, chunk_size }),
            false => Err(Error::invalid(format!("a disk cannot have {capacity} bytes"))),
        }
    }

    pub(crate) fn capacity(self) -> u64 {
        self.capacity
    }

    pub(crate) fn chunk_size(self) -> u32 {
        self.chunk_size
    }

    pub(crate) fn chunks(self) -> u64 {
        self.capacity.div_ceil(u64::from(self.chunk_size))
    }

    pub(crate) fn pages(self) -> u32 {
        // `new` has checked that they fit.
        u32::try_from(page_count(self.capacity, self.chunk_size)).unwrap_or(u32::MAX)
    }

    /// The bytes of a chunk on the disk.
    pub(crate) fn bytes_of(self, chunk: u64) -> Result<Range<u64>> {
        if chunk >= self.chunks() {
            let message =
                format!("chunk {chunk} is beyond the end of the disk, which has {} chunks", self.chunks());
            return Err(Error::invalid(message));
        }
        let start = chunk * u64::from(self.chunk_size);
        Ok(start..(start.saturating_add(u64::from(self.chunk_size))).min(self.capacity))
    }

    /// Bytes of a chunk.
    pub(crate) fn len_of(self, chunk: u64) -> Result<usize> {
        let bytes = self.bytes_of(chunk)?;
        // A chunk has at most 4 MiB.
        Ok((bytes.end - bytes.start) as usize)
    }

    /// The bytes of a page on the disk.
    pub(crate) fn bytes_of_page(self, page: u32) -> Range<u64> {
        let size = PAGE_SLOTS as u64 * u64::from(self.chunk_size);
        let start = u64::from(page).saturating_mul(size).min(self.capacity);
        start..start.saturating_add(size).min(self.capacity)
    }

    /// Slots of a page that are chunks of the disk.
    pub(crate) fn slots_of(self, page: u32) -> usize {
        let first = u64::from(page) * PAGE_SLOTS as u64;
        self.chunks().saturating_sub(first).min(PAGE_SLOTS as u64) as usize
    }
}

/// Page and slot of a chunk index that is within a disk.
pub(crate) fn page_and_slot(chunk: u64) -> (u32, usize) {
    let slots = PAGE_SLOTS as u64;
    (u32::try_from(chunk / slots).unwrap_or(u32::MAX), (chunk % slots) as usize)
}
