//! Ten thousand rounds of opening and closing, in a process of its own: nothing is left of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use futures::task::noop_waker;
use vixdisklib::{
    AlignedBuf, ConnectOptions, ConnectParams, CreateSpec, DiskType, IoMode, Library, LibraryOptions,
    OpenOptions, Sectors,
};

const ROUNDS: usize = 10_000;
/// After so many, whatever is kept for ever (buffers of the allocator, of the log) has been made.
const WARM: usize = 1_000;

/// What a process can leak.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    kibibytes: u64,
}

impl Held {
    fn now() -> Held {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Held {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            kibibytes: resident.trim().trim_end_matches("kB").trim().parse().unwrap(),
        }
    }
}

/// One round: a connection, a disk in one of its modes, and each way of leaving it.
fn round(library: &Arc<Library>, path: &str, number: usize) {
    let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    let mode = if number.is_multiple_of(2) { IoMode::Sync } else { IoMode::Async };
    let disk = connection.open(path, OpenOptions::read_only().io_mode(mode)).unwrap();
    let mut sector = [0; 512];
    disk.read(Sectors(1), &mut sector).unwrap();
    assert_eq!(sector, [5; 512]);
    let mut read = pin!(disk.read_async(Sectors(1), AlignedBuf::zeroed(4096).unwrap()));
    if number.is_multiple_of(3) {
        drop(read.as_mut().poll(&mut Context::from_waker(&noop_waker())));
    }
    assert!(connection.open("/nowhere/none.vmdk", OpenOptions::read_only()).unwrap_err().is_not_found());
    match number % 4 {
        0 => drop((disk, connection)),
        1 => drop((connection, disk)),
        2 => {
            disk.close().unwrap();
            connection.close().unwrap();
        }
        _ => {
            // A disk keeps its connection.
            connection.close().unwrap_err();
            disk.close().unwrap();
        }
    }
}

#[test]
fn ten_thousand_rounds_leave_no_memory_thread_or_descriptor() {
    let root = tempfile::tempdir().unwrap();
    let kit = root.path().join("kit");
    fake_vddk::install(&kit).unwrap();
    let library =
        Library::open(LibraryOptions::new(&kit).in_process().temp_directory(root.path().join("tmp")))
            .unwrap();
    let path = root.path().join("a.vmdk").to_str().unwrap().to_owned();
    let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    connection.create(&path, &CreateSpec::new(DiskType::MonolithicSparse, Sectors(4096)), |_| {}).unwrap();
    let disk = connection.open(&path, OpenOptions::read_write()).unwrap();
    disk.write(Sectors(0), &[5; 8192]).unwrap();
    disk.close().unwrap();
    connection.close().unwrap();

    (0..WARM).for_each(|number| round(&library, &path, number));
    let before = Held::now();
    (WARM..ROUNDS).for_each(|number| round(&library, &path, number));
    let after = Held::now();
    assert_eq!(after.descriptors, before.descriptors, "{before:?} {after:?}");
    // The queue of a disk whose last future was dropped ends on its own, a moment later.
    assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
    // A leak of 300 bytes a round would be more.
    assert!(after.kibibytes < before.kibibytes + 2600, "{before:?} {after:?}");
    let calls = |name: &str| {
        library.statistics().iter().find(|row| row.name == name).map_or(0, |row| row.calls - row.failures)
    };
    assert_eq!(calls("VixDiskLib_Open"), ROUNDS as u64 + 1);
    assert_eq!(calls("VixDiskLib_Close"), ROUNDS as u64 + 1);
    assert_eq!(calls("VixDiskLib_Disconnect"), ROUNDS as u64 + 1);
}
