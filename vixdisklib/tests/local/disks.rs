//! Making, changing and deleting disks.

use vixdisklib::{CreateSpec, DiskType, ErrorKind, OpenOptions, SectorRange, Sectors};

use super::super::setup::library;
use super::folder::{Folder, HOSTED, SECTORS, pattern};

pub(crate) fn hosted_types_are_made_and_deleted() {
    for disk_type in HOSTED {
        let folder = Folder::new();
        let path = folder.path("new.vmdk");
        let spec = CreateSpec::new(disk_type, Sectors(SECTORS));
        let mut heard = Vec::new();
        folder.connection.create(&path, &spec, |percent| heard.push(percent)).unwrap();
        assert!(heard.is_sorted() && heard.iter().all(|percent| *percent <= 100), "{heard:?}");
        let disk = folder.open(&path, OpenOptions::read_only());
        assert_eq!(disk.capacity(), Sectors(SECTORS), "{disk_type:?}");
        disk.close().unwrap();
        assert!(folder.content(&path).iter().all(|byte| *byte == 0), "{disk_type:?}");
        let again = folder.connection.create(&path, &spec, |_| {}).unwrap_err();
        assert_eq!((again.code(), again.kind()), (Some(12), ErrorKind::AlreadyExists), "{disk_type:?}");
        folder.connection.unlink(&path).unwrap();
        assert_eq!(folder.files(), [""; 0], "{disk_type:?}");
        assert!(folder.connection.unlink(&path).unwrap_err().is_not_found());
    }
    // A stream comes from cloning alone.
    let folder = Folder::new();
    let spec = CreateSpec::new(DiskType::StreamOptimized, Sectors(SECTORS));
    assert!(folder.connection.create(&folder.path("s.vmdk"), &spec, |_| {}).unwrap_err().code().is_some());
}

pub(crate) fn disks_grow_and_keep_their_content() {
    for disk_type in HOSTED {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", disk_type);
        folder.write(&path, 100, &pattern(1, 4096));
        folder.connection.grow(&path, Sectors(2 * SECTORS), false, |_| {}).unwrap();
        let disk = folder.open(&path, OpenOptions::read_only());
        assert_eq!(disk.capacity(), Sectors(2 * SECTORS), "{disk_type:?}");
        drop(disk);
        let content = folder.content(&path);
        assert!(content[100 * 512..][..4096] == pattern(1, 4096), "{disk_type:?}");
        assert!(content[SECTORS as usize * 512..].iter().all(|byte| *byte == 0), "{disk_type:?}");
        folder.connection.grow(&path, Sectors(SECTORS), false, |_| {}).unwrap_err();
    }
}

pub(crate) fn disks_are_renamed_with_their_files() {
    for disk_type in HOSTED {
        let folder = Folder::new();
        let path = folder.create("old.vmdk", disk_type);
        folder.write(&path, 0, &pattern(3, 4096));
        let (content, count) = (folder.content(&path), folder.files().len());
        let target = folder.path("new.vmdk");
        library().rename(&path, &target).unwrap();
        assert!(folder.content(&target) == content, "{disk_type:?}");
        let files = folder.files();
        assert!(files.len() == count && files.iter().all(|file| file.starts_with("new")), "{files:?}");
        assert!(
            library().rename(&folder.path("none.vmdk"), &folder.path("b.vmdk")).unwrap_err().is_not_found()
        );
        folder.connection.unlink(&target).unwrap();
        assert_eq!(folder.files(), [""; 0]);
    }
}

pub(crate) fn children_hold_what_is_written_from_then_on() {
    for disk_type in [DiskType::MonolithicSparse, DiskType::SplitSparse] {
        let folder = Folder::new();
        let base = folder.create("a.vmdk", DiskType::MonolithicFlat);
        folder.write(&base, 0, &pattern(1, 8192));
        let child = folder.path("a-000001.vmdk");
        let disk = folder.open(&base, OpenOptions::read_only());
        let wrong = disk.create_child(&child, DiskType::VmfsThin, |_| {}).unwrap_err();
        assert_eq!((wrong.kind(), wrong.code()), (ErrorKind::InvalidArgument, None));
        disk.create_child(&child, disk_type, |_| {}).unwrap();
        disk.close().unwrap();
        folder.write(&child, 8, &pattern(2, 512));
        let mut expected = folder.content(&base);
        assert!(expected[..8192] == pattern(1, 8192));
        expected[8 * 512..9 * 512].copy_from_slice(&pattern(2, 512));
        assert!(folder.content(&child) == expected, "{disk_type:?}");
        let opened = folder.open(&child, OpenOptions::read_only());
        assert_eq!(opened.info().links, 2);
        assert!(
            opened.info().parent.as_deref().is_some_and(|parent| parent.ends_with("a.vmdk")),
            "{:?}",
            opened.info()
        );
        drop(opened);
        // A parent that was changed since is not taken for the one it was.
        folder.write(&base, 1, &[7; 512]);
        let error = folder.connection.open(&child, OpenOptions::read_only()).unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(16008), ErrorKind::Corrupt));
        folder.connection.unlink(&base).unwrap();
        let error = folder.connection.open(&child, OpenOptions::read_only()).unwrap_err();
        assert_eq!(error.code(), Some(16012));
    }
}

pub(crate) fn holes_of_a_chain_and_of_a_single_link() {
    let folder = Folder::new();
    let base = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&base, 2048, &pattern(1, 64 << 10));
    let child = folder.path("b.vmdk");
    let disk = folder.open(&base, OpenOptions::read_only());
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    folder.write(&child, 128, &pattern(2, 512));
    let range = |start, end| SectorRange::between(Sectors(start), Sectors(end)).unwrap();
    let blocks = |options: OpenOptions| {
        let disk = folder.open(&child, options);
        let blocks = disk.allocated_blocks(range(0, SECTORS)).unwrap();
        blocks.known.then_some(blocks.ranges)
    };
    let tail = range(SECTORS / 128 * 128, SECTORS);
    let own = range(128, 256);
    if let Some(whole) = blocks(OpenOptions::read_only()) {
        assert_eq!(whole, [own, range(2048, 2176), tail]);
        assert_eq!(blocks(OpenOptions::read_only().single_link(true)).unwrap(), [own, tail]);
    }
}

pub(crate) fn a_chain_is_attached_and_the_parent_is_gone() {
    let folder = Folder::new();
    let base = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&base, 4096, &pattern(1, 4096));
    let child = folder.path("b.vmdk");
    let disk = folder.open(&base, OpenOptions::read_only());
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    folder.write(&child, 1, &pattern(2, 512));
    let expected = folder.content(&child);

    let mut top = folder.open(&child, OpenOptions::read_only().single_link(true));
    let parent = folder.open(&base, OpenOptions::read_only());
    top.is_attach_possible(&parent).unwrap();
    parent.is_attach_possible(&top).unwrap_err();
    assert_eq!(top.is_attach_possible(&top).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // Crosswise, from two threads: neither waits for the other for ever.
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|_| top.is_attach_possible(&parent).unwrap()));
        scope.spawn(|| (0..20).for_each(|_| drop(parent.is_attach_possible(&top).unwrap_err())));
    });
    let mut bytes = vec![0; expected.len()];
    assert_eq!(top.info().links, 1);
    top.attach(parent).unwrap();
    assert_eq!(top.info().links, 2);
    top.read(Sectors::ZERO, &mut bytes).unwrap();
    assert!(bytes == expected);
    top.close().unwrap();
}

pub(crate) fn shrinking_and_defragmenting_keep_the_content() {
    for disk_type in [DiskType::MonolithicSparse, DiskType::SplitSparse] {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", disk_type);
        folder.write(&path, 4096, &pattern(1, 2 << 20));
        folder.write(&path, 0, &pattern(2, 1 << 20));
        let content = folder.content(&path);
        let reading = folder.open(&path, OpenOptions::read_only());
        assert_eq!(reading.shrink(|_| {}).unwrap_err().kind(), ErrorKind::ReadOnly);
        reading.close().unwrap();
        let disk = folder.open(&path, OpenOptions::read_write());
        disk.shrink(|_| {}).unwrap();
        disk.defragment(|_| {}).unwrap();
        let mut sector = vec![0; 512];
        disk.read(Sectors(1), &mut sector).unwrap();
        assert!(sector == content[512..1024]);
        disk.close().unwrap();
        assert!(folder.content(&path) == content, "{disk_type:?}");
    }
}

pub(crate) fn a_sound_disk_is_checked() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, 0, &pattern(1, 1 << 20));
    folder.connection.check_repair(&path, false).unwrap();
    folder.connection.check_repair(&path, true).unwrap();
    assert!(folder.content(&path)[..1 << 20] == pattern(1, 1 << 20));
}
