//! Machines that come, change and go.

use vim_api::dynamic::Poly;
use vim_api::mo::Managed as _;
use vim_api::types as t;
use vim_api::{Client, MoRef, mo};
use vsphere_sim::{Generated, Sim, Topology};

use crate::{connect, log_in, machine, start};

fn add(device: Poly<t::VirtualDevice>, file: bool) -> Poly<t::VirtualDeviceConfigSpec> {
    Poly::new(t::VirtualDeviceConfigSpec {
        operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
        file_operation: file.then_some(t::VirtualDeviceConfigSpecFileOperation::Create),
        device,
        ..Default::default()
    })
}

fn scsi(key: i32, bus_number: i32) -> Poly<t::VirtualDevice> {
    Poly::new(t::ParaVirtualSCSIController {
        base: t::VirtualSCSIController {
            base: t::VirtualController {
                base: t::VirtualDevice { key, ..Default::default() },
                bus_number,
                ..Default::default()
            },
            shared_bus: t::VirtualSCSISharing::NoSharing,
            ..Default::default()
        },
    })
}

fn disk(key: i32, controller: i32, mib: i64, file: &str) -> Poly<t::VirtualDevice> {
    let backing = t::VirtualDiskFlatVer2BackingInfo {
        base: t::VirtualDeviceFileBackingInfo { file_name: file.to_owned(), ..Default::default() },
        disk_mode: "persistent".to_owned(),
        thin_provisioned: Some(true),
        ..Default::default()
    };
    Poly::new(t::VirtualDisk {
        base: t::VirtualDevice {
            key,
            controller_key: Some(controller),
            backing: Some(Poly::new(backing)),
            ..Default::default()
        },
        capacity_in_kb: mib << 10,
        ..Default::default()
    })
}

fn nic(key: i32) -> Poly<t::VirtualDevice> {
    let backing = t::VirtualEthernetCardNetworkBackingInfo {
        base: t::VirtualDeviceDeviceBackingInfo {
            device_name: "VM Network".to_owned(),
            ..Default::default()
        },
        ..Default::default()
    };
    let base = t::VirtualDevice { key, backing: Some(Poly::new(backing)), ..Default::default() };
    Poly::new(t::VirtualVmxnet3 {
        base: t::VirtualVmxnet { base: t::VirtualEthernetCard { base, ..Default::default() } },
        ..Default::default()
    })
}

/// A machine with two controllers and three disks, all with keys that cannot stay.
fn spec(name: &str) -> t::VirtualMachineConfigSpec {
    t::VirtualMachineConfigSpec {
        name: Some(name.to_owned()),
        guest_id: Some("debian12_64Guest".to_owned()),
        num_cpus: Some(4),
        memory_mb: Some(4096),
        files: Some(Box::new(t::VirtualMachineFileInfo {
            vm_path_name: Some("[datastore1]".to_owned()),
            ..Default::default()
        })),
        device_change: vec![
            add(disk(-1, -10, 64, ""), true),
            add(disk(-2, -10, 32, ""), true),
            add(disk(-3, -11, 16, "[datastore1]"), true),
            add(scsi(-10, 0), false),
            add(scsi(-11, 1), false),
            add(nic(-20), false),
        ],
        ..Default::default()
    }
}

async fn create(
    client: &Client,
    spec: &t::VirtualMachineConfigSpec,
) -> Result<mo::VirtualMachine, vim_api::Error> {
    let folder = client.bind(&MoRef::<mo::Folder>::new("group-v3"));
    let task = folder.create_vm_task(spec, &MoRef::new("resgroup-9"), None).await?;
    Ok(client.bind(&task.wait().await?))
}

async fn config(vm: &mo::VirtualMachine) -> t::VirtualMachineConfigInfo {
    vm.require(mo::VirtualMachine::CONFIG).await.unwrap()
}

fn disks(config: &t::VirtualMachineConfigInfo) -> Vec<(i32, i32, i32, String)> {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let file = |disk: &t::VirtualDisk| {
        let backing = disk.base.backing.as_ref().unwrap();
        backing.downcast_ref::<t::VirtualDeviceFileBackingInfo>().unwrap().file_name.clone()
    };
    disks
        .map(|disk| {
            let base = &disk.base;
            (base.key, base.controller_key.unwrap(), base.unit_number.unwrap(), file(disk))
        })
        .collect()
}

#[tokio::test]
async fn a_specification_becomes_a_machine_with_real_keys_and_files() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = create(&client, &spec("made")).await.unwrap();
    let found = config(&vm).await;
    assert_eq!((found.hardware.num_cpu, found.hardware.memory_mb), (4, 4096));
    assert_eq!(
        disks(&found),
        [
            (2000, 1000, 0, "[datastore1] made/made.vmdk".to_owned()),
            (2001, 1000, 1, "[datastore1] made/made_1.vmdk".to_owned()),
            (2016, 1001, 0, "[datastore1] made/made_2.vmdk".to_owned()),
        ]
    );
    let device = |key| found.hardware.device.iter().find(|device| device.key == key).unwrap();
    let controller = device(1000).downcast_ref::<t::VirtualController>().unwrap();
    assert_eq!(controller.device, [2000, 2001]);
    let card = device(4000).downcast_ref::<t::VirtualEthernetCard>().unwrap();
    assert!(card.mac_address.as_ref().unwrap().starts_with("00:50:56:"));
    let handle = sim.vm("made").unwrap();
    handle.with_live_disk(2016, |disk| disk.write_at(0, b"bytes")).unwrap().unwrap();
    // A second of the same name is refused, and nothing of it stays.
    let error = create(&client, &spec("made")).await.unwrap_err();
    assert!(error.fault::<t::DuplicateName>().is_some(), "{error}");
    let mut wrong = spec("other");
    wrong.device_change.push(add(disk(-9, 77, 1, ""), true));
    let error = create(&client, &wrong).await.unwrap_err();
    assert!(error.fault::<t::InvalidDeviceSpec>().is_some(), "{error}");
    assert!(!sim.data_dir().join("datastores/datastore1/other").exists());
}

#[tokio::test]
async fn devices_come_grow_and_go() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let change = async |changes: Vec<Poly<t::VirtualDeviceConfigSpec>>| {
        let spec = t::VirtualMachineConfigSpec { device_change: changes, ..Default::default() };
        vm.reconfig_vm_task(&spec).await?.wait().await
    };
    change(vec![add(disk(-1, 1000, 8, ""), true), add(nic(-2), false)]).await.unwrap();
    let found = config(&vm).await;
    assert_eq!(disks(&found)[1], (2001, 1000, 1, "[datastore1] vm-1/vm-1_1.vmdk".to_owned()));
    assert!(found.hardware.device.iter().any(|device| device.key == 4001));
    let mut grown = found.hardware.device.iter().find(|device| device.key == 2001).unwrap().clone();
    let bytes = 16_i64 << 20;
    let edit = |device: &Poly<t::VirtualDevice>| {
        Poly::new(t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Edit),
            device: device.clone(),
            ..Default::default()
        })
    };
    grown.downcast_mut::<t::VirtualDisk>().unwrap().capacity_in_kb = bytes >> 10;
    change(vec![edit(&grown)]).await.unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().disks().unwrap()[1].capacity_bytes, 16 << 20);
    grown.downcast_mut::<t::VirtualDisk>().unwrap().capacity_in_kb = 1024;
    let error = change(vec![edit(&grown)]).await.unwrap_err();
    assert!(error.fault::<t::InvalidDeviceSpec>().is_some(), "{error}");
    let remove = Poly::new(t::VirtualDeviceConfigSpec {
        operation: Some(t::VirtualDeviceConfigSpecOperation::Remove),
        file_operation: Some(t::VirtualDeviceConfigSpecFileOperation::Destroy),
        device: grown,
        ..Default::default()
    });
    change(vec![remove]).await.unwrap();
    assert_eq!(disks(&config(&vm).await).len(), 1);
    assert!(!sim.data_dir().join("datastores/datastore1/vm-1/vm-1_1.vmdk").exists());
}

#[tokio::test]
async fn a_registered_machine_is_the_one_of_its_vmx() {
    let sim = start(0).await;
    let client = log_in(&sim).await;
    let vm = create(&client, &spec("made")).await.unwrap();
    let before = config(&vm).await;
    let content = sim.vm("made").unwrap().disk_sha256(2000, None).unwrap();
    vm.unregister_vm().await.unwrap();
    assert!(sim.vm("made").is_err());
    let folder = client.bind(&MoRef::<mo::Folder>::new("group-v3"));
    let path = "[datastore1] made/made.vmx";
    let pool = MoRef::new("resgroup-9");
    let task = folder.register_vm_task(path, None, false, Some(&pool), None).await.unwrap();
    let vm: mo::VirtualMachine = client.bind(&task.wait().await.unwrap());
    let after = config(&vm).await;
    assert_eq!((&after.uuid, &after.instance_uuid), (&before.uuid, &before.instance_uuid));
    assert_eq!((&after.name, after.hardware.num_cpu), (&before.name, before.hardware.num_cpu));
    assert_eq!(disks(&after), disks(&before));
    let uuids = |config: &t::VirtualMachineConfigInfo| {
        let disks =
            config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
        let backing = |disk: &t::VirtualDisk| disk.base.backing.clone().unwrap();
        disks
            .map(|disk| {
                backing(disk)
                    .downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>()
                    .unwrap()
                    .uuid
                    .clone()
                    .unwrap()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(uuids(&after), uuids(&before));
    assert_eq!(sim.vm("made").unwrap().disk_sha256(2000, None).unwrap(), content);
    let again = folder.register_vm_task(path, None, false, Some(&pool), None).await.unwrap().wait().await;
    assert!(again.unwrap_err().fault::<t::AlreadyExists>().is_some());
    let nowhere = "[datastore1] none/none.vmx";
    let missing =
        folder.register_vm_task(nowhere, None, false, Some(&pool), None).await.unwrap().wait().await;
    assert!(missing.unwrap_err().fault::<t::FileNotFound>().is_some());
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    assert!(!sim.data_dir().join("datastores/datastore1/made").exists());
}

#[tokio::test]
async fn a_copy_has_the_bytes_and_another_identity() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let handle = sim.vm("vm-1").unwrap();
    handle.with_live_disk(2000, |disk| disk.write_at(1 << 20, &[7; 100_000])).unwrap().unwrap();
    let folder = MoRef::<mo::Folder>::new("group-v3");
    let spec = t::VirtualMachineCloneSpec { power_on: true, ..Default::default() };
    let copy = vm.clone_vm_task(&folder, "copy", &spec).await.unwrap().wait().await.unwrap();
    let copy: mo::VirtualMachine = client.bind(&copy);
    let (of, to) = (config(&vm).await, config(&copy).await);
    assert!(of.uuid != to.uuid && of.instance_uuid != to.instance_uuid);
    let made = sim.vm("copy").unwrap();
    assert!(made.is_powered_on());
    assert_eq!(made.disk_sha256(2000, None).unwrap(), handle.disk_sha256(2000, None).unwrap());
    assert_ne!(made.disks().unwrap()[0].uuid, handle.disks().unwrap()[0].uuid);
    // A template has no pool, and cannot be started.
    copy.power_off_vm_task().await.unwrap().wait().await.unwrap();
    copy.mark_as_template().await.unwrap();
    assert!(config(&copy).await.template);
    let refused = copy.power_on_vm_task(None).await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
    copy.mark_as_virtual_machine(&MoRef::new("resgroup-9"), None).await.unwrap();
    assert!(!config(&copy).await.template);
}

#[tokio::test]
async fn a_machine_for_which_no_datastore_is_named_is_on_the_first() {
    let topology = Topology { datastores: 12, ..Topology::default() };
    let sim = Sim::builder().topology(topology).start().await.unwrap();
    let client = log_in(&sim).await;
    let folder: mo::Folder = client.bind(&MoRef::new("group-v3"));
    let spec = t::VirtualMachineConfigSpec { name: Some("any".to_owned()), ..Default::default() };
    let made = folder.create_vm_task(&spec, &MoRef::new("resgroup-9"), None).await.unwrap();
    let made: mo::VirtualMachine = client.bind(&made.wait().await.unwrap());
    let home = config(&made).await.files.vm_path_name.unwrap();
    assert_eq!(home, "[datastore1] any/any.vmx");
    let datacenter: mo::Datacenter = client.bind(&MoRef::new("datacenter-2"));
    let mut names = Vec::new();
    for datastore in datacenter.require(mo::Datacenter::DATASTORE).await.unwrap() {
        names.push(client.bind(&datastore).require(mo::Datastore::NAME).await.unwrap());
    }
    assert_eq!(names, (1..=12).map(|number| format!("datastore{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn power_has_its_guards() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let state = async || vm.require(mo::VirtualMachine::RUNTIME.power_state()).await.unwrap();
    let refused = vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::InvalidPowerState>().is_some(), "{refused}");
    vm.suspend_vm_task().await.unwrap().wait().await.unwrap();
    assert_eq!(state().await, t::VirtualMachinePowerState::Suspended);
    let refused = vm.reset_vm_task().await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::InvalidPowerState>().is_some(), "{refused}");
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    assert_eq!(state().await, t::VirtualMachinePowerState::PoweredOn);
    let refused = vm.unregister_vm().await.unwrap_err();
    assert!(refused.fault::<t::InvalidPowerState>().is_some(), "{refused}");
    let refused = vm.destroy_task().await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::InvalidPowerState>().is_some(), "{refused}");
}

#[tokio::test]
async fn a_large_inventory_is_the_same_at_every_start_but_for_what_was_changed() {
    let data = tempfile::tempdir().unwrap();
    let builder = || {
        let topology = Topology { datacenters: 2, clusters: 3, hosts: 7, folders: 4, ..Topology::default() };
        Sim::builder()
            .data_dir(data.path())
            .topology(topology)
            .generate(Generated { cbt: true, ..Generated::new(60) })
    };
    let names = async |sim: &Sim| {
        let client = log_in(sim).await;
        let spec = mo::VirtualMachine::CONFIG.instance_uuid();
        let root = client.content().root_folder.cast();
        let found =
            client.list::<mo::VirtualMachine>(&root, &[spec.as_str(), "name", "runtime.host"]).await.unwrap();
        let mut found: Vec<String> = found.iter().map(|object| format!("{object:?}")).collect();
        found.sort();
        found
    };
    let sim = builder().start().await.unwrap();
    let first = names(&sim).await;
    assert_eq!(first.len(), 60);
    let handle = sim.vm("vm-7").unwrap();
    let folder = data.path().join("datastores/datastore1/vm-7");
    assert!(!folder.exists());
    let client = connect(&sim).await;
    client.login(sim.user(), sim.password()).await.unwrap();
    let vm: mo::VirtualMachine = client.bind(&handle.moref());
    let task = vm.create_snapshot_task("first", None, false, false).await.unwrap();
    let snapshot = task.wait().await.unwrap();
    assert!(folder.join("vm-7-000001.vmdk").exists());
    let kept = client.bind(&snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
    let change_id = kept.hardware.device.iter().find_map(|device| {
        let disk = device.downcast_ref::<t::VirtualDisk>()?;
        disk.base.backing.as_ref()?.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>()?.change_id.clone()
    });
    assert!(change_id.is_some());
    sim.vm("vm-9").unwrap().unregister().unwrap();
    drop((client, vm, sim));
    let sim = builder().start().await.unwrap();
    let second = names(&sim).await;
    assert_eq!(second.len(), 59);
    assert!(second.iter().all(|line| first.contains(line)));
    assert_eq!(sim.vm("vm-7").unwrap().snapshot_count(), 1);
    let busy = builder().start().await.unwrap_err();
    assert!(busy.to_string().contains("in use by another simulator"), "{busy}");
}
