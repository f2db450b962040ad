//! `Folder.RegisterVM_Task`: a machine from the files of an earlier one.

use std::fs;
use std::sync::Arc;

use sim_store::{Access, DatastorePath, Disk, Scope, sharing};
use vim_api::dynamic::{Element, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{check_name, file_fault, host_of, insert, new_identity, place};
use crate::chain::{self, Held};
use crate::configure;
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument};
use crate::hardware;
use crate::inventory::moref;
use crate::machine::{Machine, Place, Power};
use crate::random;
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::vmx;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// Larger than any that a host writes.
const MAX_VMX: u64 = 1 << 20;

/// `Folder.RegisterVM_Task`.
pub(crate) fn register(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let path: String = call.required("path")?;
    let name: Option<String> = call.optional("name")?;
    let as_template: bool = call.required("asTemplate")?;
    let pool: Option<MoRef<mo::ResourcePool>> = call.optional("pool")?;
    let host: Option<MoRef<mo::HostSystem>> = call.optional("host")?;
    let path: DatastorePath = path.parse().map_err(|_| {
        let value = t::InvalidDatastorePath { datastore_path: path.clone(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{path}'."))
    })?;
    if as_template && host.is_none() || !as_template && pool.is_none() {
        let needed = if as_template { "host" } else { "pool" };
        return Err(invalid_argument(needed, "It has to be named for a machine of this kind."));
    }
    let mut place = shared.read(|world| place(world, &call.this, pool.as_ref(), host.as_ref()))?;
    if as_template {
        place.pool = None;
    }
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        let id = register_machine(shared, &place, &path, name.as_deref(), as_template)?;
        Ok(Some(moref::<mo::VirtualMachine>(&id).to_value()))
    });
    tasks::start_about(shared, &call.this, call, user, "Folder.registerVm", work)
}

/// Takes the machine of a `.vmx` file into the inventory and answers its id.
pub(crate) fn register_machine(
    shared: &Shared,
    place: &Place,
    path: &DatastorePath,
    name: Option<&str>,
    as_template: bool,
) -> Outcome<String> {
    let entries = load(shared, path)?;
    let known = shared.read(|world| world.machines().any(|machine| machine.vmx().as_ref() == Some(path)));
    if known {
        return Err(registered(path));
    }
    let stem = path.file_name().trim_end_matches(".vmx").to_owned();
    let shown = name.or(entries.get("displayname").map(String::as_str)).unwrap_or(&stem);
    let name = check_name(shared, &place.folder, shown, None)?;
    let mut config = read(shared, &name, path, &entries)?;
    config.template = as_template;
    let id = shared.update(|world| world.next_machine_id());
    let config = configure::finished(shared, &id, Power::Off, config);
    recovery::carry_out(shared, Intent::provisional(&id), |_| insert(shared, &id, place, config))?;
    shared.update(|world| world.post_of_machine(&id, t::VmRegisteredEvent::default(), "is registered"));
    Ok(id)
}

/// `VirtualMachine.reloadVirtualMachineFromPath_Task`: the machine stays, with what another `.vmx` says of it.
pub(crate) fn reload(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let text: String = call.required("configurationPath")?;
    let path: DatastorePath = text.parse().map_err(|_| {
        let value = t::InvalidDatastorePath { datastore_path: text.clone(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{text}'."))
    })?;
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        reload_machine(shared, &id, &path).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.reloadFromPath", work)
}

fn reload_machine(shared: &Shared, id: &str, path: &DatastorePath) -> Outcome<()> {
    let machine = Held::take(shared, id)?.machine;
    if machine.power != Power::Off {
        return Err(crate::power::wrong_state(Power::Off, machine.power));
    }
    let is_elsewhere = machine.vmx().as_ref() != Some(path);
    if is_elsewhere && !machine.snapshots.is_empty() {
        let message = "The snapshots of a machine stay with its files.";
        return Err(fault(t::InvalidState::default(), message));
    }
    let entries = load(shared, path)?;
    let taken = |other: &Machine| other.id != id && other.vmx().as_ref() == Some(path);
    if shared.read(|world| world.machines().any(taken)) {
        return Err(registered(path));
    }
    let stem = path.file_name().trim_end_matches(".vmx").to_owned();
    let shown = entries.get("displayname").unwrap_or(&stem);
    let name = check_name(shared, &machine.folder, shown, Some(id))?;
    let mut config = read(shared, &name, path, &entries)?;
    let own = machine.config.instance_uuid.clone();
    if own.is_some() && entries.get("vc.uuid").and_then(|uuid| vmx::dashed(uuid)) == own {
        config.instance_uuid = own;
    }
    config.template = machine.config.template;
    let config = configure::finished(shared, id, Power::Off, config);
    recovery::carry_out(shared, Intent::of(id), |_| {
        shared.update(|world| {
            if let Some(machine) = world.machine_mut(id) {
                machine.config = config;
            }
        });
        Ok(())
    })
}

/// Reads a `.vmx` file.
fn load(shared: &Shared, path: &DatastorePath) -> Outcome<Entries> {
    let host = host_of(shared, path)?;
    let length = fs::metadata(&host).map_err(|error| file_fault(path, &error))?.len();
    if length > MAX_VMX {
        let base = t::FileFault { file: path.to_string(), ..Default::default() };
        return Err(fault(base, format!("{path} has {length} bytes, and is no .vmx file.")));
    }
    let bytes = fs::read(&host).map_err(|error| file_fault(path, &error))?;
    Ok(vmx::parse(&String::from_utf8_lossy(&bytes)))
}

fn registered(path: &DatastorePath) -> Fault {
    let value = t::AlreadyExists { name: Some(path.to_string()), ..Default::default() };
    fault(value, format!("{path} is a registered machine already."))
}

type Entries = std::collections::BTreeMap<String, String>;

fn read(
    shared: &Shared,
    name: &str,
    path: &DatastorePath,
    entries: &Entries,
) -> Outcome<t::VirtualMachineConfigInfo> {
    let text = |key: &str| entries.get(key).map(String::as_str);
    let number = |key: &str| text(key).and_then(|value| value.parse::<i32>().ok());
    let is_set = |key: &str| text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let guest = vmx::guest_id(text("guestos").unwrap_or("other-64"));
    let mut config = hardware::new_config(name, path, &guest, shared.settings.version);
    new_identity(shared, &mut config);
    if let Some(version) = number("virtualhw.version") {
        config.version = format!("vmx-{version:02}");
    }
    config.hardware.memory_mb = number("memsize").unwrap_or(config.hardware.memory_mb);
    config.hardware.num_cpu = number("numvcpus").unwrap_or(1);
    config.hardware.num_cores_per_socket = Some(number("cpuid.corespersocket").unwrap_or(1));
    config.annotation = Some(text("annotation").unwrap_or_default().to_owned());
    config.firmware = Some(text("firmware").unwrap_or("bios").to_owned());
    config.change_tracking_enabled = Some(is_set("ctkenabled"));
    if let Some(uuid) = text("uuid.bios").and_then(vmx::dashed) {
        config.uuid = uuid;
    }
    if let Some(uuid) = text("uuid.location").and_then(vmx::dashed) {
        config.location_id = Some(uuid);
    }
    if let Some(uuid) = text("vc.uuid").and_then(vmx::dashed) {
        let taken = shared.read(|world| {
            world.machines().any(|machine| machine.config.instance_uuid.as_ref() == Some(&uuid))
        });
        // A vCenter gives a copy that is registered beside its original another one.
        if !taken {
            config.instance_uuid = Some(uuid);
        }
    }
    add_controllers(&mut config, entries);
    add_disks(shared, &mut config, path, entries)?;
    add_cards(shared, &mut config, entries);
    add_extra(&mut config, entries);
    Ok(config)
}

fn add_controllers(config: &mut t::VirtualMachineConfigInfo, entries: &Entries) {
    let is_set = |key: String| entries.get(&key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    for bus in 0..4 {
        if is_set(format!("scsi{bus}.present")) {
            let kind = entries.get(&format!("scsi{bus}.virtualdev")).map_or("lsilogic", String::as_str);
            config.hardware.device.push(scsi(kind, bus));
        }
        if is_set(format!("sata{bus}.present")) {
            let base = on_pci(15000 + bus, bus, 24 + bus);
            let base = t::VirtualSATAController { base };
            config.hardware.device.push(Poly::new(t::VirtualAHCIController { base }));
        }
        if is_set(format!("nvme{bus}.present")) {
            let base = on_pci(31000 + bus, bus, 30 + bus);
            config.hardware.device.push(Poly::new(t::VirtualNVMEController { base, ..Default::default() }));
        }
    }
}

fn scsi(kind: &str, bus: i32) -> Poly<t::VirtualDevice> {
    let mut base = t::VirtualSCSIController {
        base: on_pci(hardware::SCSI + bus, bus, 3 + bus),
        hot_add_remove: Some(true),
        shared_bus: t::VirtualSCSISharing::NoSharing,
        scsi_ctlr_unit_number: Some(hardware::SCSI_OWN_UNIT),
    };
    match kind {
        "pvscsi" => hardware::pvscsi(bus),
        "lsisas1068" => Poly::new(t::VirtualLsiLogicSASController { base }),
        "buslogic" => Poly::new(t::VirtualBusLogicController { base }),
        _ => {
            base.hot_add_remove = Some(true);
            Poly::new(t::VirtualLsiLogicController { base })
        }
    }
}

fn on_pci(key: i32, bus_number: i32, unit: i32) -> t::VirtualController {
    let base = t::VirtualDevice {
        key,
        controller_key: Some(hardware::PCI),
        unit_number: Some(unit),
        ..Default::default()
    };
    t::VirtualController { base, bus_number, device: Vec::new() }
}

fn add_disks(
    shared: &Shared,
    config: &mut t::VirtualMachineConfigInfo,
    path: &DatastorePath,
    entries: &Entries,
) -> Outcome<()> {
    for (key, file) in entries.iter().filter(|(key, _)| key.ends_with(".filename")) {
        let node = key.trim_end_matches(".filename");
        let is_disk = file.ends_with(".vmdk")
            && entries.get(&format!("{node}.present")).is_none_or(|value| value.eq_ignore_ascii_case("true"));
        let Some((bus, unit)) = node.split_once(':').filter(|_| is_disk) else { continue };
        let Ok(unit) = unit.parse::<i32>() else { continue };
        let kind = bus.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: i32 = bus[kind.len()..].parse().unwrap_or(0);
        let first = match kind {
            "scsi" => hardware::SCSI,
            "sata" => 15000,
            "nvme" => 31000,
            "ide" => 200,
            _ => continue,
        };
        let controller = first + number;
        let file = disk_path(shared, path, file)?;
        let host = host_of(shared, &file)?;
        let disk = Disk::open(&host, Access::ReadOnly, Scope::WholeChain)
            .map_err(|error| from_store(&error, &file.to_string()))?;
        let uuid = disk.uuid().map_err(|error| from_store(&error, &file.to_string()))?;
        for link in disk.links() {
            // Its files may have been brought from elsewhere.
            sharing::add_all(&link.descriptor).map_err(|error| from_store(&error, &file.to_string()))?;
        }
        let mut backing = chain::new_backing(
            disk.provisioning() == sim_store::Provisioning::Thin,
            disk.provisioning() == sim_store::Provisioning::EagerThick,
        );
        backing.base.file_name = file.to_string();
        backing.uuid = Some(uuid.dashed());
        if let Some(mode) = entries.get(&format!("{node}.mode")) {
            backing.disk_mode = mode.replace('-', "_");
        }
        let mut device = hardware::device(hardware::disk(0, controller, unit, disk.capacity(), backing));
        let owner = config.hardware.device.iter().find(|device| device.key == controller);
        if owner.is_none() {
            let base = t::InvalidVmConfig { property: Some(key.clone()), ..Default::default() };
            return Err(fault(base, format!("{path} names a disk on {bus}, which it does not have.")));
        }
        let taken = |key| config.hardware.device.iter().any(|other| other.key == key);
        device.key = hardware::key_for(&device, owner, &taken);
        config.hardware.device.push(device);
    }
    Ok(())
}

/// A disk is named relative to the `.vmx`, or as a host sees it below `/vmfs/volumes`.
fn disk_path(shared: &Shared, vmx: &DatastorePath, file: &str) -> Outcome<DatastorePath> {
    let failed = |error: sim_store::Error| from_store(&error, file);
    let Some(rest) = file.strip_prefix("/vmfs/volumes/") else {
        let relative = vmx.parent();
        return DatastorePath::new(vmx.datastore(), &format!("{}/{file}", relative.relative()))
            .map_err(failed);
    };
    let (volume, relative) = rest.split_once('/').unwrap_or((rest, ""));
    let name = shared.read(|world| {
        let mut datastores = world.stored.tree.iter().filter_map(|entity| match &entity.kind {
            crate::inventory::tree::Kind::Datastore { files, uuid, .. } => Some((files.name(), uuid)),
            _ => None,
        });
        let found = datastores.find(|(name, uuid)| *name == volume || *uuid == volume);
        found.map_or_else(|| volume.to_owned(), |(name, _)| name.to_owned())
    });
    DatastorePath::new(&name, relative).map_err(failed)
}

fn add_cards(shared: &Shared, config: &mut t::VirtualMachineConfigInfo, entries: &Entries) {
    for at in 0..10 {
        let text = |key: &str| entries.get(&format!("ethernet{at}.{key}")).map(String::as_str);
        if !text("present").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            continue;
        }
        let name = text("networkname").unwrap_or_default();
        let network = shared.read(|world| {
            let mut networks = world.stored.tree.iter().filter(|entity| entity.type_name() == "Network");
            networks.find(|entity| entity.name == name).map(|entity| entity.typed::<mo::Network>())
        });
        let address = text("address").or(text("generatedaddress")).map_or_else(random::mac, str::to_owned);
        let mut card = hardware::nic(network.clone().unwrap_or_default(), name, &address);
        if let Some(base) = card.downcast_mut::<t::VirtualEthernetCard>() {
            if text("addresstype") == Some("static") {
                base.address_type = Some("manual".to_owned());
            }
            let backing = base.base.backing.as_mut();
            if let Some(backing) =
                backing.and_then(|backing| backing.downcast_mut::<t::VirtualEthernetCardNetworkBackingInfo>())
            {
                backing.network.clone_from(&network);
            }
        }
        let taken = |key| config.hardware.device.iter().any(|other| other.key == key);
        card.key = hardware::key_for(&card, None, &taken);
        card.unit_number = Some(7 + at);
        config.hardware.device.push(card);
    }
}

/// What no setting stands for is kept as it is.
fn add_extra(config: &mut t::VirtualMachineConfigInfo, entries: &Entries) {
    let known = [
        ".encoding",
        "config.version",
        "virtualhw.version",
        "displayname",
        "annotation",
        "guestos",
        "firmware",
        "memsize",
        "numvcpus",
        "cpuid.corespersocket",
        "uuid.bios",
        "uuid.location",
        "vc.uuid",
        "ctkenabled",
    ];
    let buses = ["scsi", "sata", "nvme", "ide", "ethernet"];
    let is_device = |key: &str| {
        buses.iter().any(|bus| {
            key.strip_prefix(bus).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let extra = entries.iter().filter(|(key, _)| !known.contains(&key.as_str()) && !is_device(key));
    config.extra_config.retain(|option| !entries.contains_key(&option.key.to_lowercase()));
    config.extra_config.extend(extra.map(|(key, value)| {
        let value = Some(Value::String(value.clone()));
        Poly::new(t::OptionValue { key: key.clone(), value, ..Default::default() })
    }));
}
