//! First-class disks, which are found by their ids and not by a machine.

use vixdisklib::{ByteOffset, ConnectOptions, ConnectParams, Connection, OpenOptions, StorageObject};

use super::world::{FIRST_CLASS, HOST, World, library, password, thumbprint};

const NOW: &str = "[ds] fcd/disk-000001.vmdk";
const THEN: &str = "[ds] fcd/disk.vmdk";

fn connect(world: &World, disk: StorageObject) -> Connection {
    let params = ConnectParams::storage_object(HOST, disk, password("correct horse"));
    let params = params.port(world.port).thumbprint(thumbprint()).build().unwrap();
    library().connect(&params, ConnectOptions::new()).unwrap()
}

fn beginning(disk: &vixdisklib::Disk) -> [u8; 6] {
    let mut bytes = [0; 6];
    disk.read_at(ByteOffset(0), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_disk_and_its_snapshot_are_each_of_their_time() {
    if !super::setup::is_at_least(fake_vddk::Release::V6_7) {
        return;
    }
    let world = World::new();
    let now = StorageObject::new(FIRST_CLASS, "datastore-1");
    let connection = connect(&world, now.clone());
    let disk = connection.open(NOW, OpenOptions::read_write()).unwrap();
    assert_eq!(&beginning(&disk), b"at now");
    disk.write_at(ByteOffset(0), &[b'w'; 512]).unwrap();
    assert_eq!(&beginning(&disk), b"wwwwww");
    disk.close().unwrap();
    let connection = connect(&world, now.snapshot("5-6"));
    assert_eq!(&beginning(&connection.open(THEN, OpenOptions::read_only()).unwrap()), b"frozen");
    assert_eq!(connection.open(THEN, OpenOptions::read_write()).unwrap_err().code(), Some(15));
    assert_eq!(connection.open(NOW, OpenOptions::read_only()).unwrap_err().code(), Some(4));
}

#[test]
fn what_does_not_fit_together_is_no_disk() {
    if !super::setup::is_at_least(fake_vddk::Release::V6_7) {
        return;
    }
    let world = World::new();
    let elsewhere = connect(&world, StorageObject::new(FIRST_CLASS, "datastore-2"));
    assert_eq!(elsewhere.open(NOW, OpenOptions::read_only()).unwrap_err().code(), Some(25));
    let unknown = StorageObject::new(FIRST_CLASS, "datastore-1").snapshot("7-8");
    assert_eq!(connect(&world, unknown).open(THEN, OpenOptions::read_only()).unwrap_err().code(), Some(25));
}
