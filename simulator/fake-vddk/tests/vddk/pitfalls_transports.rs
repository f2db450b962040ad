//! Traps of sections 7.2 and 7.4 to 7.6: which way the bytes go, and what each way wants.

use std::os::unix::process::ExitStatusExt;

use fake_vddk::Release;
use sim_store::state::{FaultEffect, FaultRule};
use vixdisklib::{
    Compression, ConnectOptions, Connection, DiskType, ErrorKind, IoMode, Library, OpenOptions, Sectors,
    TransportMode,
};

use super::child;
use super::folder::Folder;
use super::setup::{is_at_least, library, options};
use super::world::{OFF, World, connect_to_parent, pattern, rule};

/// A rule that says which modes work on this machine.
fn working(modes: &str) -> FaultRule {
    FaultRule { transports: Some(modes.to_owned()), ..rule("Open") }
}

fn connect(world: &World, modes: impl IntoIterator<Item = TransportMode>) -> Connection {
    let options = ConnectOptions::new().transports(modes);
    library().connect(&world.params("vm-201"), options).unwrap()
}

#[test]
fn row_7_2_1_a_fallback_is_an_error_for_whoever_insisted() {
    let world = World::new();
    world.faults(&[working("nbdssl")]);
    let disk = connect(&world, [TransportMode::HotAdd]).open(OFF, OpenOptions::read_only()).unwrap();
    assert_eq!(disk.transport_mode(), &TransportMode::NbdSsl);
    let options = ConnectOptions::new().transports([TransportMode::HotAdd]).insist_on_transports(true);
    let connection = library().connect(&world.params("vm-201"), options).unwrap();
    let error = connection.open(OFF, OpenOptions::read_only()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransportMismatch);
    assert!(error.to_string().contains("took nbdssl, not hotadd"), "{error}");
    // The disk that was opened the other way was closed again.
    connection.close().unwrap();
}

#[test]
fn row_7_2_2_who_writes_does_not_get_san_unasked() {
    let world = World::new();
    world.faults(&[working("san:nbdssl")]);
    let mode = |options: ConnectOptions| {
        let connection = library().connect(&world.params("vm-201"), options).unwrap();
        connection.open(OFF, OpenOptions::read_only()).unwrap().transport_mode().clone()
    };
    assert_eq!(mode(ConnectOptions::new()), TransportMode::NbdSsl);
    assert_eq!(mode(ConnectOptions::new().read_only(true)), TransportMode::San);
    assert_eq!(mode(ConnectOptions::new().transports([TransportMode::San])), TransportMode::San);
}

#[test]
fn row_7_2_3_file_does_no_harm_and_compression_goes_with_the_network() {
    let world = World::new();
    let connection = connect(&world, [TransportMode::File, TransportMode::Nbd]);
    let options = OpenOptions::read_only().compression(Compression::FastLz);
    let disk = connection.open(OFF, options.clone()).unwrap();
    assert_eq!(disk.transport_mode(), &TransportMode::Nbd);
    let mut bytes = vec![0; 512];
    disk.read(Sectors(2048), &mut bytes).unwrap();
    assert!(bytes == pattern(1, 512));
    world.faults(&[working("hotadd")]);
    let error = connect(&world, [TransportMode::HotAdd]).open(OFF, options.clone()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, Some(3)));
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let error = folder.connection.open(&path, options).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
}

#[test]
fn row_7_4_over_san_only_disks_without_parents_are_written() {
    let world = World::new();
    world.faults(&[working("san")]);
    let san = connect(&world, [TransportMode::San]);
    san.open(OFF, OpenOptions::read_write()).unwrap().write(Sectors(0), &[5; 512]).unwrap();
    assert_eq!(world.stored("off", 0, 512), [5; 512]);
    let live = world.snapshot_off();
    let error = san.open(live, OpenOptions::read_write()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
    assert!(error.advice().is_some_and(|advice| advice.contains("network")), "{error}");
    let disk = san.open(live, OpenOptions::read_only()).unwrap();
    disk.read(Sectors(0), &mut [0; 512]).unwrap();
    disk.close().unwrap();
    // The disk that was refused was closed, or this would be locked.
    world.faults(&[]);
    let disk = connect(&world, [TransportMode::NbdSsl]).open(live, OpenOptions::read_write()).unwrap();
    disk.write(Sectors(0), &[6; 512]).unwrap();
}

#[test]
fn rows_7_4_and_7_5_memory_at_odd_places_is_read_and_written_all_the_same() {
    for (mode, name) in [(TransportMode::San, "san"), (TransportMode::HotAdd, "hotadd")] {
        for io_mode in [IoMode::Sync, IoMode::Async] {
            let world = World::new();
            world.faults(&[working(name)]);
            let options = OpenOptions::read_write().unbuffered(true).io_mode(io_mode).max_request(4096);
            let disk = connect(&world, [mode.clone()]).open(OFF, options).unwrap();
            assert_eq!(disk.transport_mode(), &mode);
            let expected = pattern(1, 5 * 4096 + 512);
            let mut memory = vec![0; expected.len() + 512];
            let odd = memory.as_ptr().align_offset(512) + 8;
            let buffer = &mut memory[odd..][..expected.len() - 512];
            disk.read(Sectors(2048), buffer).unwrap();
            assert!(*buffer == expected[..expected.len() - 512]);
            disk.write(Sectors(1), buffer).unwrap();
            disk.close().unwrap();
            assert!(world.stored("off", 512, expected.len() - 512) == expected[..expected.len() - 512]);
        }
    }
}

#[test]
fn row_7_5_no_free_slot_is_13_with_its_own_text() {
    let world = World::new();
    let text = "there is no free SCSI slot on this proxy";
    world.faults(&[FaultRule { code: 13, text: Some(text.to_owned()), ..rule("Open") }]);
    let error = connect(&world, [TransportMode::HotAdd]).open(OFF, OpenOptions::read_only()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(13), ErrorKind::Access));
    assert_eq!(error.text().unwrap().contains(text), is_at_least(Release::V8_0), "{error:?}");
    assert!(error.advice().is_some_and(|advice| advice.contains("SCSI slot")), "{error}");
}

#[test]
fn rows_7_3_5_and_7_5_what_a_crash_leaves_attached_is_cleaned_up() {
    let test = "suite::pitfalls_transports::rows_7_3_5_and_7_5_what_a_crash_leaves_attached_is_cleaned_up";
    child::part(test, |port| {
        let disk = connect_to_parent(port).open(OFF, OpenOptions::read_only()).unwrap();
        disk.read(Sectors(0), &mut [0; 512]).unwrap();
    });
    let world = World::new();
    world.faults(&[working("hotadd"), FaultRule { effect: Some(FaultEffect::Segfault), ..rule("Read") }]);
    let output = child::run(test, &world.port.to_string());
    let signal = if crate::SETUP.isolated { None } else { Some(11) };
    assert!(!output.status.success() && output.status.signal() == signal, "{output:?}");
    world.faults(&[working("hotadd")]);
    let cleanup = || library().cleanup(&world.params("vm-201"));
    let report = cleanup().unwrap();
    assert_eq!((report.cleaned, report.remaining), (1, 0));
    // What is in use remains, and that is told beside the failure.
    let disk = connect(&world, [TransportMode::HotAdd]).open(OFF, OpenOptions::read_only()).unwrap();
    let error = cleanup().unwrap_err();
    assert!(error.to_string().contains("1 still have"), "{error}");
    disk.close().unwrap();
    let report = cleanup().unwrap();
    assert_eq!((report.cleaned, report.remaining), (0, 0));
}

#[test]
fn row_7_6_requests_are_small_enough_for_the_host_unless_told_otherwise() {
    let world = World::new();
    let limit =
        FaultRule { above_bytes: Some(2 << 20), effect: Some(FaultEffect::NfcMemory), ..rule("Read") };
    world.faults(&[limit]);
    let mut whole = vec![0; 8 << 20];
    for io_mode in [IoMode::Sync, IoMode::Async] {
        let options = OpenOptions::read_only().io_mode(io_mode);
        world.open_off(options.clone()).read(Sectors::ZERO, &mut whole).unwrap();
        let disk = world.open_off(options.max_request(23 << 20));
        let error = disk.read(Sectors::ZERO, &mut whole).unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(2), ErrorKind::Exhausted));
        let line = "Failed to allocate the requested 8388608 bytes";
        assert!(error.log_lines().iter().any(|logged| logged.contains(line)), "{error:#}");
        assert!(error.is_retryable() && error.advice().is_some());
    }
}

#[test]
fn row_7_6_a_host_has_room_for_so_many_open_disks() {
    let world = World::new();
    let limit = FaultRule { above_open: Some(2), effect: Some(FaultEffect::NfcMemory), ..rule("Open") };
    world.faults(&[limit]);
    let open = || world.connect("vm-201").open(OFF, OpenOptions::read_only());
    let (first, _second) = (open().unwrap(), open().unwrap());
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Exhausted);
    first.close().unwrap();
    open().unwrap();
}

#[test]
fn row_7_6_buffers_that_no_host_gives_are_refused_before_anything_opens() {
    let buffers = |size: &str, count: &str| {
        let options = options()
            .config("vixDiskLib.nfcAio.Session.BufSizeIn64KB", size)
            .config("vixDiskLib.nfcAio.Session.BufCount", count);
        Library::open(options)
    };
    let error = buffers("32", "9").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("16777216"), "{error}");
    // Good ones get as far as the library that runs already with others.
    drop(library());
    match buffers("16", "4") {
        Ok(other) => assert!(crate::SETUP.isolated && other.worker_id() != library().worker_id()),
        Err(error) => assert!(!crate::SETUP.isolated && error.kind() == ErrorKind::LibraryInUse),
    }
}
