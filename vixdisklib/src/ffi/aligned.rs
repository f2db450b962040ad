//! Memory that starts on a page boundary.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A buffer of bytes that begins at a multiple of 4 KiB, as unbuffered transports want (HotAdd, SAN); zeroed when made.
pub struct AlignedBuf {
    start: NonNull<u8>,
    length: usize,
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
            return Some(AlignedBuf { start: NonNull::dangling(), length });
        }
        // SAFETY: the layout is not of size zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Some(AlignedBuf { start, length })
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
        // with length zero.
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
        if self.length == 0 {
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
