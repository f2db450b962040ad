//! How leases end.

use std::time::Duration;

use vim_api::types as t;

use super::*;

async fn state(lease: &mo::HttpNfcLease) -> t::HttpNfcLeaseState {
    lease.require(mo::HttpNfcLease::STATE).await.unwrap()
}

/// Answers the name of the fault that the lease shows.
async fn shown(lease: &mo::HttpNfcLease) -> Option<String> {
    let error = lease.get(mo::HttpNfcLease::ERROR).await.unwrap();
    error.map(|error| error.fault.type_name().to_owned())
}

#[tokio::test]
async fn completed() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let lease: mo::HttpNfcLease = client.bind(&machine(&client, &sim).export_vm().await.unwrap());
    let early = lease.http_nfc_lease_complete().await.unwrap_err();
    assert_eq!(fault_name(&early), "InvalidState");
    assert_eq!(lease.get(mo::HttpNfcLease::INFO).await.unwrap().map(|info| info.lease), None);
    let guard = client.nfc_lease(&lease.moref()).await.unwrap();
    assert_eq!(lease.require(mo::HttpNfcLease::INITIALIZE_PROGRESS).await.unwrap(), 100);
    assert_eq!(lease.require(mo::HttpNfcLease::MODE).await.unwrap(), "pushOrGet");
    assert!(!lease.require(mo::HttpNfcLease::CAPABILITIES).await.unwrap().pull_mode_supported);
    for percent in [-1, 101] {
        let refused = lease.http_nfc_lease_progress(percent).await.unwrap_err();
        assert_eq!(fault_name(&refused), "InvalidArgument");
    }
    lease.http_nfc_lease_progress(30).await.unwrap();
    assert_eq!(lease.require(mo::HttpNfcLease::TRANSFER_PROGRESS).await.unwrap(), 30);
    for (key, value) in [("/vm-101/nothing", "sha1"), (guard.files()[0].key.as_str(), "md5")] {
        let pair = t::KeyValue { key: key.to_owned(), value: value.to_owned(), ..Default::default() };
        let refused = lease.http_nfc_lease_set_manifest_checksum_type(&[pair]).await.unwrap_err();
        assert_eq!(fault_name(&refused), "InvalidArgument");
    }
    let refused = lease.http_nfc_lease_probe_urls(&[], None).await.unwrap_err();
    assert_eq!(fault_name(&refused), "NotSupported");
    let refused = lease.http_nfc_lease_pull_from_urls_task(&[]).await.unwrap_err();
    assert_eq!(fault_name(&refused), "NotSupported");
    guard.complete().await.unwrap();
    assert_eq!((state(&lease).await, shown(&lease).await), (t::HttpNfcLeaseState::Done, None));
    for again in [
        lease.http_nfc_lease_complete().await.err(),
        lease.http_nfc_lease_abort(None).await.err(),
        lease.http_nfc_lease_progress(1).await.err(),
        lease.http_nfc_lease_get_manifest().await.err(),
    ] {
        assert_eq!(fault_name(&again.unwrap()), "InvalidState");
    }

    // Another session does not see it.
    let other = log_in(&sim).await;
    let unseen = other.bind::<mo::HttpNfcLease>(&lease.moref()).http_nfc_lease_progress(1).await.unwrap_err();
    assert_eq!(fault_name(&unseen), "ManagedObjectNotFound");
}

#[tokio::test]
async fn aborted() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let handle = machine(&client, &sim);
    let lease: mo::HttpNfcLease = client.bind(&handle.export_vm().await.unwrap());
    let guard = client.nfc_lease(&lease.moref()).await.unwrap();
    let url = guard.files()[0].url.clone();
    let reason = t::LocalizedMethodFault {
        fault: vim_api::dynamic::Poly::new(t::Timedout::default()),
        localized_message: Some("the tape is full".to_owned()),
        ..Default::default()
    };
    guard.abort(Some(reason)).await.unwrap();
    assert_eq!(state(&lease).await, t::HttpNfcLeaseState::Error);
    let error = lease.get(mo::HttpNfcLease::ERROR).await.unwrap().unwrap();
    assert_eq!(error.localized_message.as_deref(), Some("the tape is full"));
    assert_eq!(answer(&sim, "GET", &url, &[], "").await.0, 410);
    let again = lease.http_nfc_lease_abort(None).await.unwrap_err();
    assert_eq!(fault_name(&again), "InvalidState");
    // Without a reason, and before it is ready.
    let lease: mo::HttpNfcLease = client.bind(&handle.export_vm().await.unwrap());
    lease.http_nfc_lease_abort(None).await.unwrap();
    assert_eq!(shown(&lease).await.as_deref(), Some("RequestCanceled"));
    handle.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn forgotten() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let handle = machine(&client, &sim);
    let lease: mo::HttpNfcLease = client.bind(&handle.export_vm().await.unwrap());
    let guard = client.nfc_lease(&lease.moref()).await.unwrap();
    let url = guard.files()[0].url.clone();
    for _ in 0..3 {
        sim.advance_clock(Duration::from_secs(299));
        lease.http_nfc_lease_progress(1).await.unwrap();
    }
    assert_eq!(state(&lease).await, t::HttpNfcLeaseState::Ready);

    // Who waits is told.
    let moref = lease.moref();
    let mut updates = client.updates_of(std::slice::from_ref(&moref), &["state", "error"]);
    updates.next().await.unwrap();
    sim.advance_clock(Duration::from_secs(301));
    tokio::time::timeout(Duration::from_secs(20), updates.next()).await.unwrap().unwrap();
    let told = updates.get(&moref).unwrap().get::<t::HttpNfcLeaseState>("state").unwrap();
    assert_eq!(told, Some(t::HttpNfcLeaseState::Error));
    assert_eq!(shown(&lease).await.as_deref(), Some("Timedout"));
    assert_eq!(answer(&sim, "GET", &url, &[], "").await.0, 410);
    for late in [
        lease.http_nfc_lease_progress(1).await.err(),
        lease.http_nfc_lease_complete().await.err(),
        lease.http_nfc_lease_abort(None).await.err(),
        lease.http_nfc_lease_get_manifest().await.err(),
    ] {
        assert_eq!(fault_name(&late.unwrap()), "Timedout");
    }
    handle.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn left_behind_by_its_session() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let guard = ready(&client, machine(&client, &sim).export_vm().await).await;
    let url = guard.files()[0].url.clone();
    assert_eq!(answer(&sim, "GET", &url, &[], "").await.0, 200);
    client.logout().await.unwrap();
    let status = answer(&sim, "GET", &url, &[], "").await.0;
    assert!(matches!(status, 404 | 410), "{status}");
    let other = log_in(&sim).await;
    machine(&other, &sim).power_on_vm_task(None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn its_machine_goes() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let lease: mo::HttpNfcLease = client.bind(&machine(&client, &sim).export_vm().await.unwrap());
    let guard = client.nfc_lease(&lease.moref()).await.unwrap();
    sim.vm("vm-1").unwrap().unregister().unwrap();
    assert_eq!(answer(&sim, "GET", &guard.files()[0].url, &[], "").await.0, 410);
    assert_eq!(shown(&lease).await.as_deref(), Some("ManagedObjectNotFound"));
}

fn lease_rule(json: serde_json::Value) -> vsphere_sim::FaultRule {
    vsphere_sim::FaultRule::from_json(&json).unwrap()
}

#[tokio::test]
async fn by_a_rule_at_a_call() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    for (end, shows, then) in [
        ("error", "FileFault", "InvalidState"),
        ("timeout", "Timedout", "Timedout"),
        ("abort", "RequestCanceled", "InvalidState"),
    ] {
        let mut rule = serde_json::json!({
            "method": "HttpNfcLeaseProgress", "where": "lease", "lease": end, "progress": 50
        });
        if end == "error" {
            rule["fault"] = "FileFault".into();
        }
        sim.add_fault(lease_rule(rule)).unwrap();
        let guard = ready(&client, vm.export_vm().await).await;
        let lease: mo::HttpNfcLease = client.bind(&guard.info().lease);
        lease.http_nfc_lease_progress(49).await.unwrap();
        let refused = lease.http_nfc_lease_progress(50).await.unwrap_err();
        assert_eq!(fault_name(&refused), then, "{end}");
        assert_eq!(
            (state(&lease).await, shown(&lease).await.as_deref()),
            (t::HttpNfcLeaseState::Error, Some(shows))
        );
        let (status, _) = answer(&sim, "GET", &guard.files()[0].url, &[], "").await;
        assert_eq!(status, 410, "{end}");
        sim.clear_faults().unwrap();
        drop(guard);
    }
    let lease = ready(&client, vm.export_vm().await).await;
    lease.complete().await.unwrap();
}

#[tokio::test]
async fn by_a_rule_at_a_transfer() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    // At once: the address is gone.
    let at_once = serde_json::json!({ "endpoint": "/nfc", "where": "lease", "lease": "timeout", "nth": 1 });
    sim.add_fault(lease_rule(at_once)).unwrap();
    let guard = ready(&client, vm.export_vm().await).await;
    let lease: mo::HttpNfcLease = client.bind(&guard.info().lease);
    assert_eq!(answer(&sim, "GET", &guard.files()[0].url, &[], "").await.0, 410);
    assert_eq!(shown(&lease).await.as_deref(), Some("Timedout"));
    sim.clear_faults().unwrap();
    drop(guard);

    // In its midst: the body ends early.
    sim.add_fault(lease_rule(serde_json::json!({
        "endpoint": "/nfc", "method": "GET", "where": "lease", "lease": "error", "progress": 50, "fault": "FileFault"
    })))
    .unwrap();
    let guard = ready(&client, vm.export_vm().await).await;
    let lease: mo::HttpNfcLease = client.bind(&guard.info().lease);
    let response = request(&sim, "GET", &guard.files()[0].url, &[], "").await;
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.into_body().collect().await.is_err(), "the body is cut");
    assert_eq!(shown(&lease).await.as_deref(), Some("FileFault"));
    assert_eq!(answer(&sim, "GET", &guard.files()[1].url, &[], "").await.0, 410);
}

#[tokio::test]
async fn what_is_exported_stays_where_it_is() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let snapshot: mo::VirtualMachineSnapshot = client.bind(&snapshot);
    let lease = ready(&client, snapshot.export_snapshot().await).await;
    let spec = t::VirtualMachineRelocateSpec::default();
    for refused in [
        vm.unregister_vm().await.unwrap_err(),
        vm.destroy_task().await.err().unwrap(),
        vm.relocate_vm_task(&spec, None).await.err().unwrap(),
    ] {
        assert_eq!(fault_name(&refused), "TaskInProgress");
    }
    lease.complete().await.unwrap();
    vm.destroy_task().await.unwrap().wait().await.unwrap();
}
