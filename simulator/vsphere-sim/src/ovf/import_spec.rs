//! From an envelope to the specification of a machine, and the files that it waits for.

use std::collections::BTreeMap;

use vim_api::dynamic::{IsA, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::envelope::{DiskRef, Envelope, FileRef, Item, System, bytes};
use super::problem::Problems;
use super::{NEWEST_HARDWARE, PROVISIONING, option};
use crate::lease::device_path;
use crate::world::World;

/// Where the machine is to be.
pub(super) struct Place<'a> {
    pub(super) world: &'a World,
    pub(super) pool: &'a MoRef<mo::ResourcePool>,
    pub(super) datastore: &'a MoRef<mo::Datastore>,
}

/// Kinds of hardware, as CIM numbers them.
mod cim {
    pub(super) const OTHER: i32 = 1;
    pub(super) const CPU: i32 = 3;
    pub(super) const MEMORY: i32 = 4;
    pub(super) const IDE: i32 = 5;
    pub(super) const SCSI: i32 = 6;
    pub(super) const ETHERNET: i32 = 10;
    pub(super) const CD: i32 = 15;
    pub(super) const DVD: i32 = 16;
    pub(super) const DISK: i32 = 17;
    pub(super) const SATA: i32 = 20;
    pub(super) const VIDEO: i32 = 24;
}

/// The key of the first of two controllers that every machine has.
const IDE_KEY: i32 = 200;

/// A SCSI controller's own unit.
const SCSI_OWN_UNIT: i32 = 7;

/// The specification and the files to be sent. `None`, with the reasons among the problems, if there is no way.
pub(super) fn make(
    place: &Place<'_>,
    envelope: &Envelope,
    params: &t::OvfCreateImportSpecParams,
    problems: &mut Problems,
) -> Option<(t::VirtualMachineImportSpec, Vec<t::OvfFileItem>)> {
    if envelope.is_collection {
        let value =
            t::OvfUnsupportedElement { name: "VirtualSystemCollection".to_owned(), ..Default::default() };
        problems.error(value, "A package of several machines cannot be imported here.");
        return None;
    }
    let system = &envelope.system;
    if !system.has_hardware {
        problems.missing("VirtualHardwareSection");
        return None;
    }
    let chosen = match params.base.deployment_option.as_str() {
        "" => envelope.default_option(),
        option => option,
    };
    if !chosen.is_empty() && !envelope.options.iter().any(|option| option.id == chosen) {
        problems.unknown_option(chosen);
    }
    let provisioning = params.disk_provisioning.as_deref().unwrap_or("flat");
    if !PROVISIONING.contains(&provisioning) {
        let value = t::OvfUnsupportedDiskProvisioning {
            disk_provisioning: provisioning.to_owned(),
            supported_disk_provisioning: PROVISIONING.join(", "),
            ..Default::default()
        };
        problems.error(value, format!("Disks cannot be provisioned as \"{provisioning}\" here."));
    }
    let name = match params.entity_name.as_str() {
        "" => system.shown_name(),
        name => name,
    };
    let config_spec = t::VirtualMachineConfigSpec {
        name: Some(name.to_owned()),
        version: hardware_version(system, problems),
        guest_id: Some(guest_id(system, problems)),
        annotation: Some(system.annotation.clone()).filter(|text| !text.is_empty()),
        files: Some(Box::new(t::VirtualMachineFileInfo {
            vm_path_name: Some(format!("[{}]", text(place.world, &place.datastore.cast(), "name")?)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let mut build = Build {
        place,
        envelope,
        params,
        problems,
        name,
        provisioning,
        spec: config_spec,
        files: Vec::new(),
        controllers: BTreeMap::new(),
        next_key: -1,
    };
    let in_force = |item: &&Item| {
        item.kind != Item::BOUND
            && (item.options.is_empty() || item.options.split_whitespace().any(|option| option == chosen))
    };
    // Controllers first, as devices may stand before them.
    let (controllers, devices): (Vec<_>, Vec<_>) = system
        .items
        .iter()
        .filter(in_force)
        .partition(|item| matches!(item.kind, cim::IDE | cim::SCSI | cim::SATA));
    controllers.into_iter().for_each(|item| build.controller(item));
    devices.into_iter().for_each(|item| build.device(item));
    build.settings(system);
    build.not_applied(system);
    let Build { spec, files, .. } = build;
    let import = t::VirtualMachineImportSpec {
        config_spec: spec,
        res_pool_entity: Some(place.pool.clone()),
        ..Default::default()
    };
    Some((import, files))
}

/// The newest hardware version that the package names and that is to be had here.
pub(super) fn hardware_version(system: &System, problems: &mut Problems) -> Option<String> {
    let number = |name: &str| name.trim().strip_prefix("vmx-")?.parse::<u32>().ok();
    let named = system.family.split([' ', ',']).filter(|name| !name.is_empty());
    let found = named.filter(|name| number(name).is_some_and(|number| number <= NEWEST_HARDWARE));
    let newest = found.max_by_key(|name| number(name));
    if newest.is_none() && !system.family.is_empty() {
        let value = t::OvfNoSupportedHardwareFamily { version: system.family.clone(), ..Default::default() };
        let message = format!("No host here runs machines of the family \"{}\".", system.family);
        problems.error(value, message);
    }
    newest.map(str::to_owned)
}

/// What VMware calls the guest, or what comes near to what CIM does.
fn guest_id(system: &System, problems: &mut Problems) -> String {
    if let Some(id) = system.guest_id.as_ref().filter(|id| !id.is_empty()) {
        return id.clone();
    }
    let (known, id) = match system.os {
        Some(1) => (true, "otherGuest"),
        Some(36) => (true, "otherLinuxGuest"),
        Some(79) => (true, "rhel7Guest"),
        Some(80) => (true, "rhel7_64Guest"),
        Some(93) => (true, "ubuntuGuest"),
        Some(94) => (true, "ubuntu64Guest"),
        Some(95) => (true, "debian11Guest"),
        Some(96) => (true, "debian11_64Guest"),
        Some(101) => (true, "otherLinux64Guest"),
        Some(102) => (true, "otherGuest64"),
        Some(107) => (true, "centos7_64Guest"),
        _ => (false, "otherGuest64"),
    };
    if !known {
        let value = t::OvfMappedOsId {
            ovf_id: system.os.unwrap_or(0),
            target_description: id.to_owned(),
            ..Default::default()
        };
        problems.warning(value, format!("The guest's operating system is taken to be {id}."));
    }
    id.to_owned()
}

/// A controller of the package.
struct Controller {
    key: i32,
    scsi: bool,
    used: Vec<i32>,
}

struct Build<'a> {
    place: &'a Place<'a>,
    envelope: &'a Envelope,
    params: &'a t::OvfCreateImportSpecParams,
    problems: &'a mut Problems,
    name: &'a str,
    provisioning: &'a str,
    spec: t::VirtualMachineConfigSpec,
    files: Vec<t::OvfFileItem>,
    /// By the instance ids of their items.
    controllers: BTreeMap<String, Controller>,
    /// Keys of new devices are below zero; the server gives them others.
    next_key: i32,
}

impl<'a> Build<'a> {
    fn controller(&mut self, item: &Item) {
        let bus_number = item.address.unwrap_or_else(|| {
            let same = self.envelope.system.items.iter().filter(|other| other.kind == item.kind);
            same.take_while(|other| other.instance != item.instance).count().try_into().unwrap_or(0)
        });
        let key = if item.kind == cim::IDE { IDE_KEY + bus_number } else { self.new_key() };
        let base = t::VirtualController {
            base: t::VirtualDevice { key, ..Default::default() },
            bus_number,
            ..Default::default()
        };
        let scsi = t::VirtualSCSIController {
            base: base.clone(),
            shared_bus: t::VirtualSCSISharing::NoSharing,
            ..Default::default()
        };
        match (item.kind, item.subtype.to_ascii_lowercase().as_str()) {
            // Every machine has both of these.
            (cim::IDE, _) if (0..2).contains(&bus_number) => {}
            (cim::SCSI, "" | "lsilogic") => self.add(t::VirtualLsiLogicController { base: scsi }),
            (cim::SCSI, "lsilogicsas") => self.add(t::VirtualLsiLogicSASController { base: scsi }),
            (cim::SCSI, "buslogic") => self.add(t::VirtualBusLogicController { base: scsi }),
            (cim::SCSI, "virtualscsi") => self.add(t::ParaVirtualSCSIController { base: scsi }),
            (cim::SATA, "" | "ahci" | "vmware.sata.ahci") => {
                self.add(t::VirtualAHCIController { base: t::VirtualSATAController { base } });
            }
            (cim::SATA, "vmware.nvme.controller") => {
                self.add(t::VirtualNVMEController { base, ..Default::default() });
            }
            _ => return self.unsupported(item),
        }
        let controller = Controller { key, scsi: item.kind == cim::SCSI, used: Vec::new() };
        if self.controllers.insert(item.instance.clone(), controller).is_some() {
            self.problems.bad_value("InstanceID", &item.instance, "stands twice");
        }
    }

    fn device(&mut self, item: &Item) {
        for (key, required) in &item.settings {
            let value = t::OvfUnsupportedElement { name: "Config".to_owned(), ..Default::default() };
            self.problems.unless(
                *required,
                value,
                format!("{}: the setting {key} is not supported.", item.name),
            );
        }
        match item.kind {
            cim::CPU => self.cpu(item),
            cim::MEMORY => self.memory(item),
            cim::DISK => self.disk(item),
            cim::ETHERNET => self.card(item),
            cim::CD | cim::DVD => self.cdrom(item),
            // What every machine has.
            cim::VIDEO => {}
            cim::OTHER if item.subtype.eq_ignore_ascii_case("vmware.vmci") => {}
            _ => self.unsupported(item),
        }
    }

    fn cpu(&mut self, item: &Item) {
        match item.quantity.and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0) {
            Some(count) => self.spec.num_cpus = Some(count),
            None => self.problems.bad_value("VirtualQuantity", &item.name, "has no number of CPUs"),
        }
        self.spec.num_cores_per_socket = item.cores_per_socket;
    }

    fn memory(&mut self, item: &Item) {
        // Without units it is megabytes, as early packages have it.
        let units = if item.units.is_empty() { "MegaBytes" } else { &item.units };
        let memory = item.quantity.and_then(|count| bytes(count, units)).map(|bytes| bytes >> 20);
        match memory.and_then(|memory| i64::try_from(memory).ok()).filter(|memory| *memory > 0) {
            Some(memory) => self.spec.memory_mb = Some(memory),
            None => self.problems.bad_value("AllocationUnits", &item.units, "makes no size of a memory"),
        }
    }

    fn disk(&mut self, item: &Item) {
        let Some(resource) = item.resources.first() else { return self.problems.missing("HostResource") };
        let Some(disk) =
            referred(resource, "disk").and_then(|id| self.envelope.disks.iter().find(|disk| disk.id == id))
        else {
            return self.problems.dangling("HostResource", "HostResource", resource);
        };
        let capacity =
            i64::try_from(disk.capacity).ok().filter(|capacity| *capacity > 0 && capacity % 1024 == 0);
        let Some(capacity) = capacity else {
            let why = "has a capacity that no disk can have";
            return self.problems.bad_value("Disk", &disk.id, why);
        };
        if disk.has_parent {
            return self.problems.unsupported_value("Disk", "parentRef", &disk.id, "disks come one by one");
        }
        let Some((controller_key, unit)) = self.place_on(item) else { return };
        let (thin, eager) = (
            matches!(self.provisioning, "thin" | "sparse" | "monolithicSparse"),
            self.provisioning == "eagerZeroedThick",
        );
        let backing = t::VirtualDiskFlatVer2BackingInfo {
            disk_mode: "persistent".to_owned(),
            thin_provisioned: Some(thin),
            eagerly_scrub: Some(eager),
            ..Default::default()
        };
        let device = t::VirtualDevice {
            key: self.new_key(),
            backing: Some(Poly::new(backing)),
            controller_key: Some(controller_key),
            unit_number: Some(unit),
            ..Default::default()
        };
        if let Some(file) = self.file_of(disk) {
            self.wait_for(file, cim::DISK, false, &device);
        }
        self.add_with_file(t::VirtualDisk {
            base: device,
            capacity_in_kb: capacity / 1024,
            capacity_in_bytes: Some(capacity),
            ..Default::default()
        });
    }

    /// The file that a disk is filled from, if it can be taken.
    fn file_of(&mut self, disk: &DiskRef) -> Option<&'a FileRef> {
        let id = disk.file.as_deref()?;
        let Some(file) = self.envelope.files.iter().find(|file| file.id == id) else {
            self.problems.dangling("Disk", "fileRef", id);
            return None;
        };
        let is_stream = ["#streamoptimized", "#compressed"];
        if !is_stream.iter().any(|end| disk.format.to_ascii_lowercase().ends_with(end)) {
            let why = "only streamOptimized disks are taken";
            self.problems.unsupported_value("Disk", "format", &disk.format, why);
        }
        if let Some(kind) = &file.compression {
            self.problems.unsupported_value("File", "compression", kind, "files are taken as they are");
        }
        if file.chunked {
            self.problems.unsupported_value("File", "chunkSize", &file.href, "files are taken whole");
        }
        Some(file)
    }

    fn wait_for(&mut self, file: &FileRef, cim_type: i32, create: bool, device: &t::VirtualDevice) {
        let path = device_path(self.spec.device_change.iter().map(|change| &change.device), device);
        self.files.push(file_item(file, format!("/{}/{path}", self.name), cim_type, create));
    }

    fn cdrom(&mut self, item: &Item) {
        if let Some(resource) = item.resources.first() {
            // An image would have to be sent to a place of its own.
            return self
                .unsupported(&Item { name: format!("{} with {resource}", item.name), ..item.clone() });
        }
        let Some((controller_key, unit)) = self.place_on(item) else { return };
        let backing = t::VirtualCdromRemotePassthroughBackingInfo {
            base: t::VirtualDeviceRemoteDeviceBackingInfo {
                use_auto_detect: Some(false),
                ..Default::default()
            },
            exclusive: false,
        };
        let device = t::VirtualDevice {
            key: self.new_key(),
            backing: Some(Poly::new(backing)),
            controller_key: Some(controller_key),
            unit_number: Some(unit),
            ..Default::default()
        };
        self.add(t::VirtualCdrom { base: device });
    }

    fn card(&mut self, item: &Item) {
        let Some(name) = item.connections.first() else { return self.problems.missing("Connection") };
        if !self.envelope.networks.iter().any(|(known, _)| known == name) {
            return self.problems.dangling("Connection", "Connection", name);
        }
        let Some((network, device_name)) = self.network(name) else { return };
        let backing = t::VirtualEthernetCardNetworkBackingInfo {
            base: t::VirtualDeviceDeviceBackingInfo { device_name, ..Default::default() },
            network: Some(network),
            ..Default::default()
        };
        let base = t::VirtualEthernetCard {
            base: t::VirtualDevice {
                key: self.new_key(),
                backing: Some(Poly::new(backing)),
                connectable: Some(Box::new(t::VirtualDeviceConnectInfo {
                    start_connected: true,
                    allow_guest_control: true,
                    connected: true,
                    ..Default::default()
                })),
                ..Default::default()
            },
            address_type: Some("generated".to_owned()),
            wake_on_lan_enabled: Some(true),
            ..Default::default()
        };
        // Several kinds may be named, the preferred one first.
        let kinds = item.subtype.to_ascii_lowercase();
        for kind in kinds.split([' ', ',']) {
            return match kind {
                "" | "e1000" => self.add(t::VirtualE1000 { base }),
                "e1000e" => self.add(t::VirtualE1000e { base }),
                "pcnet32" => self.add(t::VirtualPCNet32 { base }),
                "vmxnet2" => self.add(t::VirtualVmxnet2 { base: t::VirtualVmxnet { base } }),
                "vmxnet3" => {
                    self.add(t::VirtualVmxnet3 { base: t::VirtualVmxnet { base }, ..Default::default() })
                }
                _ => continue,
            };
        }
        self.unsupported(item);
    }

    /// The network that stands for one of the package: what the caller says, one of the same name, or any.
    fn network(&mut self, name: &str) -> Option<(MoRef<mo::Network>, String)> {
        let world = self.place.world;
        let named =
            |network: &MoRef<mo::Network>| Some((network.clone(), text(world, &network.cast(), "name")?));
        if let Some(mapping) = self.params.network_mapping.iter().find(|mapping| mapping.name == name) {
            let found = named(&mapping.network);
            if found.is_none() {
                self.problems.dangling("networkMapping", "network", mapping.network.value());
            }
            return found;
        }
        let owner = reference(world, &self.place.pool.cast(), "owner");
        let networks: Vec<_> = owner
            .iter()
            .flat_map(|owner| references(world, owner, "network"))
            .filter_map(|it| named(&it.cast()))
            .collect();
        let found = networks.iter().find(|(_, known)| known == name).or(networks.first()).cloned();
        match &found {
            Some((_, taken)) if taken != name => {
                let message = format!("No network is given for \"{name}\": \"{taken}\" is taken.");
                self.problems.warning(t::OvfImport::default(), message);
            }
            Some(_) => {}
            None => self.problems.error(t::OvfNoHostNic::default(), "There is no network."),
        }
        found
    }

    /// Key and unit of the place where a device is to be.
    fn place_on(&mut self, item: &Item) -> Option<(i32, i32)> {
        let Some(parent) = &item.parent else {
            self.problems.missing("Parent");
            return None;
        };
        let Some(controller) = self.controllers.get_mut(parent) else {
            self.problems.dangling("Parent", "Parent", parent);
            return None;
        };
        let free =
            |unit: &i32| !(controller.used.contains(unit) || controller.scsi && *unit == SCSI_OWN_UNIT);
        let unit = match item.address_on_parent {
            Some(unit) if unit >= 0 && free(&unit) => Some(unit),
            Some(_) => None,
            None => (0..i32::MAX).find(free),
        };
        let Some(unit) = unit else {
            let address = item.address_on_parent.unwrap_or_default().to_string();
            self.problems.bad_value("AddressOnParent", &address, "is no free place on the controller");
            return None;
        };
        controller.used.push(unit);
        Some((controller.key, unit))
    }

    /// `vmw:Config` and `vmw:ExtraConfig`.
    fn settings(&mut self, system: &System) {
        for (key, value, required) in &system.settings {
            let flag = value == "true";
            match key.as_str() {
                "firmware" => self.spec.firmware = Some(value.clone()),
                "cpuHotAddEnabled" => self.spec.cpu_hot_add_enabled = Some(flag),
                "memoryHotAddEnabled" => self.spec.memory_hot_add_enabled = Some(flag),
                _ => {
                    let fault = t::OvfUnsupportedElement { name: "Config".to_owned(), ..Default::default() };
                    self.problems.unless(*required, fault, format!("The setting {key} is not supported."));
                }
            }
        }
        for (key, value) in &system.extra {
            let file = referred(value, "file");
            match (key.as_str(), file.map(|id| self.envelope.files.iter().find(|file| file.id == id))) {
                ("nvram", Some(Some(file))) => {
                    self.files.push(file_item(file, format!("/{}/nvram", self.name), cim::OTHER, true));
                    self.spec.extra_config.push(option(key, &format!("{}.nvram", self.name)));
                }
                (_, Some(None)) => self.problems.dangling("ExtraConfig", "value", value),
                (_, Some(Some(_))) => self.problems.ignored("ExtraConfig", "only the NVRAM may be a file"),
                (_, None) => self.spec.extra_config.push(option(key, value)),
            }
        }
    }

    /// What the package says, and the machine will not have.
    fn not_applied(&mut self, system: &System) {
        if system.products.iter().any(|product| !product.properties.is_empty())
            || !self.params.property_mapping.is_empty()
        {
            let message = "Properties of the product are not handed to the guest here.";
            self.problems.warning(t::OvfImport::default(), message);
        }
    }

    fn unsupported(&mut self, item: &Item) {
        let required = item.required;
        let message =
            format!("{}: hardware of type {} \"{}\" is not supported.", item.name, item.kind, item.subtype);
        if item.subtype.is_empty() {
            let value = t::OvfUnsupportedType {
                name: item.name.clone(),
                instance_id: item.instance.clone(),
                device_type: item.kind,
                ..Default::default()
            };
            return self.problems.unless(required, value, message);
        }
        let value = t::OvfUnsupportedSubType {
            element_name: item.name.clone(),
            instance_id: item.instance.clone(),
            device_type: item.kind,
            device_sub_type: item.subtype.clone(),
            ..Default::default()
        };
        self.problems.unless(required, value, message);
    }

    fn new_key(&mut self) -> i32 {
        let key = self.next_key;
        self.next_key -= 1;
        key
    }

    fn add(&mut self, device: impl IsA<t::VirtualDevice>) {
        self.change(Poly::new(device), None);
    }

    fn add_with_file(&mut self, device: impl IsA<t::VirtualDevice>) {
        self.change(Poly::new(device), Some(t::VirtualDeviceConfigSpecFileOperation::Create));
    }

    fn change(
        &mut self,
        device: Poly<t::VirtualDevice>,
        file_operation: Option<t::VirtualDeviceConfigSpecFileOperation>,
    ) {
        self.spec.device_change.push(Poly::new(t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
            file_operation,
            device,
            ..Default::default()
        }));
    }
}

fn file_item(file: &FileRef, device_id: String, cim_type: i32, create: bool) -> t::OvfFileItem {
    t::OvfFileItem {
        device_id,
        path: file.href.clone(),
        size: file.size.and_then(|size| i64::try_from(size).ok()),
        cim_type,
        create,
        ..Default::default()
    }
}

/// The id in `ovf:/disk/ID` or `/disk/ID`.
fn referred<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let path = text.strip_prefix("ovf:").unwrap_or(text);
    path.strip_prefix('/')?.strip_prefix(what)?.strip_prefix('/')
}

fn text(world: &World, object: &MoRef, name: &str) -> Option<String> {
    match world.property(world.node(object, None)?, crate::inventory::Wanted::whole(name), None)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn reference(world: &World, object: &MoRef, name: &str) -> Option<MoRef> {
    match world.property(world.node(object, None)?, crate::inventory::Wanted::whole(name), None)? {
        Value::MoRef(found) => Some(found),
        _ => None,
    }
}

fn references(world: &World, object: &MoRef, name: &str) -> Vec<MoRef> {
    let value = world
        .node(object, None)
        .and_then(|node| world.property(node, crate::inventory::Wanted::whole(name), None));
    let Some(Value::Array(array)) = value else { return Vec::new() };
    let found = array.into_items().into_iter();
    found.filter_map(|item| if let Value::MoRef(found) = item { Some(found) } else { None }).collect()
}
