//! Making and changing disks as a whole.

use std::ffi::{c_char, c_void};

use vixdisklib::ffi::bindings::{
    VddkBool, VddkConnection, VddkCreateParams, VddkDisk, VddkDiskType, VddkProgressCallback, VddkSectors,
};

use super::arguments::{guarded, required, store};
use crate::code::{Answer, Code};
use crate::library;
use crate::local::{self, Spec};

/// # Safety
/// As the interface says: `path` ends with a zero byte, `params` has at least the 24 bytes that every version knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Create(
    connection: VddkConnection,
    path: *const c_char,
    params: *const VddkCreateParams,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded("Create", || {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        // SAFETY: as above.
        let spec = unsafe { spec(params) }?;
        local::create(&connection, &path, &spec, &mut reporter(progress, data))
    })
}

/// # Safety
/// `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_CreateChild(
    disk: VddkDisk,
    path: *const c_char,
    disk_type: VddkDiskType,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded("CreateChild", || {
        let disk = library::current()?.disk(disk as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::create_child(&disk, &path, disk_type, &mut reporter(progress, data))
    })
}

/// # Safety
/// As for [`VixDiskLib_Create`], for both paths. A server's disk ignores `params`, which may then be null.
#[allow(clippy::too_many_arguments, reason = "the interface wants them")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Clone(
    to: VddkConnection,
    to_path: *const c_char,
    from: VddkConnection,
    from_path: *const c_char,
    params: *const VddkCreateParams,
    progress: VddkProgressCallback,
    data: *mut c_void,
    overwrite: VddkBool,
) -> u64 {
    guarded("Clone", || {
        let library = library::current()?;
        let (to, from) = (library.connection(to as usize)?, library.connection(from as usize)?);
        // SAFETY: the caller's promise.
        let to_path = unsafe { required(to_path) }?;
        // SAFETY: as above.
        let from_path = unsafe { required(from_path) }?;
        let spec = if params.is_null() && to.is_remote() {
            Spec { disk_type: 0, adapter: 0, hardware_version: 0, sectors: 0 }
        } else {
            // SAFETY: as above.
            unsafe { spec(params) }?
        };
        let mut progress = reporter(progress, data);
        local::clone(&to, &to_path, &from, &from_path, &spec, overwrite != 0, &mut progress)
    })
}

/// # Safety
/// As for [`VixDiskLib_Create`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Grow(
    connection: VddkConnection,
    path: *const c_char,
    capacity: VddkSectors,
    update_geometry: VddkBool,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded("Grow", || {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::grow(&connection, &path, capacity, update_geometry != 0, &mut reporter(progress, data))
    })
}

/// # Safety
/// The callback must accept `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Shrink(
    disk: VddkDisk,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded("Shrink", || {
        let disk = library::current()?.disk(disk as usize)?;
        local::shrink(&disk, &mut reporter(progress, data))
    })
}

/// # Safety
/// The callback must accept `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Defragment(
    disk: VddkDisk,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded("Defragment", || {
        let disk = library::current()?.disk(disk as usize)?;
        local::defragment(&disk, &mut reporter(progress, data))
    })
}

/// # Safety
/// `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Unlink(connection: VddkConnection, path: *const c_char) -> u64 {
    guarded("Unlink", || {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::unlink(&connection, &path)
    })
}

/// # Safety
/// Both paths end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Rename(from: *const c_char, to: *const c_char) -> u64 {
    guarded("Rename", || {
        let library = library::current()?;
        // SAFETY: the caller's promise.
        let from = unsafe { required(from) }?;
        // SAFETY: as above.
        let to = unsafe { required(to) }?;
        if let Some(kit) = library.kit() {
            library.faults_of(kit).suffer("Rename", &from)?.settle()?;
        }
        local::rename(&from, &to)
    })
}

/// Any pointer is safe to pass: handles are numbers that are looked up.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_IsAttachPossible(parent: VddkDisk, child: VddkDisk) -> u64 {
    guarded("IsAttachPossible", || {
        let library = library::current()?;
        local::check_attach(&*library.disk(parent as usize)?, &*library.disk(child as usize)?)
    })
}

/// The parent's handle is gone when this succeeds.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Attach(parent: VddkDisk, child: VddkDisk) -> u64 {
    guarded("Attach", || {
        let library = library::current()?;
        local::attach(&*library.disk(parent as usize)?, &*library.disk(child as usize)?)?;
        library.forget_disk(parent as usize);
        Ok(())
    })
}

/// # Safety
/// `bytes` must take a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_SpaceNeededForClone(
    disk: VddkDisk,
    disk_type: VddkDiskType,
    bytes: *mut u64,
) -> u64 {
    guarded("SpaceNeededForClone", || {
        let disk = library::current()?.disk(disk as usize)?;
        // SAFETY: the caller's promise.
        unsafe { store(bytes, local::space_needed(&disk, disk_type)?) }
    })
}

/// # Safety
/// `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_CheckRepair(
    connection: VddkConnection,
    path: *const c_char,
    repair: VddkBool,
) -> u64 {
    guarded("CheckRepair", || {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::check_repair(&connection, &path, repair != 0)
    })
}

/// The creation parameters as 6.x knows them.
#[repr(C)]
struct CreateHead {
    disk_type: u32,
    adapter_type: u32,
    hardware_version: u16,
    capacity: u64,
}

const _: () =
    assert!(size_of::<CreateHead>() == std::mem::offset_of!(VddkCreateParams, logical_sector_bytes));

/// # Safety
/// `params` must be null or have the bytes that clients of 6.x have.
unsafe fn spec(params: *const VddkCreateParams) -> Answer<Spec> {
    if params.is_null() {
        return Err(Code::INVALID_ARG);
    }
    // SAFETY: not null; the part that clients of 6.x have is read and no more.
    let head = unsafe { params.cast::<CreateHead>().read() };
    Ok(Spec {
        disk_type: head.disk_type,
        adapter: head.adapter_type,
        hardware_version: head.hardware_version,
        sectors: head.capacity,
    })
}

/// What passes percentages on to the client, on the thread of its call.
fn reporter(progress: VddkProgressCallback, data: *mut c_void) -> impl FnMut(i32) {
    move |percent| {
        if let Some(progress) = progress {
            // SAFETY: the client gave callback and data for this call, which is still going on. The answer is of no consequence.
            unsafe { progress(data, percent) };
        }
    }
}
