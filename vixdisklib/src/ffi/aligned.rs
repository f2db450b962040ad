//! Memory that starts on a page boundary.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::isolation::Region;

/// A buffer of bytes that begins at a multiple of 4 KiB, as unbuffered transports want (HotAdd, SAN).
///
/// [`AlignedBuf::zeroed`] makes one in this program's own memory. [`Disk::buffer`](crate::Disk::buffer) makes one where the
/// disk's library reads and writes without a copy.
pub struct AlignedBuf {
    start: NonNull<u8>,
    length: usize,
    /// Where the memory belongs; without it, it is the allocator's.
    region: Option<Arc<Region>>,
}

impl AlignedBuf {
    /// The alignment of every buffer, in bytes.
    pub const ALIGNMENT: usize = 4096;

    /// A buffer of `length` zero bytes. Ends the process, like any allocation of the standard library, when there is no
    /// memory; a length that no address space could hold gives `None`.
    #[must_use]
    pub fn zeroed(length: usize) -> Option<AlignedBuf> {
        let layout = Layout::from_size_align(length, Self::ALIGNMENT).ok()?;
        if length == 0 {
            return Some(AlignedBuf { start: NonNull::dangling(), length, region: None });
        }
        // SAFETY: the layout is not of size zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Some(AlignedBuf { start, length, region: None })
    }

    /// The first `length` bytes of a region that nobody else has; all of it when it is smaller. They hold what was there.
    pub(crate) fn over(region: Region, length: usize) -> AlignedBuf {
        let (start, length) = (region.mapping().start(), length.min(region.mapping().length()));
        AlignedBuf { start, length, region: Some(Arc::new(region)) }
    }

    /// The region that it lies in, if that is one. Whoever keeps it may name it to the worker, and must leave its bytes alone.
    pub(crate) fn region(&self) -> Option<&Arc<Region>> {
        self.region.as_ref()
    }

    /// The first byte, for handing to a foreign function while no slice of this buffer is alive.
    pub(super) fn as_non_null(&self) -> NonNull<u8> {
        self.start
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `length` initialised bytes, which only this value owns; a dangling start goes
        // with length zero. For bytes in a region, `shared` says why that is so.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.length == 0 || self.region.is_some() {
            return;
        }
        if let Ok(layout) = Layout::from_size_align(self.length, Self::ALIGNMENT) {
            // SAFETY: allocated in `zeroed` with this very layout, and not freed before.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.length)
    }
}

// SAFETY: the buffer owns its memory alone, like a boxed slice.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_writable() {
        for length in [0, 1, 512, 4096, 9 << 10] {
            let mut buffer = AlignedBuf::zeroed(length).unwrap();
            assert_eq!(buffer.len(), length);
            assert!(buffer.iter().all(|byte| *byte == 0));
            if length > 0 {
                assert_eq!(buffer.as_ptr() as usize % AlignedBuf::ALIGNMENT, 0);
            }
            buffer.fill(7);
            assert!(buffer.iter().all(|byte| *byte == 7));
        }
        assert!(AlignedBuf::zeroed(usize::MAX).is_none());
    }
}
