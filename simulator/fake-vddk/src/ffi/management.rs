//! Making and changing disks; local ones only.

use std::ffi::{c_char, c_void};

use vixdisklib::ffi::bindings::{
    VddkBool, VddkConnection, VddkCreateParams, VddkDisk, VddkDiskType, VddkProgressCallback, VddkSectors,
};

use super::arguments::{guarded, required};
use crate::code::Code;
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
    guarded(|| {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        if params.is_null() {
            return Err(Code::INVALID_ARG);
        }
        // SAFETY: not null; the part that clients of 6.x have is read and no more.
        let head = unsafe { params.cast::<CreateHead>().read() };
        let spec = Spec {
            disk_type: head.disk_type,
            adapter: head.adapter_type,
            hardware_version: head.hardware_version,
            sectors: head.capacity,
        };
        local::create(&connection, &path, &spec)?;
        // SAFETY: the caller's promise.
        unsafe { report_end(progress, data) };
        Ok(())
    })
}

/// # Safety
/// As for [`VixDiskLib_Create`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Grow(
    connection: VddkConnection,
    path: *const c_char,
    capacity: VddkSectors,
    _update_geometry: VddkBool,
    progress: VddkProgressCallback,
    data: *mut c_void,
) -> u64 {
    guarded(|| {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::grow(&connection, &path, capacity)?;
        // SAFETY: as above.
        unsafe { report_end(progress, data) };
        Ok(())
    })
}

/// # Safety
/// `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Unlink(connection: VddkConnection, path: *const c_char) -> u64 {
    guarded(|| {
        let connection = library::current()?.connection(connection as usize)?;
        // SAFETY: the caller's promise.
        let path = unsafe { required(path) }?;
        local::unlink(&connection, &path)
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
/// The callback must accept `data`.
unsafe fn report_end(progress: VddkProgressCallback, data: *mut c_void) {
    if let Some(progress) = progress {
        // SAFETY: the caller's promise. The result is of no consequence.
        unsafe { progress(data, 100) };
    }
}

macro_rules! not_built {
    ($($name:ident($($type:ty),*);)*) => {
        $(
            /// Not built: answers 6.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($(_: $type),*) -> u64 {
                Code::NOT_SUPPORTED.0
            }
        )*
    };
}

not_built! {
    VixDiskLib_CreateChild(VddkDisk, *const c_char, VddkDiskType, VddkProgressCallback, *mut c_void);
    VixDiskLib_Shrink(VddkDisk, VddkProgressCallback, *mut c_void);
    VixDiskLib_Defragment(VddkDisk, VddkProgressCallback, *mut c_void);
    VixDiskLib_Rename(*const c_char, *const c_char);
    VixDiskLib_IsAttachPossible(VddkDisk, VddkDisk);
    VixDiskLib_Attach(VddkDisk, VddkDisk);
    VixDiskLib_SpaceNeededForClone(VddkDisk, VddkDiskType, *mut u64);
    VixDiskLib_CheckRepair(VddkConnection, *const c_char, VddkBool);
}

/// Not built: answers 6.
#[allow(clippy::too_many_arguments, reason = "the interface wants them")]
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Clone(
    _: VddkConnection,
    _: *const c_char,
    _: VddkConnection,
    _: *const c_char,
    _: *const VddkCreateParams,
    _: VddkProgressCallback,
    _: *mut c_void,
    _: VddkBool,
) -> u64 {
    Code::NOT_SUPPORTED.0
}
