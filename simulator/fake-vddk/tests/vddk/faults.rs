//! What rules make of calls that neither answer nor fail in the usual ways.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use sim_store::state::{FaultEffect, FaultRule};
use vixdisklib::{ErrorKind, IoMode, OpenOptions, Sectors};

use super::child;
use super::world::{OFF, World, connect_to_parent, rule};

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

#[test]
fn a_lost_session_stays_lost_until_a_new_connection() {
    for mode in [IoMode::Sync, IoMode::Async] {
        let world = World::new();
        let connection = world.connect("vm-201");
        let disk = connection.open(OFF, OpenOptions::read_only().io_mode(mode)).unwrap();
        let read = || disk.read(Sectors(0), &mut [0; 512]);
        read().unwrap();
        world.faults(&[FaultRule { nth: Some(2), effect: Some(FaultEffect::LoseSession), ..rule("Read") }]);
        read().unwrap();
        for _ in 0..2 {
            let error = read().unwrap_err();
            assert_eq!((error.code(), error.is_connection_lost()), (Some(14011), true));
        }
        assert!(connection.open(OFF, OpenOptions::read_only()).unwrap_err().is_connection_lost());
        disk.close().unwrap();
        connection.close().unwrap();
        let disk = world.open_off(OpenOptions::read_only().io_mode(mode));
        disk.read(Sectors(0), &mut [0; 512]).unwrap();
    }
}

#[test]
fn crashes_end_the_process() {
    let test = "suite::faults::crashes_end_the_process";
    child::part(test, |port| {
        let disk = connect_to_parent(port).open(OFF, OpenOptions::read_only()).unwrap();
        disk.read(Sectors(0), &mut [0; 512]).unwrap();
    });
    let world = World::new();
    for (effect, signal) in [(FaultEffect::Segfault, SIGSEGV), (FaultEffect::Abort, SIGABRT)] {
        world.faults(&[FaultRule { effect: Some(effect), ..rule("Read") }]);
        let output = child::run(test, &world.port.to_string());
        assert_eq!(output.status.signal(), Some(signal), "{output:?}");
    }
    // Without a rule the same program ends well.
    world.faults(&[]);
    assert!(child::run(test, &world.port.to_string()).status.success());
}

#[test]
fn a_call_may_never_return() {
    let test = "suite::faults::a_call_may_never_return";
    child::part(test, |port| {
        let disk = connect_to_parent(port).open(OFF, OpenOptions::read_only()).unwrap();
        println!("reading");
        disk.read(Sectors(0), &mut [0; 512]).unwrap();
    });
    let world = World::new();
    world.faults(&[FaultRule { effect: Some(FaultEffect::Hang), ..rule("Read") }]);
    let mut child = child::start(test, &world.port.to_string());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("reading")));
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn rules_come_and_go_while_a_program_runs() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_write());
    let failing = |function: &str, code| FaultRule { code, ..rule(function) };
    for (function, code, call) in [
        ("GetMetadataKeys", 7, Box::new(|| disk.metadata_keys().map(drop)) as Box<dyn Fn() -> _>),
        ("ReadMetadata", 7, Box::new(|| disk.metadata("uuid").map(drop))),
        ("WriteMetadata", 8, Box::new(|| disk.set_metadata("note", "x"))),
        ("Read", 14005, Box::new(|| disk.read(Sectors(0), &mut [0; 512]))),
        ("Write", 8, Box::new(|| disk.write(Sectors(0), &[1; 512]))),
        ("Flush", 7, Box::new(|| disk.flush())),
        ("Open", 4, Box::new(|| world.connect("vm-201").open(OFF, OpenOptions::read_only()).map(drop))),
    ] {
        call().unwrap();
        world.faults(&[failing(function, code)]);
        assert_eq!(call().unwrap_err().code(), Some(code as u16), "{function}");
        world.faults(&[]);
        call().unwrap();
    }
    world.faults(&[failing("Close", 7)]);
    assert_eq!(disk.close().unwrap_err().code(), Some(7));
    world.faults(&[failing("Disconnect", 36)]);
    assert_eq!(world.connect("vm-201").close().unwrap_err().kind(), ErrorKind::ConnectionLost);
}
