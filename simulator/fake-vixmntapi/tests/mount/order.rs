//! Whatever is dropped first, things are given back in the library's order, and nothing leaks.

use std::fs::{self, File};
use std::mem;

use vixmntapi::{Access, ErrorKind};

use crate::world::{World, temporary};

#[test]
fn the_connection_may_go_first() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    assert_eq!(connection.close().unwrap_err().kind(), ErrorKind::Misuse);
    let volumes = set.volumes().unwrap();
    let mounted = volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap();
    assert_eq!(fs::read(mounted.path().join("A.TXT")).unwrap(), b"a");
    drop(mounted);
    drop(volumes);
    set.close().unwrap();
    world.assert_clean();
}

#[test]
fn a_leaked_mount_is_dismounted_by_its_list() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    let volumes = set.volumes().unwrap();
    mem::forget(volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap());
    drop(volumes);
    let volumes = set.volumes().unwrap();
    assert!(!volumes.get(0).unwrap().info().unwrap().is_mounted);
    drop(volumes);
    set.close().unwrap();
    world.assert_clean();
}

#[test]
fn values_travel_between_threads() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    let set = std::thread::spawn(move || {
        let volumes = set.volumes().unwrap();
        std::thread::scope(|scope| {
            let mounted = volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap();
            let other = scope.spawn(|| volumes.iter().filter(|volume| volume.info().is_ok()).count());
            scope.spawn(move || drop(mounted));
            assert_eq!(other.join().unwrap(), 4);
        });
        drop(volumes);
        set
    })
    .join()
    .unwrap();
    drop(set);
    world.assert_clean();
}

#[test]
fn a_volume_is_mounted_once_and_a_process_has_one_set() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let open = || world.mounting.open_disks(&connection, &[&path], Access::ReadOnly);
    let mut set = open().unwrap();
    let error = open().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Busy, None));
    assert!(error.is_retryable());
    let volumes = set.volumes().unwrap();
    let volume = volumes.get(0).unwrap();
    let mut mounted = volume.mount(Access::ReadOnly).unwrap();
    let error = volume.mount(Access::ReadOnly).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::AlreadyExists, None));

    let held = File::open(mounted.path().join("A.TXT")).unwrap();
    let error = mounted.dismount(false).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Mount, Some(24009)));
    assert!(error.to_string().contains("by force"), "{error}");
    mounted.dismount(true).unwrap();
    assert_eq!(mounted.dismount(true).unwrap_err().kind(), ErrorKind::Closed);
    drop(held);
    // It can be mounted again, and the old guard has no say in it.
    let again = volume.mount(Access::ReadOnly).unwrap();
    drop(mounted);
    assert!(again.path().exists());
    drop(again);
    drop(volumes);
    drop(set);
    open().unwrap().close().unwrap();
    world.assert_clean();
}

#[test]
fn a_thousand_rounds_leak_nothing() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a"), ("folder/B.TXT", b"b")]);
    let connection = world.connect();
    let round = |number: usize| {
        let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
        if number.is_multiple_of(50) {
            set.info().unwrap();
        }
        let volumes = set.volumes().unwrap();
        let mounted = volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap();
        assert!(mounted.path().join("folder/B.TXT").exists());
        volumes.get(3).unwrap().mount(Access::ReadOnly).unwrap_err();
        volumes.get(0).unwrap().info_ex().unwrap();
    };
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    round(0);
    let before =
        (count("/proc/self/fd"), count("/proc/self/task"), fs::read_dir(temporary()).unwrap().count());
    (1..=1000).for_each(round);
    let after =
        (count("/proc/self/fd"), count("/proc/self/task"), fs::read_dir(temporary()).unwrap().count());
    // Other tests wait for their turn meanwhile: each has its thread, and nothing else. The harness starts a thread for a
    // test that it had no place for, so threads may come and go, but not by the thousand.
    assert_eq!((before.0, before.2), (after.0, after.2));
    assert!(after.1.abs_diff(before.1) < 20, "{before:?} {after:?}");
    world.assert_clean();
}
