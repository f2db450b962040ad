//! Parameters, connections, access.

use std::ffi::c_char;
use std::ptr;

use vixdisklib::ffi::bindings::{VddkBool, VddkConnectParams, VddkConnection, VddkDisk};

use super::arguments::{caught, guarded, params, required, store, string};
use super::blocks;
use crate::code::{Answer, Code};
use crate::connection::Connection;
use crate::{access, library};

/// At least 136 zeroed bytes: what the newest clients know.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_AllocateConnectParams() -> *mut VddkConnectParams {
    caught("AllocateConnectParams", ptr::null_mut(), || blocks::allocate().unwrap_or(ptr::null_mut()))
}

/// Frees the block; the strings in it are the client's, but for those of GetConnectParams.
///
/// # Safety
/// `params` must be null or come from the function above, and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeConnectParams(params: *mut VddkConnectParams) {
    caught("FreeConnectParams", (), || {
        // SAFETY: the caller's promise.
        unsafe { blocks::free(params) };
    });
}

/// # Safety
/// As the interface says: `parameters` is null or a block of the client's version, `connection` takes a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Connect(
    parameters: *const VddkConnectParams,
    connection: *mut VddkConnection,
) -> u64 {
    // SAFETY: the caller's promise; null is legal for both strings.
    unsafe { VixDiskLib_ConnectEx(parameters, 0, ptr::null(), ptr::null(), connection) }
}

/// # Safety
/// As for [`VixDiskLib_Connect`]; strings end with a zero byte or are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_ConnectEx(
    parameters: *const VddkConnectParams,
    read_only: VddkBool,
    snapshot: *const c_char,
    modes: *const c_char,
    connection: *mut VddkConnection,
) -> u64 {
    guarded("ConnectEx", || {
        // SAFETY: the caller's promise. Null is what a client sees when this fails.
        unsafe { store(connection, ptr::null_mut()) }?;
        let library = library::current()?;
        // SAFETY: as above.
        let parameters = unsafe { params(parameters) }?;
        // SAFETY: as above.
        let snapshot = unsafe { string(snapshot) }?;
        // SAFETY: as above.
        let modes = unsafe { string(modes) }?;
        let opened =
            Connection::open(&library, parameters, read_only != 0, snapshot.as_deref(), modes.as_deref())?;
        let handle = library.add_connection(opened);
        // SAFETY: as above.
        unsafe { store(connection, handle as VddkConnection) }
    })
}

/// Any pointer is safe to pass: handles are numbers that are looked up.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Disconnect(connection: VddkConnection) -> u64 {
    guarded("Disconnect", || {
        let connection = library::current()?.take_connection(connection as usize)?;
        connection.faults.suffer("Disconnect", "")?.settle()
    })
}

/// # Safety
/// As for [`VixDiskLib_Connect`]; `identity` ends with a zero byte or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_PrepareForAccess(
    parameters: *const VddkConnectParams,
    identity: *const c_char,
) -> u64 {
    guarded("PrepareForAccess", || {
        // SAFETY: the caller's promise.
        let parameters = unsafe { params(parameters) }?.ok_or(Code::INVALID_ARG)?;
        // SAFETY: as above.
        let identity = unsafe { required(identity) }?;
        access::prepare(&*library::current()?, &parameters, &identity)
    })
}

/// # Safety
/// As for [`VixDiskLib_PrepareForAccess`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_EndAccess(
    parameters: *const VddkConnectParams,
    identity: *const c_char,
) -> u64 {
    guarded("EndAccess", || {
        // SAFETY: the caller's promise.
        let parameters = unsafe { params(parameters) }?.ok_or(Code::INVALID_ARG)?;
        // SAFETY: as above.
        let identity = unsafe { required(identity) }?;
        access::end(&*library::current()?, &parameters, &identity)
    })
}

/// # Safety
/// As for [`VixDiskLib_Connect`]; both numbers may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Cleanup(
    parameters: *const VddkConnectParams,
    cleaned: *mut u32,
    remaining: *mut u32,
) -> u64 {
    guarded("Cleanup", || {
        // SAFETY: the caller's promise.
        unsafe { store_count(cleaned, 0) }?;
        // SAFETY: as above.
        unsafe { store_count(remaining, 0) }?;
        // SAFETY: as above.
        let parameters = unsafe { params(parameters) }?.ok_or(Code::INVALID_ARG)?;
        let (report, answer) = access::cleanup(&*library::current()?, &parameters)?;
        for (place, count) in [(cleaned, report.cleaned), (remaining, report.remaining)] {
            // SAFETY: as above. Failures count too.
            unsafe { store_count(place, count) }?;
        }
        answer
    })
}

/// A block of its own with what the connection was made with; to be freed like every other.
///
/// # Safety
/// `parameters` must take a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_GetConnectParams(
    connection: VddkConnection,
    parameters: *mut *mut VddkConnectParams,
) -> u64 {
    guarded("GetConnectParams", || {
        // SAFETY: the caller's promise.
        unsafe { store(parameters, ptr::null_mut()) }?;
        let connection = library::current()?.connection(connection as usize)?;
        connection.faults.suffer("GetConnectParams", "")?.settle()?;
        let block = match &connection.params {
            Some(params) => blocks::filled(params)?,
            None => blocks::allocate()?,
        };
        // SAFETY: as above.
        unsafe { store(parameters, block) }
    })
}

/// The handle of the connection that the disk was opened over, if it is still open.
///
/// # Safety
/// `connection` must take a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_GetConnectionFromDisk(
    disk: VddkDisk,
    connection: *mut VddkConnection,
) -> u64 {
    guarded("GetConnectionFromDisk", || {
        // SAFETY: the caller's promise.
        unsafe { store(connection, ptr::null_mut()) }?;
        let library = library::current()?;
        let disk = library.disk(disk as usize)?;
        disk.faults().suffer("GetConnectionFromDisk", &disk.path)?.settle()?;
        let handle = disk.connection;
        library.connection(handle)?;
        // SAFETY: as above.
        unsafe { store(connection, handle as VddkConnection) }
    })
}

/// # Safety
/// `place` must be null or valid for writing.
unsafe fn store_count(place: *mut u32, count: u32) -> Answer<()> {
    if place.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { store(place, count) }
}
