//! Opening and closing disks, and asking about them.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib::ffi::bindings::{
    VddkBlockList, VddkChangeInfo, VddkChangedAreaParams, VddkConnection, VddkDisk, VddkInfo, VddkOpenParams,
    VddkSectors,
};

use super::arguments::{caught, guarded, required, store, string};
use super::memory::{self, Kind};
use crate::code::{Answer, Code};
use crate::{allocated, changed, library, open, transport};

/// # Safety
/// As the interface says: `path` ends with a zero byte, `disk` takes a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Open(
    connection: VddkConnection,
    path: *const c_char,
    flags: u32,
    disk: *mut VddkDisk,
) -> u64 {
    guarded("Open", || {
        // SAFETY: the caller's promise. Null is what a client sees when this fails.
        unsafe { store(disk, ptr::null_mut()) }?;
        // SAFETY: as above.
        let handle = opened(connection, || Ok((unsafe { required(path) }?, flags, None)))?;
        // SAFETY: as above.
        unsafe { store(disk, handle) }
    })
}

/// # Safety
/// As for [`VixDiskLib_Open`]; `params` is null or points to the structure, whose strings end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_OpenEx(
    connection: VddkConnection,
    params: *const VddkOpenParams,
    disk: *mut VddkDisk,
) -> u64 {
    guarded("OpenEx", || {
        // SAFETY: the caller's promise. Null is what a client sees when this fails.
        unsafe { store(disk, ptr::null_mut()) }?;
        let handle = opened(connection, || {
            if params.is_null() {
                return Err(Code::INVALID_ARG);
            }
            // SAFETY: not null, and the caller's promise.
            let params = unsafe { params.read() };
            // SAFETY: as above.
            let path = unsafe { required(params.path) }?;
            // SAFETY: as above.
            Ok((path, params.flags, unsafe { string(params.change_id) }?))
        })?;
        // SAFETY: as above.
        unsafe { store(disk, handle) }
    })
}

/// Opens a disk over a connection, which is looked for before anything else: path, flags, change id.
fn opened(
    connection: VddkConnection,
    asked: impl FnOnce() -> Answer<(String, u32, Option<String>)>,
) -> Answer<VddkDisk> {
    let library = library::current()?;
    let number = connection as usize;
    let connection = library.connection(number)?;
    let (path, flags, change_id) = asked()?;
    Ok(library.add_disk(open::open(&library, &connection, number, &path, flags, change_id)?) as VddkDisk)
}

/// The handle is gone even when this fails.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Close(disk: VddkDisk) -> u64 {
    guarded("Close", || library::current()?.take_disk(disk as usize)?.close())
}

/// # Safety
/// `info` must take a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_GetInfo(disk: VddkDisk, info: *mut *mut VddkInfo) -> u64 {
    guarded("GetInfo", || {
        // SAFETY: the caller's promise.
        unsafe { store(info, ptr::null_mut()) }?;
        let found = library::current()?.disk(disk as usize)?.info()?;
        // SAFETY: as above.
        unsafe { store(info, memory::info(&found)?) }
    })
}

/// # Safety
/// `info` must be null or come from [`VixDiskLib_GetInfo`], and not be used again. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeInfo(info: *mut VddkInfo) {
    caught("FreeInfo", (), || {
        // SAFETY: the caller's promise.
        unsafe { memory::free_info(info) };
    });
}

/// A static string; null for a handle that is none.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetTransportMode(disk: VddkDisk) -> *const c_char {
    caught("GetTransportMode", ptr::null(), || {
        let transport = library::current().and_then(|library| Ok(library.disk(disk as usize)?.transport));
        transport.ok().and_then(transport::c_name).map_or(ptr::null(), CStr::as_ptr)
    })
}

/// # Safety
/// `list` must take a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_QueryAllocatedBlocks(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    chunk: VddkSectors,
    list: *mut *mut VddkBlockList,
) -> u64 {
    guarded("QueryAllocatedBlocks", || {
        // SAFETY: the caller's promise.
        unsafe { store(list, ptr::null_mut()) }?;
        let disk = library::current()?.disk(disk as usize)?;
        let runs = allocated::query(&disk, start, count, chunk)?;
        let answer = memory::block_list(&runs)?;
        memory::hand_out(Kind::BlockList, answer.cast());
        // SAFETY: as above.
        unsafe { store(list, answer) }
    })
}

/// # Safety
/// `list` must be null or come from [`VixDiskLib_QueryAllocatedBlocks`], and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeBlockList(list: *mut VddkBlockList) -> u64 {
    guarded("FreeBlockList", || {
        // SAFETY: the caller's promise.
        unsafe { memory::free(Kind::BlockList, list.cast()) };
        Ok(())
    })
}

/// # Safety
/// `params` is null or points to the structure; `changes` must take a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_QueryChangedAreas(
    disk: VddkDisk,
    params: *const VddkChangedAreaParams,
    changes: *mut *mut VddkChangeInfo,
) -> u64 {
    guarded("QueryChangedAreas", || {
        // SAFETY: the caller's promise.
        unsafe { store(changes, ptr::null_mut()) }?;
        let disk = library::current()?.disk(disk as usize)?;
        if params.is_null() {
            return Err(Code::INVALID_ARG);
        }
        // SAFETY: not null, and the caller's promise.
        let start = unsafe { params.read() }.start;
        let found = changed::query(&disk, start)?;
        // SAFETY: as above.
        unsafe { store(changes, memory::change_info(&found)?) }
    })
}

/// # Safety
/// `changes` must be null or come from [`VixDiskLib_QueryChangedAreas`], and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeChangedAreas(changes: *mut VddkChangeInfo) {
    caught("FreeChangedAreas", (), || {
        // SAFETY: the caller's promise.
        unsafe { memory::free_change_info(changes) };
    });
}

/// # Safety
/// `key` ends with a zero byte, `buffer` is null or has `size` bytes, `needed` is null or takes a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_ReadMetadata(
    disk: VddkDisk,
    key: *const c_char,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> u64 {
    guarded("ReadMetadata", || {
        let disk = library::current()?.disk(disk as usize)?;
        // SAFETY: the caller's promise.
        let key = unsafe { required(key) }?;
        let mut value = disk.metadata(&key)?.into_bytes();
        value.push(0);
        // SAFETY: as above.
        unsafe { fill(&value, buffer, size, needed) }
    })
}

/// # Safety
/// Both strings end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_WriteMetadata(
    disk: VddkDisk,
    key: *const c_char,
    value: *const c_char,
) -> u64 {
    guarded("WriteMetadata", || {
        let disk = library::current()?.disk(disk as usize)?;
        // SAFETY: the caller's promise.
        let key = unsafe { required(key) }?;
        // SAFETY: as above.
        let value = unsafe { required(value) }?;
        disk.set_metadata(&key, &value)
    })
}

/// # Safety
/// As for [`VixDiskLib_ReadMetadata`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_GetMetadataKeys(
    disk: VddkDisk,
    keys: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> u64 {
    guarded("GetMetadataKeys", || {
        let disk = library::current()?.disk(disk as usize)?;
        let mut list = Vec::new();
        for key in disk.metadata_keys()? {
            list.extend_from_slice(key.as_bytes());
            list.push(0);
        }
        list.push(0);
        // SAFETY: the caller's promise.
        unsafe { fill(&list, keys, size, needed) }
    })
}

/// Tells how much room is needed, and fills the buffer if it has that: otherwise it stays as it is.
///
/// # Safety
/// `buffer` must be null or have `size` bytes, `needed` be null or take a number.
unsafe fn fill(bytes: &[u8], buffer: *mut c_char, size: usize, needed: *mut usize) -> Answer<()> {
    if !needed.is_null() {
        // SAFETY: the caller's promise.
        unsafe { store(needed, bytes.len()) }?;
    }
    if buffer.is_null() || size < bytes.len() {
        return Err(Code::BUFFER_TOO_SMALL);
    }
    // SAFETY: the buffer has at least this many bytes.
    unsafe { memory::copy_out(bytes, buffer) };
    Ok(())
}
