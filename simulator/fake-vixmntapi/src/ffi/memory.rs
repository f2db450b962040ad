//! Memory that this library hands out. It comes from the C allocator, so that it may be freed from any thread.

use std::ffi::{c_char, c_void};
use std::ptr;

use vixmntapi::ffi::{MntDiskSetInfo, MntOsInfo, MntVolume, MntVolumeInfo, MntVolumeInfoEx};

use crate::code::{Answer, Code};

/// A structure whose strings go with it.
pub(super) trait Owned {
    /// All strings in it; any may be null.
    fn strings(&self) -> Vec<*mut c_char>;
}

impl Owned for MntDiskSetInfo {
    fn strings(&self) -> Vec<*mut c_char> {
        vec![self.mount_path]
    }
}

impl Owned for MntOsInfo {
    fn strings(&self) -> Vec<*mut c_char> {
        vec![self.vendor, self.edition, self.folder]
    }
}

impl Owned for MntVolumeInfo {
    fn strings(&self) -> Vec<*mut c_char> {
        vec![self.symbolic_link]
    }
}

impl Owned for MntVolumeInfoEx {
    fn strings(&self) -> Vec<*mut c_char> {
        vec![self.symbolic_link]
    }
}

/// A copy of a structure in memory of its own.
pub(super) fn new<T>(value: T) -> Answer<*mut T> {
    let memory: *mut T = zeroed(size_of::<T>())?.cast();
    // SAFETY: the memory is new, large enough, and aligned for everything.
    unsafe { memory.write(value) };
    Ok(memory)
}

/// A C copy of a text. A zero byte in it ends it early.
pub(super) fn text(text: &[u8]) -> Answer<*mut c_char> {
    let copy: *mut u8 = zeroed(text.len() + 1)?.cast();
    // SAFETY: the memory has room for the text and a zero byte, and is new, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), copy, text.len()) };
    Ok(copy.cast())
}

/// An array of handles.
pub(super) fn handles(handles: &[usize]) -> Answer<*mut MntVolume> {
    let memory: *mut MntVolume = zeroed(size_of_val(handles))?.cast();
    for (index, handle) in handles.iter().enumerate() {
        // SAFETY: the memory was made for this many handles.
        let place = unsafe { memory.add(index) };
        // SAFETY: as above.
        unsafe { place.write(ptr::without_provenance_mut(*handle)) };
    }
    Ok(memory)
}

/// Frees a structure and its strings.
///
/// # Safety
/// `value` must come from [`new`], its strings from [`text`], and none be used again.
pub(super) unsafe fn free_owned<T: Owned>(value: *mut T) {
    // SAFETY: the caller's promise.
    let strings = unsafe { (*value).strings() };
    for string in strings {
        // SAFETY: from this module, or null.
        unsafe { free(string.cast()) };
    }
    // SAFETY: from this module.
    unsafe { free(value.cast()) };
}

/// Frees memory of this module; null is fine.
///
/// # Safety
/// `memory` must be null or come from this module, and not be used again.
pub(super) unsafe fn free(memory: *mut c_void) {
    // SAFETY: the caller's promise; everything here comes from the C allocator.
    unsafe { libc::free(memory) };
}

fn zeroed(bytes: usize) -> Answer<*mut c_void> {
    // SAFETY: any size is a valid argument; one byte at least, so that null means failure.
    let memory = unsafe { libc::calloc(1, bytes.max(1)) };
    if memory.is_null() { Err(Code::OUT_OF_MEMORY) } else { Ok(memory) }
}
