//! Disks, names and moments that cannot work.

use std::fs::File;

use sim_store::{Disk, DiskSpec};
use vixdisklib::{ConnectOptions, ConnectParams};
use vixmntapi::{Access, Error, ErrorKind};

use crate::world::{MIB, World, fat, library, mbr, temporary};

fn disk(world: &World, content: &[u8]) -> String {
    let path = world.path("bad.vmdk");
    let disk = Disk::create(&path, &DiskSpec::thin(16 * MIB)).unwrap();
    disk.write_at(0, content).unwrap();
    path
}

/// The error of listing the volumes of a disk that begins with `content`.
fn list(world: &World, content: &[u8]) -> Error {
    let path = disk(world, content);
    let mut set = world.mounting.open_disks(&world.connect(), &[&path], Access::ReadOnly).unwrap();
    let error = set.volumes().unwrap_err();
    set.close().unwrap();
    sim_store::delete(path.as_ref()).unwrap();
    error
}

#[test]
fn tables_that_are_none() {
    let world = World::new();
    assert_eq!(list(&world, &[0; 512]).code(), Some(24007));
    assert_eq!(list(&world, &mbr(&[(0x06, 2048, u32::MAX)])).code(), Some(24007));
    assert_eq!(list(&world, &mbr(&[(0xee, 1, u32::MAX)])).code(), Some(24007));
    assert_eq!(list(&world, &mbr(&[])).code(), Some(24010));
    world.assert_clean();
}

#[test]
fn file_systems_that_are_damaged() {
    let world = World::new();
    let good = fat(8 * MIB, &[("A.TXT", &[7; 100_000])]);
    let word = |at: usize| usize::from(u16::from_le_bytes([good[at], good[at + 1]]));
    // The tables of clusters, without their first two entries, which are none.
    let tables = word(14) * 512 + 4..(word(14) + usize::from(good[16]) * word(22)) * 512;
    // Numbers of the boot sector; the chain of the file.
    for (range, damage) in [(11..62, 0xff), (tables, 0)] {
        let mut content = mbr(&[(0x06, 1, 16384)]);
        content.extend_from_slice(&good);
        content[512 + range.start..512 + range.end].fill(damage);
        let path = disk(&world, &content);
        let connection = world.connect();
        let mut set = world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
        let volumes = set.volumes().unwrap();
        let error = volumes.get(0).unwrap().mount(Access::ReadOnly).unwrap_err();
        assert_eq!(error.code(), Some(24020), "{error}");
        drop(volumes);
        drop(set);
        sim_store::delete(path.as_ref()).unwrap();
    }
    world.assert_clean();
}

#[test]
fn names_are_refused_before_the_call() {
    let world = World::new();
    let path = world.mbr_disk(&[]);
    let connection = world.connect();
    let cases: [&[&str]; 4] = [&[], &[&path, &path], &[""], &["/a\0b.vmdk"]];
    for names in cases {
        let error = world.mounting.open_disks(&connection, names, Access::ReadOnly).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None), "{names:?}");
    }
    // None of them took the place of a set.
    world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap().close().unwrap();
    world.assert_clean();
}

#[test]
fn what_a_connection_does_not_allow_is_refused_before_the_call() {
    let world = World::new();
    let path = world.mbr_disk(&[]);
    let read_only = ConnectOptions::new().read_only(true);
    let connection = library().connect(&ConnectParams::local(), read_only).unwrap();
    let error = world.mounting.open_disks(&connection, &[&path], Access::ReadWrite).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
    world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    world.assert_clean();
}

#[test]
fn disks_that_cannot_be_opened() {
    let world = World::new();
    let path = world.mbr_disk(&[]);
    let connection = world.connect();
    let open = |path: &str, access| world.mounting.open_disks(&connection, &[path], access).unwrap_err();
    let error = open(&world.path("none.vmdk"), Access::ReadOnly);
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some(24002)));
    assert_eq!(open("relative.vmdk", Access::ReadOnly).code(), Some(24006));
    // Someone writes to it.
    let writer = connection.open(&path, vixdisklib::OpenOptions::read_write()).unwrap();
    let error = open(&path, Access::ReadWrite);
    assert_eq!(error.code(), Some(24005));
    assert!(error.to_string().contains("snapshot"), "{error}");
    writer.close().unwrap();
    // Another program mounts.
    let lock = File::create(temporary().join("vixmntapi.lock")).unwrap();
    lock.lock().unwrap();
    let error = open(&path, Access::ReadOnly);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Busy, Some(24014)));
    drop(lock);
    world.mounting.open_disks(&connection, &[&path], Access::ReadOnly).unwrap();
    world.assert_clean();
}
