//! Guests that write by themselves.

use std::time::{Duration, SystemTime};

use sim_store::guest::expected_sector;
use sim_store::guest::writer::{self, Counter, Workload};
use vim_api::mo::{self, Managed};
use vsphere_sim::{Clock, DatastoreSpec, DiskSpec, ErrorKind, Sim, SimVm, VmSpec};

use crate::control::ask;
use crate::{MIB, log_in, machine};

const KEYS: [i32; 3] = [2000, 2001, 2002];

fn small() -> Workload {
    Workload { seed: 5, bytes: 32 << 10, ..Workload::default() }
}

async fn three_disks() -> Sim {
    let vm = KEYS.iter().fold(VmSpec::new("vm-1").cbt(), |vm, _| vm.disk(DiskSpec::empty(2 * MIB)));
    Sim::builder().vm(vm).start().await.unwrap()
}

/// How far the guest has come on a disk, whose content has to be what that makes of it.
fn checked(vm: &SimVm, key: i32, snapshot: Option<&str>, workload: &Workload) -> Counter {
    let disk = vm.open_disk(key, snapshot).unwrap();
    let counter = writer::counter(&disk).unwrap().expect("the guest has worked here");
    let (uuid, made) = (disk.uuid().unwrap(), workload.replay(disk.uuid().unwrap(), &counter));
    let mut sector = [0; 512];
    for lba in 8..disk.capacity() / 512 {
        disk.read_at(lba * 512, &mut sector).unwrap();
        let wanted = match made.get(&lba) {
            Some(Some(tick)) => expected_sector(workload.seed, uuid, lba, *tick),
            _ => [0; 512],
        };
        assert_eq!(sector, wanted, "disk {key} at {snapshot:?}, sector {lba}, {counter:?}");
    }
    counter
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn all_disks_of_a_snapshot_are_of_one_moment() {
    let sim = three_disks().await;
    let client = log_in(&sim).await;
    let (vm, handle) = (machine(&client, &sim), sim.vm("vm-1").unwrap());
    let guest = handle.guest_writer(small(), Some(Duration::from_millis(1))).unwrap();
    let mut last = 0;
    for round in 0..8 {
        let before = guest.state().ticks;
        until(|| guest.state().ticks > before + 2).await;
        let quiesce = round % 2 == 0;
        let task = vm.create_snapshot_task("cut", None, false, quiesce).await.unwrap();
        let snapshot = task.wait().await.unwrap();
        let ticks = KEYS.map(|key| checked(&handle, key, Some(snapshot.value()), &small()).tick);
        let (first, newest) = (*ticks.iter().min().unwrap(), *ticks.iter().max().unwrap());
        assert!(newest - first <= 1 && first > last, "{ticks:?} after {last}");
        last = newest;
        for key in KEYS.iter().filter(|_| quiesce) {
            assert_eq!(first, newest, "a guest that stands still has ended its tick");
            let disk = handle.open_disk(*key, Some(snapshot.value())).unwrap();
            assert_eq!(writer::marker(&disk).unwrap(), Some(newest));
        }
        client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    }
    guest.stop();
    let state = guest.state();
    assert_eq!((state.failed, state.error), (0, None));
    assert!(sim.guest_writers().is_empty());
    for key in KEYS {
        checked(&handle, key, None, &small());
    }
}

#[tokio::test]
async fn a_guest_writes_while_its_machine_is_on_and_goes_on_after_a_revert() {
    let sim = three_disks().await;
    let client = log_in(&sim).await;
    let (vm, handle) = (machine(&client, &sim), sim.vm("vm-1").unwrap());
    let guest = handle.guest_writer(small(), None).unwrap();
    assert_eq!((guest.step().unwrap(), guest.step().unwrap()), (1, 2));
    let snapshot = vm.create_snapshot_task("two", None, false, false).await.unwrap().wait().await.unwrap();
    vm.suspend_vm_task().await.unwrap().wait().await.unwrap();
    assert_eq!(guest.step().unwrap_err().kind(), ErrorKind::InvalidState);
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    assert_eq!(guest.step().unwrap(), 3);
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    assert_eq!(guest.step().unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(KEYS.map(|key| checked(&handle, key, None, &small()).tick), [3; 3]);
    client.bind(&snapshot).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    assert_eq!(guest.step().unwrap(), 3, "the disks know of two ticks");
    assert_eq!(KEYS.map(|key| checked(&handle, key, None, &small()).tick), [3; 3]);
    // A machine without a guest that is on can be quiesced all the same.
    vm.create_snapshot_task("three", None, false, true).await.unwrap().wait().await.unwrap();
    assert_eq!(
        handle.guest_writer(Workload { patterns: vec![], ..small() }, None).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    assert_eq!(guest.step().unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn ticks_go_by_a_virtual_clock() {
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(MIB));
    let clock = Clock::Virtual { start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000) };
    let sim = Sim::builder().vm(vm).clock(clock).start().await.unwrap();
    let guest = sim.vm("vm-1").unwrap().guest_writer(small(), Some(Duration::from_secs(60))).unwrap();
    sim.advance_clock(Duration::from_secs(59));
    sim.advance_clock(Duration::from_secs(541));
    until(|| guest.state().ticks >= 10).await;
    guest.stop();
    assert_eq!(guest.state().ticks, 10);
}

#[tokio::test]
async fn a_full_datastore_stops_the_guest_and_more_room_lets_it_go_on() {
    let vm = KEYS.iter().fold(VmSpec::new("vm-1").cbt(), |vm, _| vm.disk(DiskSpec::empty(8 * MIB)));
    let store = DatastoreSpec::new("datastore1").capacity(2 * MIB);
    let sim = Sim::builder().datastore(store).vm(vm).start().await.unwrap();
    let handle = sim.vm("vm-1").unwrap();
    let guest = handle.guest_writer(small(), None).unwrap();
    let full = loop {
        if let Err(error) = guest.step() {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::Store);
    let state = guest.state();
    assert!(state.failed == 1 && state.error.clone().unwrap().contains("datastore is full"), "{state:?}");
    sim.set_datastore_capacity("datastore1", 100 * MIB).unwrap();
    for _ in 0..5 {
        guest.step().unwrap();
    }
    let ticks = KEYS.map(|key| checked(&handle, key, None, &small()).tick);
    assert!(ticks == [ticks[0]; 3] && guest.state().error.is_none(), "{ticks:?}");
    assert_eq!(sim.set_datastore_capacity("other", 1).unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn guests_are_told_to_write_by_the_control_port() {
    let vm = VmSpec::new("on").disk(DiskSpec::empty(MIB));
    let sim = Sim::builder().control("127.0.0.1:0".parse().unwrap()).vm(vm).start().await.unwrap();
    let body = r#"{"vm": "on", "seed": 9, "patterns": ["random", "discard"], "bytes": 16384}"#;
    let (status, state) = ask(&sim, "POST", "/v1/guest-writers", body);
    assert_eq!((status, &state["vm"], &state["ticks"]), (200, &"vm-101".into(), &0.into()), "{state}");
    let (status, told) = ask(&sim, "POST", "/v1/guest-writers/step", r#"{"vm": "on", "ticks": 3}"#);
    assert_eq!((status, &told["tick"]), (200, &3.into()));
    let list = ask(&sim, "GET", "/v1/guest-writers", "").1;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["ticks"]), (1, &3.into()), "{list}");
    assert_eq!(list[0]["workload"]["patterns"], serde_json::json!(["random", "discard"]));
    let workload = serde_json::from_value(list[0]["workload"].clone()).unwrap();
    assert_eq!(checked(&sim.vm("on").unwrap(), 2000, None, &workload).tick, 3);
    for (path, body, wanted) in [
        ("/v1/guest-writers", r#"{"vm": "none"}"#, 404),
        ("/v1/guest-writers", r#"{"vm": "on", "patterns": []}"#, 400),
        ("/v1/guest-writers", r#"{"vm": "on", "patterns": ["all"]}"#, 400),
        ("/v1/guest-writers", r#"{"vm": "on", "interval_ms": 0}"#, 400),
        ("/v1/guest-writers/step", r#"{"vm": "on", "ticks": 1000000}"#, 400),
        ("/v1/datastore-capacity", r#"{"name": "none", "capacity": 1}"#, 404),
        ("/v1/datastore-capacity", r#"{"name": "datastore1", "capacity": 9000000000}"#, 200),
    ] {
        assert_eq!(ask(&sim, "POST", path, body).0, wanted, "{path} {body}");
    }
    assert_eq!(ask(&sim, "DELETE", "/v1/guest-writers/on", "").0, 200);
    assert_eq!(ask(&sim, "DELETE", "/v1/guest-writers/on", "").0, 404);
    assert_eq!(ask(&sim, "POST", "/v1/guest-writers/step", r#"{"vm": "on"}"#).0, 404);
    let client = log_in(&sim).await;
    let store = client.find_one::<mo::Datastore>("/DC0/datastore/datastore1").await.unwrap().object;
    let summary = client.bind(&store).require(mo::Datastore::SUMMARY).await.unwrap();
    assert_eq!(summary.capacity, 9_000_000_000);
}
