//! Datastores that fill up, of one kind and another.

use std::time::Duration;

use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{AllAreas, DatastoreSpec, DiskSpec, Sim, TrackingRules, VmSpec};

use crate::folder;
use crate::managed_disks::{managers, spec};
use crate::{MIB, log_in, machine};

fn no_space(error: &vim_api::Error, file: &str) {
    let fault = error.fault::<t::NoDiskSpace>().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(fault.datastore, "datastore1");
    assert!(fault.file.contains(file), "{}", fault.file);
}

fn below(sim: &Sim) -> Vec<String> {
    let mut names = Vec::new();
    for folder in folder::names(sim, "") {
        match folder::on_host(sim, &folder).is_dir() {
            true => {
                names.extend(folder::names(sim, &folder).into_iter().map(|name| format!("{folder}/{name}")))
            }
            false => names.push(folder),
        }
    }
    names
}

async fn summary(client: &Client) -> t::DatastoreSummary {
    let store = client.find_one::<mo::Datastore>("/DC0/datastore/datastore1").await.unwrap().object;
    client.bind(&store).require(mo::Datastore::SUMMARY).await.unwrap()
}

fn thick_disk(capacity_kb: i64) -> t::VirtualMachineConfigSpec {
    let add = |device: Poly<t::VirtualDevice>, file_operation| {
        Poly::new(t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
            file_operation,
            device,
            ..Default::default()
        })
    };
    let controller = t::ParaVirtualSCSIController {
        base: t::VirtualSCSIController {
            base: t::VirtualController {
                base: t::VirtualDevice { key: -1, ..Default::default() },
                bus_number: 1,
                ..Default::default()
            },
            shared_bus: t::VirtualSCSISharing::NoSharing,
            ..Default::default()
        },
    };
    let backing = t::VirtualDiskFlatVer2BackingInfo {
        disk_mode: "persistent".to_owned(),
        thin_provisioned: Some(false),
        ..Default::default()
    };
    let disk = t::VirtualDisk {
        base: t::VirtualDevice {
            key: -2,
            backing: Some(Poly::new(backing)),
            controller_key: Some(-1),
            unit_number: Some(0),
            ..Default::default()
        },
        capacity_in_kb: capacity_kb,
        ..Default::default()
    };
    t::VirtualMachineConfigSpec {
        name: Some("thick".to_owned()),
        guest_id: Some("debian12_64Guest".to_owned()),
        device_change: vec![
            add(Poly::new(controller), None),
            add(Poly::new(disk), Some(t::VirtualDeviceConfigSpecFileOperation::Create)),
        ],
        ..Default::default()
    }
}

#[tokio::test]
async fn nothing_fits_a_full_datastore_and_nothing_half_done_is_left() {
    let data = tempfile::tempdir().unwrap();
    let begin = async || {
        Sim::builder()
            .data_dir(data.path())
            .datastore(DatastoreSpec::new("datastore1").capacity(8 * MIB))
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).cbt())
            .start()
            .await
            .unwrap()
    };
    let sim = begin().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let before = summary(&client).await;
    assert_eq!(before.capacity, 8 << 20);
    assert_eq!(before.uncommitted.unwrap() / (1 << 20), 63);
    let block = vec![7; 1 << 16];
    let handle = sim.vm("vm-1").unwrap();
    let written = handle.with_live_disk(2000, |disk| {
        (0..1000).position(|at| disk.write_at(at << 16, &block).is_err()).unwrap()
    });
    let written = written.unwrap();
    assert!((100..128).contains(&written), "{written}");
    let free = summary(&client).await.free_space;
    assert!((0..1 << 17).contains(&free) && before.free_space > 7 << 20, "{free} of {}", before.free_space);
    let files = below(&sim);

    let failed = vm.create_snapshot_task("none", None, false, false).await.unwrap().wait().await.unwrap_err();
    no_space(&failed, "vm-1/vm-1.vmdk");
    assert_eq!(handle.snapshot_count(), 0);
    let runtime = vm.require(mo::VirtualMachine::RUNTIME).await.unwrap();
    assert_eq!(runtime.consolidation_needed, Some(false));
    let managers = managers(&client).await;
    let refused = managers.create("new.vmdk", Poly::new(spec("thick", "lsiLogic", 4096))).await;
    no_space(&refused.unwrap_err(), "new.vmdk");
    // The disk of a machine that is off can be read.
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    let (from, to) = ("[datastore1] vm-1/vm-1.vmdk", "[datastore1] copy.vmdk");
    let center = Some(&managers.datacenter);
    let copied = managers.disks.copy_virtual_disk_task(from, center, to, center, None, None).await;
    no_space(&copied.unwrap().wait().await.unwrap_err(), "copy.vmdk");
    let copied = managers.files.copy_datastore_file_task(
        "[datastore1] vm-1/vm-1-flat.vmdk",
        center,
        "[datastore1] flat.bin",
        center,
        None,
    );
    no_space(&copied.await.unwrap().wait().await.unwrap_err(), "flat.bin");
    let made = vm.reconfig_vm_task(&t::VirtualMachineConfigSpec { name: None, ..thick_disk(4096) }).await;
    no_space(&made.unwrap().wait().await.unwrap_err(), "vm-1/");
    let vms = client.find_one::<mo::Datacenter>("/DC0").await.unwrap().object;
    let vms = client.bind(&vms).require(mo::Datacenter::VM_FOLDER).await.unwrap();
    let pool = vm.get(mo::VirtualMachine::RESOURCE_POOL).await.unwrap().unwrap();
    let made = client.bind(&vms).create_vm_task(&thick_disk(4096), &pool, None).await;
    no_space(&made.unwrap().wait().await.unwrap_err(), "thick/");
    assert!(sim.vm("thick").is_err());
    let session = folder::session(&sim).await;
    let answer = folder::ask(&sim, "PUT", &folder::url("big.bin"), &session, &vec![1; 1 << 20]).await;
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(below(&sim), files, "nothing is left of all that");

    drop(sim);
    let sim = begin().await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let disk = sim.vm("vm-1").unwrap().open_disk(2000, None).unwrap();
    let mut read = vec![0; 1 << 16];
    for at in 0..written as u64 {
        disk.read_at(at << 16, &mut read).unwrap();
        assert_eq!(read, block, "piece {at}");
    }
    sim.set_datastore_capacity("datastore1", 64 * MIB).unwrap();
    vm.create_snapshot_task("fits", None, false, false).await.unwrap().wait().await.unwrap();
    assert!(summary(&client).await.free_space > 50 << 20);
}

#[tokio::test]
async fn a_datastore_is_of_a_kind_and_says_so() {
    let sim = Sim::builder()
        .datastore(DatastoreSpec::new("datastore1").nfs())
        .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB)).cbt())
        .start()
        .await
        .unwrap();
    let client = log_in(&sim).await;
    assert_eq!(summary(&client).await.r#type, "NFS");
    let store = client.find_one::<mo::Datastore>("/DC0/datastore/datastore1").await.unwrap().object;
    let info = client.bind(&store).require(mo::Datastore::INFO).await.unwrap();
    let nas = info.downcast_ref::<t::NasDatastoreInfo>().unwrap().nas.clone().unwrap();
    assert_eq!((nas.remote_path.as_str(), nas.base.r#type.as_str()), ("/export/datastore1", "NFS"));
    let areas = all_areas(&client, &sim).await.unwrap();
    assert_eq!(areas, [(0, 4 << 20)], "all of a disk on NFS");
    for (answer, wanted) in [(AllAreas::Allocated, Some(vec![])), (AllAreas::Refused, None)] {
        let sim = Sim::builder()
            .datastore(DatastoreSpec::new("datastore1").all_areas(answer))
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB)).cbt())
            .start()
            .await
            .unwrap();
        assert_eq!(all_areas(&log_in(&sim).await, &sim).await, wanted);
    }
    let missing = Sim::builder().datastore(DatastoreSpec::new("datastore9")).start().await.unwrap_err();
    assert!(missing.to_string().contains("datastore9"), "{missing}");
}

/// What `*` answers for the disk at a snapshot; nothing for a `FileFault`.
async fn all_areas(client: &Client, sim: &Sim) -> Option<Vec<(i64, i64)>> {
    let vm = machine(client, sim);
    let snapshot = vm.create_snapshot_task("all", None, false, false).await.unwrap().wait().await.unwrap();
    match vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await {
        Ok(info) => Some(info.changed_area.iter().map(|area| (area.start, area.length)).collect()),
        Err(error) => {
            assert!(error.fault::<t::FileFault>().is_some(), "{error}");
            None
        }
    }
}

#[tokio::test]
async fn tracking_begins_anew_when_the_rules_say_so() {
    for renewed in [false, true] {
        let rules = TrackingRules {
            renewed_by_power_loss: renewed,
            renewed_by_relocation: renewed,
            ..TrackingRules::default()
        };
        let sim = Sim::builder()
            .topology(vsphere_sim::Topology { datastores: 2, ..Default::default() })
            .tracking(rules)
            .task_duration(Duration::from_millis(1))
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB)).cbt())
            .start()
            .await
            .unwrap();
        let client = log_in(&sim).await;
        let vm = machine(&client, &sim);
        let id = async || {
            let snapshot =
                vm.create_snapshot_task("id", None, false, false).await.unwrap().wait().await.unwrap();
            let config = client.bind(&snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
            let found =
                vim_api::dynamic::get_path(&config, "hardware.device[2000].backing.changeId").unwrap();
            client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
            match found {
                Some(vim_api::dynamic::Value::String(id)) => id,
                other => panic!("{other:?}"),
            }
        };
        let answered = async |id: &str| match vm.query_changed_disk_areas(None, 2000, 0, id).await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.fault::<t::FileFault>().is_some(), "{error}");
                false
            }
        };
        let first = id().await;
        vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
        assert_eq!(answered(&first).await, !renewed);
        let second = id().await;
        let here = || sim.vm("vm-1").unwrap().disks().unwrap()[0].path.clone();
        let there = if here().starts_with("[datastore1]") { "datastore2" } else { "datastore1" };
        let path = format!("/DC0/datastore/{there}");
        let store: MoRef<mo::Datastore> = client.find_one::<mo::Datastore>(&path).await.unwrap().object;
        let spec = t::VirtualMachineRelocateSpec { datastore: Some(store), ..Default::default() };
        vm.relocate_vm_task(&spec, None).await.unwrap().wait().await.unwrap();
        assert!(here().starts_with(&format!("[{there}]")), "{}", here());
        assert_eq!(answered(&second).await, !renewed);
    }
}
