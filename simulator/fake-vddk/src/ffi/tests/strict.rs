//! Every rule of strict mode, broken the way a C program would: each test does so in a process of its own, which must end with
//! the rule's name. The safe wrapper breaks none of them, so this is the only way.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sim_store::state::{FaultEffect, FaultRule, store_faults};
use vixdisklib::ffi::bindings::{VddkConnectParams, VddkConnection, VddkCreateParams, VddkDisk, VddkInfo};

use super::super::connections::*;
use super::super::disks::*;
use super::super::lifetime::*;
use super::super::management::*;
use super::super::transfers::*;

const TEST: &str = "FAKE_VDDK_STRICT_TEST";
const FOLDER: &str = "FAKE_VDDK_STRICT_FOLDER";

/// A library that was just started, a local connection and a disk of 1,280 sectors.
struct Program {
    folder: PathBuf,
    config: CString,
    connection: Number,
    path: CString,
}

/// A handle, on its way to another thread.
#[derive(Clone, Copy)]
struct Number(usize);

impl Number {
    fn pointer(self) -> *mut c_void {
        ptr::without_provenance_mut(self.0)
    }

    fn disk(self) -> VddkDisk {
        self.pointer().cast()
    }

    fn connection(self) -> VddkConnection {
        self.pointer().cast()
    }
}

/// Does `scenario` in a process of its own, and expects the end that `rule` names; without one, that it ends well.
fn provoke(test: &str, rule: Option<&str>, scenario: impl FnOnce(&Program)) {
    if std::env::var(TEST).is_ok_and(|name| name == test) {
        scenario(&Program::start(Path::new(&std::env::var_os(FOLDER).unwrap())));
        std::process::exit(0);
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("ffi::tests::strict::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(TEST, test)
        .env(FOLDER, folder.path())
        // A sanitizer shall not look for what these programs leave behind.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    match rule {
        Some(rule) => {
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors} {output:?}");
            let told = errors.lines().any(|line| {
                line.starts_with("fake VDDK, strict mode: ") && line.ends_with(&format!("({rule})"))
            });
            assert!(told, "{errors}");
        }
        None => {
            assert!(output.status.success() && !errors.contains("strict mode"), "{errors} {output:?}");
            // The scenario was there to be run.
            assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"), "{output:?}");
        }
    }
}

unsafe extern "C" fn ignore_line(_: *const c_char, _: *mut c_void) {
    if CALL_FROM_LOG.load(Ordering::Relaxed) {
        VixDiskLib_ListTransportModes();
    }
}

static CALL_FROM_LOG: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn ignore_end(_: *mut c_void, _: u64) {}

unsafe extern "C" fn wait_at_end(disk: *mut c_void, _: u64) {
    VixDiskLib_Wait(disk.cast());
}

/// Opens a disk from another thread, during the call that reports its progress.
unsafe extern "C" fn open_meanwhile(program: *mut c_void, _: i32) -> i8 {
    // SAFETY: the test passes a program that outlives the call.
    let program = unsafe { &*program.cast::<Program>() };
    thread::scope(|scope| {
        scope.spawn(|| program.open(4));
    });
    1
}

impl Program {
    fn start(folder: &Path) -> Program {
        let config = folder.join("config");
        std::fs::write(&config, "fakeVddk.strict = \"1\"\n").unwrap();
        let config = CString::new(config.to_str().unwrap()).unwrap();
        let path = CString::new(folder.join("a.vmdk").to_str().unwrap()).unwrap();
        let mut program = Program { folder: folder.to_owned(), config, connection: Number(0), path };
        assert_eq!(program.init(), 0);
        program.connection = program.connect(ptr::null());
        program.create(c"a.vmdk", false);
        program
    }

    fn init(&self) -> u64 {
        let kit = CString::new(self.folder.to_str().unwrap()).unwrap();
        let log = Some(ignore_line as unsafe extern "C" fn(_, _));
        // SAFETY: strings end with a zero byte; the callback takes what it gets.
        unsafe { VixDiskLib_InitEx(6, 5, log, log, log, kit.as_ptr(), self.config.as_ptr()) }
    }

    fn connect(&self, params: *const VddkConnectParams) -> Number {
        let mut connection = ptr::null_mut();
        // SAFETY: null or a block of the library; the handle has a place.
        assert_eq!(unsafe { VixDiskLib_Connect(params, &raw mut connection) }, 0);
        Number(connection as usize)
    }

    fn create(&self, name: &CStr, meddle: bool) {
        let path = CString::new(self.folder.join(name.to_str().unwrap()).to_str().unwrap()).unwrap();
        let spec = VddkCreateParams {
            disk_type: 1,
            adapter_type: 3,
            hardware_version: 13,
            capacity: 1280,
            logical_sector_bytes: 0,
            physical_sector_bytes: 0,
        };
        let progress = meddle.then_some(open_meanwhile as unsafe extern "C" fn(_, _) -> _);
        let data = (&raw const *self).cast_mut().cast();
        // SAFETY: the string ends with a zero byte; the program outlives the call.
        let code = unsafe {
            VixDiskLib_Create(self.connection.connection(), path.as_ptr(), &raw const spec, progress, data)
        };
        assert_eq!(code, 0);
    }

    fn open(&self, flags: u32) -> Number {
        let mut disk = ptr::null_mut();
        // SAFETY: the string ends with a zero byte, and the handle has a place.
        let code = unsafe {
            VixDiskLib_Open(self.connection.connection(), self.path.as_ptr(), flags, &raw mut disk)
        };
        assert_eq!(code, 0);
        Number(disk as usize)
    }

    fn info(&self, disk: Number) -> *mut VddkInfo {
        let mut info = ptr::null_mut();
        // SAFETY: the structure has a place.
        assert_eq!(unsafe { VixDiskLib_GetInfo(disk.disk(), &raw mut info) }, 0);
        info
    }

    fn faults(&self, rule: FaultRule) {
        store_faults(&self.folder, &[rule]).unwrap();
    }

    /// Connects to a server with what `fill` puts into the parameters.
    fn connect_with(&self, fill: impl FnOnce(&mut VddkConnectParams)) {
        let params = VixDiskLib_AllocateConnectParams();
        // SAFETY: a block of the library is as large as this, at least in the part that is filled.
        fill(unsafe { &mut *params });
        self.connect(params);
    }
}

fn read(disk: Number, count: u64, buffer: &mut [u8]) -> u64 {
    assert!(buffer.len() as u64 >= count * 512);
    // SAFETY: the buffer has these sectors.
    unsafe { VixDiskLib_Read(disk.disk(), 0, count, buffer.as_mut_ptr()) }
}

/// Starts a write of one sector that lasts for as long as the process.
fn write_async(disk: Number, callback: unsafe extern "C" fn(*mut c_void, u64)) -> u64 {
    let buffer = Box::leak(Box::new([1u8; 512]));
    // SAFETY: the buffer is never freed.
    unsafe { VixDiskLib_WriteAsync(disk.disk(), 0, 1, buffer.as_ptr(), Some(callback), disk.pointer()) }
}

fn free_info(info: *mut VddkInfo) {
    // SAFETY: what is wrong with the pointer is for the library to find out: it looks it up.
    unsafe { VixDiskLib_FreeInfo(info) };
}

/// Something of the client's that is not null.
fn some() -> *mut c_char {
    c"x".as_ptr().cast_mut()
}

macro_rules! rules {
    ($($test:ident => $rule:expr, $scenario:expr;)*) => {
        $(#[test]
        fn $test() {
            provoke(stringify!($test), $rule, $scenario);
        })*
    };
}

rules! {
    a_program_that_keeps_the_rules_ends_well => None, |program: &Program| {
        let disk = program.open(0);
        free_info(program.info(disk));
        assert_eq!(write_async(disk, ignore_end), 25000);
        assert_eq!(VixDiskLib_Wait(disk.disk()), 0);
        assert_eq!(VixDiskLib_Flush(disk.disk()), 0);
        assert_eq!(VixDiskLib_Close(disk.disk()), 0);
        let text = VixDiskLib_GetErrorText(13, ptr::null());
        // SAFETY: from the function above, and not used again.
        unsafe { VixDiskLib_FreeErrorText(text) };
        assert_eq!(VixDiskLib_Disconnect(program.connection.connection()), 0);
        VixDiskLib_Exit();
    };
    a_second_init => Some("init-once"), |program: &Program| {
        program.init();
    };
    a_second_init_after_exit => Some("init-once"), |program: &Program| {
        VixDiskLib_Disconnect(program.connection.connection());
        VixDiskLib_Exit();
        program.init();
    };
    exit_by_another_thread => Some("exit-thread"), |program: &Program| {
        VixDiskLib_Disconnect(program.connection.connection());
        thread::spawn(|| VixDiskLib_Exit()).join().unwrap();
    };
    use_in_a_forked_process => Some("fork"), |program: &Program| {
        let disk = program.open(4);
        // SAFETY: the child calls one function of the library, which ends it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            VixDiskLib_Flush(disk.disk());
            std::process::exit(0);
        }
        let mut status = 0;
        // SAFETY: the status has a place.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "{status}");
        std::process::abort();
    };
    a_call_from_a_completion => Some("callback"), |program: &Program| {
        write_async(program.open(0), wait_at_end);
    };
    a_call_from_a_log_line => Some("callback"), |program: &Program| {
        CALL_FROM_LOG.store(true, Ordering::Relaxed);
        program.open(4);
    };
    opening_while_another_thread_creates => Some("one-control-call"), |program: &Program| {
        program.create(c"b.vmdk", true);
    };
    close_by_another_thread => Some("close-thread"), |program: &Program| {
        let disk = program.open(4);
        thread::spawn(move || VixDiskLib_Close(disk.disk())).join().unwrap();
    };
    disconnect_by_another_thread => Some("disconnect-thread"), |program: &Program| {
        let connection = program.connection;
        thread::spawn(move || VixDiskLib_Disconnect(connection.connection())).join().unwrap();
    };
    two_reads_at_once => Some("one-call-per-disk"), |program: &Program| {
        let rule = FaultRule { function: "Read".to_owned(), delay_ms: Some(2000), ..FaultRule::default() };
        program.faults(rule);
        let disk = program.open(4);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || read(disk, 1, &mut [0; 512]));
            }
        });
    };
    closing_during_a_read => Some("one-call-per-disk"), |program: &Program| {
        let rule = FaultRule { function: "Read".to_owned(), delay_ms: Some(2000), ..FaultRule::default() };
        program.faults(rule);
        let disk = program.open(4);
        thread::spawn(move || read(disk, 1, &mut [0; 512]));
        thread::sleep(Duration::from_millis(500));
        VixDiskLib_Close(disk.disk());
    };
    synchronous_and_asynchronous_transfers => Some("sync-or-async"), |program: &Program| {
        let disk = program.open(0);
        read(disk, 1, &mut [0; 512]);
        write_async(disk, ignore_end);
    };
    close_without_wait => Some("wait-before-close"), |program: &Program| {
        // That the request has ended by then is luck.
        let disk = program.open(0);
        write_async(disk, ignore_end);
        VixDiskLib_Close(disk.disk());
    };
    flush_with_a_write_under_way => Some("wait-before-flush"), |program: &Program| {
        program.faults(FaultRule {
            function: "WriteAsync".to_owned(),
            effect: Some(FaultEffect::Threaded),
            delay_ms: Some(2000),
            ..FaultRule::default()
        });
        let disk = program.open(0);
        write_async(disk, ignore_end);
        VixDiskLib_Flush(disk.disk());
    };
    use_after_close => Some("use-after-close"), |program: &Program| {
        let disk = program.open(4);
        VixDiskLib_Close(disk.disk());
        read(disk, 1, &mut [0; 512]);
    };
    a_second_close => Some("use-after-close"), |program: &Program| {
        let disk = program.open(4);
        VixDiskLib_Close(disk.disk());
        VixDiskLib_Close(disk.disk());
    };
    use_of_what_was_never_opened => Some("use-after-close"), |program: &Program| {
        VixDiskLib_Wait(Number(program.open(4).0 + 1).disk());
    };
    use_after_disconnect => Some("use-after-disconnect"), |program: &Program| {
        VixDiskLib_Disconnect(program.connection.connection());
        program.open(4);
    };
    disconnect_before_close => Some("disks-before-connection"), |program: &Program| {
        program.open(4);
        VixDiskLib_Disconnect(program.connection.connection());
    };
    no_machine => Some("null-parameters"), |program: &Program| {
        program.connect_with(|params| params.server = some());
    };
    no_server => Some("null-parameters"), |program: &Program| {
        program.connect_with(|params| params.vm = c"moref=vm-1".as_ptr().cast_mut());
    };
    no_password => Some("null-parameters"), |program: &Program| {
        program.connect_with(|params| {
            params.vm = c"moref=vm-1".as_ptr().cast_mut();
            params.server = some();
            params.credential_type = 1;
            params.credentials.password.user = some();
        });
    };
    no_cookie => Some("null-parameters"), |program: &Program| {
        program.connect_with(|params| {
            params.vm = c"moref=vm-1".as_ptr().cast_mut();
            params.server = some();
            params.credential_type = 2;
            params.credentials.session.user = some();
        });
    };
    a_query_between_chunks => Some("query-alignment"), |program: &Program| {
        let mut list = ptr::null_mut();
        // SAFETY: the list has a place.
        unsafe { VixDiskLib_QueryAllocatedBlocks(program.open(4).disk(), 64, 128, 128, &raw mut list) };
    };
    a_query_in_chunks_that_are_too_small => Some("query-alignment"), |program: &Program| {
        let mut list = ptr::null_mut();
        // SAFETY: the list has a place.
        unsafe { VixDiskLib_QueryAllocatedBlocks(program.open(4).disk(), 0, 128, 64, &raw mut list) };
    };
    an_unbuffered_read_into_odd_memory => Some("buffer-alignment"), |program: &Program| {
        let mut memory = [0u8; 2048];
        let odd = memory.as_ptr().align_offset(512) + 8;
        read(program.open(5), 1, &mut memory[odd..]);
    };
    a_read_of_nothing => Some("empty-request"), |program: &Program| {
        read(program.open(4), 0, &mut []);
    };
    information_given_back_twice => Some("free-once"), |program: &Program| {
        let info = program.info(program.open(4));
        free_info(info);
        free_info(info);
    };
    memory_of_the_client_given_back => Some("free-once"), |_: &Program| {
        free_info(Box::leak(Box::new([0u8; 64])).as_mut_ptr().cast());
    };
    information_given_back_as_a_text => Some("free-with-its-function"), |program: &Program| {
        let info = program.info(program.open(4));
        // SAFETY: the library looks the pointer up.
        unsafe { VixDiskLib_FreeErrorText(info.cast()) };
    };
    a_certificate_for_a_release_without => Some("block-size"), |_: &Program| {
        let params = VixDiskLib_AllocateConnectParams();
        // SAFETY: behind the block of 8.0 this library has room for what is wrongly written there.
        let place = unsafe { &raw mut (*params).certificate };
        // SAFETY: as above.
        unsafe { place.write(some()) };
        // SAFETY: from the function above, and not used again.
        unsafe { VixDiskLib_FreeConnectParams(params) };
    };
    exit_with_an_open_disk => Some("leak-at-exit"), |program: &Program| {
        program.open(4);
        VixDiskLib_Exit();
    };
    exit_with_memory_that_was_not_given_back => Some("leak-at-exit"), |program: &Program| {
        let disk = program.open(4);
        program.info(disk);
        VixDiskLib_Close(disk.disk());
        VixDiskLib_Disconnect(program.connection.connection());
        VixDiskLib_Exit();
    };
}
