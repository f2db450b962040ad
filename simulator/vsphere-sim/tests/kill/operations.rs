//! What is asked of the program, and what becomes of the model by it.

use sim_store::guest::expected_sector;
use vim_api::dynamic::Poly;
use vim_api::mo::Managed as _;
use vim_api::types as t;
use vim_api::{IfExists, MoRef, mo};

use crate::model::{CAPACITY, Chance, Machine, Model, Snapshot};
use crate::program::Program;

pub(crate) const KINDS: [&str; 25] = [
    "create",
    "clone",
    "linked clone",
    "destroy",
    "rename",
    "unregister",
    "register",
    "relocate",
    "relocate disk",
    "add disk",
    "remove disk",
    "grow",
    "snapshot",
    "remove",
    "remove children",
    "remove all",
    "revert",
    "consolidate",
    "write",
    "create disk",
    "copy disk",
    "move disk",
    "delete disk",
    "import",
    "upload",
];

/// Most machines, and snapshots of one.
const MANY: usize = 5;

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create {
        name: String,
        import: bool,
    },
    Clone {
        vm: String,
        name: String,
    },
    /// Of a snapshot, on the second datastore if `away`.
    Link {
        vm: String,
        snapshot: String,
        name: String,
        away: bool,
    },
    Destroy {
        vm: String,
    },
    Rename {
        vm: String,
        name: String,
    },
    Unregister {
        vm: String,
    },
    Register {
        vmx: String,
    },
    Relocate {
        vm: String,
    },
    /// One disk, to the other datastore.
    RelocateDisk {
        vm: String,
        key: i32,
    },
    AddDisk {
        vm: String,
        key: i32,
    },
    RemoveDisk {
        vm: String,
        key: i32,
    },
    Grow {
        vm: String,
        key: i32,
    },
    Snapshot {
        vm: String,
        name: String,
    },
    Remove {
        vm: String,
        names: Vec<String>,
        all: bool,
    },
    Revert {
        vm: String,
        name: String,
    },
    Consolidate {
        vm: String,
    },
    Write {
        vm: String,
        key: i32,
        sector: u64,
        sectors: u64,
        seed: u64,
    },
    CreateDisk {
        path: String,
    },
    CopyDisk {
        from: String,
        to: String,
        keep: bool,
    },
    DeleteDisk {
        path: String,
    },
    Upload {
        path: String,
        bytes: Vec<u8>,
    },
}

impl Operation {
    pub(crate) fn draw(kind: &str, model: &mut Model, chance: &mut Chance) -> Option<Self> {
        model.last += 1;
        let name = format!("{}-{}", kind.replace(' ', "_"), model.last);
        let file = format!("[datastore1] disks-{name}.vmdk");
        // A disk with links below cannot grow, and so on.
        let plain = |(_, machine): &(&String, &Machine)| {
            machine.snapshots.is_empty() && !machine.consolidation && !machine.linked && !machine.apart
        };
        let room = model.machines.len() < MANY;
        let any = |chance: &mut Chance| chance.one(model.machines.keys()).cloned();
        let key = |vm: &String, chance: &mut Chance| chance.one(model.machines[vm].disks.keys()).copied();
        let plain_one = |chance: &mut Chance| {
            let found: Vec<_> = model.machines.iter().filter(plain).map(|(name, _)| name).collect();
            chance.one(found.into_iter()).cloned()
        };
        let with_snapshots = |chance: &mut Chance| {
            let found: Vec<_> =
                model.machines.iter().filter(|(_, machine)| !machine.snapshots.is_empty()).collect();
            let names: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
            chance.one(names.into_iter()).cloned()
        };
        Some(match kind {
            "create" if room => Self::Create { name, import: false },
            "import" if room => Self::Create { name, import: true },
            "clone" if room => Self::Clone { vm: any(chance)?, name },
            "linked clone" if room => {
                let vm = with_snapshots(chance)?;
                let snapshot = chance.one(model.machines[&vm].snapshots.keys())?.clone();
                Self::Link { vm, snapshot, name, away: chance.below(2) == 0 }
            }
            "destroy" => Self::Destroy { vm: any(chance)? },
            "rename" => Self::Rename { vm: any(chance)?, name },
            "unregister" => Self::Unregister { vm: plain_one(chance)? },
            "register" => Self::Register { vmx: chance.one(model.unregistered.keys())?.clone() },
            "relocate" => Self::Relocate { vm: any(chance)? },
            "relocate disk" => {
                let vm = any(chance)?;
                let key = key(&vm, chance)?;
                Self::RelocateDisk { vm, key }
            }
            "add disk" => {
                let vm = plain_one(chance)?;
                let disks = &model.machines[&vm].disks;
                let key = (2000..2004).find(|key| !disks.contains_key(key))?;
                Self::AddDisk { vm, key }
            }
            "remove disk" => {
                let found: Vec<_> = model.machines.iter().filter(plain).collect();
                let found = found.into_iter().find(|(_, machine)| machine.disks.len() > 1)?;
                Self::RemoveDisk { vm: found.0.clone(), key: *chance.one(found.1.disks.keys())? }
            }
            "grow" => {
                let vm = plain_one(chance)?;
                let key = key(&vm, chance)?;
                Self::Grow { vm, key }
            }
            "snapshot" => {
                let vm = any(chance)?;
                if model.machines[&vm].snapshots.len() >= MANY {
                    return None;
                }
                Self::Snapshot { vm, name }
            }
            "remove" | "remove children" | "revert" => {
                let vm = with_snapshots(chance)?;
                let snapshots = &model.machines[&vm].snapshots;
                let name = chance.one(snapshots.keys())?.clone();
                if kind == "revert" {
                    return Some(Self::Revert { vm, name });
                }
                let mut names = vec![name];
                let with_children = kind == "remove children";
                loop {
                    let more = snapshots.iter().find(|(name, snapshot)| {
                        !names.contains(name)
                            && snapshot.parent.as_ref().is_some_and(|parent| names.contains(parent))
                    });
                    match more {
                        Some((name, _)) if with_children => names.push(name.clone()),
                        _ => break,
                    }
                }
                Self::Remove { vm, names, all: false }
            }
            "remove all" => {
                let vm = with_snapshots(chance)?;
                let names = model.machines[&vm].snapshots.keys().cloned().collect();
                Self::Remove { vm, names, all: true }
            }
            "consolidate" => {
                let needing = model.machines.iter().find(|(_, machine)| machine.consolidation);
                Self::Consolidate { vm: needing.map(|(name, _)| name.clone()).or_else(|| any(chance))? }
            }
            "write" => {
                let vm = any(chance)?;
                let key = key(&vm, chance)?;
                let all = (model.machines[&vm].disks[&key].len() / 512) as u64;
                let sector = chance.below(all);
                let sectors = 1 + chance.below((all - sector).min(600));
                Self::Write { vm, key, sector, sectors, seed: chance.below(1 << 40) }
            }
            "create disk" if model.disks.len() < MANY => Self::CreateDisk { path: file },
            "copy disk" | "move disk" if model.disks.len() < MANY => Self::CopyDisk {
                from: chance.one(model.disks.keys())?.clone(),
                to: file,
                keep: kind == "copy disk",
            },
            "delete disk" => Self::DeleteDisk { path: chance.one(model.disks.keys())?.clone() },
            "upload" => {
                let there: Vec<_> = model.files.keys().filter(|path| path.contains("] upload-")).collect();
                let path = match chance.one(there.into_iter()) {
                    Some(path) if chance.below(2) == 0 => path.clone(),
                    _ => format!("[datastore1] {name}.bin"),
                };
                let bytes = vec![chance.below(256) as u8; chance.below(3 << 20) as usize];
                Self::Upload { path, bytes }
            }
            _ => return None,
        })
    }

    /// What there is when it is done.
    pub(crate) fn note(&self, model: &mut Model) {
        let zeros = || vec![0; CAPACITY];
        match self {
            Self::Create { name, .. } => {
                let machine = Machine { disks: [(2000, zeros())].into(), ..Machine::default() };
                model.machines.insert(name.clone(), machine);
            }
            Self::Clone { vm, name } => {
                let disks = model.machines[vm].disks.clone();
                model.machines.insert(name.clone(), Machine { disks, ..Machine::default() });
            }
            Self::Link { vm, snapshot, name, .. } => {
                let source = machine(model, vm);
                source.linked = true;
                let disks = source.snapshots[snapshot].disks.clone();
                let linked = Machine { disks, linked: true, ..Machine::default() };
                model.machines.insert(name.clone(), linked);
            }
            Self::Destroy { vm } => drop(model.machines.remove(vm)),
            Self::Rename { vm, name } => {
                let machine = model.machines.remove(vm).unwrap();
                model.machines.insert(name.clone(), machine);
            }
            Self::Unregister { vm } => {
                let machine = model.machines.remove(vm).unwrap();
                model.unregistered.insert(machine.vmx.clone(), (vm.clone(), machine));
            }
            Self::Register { vmx } => {
                let (name, machine) = model.unregistered.remove(vmx).unwrap();
                let machine = Machine { moref: String::new(), ..machine };
                model.machines.insert(name, machine);
            }
            Self::Relocate { vm } => {
                let machine = machine(model, vm);
                machine.vmx.clear();
                machine.ids.clear();
            }
            Self::RelocateDisk { vm, key } => {
                let machine = machine(model, vm);
                machine.ids.retain(|(other, ..)| other != key);
                machine.apart = true;
            }
            Self::AddDisk { vm, key } => drop(machine(model, vm).disks.insert(*key, zeros())),
            Self::RemoveDisk { vm, key } => {
                let machine = machine(model, vm);
                machine.disks.remove(key);
                machine.ids.retain(|(other, ..)| other != key);
            }
            Self::Grow { vm, key } => {
                let machine = machine(model, vm);
                let disk = machine.disks.get_mut(key).unwrap();
                disk.resize(disk.len() + CAPACITY, 0);
                machine.ids.retain(|(other, ..)| other != key);
            }
            Self::Snapshot { vm, name } => {
                let machine = machine(model, vm);
                let parent = machine.current.replace(name.clone());
                let disks = machine.disks.clone();
                machine.snapshots.insert(name.clone(), Snapshot { parent, disks });
            }
            Self::Remove { vm, names, .. } => {
                let machine = machine(model, vm);
                let before = machine.snapshots.clone();
                let staying = |mut at: Option<String>| {
                    while let Some(name) = at.as_ref().filter(|name| names.contains(name)) {
                        at = before[name].parent.clone();
                    }
                    at
                };
                machine.snapshots.retain(|name, _| !names.contains(name));
                machine.current = staying(machine.current.take());
                for snapshot in machine.snapshots.values_mut() {
                    snapshot.parent = staying(snapshot.parent.take());
                }
            }
            Self::Revert { vm, name } => {
                let machine = machine(model, vm);
                machine.disks = machine.snapshots[name].disks.clone();
                machine.current = Some(name.clone());
                machine.ids.clear();
            }
            Self::Consolidate { .. } => {}
            Self::Write { vm, key, sector, sectors, seed } => {
                let machine = machine(model, vm);
                let uuid = machine.uuids[key];
                let disk = machine.disks.get_mut(key).unwrap();
                for at in *sector..sector + sectors {
                    disk[at as usize * 512..][..512].copy_from_slice(&expected_sector(*seed, uuid, at, 0));
                }
            }
            Self::CreateDisk { path } => drop(model.disks.insert(path.clone(), zeros())),
            Self::CopyDisk { from, to, keep } => {
                let content = model.disks[from].clone();
                if !keep {
                    model.disks.remove(from);
                }
                model.disks.insert(to.clone(), content);
            }
            Self::DeleteDisk { path } => drop(model.disks.remove(path)),
            Self::Upload { path, bytes } => drop(model.files.insert(path.clone(), bytes.clone())),
        }
    }

    pub(crate) async fn run(&self, program: &Program) -> Result<(), String> {
        if let Self::Write { vm, key, sector, sectors, seed } = self {
            let body = format!(
                r#"{{"vm": "{vm}", "disk": {key}, "offset": {}, "length": {}, "seed": {seed}, "force": true}}"#,
                sector * 512,
                sectors * 512
            );
            let done = program.control("POST", "/v1/guest-write".to_owned(), body).await;
            return done.map(|_| ()).map_err(|error| error.to_string());
        }
        self.call(program).await.map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(at) = cause {
                text = format!("{text}: {at}");
                cause = at.source();
            }
            text
        })
    }

    async fn call(&self, program: &Program) -> Result<(), vim_api::Error> {
        let client = &program.client;
        let root = client.content().root_folder.cast();
        let vm = async |name: &String| {
            let found = client.find_one::<mo::VirtualMachine>(&format!("/DC0/vm/{name}")).await?;
            Ok::<mo::VirtualMachine, vim_api::Error>(client.bind(&found.object))
        };
        let snapshot = async |vm: mo::VirtualMachine, name: String| {
            let tree = vm.get(mo::VirtualMachine::SNAPSHOT).await?.unwrap();
            let mut trees = tree.root_snapshot_list.clone();
            while let Some(at) = trees.pop() {
                if at.name == name {
                    return Ok::<mo::VirtualMachineSnapshot, vim_api::Error>(client.bind(&at.snapshot));
                }
                trees.extend(at.child_snapshot_list);
            }
            panic!("no snapshot {name}")
        };
        let pool = async || {
            let pools =
                client.list::<mo::ResourcePool>(&client.content().root_folder.cast(), &["name"]).await?;
            Ok::<MoRef<mo::ResourcePool>, vim_api::Error>(pools[0].object().cast())
        };
        let folder = async || {
            let datacenters =
                client.list::<mo::Datacenter>(&client.content().root_folder.cast(), &["name"]).await?;
            let datacenter: mo::Datacenter = client.bind(&datacenters[0].object().cast());
            let folder = datacenter.require(mo::Datacenter::VM_FOLDER).await?;
            Ok::<mo::Folder, vim_api::Error>(client.bind(&folder))
        };
        let disks = client.datastore_disks("DC0");
        let path = |text: &String| text.parse::<vim_api::DatastorePath>().unwrap();
        match self {
            Self::Create { name, import: false } => {
                folder().await?.create_vm_task(&spec(name), &pool().await?, None).await?.wait().await?;
            }
            Self::Create { name, import: true } => {
                let import = t::VirtualMachineImportSpec { config_spec: spec(name), ..Default::default() };
                let pool: mo::ResourcePool = client.bind(&pool().await?);
                let lease = pool.import_v_app(&Poly::new(import), None, None).await?;
                client.nfc_lease(&lease).await?.complete().await?;
            }
            Self::Clone { vm: source, name } => {
                let spec = t::VirtualMachineCloneSpec::default();
                let folder = folder().await?.moref();
                vm(source).await?.clone_vm_task(&folder, name, &spec).await?.wait().await?;
            }
            Self::Link { vm: source, snapshot: of, name, away } => {
                let source = vm(source).await?;
                let of = snapshot(source.clone(), of.clone()).await?;
                let path = format!("/DC0/datastore/datastore{}", 1 + u8::from(*away));
                let location = t::VirtualMachineRelocateSpec {
                    disk_move_type: Some("createNewChildDiskBacking".to_owned()),
                    datastore: Some(client.find_one::<mo::Datastore>(&path).await?.object),
                    ..Default::default()
                };
                let spec =
                    t::VirtualMachineCloneSpec { location, snapshot: Some(of.moref()), ..Default::default() };
                source.clone_vm_task(&folder().await?.moref(), name, &spec).await?.wait().await?;
            }
            Self::Destroy { vm: name } => vm(name).await?.destroy_task().await?.wait().await?,
            Self::Rename { vm: old, name } => vm(old).await?.rename_task(name).await?.wait().await?,
            Self::Unregister { vm: name } => vm(name).await?.unregister_vm().await?,
            Self::Register { vmx } => {
                let pool = pool().await?;
                let task = folder().await?.register_vm_task(vmx, None, false, Some(&pool), None).await?;
                task.wait().await?;
            }
            Self::Relocate { vm: name } => {
                let vm = vm(name).await?;
                let here = vm.require(mo::VirtualMachine::DATASTORE).await?;
                let all = client.list::<mo::Datastore>(&root, &["name"]).await?;
                let other =
                    all.into_iter().map(|found| found.object().cast()).find(|other| !here.contains(other));
                let spec = t::VirtualMachineRelocateSpec { datastore: other, ..Default::default() };
                vm.relocate_vm_task(&spec, None).await?.wait().await?;
            }
            Self::RelocateDisk { vm: name, key } => {
                let vm = vm(name).await?;
                let disk = device(&vm, *key).await?;
                let backing = disk.backing.as_ref().unwrap();
                let file =
                    &backing.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>().unwrap().base.file_name;
                let other = if file.starts_with("[datastore1]") { "datastore2" } else { "datastore1" };
                let path = format!("/DC0/datastore/{other}");
                let locator = t::VirtualMachineRelocateSpecDiskLocator {
                    disk_id: *key,
                    datastore: client.find_one::<mo::Datastore>(&path).await?.object,
                    ..Default::default()
                };
                let spec = t::VirtualMachineRelocateSpec { disk: vec![locator], ..Default::default() };
                vm.relocate_vm_task(&spec, None).await?.wait().await?;
            }
            Self::AddDisk { vm: name, .. } => {
                let add = change(t::VirtualDeviceConfigSpecOperation::Add, true, disk(-5, 1000));
                reconfigure(&vm(name).await?, add).await?;
            }
            Self::RemoveDisk { vm: name, key } => {
                let mut remove = change(
                    t::VirtualDeviceConfigSpecOperation::Remove,
                    false,
                    device(&vm(name).await?, *key).await?,
                );
                remove.file_operation = Some(t::VirtualDeviceConfigSpecFileOperation::Destroy);
                reconfigure(&vm(name).await?, remove).await?;
            }
            Self::Grow { vm: name, key } => {
                let mut device = device(&vm(name).await?, *key).await?;
                let disk = device.downcast_mut::<t::VirtualDisk>().unwrap();
                disk.capacity_in_kb += (CAPACITY / 1024) as i64;
                disk.capacity_in_bytes = Some(disk.capacity_in_kb * 1024);
                let edit = change(t::VirtualDeviceConfigSpecOperation::Edit, false, device);
                reconfigure(&vm(name).await?, edit).await?;
            }
            Self::Snapshot { vm: of, name } => {
                vm(of).await?.create_snapshot_task(name, None, false, false).await?.wait().await?;
            }
            Self::Remove { vm: of, all: true, .. } => {
                vm(of).await?.remove_all_snapshots_task(None, None).await?.wait().await?;
            }
            Self::Remove { vm: of, names, .. } => {
                let snapshot = snapshot(vm(of).await?, names[0].clone()).await?;
                snapshot.remove_snapshot_task(names.len() > 1, None).await?.wait().await?;
            }
            Self::Revert { vm: of, name } => {
                let snapshot = snapshot(vm(of).await?, name.clone()).await?;
                snapshot.revert_to_snapshot_task(None, None).await?.wait().await?;
            }
            Self::Consolidate { vm: name } => {
                vm(name).await?.consolidate_vm_disks_task().await?.wait().await?;
            }
            Self::Write { .. } => unreachable!("the control port writes"),
            Self::CreateDisk { path: at } => {
                let (kind, adapter) = (t::VirtualDiskType::Thin, t::VirtualDiskAdapterType::LsiLogic);
                disks.create(&path(at), CAPACITY as u64, kind, adapter).await?;
            }
            Self::CopyDisk { from, to, keep: true } => {
                disks.copy(&path(from), &path(to), IfExists::Fail).await?;
            }
            Self::CopyDisk { from, to, keep: false } => {
                disks.move_to(&path(from), &path(to), IfExists::Fail).await?;
            }
            Self::DeleteDisk { path: at } => disks.delete(&path(at)).await?,
            Self::Upload { path: at, bytes } => {
                let pieces: Vec<_> =
                    bytes.chunks(64 << 10).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
                let content = vim_api::Upload::sized(bytes.len() as u64, futures::stream::iter(pieces));
                client.datastore_files("DC0").upload(&path(at), content).await?;
            }
        }
        Ok(())
    }
}

fn machine<'m>(model: &'m mut Model, name: &str) -> &'m mut Machine {
    model.machines.get_mut(name).unwrap()
}

fn change(
    operation: t::VirtualDeviceConfigSpecOperation,
    file: bool,
    device: Poly<t::VirtualDevice>,
) -> t::VirtualDeviceConfigSpec {
    t::VirtualDeviceConfigSpec {
        operation: Some(operation),
        file_operation: file.then_some(t::VirtualDeviceConfigSpecFileOperation::Create),
        device,
        ..Default::default()
    }
}

async fn device(vm: &mo::VirtualMachine, key: i32) -> Result<Poly<t::VirtualDevice>, vim_api::Error> {
    let config = vm.require(mo::VirtualMachine::CONFIG).await?;
    Ok(config.hardware.device.iter().find(|device| device.key == key).unwrap().clone())
}

async fn reconfigure(
    vm: &mo::VirtualMachine,
    change: t::VirtualDeviceConfigSpec,
) -> Result<(), vim_api::Error> {
    let spec = t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
    vm.reconfig_vm_task(&spec).await?.wait().await
}

fn disk(key: i32, controller: i32) -> Poly<t::VirtualDevice> {
    let backing = t::VirtualDiskFlatVer2BackingInfo {
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
        capacity_in_kb: (CAPACITY / 1024) as i64,
        ..Default::default()
    })
}

/// A machine with one disk, tracked.
fn spec(name: &str) -> t::VirtualMachineConfigSpec {
    let controller = Poly::new(t::VirtualLsiLogicController {
        base: t::VirtualSCSIController {
            base: t::VirtualController {
                base: t::VirtualDevice { key: -1, ..Default::default() },
                ..Default::default()
            },
            shared_bus: t::VirtualSCSISharing::NoSharing,
            ..Default::default()
        },
    });
    let add = t::VirtualDeviceConfigSpecOperation::Add;
    t::VirtualMachineConfigSpec {
        name: Some(name.to_owned()),
        change_tracking_enabled: Some(true),
        files: Some(Box::new(t::VirtualMachineFileInfo {
            vm_path_name: Some("[datastore1]".to_owned()),
            ..Default::default()
        })),
        device_change: vec![
            Poly::new(change(add.clone(), false, controller)),
            Poly::new(change(add, true, disk(-2, -1))),
        ],
        ..Default::default()
    }
}
