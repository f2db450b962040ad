//! The exported functions. Each turns what C hands over into Rust values at once, lets no panic out, and answers a code.

use std::ffi::{CStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use vixdisklib::ffi::bindings::{VddkBool, VddkConnection, VddkDisk, VddkError, VddkLogCallback};
use vixmntapi::ffi::{
    MntDiskSet, MntDiskSetInfo, MntOsInfo, MntVolume, MntVolumeInfo, MntVolumeInfoEx, OS_WINDOWS,
    VOLUME_BASIC, VOLUME_DYNAMIC, VOLUME_GPT, VOLUME_LVM,
};

use super::{log, memory};
use crate::code::{Answer, Code};
use crate::disk_set::Volume;
use crate::library::{self, Info};
use crate::partitions::Kind;

// The exported functions must have exactly the types that the wrapper calls them by: this compiles only then.
macro_rules! prove {
    ($($field:ident = $name:ident: $since:ident, $class:ident, ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(const _: unsafe extern "C" fn($($type),*) -> $result = $name;)*
    };
}
vixmntapi::for_each_mntapi_symbol!(prove);

/// # Safety
/// As the interface says: strings end with a zero byte or are null, callbacks take a format and a `va_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_Init(
    major: u32,
    minor: u32,
    log: VddkLogCallback,
    warn: VddkLogCallback,
    _panic: VddkLogCallback,
    directory: *const c_char,
    config: *const c_char,
) -> VddkError {
    guarded(|| {
        log::set(log, warn);
        // SAFETY: the caller's promise.
        let directory = unsafe { string(directory) }?;
        // SAFETY: as above.
        let config = unsafe { string(config) }?;
        library::init((major, minor), directory.as_deref(), config.as_deref())
    })
}

/// Ignored while a disk set is open.
#[unsafe(no_mangle)]
pub extern "C" fn VixMntapi_Exit() {
    caught((), library::exit);
}

/// Windows only.
#[unsafe(no_mangle)]
pub extern "C" fn VixMntapi_OpenDiskSet(
    _disks: *const VddkDisk,
    _count: usize,
    _mode: u32,
    _set: *mut MntDiskSet,
) -> VddkError {
    Code::NOT_SUPPORTED.0
}

/// # Safety
/// `names` must be null or point to `count` strings, `set` be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_OpenDisks(
    connection: VddkConnection,
    names: *const *const c_char,
    count: usize,
    flags: u32,
    set: *mut MntDiskSet,
) -> VddkError {
    guarded(|| {
        if names.is_null() || count != 1 || set.is_null() {
            log::warn(&format!("OpenDisks takes one disk on Linux, not {count}"));
            return Err(Code::INVALID_ARG);
        }
        // SAFETY: not null, and one name by the caller's promise.
        let name = unsafe { names.read() };
        // SAFETY: the caller's promise.
        let name = unsafe { string(name) }?.filter(|name| !name.is_empty()).ok_or(Code::INVALID_ARG)?;
        let connection = connection.expose_provenance();
        let handle = library::with(|library| library.open(connection, &name, flags))?;
        // SAFETY: not null, and the caller's promise.
        unsafe { set.write(ptr::without_provenance_mut(handle)) };
        Ok(())
    })
}

/// # Safety
/// `info` must be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_GetDiskSetInfo(
    set: MntDiskSet,
    info: *mut *mut MntDiskSetInfo,
) -> VddkError {
    let make = || {
        library::with(|library| {
            let set = library.set(set.addr())?;
            let mount_path = path(&set.flat_file()?)?;
            Ok(MntDiskSetInfo { open_flags: set.flags, mount_path })
        })
    };
    // SAFETY: the caller's promise.
    guarded(|| unsafe { hand_out(info, Info::Set, make) })
}

/// # Safety
/// `info` must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_FreeDiskSetInfo(info: *mut MntDiskSetInfo) {
    // SAFETY: the caller's promise.
    unsafe { take_back(info, Info::Set) };
}

/// Refused while volumes are mounted or not freed.
#[unsafe(no_mangle)]
pub extern "C" fn VixMntapi_CloseDiskSet(set: MntDiskSet) -> VddkError {
    guarded(|| library::with(|library| library.close(set.addr())))
}

/// # Safety
/// `count` and `volumes` must be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_GetVolumeHandles(
    set: MntDiskSet,
    count: *mut usize,
    volumes: *mut *mut MntVolume,
) -> VddkError {
    guarded(|| {
        if count.is_null() || volumes.is_null() {
            return Err(Code::INVALID_ARG);
        }
        let (array, length) = library::with(|library| {
            let handles = library.list(set.addr())?;
            let array = memory::handles(&handles)?;
            library.handed_out_list(array.addr(), set.addr());
            Ok((array, handles.len()))
        })?;
        // SAFETY: not null, and the caller's promise.
        unsafe { count.write(length) };
        // SAFETY: as above.
        unsafe { volumes.write(array) };
        Ok(())
    })
}

/// # Safety
/// `volumes` must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_FreeVolumeHandles(volumes: *mut MntVolume) {
    if !volumes.is_null() && taken(|library| library.take_list(volumes.addr())) {
        // SAFETY: it was handed out, and is not any more.
        unsafe { memory::free(volumes.cast()) };
    }
}

/// # Safety
/// `info` must be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_GetOsInfo(set: MntDiskSet, info: *mut *mut MntOsInfo) -> VddkError {
    let make = || {
        let found = library::with(|library| library.recognise(set.addr()))?;
        Ok(MntOsInfo {
            family: OS_WINDOWS,
            major: found.major,
            minor: found.minor,
            is_64_bit: found.is_64_bit.into(),
            vendor: memory::text(b"Microsoft")?,
            edition: found.edition.map_or(Ok(ptr::null_mut()), |edition| memory::text(edition.as_bytes()))?,
            folder: memory::text(found.folder.as_bytes())?,
        })
    };
    // SAFETY: the caller's promise.
    guarded(|| unsafe { hand_out(info, Info::Os, make) })
}

/// # Safety
/// `info` must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_FreeOsInfo(info: *mut MntOsInfo) {
    // SAFETY: the caller's promise.
    unsafe { take_back(info, Info::Os) };
}

/// Copies the volume's files.
#[unsafe(no_mangle)]
pub extern "C" fn VixMntapi_MountVolume(volume: MntVolume, read_only: VddkBool) -> VddkError {
    guarded(|| {
        library::with(|library| {
            let (set, index) = library.volume(volume.addr())?;
            set.mount(index, read_only != 0)
        })
    })
}

/// Removes the copy.
#[unsafe(no_mangle)]
pub extern "C" fn VixMntapi_DismountVolume(volume: MntVolume, force: VddkBool) -> VddkError {
    guarded(|| {
        library::with(|library| {
            let (set, index) = library.volume(volume.addr())?;
            set.dismount(index, force != 0)
        })
    })
}

/// # Safety
/// `info` must be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_GetVolumeInfo(
    volume: MntVolume,
    info: *mut *mut MntVolumeInfo,
) -> VddkError {
    let make = || {
        library::with(|library| {
            let (set, index) = library.volume(volume.addr())?;
            let volume = set.volume(index)?;
            Ok(MntVolumeInfo {
                kind: kind(volume),
                is_mounted: volume.mounted.is_some().into(),
                symbolic_link: link(volume)?,
                guest_mount_point_count: 0,
                guest_mount_points: [ptr::null_mut()],
            })
        })
    };
    // SAFETY: the caller's promise.
    guarded(|| unsafe { hand_out(info, Info::Volume, make) })
}

/// # Safety
/// `info` must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_FreeVolumeInfo(info: *mut MntVolumeInfo) {
    // SAFETY: the caller's promise.
    unsafe { take_back(info, Info::Volume) };
}

/// # Safety
/// `info` must be null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_GetVolumeInfoEx(
    volume: MntVolume,
    info: *mut *mut MntVolumeInfoEx,
) -> VddkError {
    let make = || {
        library::with(|library| {
            let (set, index) = library.volume(volume.addr())?;
            let volume = set.volume(index)?;
            let found = volume.mounted.as_ref().map(|mounted| mounted.found);
            Ok(MntVolumeInfoEx {
                bytes_per_sector: 512,
                capacity: found.map_or(0, |found| found.capacity),
                used: found.map_or(0, |found| found.used),
                cluster_bytes: found.map_or(0, |found| found.cluster),
                kind: kind(volume),
                is_mounted: found.is_some().into(),
                symbolic_link: link(volume)?,
                guest_mount_point_count: 0,
                guest_mount_points: [ptr::null_mut()],
            })
        })
    };
    // SAFETY: the caller's promise.
    guarded(|| unsafe { hand_out(info, Info::VolumeEx, make) })
}

/// # Safety
/// `info` must not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixMntapi_FreeVolumeInfoEx(info: *mut MntVolumeInfoEx) {
    // SAFETY: the caller's promise.
    unsafe { take_back(info, Info::VolumeEx) };
}

fn kind(volume: &Volume) -> i32 {
    match volume.partition.kind {
        Kind::Basic => VOLUME_BASIC,
        Kind::Gpt => VOLUME_GPT,
        Kind::Dynamic => VOLUME_DYNAMIC,
        Kind::Lvm => VOLUME_LVM,
    }
}

fn link(volume: &Volume) -> Answer<*mut c_char> {
    volume.mounted.as_ref().map_or(Ok(ptr::null_mut()), |mounted| path(&mounted.link))
}

fn path(path: &Path) -> Answer<*mut c_char> {
    memory::text(path.as_os_str().as_bytes())
}

/// Makes a structure and stores it where the caller wants it.
///
/// # Safety
/// `place` must be null or valid for writing.
unsafe fn hand_out<T: memory::Owned>(
    place: *mut *mut T,
    info: Info,
    make: impl FnOnce() -> Answer<T>,
) -> Answer<()> {
    if place.is_null() {
        return Err(Code::INVALID_ARG);
    }
    let value = memory::new(make()?)?;
    library::with(|library| {
        library.handed_out(value.addr(), info);
        Ok(())
    })?;
    // SAFETY: not null, and the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// Frees a structure, if it was handed out as one of this kind. Null is fine.
///
/// # Safety
/// `value` must not be used again.
unsafe fn take_back<T: memory::Owned>(value: *mut T, info: Info) {
    if !value.is_null() && taken(|library| library.take_info(value.addr(), info)) {
        // SAFETY: it was handed out, and is not any more.
        unsafe { memory::free_owned(value) };
    }
}

fn taken(take: impl FnOnce(&mut library::Library) -> bool) -> bool {
    caught(false, || library::with(|library| Ok(take(library))).unwrap_or(false))
}

fn guarded(body: impl FnOnce() -> Answer<()>) -> VddkError {
    caught(Err(Code::FAIL), body).map_or_else(|code| code.0, |()| 0)
}

fn caught<R>(fallback: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        log::warn("a bug of the fake VixMntapi: it panicked");
        std::mem::forget(payload);
        fallback
    })
}

/// A copy of a C string; null gives nothing.
///
/// # Safety
/// `text` must be null, or point to a string that ends with a zero byte.
unsafe fn string(text: *const c_char) -> Answer<Option<String>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(|text| Some(text.to_owned())).map_err(|_| Code::INVALID_ARG)
}
