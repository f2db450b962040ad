//! What is refused for the lack of a privilege, and how that reads.

use sim_store::state::rights::{
    DISABLE_METHODS, DISK_LEASE, DISK_RANDOM_ACCESS, DISK_RANDOM_READ, ENABLE_METHODS, UserRights,
};
use vixdisklib::{Credentials, Error, ErrorKind, OpenOptions};

use super::world::{COOKIE, OFF, World, cookie, library, password, thumbprint};

fn rights(privileges: &[&str]) -> UserRights {
    UserRights { elsewhere: privileges.iter().map(|id| (*id).to_owned()).collect(), ..UserRights::default() }
}

fn open(world: &World, credentials: Credentials, options: OpenOptions) -> Result<(), Error> {
    let params = world.params_with("vm-201", credentials, thumbprint());
    library().connect(&params, Default::default()).unwrap().open(OFF, options).map(drop)
}

fn is_refused(refused: Result<(), Error>, privilege: &str) {
    let error = refused.unwrap_err();
    assert_eq!((error.code(), error.kind(), error.subject()), (Some(3014), ErrorKind::Permission, Some(OFF)));
    assert!(error.to_string().contains("DiskRandomRead"), "it says what to check: {error}");
    let named = format!("root lacks the privilege {privilege} on vm-201");
    assert!(error.log_lines().iter().any(|line| line.contains(&named)), "{error:#}");
}

#[test]
fn each_way_of_opening_a_disk_has_its_privileges() {
    let world = World::new();
    let (read, write) = (OpenOptions::read_only, OpenOptions::read_write);
    let me = || password("correct horse");
    world.grant(rights(&[DISK_LEASE, DISK_RANDOM_READ]));
    open(&world, me(), read()).unwrap();
    open(&world, cookie(COOKIE), read()).unwrap();
    is_refused(open(&world, me(), write()), DISK_RANDOM_ACCESS);
    world.grant(rights(&[DISK_LEASE, DISK_RANDOM_ACCESS]));
    open(&world, me(), write()).unwrap();
    is_refused(open(&world, me(), read()), DISK_RANDOM_READ);
    is_refused(open(&world, cookie(COOKIE), read()), DISK_RANDOM_READ);
    world.grant(rights(&[DISK_RANDOM_READ, DISK_RANDOM_ACCESS]));
    is_refused(open(&world, me(), read()), DISK_LEASE);
    is_refused(open(&world, me(), write()), DISK_LEASE);
}

#[test]
fn what_is_said_of_a_machine_counts_there_alone() {
    let world = World::new();
    let lease_only = [DISK_LEASE.to_owned()].into();
    let mut of_user = UserRights::all();
    of_user.on.insert("vm-201".to_owned(), lease_only);
    world.grant(of_user);
    is_refused(open(&world, password("correct horse"), OpenOptions::read_only()), DISK_RANDOM_READ);
    world.connect_to_snapshot().open(super::world::FROZEN, OpenOptions::read_only()).unwrap();
}

/// As the documents of the real library warn.
#[test]
fn without_the_privilege_to_disable_methods_a_licence_seems_to_be_missing() {
    let world = World::new();
    let prepare = || library().prepare_for_access(&world.params("vm-101"), "backup");
    let is_refused = |error: Error, privilege: &str| {
        assert_eq!((error.code(), error.kind()), (Some(16064), ErrorKind::Licence));
        assert!(error.to_string().contains(privilege), "it says what else it can be: {error}");
        assert!(error.log_lines().iter().any(|line| line.contains(privilege)), "{error:#}");
    };
    world.grant(rights(&[DISK_LEASE, DISK_RANDOM_READ, ENABLE_METHODS]));
    is_refused(prepare().unwrap_err(), DISABLE_METHODS);
    world.grant(rights(&[DISABLE_METHODS]));
    let guard = prepare().unwrap();
    is_refused(guard.end().unwrap_err(), ENABLE_METHODS);
    world.grant(rights(&[DISABLE_METHODS, ENABLE_METHODS]));
    // What could not be ended is ended now, and prepared anew.
    prepare().unwrap().end().unwrap();
}
