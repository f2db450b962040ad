//! The library, open disks, and what is said of them.

use vixdisklib::{
    ConnectOptions, ConnectParams, DiskType, ErrorKind, IoMode, OpenOptions, SectorRange, Sectors,
    TransportMode,
};

use super::super::setup::library;
use super::folder::{Folder, SECTORS, pattern};

pub(crate) fn the_library_says_what_it_is() {
    let library = library();
    assert!((6..100).contains(&library.version().major), "{:?}", library.version());
    for capability in library.capabilities() {
        assert!(capability.present || !capability.symbol.required, "{}", capability.symbol.name);
    }
    assert!(library.transport_modes().unwrap().contains(&TransportMode::File));
    let started = library.statistics().into_iter().find(|row| row.name == "VixDiskLib_InitEx");
    assert_eq!(started.map(|row| (row.calls, row.failures)), Some((1, 0)));
}

pub(crate) fn a_disk_that_is_not_there() {
    let folder = Folder::new();
    let error = folder.connection.open(&folder.path("none.vmdk"), OpenOptions::read_only()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(4), ErrorKind::NotFound), "{error:#}");
    let error = folder.connection.open("relative.vmdk", OpenOptions::read_only()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (None, ErrorKind::InvalidArgument));
    let reading = library().connect(&ConnectParams::local(), ConnectOptions::new().read_only(true)).unwrap();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    assert_eq!(
        reading.open(&path, OpenOptions::read_write()).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    reading.open(&path, OpenOptions::read_only()).unwrap().close().unwrap();
}

pub(crate) fn a_disk_says_what_it_is() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let disk = folder.open(&path, OpenOptions::read_only());
    let info = disk.info();
    assert_eq!((info.capacity, info.links, info.parent.as_deref()), (Sectors(SECTORS), 1, None));
    let has_sizes = library().version().major >= 7;
    assert_eq!(info.logical_sector_bytes, has_sizes.then_some(512));
    assert_eq!(disk.transport_mode(), &TransportMode::File);
}

pub(crate) fn a_second_writer_is_kept_out() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let first = folder.open(&path, OpenOptions::read_write());
    assert!(folder.files().iter().any(|name| name.ends_with(".lck")), "{:?}", folder.files());
    let error = folder.connection.open(&path, OpenOptions::read_write()).unwrap_err();
    assert_eq!((error.code(), error.is_locked()), (Some(15), true), "{error:#}");
    first.close().unwrap();
    folder.open(&path, OpenOptions::read_write()).close().unwrap();
}

pub(crate) fn metadata_is_read_and_written() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let disk = folder.open(&path, OpenOptions::read_write());
    let keys = disk.metadata_keys().unwrap();
    for key in ["adapterType", "geometry.cylinders"] {
        assert!(keys.iter().any(|found| found == key), "{key} is not in {keys:?}");
        assert!(disk.metadata(key).unwrap().is_some_and(|value| !value.is_empty()));
    }
    assert_eq!(disk.metadata("noSuchKey").unwrap(), None);
    disk.set_metadata("toolsVersion", "1").unwrap();
    // Another value of another length: the answer is asked for by size.
    disk.set_metadata("toolsVersion", "12352").unwrap();
    assert_eq!(disk.metadata("toolsVersion").unwrap().as_deref(), Some("12352"));
    disk.close().unwrap();
    let disk = folder.open(&path, OpenOptions::read_only());
    assert_eq!(disk.metadata("toolsVersion").unwrap().as_deref(), Some("12352"));
    assert_eq!(disk.set_metadata("toolsVersion", "1").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.metadata("a\0b").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

pub(crate) fn allocation_is_told_by_chunks() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, 2048, &pattern(1, 64 << 10));
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = folder.open(&path, OpenOptions::read_only().io_mode(mode));
        let range = |start, end| SectorRange::between(Sectors(start), Sectors(end)).unwrap();
        let tail = range(SECTORS / 128 * 128, SECTORS);
        let answer = disk.allocated_blocks(range(0, SECTORS)).unwrap();
        if answer.known {
            assert_eq!(answer.ranges, [range(2048, 2176), tail]);
            assert_eq!(disk.allocated_blocks(range(2100, 2110)).unwrap().ranges, [range(2100, 2110)]);
            assert_eq!(disk.allocated_blocks(range(10, 20)).unwrap().ranges, []);
        } else {
            // A library before 6.7 cannot tell: then all may be data.
            assert_eq!(answer.ranges, [range(0, SECTORS)]);
        }
        assert!(disk.allocated_blocks(range(0, SECTORS + 1)).unwrap_err().is_out_of_range());
        disk.close().unwrap();
    }
}

pub(crate) fn nothing_to_clean_up_after_local_disks() {
    library().cleanup(&ConnectParams::local()).unwrap();
}
