//! A machine worth recovering: disks thin and thick on controllers of four kinds and on two datastores, with snapshots, vApp options, tags
//! and all else that people set.

use std::collections::BTreeMap;

use vadp::recover::{Identity, Recover, RecoverOutcome};
use vadp::{BackupOutcome, ProtectedVm};
use vadp_repository::StoredPoint;
use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{CustomFieldsManager, Managed, VirtualMachine};
use vim_api::rest::{Cardinality, NewCategory};
use vim_api::types as t;
use vim_api::{DatastorePath, Upload};
use vsphere_sim::Topology;

use crate::harness::{MIB, VM, World};

pub(crate) const COPY: &str = "web-01 (copy)";

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) done: BackupOutcome,
    pub(crate) was: t::VirtualMachineConfigInfo,
    /// Bytes of each disk by its place: type of the controller, bus and unit.
    pub(crate) bytes: BTreeMap<(String, i32, i32), Vec<u8>>,
    pub(crate) nvram: Vec<u8>,
}

pub(crate) fn add(device: Poly<t::VirtualDevice>) -> Poly<t::VirtualDeviceConfigSpec> {
    let mut change = t::VirtualDeviceConfigSpec {
        operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
        device,
        ..Default::default()
    };
    if change.device.is::<t::VirtualDisk>() {
        change.file_operation = Some(t::VirtualDeviceConfigSpecFileOperation::Create);
    }
    Poly::new(change)
}

pub(crate) fn controller(key: i32, bus_number: i32) -> t::VirtualController {
    t::VirtualController {
        base: t::VirtualDevice { key, ..Default::default() },
        bus_number,
        ..Default::default()
    }
}

pub(crate) fn scsi(key: i32, bus: i32) -> t::VirtualSCSIController {
    t::VirtualSCSIController {
        base: controller(key, bus),
        shared_bus: t::VirtualSCSISharing::NoSharing,
        ..Default::default()
    }
}

pub(crate) fn disk(
    key: i32,
    on: i32,
    unit: i32,
    mib: u64,
    thin: bool,
    eager: bool,
    datastore: &str,
) -> t::VirtualDisk {
    let backing = t::VirtualDiskFlatVer2BackingInfo {
        base: t::VirtualDeviceFileBackingInfo { file_name: format!("[{datastore}]"), ..Default::default() },
        disk_mode: "persistent".into(),
        thin_provisioned: Some(thin),
        eagerly_scrub: Some(eager),
        ..Default::default()
    };
    t::VirtualDisk {
        base: t::VirtualDevice {
            key,
            controller_key: Some(on),
            unit_number: Some(unit),
            backing: Some(Poly::new(backing)),
            ..Default::default()
        },
        capacity_in_kb: i64::try_from(mib * 1024).unwrap(),
        capacity_in_bytes: Some(i64::try_from(mib * MIB).unwrap()),
        ..Default::default()
    }
}

pub(crate) async fn reconfigure(vm: &VirtualMachine, spec: t::VirtualMachineConfigSpec) {
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

pub(crate) async fn config(vm: &ProtectedVm) -> t::VirtualMachineConfigInfo {
    vm.vm().require(VirtualMachine::CONFIG).await.unwrap()
}

/// The bytes of a machine's disks, out of the simulator's files.
pub(crate) fn bytes_of(
    world: &World,
    name: &str,
    config: &t::VirtualMachineConfigInfo,
) -> BTreeMap<(String, i32, i32), Vec<u8>> {
    let machine = world.sim.vm(name).unwrap();
    let mut all = BTreeMap::new();
    for device in config.hardware.device.iter().filter(|device| device.is::<t::VirtualDisk>()) {
        let on = device.controller_key.unwrap();
        let on = config.hardware.device.iter().find(|controller| controller.key == on).unwrap();
        let bus = on.downcast_ref::<t::VirtualController>().unwrap().bus_number;
        let disk = machine.open_disk(device.key, None).unwrap();
        let mut bytes = vec![0; usize::try_from(disk.capacity()).unwrap()];
        disk.read_at(0, &mut bytes).unwrap();
        all.insert((on.type_name().to_owned(), bus, device.unit_number.unwrap()), bytes);
    }
    all
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::built(|builder| builder).await
    }

    /// The same with more about the server.
    pub(crate) async fn built(more: impl FnOnce(vsphere_sim::Builder) -> vsphere_sim::Builder) -> Self {
        let topology = Topology { datastores: 2, networks: 2, folders: 1, ..Default::default() };
        let world = World::built(&[8 * MIB], |builder| more(builder.topology(topology))).await;
        let vm = world.vm.vm();
        world.power_off().await;
        let property = t::VAppPropertySpec {
            base: t::ArrayUpdateSpec { operation: t::ArrayUpdateOperation::Add, ..Default::default() },
            info: Some(Box::new(t::VAppPropertyInfo {
                key: 1,
                id: Some("gateway".into()),
                r#type: Some("string".into()),
                user_configurable: Some(true),
                value: Some("10.0.0.1".into()),
                ..Default::default()
            })),
        };
        let vapp = t::VmConfigSpec {
            property: vec![property],
            ovf_environment_transport: vec!["iso".into()],
            ..Default::default()
        };
        let option = |key: &str, value: &str| {
            Poly::new(t::OptionValue {
                key: key.into(),
                value: Some(Value::String(value.into())),
                ..Default::default()
            })
        };
        let spec = t::VirtualMachineConfigSpec {
            annotation: Some("the shop's front".into()),
            num_cpus: Some(4),
            num_cores_per_socket: Some(2),
            memory_mb: Some(4096),
            firmware: Some("efi".into()),
            memory_hot_add_enabled: Some(true),
            v_app_config: Some(Poly::new(vapp)),
            extra_config: vec![
                option("isolation.tools.copy.disable", "TRUE"),
                option("guestinfo.role", "web"),
            ],
            cpu_allocation: Some(Box::new(t::ResourceAllocationInfo {
                reservation: Some(500),
                limit: Some(2000),
                ..Default::default()
            })),
            managed_by: Some(Box::new(t::ManagedByInfo {
                extension_key: "com.example.shop".into(),
                r#type: "front".into(),
                ..Default::default()
            })),
            device_change: vec![
                add(Poly::new(t::VirtualLsiLogicController { base: scsi(-1, 1) })),
                add(Poly::new(t::VirtualNVMEController { base: controller(-2, 0), ..Default::default() })),
                add(Poly::new(t::VirtualAHCIController {
                    base: t::VirtualSATAController { base: controller(-3, 0) },
                })),
                add(Poly::new(disk(-10, -1, 3, 4, false, false, "datastore2"))),
                add(Poly::new(disk(-11, -2, 1, 4, false, true, "datastore1"))),
                add(Poly::new(disk(-12, -3, 5, 3, true, false, "datastore2"))),
            ],
            ..Default::default()
        };
        reconfigure(vm, spec).await;
        for n in 0..world.keys().len() {
            world.write(n, 512 * n as u64, MIB + 512, n as u64 + 1);
            world.write(n, 2 * MIB, 64 << 10, 9);
        }
        // It boots from what its firmware knows, and then from a disk that is not its first.
        let order = vec![
            Poly::new(t::VirtualMachineBootOptionsBootableDiskDevice {
                device_key: world.keys()[2],
                ..Default::default()
            }),
            Poly::new(t::VirtualMachineBootOptionsBootableEthernetDevice {
                device_key: 4000,
                ..Default::default()
            }),
        ];
        let spec = t::VirtualMachineConfigSpec {
            boot_options: Some(Box::new(t::VirtualMachineBootOptions {
                boot_order: order,
                efi_secure_boot_enabled: Some(true),
                ..Default::default()
            })),
            ..Default::default()
        };
        reconfigure(vm, spec).await;
        let nvram: Vec<u8> = (0..8_684_u32).flat_map(|n| n.to_le_bytes()).collect();
        let vmx: DatastorePath =
            config(&world.vm).await.files.vm_path_name.as_deref().unwrap().parse().unwrap();
        let path = vmx.parent().unwrap().join(&format!("{VM}.nvram")).unwrap();
        let content = bytes::Bytes::from(nvram.clone());
        let content = Upload::sized(content.len() as u64, futures::stream::iter([Ok(content)]));
        world.client.datastore_files("DC0").upload(&path, content).await.unwrap();
        // What people have attached to it.
        let manager = world.client.content().custom_fields_manager.as_ref().unwrap();
        let fields: CustomFieldsManager = world.client.bind(manager);
        fields.add_custom_field_def("Owner", Some("VirtualMachine"), None, None).await.unwrap();
        vm.set_custom_value("Owner", "team shop").await.unwrap();
        let tags = world.client.rest().tags();
        let category = NewCategory {
            name: "tier".into(),
            description: String::new(),
            cardinality: Cardinality::Single,
            associable_types: vec!["VirtualMachine".into()],
        };
        let category = tags.create_category(&category).await.unwrap();
        let gold = tags.create_tag(&category, "gold", "").await.unwrap();
        tags.attach(&gold, &vm.moref()).await.unwrap();
        // Somebody's snapshot, and what was written since.
        vm.create_snapshot_task("before the update", None, false, false).await.unwrap().wait().await.unwrap();
        world.write(0, 3 * MIB, 128 << 10, 77);
        let was = config(&world.vm).await;
        let bytes = bytes_of(&world, VM, &was);
        assert_eq!(bytes.len(), 4);
        let done = world.full().await.unwrap();
        Self { world, done, was, bytes, nvram }
    }

    pub(crate) fn recover(&self) -> Recover<'_> {
        let point: &dyn StoredPoint = &*self.done.point;
        Recover::new(point, &self.world.client, &self.world.vddk, &self.world.journal)
    }

    pub(crate) fn copy(&self) -> Recover<'_> {
        self.recover().identity(Identity::Copy).name(COPY)
    }

    pub(crate) async fn destroy_original(&self) {
        self.world.vm.vm().destroy_task().await.unwrap().wait().await.unwrap();
    }

    pub(crate) async fn run(&self, recover: Recover<'_>) -> Result<RecoverOutcome, vadp::Error> {
        recover.plan().await?.run(|_| ()).await
    }

    /// Nothing of a copy is there: no machine, no files, no intent.
    pub(crate) fn assert_nothing_of_a_copy(&self, why: &str) {
        let names: Vec<_> = self.world.sim.vms().iter().map(|vm| vm.name().unwrap()).collect();
        assert_eq!(names, [VM], "{why}");
        assert!(self.world.journal.entries().unwrap().is_empty(), "{why}");
        let mut left = Vec::new();
        files_below(self.world.sim.data_dir(), &mut left);
        left.retain(|path| path.contains("(copy)"));
        assert!(left.is_empty(), "{why}: {left:?}");
    }
}

fn files_below(folder: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false => found.push(path.to_string_lossy().into_owned()),
        }
    }
}
