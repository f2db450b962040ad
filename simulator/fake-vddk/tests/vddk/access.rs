//! Preparing machines, and what a crash leaves behind.

use vixdisklib::ErrorKind;

use super::world::{World, library};

fn prepared(world: &World) -> String {
    std::fs::read_to_string(world.data.path().join("access.json")).unwrap()
}

#[test]
fn a_guard_prepares_and_ends() {
    let world = World::new();
    let guard = library().prepare_for_access(&world.params("vm-101"), "backup").unwrap();
    assert!(prepared(&world).contains("\"vm-101\": \"backup\""));
    guard.end().unwrap();
    assert!(!prepared(&world).contains("vm-101"));
    drop(library().prepare_for_access(&world.params("vm-101"), "backup").unwrap());
    assert!(!prepared(&world).contains("vm-101"));
}

#[test]
fn what_a_crashed_job_left_is_repaired_once() {
    let world = World::new();
    let crashed = library().prepare_for_access(&world.params("vm-101"), "backup").unwrap();
    std::mem::forget(crashed);
    let guard = library().prepare_for_access(&world.params("vm-101"), "backup").unwrap();
    // Another job's preparation is not ours to end.
    let error = library().prepare_for_access(&world.params("vm-101"), "other").unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(20005), ErrorKind::AccessDisabled));
    guard.end().unwrap();
}

#[test]
fn identities_have_bounds() {
    let world = World::new();
    let prepare = |identity: &str| library().prepare_for_access(&world.params("vm-101"), identity);
    assert_eq!(prepare("").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(prepare(&"x".repeat(51)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    prepare(&"ü".repeat(50)).unwrap();
    let error = library().prepare_for_access(&world.params("vm-9"), "backup").unwrap_err();
    assert!(error.is_not_found());
}

#[test]
fn cleanup_asks_without_a_machine() {
    let world = World::new();
    let report = library().cleanup(&world.params("vm-101")).unwrap();
    assert_eq!((report.cleaned, report.remaining), (0, 0));
    let local = library().cleanup(&vixdisklib::ConnectParams::local()).unwrap();
    assert_eq!((local.cleaned, local.remaining), (0, 0));
}
