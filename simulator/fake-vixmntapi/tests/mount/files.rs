//! What is read through a mount is what is on the disk.

use std::fs::{self, File};

use sim_store::guest::image::verify;
use vixmntapi::{Access, ErrorKind, OsFamily, VolumeKind};

use crate::world::{MIB, World, tree};

#[test]
fn the_files_of_a_gpt_disk_are_those_of_its_manifest() {
    let world = World::new();
    let (path, manifest) = world.gpt_disk();
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    assert_eq!((set.path(), set.access()), (path.as_str(), Access::ReadOnly));

    let info = set.info().unwrap();
    assert_eq!(info.open_flags, 4);
    let flat = info.flat_file.unwrap();
    assert_eq!(fs::metadata(&flat).unwrap().len(), 64 * MIB);
    verify(&mut File::open(&flat).unwrap(), &manifest).unwrap();
    assert_eq!(set.info().unwrap().flat_file.as_ref(), Some(&flat), "asked again, it is the same file");

    let volumes = set.volumes().unwrap();
    assert_eq!((volumes.len(), volumes.is_empty(), volumes.iter().count()), (1, false, 1));
    assert!(volumes.get(1).is_none());
    let volume = volumes.get(0).unwrap();
    let before = volume.info().unwrap();
    assert_eq!((before.kind, before.is_mounted, before.path), (VolumeKind::Gpt, false, None));
    let before = volume.info_ex().unwrap();
    assert_eq!((before.bytes_per_sector, before.sizes), (512, None));

    let mut mounted = volume.mount(Access::ReadOnly).unwrap();
    assert_eq!(tree(mounted.path()), manifest.files);
    assert_eq!(mounted.volume().info().unwrap().path.as_deref(), Some(mounted.path()));
    let after = volume.info_ex().unwrap();
    let sizes = after.sizes.unwrap();
    assert!(after.volume.is_mounted && after.volume.guest_mount_points.is_empty());
    assert!(sizes.capacity > 55 * MIB && sizes.capacity < 64 * MIB, "{sizes:?}");
    assert!(sizes.used > manifest.bytes_total() && sizes.used < 4 * MIB, "{sizes:?}");
    assert!(sizes.cluster.is_power_of_two());

    let place = mounted.path().to_owned();
    mounted.dismount(false).unwrap();
    assert!(!place.exists() && !volume.info().unwrap().is_mounted);
    drop(mounted);
    drop(volumes);
    set.close().unwrap();
    assert!(!flat.exists());
    connection.close().unwrap();
    world.assert_clean();
}

#[test]
fn partitions_of_an_mbr_are_told_apart() {
    let world = World::new();
    let path = world.mbr_disk(&[("empty/sub/Long name of a file.txt", b"long"), ("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    let volumes = set.volumes().unwrap();
    let kinds: Vec<_> = volumes.iter().map(|volume| volume.info().unwrap().kind).collect();
    assert_eq!(kinds, [VolumeKind::Basic, VolumeKind::Lvm, VolumeKind::Basic, VolumeKind::Basic]);

    let mount = |index: usize| volumes.get(index).unwrap().mount(Access::ReadOnly);
    let mounted = mount(0).unwrap();
    assert_eq!(fs::read(mounted.path().join("A.TXT")).unwrap(), b"a");
    assert_eq!(fs::read(mounted.path().join("empty/sub/Long name of a file.txt")).unwrap(), b"long");
    let lvm = mount(1).unwrap_err();
    assert_eq!((lvm.kind(), lvm.code()), (ErrorKind::Unsupported, None), "refused before the call");
    for (index, code) in [(2, 24010), (3, 24020)] {
        let error = mount(index).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Mount, Some(code)), "{error}");
        assert!(error.advice().is_some() && !error.log_lines().is_empty(), "{error:#}");
    }
    drop(mounted);
    drop(volumes);
    drop(set);
    world.assert_clean();
}

#[test]
fn writing_is_refused_where_it_would_not_reach_the_disk() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    let volumes = set.volumes().unwrap();
    let error = volumes.get(0).unwrap().mount(Access::ReadWrite).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
    drop(volumes);
    set.close().unwrap();

    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadWrite).unwrap();
    assert_eq!(set.info().unwrap().open_flags, 0);
    let volumes = set.volumes().unwrap();
    let error = volumes.get(0).unwrap().mount(Access::ReadWrite).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::ReadOnly, Some(24322)));
    volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap();
    drop(volumes);
    drop(set);
    world.assert_clean();
}

#[test]
fn recognising_the_system_mounts_and_what_it_mounted_is_taken_over() {
    let world = World::new();
    let marker = br#"{"major": 10, "minor": 3, "is_64_bit": true, "edition": "Server"}"#;
    let path = world.mbr_disk(&[("WINDOWS/simulated-os.json", marker), ("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadWrite).unwrap();
    let volumes = set.volumes().unwrap();
    let os = volumes.os_info().unwrap();
    assert_eq!((os.family, os.version, os.is_64_bit), (OsFamily::Windows, (10, 3), true));
    assert_eq!(os.vendor.as_deref(), Some("Microsoft"));
    assert_eq!((os.edition.as_deref(), os.folder.as_deref()), (Some("Server"), Some("WINDOWS")));

    let volume = volumes.get(0).unwrap();
    assert!(volume.info().unwrap().is_mounted);
    let error = volume.mount(Access::ReadWrite).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::AlreadyExists, Some(24305)));
    let mounted = volume.mount(Access::ReadOnly).unwrap();
    assert_eq!(fs::read(mounted.path().join("A.TXT")).unwrap(), b"a");
    drop(mounted);
    assert!(!volume.info().unwrap().is_mounted);
    // Mounts it again; this time the list gives it back.
    volumes.os_info().unwrap();
    drop(volumes);
    drop(set);
    world.assert_clean();
}

#[test]
fn a_disk_without_windows_is_not_recognised() {
    let world = World::new();
    let path = world.mbr_disk(&[("A.TXT", b"a")]);
    let connection = world.connect();
    let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    let volumes = set.volumes().unwrap();
    let error = volumes.os_info().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, Some(24311)));
    // The search has mounted what it could all the same.
    assert!(volumes.get(0).unwrap().info().unwrap().is_mounted);
    drop(volumes);
    drop(set);
    world.assert_clean();
}
