//! Disks going out.

use std::time::Duration;

use http_body_util::BodyExt;
use vim_api::types as t;
use vsphere_sim::{Endpoint, FaultPlace, FaultRule};

use super::*;

#[tokio::test]
async fn every_disk_comes_out_as_it_is() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let vm = sim.vm("vm-1").unwrap();
    let lease = ready(&client, machine(&client, &sim).export_vm().await).await;
    assert_eq!(lease.entity().value(), vm.moref().value());
    let info = lease.info();
    assert_eq!(info.total_disk_capacity_in_kb, i64::try_from((104 * MIB + 512 * 33) / 1024).unwrap());
    assert_eq!(info.lease_timeout, 300);
    assert_eq!(info.host_map.len(), 1);
    assert!(info.device_url.iter().all(|url| url.url.starts_with(&format!("https://*:{}/nfc/", sim.port()))));
    assert_eq!(Some(&info.host_map[0].datastore_key), info.device_url[0].datastore_key.as_ref());

    let files = lease.files();
    let names: Vec<_> = files.iter().map(|file| file.target.clone().unwrap()).collect();
    assert_eq!(names, ["disk-0.vmdk", "disk-1.vmdk"]);
    assert_eq!(files[0].key, format!("/{}/ParaVirtualSCSIController0:0", vm.moref().value()));
    assert_eq!(files[1].key, format!("/{}/ParaVirtualSCSIController0:1", vm.moref().value()));
    assert!(files.iter().all(|file| file.is_disk && file.import_key.is_empty() && file.size.is_none()));
    assert!(files.iter().all(|file| file.thumbprint == sim.thumbprint_sha1()));
    let checksums =
        t::KeyValue { key: files[1].key.clone(), value: "sha256".to_owned(), ..Default::default() };
    let handle: mo::HttpNfcLease = client.bind(&info.lease);
    handle.http_nfc_lease_set_manifest_checksum_type(&[checksums]).await.unwrap();
    assert_eq!(lease.manifest().await.unwrap().len(), 0, "nothing was carried yet");

    // Both at once.
    let streams = tokio::join!(download(&sim, &files[0].url), download(&sim, &files[1].url));
    for (key, stream) in [(2000, &streams.0), (2001, &streams.1)] {
        let disk = vm.open_disk(key, None).unwrap();
        assert_eq!(digest_of(stream), (vm.disk_sha256(key, None).unwrap(), disk.capacity()));
    }
    assert!(streams.0.len() < 1 << 20, "only what is allocated travels: {} bytes", streams.0.len());

    let manifest = lease.manifest().await.unwrap();
    assert_eq!(manifest.len(), 2);
    for (entry, (stream, capacity)) in
        manifest.iter().zip([(&streams.0, 64 * MIB), (&streams.1, 40 * MIB + 512 * 33)])
    {
        assert_eq!(entry.sha1, hex(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, stream));
        assert_eq!(entry.size, i64::try_from(stream.len()).unwrap());
        assert_eq!(entry.capacity, i64::try_from(capacity).ok());
        assert!(entry.disk);
        let populated = entry.populated_size.unwrap();
        assert!(populated > 0 && populated < 2 << 20, "{populated}");
    }
    assert_eq!(manifest[0].checksum.as_ref(), Some(&manifest[0].sha1));
    assert_eq!(manifest[1].checksum_type.as_deref(), Some("sha256"));
    assert_eq!(manifest[1].checksum, Some(hex(&aws_lc_rs::digest::SHA256, &streams.1)));
    lease.complete().await.unwrap();
    assert_eq!(handle.require(mo::HttpNfcLease::STATE).await.unwrap(), t::HttpNfcLeaseState::Done);
    assert_eq!(answer(&sim, "GET", &files[0].url, &[], "").await.0, 410);
}

#[tokio::test]
async fn a_snapshot_comes_out_while_the_guest_writes() {
    let spec = VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).cbt();
    let sim = Sim::builder().vm(spec).start().await.unwrap();
    let client = log_in(&sim).await;
    write(&sim, 2000, &[(0, b'x', 5 << 20)]);
    let handle = machine(&client, &sim);
    let refused = handle.export_vm().await.unwrap_err();
    assert_eq!(fault_name(&refused), "InvalidPowerState");

    let snapshot = handle.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let expected = sim.vm("vm-1").unwrap().disk_sha256(2000, Some(snapshot.value())).unwrap();
    let snapshot: mo::VirtualMachineSnapshot = client.bind(&snapshot);
    let lease = ready(&client, snapshot.export_snapshot().await).await;
    let url = lease.files()[0].url.clone();
    for byte in *b"123" {
        write(&sim, 2000, &[(0, byte, 5 << 20), (30 * MIB, byte, 1 << 20)]);
        let stream = download(&sim, &url).await;
        assert_eq!(digest_of(&stream).0, expected);
    }
    assert_ne!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), expected);

    // The machine is anybody's meanwhile, but for what would change the chain.
    let busy = snapshot.remove_snapshot_task(false, None).await.unwrap_err();
    assert_eq!(fault_name(&busy), "TaskInProgress");
    let busy = handle.remove_all_snapshots_task(None, None).await.unwrap_err();
    assert_eq!(fault_name(&busy), "TaskInProgress");
    let busy = snapshot.revert_to_snapshot_task(None, None).await.unwrap_err();
    assert_eq!(fault_name(&busy), "TaskInProgress");
    handle.create_snapshot_task("t", None, false, false).await.unwrap().wait().await.unwrap();
    handle.power_off_vm_task().await.unwrap().wait().await.unwrap();
    assert_eq!(digest_of(&download(&sim, &url).await).0, expected);
    lease.complete().await.unwrap();
    snapshot.remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn a_machine_is_held_until_its_lease_ends() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let handle = machine(&client, &sim);
    let lease = ready(&client, handle.export_vm().await).await;
    let second = handle.export_vm().await.unwrap_err();
    let fault = second.any_fault().unwrap().fault.downcast_ref::<t::TaskInProgress>().unwrap().clone();
    let task: mo::Task = client.bind(&fault.task);
    let info = task.require(mo::Task::INFO).await.unwrap();
    assert_eq!(info.state, t::TaskInfoState::Running);
    assert_eq!(info.name.as_deref(), Some("ExportVm"));
    for refused in [
        handle.power_on_vm_task(None).await.err(),
        handle.create_snapshot_task("s", None, false, false).await.err(),
    ] {
        assert_eq!(fault_name(&refused.unwrap()), "TaskInProgress");
    }
    lease.complete().await.unwrap();
    assert_eq!(task.require(mo::Task::INFO).await.unwrap().state, t::TaskInfoState::Success);
    handle.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn requests_that_are_not_a_plain_download() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let lease = ready(&client, machine(&client, &sim).export_vm().await).await;
    let url = lease.files()[0].url.clone();
    let expected = sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap();

    // A stream has no ranges: all of it comes.
    let (status, body) = answer(&sim, "GET", &url, &[("range", "bytes=100-199")], "").await;
    assert_eq!(status, 200);
    assert_eq!(digest_of(&body).0, expected);
    let response = request(&sim, "GET", &url, &[], "").await;
    assert_eq!(response.headers()["content-type"], STREAM);
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert!(response.headers().get("set-cookie").is_none());
    drop(response);

    for (method, at, status) in [
        ("GET", url.replace("disk-0", "disk-7"), 404),
        ("GET", url.replace("/nfc/", "/nfc/x"), 404),
        ("GET", format!("https://{}:{}/nfc/x", sim.host(), sim.port()), 404),
        ("POST", url.clone(), 405),
        ("PUT", url.clone(), 405),
        ("DELETE", url.clone(), 405),
    ] {
        let (found, body) = answer(&sim, method, &at, &[("content-type", STREAM)], "").await;
        assert_eq!(found, status, "{method} {at}: {}", String::from_utf8_lossy(&body));
        assert!(!body.is_empty());
    }
    assert!(lease.check().is_ok());
    assert_eq!(digest_of(&download(&sim, &url).await).0, expected, "it can be begun again");
}

#[tokio::test]
async fn the_nvram_comes_along_where_there_is_one() {
    let sim = two_disks().await;
    let folder = sim.data_dir().join("datastores/datastore1/vm-1");
    std::fs::write(folder.join("vm-1.nvram"), vec![7; 8684]).unwrap();
    let client = log_in(&sim).await;
    let lease = ready(&client, machine(&client, &sim).export_vm().await).await;
    let files = lease.files();
    assert_eq!(files.len(), 3);
    assert!(!files[2].is_disk);
    assert_eq!(files[2].size, Some(8684));
    assert!(files[2].key.ends_with("/nvram"), "{}", files[2].key);
    let response = request(&sim, "GET", &files[2].url, &[], "").await;
    assert_eq!(response.headers()["content-length"], "8684");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), vec![7; 8684]);
    let manifest = lease.manifest().await.unwrap();
    assert_eq!((manifest.len(), manifest[0].disk, manifest[0].capacity), (1, false, None));
}

#[tokio::test]
async fn downloads_go_wrong_by_rule() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let lease = ready(&client, machine(&client, &sim).export_vm().await).await;
    let url = lease.files()[0].url.clone();
    let nfc = FaultRule { endpoint: Endpoint::Nfc, nth: Some(1), ..FaultRule::default() };
    sim.add_fault(FaultRule { at: FaultPlace::Http, status: Some(503), ..nfc.clone() }).unwrap();
    assert_eq!(answer(&sim, "GET", &url, &[], "").await.0, 503);
    sim.add_fault(FaultRule { at: FaultPlace::Body, cut_after: Some(1000), ..nfc }).unwrap();
    let body = request(&sim, "GET", &url, &[], "").await.into_body();
    assert!(body.collect().await.is_err(), "the end is missing");
    let stream = download(&sim, &url).await;
    assert_eq!(digest_of(&stream).0, sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap());
    drop(lease);

    // The lease itself, at once and later.
    let handle = machine(&client, &sim);
    tokio::time::sleep(Duration::from_millis(300)).await;
    sim.add_fault(FaultRule::task("ExportVm", "NoDiskSpace", 0).times(1, 1)).unwrap();
    let failed = client.nfc_lease(&handle.export_vm().await.unwrap()).await.unwrap_err();
    assert_eq!(fault_name(&failed), "NoDiskSpace");
    sim.add_fault(FaultRule::task("ExportVm", "HostCommunication", 40).times(1, 1)).unwrap();
    let lease = ready(&client, handle.export_vm().await).await;
    let url = lease.files()[0].url.clone();
    let own: mo::HttpNfcLease = client.bind(&lease.info().lease);
    own.http_nfc_lease_progress(39).await.unwrap();
    assert_eq!(fault_name(&own.http_nfc_lease_progress(40).await.unwrap_err()), "HostCommunication");
    assert_eq!(own.require(mo::HttpNfcLease::STATE).await.unwrap(), t::HttpNfcLeaseState::Error);
    assert_eq!(answer(&sim, "GET", &url, &[], "").await.0, 410);
}

#[tokio::test]
async fn a_linked_clone_comes_out_with_what_it_stands_on() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let location = t::VirtualMachineRelocateSpec {
        disk_move_type: Some("createNewChildDiskBacking".to_owned()),
        ..Default::default()
    };
    let spec = t::VirtualMachineCloneSpec { location, snapshot: Some(snapshot), ..Default::default() };
    let clone = vm.clone_vm_task(&MoRef::new("group-v3"), "linked", &spec).await.unwrap();
    let clone: mo::VirtualMachine = client.bind(&clone.wait().await.unwrap());
    write(&sim, 2000, &[(5 * MIB, 7, 1000)]);
    let linked = sim.vm("linked").unwrap();
    linked.with_live_disk(2000, |disk| disk.write_at(6 * MIB, &[8; 1000])).unwrap().unwrap();
    let lease = ready(&client, clone.export_vm().await).await;
    let files = lease.files();
    for (key, file) in [(2000, &files[0]), (2001, &files[1])] {
        let stream = download(&sim, &file.url).await;
        let disk = linked.open_disk(key, None).unwrap();
        assert_eq!(digest_of(&stream), (linked.disk_sha256(key, None).unwrap(), disk.capacity()));
    }
    assert_ne!(
        linked.disk_sha256(2000, None).unwrap(),
        sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap()
    );
    lease.complete().await.unwrap();
}
