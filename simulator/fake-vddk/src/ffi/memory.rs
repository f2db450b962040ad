//! Memory that this library hands out. It comes from the C allocator: clients free it from other threads than those that got
//! it, and some keep it after the library has been stopped.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Mutex;

use vixdisklib::ffi::bindings::{VddkBlock, VddkBlockList, VddkChangeInfo, VddkGeometry, VddkInfo};

use crate::changed::Changes;
use crate::code::{Answer, Code};
use crate::disk::Info;
use crate::library::lock;
use crate::release;
use crate::strict::{self, Rule};

/// What memory is for, and so which function takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConnectParams,
    Info,
    BlockList,
    ChangeInfo,
    ErrorText,
}

/// What clients have of this library's memory, by address.
static HANDED_OUT: Mutex<BTreeMap<usize, Kind>> = Mutex::new(BTreeMap::new());

/// The client gets this memory.
pub(super) fn hand_out(kind: Kind, memory: *mut c_void) {
    lock(&HANDED_OUT).insert(memory as usize, kind);
}

/// What clients have not given back, counted.
pub(crate) fn handed_out() -> Vec<String> {
    let handed_out = lock(&HANDED_OUT);
    let kinds = [Kind::ConnectParams, Kind::Info, Kind::BlockList, Kind::ChangeInfo, Kind::ErrorText];
    let count = |kind| handed_out.values().filter(|other| **other == kind).count();
    let counts = kinds.into_iter().map(|kind| (kind, count(kind)));
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind:?} not given back"))
        .collect()
}

/// Whether the client gives back what it has, to the function for it. Null is fine, and nothing.
pub(super) fn take_back(kind: Kind, memory: *mut c_void) -> bool {
    if memory.is_null() {
        return false;
    }
    let taken = lock(&HANDED_OUT).remove(&(memory as usize));
    match taken {
        Some(taken) if taken == kind => return true,
        Some(taken) => {
            hand_out(taken, memory);
            strict::broken(
                Rule::FreeWithItsFunction,
                format_args!("{taken:?} memory was given to the function for {kind:?}"),
            );
        }
        None => strict::broken(
            Rule::FreeOnce,
            format_args!("{kind:?} memory was given back that the client does not have"),
        ),
    }
    false
}

/// Zeroed memory for `count` values.
pub(super) fn zeroed<T>(bytes: usize) -> Answer<*mut T> {
    // SAFETY: any size is a valid argument.
    let memory = unsafe { libc::calloc(1, bytes.max(size_of::<T>())) };
    if memory.is_null() { Err(Code::OUT_OF_MEMORY) } else { Ok(memory.cast()) }
}

/// Takes memory back that a client has; null is fine. What it does not have stays as it is.
///
/// # Safety
/// What was handed out under this address must not be used again.
pub(super) unsafe fn free(kind: Kind, memory: *mut c_void) {
    if take_back(kind, memory) {
        // SAFETY: the caller's promise; it comes from this module, as its presence on the list says.
        unsafe { release_memory(memory) };
    }
}

/// Gives memory of this module back to the C allocator; null is fine.
///
/// # Safety
/// `memory` must be null or come from this module, and not be used again.
pub(super) unsafe fn release_memory(memory: *mut c_void) {
    // SAFETY: the caller's promise; everything here comes from the C allocator.
    unsafe { libc::free(memory) };
}

/// A text for the client, about an error.
pub(super) fn error_text(text_of_error: &str) -> Answer<*mut c_char> {
    let copy = text(text_of_error)?;
    hand_out(Kind::ErrorText, copy.cast());
    Ok(copy)
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

/// What lies behind the end of structures of older releases.
pub(super) const BEHIND: u32 = 0xA5A5_A5A5;

/// The information structure with its strings.
pub(super) fn info(info: &Info) -> Answer<*mut VddkInfo> {
    let geometry = |[cylinders, heads, sectors]: [u32; 3]| VddkGeometry { cylinders, heads, sectors };
    let optional = |value: &Option<String>| value.as_deref().map_or(Ok(ptr::null_mut()), text);
    // Older structures end before these fields. Whoever reads them nevertheless shall not find what it hopes for.
    let sector_bytes = if release::current().has_sector_sizes() { info.sector_bytes } else { BEHIND };
    let filled = VddkInfo {
        bios_geometry: geometry(info.bios_geometry),
        physical_geometry: geometry(info.geometry),
        capacity: info.sectors,
        adapter_type: info.adapter,
        links: info.links,
        parent_hint: optional(&info.parent)?,
        uuid: optional(&info.uuid)?,
        logical_sector_bytes: sector_bytes,
        physical_sector_bytes: sector_bytes,
    };
    let memory = zeroed::<VddkInfo>(0)?;
    // SAFETY: the memory is new and large enough.
    unsafe { memory.write(filled) };
    hand_out(Kind::Info, memory.cast());
    Ok(memory)
}

/// Frees an information structure and its strings.
///
/// # Safety
/// `info` must be null or come from [`info`](fn@info), and not be used again.
pub(super) unsafe fn free_info(info: *mut VddkInfo) {
    if !take_back(Kind::Info, info.cast()) {
        return;
    }
    // SAFETY: one of this module's, and the caller's promise.
    let content = unsafe { info.read() };
    for part in [content.parent_hint.cast(), content.uuid.cast(), info.cast::<c_void>()] {
        // SAFETY: all three came from this module.
        unsafe { release_memory(part) };
    }
}

/// A window of changed areas with its list.
pub(super) fn change_info(changes: &Changes) -> Answer<*mut VddkChangeInfo> {
    let areas = block_list(&changes.areas)?;
    let memory = zeroed::<VddkChangeInfo>(0).inspect_err(|_| {
        // SAFETY: the list is ours and nobody else's.
        unsafe { release_memory(areas.cast()) }
    })?;
    // SAFETY: the memory is new and large enough.
    unsafe { memory.write(VddkChangeInfo { start: changes.start, length: changes.length, areas }) };
    hand_out(Kind::ChangeInfo, memory.cast());
    Ok(memory)
}

/// Frees a window and its list.
///
/// # Safety
/// `changes` must be null or come from [`change_info`], and not be used again.
pub(super) unsafe fn free_change_info(changes: *mut VddkChangeInfo) {
    if !take_back(Kind::ChangeInfo, changes.cast()) {
        return;
    }
    // SAFETY: one of this module's, and the caller's promise.
    let content = unsafe { changes.read() };
    // SAFETY: both came from this module.
    unsafe { release_memory(content.areas.cast()) };
    // SAFETY: as above.
    unsafe { release_memory(changes.cast()) };
}

/// A list of blocks: as long as it has to be, which may be shorter than the structure in the header.
pub(super) fn block_list(runs: &[(u64, u64)]) -> Answer<*mut VddkBlockList> {
    let header = std::mem::offset_of!(VddkBlockList, blocks);
    let bytes = header + size_of_val(runs);
    // SAFETY: any size is a valid argument.
    let memory: *mut u8 = unsafe { libc::calloc(1, bytes) }.cast();
    if memory.is_null() {
        return Err(Code::OUT_OF_MEMORY);
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
