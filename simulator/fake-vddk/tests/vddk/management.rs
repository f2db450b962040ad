//! Making and changing disks of this machine.

use vixdisklib::{
    Adapter, ConnectOptions, ConnectParams, CreateSpec, DiskType, ErrorKind, HardwareVersion, OpenOptions,
    Sectors,
};

use super::folder::{CREATABLE, Folder, SECTORS};
use super::setup::library;
use super::world::{FROZEN, OFF, World, pattern};

#[test]
fn every_type_is_created_written_and_read() {
    for disk_type in CREATABLE {
        let folder = Folder::new();
        let path = folder.path("new.vmdk");
        let spec = CreateSpec::new(disk_type, Sectors(SECTORS))
            .adapter(Adapter::Ide)
            .hardware_version(HardwareVersion::ESX_6_5);
        let mut heard = Vec::new();
        folder.connection.create(&path, &spec, |percent| heard.push(percent)).unwrap();
        assert!(heard.is_sorted() && heard.last() == Some(&100), "{heard:?}");
        let disk = folder.open(&path, OpenOptions::read_write());
        assert_eq!((disk.capacity(), disk.info().adapter), (Sectors(SECTORS), Adapter::Ide));
        assert!(disk.info().uuid.is_some() && disk.info().bios_geometry.cylinders > 0);
        assert_eq!(disk.transport_mode().as_str(), "file");
        assert_eq!(disk.metadata("virtualHWVersion").unwrap().as_deref(), Some("13"));
        let thin = disk.metadata("thinProvisioned").unwrap();
        assert_eq!(thin.as_deref(), (disk_type == DiskType::VmfsThin).then_some("1"));
        disk.write(Sectors(SECTORS - 9), &pattern(4, 9 * 512)).unwrap();
        disk.close().unwrap();
        let content = folder.content(&path);
        let (before, after) = content.split_at(content.len() - 9 * 512);
        assert!(before.iter().all(|byte| *byte == 0) && after == pattern(4, 9 * 512), "{disk_type:?}");
        let code = |result: vixdisklib::Result<()>| result.unwrap_err().code();
        assert_eq!(code(folder.connection.create(&path, &spec, |_| {})), Some(12), "{disk_type:?}");
        folder.connection.unlink(&path).unwrap();
        assert_eq!(folder.files(), [""; 0], "{disk_type:?}");
        assert_eq!(code(folder.connection.unlink(&path)), Some(4));
    }
}

#[test]
fn types_that_cannot_be_created_say_so() {
    let folder = Folder::new();
    for disk_type in [DiskType::StreamOptimized, DiskType::VmfsSparse] {
        let spec = CreateSpec::new(disk_type, Sectors(SECTORS));
        let error = folder.connection.create(&folder.path("a.vmdk"), &spec, |_| {}).unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(16013), ErrorKind::Unsupported));
    }
    assert_eq!(folder.files(), [""; 0]);
}

#[test]
fn what_is_for_this_machine_alone_is_refused_before_the_library_is_asked() {
    let world = World::new();
    let connection = world.connect("vm-201");
    let spec = CreateSpec::new(DiskType::VmfsThin, Sectors(8));
    let mut disk = world.open_off(OpenOptions::read_write());
    let other = world.connect_to_snapshot().open(FROZEN, OpenOptions::read_only()).unwrap();
    let results = [
        connection.create("[ds] off/new.vmdk", &spec, |_| {}),
        connection.grow(OFF, Sectors(1 << 20), false, |_| {}),
        connection.unlink(OFF),
        connection.check_repair(OFF, false),
        disk.create_child("/tmp/child.vmdk", DiskType::MonolithicSparse, |_| {}),
        disk.shrink(|_| {}),
        disk.defragment(|_| {}),
        disk.is_attach_possible(&other),
        disk.attach(other),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None), "{error}");
    }
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let reading = library().connect(&ConnectParams::local(), ConnectOptions::new().read_only(true)).unwrap();
    assert_eq!(reading.unlink(&path).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(reading.check_repair(&path, true).unwrap_err().kind(), ErrorKind::ReadOnly);
    reading.check_repair(&path, false).unwrap();
    assert_eq!(folder.connection.unlink("a.vmdk").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(library().rename("a", &path).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let small = CreateSpec::new(DiskType::VmfsThin, Sectors(0));
    let error = folder.connection.create(&folder.path("b.vmdk"), &small, |_| {}).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
}

#[test]
fn disks_grow_and_keep_their_content() {
    for disk_type in CREATABLE {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", disk_type);
        folder.write(&path, 100, &pattern(1, 4096));
        let uuid = folder.open(&path, OpenOptions::read_only()).info().uuid.clone();
        let before = folder.open(&path, OpenOptions::read_only()).info().physical_geometry;
        let grow = |sectors, geometry| folder.connection.grow(&path, Sectors(sectors), geometry, |_| {});
        grow(2 * SECTORS, false).unwrap();
        let disk = folder.open(&path, OpenOptions::read_only());
        assert_eq!((disk.capacity(), &disk.info().uuid), (Sectors(2 * SECTORS), &uuid), "{disk_type:?}");
        assert_eq!(disk.info().physical_geometry, before, "{disk_type:?}");
        drop(disk);
        let content = folder.content(&path);
        assert!(content[100 * 512..][..4096] == pattern(1, 4096), "{disk_type:?}");
        assert!(content[SECTORS as usize * 512..].iter().all(|byte| *byte == 0), "{disk_type:?}");
        grow(4 * SECTORS, true).unwrap();
        assert_ne!(folder.open(&path, OpenOptions::read_only()).info().physical_geometry, before);
        assert_eq!(grow(SECTORS, false).unwrap_err().code(), Some(3), "{disk_type:?}");
        let open = folder.open(&path, OpenOptions::read_write());
        assert!(grow(8 * SECTORS, false).unwrap_err().is_locked());
        open.close().unwrap();
    }
}

#[test]
fn shrinking_and_defragmenting_keep_content_and_children() {
    for disk_type in [DiskType::MonolithicSparse, DiskType::SplitSparse] {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", disk_type);
        folder.write(&path, 4096, &pattern(1, 2 << 20));
        folder.write(&path, 0, &pattern(2, 1 << 20));
        folder.write(&path, 4096, &vec![0; 1 << 20]);
        let data = if disk_type == DiskType::SplitSparse { "a-s001.vmdk" } else { "a.vmdk" };
        let size = || std::fs::metadata(folder.path(data)).unwrap().len();
        let (content, large) = (folder.content(&path), size());
        let reading = folder.open(&path, OpenOptions::read_only());
        reading.create_child(&folder.path("c.vmdk"), DiskType::MonolithicSparse, |_| {}).unwrap();
        assert_eq!(reading.shrink(|_| {}).unwrap_err().kind(), ErrorKind::ReadOnly);
        reading.close().unwrap();
        let disk = folder.open(&path, OpenOptions::read_write());
        let mut heard = Vec::new();
        disk.shrink(|percent| heard.push(percent)).unwrap();
        assert!(heard.len() > 3 && heard.is_sorted(), "{heard:?}");
        assert!(size() + (1 << 20) <= large, "{} {large}", size());
        disk.defragment(|_| {}).unwrap();
        let mut sector = vec![0; 512];
        disk.read(Sectors(1), &mut sector).unwrap();
        assert!(sector == content[512..1024]);
        disk.close().unwrap();
        assert!(folder.content(&path) == content && folder.content(&folder.path("c.vmdk")) == content);
        let child = folder.open(&folder.path("c.vmdk"), OpenOptions::read_write());
        assert_eq!(child.shrink(|_| {}).unwrap_err().code(), Some(16009));
    }
    let folder = Folder::new();
    let path = folder.create("flat.vmdk", DiskType::MonolithicFlat);
    let flat = folder.open(&path, OpenOptions::read_write());
    assert_eq!(flat.shrink(|_| {}).unwrap_err().code(), Some(16013));
    flat.defragment(|_| {}).unwrap();
    // It is open as it was, after a refusal too.
    flat.write(Sectors(0), &[1; 512]).unwrap();
}

#[test]
fn disks_are_renamed_with_their_files() {
    for disk_type in CREATABLE {
        let folder = Folder::new();
        let path = folder.create("old.vmdk", disk_type);
        folder.write(&path, 0, &pattern(3, 4096));
        let (content, count) = (folder.content(&path), folder.files().len());
        let target = folder.path("new.vmdk");
        let open = folder.open(&path, OpenOptions::read_write());
        assert!(library().rename(&path, &target).unwrap_err().is_locked());
        open.close().unwrap();
        library().rename(&path, &target).unwrap();
        assert!(folder.content(&target) == content, "{disk_type:?}");
        let files = folder.files();
        assert!(files.len() == count && files.iter().all(|file| file.starts_with("new")), "{files:?}");
        let taken = folder.create("old.vmdk", disk_type);
        assert_eq!(library().rename(&taken, &target).unwrap_err().code(), Some(12));
        assert_eq!(library().rename(&folder.path("none.vmdk"), &target).unwrap_err().code(), Some(4));
        folder.connection.unlink(&target).unwrap();
    }
}

#[test]
fn a_chain_is_attached_and_the_parent_is_gone() {
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
    let whole = folder.open(&child, OpenOptions::read_only());
    let parent = folder.open(&base, OpenOptions::read_only());
    top.is_attach_possible(&parent).unwrap();
    assert_eq!(whole.is_attach_possible(&parent).unwrap_err().code(), Some(16069));
    assert_eq!(parent.is_attach_possible(&top).unwrap_err().code(), Some(16069));
    assert_eq!(top.is_attach_possible(&top).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let small = folder.path("small.vmdk");
    let spec = CreateSpec::new(DiskType::MonolithicSparse, Sectors(8));
    folder.connection.create(&small, &spec, |_| {}).unwrap();
    let small = folder.open(&small, OpenOptions::read_only());
    assert_eq!(top.is_attach_possible(&small).unwrap_err().code(), Some(16067));
    // Crosswise, from two threads: neither waits for the other for ever.
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|_| top.is_attach_possible(&parent).unwrap()));
        scope.spawn(|| (0..20).for_each(|_| drop(parent.is_attach_possible(&top).unwrap_err())));
    });

    let mut bytes = vec![0; expected.len()];
    top.read(Sectors::ZERO, &mut bytes).unwrap();
    assert!(bytes != expected && top.info().links == 1);
    assert_eq!(top.attach(small).unwrap_err().code(), Some(16067));
    top.attach(parent).unwrap();
    assert_eq!(top.info().links, 2);
    top.read(Sectors::ZERO, &mut bytes).unwrap();
    assert!(bytes == expected);
    top.close().unwrap();
}

#[test]
fn a_parent_that_changed_is_attached_to_a_child_that_may_be_written() {
    let folder = Folder::new();
    let base = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let child = folder.path("b.vmdk");
    let disk = folder.open(&base, OpenOptions::read_only());
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    folder.write(&base, 5, &pattern(5, 512));
    let attach = |options: OpenOptions| {
        let mut top = folder.open(&child, options.single_link(true));
        let attached = top.attach(folder.open(&base, OpenOptions::read_only()));
        top.close().unwrap();
        attached
    };
    assert_eq!(attach(OpenOptions::read_only()).unwrap_err().code(), Some(16008));
    attach(OpenOptions::read_write()).unwrap();
    assert!(folder.content(&child)[5 * 512..6 * 512] == pattern(5, 512));
}

#[test]
fn a_check_tells_what_it_finds_in_the_log_and_repairs_it() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, 0, &pattern(1, 1 << 20));
    folder.connection.check_repair(&path, false).unwrap();
    let open = folder.open(&path, OpenOptions::read_write());
    assert!(folder.connection.check_repair(&path, false).unwrap_err().is_locked());
    open.close().unwrap();
    // The mark of a writer that has not closed the file (docs/vmdk.md, "Hosted sparse").
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[72] = 1;
    std::fs::write(&path, bytes).unwrap();
    folder.connection.check_repair(&path, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[72], 0);
    std::fs::write(folder.path("text.vmdk"), "no disk").unwrap();
    let error = folder.connection.check_repair(&folder.path("text.vmdk"), false).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(16063), ErrorKind::NotADisk));
}

#[test]
fn a_panic_in_progress_goes_on_in_the_caller_when_the_work_is_done() {
    let folder = Folder::new();
    let path = folder.path("a.vmdk");
    let spec = CreateSpec::new(DiskType::MonolithicSparse, Sectors(SECTORS));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        folder.connection.create(&path, &spec, |_| panic!("on purpose"))
    }));
    let text = panic.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(*text, "on purpose");
    // It was made all the same, and the control thread lives.
    assert_eq!(folder.open(&path, OpenOptions::read_only()).capacity(), Sectors(SECTORS));
}
