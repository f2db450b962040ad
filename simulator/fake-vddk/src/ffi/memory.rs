//! Memory that this library hands out. It comes from the C allocator: clients free it from other threads than those that got
//! it, and some keep it after the library has been stopped.

use std::ffi::{c_char, c_void};
use std::ptr;

use vixdisklib::ffi::bindings::{VddkBlock, VddkBlockList, VddkChangeInfo, VddkGeometry, VddkInfo};

use crate::changed::Changes;
use crate::code::{Answer, Code};
use crate::disk::Info;

const OUT_OF_MEMORY: Code = Code(2);

/// Zeroed memory for `count` values.
pub(super) fn zeroed<T>(bytes: usize) -> Answer<*mut T> {
    // SAFETY: any size is a valid argument.
    let memory = unsafe { libc::calloc(1, bytes.max(size_of::<T>())) };
    if memory.is_null() { Err(OUT_OF_MEMORY) } else { Ok(memory.cast()) }
}

/// Gives memory of this module back; null is fine.
///
/// # Safety
/// `memory` must be null or come from this module, and not be used again.
pub(super) unsafe fn free(memory: *mut c_void) {
    // SAFETY: the caller's promise; everything here comes from the C allocator.
    unsafe { libc::free(memory) };
}

/// A C copy of a text. A zero byte in it ends it early.
pub(super) fn text(text: &str) -> Answer<*mut c_char> {
    let copy: *mut u8 = zeroed(text.len() + 1)?;
    // SAFETY: the memory has room for the text and a zero byte, and is new, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), copy, text.len()) };
    Ok(copy.cast())
}

/// Copies `bytes` to the client's buffer.
///
/// # Safety
/// `buffer` must be valid for writing `bytes.len()` bytes.
pub(super) unsafe fn copy_out(bytes: &[u8], buffer: *mut c_char) {
    // SAFETY: the caller's promise; our bytes are not in the client's buffer.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), bytes.len()) };
}

/// The information structure with its strings.
pub(super) fn info(info: &Info) -> Answer<*mut VddkInfo> {
    let geometry = |[cylinders, heads, sectors]: [u32; 3]| VddkGeometry { cylinders, heads, sectors };
    let optional = |value: &Option<String>| value.as_deref().map_or(Ok(ptr::null_mut()), text);
    let filled = VddkInfo {
        bios_geometry: geometry(info.bios_geometry),
        physical_geometry: geometry(info.geometry),
        capacity: info.sectors,
        adapter_type: info.adapter,
        links: info.links,
        parent_hint: optional(&info.parent)?,
        uuid: optional(&info.uuid)?,
        logical_sector_bytes: 512,
        physical_sector_bytes: 512,
    };
    let memory = zeroed::<VddkInfo>(0)?;
    // SAFETY: the memory is new and large enough.
    unsafe { memory.write(filled) };
    Ok(memory)
}

/// Frees an information structure and its strings.
///
/// # Safety
/// `info` must be null or come from [`info`](fn@info), and not be used again.
pub(super) unsafe fn free_info(info: *mut VddkInfo) {
    if info.is_null() {
        return;
    }
    // SAFETY: not null, and the caller's promise.
    let content = unsafe { info.read() };
    for part in [content.parent_hint.cast(), content.uuid.cast(), info.cast::<c_void>()] {
        // SAFETY: all three came from this module.
        unsafe { free(part) };
    }
}

/// A window of changed areas with its list.
pub(super) fn change_info(changes: &Changes) -> Answer<*mut VddkChangeInfo> {
    let areas = block_list(&changes.areas)?;
    let memory = zeroed::<VddkChangeInfo>(0).inspect_err(|_| {
        // SAFETY: the list is ours and nobody else's.
        unsafe { free(areas.cast()) }
    })?;
    // SAFETY: the memory is new and large enough.
    unsafe { memory.write(VddkChangeInfo { start: changes.start, length: changes.length, areas }) };
    Ok(memory)
}

/// Frees a window and its list.
///
/// # Safety
/// `changes` must be null or come from [`change_info`], and not be used again.
pub(super) unsafe fn free_change_info(changes: *mut VddkChangeInfo) {
    if changes.is_null() {
        return;
    }
    // SAFETY: not null, and the caller's promise.
    let content = unsafe { changes.read() };
    // SAFETY: both came from this module.
    unsafe { free(content.areas.cast()) };
    // SAFETY: as above.
    unsafe { free(changes.cast()) };
}

/// A list of blocks: as long as it has to be, which may be shorter than the structure in the header.
pub(super) fn block_list(runs: &[(u64, u64)]) -> Answer<*mut VddkBlockList> {
    let header = std::mem::offset_of!(VddkBlockList, blocks);
    let bytes = header + size_of_val(runs);
    // SAFETY: any size is a valid argument.
    let memory: *mut u8 = unsafe { libc::calloc(1, bytes) }.cast();
    if memory.is_null() {
        return Err(OUT_OF_MEMORY);
    }
    let count = u32::try_from(runs.len()).map_err(|_| Code::FAIL)?;
    // SAFETY: the count comes first.
    unsafe { memory.cast::<u32>().write(count) };
    // SAFETY: the blocks lie behind it, within the memory (one past its end when there is none).
    let first: *mut VddkBlock = unsafe { memory.add(header) }.cast();
    for (index, &(offset, length)) in runs.iter().enumerate() {
        // SAFETY: the memory was made for this many blocks.
        let place = unsafe { first.add(index) };
        // SAFETY: as above.
        unsafe { place.write(VddkBlock { offset, length }) };
    }
    Ok(memory.cast())
}
