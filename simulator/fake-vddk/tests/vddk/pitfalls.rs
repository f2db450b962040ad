//! One test for each trap of section 7 of the VDDK fact sheet that the fake can set; each is named after its row. The rest of
//! them are beside this file: what concerns connecting, transports and transfers, and that of section 7.8 in `blocks.rs`.

use std::io::Write;

use fake_vddk::Release;
use secrecy::SecretString;
use vixdisklib::{
    ConnectOptions, ConnectParams, CreateSpec, Credentials, DatastoreFolder, DiskType, ErrorKind, IoMode,
    Library, LibraryOptions, OpenOptions, SectorRange, Sectors, StorageObject, Thumbprint, TransportMode,
    VmSpec,
};

use super::folder::{Folder, SECTORS};
use super::setup::{is_at_least, library};
use super::world::{FROZEN, HOST, OFF, World, password, pattern, thumbprint};

#[test]
fn row_7_1_2_init_only_once_in_a_process() {
    let calls = |library: &Library| {
        library.statistics().iter().find(|row| row.name == "VixDiskLib_InitEx").map(|row| row.calls)
    };
    let first = library();
    drop(library());
    assert_eq!(calls(&first), Some(1));
    let other = LibraryOptions::new(first.directory());
    assert_eq!(Library::open(other).unwrap_err().kind(), ErrorKind::LibraryInUse);
    assert!(library().statistics().iter().all(|row| row.name != "VixDiskLib_Exit"));
}

#[test]
fn row_7_1_5_null_credentials_cannot_be_built() {
    let vm = || VmSpec::moref("vm-1").unwrap();
    let empty = Credentials::Password { user: String::new(), password: SecretString::from("x") };
    for params in [
        ConnectParams::remote("", vm(), password("x")),
        ConnectParams::remote(HOST, vm(), empty),
        ConnectParams::remote(HOST, vm(), password("")),
        ConnectParams::storage_object(HOST, StorageObject::new("", "datastore-1"), password("x")),
        ConnectParams::datastore(HOST, DatastoreFolder::new("datastore-1", ""), password("x")),
    ] {
        assert_eq!(params.build().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn row_7_1_6_and_12_a_wrong_thumbprint_shows_at_open() {
    let world = World::new();
    let params = world.params_with("vm-201", password("correct horse"), Thumbprint::from_sha1([1; 20]));
    let connection = library().connect(&params, ConnectOptions::new()).unwrap();
    let error = connection.open(OFF, OpenOptions::read_only()).unwrap_err();
    assert_eq!(error.code(), Some(1));
    assert!(error.advice().is_some_and(|advice| advice.contains("thumbprint")), "{error}");
}

#[test]
fn row_7_1_7_a_read_only_connection_opens_read_only() {
    let world = World::new();
    let options = ConnectOptions::new().read_only(true);
    let connection = library().connect(&world.params("vm-201"), options).unwrap();
    assert_eq!(
        connection.open(OFF, OpenOptions::read_write()).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    connection.open(OFF, OpenOptions::read_only()).unwrap();
}

#[test]
fn row_7_1_8_a_snapshot_without_a_machine_is_refused() {
    let options = || ConnectOptions::new().snapshot("snapshot-1");
    let error = library().connect(&ConnectParams::local(), options()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
}

#[test]
fn row_7_1_10_the_path_is_that_of_the_snapshot_and_local_ones_are_absolute() {
    let world = World::new();
    let error = world.connect_to_snapshot().open(super::world::LIVE, OpenOptions::read_only()).unwrap_err();
    assert_eq!(error.code(), Some(4));
    assert!(error.to_string().contains("the snapshot's configuration"), "{error}");
    let error = Folder::new().connection.open("relative.vmdk", OpenOptions::read_only()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
}

#[test]
fn row_7_1_11_thumbprints_with_and_without_colons_and_certificates_by_version() {
    let world = World::new();
    let plain: Thumbprint = thumbprint().as_str().replace(':', "").to_lowercase().parse().unwrap();
    assert_eq!(plain, thumbprint());
    let params = ConnectParams::remote(HOST, VmSpec::moref("vm-201").unwrap(), password("correct horse"))
        .port(world.port)
        .certificate("-----BEGIN CERTIFICATE-----")
        .build()
        .unwrap();
    let connected = library().connect(&params, ConnectOptions::new());
    if is_at_least(Release::V9_0) {
        connected.unwrap().open(OFF, OpenOptions::read_only()).unwrap();
    } else {
        let error = connected.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None), "{error}");
    }
}

#[test]
fn row_7_2_1_a_transport_that_was_insisted_on_is_verified() {
    let world = World::new();
    let options = ConnectOptions::new().transports([TransportMode::HotAdd]).insist_on_transports(true);
    let connection = library().connect(&world.params("vm-201"), options).unwrap();
    let error = connection.open(OFF, OpenOptions::read_only()).unwrap_err();
    assert!(error.to_string().contains("SCSI slot"), "{error}");
}

#[test]
fn row_7_3_1_only_a_machine_on_a_server_can_be_prepared() {
    let disk = ConnectParams::storage_object(HOST, StorageObject::new("1", "datastore-1"), password("x"));
    for params in [ConnectParams::local(), disk.build().unwrap()] {
        let error = library().prepare_for_access(&params, "backup").unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
    }
}

#[test]
fn row_7_3_3_a_leftover_of_a_crash_is_ended_once() {
    let world = World::new();
    std::mem::forget(library().prepare_for_access(&world.params("vm-101"), "backup").unwrap());
    library().prepare_for_access(&world.params("vm-101"), "backup").unwrap().end().unwrap();
}

#[test]
fn row_7_3_5_cleanup_names_no_machine() {
    let world = World::new();
    library().cleanup(&world.params("vm-101")).unwrap();
}

#[test]
fn row_7_7_1_reading_past_the_end() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let disk = folder.open(&path, OpenOptions::read_only());
    let error = disk.read(Sectors(SECTORS - 1), &mut [0; 1024]).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::OutOfRange, None));
    disk.read(Sectors(SECTORS - 1), &mut [0; 512]).unwrap();
}

#[test]
fn row_7_7_2_a_request_for_nothing_does_not_reach_the_library() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = folder.open(&path, OpenOptions::read_write().io_mode(mode));
        disk.read(Sectors(0), &mut []).unwrap();
        disk.write(Sectors(0), &[]).unwrap();
    }
}

#[test]
fn row_7_7_3_sync_and_async_are_never_mixed() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = folder.open(&path, OpenOptions::read_write().io_mode(mode));
        let buffer = vixdisklib::AlignedBuf::zeroed(512).unwrap();
        futures::executor::block_on(disk.write_async(Sectors(1), buffer)).unwrap();
        disk.read(Sectors(1), &mut [0; 512]).unwrap();
        disk.write_at(vixdisklib::ByteOffset(512), &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.close().unwrap();
    }
}

#[test]
fn row_7_7_11_a_stream_comes_from_cloning_alone() {
    let folder = Folder::new();
    let spec = CreateSpec::new(DiskType::StreamOptimized, Sectors(SECTORS));
    let error = folder.connection.create(&folder.path("s.vmdk"), &spec, |_| {}).unwrap_err();
    assert_eq!(error.code(), Some(16013));
    let source = folder.create("a.vmdk", DiskType::VmfsThin);
    folder
        .connection
        .clone_disk(&folder.path("s.vmdk"), &folder.connection, &source, &spec, false, |_| {})
        .unwrap();
}

#[test]
fn row_7_7_12_a_second_writer_gets_15_and_a_stale_lock_nobody() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let first = folder.open(&path, OpenOptions::read_write());
    assert!(folder.exists("a.vmdk.lck"));
    let error = folder.connection.open(&path, OpenOptions::read_write()).unwrap_err();
    assert_eq!((error.code(), error.is_locked()), (Some(15), true));
    folder.open(&path, OpenOptions::read_only()).close().unwrap();
    first.close().unwrap();
    assert!(!folder.exists("a.vmdk.lck"));
    // What a process that died has left.
    let mut stale = std::fs::File::create(folder.path("a.vmdk.lck")).unwrap();
    writeln!(stale, "process 999999").unwrap();
    drop(stale);
    folder.open(&path, OpenOptions::read_write()).close().unwrap();
    assert!(!folder.exists("a.vmdk.lck"));
}

#[test]
fn row_7_8_holes_of_a_chain_and_of_a_single_link() {
    let folder = Folder::new();
    let base = folder.create("a.vmdk", DiskType::VmfsThin);
    folder.write(&base, 2048, &pattern(1, 64 << 10));
    let child = folder.path("b.vmdk");
    let disk = folder.open(&base, OpenOptions::read_only());
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    folder.write(&child, 128, &pattern(2, 512));
    let range = |start, end| SectorRange::between(Sectors(start), Sectors(end)).unwrap();
    if !is_at_least(Release::V6_7) {
        return;
    }
    let blocks = |options: OpenOptions| {
        let disk = folder.open(&child, options);
        let blocks = disk.allocated_blocks(range(0, SECTORS)).unwrap();
        assert!(blocks.known);
        blocks.ranges
    };
    let tail = range(SECTORS / 128 * 128, SECTORS);
    let own = range(128, 256);
    assert_eq!(blocks(OpenOptions::read_only()), [own, range(2048, 2176), tail]);
    assert_eq!(blocks(OpenOptions::read_only().single_link(true)), [own, tail]);
}

#[test]
fn row_7_9_changed_areas_want_an_id() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only());
    assert_eq!(disk.changed_areas().unwrap_err().kind(), ErrorKind::Misuse);
}

#[test]
fn row_7_10_metadata_of_local_disks() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let disk = folder.open(&path, OpenOptions::read_write());
    disk.write(Sectors(0), &[1; 512]).unwrap();
    let keys = disk.metadata_keys().unwrap();
    for key in ["adapterType", "geometry.cylinders", "uuid", "longContentID", "virtualHWVersion"] {
        assert!(keys.iter().any(|found| found == key), "{key} is not in {keys:?}");
        assert!(disk.metadata(key).unwrap().is_some());
    }
    assert_eq!(disk.metadata("noSuchKey").unwrap(), None);
    let long = "x".repeat(2000);
    disk.set_metadata("note", "short").unwrap();
    disk.set_metadata("note", &long).unwrap();
    assert_eq!(disk.metadata("note").unwrap().as_deref(), Some(long.as_str()));
    assert_eq!(disk.set_metadata("no key", "x").unwrap_err().code(), Some(3));
    disk.write(Sectors(1), &[2; 512]).unwrap();
    disk.close().unwrap();
    let disk = folder.open(&path, OpenOptions::read_only());
    assert_eq!(disk.metadata("note").unwrap().as_deref(), Some(long.as_str()));
    assert_eq!(disk.set_metadata("note", "x").unwrap_err().kind(), ErrorKind::ReadOnly);
    let mut sectors = [0; 1024];
    disk.read(Sectors(0), &mut sectors).unwrap();
    assert!(sectors[..512] == [1; 512] && sectors[512..] == [2; 512]);
}

#[test]
fn row_7_11_no_secret_stands_in_an_error() {
    let world = World::new();
    let params = world.params_with("vm-101", password("open sesame"), thumbprint());
    let error = library().connect(&params, ConnectOptions::new()).unwrap_err();
    assert!(!format!("{error:#} {error:?}").contains("open sesame"));
}

#[test]
fn row_3_7_specifications_by_version() {
    let world = World::new();
    let disk = StorageObject::new("a-b-c", "datastore-1").snapshot("s-1");
    let params = ConnectParams::storage_object(HOST, disk, password("correct horse"));
    let params = params.port(world.port).thumbprint(thumbprint()).build().unwrap();
    let connection = library().connect(&params, ConnectOptions::new());
    if !is_at_least(Release::V6_7) {
        assert_eq!(connection.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let connection = connection.unwrap();
    let error = connection.open(OFF, OpenOptions::read_only()).unwrap_err();
    // What was asked for arrived: there is no such disk.
    assert_eq!(error.code(), Some(25));
    assert!(error.log_lines().iter().any(|line| line.contains("a-b-c")), "{error:#}");
    connection.close().unwrap();

    let folder = DatastoreFolder::new("datastore-1", "off");
    let params = ConnectParams::datastore(HOST, folder, password("correct horse"));
    let params = params.port(world.port).thumbprint(thumbprint()).build().unwrap();
    let connection = library().connect(&params, ConnectOptions::new());
    if !is_at_least(Release::V8_0) {
        assert_eq!(connection.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    let connection = connection.unwrap();
    assert_eq!(connection.open(FROZEN, OpenOptions::read_only()).unwrap_err().code(), Some(4));
    let disk = connection.open(OFF, OpenOptions::read_only()).unwrap();
    let mut bytes = vec![0; 512];
    disk.read(Sectors(2048), &mut bytes).unwrap();
    assert!(bytes == pattern(1, 512));
}
