//! What the library says, copied out of its memory. Every `Get` has its `Free`, called before the copy is used.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use vixdisklib::ffi::bindings::VddkError;

use super::library::{Api, CallError, check};
use super::symbols::Missing;
use super::types::{MntDiskSet, MntOsInfo, MntVolume};

/// Most guest mount points that a volume may claim to have.
const MOUNT_POINT_LIMIT: usize = 4096;

/// Where a disk set is seen.
pub(crate) struct RawSetInfo {
    pub(crate) open_flags: u32,
    pub(crate) mount_path: Option<PathBuf>,
}

/// What a guest's system is.
pub(crate) struct RawOsInfo {
    pub(crate) family: i32,
    pub(crate) version: (u32, u32),
    pub(crate) is_64_bit: bool,
    pub(crate) vendor: Option<String>,
    pub(crate) edition: Option<String>,
    pub(crate) folder: Option<String>,
}

/// What a volume is, and where.
pub(crate) struct RawVolumeInfo {
    pub(crate) kind: i32,
    pub(crate) is_mounted: bool,
    pub(crate) path: Option<PathBuf>,
    pub(crate) guest_mount_points: Vec<String>,
}

/// The same with sizes.
pub(crate) struct RawVolumeInfoEx {
    pub(crate) volume: RawVolumeInfo,
    pub(crate) bytes_per_sector: u32,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) cluster_bytes: u32,
}

impl Api {
    /// # Safety
    /// `set` must be open.
    pub(super) unsafe fn set_info(&self, set: MntDiskSet) -> Result<RawSetInfo, CallError> {
        // SAFETY: the set is the caller's promise, and the result has a place to go.
        let info = get(|info| unsafe { self.calls.get_disk_set_info(set, info) })?;
        // SAFETY: not null, and filled by the library until it is freed below.
        let content = unsafe { info.read() };
        // SAFETY: a string of the library, or null.
        let mount_path = unsafe { path(content.mount_path) };
        // SAFETY: from the call above, and not used again.
        unsafe { self.calls.free_disk_set_info(info) }?;
        Ok(RawSetInfo { open_flags: content.open_flags, mount_path })
    }

    /// # Safety
    /// `set` must be open.
    pub(super) unsafe fn os_info(&self, set: MntDiskSet) -> Result<RawOsInfo, CallError> {
        // SAFETY: the set is the caller's promise, and the result has a place to go.
        let info = get(|info| unsafe { self.calls.get_os_info(set, info) })?;
        // SAFETY: not null, and filled by the library until it is freed below.
        let MntOsInfo { family, major, minor, is_64_bit, vendor, edition, folder } = unsafe { info.read() };
        // SAFETY: a string of the library, or null.
        let vendor = unsafe { text(vendor) };
        // SAFETY: as above.
        let edition = unsafe { text(edition) };
        // SAFETY: as above.
        let folder = unsafe { text(folder) };
        // SAFETY: from the call above, and not used again.
        unsafe { self.calls.free_os_info(info) }?;
        let (version, is_64_bit) = ((major, minor), is_64_bit != 0);
        Ok(RawOsInfo { family, version, is_64_bit, vendor, edition, folder })
    }

    /// # Safety
    /// `volume` must be a volume of an open set, not freed.
    pub(super) unsafe fn volume_info(&self, volume: MntVolume) -> Result<RawVolumeInfo, CallError> {
        // SAFETY: the volume is the caller's promise, and the result has a place to go.
        let info = get(|info| unsafe { self.calls.get_volume_info(volume, info) })?;
        // SAFETY: not null, and filled by the library until it is freed below. The first mount point belongs to the size,
        // so it may be read even when there is none: it is then a pointer that nobody follows.
        let content = unsafe { info.read() };
        // SAFETY: as above; the pointer stays within the library's memory.
        let first = unsafe { (&raw const (*info).guest_mount_points).cast::<*mut c_char>() };
        // SAFETY: as many strings as the library says.
        let guest_mount_points = unsafe { texts(first, content.guest_mount_point_count) };
        // SAFETY: a string of the library, or null.
        let path = unsafe { path(content.symbolic_link) };
        // SAFETY: from the call above, and not used again.
        unsafe { self.calls.free_volume_info(info) }?;
        Ok(RawVolumeInfo {
            kind: content.kind,
            is_mounted: content.is_mounted != 0,
            path,
            guest_mount_points: guest_mount_points?,
        })
    }

    /// # Safety
    /// `volume` must be a volume of an open set, not freed.
    pub(super) unsafe fn volume_info_ex(&self, volume: MntVolume) -> Result<RawVolumeInfoEx, CallError> {
        // Never ask for what could not be given back.
        let free = super::symbols::Symbol::VixMntapi_FreeVolumeInfoEx;
        if !self.has(free) {
            return Err(Missing(free).into());
        }
        // SAFETY: the volume is the caller's promise, and the result has a place to go.
        let info = get(|info| unsafe { self.calls.get_volume_info_ex(volume, info) })?;
        // SAFETY: as in `volume_info`.
        let content = unsafe { info.read() };
        // SAFETY: as above; the pointer stays within the library's memory.
        let first = unsafe { (&raw const (*info).guest_mount_points).cast::<*mut c_char>() };
        // SAFETY: as many strings as the library says.
        let guest_mount_points = unsafe { texts(first, content.guest_mount_point_count) };
        // SAFETY: a string of the library, or null.
        let path = unsafe { path(content.symbolic_link) };
        // SAFETY: from the call above, and not used again.
        unsafe { self.calls.free_volume_info_ex(info) }?;
        Ok(RawVolumeInfoEx {
            volume: RawVolumeInfo {
                kind: content.kind,
                is_mounted: content.is_mounted != 0,
                path,
                guest_mount_points: guest_mount_points?,
            },
            bytes_per_sector: content.bytes_per_sector,
            capacity: content.capacity,
            used: content.used,
            cluster_bytes: content.cluster_bytes,
        })
    }
}

/// Makes a call that hands out a structure. Success without one would be read through a null pointer.
fn get<T>(call: impl FnOnce(*mut *mut T) -> Result<VddkError, Missing>) -> Result<*mut T, CallError> {
    let mut info = std::ptr::null_mut();
    check(call(&raw mut info)?)?;
    if info.is_null() { Err(CallError::Nonsense("it succeeded without a result")) } else { Ok(info) }
}

/// # Safety
/// `text` must be null or point to a string that ends with a zero byte.
unsafe fn bytes(text: *const c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// # Safety
/// As for [`bytes`].
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe { bytes(text) }.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Paths are bytes and stay as they are.
///
/// # Safety
/// As for [`bytes`].
unsafe fn path(text: *const c_char) -> Option<PathBuf> {
    // SAFETY: the caller's promise.
    unsafe { bytes(text) }.filter(|bytes| !bytes.is_empty()).map(|bytes| OsString::from_vec(bytes).into())
}

/// # Safety
/// `first` must point to `count` strings as [`bytes`] wants them.
unsafe fn texts(first: *const *mut c_char, count: usize) -> Result<Vec<String>, CallError> {
    if count > MOUNT_POINT_LIMIT {
        return Err(CallError::Nonsense("it claims thousands of mount points"));
    }
    let mut found = Vec::new();
    for index in 0..count {
        // SAFETY: within the list, by the caller's promise.
        let place = unsafe { first.add(index) };
        // SAFETY: as above.
        let string = unsafe { place.read() };
        // SAFETY: a string, or null, by the caller's promise.
        found.extend(unsafe { text(string) });
    }
    Ok(found)
}
