//! Faults that a client has to take in its stride, as it sees them. Which test shows which is in `docs/testing.md`.

use std::fs;

use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, DatastorePath, Error, ErrorKind};
use vsphere_sim::{DiskSpec, FaultRule, Sim, TrackingRules, VmSpec};

use crate::folder::on_host;
use crate::{MIB, log_in, machine, start};

fn rule(sim: &Sim, json: serde_json::Value) {
    sim.add_fault(FaultRule::from_json(&json).unwrap()).unwrap();
}

fn fault_name(error: &Error) -> String {
    error.any_fault().unwrap_or_else(|| panic!("{error:?}")).fault.type_name().to_owned()
}

/// The same grains twice: one page of the second time meets a session that has ended.
#[tokio::test]
async fn a_session_that_ends_between_the_pages_of_changed_areas() {
    let rules = TrackingRules { areas_in_answer: 2, ..TrackingRules::default() };
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).cbt();
    let sim = Sim::builder().tracking(rules).vm(vm).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let written = sim.vm("vm-1").unwrap().with_live_disk(2000, |disk| {
        (0..9).for_each(|at| disk.write_at(at * 4 * MIB, &[7; 512]).unwrap());
    });
    written.unwrap();
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let read = async || {
        let (mut at, mut pages, mut areas) = (0, 0, Vec::new());
        while at < 64 << 20 {
            let page = vm.query_changed_disk_areas(Some(&snapshot), 2000, at, "*").await.unwrap();
            assert_eq!((page.start_offset, page.changed_area.len() <= 2), (at, true));
            areas.extend(page.changed_area.iter().map(|area| (area.start, area.length)));
            at += page.length;
            pages += 1;
        }
        assert_eq!(at, 64 << 20);
        (pages, areas)
    };
    let honest = read().await;
    assert_eq!((honest.0, honest.1.len()), (5, 9));
    for lost in [
        serde_json::json!({ "effect": "expire_session" }),
        serde_json::json!({ "fault": "NotAuthenticated" }),
    ] {
        let mut json = lost;
        (json["method"], json["nth"]) = ("QueryChangedDiskAreas".into(), 3.into());
        // Where the fault alone is told, the session has to be gone as well.
        rule(&sim, json);
        let before = client.session_generation();
        assert_eq!(read().await, honest);
        assert_eq!(client.session_generation(), before + 1, "it logged in once more");
        sim.clear_faults().unwrap();
    }
}

const FILE: &str = "big.bin";

/// A simulator with a file of a MiB, a client, and the file's bytes.
async fn with_file() -> (Sim, Client, Vec<u8>) {
    let sim = start(1).await;
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    fs::write(on_host(&sim, FILE), &bytes).unwrap();
    let client = log_in(&sim).await;
    (sim, client, bytes)
}

async fn read(client: &Client, range: Option<std::ops::Range<u64>>) -> Result<Vec<u8>, Error> {
    let (files, path) = (client.datastore_files("DC0"), DatastorePath::new("datastore1", FILE).unwrap());
    let mut download = match range {
        Some(range) => files.download_range(&path, range).await?,
        None => files.download(&path).await?,
    };
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_session_that_dies_while_a_file_streams() {
    let (sim, client, bytes) = with_file().await;
    rule(
        &sim,
        serde_json::json!({ "endpoint": "/folder", "method": "GET", "where": "body", "cut_after": 100_000,
            "effect": "expire_session", "nth": 1 }),
    );
    let before = client.session_generation();
    assert!(read(&client, None).await.unwrap() == bytes, "it goes on by a range, after another login");
    let state = &sim.faults()[0];
    assert!(state.hits == 1 && state.seen >= 2, "{state:?}");
    assert_eq!(client.session_generation(), before + 1);
    // Or the server says so before anything comes; that the account may not is no matter of a login.
    sim.clear_faults().unwrap();
    let http = |status: u16| serde_json::json!({ "endpoint": "/folder", "where": "http", "status": status, "count": 1 });
    rule(&sim, http(401));
    assert!(read(&client, None).await.unwrap() == bytes);
    rule(&sim, http(403));
    assert_eq!(read(&client, None).await.unwrap_err().kind(), ErrorKind::File);
}

#[tokio::test]
async fn parts_of_files_that_are_not_what_was_asked_for() {
    let (sim, client, bytes) = with_file().await;
    let part = 4096..300_000;
    assert!(read(&client, Some(part.clone())).await.unwrap() == bytes[4096..300_000]);
    for effect in ["short_range", "wrong_content_range", "ignore_range"] {
        rule(
            &sim,
            serde_json::json!({ "endpoint": "/folder", "method": "GET", "where": "body", "effect": effect, "nth": 1 }),
        );
        let refused = read(&client, Some(part.clone())).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::File, "{effect}: {refused}");
        assert_eq!(sim.faults()[0].hits, 1, "{effect}");
        sim.clear_faults().unwrap();
    }
}

#[tokio::test]
async fn snapshots_that_the_guest_prevents() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let take = async |quiesce| vm.create_snapshot_task("s", None, false, quiesce).await.unwrap().wait().await;
    for fault in ["ApplicationQuiesceFault", "ToolsUnavailable", "SnapshotFault"] {
        sim.add_fault(FaultRule::task("CreateSnapshot_Task", fault, 40).times(1, 1)).unwrap();
        assert_eq!(fault_name(&take(true).await.unwrap_err()), fault);
        assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0, "{fault}: none is left");
        // The next best one is to be had.
        let snapshot = take(false).await.unwrap();
        client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
        sim.clear_faults().unwrap();
    }
}

#[tokio::test]
async fn what_passes_with_time_is_told_by_the_call_or_by_its_task() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let take = async || vm.create_snapshot_task("s", None, false, false).await?.wait().await;
    for (fault, fields) in [
        ("TaskInProgress", serde_json::json!({ "task": { "type": "Task", "value": "task-7" } })),
        ("ResourceInUse", serde_json::json!({ "type": "VirtualDisk", "name": "vm-1.vmdk" })),
        ("MethodDisabled", serde_json::json!({ "source": "somebody" })),
        (
            "InvalidPowerState",
            serde_json::json!({ "requestedState": "poweredOn", "existingState": "suspended" }),
        ),
        ("HostNotConnected", serde_json::json!({})),
    ] {
        for place in ["call", "task"] {
            let mut json = serde_json::json!({
                "method": "CreateSnapshot_Task", "where": place, "fault": fault, "fields": fields, "count": 1
            });
            if place == "task" {
                json["progress"] = 10.into();
            }
            rule(&sim, json);
            let (before, refused) = (sim.vm("vm-1").unwrap().snapshot_count(), take().await.unwrap_err());
            assert_eq!(fault_name(&refused), fault, "{place}");
            assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), before);
            let snapshot = take().await.unwrap_or_else(|error| panic!("{fault} passes: {error}"));
            client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
            sim.clear_faults().unwrap();
        }
    }
}

#[tokio::test]
async fn refusals_to_tell_what_has_changed() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let ask = async || vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await;
    rule(
        &sim,
        serde_json::json!({ "method": "QueryChangedDiskAreas", "fault": "InvalidArgument", "count": 1,
            "fields": { "invalidProperty": "changeId" } }),
    );
    let refused = ask().await.unwrap_err();
    let fault = refused.fault::<t::InvalidArgument>().unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!(fault.invalid_property.as_deref(), Some("changeId"));
    rule(
        &sim,
        serde_json::json!({ "method": "QueryChangedDiskAreas", "fault": "FileFault", "count": 1,
            "fields": { "file": "[datastore1] vm-1/vm-1-ctk.vmdk" } }),
    );
    assert_eq!(fault_name(&ask().await.unwrap_err()), "FileFault");
    ask().await.unwrap();
    assert!(vm.require(mo::VirtualMachine::CONFIG).await.unwrap().change_tracking_enabled.unwrap());
}
