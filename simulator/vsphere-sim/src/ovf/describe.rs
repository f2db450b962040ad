//! From a machine to an envelope.

use vim_api::dynamic::{Poly, Value, get_path};
use vim_api::types as t;
use vim_api::xml::Writer;
use vim_api::{ApiVersion, MoRef, mo};

use super::problem::Problems;
use crate::fault::{Outcome, invalid_argument, not_found};
use crate::inventory::Node;
use crate::lease::{DiskDevice, device_path, disks_of, text};
use crate::wire::{Answer, Call};
use crate::world::Shared;

const NAMESPACES: [(&str, &str); 6] = [
    ("xmlns", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:rasd", "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"),
    ("xmlns:vssd", "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"),
    ("xmlns:vmw", "http://www.vmware.com/schema/ovf"),
    ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
];

const FORMAT: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

/// `CreateDescriptor` of a machine, or of one of its snapshots.
pub(super) fn create(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let object: MoRef<mo::ManagedEntity> = call.required("obj")?;
    let params: t::OvfCreateDescriptorParams = call.required("cdp")?;
    let config = shared.read(|world| {
        let object = object.cast();
        let machine = match world.node(&object, None) {
            Some(Node::Machine(machine)) => machine,
            Some(_) => return Err(invalid_argument("obj", "Only virtual machines are described here.")),
            None => return Err(not_found(&object)),
        };
        let Some(wanted) = &params.snapshot else { return world.config_of(Node::Machine(machine)) };
        match machine.snapshot(wanted.value()) {
            Some(snapshot) => world.config_of(Node::Snapshot(machine, snapshot)),
            None => Err(invalid_argument("cdp.snapshot", "The machine has no such snapshot.")),
        }
    })?;
    let mut problems = Problems::default();
    let name = params.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| config.name.clone());
    let description = Description {
        entity: object.value(),
        name: &name,
        annotation: params.description.as_deref().or(config.annotation.as_deref()).unwrap_or_default(),
        files: &params.ovf_files,
        config: &config,
        out: Writer::new(ApiVersion::LATEST),
    };
    let text = description.write(&mut problems);
    if !params.export_option.is_empty() {
        problems.warning(t::OvfExport::default(), "Export options change nothing here.");
    }
    let result = t::OvfCreateDescriptorResult {
        ovf_descriptor: text,
        error: problems.errors,
        warning: problems.warnings,
        include_image_files: Some(false),
        ..Default::default()
    };
    Ok(Answer::one(call, &result))
}

struct Description<'a> {
    entity: &'a str,
    name: &'a str,
    annotation: &'a str,
    files: &'a [t::OvfFile],
    config: &'a t::VirtualMachineConfigInfo,
    out: Writer,
}

/// An `Item`, whose elements stand in the order of their names.
struct Item<'a> {
    /// Names, without the prefix, and values.
    elements: Vec<(&'a str, String)>,
}

impl<'a> Item<'a> {
    fn new(instance: usize, kind: i32, name: &str) -> Self {
        let elements = vec![
            ("ElementName", name.to_owned()),
            ("InstanceID", instance.to_string()),
            ("ResourceType", kind.to_string()),
        ];
        Self { elements }
    }

    fn with(mut self, name: &'a str, value: impl ToString) -> Self {
        self.elements.push((name, value.to_string()));
        self
    }
}

impl Description<'_> {
    fn write(mut self, problems: &mut Problems) -> String {
        self.out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.out.open_with("Envelope", &NAMESPACES);
        let config = self.config;
        let disks = disks_of(&config.hardware.device);
        let file_ids = self.references(&disks, problems);
        self.disk_section(&disks, &file_ids);
        self.network_section();
        self.out.open_with("VirtualSystem", &[("ovf:id", self.name)]);
        self.info("A virtual machine");
        self.element("Name", self.name);
        let os = cim_os(&config.guest_id).to_string();
        self.out.open_with("OperatingSystemSection", &[("ovf:id", &os), ("vmw:osType", &config.guest_id)]);
        self.info("The kind of guest operating system");
        self.element("Description", &config.guest_full_name);
        self.out.close("OperatingSystemSection");
        if !self.annotation.is_empty() {
            self.out.open_with("AnnotationSection", &[("ovf:required", "false")]);
            self.info("A note");
            self.element("Annotation", self.annotation);
            self.out.close("AnnotationSection");
        }
        self.hardware_section(&disks, problems);
        self.out.close("VirtualSystem");
        self.out.close("Envelope");
        self.out.finish()
    }

    /// Answers the id of each disk's file, in the order of the disks.
    fn references(&mut self, disks: &[DiskDevice<'_>], problems: &mut Problems) -> Vec<Option<usize>> {
        let files = self.files;
        self.out.open("References");
        for (at, file) in files.iter().enumerate() {
            let (id, size) = (format!("file{}", at + 1), file.size.to_string());
            let mut attributes = vec![("ovf:href", file.path.as_str()), ("ovf:id", &id), ("ovf:size", &size)];
            if let Some(compression) = &file.compression_method {
                attributes.push(("ovf:compression", compression));
            }
            self.out.open_with("File", &attributes);
            self.out.close("File");
        }
        self.out.close("References");
        let id_of = |disk: &DiskDevice<'_>| format!("/{}/{}", self.entity, disk.path);
        let nvram = format!("/{}/nvram", self.entity);
        for file in files.iter().filter(|file| file.device_id != nvram) {
            if !disks.iter().any(|disk| id_of(disk) == file.device_id) {
                let value = t::OvfDiskMappingNotFound {
                    disk_name: file.device_id.clone(),
                    vm_name: self.name.to_owned(),
                    ..Default::default()
                };
                problems.error(value, format!("The machine has no disk \"{}\".", file.device_id));
            }
        }
        disks.iter().map(|disk| files.iter().position(|file| file.device_id == id_of(disk))).collect()
    }

    fn disk_section(&mut self, disks: &[DiskDevice<'_>], file_ids: &[Option<usize>]) {
        if disks.is_empty() {
            return;
        }
        self.out.open("DiskSection");
        self.info("The virtual disks");
        for (at, (disk, file)) in disks.iter().zip(file_ids).enumerate() {
            let (id, capacity) = (disk_id(at), disk.capacity.to_string());
            let reference = file.map(|file| format!("file{}", file + 1));
            let populated =
                file.and_then(|file| self.files.get(file)?.populated_size).map(|size| size.to_string());
            let mut attributes = vec![
                ("ovf:capacity", capacity.as_str()),
                ("ovf:capacityAllocationUnits", "byte"),
                ("ovf:diskId", &id),
            ];
            if let Some(reference) = &reference {
                attributes.extend([("ovf:fileRef", reference.as_str()), ("ovf:format", FORMAT)]);
            }
            if let Some(populated) = &populated {
                attributes.push(("ovf:populatedSize", populated));
            }
            self.out.open_with("Disk", &attributes);
            self.out.close("Disk");
        }
        self.out.close("DiskSection");
    }

    fn network_section(&mut self) {
        let mut names: Vec<String> = self.cards().map(network_of).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return;
        }
        self.out.open("NetworkSection");
        self.info("The logical networks");
        for name in names {
            self.out.open_with("Network", &[("ovf:name", &name)]);
            self.element("Description", &format!("The {name} network"));
            self.out.close("Network");
        }
        self.out.close("NetworkSection");
    }

    fn cards(&self) -> impl Iterator<Item = &Poly<t::VirtualDevice>> {
        // What has a hardware address is an Ethernet card, of whatever kind.
        let devices = self.config.hardware.device.iter();
        devices.filter(|device| matches!(get_path(device.as_object(), "macAddress"), Ok(Some(_))))
    }

    fn hardware_section(&mut self, disks: &[DiskDevice<'_>], problems: &mut Problems) {
        let config = self.config;
        self.out.open("VirtualHardwareSection");
        self.info("Virtual hardware requirements");
        self.out.open("System");
        self.element("vssd:ElementName", "Virtual Hardware Family");
        self.element("vssd:InstanceID", "0");
        self.element("vssd:VirtualSystemIdentifier", self.name);
        self.element("vssd:VirtualSystemType", &config.version);
        self.out.close("System");
        let cpus = config.hardware.num_cpu;
        self.item(
            Item::new(1, 3, &format!("{cpus} virtual CPU(s)"))
                .with("AllocationUnits", "hertz * 10^6")
                .with("Description", "Number of Virtual CPUs")
                .with("VirtualQuantity", cpus)
                .with("CoresPerSocket", config.hardware.num_cores_per_socket.unwrap_or(1)),
        );
        let memory = config.hardware.memory_mb;
        self.item(
            Item::new(2, 4, &format!("{memory}MB of memory"))
                .with("AllocationUnits", "byte * 2^20")
                .with("Description", "Memory Size")
                .with("VirtualQuantity", memory),
        );
        let mut instance = 3;
        let mut controllers = Vec::new();
        for device in &config.hardware.device {
            let Some((kind, subtype)) = controller_kind(device.type_name()) else { continue };
            let bus = number(device, "busNumber").unwrap_or(0);
            let mut item = Item::new(instance, kind, &label(device)).with("Address", bus);
            if !subtype.is_empty() {
                item = item.with("ResourceSubType", subtype);
            }
            self.item(item);
            controllers.push((device.key, instance));
            instance += 1;
        }
        for (at, disk) in disks.iter().enumerate() {
            let key = disk.disk.base.controller_key;
            let Some((_, parent)) = controllers.iter().find(|(known, _)| Some(*known) == key) else {
                let value = t::OvfUnableToExportDisk { disk_name: disk.path.clone(), ..Default::default() };
                problems.error(value, format!("The controller of {} cannot be described.", disk.path));
                continue;
            };
            let item = Item::new(instance, 17, &format!("Hard Disk {}", at + 1))
                .with("AddressOnParent", disk.disk.base.unit_number.unwrap_or(0))
                .with("HostResource", format!("ovf:/disk/{}", disk_id(at)))
                .with("Parent", parent);
            self.item(item);
            instance += 1;
        }
        let cards: Vec<_> =
            self.cards().map(|card| (label(card), network_of(card), card.type_name().to_owned())).collect();
        for (at, (label, network, kind)) in cards.into_iter().enumerate() {
            let subtype = kind.trim_start_matches("Virtual");
            let subtype = if subtype == "Vmxnet3" { "VmxNet3" } else { subtype };
            let item = Item::new(instance, 10, &label)
                .with("AddressOnParent", at + 7)
                .with("AutomaticAllocation", true)
                .with("Connection", network)
                .with("ResourceSubType", subtype);
            self.item(item);
            instance += 1;
        }
        self.left_out(problems);
        if let Some(firmware) = &config.firmware {
            let attributes = [("ovf:required", "false"), ("vmw:key", "firmware"), ("vmw:value", firmware)];
            self.out.open_with("vmw:Config", &attributes);
            self.out.close("vmw:Config");
        }
        let nvram = format!("/{}/nvram", self.entity);
        if let Some(at) = self.files.iter().position(|file| file.device_id == nvram) {
            let value = format!("ovf:/file/file{}", at + 1);
            let attributes = [("ovf:required", "false"), ("vmw:key", "nvram"), ("vmw:value", value.as_str())];
            self.out.open_with("vmw:ExtraConfig", &attributes);
            self.out.close("vmw:ExtraConfig");
        }
        self.out.close("VirtualHardwareSection");
    }

    /// Devices that a descriptor says nothing of, other than those that every machine has.
    fn left_out(&self, problems: &mut Problems) {
        const USUAL: [&str; 7] = [
            "VirtualDisk",
            "VirtualPS2Controller",
            "VirtualPCIController",
            "VirtualSIOController",
            "VirtualKeyboard",
            "VirtualPointingDevice",
            "VirtualMachineVMCIDevice",
        ];
        let devices = self.config.hardware.device.iter();
        for device in devices.filter(|device| !device.is::<t::VirtualMachineVideoCard>()) {
            let name = device.type_name();
            let is_card = matches!(get_path(device.as_object(), "macAddress"), Ok(Some(_)));
            if USUAL.contains(&name) || controller_kind(name).is_some() || is_card {
                continue;
            }
            let path = device_path(&self.config.hardware.device, device);
            let value = t::OvfHardwareExport {
                device: Some(device.clone()),
                vm_path: self.config.files.vm_path_name.clone().unwrap_or_default(),
                ..Default::default()
            };
            problems.warning(value, format!("The {name} at {path} is left out of the descriptor."));
        }
    }

    fn item(&mut self, mut item: Item<'_>) {
        // The schema wants CIM's elements in alphabetical order, and those of others behind them.
        item.elements.sort_by_key(|(name, _)| (*name == "CoresPerSocket", *name));
        self.out.open("Item");
        for (name, value) in &item.elements {
            match *name {
                "CoresPerSocket" => {
                    self.out.open_with("vmw:CoresPerSocket", &[("ovf:required", "false")]);
                    self.out.text(value);
                    self.out.close("vmw:CoresPerSocket");
                }
                name => self.element(&format!("rasd:{name}"), value),
            }
        }
        self.out.close("Item");
    }

    fn info(&mut self, what: &str) {
        self.element("Info", what);
    }

    fn element(&mut self, name: &str, text: &str) {
        self.out.open(name);
        self.out.text(text);
        self.out.close(name);
    }
}

fn disk_id(at: usize) -> String {
    format!("vmdisk{}", at + 1)
}

fn label(device: &Poly<t::VirtualDevice>) -> String {
    text(device.as_object(), "deviceInfo.label").unwrap_or_else(|| device.type_name().to_owned())
}

fn network_of(card: &Poly<t::VirtualDevice>) -> String {
    text(card.as_object(), "backing.deviceName").unwrap_or_default()
}

fn number(device: &Poly<t::VirtualDevice>, path: &str) -> Option<i32> {
    match get_path(device.as_object(), path) {
        Ok(Some(Value::Int(number))) => Some(number),
        _ => None,
    }
}

/// CIM's number and VMware's name of a kind of controller.
fn controller_kind(type_name: &str) -> Option<(i32, &'static str)> {
    Some(match type_name {
        "VirtualIDEController" => (5, ""),
        "VirtualLsiLogicController" => (6, "lsilogic"),
        "VirtualLsiLogicSASController" => (6, "lsilogicsas"),
        "VirtualBusLogicController" => (6, "buslogic"),
        "ParaVirtualSCSIController" => (6, "VirtualSCSI"),
        "VirtualAHCIController" => (20, "vmware.sata.ahci"),
        "VirtualNVMEController" => (20, "vmware.nvme.controller"),
        _ => return None,
    })
}

/// CIM's number of an operating system, of which VMware knows many more.
fn cim_os(guest_id: &str) -> i32 {
    let is_64 = guest_id.contains("64");
    match guest_id {
        _ if guest_id.starts_with("debian") => 95 + i32::from(is_64),
        _ if guest_id.starts_with("ubuntu") => 93 + i32::from(is_64),
        _ if guest_id.starts_with("rhel") => 79 + i32::from(is_64),
        _ if guest_id.starts_with("centos") => 106 + i32::from(is_64),
        _ if guest_id.to_ascii_lowercase().contains("linux") => {
            if is_64 {
                101
            } else {
                36
            }
        }
        _ if is_64 => 102,
        _ => 1,
    }
}
