//! `deviceChange`: adding, editing and removing devices, with keys that a host would give them.

use std::collections::{BTreeMap, BTreeSet};

use sim_store::{Access, DatastorePath, Disk, DiskSpec, Scope};
use vim_api::dynamic::Poly;
use vim_api::types as t;

use super::{FileWork, Target, provisioning};
use crate::chain;
use crate::fault::{Fault, Outcome, fault, from_store};
use crate::hardware;
use crate::machine::{self, Power};
use crate::random;
use crate::world::World;

type Device = Poly<t::VirtualDevice>;
type Change = Poly<t::VirtualDeviceConfigSpec>;

/// Applies the changes, in their order but controllers first: a device may name one that comes later.
pub(super) fn change(
    world: &World,
    target: &Target<'_>,
    config: &mut t::VirtualMachineConfigInfo,
    changes: &[Change],
) -> Outcome<Vec<FileWork>> {
    let mut work = Work {
        world,
        target,
        devices: std::mem::take(&mut config.hardware.device),
        renamed: BTreeMap::new(),
        names: BTreeSet::new(),
        files: Vec::new(),
    };
    let is_controller = |change: &Change| change.device.is::<t::VirtualController>();
    let controllers = changes.iter().enumerate().filter(|(_, change)| is_controller(change));
    let others = changes.iter().enumerate().filter(|(_, change)| !is_controller(change));
    for (at, change) in controllers.chain(others) {
        let index = i32::try_from(at).unwrap_or(i32::MAX);
        match &change.operation {
            Some(t::VirtualDeviceConfigSpecOperation::Add) => work.add(index, change)?,
            Some(t::VirtualDeviceConfigSpecOperation::Edit) | None => work.edit(index, change)?,
            Some(t::VirtualDeviceConfigSpecOperation::Remove) => work.remove(index, change)?,
            Some(other) => return Err(invalid(index, "operation", &format!("{other} is unknown."))),
        }
    }
    let Work { devices, files, .. } = work;
    config.hardware.device = devices;
    Ok(files)
}

struct Work<'a> {
    world: &'a World,
    target: &'a Target<'a>,
    devices: Vec<Device>,
    /// Keys of the specification by those that were given instead.
    renamed: BTreeMap<i32, i32>,
    /// The disks that this change makes.
    names: BTreeSet<DatastorePath>,
    files: Vec<FileWork>,
}

impl Work<'_> {
    fn add(&mut self, index: i32, change: &Change) -> Outcome<()> {
        let mut device = change.device.clone();
        device.controller_key = match device.controller_key {
            Some(key) => Some(self.renamed.get(&key).copied().unwrap_or(key)),
            None => hardware::default_controller(&device),
        };
        self.place(index, &mut device)?;
        self.check_bus(index, &device)?;
        let controller = device.controller_key.and_then(|key| self.find(key)).cloned();
        let taken = |key| self.devices.iter().any(|other| other.key == key);
        let old = device.key;
        device.key = hardware::key_for(&device, controller.as_ref(), &taken);
        self.renamed.insert(old, device.key);
        if let Some(disk) = device.downcast_mut::<t::VirtualDisk>() {
            self.add_disk(index, disk, change.file_operation.as_ref())?;
        } else if let Some(card) = device.downcast_mut::<t::VirtualEthernetCard>() {
            self.add_card(index, card)?;
        } else if let Some(controller) = device.downcast_mut::<t::VirtualController>() {
            controller.device.clear();
            if let Some(scsi) = device.downcast_mut::<t::VirtualSCSIController>() {
                scsi.scsi_ctlr_unit_number = Some(hardware::SCSI_OWN_UNIT);
                scsi.hot_add_remove = Some(true);
            }
        } else if device.connectable.is_none() && device.is::<t::VirtualCdrom>() {
            device.connectable = Some(Box::new(hardware::connectable()));
        }
        self.devices.push(device);
        Ok(())
    }

    /// Finds the unit of a device on its controller.
    fn place(&self, index: i32, device: &mut Device) -> Outcome<()> {
        let Some(key) = device.controller_key else {
            return match device.is::<t::VirtualDisk>() {
                true => Err(invalid(index, "device.controllerKey", "A disk is on a controller.")),
                false => Ok(()),
            };
        };
        let Some(controller) = self.find(key) else {
            let message = format!("There is no controller {key}.");
            return Err(invalid(index, "device.controllerKey", &message));
        };
        let (count, own) = hardware::units(controller);
        let taken = |unit: i32| {
            Some(unit) == own
                || self
                    .devices
                    .iter()
                    .any(|other| other.controller_key == Some(key) && other.unit_number == Some(unit))
        };
        match device.unit_number.filter(|unit| *unit >= 0) {
            Some(unit) if unit >= count || Some(unit) == own => Err(invalid(
                index,
                "device.unitNumber",
                &format!("The controller has no unit {unit} for it."),
            )),
            // The bus of the PCI devices is the host's to divide.
            Some(unit) if taken(unit) && count == i32::MAX => {
                device.unit_number = (unit..).find(|unit| !taken(*unit));
                Ok(())
            }
            Some(unit) if taken(unit) => {
                Err(invalid(index, "device.unitNumber", &format!("Unit {unit} of the controller is in use.")))
            }
            Some(_) => Ok(()),
            None => {
                let free = (0..count).find(|unit| !taken(*unit));
                let full = || invalid(index, "device.unitNumber", "The controller has no free unit.");
                device.unit_number = Some(free.ok_or_else(full)?);
                Ok(())
            }
        }
    }

    /// Two controllers of a kind cannot have the same bus number.
    fn check_bus(&self, index: i32, device: &Device) -> Outcome<()> {
        let Some(controller) = device.downcast_ref::<t::VirtualController>() else { return Ok(()) };
        let kind = |device: &Device| {
            [
                device.is::<t::VirtualSCSIController>(),
                device.is::<t::VirtualSATAController>(),
                device.is::<t::VirtualNVMEController>(),
                device.is::<t::VirtualIDEController>(),
            ]
        };
        let clash = self.devices.iter().any(|other| {
            let same_bus = other
                .downcast_ref::<t::VirtualController>()
                .is_some_and(|other| other.bus_number == controller.bus_number);
            same_bus && kind(device).contains(&true) && kind(other) == kind(device)
        });
        match clash {
            true => Err(invalid(index, "device.busNumber", "The bus number is in use.")),
            false if (0..4).contains(&controller.bus_number) => Ok(()),
            false => Err(invalid(index, "device.busNumber", "Bus numbers go from 0 to 3.")),
        }
    }

    fn add_disk(
        &mut self,
        index: i32,
        disk: &mut t::VirtualDisk,
        operation: Option<&t::VirtualDeviceConfigSpecFileOperation>,
    ) -> Outcome<()> {
        let mut backing = flat_backing(index, disk)?;
        let replace = matches!(operation, Some(t::VirtualDeviceConfigSpecFileOperation::Replace));
        let create = replace || matches!(operation, Some(t::VirtualDeviceConfigSpecFileOperation::Create));
        let path = self.file_of(index, &backing, create)?;
        let host = self.world.resolve(&path).map_err(|error| from_store(&error, &path.to_string()))?;
        if create {
            let capacity = machine::capacity(disk);
            if capacity == 0 || !capacity.is_multiple_of(512) || capacity > sim_store::MAX_CAPACITY {
                return Err(invalid(index, "device.capacityInKB", "A disk has 1 KB to 62 TB."));
            }
            if !replace && (host.exists() || self.names.contains(&path)) {
                let base = t::FileFault { file: path.to_string(), ..Default::default() };
                let message = format!("Cannot complete the operation because the file {path} already exists");
                return Err(fault(t::FileAlreadyExists { base }, message));
            }
            let uuid = match &backing.uuid {
                Some(uuid) => crate::population::parse_dashed(uuid),
                None => None,
            };
            let uuid = match uuid {
                Some(uuid) => uuid,
                None => {
                    sim_store::DiskUuid::random().map_err(|error| from_store(&error, &path.to_string()))?
                }
            };
            backing.uuid = Some(uuid.dashed());
            let spec = DiskSpec {
                provisioning: provisioning(&backing),
                uuid: Some(uuid),
                ..DiskSpec::thin(capacity)
            };
            self.names.insert(path.clone());
            let in_home = path.parent().relative() == self.target.vmx.parent().relative();
            self.files.push(FileWork::Create { path: path.clone(), spec, replace, in_home });
            hardware::set_capacity(disk, capacity);
        } else {
            let opened = Disk::open(&host, Access::ReadOnly, Scope::WholeChain)
                .map_err(|error| from_store(&error, &path.to_string()))?;
            hardware::set_capacity(disk, opened.capacity());
            backing.uuid =
                Some(opened.uuid().map_err(|error| from_store(&error, &path.to_string()))?.dashed());
            backing.thin_provisioned = Some(opened.provisioning() == sim_store::Provisioning::Thin);
            backing.eagerly_scrub = Some(opened.provisioning() == sim_store::Provisioning::EagerThick);
        }
        backing.base.file_name = path.to_string();
        backing.parent = None;
        backing.change_id = None;
        disk.base.backing = Some(Poly::new(backing));
        disk.disk_object_id = None;
        disk.v_disk_id = None;
        if disk.shares.is_none() {
            disk.shares = Some(Box::new(t::SharesInfo {
                shares: 1000,
                level: t::SharesLevel::Normal,
                ..Default::default()
            }));
        }
        disk.native_unmanaged_linked_clone = Some(false);
        Ok(())
    }

    /// The file that a backing names; a new one without a name gets one beside the `.vmx`, or in a folder of the same
    /// name on the datastore that it names.
    fn file_of(
        &self,
        index: i32,
        backing: &t::VirtualDiskFlatVer2BackingInfo,
        create: bool,
    ) -> Outcome<DatastorePath> {
        let home = self.target.vmx;
        let named: Option<DatastorePath> = match backing.base.file_name.trim() {
            "" => None,
            text => {
                let wrong =
                    |_| invalid(index, "device.backing.fileName", &format!("{text} is no datastore path."));
                Some(text.parse().map_err(wrong)?)
            }
        };
        match named {
            Some(path) if !path.relative().is_empty() => return Ok(path),
            _ if !create => {
                return Err(invalid(index, "device.backing.fileName", "A disk that exists has a name."));
            }
            _ => {}
        }
        let datastore = named.as_ref().map(|path| path.datastore().to_owned()).or_else(|| {
            let wanted = backing.base.datastore.as_ref()?;
            Some(self.world.stored.tree.get(wanted.value())?.files()?.name().to_owned())
        });
        let datastore = datastore.as_deref().unwrap_or(home.datastore());
        let folder = home.parent();
        let stem = home.file_name().strip_suffix(".vmx").unwrap_or("disk");
        for number in 0..1000 {
            let name = machine::disk_name(stem, number);
            let path = DatastorePath::new(datastore, &format!("{}/{name}", folder.relative()))
                .map_err(|error| from_store(&error, &name))?;
            let is_free =
                !self.names.contains(&path) && self.world.resolve(&path).is_ok_and(|host| !host.exists());
            if is_free {
                return Ok(path);
            }
        }
        Err(invalid(index, "device.backing.fileName", "All names beside the machine are taken."))
    }

    fn add_card(&self, index: i32, card: &mut t::VirtualEthernetCard) -> Outcome<()> {
        self.check_network(index, card)?;
        let has_address = card.mac_address.as_ref().is_some_and(|address| !address.is_empty());
        match card.address_type.as_deref().map(str::to_lowercase).as_deref() {
            Some("manual") if has_address => {}
            _ => {
                card.address_type = Some("assigned".to_owned());
                if !has_address {
                    card.mac_address = Some(random::mac());
                }
            }
        }
        card.wake_on_lan_enabled = card.wake_on_lan_enabled.or(Some(true));
        card.upt_compatibility_enabled = card.upt_compatibility_enabled.or(Some(false));
        if card.base.connectable.is_none() {
            card.base.connectable = Some(Box::new(hardware::connectable()));
        }
        Ok(())
    }

    /// A network is named by its reference or by its name; the other is filled in.
    fn check_network(&self, index: i32, card: &mut t::VirtualEthernetCard) -> Outcome<()> {
        let backing = card.base.backing.as_mut();
        let Some(network) =
            backing.and_then(|backing| backing.downcast_mut::<t::VirtualEthernetCardNetworkBackingInfo>())
        else {
            return Ok(());
        };
        let tree = &self.world.stored.tree;
        let networks = || tree.iter().filter(|entity| entity.type_name() == "Network");
        let found = match &network.network {
            Some(wanted) => tree.find(&wanted.cast()),
            None => networks().find(|entity| entity.name == network.base.device_name),
        };
        let Some(found) = found else {
            let base = t::InvalidDeviceSpec { device_index: index, ..Default::default() };
            let message = format!("There is no network \"{}\".", network.base.device_name);
            return Err(fault(t::InvalidDeviceBacking { base }, message));
        };
        network.network = Some(found.typed());
        network.base.device_name.clone_from(&found.name);
        Ok(())
    }

    fn edit(&mut self, index: i32, change: &Change) -> Outcome<()> {
        let key = change.device.key;
        let at = self.position(index, key)?;
        let before = self.devices[at].clone();
        let mut device = change.device.clone();
        if device.type_name() != before.type_name() {
            return Err(invalid(index, "device", "A device cannot become one of another type."));
        }
        device.controller_key = match device.controller_key {
            Some(key) => Some(self.renamed.get(&key).copied().unwrap_or(key)),
            None => before.controller_key,
        };
        device.unit_number = device.unit_number.or(before.unit_number);
        if (device.controller_key, device.unit_number) != (before.controller_key, before.unit_number) {
            let kept = self.devices.remove(at);
            let placed = self.place(index, &mut device);
            self.devices.insert(at, kept);
            placed?;
        }
        if device.backing.is_none() {
            device.backing.clone_from(&before.backing);
        }
        if device.connectable.is_none() {
            device.connectable.clone_from(&before.connectable);
        }
        if let (Some(disk), Some(old)) =
            (device.downcast_mut::<t::VirtualDisk>(), before.downcast_ref::<t::VirtualDisk>())
        {
            self.edit_disk(index, disk, old)?;
        } else if let Some(card) = device.downcast_mut::<t::VirtualEthernetCard>() {
            if card.mac_address.is_none()
                && let Some(old) = before.downcast_ref::<t::VirtualEthernetCard>()
            {
                card.mac_address.clone_from(&old.mac_address);
                card.address_type.clone_from(&old.address_type);
            }
            self.check_network(index, card)?;
        }
        self.devices[at] = device;
        Ok(())
    }

    fn edit_disk(&mut self, index: i32, disk: &mut t::VirtualDisk, old: &t::VirtualDisk) -> Outcome<()> {
        let mut backing = flat_backing(index, disk)?;
        let Some(before) = machine::flat(old) else {
            return Err(fault(t::NotSupported::default(), "Only disks in files can be edited."));
        };
        if !backing.base.file_name.is_empty() && backing.base.file_name != before.base.file_name {
            return Err(invalid(index, "device.backing.fileName", "Remove the disk and add the other one."));
        }
        let mode = backing.disk_mode.clone();
        if mode != before.disk_mode && self.target.has_snapshots {
            return Err(operation(index, "The mode of a disk cannot change while there are snapshots."));
        }
        // What is not said stays as it was; what the host derives is not the client's to say.
        backing = before.clone();
        if !mode.is_empty() {
            backing.disk_mode = mode;
        }
        disk.base.backing = Some(Poly::new(backing.clone()));
        disk.disk_object_id.clone_from(&old.disk_object_id);
        disk.v_disk_id.clone_from(&old.v_disk_id);
        if disk.shares.is_none() {
            disk.shares.clone_from(&old.shares);
        }
        let (now, was) = (wished_capacity(disk, old), machine::capacity(old));
        if now < was {
            return Err(invalid(index, "device.capacityInKB", "A disk cannot become smaller."));
        }
        if now > was {
            if self.target.has_snapshots {
                return Err(operation(index, "A disk cannot grow while there are snapshots."));
            }
            let path = backing.base.file_name.parse();
            let path: DatastorePath = path.map_err(|error| from_store(&error, &backing.base.file_name))?;
            self.files.push(FileWork::Grow { path, capacity: now });
        }
        hardware::set_capacity(disk, now);
        Ok(())
    }

    fn remove(&mut self, index: i32, change: &Change) -> Outcome<()> {
        let at = self.position(index, change.device.key)?;
        let device = &self.devices[at];
        if self.devices.iter().any(|other| other.controller_key == Some(device.key)) {
            return Err(operation(index, "The controller has devices."));
        }
        if self.target.power == Power::On && device.is::<t::VirtualIDEController>() {
            return Err(crate::power::wrong_state(Power::Off, self.target.power));
        }
        let destroy = matches!(change.file_operation, Some(t::VirtualDeviceConfigSpecFileOperation::Destroy));
        if let Some(backing) =
            device.downcast_ref::<t::VirtualDisk>().and_then(machine::flat).filter(|_| destroy)
        {
            if self.target.has_snapshots {
                return Err(operation(index, "The disk is in a snapshot, and cannot be deleted."));
            }
            let path: DatastorePath = backing
                .base
                .file_name
                .parse()
                .map_err(|error| from_store(&error, &backing.base.file_name))?;
            self.files.push(FileWork::Delete { path });
        }
        self.devices.remove(at);
        Ok(())
    }

    fn find(&self, key: i32) -> Option<&Device> {
        self.devices.iter().find(|device| device.key == key)
    }

    fn position(&self, index: i32, key: i32) -> Outcome<usize> {
        let found = self.devices.iter().position(|device| device.key == key);
        found.ok_or_else(|| invalid(index, "device.key", &format!("There is no device {key}.")))
    }
}

/// The backing of a disk as one in files: older forms become the one that a host of today makes of them.
fn flat_backing(index: i32, disk: &t::VirtualDisk) -> Outcome<t::VirtualDiskFlatVer2BackingInfo> {
    let Some(backing) = &disk.base.backing else { return Ok(chain::new_backing(true, false)) };
    if let Some(flat) = backing.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>() {
        let defaults =
            chain::new_backing(flat.thin_provisioned == Some(true), flat.eagerly_scrub == Some(true));
        let mut full = flat.clone();
        if full.disk_mode.is_empty() {
            full.disk_mode = defaults.disk_mode;
        }
        full.split = full.split.or(defaults.split);
        full.write_through = full.write_through.or(defaults.write_through);
        full.thin_provisioned = full.thin_provisioned.or(defaults.thin_provisioned);
        full.eagerly_scrub = full.eagerly_scrub.or(defaults.eagerly_scrub);
        full.digest_enabled = full.digest_enabled.or(defaults.digest_enabled);
        full.sharing = full.sharing.or(defaults.sharing);
        full.base.backing_object_id = full.base.backing_object_id.or(defaults.base.backing_object_id);
        return Ok(full);
    }
    let file = backing.downcast_ref::<t::VirtualDeviceFileBackingInfo>();
    match backing.type_name() {
        "VirtualDiskSparseVer1BackingInfo"
        | "VirtualDiskSparseVer2BackingInfo"
        | "VirtualDiskFlatVer1BackingInfo"
        | "VirtualDiskSeSparseBackingInfo" => {
            let mut full = chain::new_backing(true, false);
            if let Some(file) = file {
                full.base = file.clone();
            }
            Ok(full)
        }
        other => {
            Err(invalid(index, "device.backing", &format!("The simulator has no disks with a {other}.")))
        }
    }
}

/// The capacity that an edit asks for. Clients change one of the two fields and leave the other as they read it.
fn wished_capacity(disk: &t::VirtualDisk, old: &t::VirtualDisk) -> u64 {
    let kib = u64::try_from(disk.capacity_in_kb).unwrap_or(0).saturating_mul(1024);
    match disk.capacity_in_bytes {
        Some(bytes) if disk.capacity_in_bytes != old.capacity_in_bytes => u64::try_from(bytes).unwrap_or(0),
        _ if disk.capacity_in_kb != old.capacity_in_kb => kib,
        _ => machine::capacity(old),
    }
}

fn invalid(index: i32, property: &str, message: &str) -> Fault {
    let base =
        t::InvalidVmConfig { property: Some(format!("virtualDeviceSpec.{property}")), ..Default::default() };
    let value = t::InvalidDeviceSpec { base, device_index: index };
    fault(value, format!("Invalid configuration for device '{index}': {message}"))
}

fn operation(index: i32, message: &str) -> Fault {
    let base = t::InvalidDeviceSpec { device_index: index, ..Default::default() };
    let value = t::InvalidDeviceOperation { base, ..Default::default() };
    fault(value, format!("Invalid operation for device '{index}': {message}"))
}
