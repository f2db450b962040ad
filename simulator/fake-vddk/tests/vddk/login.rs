//! Connecting and opening: who gets in, and which disk they get.

use vixdisklib::{ConnectOptions, Credentials, ErrorKind, OpenOptions, Thumbprint, TransportMode};

use super::world::{COOKIE, FROZEN, LIVE, OFF, World, cookie, library, password, thumbprint};

#[test]
fn a_wrong_password_is_an_authentication_failure() {
    let world = World::new();
    let params = world.params_with("vm-101", password("wrong horse"), thumbprint());
    let error = library().connect(&params, ConnectOptions::new()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(35), ErrorKind::Authentication));
    assert!(error.is_authentication());
    let everything = format!("{error} {error:?} {error:#} {params:?}");
    assert!(!everything.contains("wrong horse"), "{everything}");
    assert!(error.log_lines().iter().any(|line| line.contains("login to 127.0.0.1 failed")), "{error:#}");
}

#[test]
fn a_session_cookie_serves_instead_of_a_password() {
    let world = World::new();
    let connect = |credentials: Credentials| {
        library().connect(&world.params_with("vm-201", credentials, thumbprint()), ConnectOptions::new())
    };
    let connection = connect(cookie(COOKIE)).unwrap();
    connection.open(OFF, OpenOptions::read_only()).unwrap();
    connect(cookie(&format!("vmware_soap_session=\"{COOKIE}\"; Path=/"))).unwrap();
    assert!(connect(cookie("stale")).unwrap_err().is_authentication());
}

#[test]
fn a_wrong_thumbprint_is_found_out_when_a_disk_is_opened() {
    let world = World::new();
    let params = world.params_with("vm-201", password("correct horse"), Thumbprint::from_sha1([1; 20]));
    let connection = library().connect(&params, ConnectOptions::new()).unwrap();
    let error = connection.open(OFF, OpenOptions::read_only()).unwrap_err();
    assert_eq!((error.code(), error.subject()), (Some(1), Some(OFF)));
    assert!(error.to_string().contains("check the thumbprint"), "{error}");
    assert!(error.log_lines().iter().any(|line| line.contains("NFC ERROR")), "{error:#}");
}

#[test]
fn a_server_that_is_not_there_is_a_network_failure() {
    let world = World::new();
    let params = world.params("vm-201");
    drop(world);
    let error = library().connect(&params, ConnectOptions::new()).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(18000), ErrorKind::Network));
    assert!(error.is_retryable());
}

#[test]
fn a_disk_must_belong_to_the_machine_and_the_snapshot() {
    let world = World::new();
    let code = |vm: &str, snapshot: Option<&str>, path: &str| {
        let mut options = ConnectOptions::new();
        if let Some(snapshot) = snapshot {
            options = options.snapshot(snapshot);
        }
        let connection = library().connect(&world.params(vm), options).unwrap();
        connection.open(path, OpenOptions::read_only()).map(drop).map_err(|error| error.code().unwrap())
    };
    assert_eq!(code("vm-101", Some("snapshot-102"), FROZEN), Ok(()));
    assert_eq!(code("vm-101", None, FROZEN), Ok(()));
    assert_eq!(code("vm-101", Some("snapshot-102"), LIVE), Err(4));
    assert_eq!(code("vm-101", Some("snapshot-9"), FROZEN), Err(25));
    assert_eq!(code("vm-9", None, FROZEN), Err(25));
    assert_eq!(code("vm-201", None, FROZEN), Err(4));
    assert_eq!(code("vm-201", None, "[ds] ../../etc/passwd"), Err(22));
    assert_eq!(code("vm-201", None, "no datastore"), Err(22));
}

#[test]
fn writers_keep_each_other_out() {
    let world = World::new();
    let open = |vm: &str, path: &str| world.connect(vm).open(path, OpenOptions::read_write());
    let first = open("vm-201", OFF).unwrap();
    let error = open("vm-201", OFF).unwrap_err();
    assert_eq!((error.code(), error.is_locked()), (Some(15), true));
    world.connect("vm-201").open(OFF, OpenOptions::read_only()).unwrap();
    first.close().unwrap();
    open("vm-201", OFF).unwrap();
    // A running machine holds its disk, and a snapshot's disk lies under another.
    assert!(open("vm-101", LIVE).unwrap_err().is_locked());
    assert!(open("vm-101", FROZEN).unwrap_err().is_locked());
}

#[test]
fn the_transport_is_the_first_that_works() {
    let world = World::new();
    let open = |modes: Vec<TransportMode>| {
        let options = ConnectOptions::new().transports(modes).insist_on_transports(true);
        let connection = library().connect(&world.params("vm-201"), options).unwrap();
        connection.open(OFF, OpenOptions::read_only()).map(|disk| disk.transport_mode().clone())
    };
    assert_eq!(open(vec![]).unwrap(), TransportMode::NbdSsl);
    assert_eq!(open(vec![TransportMode::San, TransportMode::Nbd]).unwrap(), TransportMode::Nbd);
    assert_eq!(open(vec![TransportMode::HotAdd]).unwrap_err().code(), Some(13));
}

#[test]
fn a_connection_lives_as_long_as_its_disks() {
    let world = World::new();
    let connection = world.connect("vm-201");
    let disk = connection.open(OFF, OpenOptions::read_only()).unwrap();
    let error = connection.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    disk.read(vixdisklib::Sectors(0), &mut [0; 512]).unwrap();
    disk.close().unwrap();
    let connection = world.connect("vm-201");
    connection.close().unwrap();
}

#[test]
fn writing_over_a_read_only_connection_is_refused_before_the_library_is_asked() {
    let world = World::new();
    let error = world.connect_to_snapshot().open(FROZEN, OpenOptions::read_write()).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, None));
}
