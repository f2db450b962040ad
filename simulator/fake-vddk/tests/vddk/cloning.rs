//! Cloning: from here and from servers, to here and to servers.

use vixdisklib::{CreateSpec, DiskType, ErrorKind, IoMode, OpenOptions, SectorRange, Sectors, TransportMode};

use super::folder::{CREATABLE, Folder, SECTORS};
use super::world::{CAPACITY, FROZEN, OFF, World, pattern};

fn spec(disk_type: DiskType) -> CreateSpec {
    CreateSpec::new(disk_type, Sectors(SECTORS))
}

#[test]
fn every_type_is_cloned_to_every_type() {
    let folder = Folder::new();
    let base = folder.create("base.vmdk", DiskType::MonolithicSparse);
    folder.write(&base, 0, &pattern(1, 1 << 20));
    let source = folder.path("top.vmdk");
    let disk = folder.open(&base, OpenOptions::read_only());
    disk.create_child(&source, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    folder.write(&source, SECTORS - 3, &pattern(2, 3 * 512));
    let content = folder.content(&source);
    let mut from = source;
    let types = CREATABLE.into_iter().chain([DiskType::StreamOptimized, DiskType::MonolithicSparse]);
    for (number, disk_type) in types.enumerate() {
        let to = folder.path(&format!("clone{number}.vmdk"));
        let mut heard = Vec::new();
        let hear = |percent| heard.push(percent);
        folder.connection.clone_disk(&to, &folder.connection, &from, &spec(disk_type), false, hear).unwrap();
        assert!(heard.len() > 3 && heard.is_sorted() && heard.last() == Some(&100), "{heard:?}");
        assert!(folder.content(&to) == content, "{disk_type:?}");
        let clone = folder.open(&to, OpenOptions::read_only());
        assert_eq!((clone.info().links, clone.info().parent.as_deref()), (1, None));
        drop(clone);
        from = to;
    }
}

#[test]
fn a_clone_overwrites_when_it_is_told_to() {
    let folder = Folder::new();
    let from = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&from, 0, &pattern(1, 512));
    let to = folder.create("b.vmdk", DiskType::SplitSparse);
    let clone = |to: &str, overwrite| {
        let spec = spec(DiskType::MonolithicFlat);
        folder.connection.clone_disk(to, &folder.connection, &from, &spec, overwrite, |_| {})
    };
    assert_eq!(clone(&to, false).unwrap_err().code(), Some(12));
    let open = folder.open(&to, OpenOptions::read_write());
    assert!(clone(&to, true).unwrap_err().is_locked());
    open.close().unwrap();
    clone(&to, true).unwrap();
    assert_eq!(folder.files(), ["a.vmdk", "b-flat.vmdk", "b.vmdk"]);
    assert!(folder.content(&to) == folder.content(&from));
    assert_eq!(clone(&from, true).unwrap_err().code(), Some(3));
    assert!(folder.exists("a.vmdk"));
}

#[test]
fn a_snapshot_on_a_server_is_cloned_here_and_back() {
    let world = World::new();
    let folder = Folder::new();
    let here = folder.path("a.vmdk");
    let frozen = world.connect_to_snapshot();
    let stream = spec(DiskType::StreamOptimized);
    folder.connection.clone_disk(&here, &frozen, FROZEN, &stream, false, |_| {}).unwrap();
    assert!(folder.content(&here) == world.stored("on", 0, CAPACITY as usize));

    folder.connection.unlink(&here).unwrap();
    folder.connection.clone_disk(&here, &frozen, FROZEN, &spec(DiskType::VmfsThin), false, |_| {}).unwrap();
    folder.write(&here, 0, &pattern(9, 4096));
    folder.write(&here, 2048, &[0; 512]);
    let server = world.connect("vm-201");
    let back = |overwrite| {
        server.clone_disk(OFF, &folder.connection, &here, &spec(DiskType::VmfsThin), overwrite, |_| {})
    };
    assert_eq!(back(false).unwrap_err().code(), Some(12));
    back(true).unwrap();
    assert!(world.stored("off", 0, CAPACITY as usize) == folder.content(&here));
    let small = folder.create("small.vmdk", DiskType::VmfsThin);
    let error = server
        .clone_disk(OFF, &folder.connection, &small, &spec(DiskType::VmfsThin), true, |_| {})
        .unwrap_err();
    assert_eq!(error.code(), Some(16067));
    let error = frozen
        .clone_disk(FROZEN, &folder.connection, &here, &spec(DiskType::VmfsThin), true, |_| {})
        .unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::ReadOnly, None));
}

#[test]
fn the_space_for_a_clone_is_that_of_its_type() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, 128, &pattern(1, 1 << 20));
    let disk = folder.open(&path, OpenOptions::read_only());
    let space = |disk_type| disk.space_needed_for_clone(disk_type).unwrap();
    assert_eq!(space(Some(DiskType::MonolithicFlat)), SECTORS * 512);
    let sparse = space(Some(DiskType::MonolithicSparse));
    assert!((1 << 20..2 << 20).contains(&sparse), "{sparse}");
    assert_eq!(space(None), sparse);
    assert!(space(Some(DiskType::MonolithicSparse)) >= std::fs::metadata(&path).unwrap().len() - (128 << 10));
}

#[test]
fn a_stream_is_read_and_not_written() {
    let folder = Folder::new();
    let source = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&source, 256, &pattern(1, 64 << 10));
    let path = folder.path("s.vmdk");
    let stream = spec(DiskType::StreamOptimized);
    folder.connection.clone_disk(&path, &folder.connection, &source, &stream, false, |_| {}).unwrap();
    let error = folder.connection.open(&path, OpenOptions::read_write()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(11), ErrorKind::ReadOnly));
    assert!(!folder.exists("s.vmdk.lck"));
    let disk = folder.open(&path, OpenOptions::read_only().io_mode(IoMode::Async));
    let range = SectorRange::between(Sectors(0), Sectors(1280)).unwrap();
    let blocks = disk.allocated_blocks(range).unwrap();
    assert_eq!(blocks.known, super::setup::is_at_least(fake_vddk::Release::V6_7));
    let written = SectorRange::between(Sectors(256), Sectors(384)).unwrap();
    assert_eq!(blocks.ranges, [if blocks.known { written } else { range }]);
    assert_eq!(disk.transport_mode(), &TransportMode::File);
}

#[test]
fn a_clone_of_nothing_leaves_nothing() {
    let folder = Folder::new();
    let (none, to) = (folder.path("none.vmdk"), folder.path("to.vmdk"));
    let spec = spec(DiskType::VmfsThin);
    let clone = |from: &str, to: &str| {
        folder.connection.clone_disk(to, &folder.connection, from, &spec, false, |_| {}).unwrap_err()
    };
    assert!(clone(&none, &to).is_not_found());
    assert_eq!(clone(&none, "to.vmdk").kind(), ErrorKind::InvalidArgument);
    assert_eq!(folder.files(), [""; 0]);
}
