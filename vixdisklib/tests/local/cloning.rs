//! Cloning from here to here.

use vixdisklib::{CreateSpec, DiskType, IoMode, OpenOptions, Sectors};

use super::folder::{Folder, HOSTED, SECTORS, pattern};

fn spec(disk_type: DiskType) -> CreateSpec {
    CreateSpec::new(disk_type, Sectors(SECTORS))
}

pub(crate) fn every_type_is_cloned_to_every_type() {
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
    let types = HOSTED.into_iter().chain([DiskType::StreamOptimized, DiskType::MonolithicSparse]);
    for (number, disk_type) in types.enumerate() {
        let to = folder.path(&format!("clone{number}.vmdk"));
        let mut heard = Vec::new();
        let hear = |percent| heard.push(percent);
        folder.connection.clone_disk(&to, &folder.connection, &from, &spec(disk_type), false, hear).unwrap();
        assert!(
            !heard.is_empty() && heard.is_sorted() && heard.iter().all(|percent| *percent <= 100),
            "{heard:?}"
        );
        assert!(folder.content(&to) == content, "{disk_type:?}");
        let clone = folder.open(&to, OpenOptions::read_only());
        assert_eq!((clone.info().links, clone.info().parent.as_deref()), (1, None));
        drop(clone);
        from = to;
    }
}

pub(crate) fn a_clone_overwrites_when_it_is_told_to() {
    let folder = Folder::new();
    let from = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&from, 0, &pattern(1, 512));
    let to = folder.create("b.vmdk", DiskType::SplitSparse);
    let clone = |overwrite| {
        let spec = spec(DiskType::MonolithicFlat);
        folder.connection.clone_disk(&to, &folder.connection, &from, &spec, overwrite, |_| {})
    };
    assert_eq!(clone(false).unwrap_err().code(), Some(12));
    clone(true).unwrap();
    assert!(folder.content(&to) == folder.content(&from));
}

pub(crate) fn a_stream_is_read_and_not_written() {
    let folder = Folder::new();
    let source = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&source, 256, &pattern(1, 64 << 10));
    let path = folder.path("s.vmdk");
    let stream = spec(DiskType::StreamOptimized);
    folder.connection.clone_disk(&path, &folder.connection, &source, &stream, false, |_| {}).unwrap();
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = folder.open(&path, OpenOptions::read_only().io_mode(mode));
        let mut bytes = vec![0; 64 << 10];
        disk.read(Sectors(256), &mut bytes).unwrap();
        assert!(bytes == pattern(1, 64 << 10), "{mode:?}");
    }
    assert!(folder.content(&path) == folder.content(&source));
}

pub(crate) fn the_space_for_a_clone_is_enough() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, 128, &pattern(1, 1 << 20));
    let disk = folder.open(&path, OpenOptions::read_only());
    let space = |disk_type| disk.space_needed_for_clone(disk_type).unwrap();
    assert!(space(Some(DiskType::MonolithicFlat)) >= SECTORS * 512);
    assert!(space(Some(DiskType::MonolithicSparse)) >= 1 << 20);
    assert!(space(None) >= 1 << 20);
}

pub(crate) fn a_clone_of_nothing_is_refused() {
    let folder = Folder::new();
    let (none, to) = (folder.path("none.vmdk"), folder.path("to.vmdk"));
    let clone = folder.connection.clone_disk(
        &to,
        &folder.connection,
        &none,
        &spec(DiskType::MonolithicSparse),
        false,
        |_| {},
    );
    assert!(clone.unwrap_err().is_not_found());
    assert!(!folder.exists("to.vmdk"));
}
