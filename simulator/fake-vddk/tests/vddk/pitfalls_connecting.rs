//! Traps of sections 7.1, 7.3 and 7.13: starting, connecting, preparing, and what old releases did wrong.

use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fake_vddk::Release;
use futures::executor::block_on;
use futures::task::noop_waker;
use sim_store::state::{FaultEffect, FaultRule, Inventory};
use vixdisklib::{
    AlignedBuf, ConnectOptions, ConnectParams, CreateSpec, DiskType, Library, LibraryOptions, OpenOptions,
    SectorRange, Sectors, VmSpec,
};

use super::child;
use super::folder::{Folder, SECTORS};
use super::setup::{is_at_least, library};
use super::world::{
    COOKIE, OFF, PASSWORD, World, connect_to_parent, cookie, params_at, password, pattern, rule, thumbprint,
};

#[test]
fn row_7_1_3_slow_calls_hold_up_neither_other_disks_nor_an_executor() {
    let (slow, world) = (World::new(), World::new());
    let disk = world.open_off(OpenOptions::read_only());
    slow.faults(&[FaultRule { delay_ms: Some(2000), ..rule("ConnectEx") }]);
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| slow.connect("vm-201"));
        std::thread::sleep(Duration::from_millis(100));
        disk.read(Sectors(0), &mut [0; 512]).unwrap();
        assert!(!connecting.is_finished());
    });
    world.faults(&[FaultRule { delay_ms: Some(2000), ..rule("Read") }]);
    let mut read = pin!(disk.read_async(Sectors(2048), AlignedBuf::zeroed(512).unwrap()));
    let started = Instant::now();
    assert!(matches!(read.as_mut().poll(&mut Context::from_waker(&noop_waker())), Poll::Pending));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(*block_on(read).unwrap() == pattern(1, 512));
}

#[test]
fn row_7_1_4_the_panic_callback_does_not_return() {
    let test = "suite::pitfalls_connecting::row_7_1_4_the_panic_callback_does_not_return";
    child::part(test, |port| drop(connect_to_parent(port)));
    let world = World::new();
    world.faults(&[FaultRule { effect: Some(FaultEffect::Panic), ..rule("ConnectEx") }]);
    let output = child::run(test, &world.port.to_string());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(errors.contains("VixDiskLib gave up") && errors.contains("ConnectEx cannot go on"), "{errors}");
}

#[test]
fn row_7_1_9_machines_by_id_and_by_configuration_file() {
    let world = World::new();
    for vm in [VmSpec::moref("vm-201").unwrap(), VmSpec::vmx("off/off.vmx", "DC/with folder", "ds").unwrap()]
    {
        let params = params_at(world.port, vm, password(PASSWORD), thumbprint());
        let connection = library().connect(&params, ConnectOptions::new()).unwrap();
        connection.open(OFF, OpenOptions::read_only()).unwrap();
    }
    let nobody = VmSpec::vmx("none/none.vmx", "DC", "ds").unwrap();
    let params = params_at(world.port, nobody, password(PASSWORD), thumbprint());
    let connection = library().connect(&params, ConnectOptions::new()).unwrap();
    assert!(connection.open(OFF, OpenOptions::read_only()).unwrap_err().is_not_found());
}

#[test]
fn row_7_1_13_one_session_serves_many_connections_and_outlives_them() {
    let world = World::new();
    let connect = || {
        library().connect(&world.params_with("vm-201", cookie(COOKIE), thumbprint()), ConnectOptions::new())
    };
    let connections: Vec<_> = (0..3).map(|_| connect().unwrap()).collect();
    let disk = connections[0].open(OFF, OpenOptions::read_only()).unwrap();
    for connection in connections.into_iter().skip(1) {
        connection.close().unwrap();
    }
    let sessions = |world: &World| Inventory::load(world.data.path()).unwrap().sessions.len();
    assert_eq!(sessions(&world), 1);
    disk.read(Sectors(0), &mut [0; 512]).unwrap();
    // The server ends the session.
    let mut inventory = Inventory::load(world.data.path()).unwrap();
    inventory.sessions.clear();
    inventory.store(world.data.path()).unwrap();
    assert!(connect().unwrap_err().is_authentication());
}

#[test]
fn row_7_3_1_a_host_that_is_no_vcenter_refuses_and_the_backup_goes_on() {
    let world = World::new();
    let line = "PrepareForAccess: HostAgent is not a VirtualCenter server";
    world.faults(&[FaultRule { code: 6, log: Some(line.to_owned()), ..rule("PrepareForAccess") }]);
    let error = library().prepare_for_access(&world.params("vm-101"), "backup").unwrap_err();
    assert!(error.is_unsupported());
    assert!(error.log_lines().iter().any(|logged| logged.contains(line)), "{error:#}");
    world.connect_to_snapshot().open(super::world::FROZEN, OpenOptions::read_only()).unwrap();
}

#[test]
fn row_7_13_code_1_at_open_may_be_the_fault_of_an_old_release() {
    let world = World::new();
    world.faults(&[FaultRule { code: 1, nth: Some(1), ..rule("Open") }]);
    let error = world.connect("vm-201").open(OFF, OpenOptions::read_only()).unwrap_err();
    let old = !is_at_least(Release::V7_0);
    let advice = error.advice().unwrap();
    assert!(advice.contains("thumbprint"), "{advice}");
    assert_eq!(advice.contains("VDDK before 7.0"), old, "{advice}");
    assert_eq!(library().version().known_problems().is_empty(), !old);
}

#[test]
fn row_7_13_a_host_in_maintenance_has_a_code_of_its_own_only_lately() {
    let world = World::new();
    world.faults(&[FaultRule { code: 14014, ..rule("Open") }]);
    let error = world.connect("vm-201").open(OFF, OpenOptions::read_only()).unwrap_err();
    let expected = if is_at_least(Release::V8_0) { 14014 } else { 13 };
    assert_eq!(error.code(), Some(expected));
}

#[test]
fn row_7_13_names_beyond_ascii() {
    let folder = Folder::new();
    let path = folder.create("größe \u{78c1}\u{76d8} #1.vmdk", DiskType::MonolithicFlat);
    folder.write(&path, 0, &pattern(3, 512));
    let renamed = folder.path("\u{1f4be}.vmdk");
    library().rename(&path, &renamed).unwrap();
    assert!(folder.content(&renamed)[..512] == pattern(3, 512));
}

#[test]
fn row_7_13_parameters_are_given_back() {
    let test = "suite::pitfalls_connecting::row_7_13_parameters_are_given_back";
    child::part(test, |port| {
        for _ in 0..20 {
            connect_to_parent(port).open(OFF, OpenOptions::read_only()).unwrap();
        }
        let statistics = library().statistics();
        let calls = |name: &str| statistics.iter().find(|row| row.name == name).map_or(0, |row| row.calls);
        assert_eq!(calls("VixDiskLib_ConnectEx"), 20);
        let expected = if is_at_least(Release::V6_7) { 20 } else { 0 };
        // Where blocks are the wrapper's own, the library must not get them.
        assert_eq!(calls("VixDiskLib_FreeConnectParams"), expected);
        assert_eq!(calls("VixDiskLib_GetInfo"), calls("VixDiskLib_FreeInfo"));
    });
    let world = World::new();
    let output = child::run(test, &world.port.to_string());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn row_8_4_a_library_that_answers_lists_and_takes_none_back() {
    let test = "suite::pitfalls_connecting::row_8_4_a_library_that_answers_lists_and_takes_none_back";
    child::part(test, |kit| {
        let options = LibraryOptions::new(kit).temp_directory(format!("{kit}/tmp"));
        let library = Library::open(options).unwrap();
        let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
        let path = format!("{kit}/a.vmdk");
        let spec = CreateSpec::new(DiskType::VmfsThin, Sectors(SECTORS));
        connection.create(&path, &spec, |_| {}).unwrap();
        let disk = connection.open(&path, OpenOptions::read_only()).unwrap();
        let range = SectorRange::between(Sectors(0), Sectors(1280)).unwrap();
        let answer = disk.allocated_blocks(range).unwrap();
        assert_eq!((answer.known, answer.ranges), (false, vec![range]));
    });
    if !is_at_least(Release::V6_7) {
        return;
    }
    let kit = tempfile::tempdir().unwrap();
    fake_vddk::install_lacking(kit.path(), crate::SETUP.release, &["VixDiskLib_FreeBlockList"]).unwrap();
    let output = child::run(test, kit.path().to_str().unwrap());
    assert!(output.status.success(), "{output:?}");
}
