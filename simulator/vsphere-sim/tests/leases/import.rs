//! Disks coming in.

use std::path::{Path, PathBuf};

use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use super::*;

/// A specification of a machine `name` with disks of these capacities on an LSI Logic controller.
fn spec(name: &str, capacities: &[u64]) -> Poly<t::ImportSpec> {
    let add = |device: Poly<t::VirtualDevice>| t::VirtualDeviceConfigSpec {
        operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
        device,
        ..Default::default()
    };
    let controller = t::VirtualLsiLogicController {
        base: t::VirtualSCSIController {
            base: t::VirtualController {
                base: t::VirtualDevice { key: -1, ..Default::default() },
                ..Default::default()
            },
            shared_bus: t::VirtualSCSISharing::NoSharing,
            ..Default::default()
        },
    };
    let mut changes = vec![add(Poly::new(controller))];
    for (at, capacity) in (0..).zip(capacities) {
        let backing = t::VirtualDiskFlatVer2BackingInfo {
            disk_mode: "persistent".to_owned(),
            thin_provisioned: Some(true),
            ..Default::default()
        };
        let disk = t::VirtualDisk {
            base: t::VirtualDevice {
                key: -10 - at,
                backing: Some(Poly::new(backing)),
                controller_key: Some(-1),
                unit_number: Some(at),
                ..Default::default()
            },
            capacity_in_kb: i64::try_from(capacity / 1024).unwrap(),
            capacity_in_bytes: i64::try_from(*capacity).ok(),
            ..Default::default()
        };
        let file_operation = Some(t::VirtualDeviceConfigSpecFileOperation::Create);
        changes.push(t::VirtualDeviceConfigSpec { file_operation, ..add(Poly::new(disk)) });
    }
    let nvram = t::OptionValue {
        key: "nvram".to_owned(),
        value: Some(Value::String(format!("{name}.nvram"))),
        ..Default::default()
    };
    Poly::new(t::VirtualMachineImportSpec {
        config_spec: t::VirtualMachineConfigSpec {
            name: Some(name.to_owned()),
            guest_id: Some("debian12_64Guest".to_owned()),
            num_cpus: Some(2),
            memory_mb: Some(512),
            files: Some(Box::new(t::VirtualMachineFileInfo {
                vm_path_name: Some("[datastore1]".to_owned()),
                ..Default::default()
            })),
            device_change: changes.into_iter().map(Poly::new).collect(),
            extra_config: vec![Poly::new(nvram)],
            ..Default::default()
        },
        ..Default::default()
    })
}

async fn pool(client: &Client, sim: &Sim) -> mo::ResourcePool {
    client.bind(&machine(client, sim).get(mo::VirtualMachine::RESOURCE_POOL).await.unwrap().unwrap())
}

/// A lease on a new machine, with its folder.
async fn begin(client: &Client, sim: &Sim, name: &str, capacities: &[u64]) -> (NfcLease, PathBuf) {
    let lease = pool(client, sim).await.import_v_app(&spec(name, capacities), None, None).await;
    let lease = ready(client, lease).await;
    let path = sim.vm(name).unwrap().disks().unwrap()[0].path.clone();
    let folder = path.strip_prefix("[datastore1] ").unwrap().rsplit_once('/').unwrap().0.to_owned();
    let folder = sim.data_dir().join("datastores/datastore1").join(folder);
    assert!(folder.is_dir());
    (lease, folder)
}

async fn post(sim: &Sim, url: &str, body: impl Into<Bytes>) -> (u16, String) {
    let (status, body) = answer(sim, "POST", url, &[("content-type", STREAM)], body).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The streams of both disks of `vm-1`.
async fn streams(client: &Client, sim: &Sim) -> [Bytes; 2] {
    let lease = ready(client, machine(client, sim).export_vm().await).await;
    let files = lease.files();
    let streams = [download(sim, &files[0].url).await, download(sim, &files[1].url).await];
    lease.complete().await.unwrap();
    streams
}

fn gone(sim: &Sim, name: &str, folder: &Path) {
    assert!(!folder.exists(), "{} is left", folder.display());
    assert!(sim.vm(name).is_err());
}

#[tokio::test]
async fn what_went_out_comes_in_again() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let streams = streams(&client, &sim).await;
    let (lease, folder) = begin(&client, &sim, "copy", &[64 * MIB, 40 * MIB + 512 * 33]).await;
    let vm = sim.vm("copy").unwrap();
    let files = lease.files();
    let keys: Vec<_> = files.iter().map(|file| file.import_key.as_str()).collect();
    assert_eq!(
        keys,
        ["/copy/VirtualLsiLogicController0:0", "/copy/VirtualLsiLogicController0:1", "/copy/nvram"]
    );
    let handle: mo::VirtualMachine = client.bind(&vm.moref());
    let held = handle.power_on_vm_task(None).await.unwrap_err();
    assert_eq!(fault_name(&held), "TaskInProgress");

    // Something else first: nothing of it is seen any more when the right one has come.
    let options = vmdk::StreamOptions::new(64 * MIB);
    let mut wrong = vmdk::StreamWriter::new(Vec::new(), "wrong.vmdk", options).unwrap();
    wrong.write_grain(20 * MIB, &[b'w'; 65_536]).unwrap();
    let (wrong, _) = wrong.finish().unwrap();
    assert_eq!(post(&sim, &files[0].url, wrong).await, (200, String::new()));
    assert_eq!(post(&sim, &files[0].url, streams[0].clone()).await.0, 200);
    assert_eq!(post(&sim, &files[1].url, streams[1].clone()).await.0, 200);
    for (overwrite, status) in [("f", 201), ("f", 409), ("t", 201)] {
        let (found, body) =
            answer(&sim, "PUT", &files[2].url, &[("overwrite", overwrite)], vec![9; 8684]).await;
        assert_eq!(found, status, "{}", String::from_utf8_lossy(&body));
    }
    let manifest = lease.manifest().await.unwrap();
    assert_eq!(manifest.len(), 3);
    assert_eq!(manifest[1].sha1, hex(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &streams[1]));
    lease.complete().await.unwrap();

    let original = sim.vm("vm-1").unwrap();
    for key in [2000, 2001] {
        assert_eq!(vm.disk_sha256(key, None).unwrap(), original.disk_sha256(key, None).unwrap());
    }
    assert_eq!(
        std::fs::read(folder.join(format!("{}.nvram", folder.file_name().unwrap().to_str().unwrap())))
            .unwrap(),
        vec![9; 8684]
    );
    assert_eq!(post(&sim, &files[0].url, streams[0].clone()).await.0, 410);
    handle.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn streams_that_cannot_be() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let [stream, other] = streams(&client, &sim).await;
    let mut corrupt = stream.to_vec();
    corrupt[66_000..66_100].fill(0x55);
    let cases: [(&str, Bytes, &str); 4] = [
        ("truncated", stream.slice(..stream.len() - 2048), "import"),
        ("corrupt", corrupt.into(), "import"),
        ("of another capacity", other, "bytes"),
        ("none", Bytes::from_static(b"KDMV but not really"), ""),
    ];
    for (what, body, _) in cases {
        let (lease, folder) = begin(&client, &sim, "copy", &[64 * MIB]).await;
        let own: mo::HttpNfcLease = client.bind(&lease.info().lease);
        let (status, text) = post(&sim, &lease.files()[0].url, body).await;
        assert_eq!(status, 400, "{what}: {text}");
        assert!(text.len() > 10, "{what}: {text}");
        assert_eq!(
            own.require(mo::HttpNfcLease::STATE).await.unwrap(),
            t::HttpNfcLeaseState::Error,
            "{what}"
        );
        let error = own.get(mo::HttpNfcLease::ERROR).await.unwrap().unwrap();
        assert_eq!(error.fault.type_name(), "FileFault");
        assert!(error.localized_message.unwrap().contains("disk-0.vmdk"));
        assert_eq!(post(&sim, &lease.files()[0].url, stream.clone()).await.0, 410);
        lease.abort(None).await.unwrap();
        gone(&sim, "copy", &folder);
    }
}

#[tokio::test]
async fn uploads_of_another_form() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let [stream, _] = streams(&client, &sim).await;
    let (lease, folder) = begin(&client, &sim, "copy", &[64 * MIB]).await;
    let files = lease.files();
    let (disk, nvram) = (&files[0].url, &files[1].url);
    for (method, url, headers, status) in [
        ("POST", disk, vec![], 415),
        ("POST", disk, vec![("content-type", "application/octet-stream")], 415),
        ("PUT", disk, vec![("content-type", STREAM)], 405),
        ("POST", nvram, vec![("content-type", STREAM)], 405),
        ("GET", disk, vec![], 405),
    ] {
        let (found, body) = answer(&sim, method, url, &headers, stream.clone()).await;
        assert_eq!(found, status, "{method} {headers:?}: {}", String::from_utf8_lossy(&body));
    }
    // None of it has done harm. A connection that breaks off does none either.
    use tokio::io::AsyncWriteExt;
    let mut connection = crate::tls::open(&sim).await;
    let path = disk.split_once(&format!(":{}", sim.port())).unwrap().1;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {STREAM}\r\nContent-Length: {}\r\n\r\n",
        stream.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&stream[..70_000]).await.unwrap();
    connection.flush().await.unwrap();
    let busy = loop {
        match post(&sim, disk, stream.clone()).await.0 {
            // It came before the other one.
            200 => tokio::task::yield_now().await,
            status => break status,
        }
    };
    assert_eq!(busy, 409, "one at a time");
    let own: mo::HttpNfcLease = client.bind(&lease.info().lease);
    let busy = own.http_nfc_lease_complete().await.unwrap_err();
    assert_eq!(fault_name(&busy), "InvalidState");
    drop(connection);
    loop {
        match post(&sim, disk, stream.clone()).await.0 {
            409 => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            status => break assert_eq!(status, 200),
        }
    }
    lease.complete().await.unwrap();
    assert!(folder.exists());
    let copy = sim.vm("copy").unwrap().disk_sha256(2000, None).unwrap();
    assert_eq!(copy, sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap());
}

#[tokio::test]
async fn what_is_not_completed_is_removed() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let [stream, _] = streams(&client, &sim).await;
    let (lease, folder) = begin(&client, &sim, "aborted", &[64 * MIB]).await;
    assert_eq!(post(&sim, &lease.files()[0].url, stream.clone()).await.0, 200);
    lease.abort(None).await.unwrap();
    gone(&sim, "aborted", &folder);

    let (lease, folder) = begin(&client, &sim, "forgotten", &[64 * MIB]).await;
    sim.advance_clock(std::time::Duration::from_secs(301));
    let (status, _) = post(&sim, &lease.files()[0].url, stream.clone()).await;
    assert_eq!(status, 410);
    for _ in 0..500 {
        if !folder.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    gone(&sim, "forgotten", &folder);
    drop(lease);

    let (lease, folder) = begin(&client, &sim, "left", &[64 * MIB]).await;
    client.logout().await.unwrap();
    for _ in 0..500 {
        if !folder.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    gone(&sim, "left", &folder);
    drop(lease);
}

/// A client that stops in the middle keeps nothing from being removed.
#[tokio::test]
async fn an_upload_that_stalls() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let [stream, _] = streams(&client, &sim).await;
    let (lease, folder) = begin(&client, &sim, "stalled", &[64 * MIB]).await;
    let url = lease.files()[0].url.clone();
    let path = url.split_once(&format!(":{}", sim.port())).unwrap().1;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {STREAM}\r\nContent-Length: {}\r\n\r\n",
        stream.len()
    );
    let mut connection = crate::tls::open(&sim).await;
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&stream[..70_000]).await.unwrap();
    connection.flush().await.unwrap();
    while answer(&sim, "POST", &url, &[("content-type", STREAM)], stream.clone()).await.0 == 200 {}
    tokio::time::timeout(std::time::Duration::from_secs(20), lease.abort(None)).await.unwrap().unwrap();
    gone(&sim, "stalled", &folder);
    // It learns why once it goes on.
    connection.write_all(&stream[70_000..]).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 410");
}

#[tokio::test]
async fn a_server_that_stops() {
    let folder = tempfile::tempdir().unwrap();
    let build = || {
        let spec = VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).powered_off();
        Sim::builder().vm(spec).data_dir(folder.path()).start()
    };
    let sim = build().await.unwrap();
    let client = log_in(&sim).await;
    let (kept, kept_folder) = begin(&client, &sim, "kept", &[64 * MIB]).await;
    kept.complete().await.unwrap();
    let (lease, half_made) = begin(&client, &sim, "half made", &[64 * MIB]).await;
    drop(sim);
    let sim = build().await.unwrap();
    gone(&sim, "half made", &half_made);
    assert!(kept_folder.exists() && sim.vm("kept").is_ok() && sim.vm("vm-1").is_ok());
    drop(lease);
}

#[tokio::test]
async fn specifications_that_cannot_be() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let pool = pool(&client, &sim).await;
    let taken = pool.import_v_app(&spec("vm-1", &[MIB]), None, None).await.unwrap_err();
    assert_eq!(fault_name(&taken), "DuplicateName");
    let empty = pool.import_v_app(&spec("", &[MIB]), None, None).await.unwrap_err();
    assert_eq!(fault_name(&empty), "InvalidName");
    let zero = pool.import_v_app(&spec("zero", &[0]), None, None).await.unwrap_err();
    assert_eq!(fault_name(&zero), "InvalidDeviceSpec");
    let odd = pool.import_v_app(&spec("odd", &[1000]), None, None).await.unwrap_err();
    assert_eq!(fault_name(&odd), "InvalidDeviceSpec");
    let app = Poly::new(t::VirtualAppImportSpec::default());
    let app = pool.import_v_app(&app, None, None).await.unwrap_err();
    assert_eq!(fault_name(&app), "NotSupported");
    let folder = MoRef::new("group-v999");
    let lost = pool.import_v_app(&spec("lost", &[MIB]), Some(&folder), None).await.unwrap_err();
    assert_eq!(fault_name(&lost), "ManagedObjectNotFound");
    let entries = std::fs::read_dir(sim.data_dir().join("datastores/datastore1")).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["vm-1"], "nothing half made is left");
    assert_eq!(sim.vms().len(), 1);
}

#[tokio::test]
async fn a_datastore_that_fills_up_ends_the_lease() {
    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let options = vmdk::StreamOptions::new(64 * MIB);
    let mut full = vmdk::StreamWriter::new(Vec::new(), "full.vmdk", options).unwrap();
    for at in 0..200 {
        full.write_grain(at * 65_536, &[7; 65_536]).unwrap();
    }
    let (full, _) = full.finish().unwrap();
    let (lease, folder) = begin(&client, &sim, "copy", &[64 * MIB]).await;
    let own: mo::HttpNfcLease = client.bind(&lease.info().lease);
    let root = sim.data_dir().join("datastores/datastore1");
    sim.set_datastore_capacity("datastore1", sim_store::space::used(&root).unwrap() + 4 * MIB).unwrap();
    let (status, text) = post(&sim, &lease.files()[0].url, full).await;
    assert_eq!(status, 507, "{text}");
    assert_eq!(own.require(mo::HttpNfcLease::STATE).await.unwrap(), t::HttpNfcLeaseState::Error);
    let error = own.get(mo::HttpNfcLease::ERROR).await.unwrap().unwrap();
    let fault = error.fault.downcast_ref::<t::NoDiskSpace>().unwrap_or_else(|| panic!("{text}"));
    assert_eq!(fault.datastore, "datastore1");
    lease.abort(None).await.unwrap();
    gone(&sim, "copy", &folder);
}
