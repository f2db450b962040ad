use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, ErrorKind, Retry};
use vsphere_sim::{FaultPlace, FaultRule};

use crate::{log_in, machine, start};

#[tokio::test]
async fn a_call_is_refused_and_the_session_renewed() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    sim.add_fault(FaultRule::call("QueryChangedDiskAreas", "FileFault")).unwrap();
    let refused = vm.query_changed_disk_areas(None, 2000, 0, "*").await.unwrap_err();
    assert!(refused.fault::<t::FileFault>().is_some(), "{refused}");
    // The client answers a lost session with one login and one more call.
    sim.clear_faults().unwrap();
    sim.add_fault(FaultRule::call("RetrievePropertiesEx", "NotAuthenticated").times(1, 1)).unwrap();
    sim.expire_sessions();
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.session_generation(), 2);
}

#[tokio::test]
async fn a_task_fails_on_its_way() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let handle = sim.vm("vm-1").unwrap();
    sim.add_fault(FaultRule::task("CreateSnapshot_Task", "ApplicationQuiesceFault", 60).times(1, 1)).unwrap();
    let task = vm.create_snapshot_task("broken", None, false, true).await.unwrap();
    let failed = task.wait().await.unwrap_err();
    assert!(failed.fault::<t::ApplicationQuiesceFault>().is_some(), "{failed}");
    assert_eq!(handle.snapshot_count(), 0);
    assert_eq!(handle.disks().unwrap()[0].path, "[datastore1] vm-1/vm-1.vmdk", "rolled back");
    let snapshot = vm.create_snapshot_task("good", None, false, true).await.unwrap().wait().await.unwrap();

    // A removal that fails midway leaves no snapshot, but work to do.
    sim.add_fault(FaultRule::task("RemoveSnapshot_Task", "SnapshotFault", 60)).unwrap();
    handle.with_live_disk(2000, |disk| disk.write_at(0, b"kept")).unwrap().unwrap();
    let digest = handle.disk_sha256(2000, None).unwrap();
    let failed =
        client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap_err();
    assert!(failed.fault::<t::SnapshotFault>().is_some(), "{failed}");
    assert_eq!(handle.disk_sha256(2000, None).unwrap(), digest);
    assert_eq!(handle.snapshot_count(), 0);
    let runtime = vm.require(mo::VirtualMachine::RUNTIME).await.unwrap();
    assert_eq!(runtime.consolidation_needed, Some(true));
    vm.consolidate_vm_disks_task().await.unwrap().wait().await.unwrap();
    let runtime = vm.require(mo::VirtualMachine::RUNTIME).await.unwrap();
    assert_eq!(runtime.consolidation_needed, Some(false));
    assert_eq!(handle.disks().unwrap()[0].path, "[datastore1] vm-1/vm-1.vmdk");
    assert_eq!(handle.disk_sha256(2000, None).unwrap(), digest);
}

#[tokio::test]
async fn http_goes_wrong() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let rule = |at, status, cut_after| FaultRule {
        method: "CreateSnapshot_Task".to_owned(),
        at,
        status,
        cut_after,
        count: Some(1),
        ..FaultRule::default()
    };
    sim.add_fault(rule(FaultPlace::Http, Some(503), None)).unwrap();
    let unavailable = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert!(unavailable.any_fault().is_none(), "{unavailable}");
    assert_eq!(unavailable.kind(), ErrorKind::Unavailable);
    assert!(unavailable.is_retryable() && unavailable.to_string().contains("HTTP 503"), "{unavailable}");
    sim.add_fault(rule(FaultPlace::Http, None, None)).unwrap();
    let reset = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::Interrupted, "{reset:?}");
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0);
    sim.add_fault(rule(FaultPlace::Body, None, Some(100))).unwrap();
    let cut = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Interrupted, "{cut:?}");
    let done = async {
        while sim.vm("vm-1").unwrap().snapshot_count() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), done).await.expect("the call was carried out");
}

#[tokio::test]
async fn rules_for_the_fake_vddk_are_passed_on() {
    let sim = start(1).await;
    let rule = sim_store::state::FaultRule { function: "Read".to_owned(), code: 13, ..Default::default() };
    sim.add_vddk_fault(rule.clone()).unwrap();
    assert_eq!(sim_store::state::load_faults(sim.data_dir()).unwrap(), [rule]);
    sim.clear_faults().unwrap();
    assert!(sim_store::state::load_faults(sim.data_dir()).unwrap().is_empty());
    let kit = tempfile::tempdir().unwrap();
    sim.install_vddk_entry(kit.path()).unwrap();
    let entry = sim_store::state::ServerRecord::load(kit.path(), &sim.host(), sim.port()).unwrap();
    assert_eq!(entry.thumbprint_sha1, sim.thumbprint_sha1());
    drop(sim);
    assert!(sim_store::state::ServerRecord::load(kit.path(), "127.0.0.1", 1).is_err());
    assert_eq!(std::fs::read_dir(kit.path().join("servers")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_policy_says_what_is_tried_again_and_safety_what_is_not() {
    let sim = start(1).await;
    let retry = |times| {
        let quick = std::time::Duration::from_millis(5);
        Retry::times(times).backoff(quick, quick).when(|error| error.kind() == ErrorKind::Unavailable)
    };
    let connect = async |policy| {
        let pin = sim.thumbprint_sha256().parse().unwrap();
        let client = Client::connect(&sim.url()).thumbprint(pin).retry(policy).await.unwrap();
        client.login(sim.user(), sim.password()).await.unwrap();
        client
    };
    let unavailable = |method: &str, count| FaultRule {
        method: method.to_owned(),
        at: FaultPlace::Http,
        status: Some(503),
        count: Some(count),
        ..FaultRule::default()
    };
    let client = connect(retry(3)).await;
    let vm = machine(&client, &sim);
    sim.add_fault(unavailable("RetrievePropertiesEx", 3)).unwrap();
    let before = client.requests_sent();
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.requests_sent() - before, 4);

    sim.add_fault(unavailable("RetrievePropertiesEx", 4)).unwrap();
    let given_up = vm.require(mo::VirtualMachine::NAME).await.unwrap_err();
    assert_eq!(given_up.kind(), ErrorKind::Unavailable);

    // It may have been carried out, so nobody but the caller can repeat it.
    sim.add_fault(unavailable("CreateSnapshot_Task", 1)).unwrap();
    let before = client.requests_sent();
    vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert_eq!(client.requests_sent() - before, 1);

    // Another error than the policy names (the transport itself replaces a kept connection that turns out to be closed,
    // once), and a client that was given none.
    let cut = FaultRule { status: None, ..unavailable("RetrievePropertiesEx", 2) };
    sim.clear_faults().unwrap();
    sim.add_fault(cut).unwrap();
    assert_eq!(vm.get(mo::VirtualMachine::NAME).await.unwrap_err().kind(), ErrorKind::Interrupted);
    let plain = log_in(&sim).await;
    sim.add_fault(unavailable("RetrievePropertiesEx", 1)).unwrap();
    assert!(machine(&plain, &sim).get(mo::VirtualMachine::NAME).await.is_err());
}
