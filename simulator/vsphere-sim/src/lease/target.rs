//! The machine that an import fills, made from the specification, and removed again when the import fails.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sim_store::{DatastorePath, Disk, DiskSpec, Provisioning};
use vim_api::dynamic::{Value, get_path};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument};
use crate::inventory::{FIRST_DISK, SCSI_OWN_UNIT, ids};
use crate::machine::{DiskState, Machine, Power, Settings};
use crate::random;
use crate::world::Shared;

/// Where the machine is to be.
pub(super) struct Place {
    pub(super) pool: MoRef,
    pub(super) folder: Option<MoRef<mo::Folder>>,
    pub(super) host: Option<MoRef<mo::HostSystem>>,
}

/// More disks than a SCSI controller has units for.
const MAX_DISKS: usize = 15;

/// Makes the machine, off and with empty disks, and answers its id.
pub(super) fn create(shared: &Shared, spec: &t::VirtualMachineConfigSpec, place: &Place) -> Outcome<String> {
    if place.pool.value() != ids::POOL
        || place.folder.as_ref().is_some_and(|folder| folder.value() != ids::VM_FOLDER)
        || place.host.as_ref().is_some_and(|host| host.value() != ids::HOST)
    {
        return Err(invalid_argument("folder", "Machines are in the folder of virtual machines here."));
    }
    let name = spec.name.clone().unwrap_or_default();
    if name.is_empty() || name.chars().count() > 80 {
        let value = t::InvalidName { name: name.clone(), ..Default::default() };
        return Err(fault(
            value,
            format!("The name \"{name}\" is invalid: it must have 1 to 80 characters."),
        ));
    }
    let wishes = disks(spec)?;
    let vm_path = spec.files.as_ref().and_then(|files| files.vm_path_name.clone());
    let vm_path =
        vm_path.ok_or_else(|| invalid_argument("spec.configSpec.files.vmPathName", "It is missing."))?;
    let (id, folder) = shared.update(|world| {
        let mut machines = world.stored.machines.values();
        if let Some(other) = machines.find(|machine| machine.settings.name == name) {
            let object: MoRef<mo::VirtualMachine> = MoRef::new(other.id.as_str());
            let value = t::DuplicateName { name: name.clone(), object: object.cast(), ..Default::default() };
            return Err(fault(value, format!("The name '{name}' already exists.")));
        }
        let id = format!("vm-{}", world.next_id());
        Ok((id.clone(), folder_of(&vm_path, &name, &id)?))
    })?;
    let root = resolve(shared, &folder)?;
    fs::create_dir(&root).map_err(|error| from_io(&error, &folder))?;
    let made = fill(shared, spec, &wishes, &folder, &id, &name);
    if let Err(fault) = made {
        // What could not be made is all there is in the folder.
        if let Err(error) = fs::remove_dir_all(&root) {
            tracing::error!(%error, %folder, "a machine that could not be made leaves files behind");
        }
        return Err(fault);
    }
    Ok(id)
}

/// Removes what [`create`] made, and what was sent into it.
pub(super) fn remove(shared: &Shared, machine: &Machine) -> Outcome<()> {
    let folder = machine.vmx.parent();
    let root = resolve(shared, &folder)?;
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(from_io(&error, &folder)),
        _ => Ok(()),
    }
}

/// A disk that is to be made.
struct Wish {
    capacity: u64,
    provisioning: Provisioning,
}

fn disks(spec: &t::VirtualMachineConfigSpec) -> Outcome<Vec<Wish>> {
    let devices = spec.device_change.iter().map(|change| &change.device);
    let disks: Vec<_> = devices.filter_map(|device| device.downcast_ref::<t::VirtualDisk>()).collect();
    if disks.len() > MAX_DISKS {
        return Err(invalid_argument("spec.configSpec.deviceChange", "A machine has at most 15 disks here."));
    }
    let wish = |disk: &&t::VirtualDisk| {
        let bytes = disk.capacity_in_bytes.or_else(|| disk.capacity_in_kb.checked_mul(1024));
        let capacity = bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        let capacity = capacity.ok_or_else(|| {
            invalid_argument(
                "spec.configSpec.deviceChange.device.capacityInKB",
                "The capacity makes no sense.",
            )
        })?;
        let flag = |path| matches!(get_path(*disk, path), Ok(Some(Value::Bool(true))));
        let provisioning = match (flag("backing.thinProvisioned"), flag("backing.eagerlyScrub")) {
            (true, _) => Provisioning::Thin,
            (false, true) => Provisioning::EagerThick,
            (false, false) => Provisioning::LazyThick,
        };
        Ok(Wish { capacity, provisioning })
    };
    disks.iter().map(wish).collect()
}

/// Makes disks and machine in a folder of their own.
fn fill(
    shared: &Shared,
    spec: &t::VirtualMachineConfigSpec,
    wishes: &[Wish],
    folder: &DatastorePath,
    id: &str,
    name: &str,
) -> Outcome<()> {
    let stem = folder.file_name();
    let file = |name: String| -> Outcome<DatastorePath> {
        let path = DatastorePath::new(folder.datastore(), &format!("{}/{name}", folder.relative()));
        path.map_err(|error| from_store(&error, &folder.to_string()))
    };
    let mut disks = Vec::new();
    for (at, wish) in wishes.iter().enumerate() {
        let path = file(if at == 0 { format!("{stem}.vmdk") } else { format!("{stem}_{at}.vmdk") })?;
        disks.push(make_disk(wish, path.clone(), &resolve(shared, &path)?, at)?);
    }
    let vmx = file(format!("{stem}.vmx"))?;
    let settings = Settings {
        name: name.to_owned(),
        annotation: spec.annotation.clone().unwrap_or_default(),
        guest_id: spec.guest_id.clone().unwrap_or_else(|| "otherGuest".to_owned()),
        cpus: spec.num_cpus.unwrap_or(1),
        memory_mb: spec.memory_mb.and_then(|memory| i32::try_from(memory).ok()).unwrap_or(128),
        change_tracking: spec.change_tracking_enabled.unwrap_or(false),
        disks,
        mac: random::mac(),
    };
    shared.update(|world| {
        let machine = Machine {
            id: id.to_owned(),
            instance_uuid: spec.instance_uuid.clone().unwrap_or_else(random::uuid),
            bios_uuid: spec.uuid.clone().unwrap_or_else(random::uuid),
            created: world.clock.now(),
            generation: 1,
            vmx,
            power: Power::Off,
            booted: None,
            clean_power_off: true,
            settings,
            snapshots: Vec::new(),
            current_snapshot: None,
            last_snapshot: 0,
            consolidation_needed: false,
            disabled_methods: Vec::new(),
            busy: None,
            stun: Arc::default(),
        };
        world.stored.machines.insert(id.to_owned(), machine);
        world.touch();
    });
    crate::chain::write_text_files(shared, id).inspect_err(|_| {
        shared.update(|world| {
            world.touch();
            world.stored.machines.remove(id)
        });
    })
}

fn make_disk(wish: &Wish, path: DatastorePath, host: &Path, at: usize) -> Outcome<DiskState> {
    let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
    let spec = DiskSpec { provisioning: wish.provisioning, ..DiskSpec::thin(wish.capacity) };
    let uuid = Disk::create(host, &spec).and_then(|disk| disk.uuid()).map_err(failed)?.dashed();
    let at = i32::try_from(at).unwrap_or(i32::MAX);
    let unit = at + i32::from(at >= SCSI_OWN_UNIT);
    Ok(DiskState {
        key: FIRST_DISK + unit,
        unit,
        capacity: wish.capacity,
        path,
        uuid,
        thin: wish.provisioning == Provisioning::Thin,
        eager: wish.provisioning == Provisioning::EagerThick,
        change_id: None,
    })
}

/// `[datastore]` leaves the folder's name to the server.
fn folder_of(vm_path: &str, name: &str, id: &str) -> Outcome<DatastorePath> {
    let wrong = |error: sim_store::Error| from_store(&error, vm_path);
    let path: DatastorePath = vm_path.trim().parse().map_err(wrong)?;
    let relative = match path.relative() {
        "" => {
            let plain = |c: char| if c.is_control() || "/\\\"[]".contains(c) { '_' } else { c };
            let stem: String = name.chars().map(plain).collect();
            match stem.trim_matches(['.', ' ']) {
                "" => id.to_owned(),
                stem => format!("{stem}_{id}"),
            }
        }
        _ if path.file_name().ends_with(".vmx") => path.parent().relative().to_owned(),
        relative => relative.to_owned(),
    };
    if relative.is_empty() {
        return Err(invalid_argument(
            "spec.configSpec.files.vmPathName",
            "A machine has a folder of its own.",
        ));
    }
    DatastorePath::new(path.datastore(), &relative).map_err(wrong)
}

fn resolve(shared: &Shared, path: &DatastorePath) -> Outcome<std::path::PathBuf> {
    shared.read(|world| world.resolve(path)).map_err(|error| from_store(&error, &path.to_string()))
}

fn from_io(error: &io::Error, path: &DatastorePath) -> Fault {
    let base = t::FileFault { file: path.to_string(), ..Default::default() };
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            fault(t::FileAlreadyExists { base }, format!("File {path} already exists"))
        }
        _ => fault(base, format!("{path}: {error}")),
    }
}
