//! Fault rules as they are felt: on the wire, in sessions, in answers about changes, and in the inventory.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{ErrorKind, MoRef};
use vsphere_sim::{Action, Effect, Endpoint, FaultPlace, FaultRule, Generated, Mutation, Sim, Topology};

use crate::raw::{envelope, post, start};
use crate::tls::open;
use crate::{MIB, log_in, machine};

const CONTENT: &str = "<RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></RetrieveServiceContent>";

fn rule(json: serde_json::Value) -> FaultRule {
    FaultRule::from_json(&json).unwrap()
}

/// What arrives of one answer, and how the connection ends.
async fn arrives(sim: &Sim) -> (String, Option<std::io::ErrorKind>) {
    let mut stream = open(sim).await;
    stream.write_all(post("", &envelope(CONTENT)).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

async fn suffers(sim: &Sim, json: serde_json::Value) -> (String, Option<std::io::ErrorKind>) {
    let mut json = json;
    json["method"] = "RetrieveServiceContent".into();
    sim.clear_faults().unwrap();
    sim.add_fault(rule(json)).unwrap();
    let felt = arrives(sim).await;
    assert_eq!(sim.faults()[0].hits, 1);
    felt
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn connections_and_bytes() {
    let sim = start(1).await;
    let (whole, end) = arrives(&sim).await;
    assert!(whole.starts_with("HTTP/1.1 200 ") && end.is_none(), "{end:?}");

    let json =
        serde_json::json!({ "where": "http", "status": 502, "message": "Bad gateway", "retry_after": 7 });
    let (answer, _) = suffers(&sim, json).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("\r\nretry-after: 7\r\n"), "{answer}");
    assert_eq!(body(&answer), "Bad gateway");
    let (answer, _) = suffers(&sim, serde_json::json!({ "where": "http", "status": 503 })).await;
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");

    let (answer, end) = suffers(&sim, serde_json::json!({ "where": "http" })).await;
    assert_eq!((answer.as_str(), end), ("", Some(std::io::ErrorKind::UnexpectedEof)));
    let (answer, end) = suffers(&sim, serde_json::json!({ "where": "http", "effect": "reset" })).await;
    assert_eq!((answer.as_str(), end), ("", Some(std::io::ErrorKind::ConnectionReset)));
    let (answer, end) =
        suffers(&sim, serde_json::json!({ "where": "body", "effect": "reset_after_head" })).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && body(&answer).is_empty(), "{answer}");
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset));

    let (answer, end) = suffers(&sim, serde_json::json!({ "where": "body", "cut_after": 100 })).await;
    assert_eq!(body(&answer), &body(&whole)[..100]);
    assert!(answer.contains(&format!("content-length: {}", body(&whole).len())), "{answer}");
    assert_eq!(end, Some(std::io::ErrorKind::UnexpectedEof));
    let (answer, end) =
        suffers(&sim, serde_json::json!({ "where": "body", "effect": "no_close_notify" })).await;
    assert_eq!(body(&answer), body(&whole));
    assert_eq!(end, Some(std::io::ErrorKind::UnexpectedEof));

    let begun = Instant::now();
    let rate = body(&whole).len() as u64 * 2;
    let (answer, end) = suffers(&sim, serde_json::json!({ "where": "body", "bytes_per_second": rate })).await;
    assert!(body(&answer) == body(&whole) && end.is_none());
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let (answer, _) = suffers(&sim, serde_json::json!({ "where": "body", "delay_ms": 150 })).await;
    assert!(body(&answer) == body(&whole) && begun.elapsed() >= Duration::from_millis(150));

    let (answer, _) = suffers(&sim, serde_json::json!({ "where": "body", "effect": "gzip_garbage" })).await;
    assert!(answer.contains("\r\ncontent-encoding: gzip\r\n") && !body(&answer).starts_with('<'), "{answer}");
    let stalled = suffers(&sim, serde_json::json!({ "where": "body", "stall_after": 50 }));
    assert!(tokio::time::timeout(Duration::from_millis(300), stalled).await.is_err(), "it stalls");
}

#[tokio::test]
async fn the_client_calls_each_by_its_name() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    for (json, kind) in [
        (serde_json::json!({ "where": "http", "effect": "reset" }), ErrorKind::Interrupted),
        (serde_json::json!({ "where": "body", "effect": "reset_after_head" }), ErrorKind::Interrupted),
        (serde_json::json!({ "where": "body", "cut_after": 10 }), ErrorKind::Interrupted),
        (serde_json::json!({ "where": "http", "status": 503 }), ErrorKind::Unavailable),
    ] {
        let mut json = json;
        json["method"] = "CreateSnapshot_Task".into();
        json["count"] = 1.into();
        sim.clear_faults().unwrap();
        sim.add_fault(rule(json)).unwrap();
        let error = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    sim.clear_faults().unwrap();
    sim.add_fault(rule(serde_json::json!({
        "method": "QueryChangedDiskAreas", "where": "body", "effect": "gzip_garbage"
    })))
    .unwrap();
    assert!(vm.query_changed_disk_areas(None, 2000, 0, "*").await.is_err());
    assert!(sim.faults()[0].hits > 0);
}

#[tokio::test]
async fn sessions_end_where_a_rule_says() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let collector = client.property_collector();
    let long = t::WaitOptions { max_wait_seconds: Some(60), ..Default::default() };
    // While a long poll waits: the fault alone, and the end of the session.
    let wait = serde_json::json!({
        "method": "WaitForUpdatesEx", "after_ms": 100, "fault": "NotAuthenticated", "count": 1
    });
    sim.add_fault(rule(wait)).unwrap();
    let begun = Instant::now();
    let lost = collector.wait_for_updates_ex(None, Some(&long)).await.unwrap_err();
    assert!(lost.any_fault().is_some() || lost.kind() == ErrorKind::SessionLost, "{lost:?}");
    assert!(begun.elapsed() >= Duration::from_millis(100) && begun.elapsed() < Duration::from_secs(30));
    sim.clear_faults().unwrap();

    let id = sim
        .add_fault(rule(serde_json::json!({
            "method": "RetrievePropertiesEx", "nth": 2, "effect": "expire_session", "user": sim.user()
        })))
        .unwrap();
    let before = client.session_generation();
    for _ in 0..3 {
        assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    }
    assert_eq!(client.session_generation(), before + 1, "it logged in once more");
    let state = sim.faults().into_iter().find(|state| state.id == id).unwrap();
    assert_eq!(state.hits, 1);
    sim.remove_fault(id).unwrap();

    // Another user's rule strikes nobody here.
    sim.add_fault(rule(serde_json::json!({
        "method": "*", "user": "somebody@else", "fault": "NoPermission"
    })))
    .unwrap();
    vm.require(mo::VirtualMachine::NAME).await.unwrap();
    assert_eq!(sim.faults()[0].seen, 0);
    sim.clear_faults().unwrap();

    // A file's transfer, whose endpoint is asked in the same way whatever it answers.
    sim.add_fault(FaultRule {
        effect: Some(Effect::ExpireSession),
        status: Some(401),
        ..FaultRule::at(Endpoint::Folder, "GET", FaultPlace::Http)
    })
    .unwrap();
    let answer =
        crate::raw::send(&sim, "GET /folder/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn faults_have_their_fields() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    sim.add_fault(rule(serde_json::json!({
        "method": "QueryChangedDiskAreas", "fault": "FileFault", "message": "The map is gone.",
        "fields": { "file": "[datastore1] vm-1/vm-1-ctk.vmdk" }
    })))
    .unwrap();
    let refused = vm.query_changed_disk_areas(None, 2000, 0, "*").await.unwrap_err();
    assert_eq!(refused.fault::<t::FileFault>().unwrap().file, "[datastore1] vm-1/vm-1-ctk.vmdk");
    sim.add_fault(rule(serde_json::json!({
        "method": "CreateSnapshot_Task", "where": "task", "progress": 40, "fault": "InvalidPowerState",
        "fields": { "requestedState": "poweredOn", "existingState": "suspended" }
    })))
    .unwrap();
    let failed = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap_err();
    let state = failed.fault::<t::InvalidPowerState>().unwrap();
    assert_eq!(state.existing_state, t::VirtualMachinePowerState::Suspended);
}

#[tokio::test]
async fn what_changed_is_told_wrongly() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let handle = sim.vm("vm-1").unwrap();
    handle.with_live_disk(2000, |disk| disk.write_at(1 << 20, &[1; 65_536])).unwrap().unwrap();
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let ask = async |id: &str| vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, id).await;
    let honest = ask("*").await.unwrap();
    sim.add_fault(FaultRule::changed_areas(Mutation::ExtraExtents)).unwrap();
    let more = ask("*").await.unwrap();
    assert_eq!((more.start_offset, more.length), (honest.start_offset, honest.length));
    let sum = |info: &t::DiskChangeInfo| info.changed_area.iter().map(|area| area.length).sum::<i64>();
    let areas = |info: &t::DiskChangeInfo| {
        info.changed_area.iter().map(|area| (area.start, area.length)).collect::<Vec<_>>()
    };
    assert!(sum(&more) > sum(&honest) && areas(&honest).iter().all(|area| areas(&more).contains(area)));
    let ends = more.changed_area.windows(2).all(|pair| pair[0].start + pair[0].length <= pair[1].start);
    assert!(ends, "{more:?}");

    sim.clear_faults().unwrap();
    sim.add_fault(FaultRule::changed_areas(Mutation::RefuseAll)).unwrap();
    let devices = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(devices.change_tracking_enabled, Some(true));
    assert!(ask("*").await.unwrap_err().fault::<t::FileFault>().is_some());
    let second = vm.create_snapshot_task("t", None, false, false).await.unwrap().wait().await.unwrap();
    let id = change_id(&client, &snapshot).await.unwrap();
    let since = vm.query_changed_disk_areas(Some(&second), 2000, 0, &id).await.unwrap();
    assert!(since.changed_area.is_empty());

    // The inventory says that there is no change id.
    sim.clear_faults().unwrap();
    let forget = Action::ForgetChangeIds { vm: Some("vm-1".to_owned()) };
    sim.add_fault(FaultRule::inventory("RetrievePropertiesEx", forget)).unwrap();
    assert_eq!(change_id(&client, &second).await, None);
}

async fn change_id(client: &vim_api::Client, snapshot: &MoRef<mo::VirtualMachineSnapshot>) -> Option<String> {
    let config = client.bind(snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let backing = disks.map(|disk| disk.backing.clone().unwrap()).next().unwrap();
    backing.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>().unwrap().change_id.clone()
}

#[tokio::test]
async fn others_change_the_inventory() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let (first, second) = (sim.vm("vm-1").unwrap(), sim.vm("vm-2").unwrap());
    let on_snapshot = |json: serde_json::Value| {
        sim.clear_faults().unwrap();
        let json = serde_json::json!({
            "method": "CreateSnapshot_Task", "where": "inventory", "nth": 1, "action": json
        });
        sim.add_fault(rule(json)).unwrap();
    };
    let snapshot = async || vm.create_snapshot_task("ours", None, false, false).await;

    let name = "\u{4e2d}\u{6587}%2f".repeat(10);
    on_snapshot(serde_json::json!({ "do": "rename", "name": name }));
    snapshot().await.unwrap().wait().await.unwrap();
    assert_eq!(first.name().unwrap(), name);
    first.rename("vm-1").unwrap();

    on_snapshot(serde_json::json!({ "do": "user_snapshot", "vm": "vm-2", "name": "theirs" }));
    let before = first.snapshot_count();
    snapshot().await.unwrap().wait().await.unwrap();
    assert_eq!((first.snapshot_count(), second.snapshot_count()), (before + 1, 1));
    let other: mo::VirtualMachine = client.bind(&second.moref());
    let tree = other.require(mo::VirtualMachine::SNAPSHOT).await.unwrap();
    assert_eq!(tree.root_snapshot_list[0].name, "theirs");
    other.remove_all_snapshots_task(None, None).await.unwrap().wait().await.unwrap();

    on_snapshot(serde_json::json!({ "do": "grow_disk", "vm": "vm-2", "disk": 2000, "capacity": 128 * MIB }));
    snapshot().await.unwrap().wait().await.unwrap();
    assert_eq!(second.disks().unwrap()[0].capacity_bytes, 128 * MIB);
    assert_eq!(second.open_disk(2000, None).unwrap().capacity(), 128 * MIB);

    on_snapshot(serde_json::json!({ "do": "add_disk", "vm": "vm-2", "capacity": 16 * MIB }));
    snapshot().await.unwrap().wait().await.unwrap();
    assert_eq!(second.disks().unwrap()[1].capacity_bytes, 16 * MIB);
    assert_eq!(second.open_disk(2001, None).unwrap().capacity(), 16 * MIB);

    // There is but one host.
    on_snapshot(serde_json::json!({ "do": "move_host", "vm": "vm-2" }));
    let refused = snapshot().await.unwrap_err();
    assert!(refused.to_string().contains("no other host"), "{refused}");

    on_snapshot(serde_json::json!({ "do": "take_uuids", "vm": "vm-2", "of": "vm-1" }));
    snapshot().await.unwrap().wait().await.unwrap();
    let uuid = async |vm: &mo::VirtualMachine| {
        vm.require(mo::VirtualMachine::CONFIG).await.unwrap().instance_uuid.clone()
    };
    assert_eq!(uuid(&vm).await, uuid(&other).await);

    let clock = client.bind(&MoRef::<mo::ServiceInstance>::new("ServiceInstance"));
    let now = async || clock.current_time().await.unwrap().to_system_time().unwrap();
    let before = now().await;
    on_snapshot(serde_json::json!({ "do": "advance_clock", "seconds": 1000 }));
    snapshot().await.unwrap().wait().await.unwrap();
    assert!(now().await.duration_since(before).unwrap() >= Duration::from_secs(1000));

    // What cannot be done is said, and not passed over.
    on_snapshot(serde_json::json!({ "do": "rename", "vm": "nobody", "name": "x" }));
    let refused = snapshot().await.unwrap_err();
    assert!(refused.to_string().contains("nobody"), "{refused}");

    on_snapshot(serde_json::json!({ "do": "vanish" }));
    let gone = snapshot().await.unwrap_err();
    assert!(gone.fault::<t::ManagedObjectNotFound>().is_some(), "{gone}");
    assert!(sim.vm("vm-1").is_err());
}

#[tokio::test]
async fn a_machine_moves_to_another_host() {
    let topology = Topology { hosts: 2, ..Topology::default() };
    let sim = Sim::builder().topology(topology).generate(Generated::new(1)).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let host = async || vm.require(mo::VirtualMachine::RUNTIME).await.unwrap().host.clone().unwrap();
    let before = host().await;
    sim.add_fault(rule(serde_json::json!({
        "method": "CreateSnapshot_Task", "where": "inventory", "nth": 1, "action": { "do": "move_host" }
    })))
    .unwrap();
    vm.create_snapshot_task("ours", None, false, false).await.unwrap().wait().await.unwrap();
    assert_ne!(host().await, before);
}

/// The other endpoints are spoilt in the same way, whoever answers there.
#[tokio::test]
async fn what_is_no_soap_suffers_too() {
    let sim = start(1).await;
    let request = "GET /api/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let whole = crate::raw::send(&sim, request).await;
    assert!(whole.starts_with("HTTP/1.1 401 ") && body(&whole).len() > 50, "{whole}");
    let spoil = |effect| FaultRule {
        effect: Some(effect),
        object: Some("/api/*".to_owned()),
        ..FaultRule::at(Endpoint::Rest, "GET", FaultPlace::Body)
    };
    sim.add_fault(spoil(Effect::ShiftedBytes)).unwrap();
    let shifted = crate::raw::send(&sim, request).await;
    assert_eq!(body(&shifted), format!("{}\0", &body(&whole)[1..]));
    assert_eq!(sim.faults()[0].hits, 1);
    let other = crate::raw::send(&sim, &request.replace("GET /api", "GET /rest")).await;
    assert_eq!((sim.faults()[0].seen, other.contains("401")), (1, true));
}

/// What the book says is what can be sent.
#[test]
fn the_page_about_rules_is_true() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulator-faults.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut examples = 0;
    for block in page.split("```json\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        let json: serde_json::Value =
            serde_json::from_str(block).unwrap_or_else(|error| panic!("{block}: {error}"));
        let rules = json.as_array().cloned().unwrap_or_else(|| vec![json]);
        for rule in rules {
            if rule.get("function").is_some() {
                let read = serde_json::from_value::<sim_store::state::FaultRule>(rule.clone());
                read.unwrap_or_else(|error| panic!("{rule}: {error}"));
            } else {
                FaultRule::from_json(&rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
            }
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples}");
    // Every field, place, endpoint, effect, mutation and action is in its tables.
    let error = FaultRule::from_json(&serde_json::json!({ "?": 1 })).unwrap_err().to_string();
    let mut words: Vec<String> = quoted(&error);
    for field in ["where", "endpoint", "effect", "mutate", "lease"] {
        let error = FaultRule::from_json(&serde_json::json!({ field: "?" })).unwrap_err().to_string();
        words.extend(quoted(&error));
    }
    words.extend(quoted(
        &FaultRule::from_json(&serde_json::json!({ "action": { "do": "?" } })).unwrap_err().to_string(),
    ));
    for wrong in [r#"{"?": 1}"#, r#"{"function": "Open", "effect": "?"}"#] {
        let error = serde_json::from_str::<sim_store::state::FaultRule>(wrong).unwrap_err().to_string();
        words.extend(quoted(&error));
    }
    assert!(words.len() > 70, "{words:?}");
    for word in words.iter().filter(|word| *word != "?") {
        assert!(page.contains(&format!("`{word}`")), "{word} is not explained");
    }
}

/// The page about testing says which test shows a fault: each of them is there.
#[test]
fn the_table_of_faults_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/testing.md")).unwrap();
    let (_, table) = page.split_once("### Faults, and who shows").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for one in shown.split(", ") {
            let words = quoted(one);
            let Some(at) = words.iter().position(|word| word.ends_with(".rs")) else { continue };
            let folder = if at > 0 { "../../vadp/tests/workflow" } else { "tests" };
            let source = std::fs::read_to_string(root.join(folder).join(&words[at])).unwrap();
            let test = &words[at + 1];
            assert!(source.contains(&format!("fn {test}(")), "{} has no test {test}", words[at]);
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
