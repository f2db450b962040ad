//! Several openers at once: other processes, and structure that changes under readers.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use sim_store::{Access, Disk, DiskSpec, ErrorKind, Scope, snapshot, tracking};

const DISK: &str = "SIM_STORE_TEST_DISK";

/// Not a test of its own: the other process of the next test, which starts it by name.
#[test]
#[ignore = "started by a_killed_writer_leaves_no_lock"]
fn other_process() {
    let path = PathBuf::from(std::env::var_os(DISK).unwrap());
    let disk = Disk::open(path, Access::ReadWrite, Scope::WholeChain).unwrap();
    disk.write_at(100_000, b"written by another process").unwrap();
    println!("\nwritten");
    std::thread::sleep(std::time::Duration::from_secs(60));
    drop(disk);
}

#[test]
fn a_killed_writer_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("vm.vmdk");
    drop(Disk::create(&base, &DiskSpec::thin(1 << 20)).unwrap());
    tracking::enable(&base, None).unwrap();
    let taken = snapshot::create(&base).unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "other_process", "--nocapture"])
        .env(DISK, &taken.child)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "written"));

    let reader = Disk::open(&taken.child, Access::ReadOnly, Scope::WholeChain).unwrap();
    let mut text = [0; 7];
    reader.read_at(100_000, &mut text).unwrap();
    assert_eq!(&text, b"written");
    let error = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let since = taken.change_id.unwrap().to_string();
    assert_eq!(tracking::query(&taken.child, &since, 0, 10).unwrap().extents[0].offset, 65_536);

    other.kill().unwrap();
    other.wait().unwrap();
    let disk = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain).unwrap();
    disk.read_at(100_000, &mut text).unwrap();
    assert_eq!(&text, b"written");
}

#[test]
fn readers_never_see_half_a_change_of_structure() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("vm.vmdk");
    drop(Disk::create(&base, &DiskSpec::thin(1 << 20)).unwrap());
    let mut live = base.clone();
    for _ in 0..40 {
        live = snapshot::create(&live).unwrap().child;
    }
    Disk::open(&live, Access::ReadWrite, Scope::WholeChain).unwrap().write_at(0, b"top").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while !done.load(Ordering::Relaxed) {
                        let disk = Disk::open(&live, Access::ReadOnly, Scope::WholeChain).unwrap();
                        let mut text = [0; 3];
                        disk.read_at(0, &mut text).unwrap();
                        assert_eq!(&text, b"top");
                        opened += 1;
                    }
                    opened
                })
            })
            .collect();
        // Each merge renames the base's, the merged link's and the next link's descriptors.
        for left in (1..40).rev() {
            let removal = snapshot::remove_link(&base, &[], &mut |_, _| {}).unwrap();
            assert!(matches!(removal, snapshot::Removal::Merged { .. }));
            let disk = Disk::open(&live, Access::ReadOnly, Scope::WholeChain).unwrap();
            assert_eq!(disk.links().len(), left + 1);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
