//! A kit, disks of this machine, and workers to kill. Each test has a worker of its own, since each does harm to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, CreateSpec, Disk, DiskType, Library, LibraryOptions,
    OpenOptions, Sectors,
};

pub(crate) const ENTRY: &str = "stage::worker_entry";
pub(crate) const SECTORS: u64 = 16 << 11;

/// In a worker process of this program, this is what runs; here it does nothing.
#[test]
fn worker_entry() {
    vixdisklib::worker::serve_if_asked();
}

pub(crate) struct Stage {
    pub(crate) root: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let root = tempfile::tempdir().unwrap();
        fake_vddk::install(&root.path().join("kit")).unwrap();
        Stage { root }
    }

    pub(crate) fn kit(&self) -> PathBuf {
        self.root.path().join("kit")
    }

    pub(crate) fn options(&self) -> LibraryOptions {
        LibraryOptions::new(self.kit()).temp_directory(self.root.path().join("tmp")).worker_test(ENTRY)
    }

    pub(crate) fn library(&self) -> Arc<Library> {
        Library::open(self.options()).unwrap()
    }

    /// A disk of [`SECTORS`] with a pattern on it.
    pub(crate) fn disk(&self, library: &Arc<Library>) -> String {
        let path = self.root.path().join("a.vmdk").to_str().unwrap().to_owned();
        if !Path::new(&path).exists() {
            let connection = connect(library);
            let spec = CreateSpec::new(DiskType::MonolithicFlat, Sectors(SECTORS));
            connection.create(&path, &spec, |_| {}).unwrap();
            let disk = connection.open(&path, OpenOptions::read_write()).unwrap();
            disk.write(Sectors(0), &pattern()).unwrap();
            disk.close().unwrap();
        }
        path
    }

    pub(crate) fn open(&self, library: &Arc<Library>, options: OpenOptions) -> Disk {
        connect(library).open(&self.disk(library), options).unwrap()
    }
}

pub(crate) fn connect(library: &Arc<Library>) -> Connection {
    library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap()
}

pub(crate) fn pattern() -> Vec<u8> {
    (0..SECTORS as usize * 512).map(|at| (at / 512) as u8 ^ (at % 253) as u8).collect()
}

/// Sends a signal by the shell.
pub(crate) fn signal(worker: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {worker}")]).status().unwrap();
    assert!(sent.success());
}

/// Whether the process runs; a zombie does not.
pub(crate) fn runs(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Whether all threads of the process have been stopped.
pub(crate) fn is_stopped(process: u32) -> bool {
    let states = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| {
        std::fs::read_to_string(task.unwrap().path().join("stat"))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
    });
    states.fold(true, |all, stopped| all && stopped)
}

/// Whether the process has a handler for a signal.
pub(crate) fn handles(process: u32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
