//! The exported functions as a C program would call them: what the safe wrapper never does.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Mutex;

use vixdisklib::ffi::bindings::{VddkBlockList, VddkConnection, VddkCreateParams, VddkDisk};

use super::connections::*;
use super::disks::*;
use super::lifetime::*;
use super::management::*;
use super::transfers::*;

mod strict;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn vsnprintf(buffer: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> i32;
}

unsafe extern "C" fn on_line(format: *const c_char, arguments: *mut c_void) {
    let mut buffer = [0u8; 1024];
    // SAFETY: the library's promise about format and arguments; the buffer has the size given.
    unsafe { vsnprintf(buffer.as_mut_ptr().cast(), buffer.len(), format, arguments) };
    LINES.lock().unwrap().push(CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap().to_owned());
}

unsafe extern "C" fn on_end(data: *mut c_void, result: u64) {
    // SAFETY: the tests pass a channel and keep it until they have heard from it.
    let sender = unsafe { &*data.cast::<std::sync::mpsc::Sender<u64>>() };
    sender.send(result).unwrap();
}

fn path_of(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn open(connection: VddkConnection, path: &CStr, flags: u32) -> Result<VddkDisk, u64> {
    let mut disk = ptr::null_mut();
    // SAFETY: the string ends with a zero byte, and the handle has a place.
    match unsafe { VixDiskLib_Open(connection, path.as_ptr(), flags, &raw mut disk) } {
        0 => Ok(disk),
        code => {
            assert!(disk.is_null());
            Err(code)
        }
    }
}

fn read(disk: VddkDisk, start: u64, buffer: &mut [u8]) -> u64 {
    // SAFETY: the buffer has these sectors.
    unsafe { VixDiskLib_Read(disk, start, buffer.len() as u64 / 512, buffer.as_mut_ptr()) }
}

// One test: the library can be started once in a process.
#[test]
fn a_program_in_c_is_held_to_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let kit = path_of(folder.path());
    assert_eq!(VixDiskLib_Disconnect(ptr::null_mut()), 16001);

    let init = |minor| {
        // SAFETY: strings end with a zero byte or are null; the callback takes what it gets.
        unsafe { VixDiskLib_InitEx(8, minor, Some(on_line), Some(on_line), None, kit.as_ptr(), ptr::null()) }
    };
    assert_eq!(init(9), 6);
    assert_eq!(init(0), 0);
    assert_eq!(init(0), 31);
    assert!(LINES.lock().unwrap()[0].starts_with("VMware VixDiskLib (8.0.3) Release build-"));

    let mut connection = ptr::null_mut();
    // SAFETY: null parameters mean local disks; the handle has a place.
    assert_eq!(unsafe { VixDiskLib_Connect(ptr::null(), &raw mut connection) }, 0);
    remote_parameters_with_null_strings_are_refused();

    let path = path_of(&folder.path().join("a.vmdk"));
    local_disks_are_made_and_grown(connection, &path);
    queries_and_metadata(connection, &path);
    families_of_calls_do_not_mix(connection, &path);

    assert_eq!(open(connection, c"relative.vmdk", 4), Err(22));
    assert_eq!(open(connection, &path_of(&folder.path().join("none.vmdk")), 4), Err(4));
    assert_eq!(open(connection, &path, 0x30), Err(3));
    let disk = open(connection, &path, 4).unwrap();
    assert_eq!(VixDiskLib_Close(disk), 0);
    assert_eq!(VixDiskLib_Close(disk), 1000);
    assert_eq!(read(disk, 0, &mut [0; 512]), 1000);
    // SAFETY: the string ends with a zero byte.
    assert_eq!(unsafe { VixDiskLib_Unlink(connection, path.as_ptr()) }, 0);
    assert!(!folder.path().join("a-flat.vmdk").exists());
    assert_eq!(VixDiskLib_Disconnect(connection), 0);
    assert_eq!(VixDiskLib_Disconnect(connection), 16054);
    assert!(LINES.lock().unwrap().iter().any(|line| line.contains("sectors / 0.0 GB.\n")));
    VixDiskLib_Exit();
}

fn remote_parameters_with_null_strings_are_refused() {
    let params = VixDiskLib_AllocateConnectParams();
    let server = CString::new("esx").unwrap();
    // SAFETY: the block is ours, and as large as the header says.
    unsafe { (*params).server = server.as_ptr().cast_mut() };
    let mut connection = ptr::null_mut();
    // SAFETY: a block of this version; strings end with a zero byte or are null.
    let code = unsafe { VixDiskLib_Connect(params, &raw mut connection) };
    assert_eq!((code, connection), (3, ptr::null_mut()));
    // SAFETY: from the function above, and not used again.
    unsafe { VixDiskLib_FreeConnectParams(params) };
}

fn local_disks_are_made_and_grown(connection: VddkConnection, path: &CStr) {
    let mut spec = VddkCreateParams {
        disk_type: 7,
        adapter_type: 3,
        hardware_version: 13,
        capacity: 1000,
        logical_sector_bytes: 0,
        physical_sector_bytes: 0,
    };
    let create = |spec: &VddkCreateParams| {
        // SAFETY: the string ends with a zero byte; no progress is wanted.
        unsafe { VixDiskLib_Create(connection, path.as_ptr(), spec, None, ptr::null_mut()) }
    };
    assert_eq!(create(&spec), 0);
    assert_eq!(create(&spec), 12);
    spec.disk_type = 256;
    assert_eq!(create(&spec), 3);
    // SAFETY: as above.
    assert_eq!(unsafe { VixDiskLib_Grow(connection, path.as_ptr(), 1280, 0, None, ptr::null_mut()) }, 0);
}

fn queries_and_metadata(connection: VddkConnection, path: &CStr) {
    let disk = open(connection, path, 4).unwrap();
    let query = |start, count, chunk| {
        let mut list: *mut VddkBlockList = ptr::null_mut();
        // SAFETY: the list has a place.
        let code = unsafe { VixDiskLib_QueryAllocatedBlocks(disk, start, count, chunk, &raw mut list) };
        assert_eq!(list.is_null(), code != 0);
        // SAFETY: null or from the query, and not used again.
        assert_eq!(unsafe { VixDiskLib_FreeBlockList(list) }, 0);
        code
    };
    assert_eq!(query(0, 1280, 128), 0);
    for (start, count, chunk) in
        [(1, 128, 128), (0, 100, 128), (0, 64, 64), (0, 0, 128), (0, 262_144, 262_144)]
    {
        assert_eq!(query(start, count, chunk), 3, "{start} {count} {chunk}");
    }
    assert_eq!(query(0, 1408, 128), 16007);

    let mut buffer: [c_char; 4] = [7; 4];
    let mut needed = 0;
    let mut metadata = |key: &CStr, size: usize| {
        // SAFETY: the buffer is at least as large as said.
        unsafe { VixDiskLib_ReadMetadata(disk, key.as_ptr(), buffer.as_mut_ptr(), size, &raw mut needed) }
    };
    assert_eq!(metadata(c"adapterType", 4), 24);
    assert_eq!(metadata(c"noSuchKey", 4), 16052);
    assert_eq!((needed, buffer), (9, [7; 4]));
    assert_eq!(VixDiskLib_Close(disk), 0);
}

fn families_of_calls_do_not_mix(connection: VddkConnection, path: &CStr) {
    let (sender, receiver) = std::sync::mpsc::channel::<u64>();
    let data = (&raw const sender).cast_mut().cast();
    let mut buffer = vec![1u8; 1024];
    let start_of = |buffer: &mut Vec<u8>| buffer.as_mut_ptr();
    let mut queue = |disk, start, count| {
        let memory = start_of(&mut buffer);
        // SAFETY: the buffer and the channel outlive the request, since the test waits for it.
        unsafe { VixDiskLib_ReadAsync(disk, start, count, memory, Some(on_end), data) }
    };
    let disk = open(connection, path, 0).unwrap();
    assert_eq!(queue(disk, 0, 2), 25000);
    assert_eq!(VixDiskLib_Wait(disk), 0);
    assert_eq!(receiver.try_recv(), Ok(0));
    assert_eq!(read(disk, 0, &mut [0; 512]), 26000);
    // Whatever is wrong at once is answered without a callback.
    assert_eq!(queue(disk, 1279, 2), 16007);
    assert_eq!(queue(disk, 0, 0), 3);
    assert!(receiver.try_recv().is_err());
    assert_eq!(VixDiskLib_Close(disk), 0);

    let disk = open(connection, path, 0).unwrap();
    assert_eq!(read(disk, 1279, &mut [0; 512]), 0);
    assert_eq!(read(disk, 1280, &mut [0; 512]), 16007);
    assert_eq!(queue(disk, 0, 2), 26000);
    assert_eq!(VixDiskLib_Close(disk), 0);
}
