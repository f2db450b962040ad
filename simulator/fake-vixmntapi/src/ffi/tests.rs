//! The exported functions as C calls them, in wrong orders above all.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Mutex;

use sim_store::{Disk, DiskSpec};
use vixdisklib::sibling::Link;
use vixdisklib::{ConnectOptions, ConnectParams, Library, LibraryOptions};
use vixmntapi::ffi::{MntDiskSet, MntDiskSetInfo, MntVolume, MntVolumeInfo};

use super::exports::*;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" fn collect(format: *const c_char, _arguments: *mut c_void) {
    // SAFETY: a format of this library, which ends with a zero byte.
    let line = unsafe { CStr::from_ptr(format) };
    LINES.lock().unwrap().push(line.to_string_lossy().into_owned());
}

/// Whether something was said since the last question.
fn told(what: &str) -> bool {
    let lines = std::mem::take(&mut *LINES.lock().unwrap());
    lines.iter().any(|line| line.contains(what))
}

fn init(major: u32, kit: &CStr) -> u64 {
    // SAFETY: strings and callbacks are what they should be.
    unsafe {
        VixMntapi_Init(major, 1, Some(collect), Some(collect), Some(collect), kit.as_ptr(), ptr::null())
    }
}

fn open(link: &Link, names: &[*const c_char]) -> Result<MntDiskSet, u64> {
    let mut set = ptr::null_mut();
    // SAFETY: as many names as said, and a place for the result.
    let code = unsafe { VixMntapi_OpenDisks(link.handle(), names.as_ptr(), names.len(), 4, &raw mut set) };
    if code == 0 { Ok(set) } else { Err(code) }
}

fn list(set: MntDiskSet) -> Result<(usize, *mut MntVolume), u64> {
    let (mut count, mut volumes) = (0, ptr::null_mut());
    // SAFETY: the results have places.
    let code = unsafe { VixMntapi_GetVolumeHandles(set, &raw mut count, &raw mut volumes) };
    if code == 0 { Ok((count, volumes)) } else { Err(code) }
}

fn free(volumes: *mut MntVolume) {
    // SAFETY: the library knows what it gave.
    unsafe { VixMntapi_FreeVolumeHandles(volumes) };
}

fn info(volume: MntVolume) -> Result<*mut MntVolumeInfo, u64> {
    let mut info = ptr::null_mut();
    // SAFETY: the result has a place.
    let code = unsafe { VixMntapi_GetVolumeInfo(volume, &raw mut info) };
    if code == 0 { Ok(info) } else { Err(code) }
}

// One test: the library is one for each process.
#[test]
fn wrong_orders_are_told_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kit = folder.path().join("kit");
    fake_vddk::install(&kit).unwrap();
    let c_kit = std::ffi::CString::new(kit.to_str().unwrap()).unwrap();
    assert_eq!(open_without_init(), 16001);
    assert_eq!(init(1, &c_kit), 24022);
    assert!(told("VixDiskLib does not run"));
    let library =
        Library::open(LibraryOptions::new(&kit).in_process().temp_directory(folder.path().join("tmp")))
            .unwrap();
    assert_eq!(init(2, &c_kit), 24300);
    assert_eq!(init(1, &c_kit), 0);
    assert_eq!(init(1, &c_kit), 31);
    assert!(told("twice"));

    let path = folder.path().join("a.vmdk");
    let disk = Disk::create(&path, &DiskSpec::thin(1 << 20)).unwrap();
    disk.write_at(0, &table()).unwrap();
    drop(disk);
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    let link = Link::of("test", &connection).unwrap();

    assert_eq!(open(&link, &[name.as_ptr(), name.as_ptr()]), Err(3));
    assert_eq!(open(&link, &[]), Err(3));
    assert_eq!(open(&link, &[ptr::null()]), Err(3));
    assert_eq!(open(&link, &[c"".as_ptr()]), Err(3));
    assert_eq!(VixMntapi_OpenDiskSet(ptr::null(), 0, 0, ptr::null_mut()), 6);
    let set = open(&link, &[name.as_ptr()]).unwrap();
    assert_eq!(open(&link, &[name.as_ptr()]), Err(24308));
    VixMntapi_Exit();
    assert!(told("Exit is ignored"));

    let (count, volumes) = list(set).unwrap();
    assert_eq!(count, 1);
    assert_eq!(list(set), Err(24308));
    // SAFETY: there is one.
    let volume = unsafe { volumes.read() };
    assert_eq!(VixMntapi_DismountVolume(volume, 0), 24304);
    assert_eq!(VixMntapi_MountVolume(volume, 1), 24010);
    assert_eq!(VixMntapi_CloseDiskSet(set), 24004);

    let first = info(volume).unwrap();
    // SAFETY: from the library; it is freed once as what it is not, which is refused, then rightly, then once too often.
    unsafe { VixMntapi_FreeDiskSetInfo(first.cast::<MntDiskSetInfo>()) };
    assert!(told("freed that is not given out"));
    // SAFETY: as above.
    unsafe { VixMntapi_FreeVolumeInfo(first) };
    assert!(!told("freed"));
    // SAFETY: as above; the address alone is looked at.
    unsafe { VixMntapi_FreeVolumeInfo(first) };
    assert!(told("freed that is not given out"));

    free(volumes);
    assert!(!told("freed"));
    free(volumes);
    assert!(told("volume handles were freed that are not given out"));
    assert_eq!(info(volume), Err(1000));
    assert_eq!(VixMntapi_MountVolume(volume, 1), 1000);
    assert_eq!(VixMntapi_CloseDiskSet(set), 0);
    assert_eq!(VixMntapi_CloseDiskSet(set), 1000);
    assert_eq!(list(set), Err(1000));
    let mut nothing = ptr::null_mut();
    // SAFETY: the result has a place.
    assert_eq!(unsafe { VixMntapi_GetDiskSetInfo(set, &raw mut nothing) }, 1000);
    // SAFETY: null is refused.
    assert_eq!(unsafe { VixMntapi_GetDiskSetInfo(set, ptr::null_mut()) }, 3);

    VixMntapi_Exit();
    assert!(!told("ignored"));
    assert_eq!(open(&link, &[name.as_ptr()]), Err(16001));
    assert_eq!(init(1, &c_kit), 31);
    VixMntapi_Exit();
    assert!(told("without Init"));
}

fn open_without_init() -> u64 {
    let (names, mut set) = ([c"/a.vmdk".as_ptr()], ptr::null_mut());
    // SAFETY: one name, and a place for the result.
    unsafe { VixMntapi_OpenDisks(ptr::null_mut(), names.as_ptr(), 1, 4, &raw mut set) }
}

/// An MBR with one partition of LVM.
fn table() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector[450] = 0x8e;
    sector[454] = 64;
    sector[458] = 100;
    sector
}
