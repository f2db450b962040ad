//! The virtual hardware: what a new machine has, and the keys, labels and lists that a host gives its devices.

use sim_store::DatastorePath;
use vim_api::dynamic::{IsA, Poly, Value};
use vim_api::mo;
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

mod defaults;

pub(crate) use defaults::{capability, guest_name};

/// Key of the first SCSI controller; the bus number is added to it.
pub(crate) const SCSI: i32 = 1000;

/// Key of the first disk on a SCSI controller: sixteen times the bus number and the unit are added to it.
pub(crate) const FIRST_DISK: i32 = 2000;

/// A SCSI controller's own unit, which no disk can have.
pub(crate) const SCSI_OWN_UNIT: i32 = 7;

pub(crate) const PCI: i32 = 100;
const IDE: i32 = 200;
const PS2: i32 = 300;
const SIO: i32 = 400;
const VIDEO: i32 = 500;
const KEYBOARD: i32 = 600;
const POINTER: i32 = 700;
const NIC: i32 = 4000;
const VMCI: i32 = 12000;
const SATA: i32 = 15000;
const NVME: i32 = 31000;

/// The hardware of new machines unless it is said otherwise, which is the newest that a server knows: the version of the
/// API from which on there is each.
const VERSIONS: &[(&str, &str)] = &[
    ("6.7", "vmx-14"),
    ("6.7.2", "vmx-15"),
    ("7.0.0.0", "vmx-17"),
    ("7.0.1.0", "vmx-18"),
    ("7.0.2.0", "vmx-19"),
    ("8.0.0.0", "vmx-20"),
    ("8.0.2.0", "vmx-21"),
    ("9.0.0.0", "vmx-22"),
];

/// The newest version of hardware that a server of an API version knows.
pub(crate) fn newest_version(api: ApiVersion) -> &'static str {
    let is_there = |id: &str| ApiVersion::parse(id).is_some_and(|since| since <= api);
    VERSIONS.iter().rfind(|(since, _)| is_there(since)).map_or("vmx-14", |(_, version)| version)
}

/// A configuration without disks and network adapters, as a host makes it of an empty specification.
pub(crate) fn new_config(
    name: &str,
    vmx: &DatastorePath,
    guest_id: &str,
    api: ApiVersion,
) -> t::VirtualMachineConfigInfo {
    let mut config = t::VirtualMachineConfigInfo {
        name: name.to_owned(),
        guest_full_name: guest_name(guest_id).to_owned(),
        guest_id: guest_id.to_owned(),
        version: newest_version(api).to_owned(),
        hardware: t::VirtualHardware {
            num_cpu: 1,
            num_cores_per_socket: Some(1),
            memory_mb: 1024,
            virtual_ich7_m_present: Some(false),
            virtual_smc_present: Some(false),
            device: standard_devices(),
            motherboard_layout: Some("i440bxHostBridge".to_owned()),
            simultaneous_threads: Some(1),
            ..Default::default()
        },
        ..defaults::config()
    };
    set_home(&mut config, vmx);
    config
}

/// Says where a machine's files are.
pub(crate) fn set_home(config: &mut t::VirtualMachineConfigInfo, vmx: &DatastorePath) {
    let folder = format!("{}/", vmx.parent());
    config.files = t::VirtualMachineFileInfo {
        vm_path_name: Some(vmx.to_string()),
        snapshot_directory: Some(folder.clone()),
        suspend_directory: Some(folder.clone()),
        log_directory: Some(folder),
        ..Default::default()
    };
    let value = Some(Value::String(format!("{}.nvram", vmx.file_name().trim_end_matches(".vmx"))));
    config.extra_config.retain(|option| option.key != "nvram");
    config.extra_config.push(Poly::new(t::OptionValue {
        key: "nvram".to_owned(),
        value,
        ..Default::default()
    }));
}

/// The devices that every machine has.
fn standard_devices() -> Vec<Poly<t::VirtualDevice>> {
    vec![
        Poly::new(t::VirtualIDEController { base: controller(IDE, 0, None) }),
        Poly::new(t::VirtualIDEController { base: controller(IDE + 1, 1, None) }),
        Poly::new(t::VirtualPS2Controller { base: controller(PS2, 0, None) }),
        Poly::new(t::VirtualPCIController { base: controller(PCI, 0, None) }),
        Poly::new(t::VirtualSIOController { base: controller(SIO, 0, None) }),
        Poly::new(t::VirtualKeyboard { base: placed(KEYBOARD, PS2, 0) }),
        Poly::new(pointer()),
        Poly::new(video()),
        Poly::new(t::VirtualMachineVMCIDevice {
            base: placed(VMCI, PCI, 17),
            id: Some(-1),
            allow_unrestricted_communication: Some(false),
            filter_enable: Some(true),
            ..Default::default()
        }),
    ]
}

/// A paravirtual SCSI controller.
pub(crate) fn pvscsi(bus: i32) -> Poly<t::VirtualDevice> {
    Poly::new(t::ParaVirtualSCSIController {
        base: t::VirtualSCSIController {
            base: controller(SCSI + bus, bus, Some(3 + bus)),
            hot_add_remove: Some(true),
            shared_bus: t::VirtualSCSISharing::NoSharing,
            scsi_ctlr_unit_number: Some(SCSI_OWN_UNIT),
        },
    })
}

/// A disk in files on a controller. `backing` says which; [`arrange`] gives it its label.
pub(crate) fn disk(
    key: i32,
    controller: i32,
    unit: i32,
    capacity: u64,
    backing: t::VirtualDiskFlatVer2BackingInfo,
) -> t::VirtualDisk {
    t::VirtualDisk {
        base: t::VirtualDevice { backing: Some(Poly::new(backing)), ..placed(key, controller, unit) },
        capacity_in_kb: signed(capacity / 1024),
        capacity_in_bytes: Some(signed(capacity)),
        shares: Some(Box::new(t::SharesInfo {
            shares: 1000,
            level: t::SharesLevel::Normal,
            ..Default::default()
        })),
        native_unmanaged_linked_clone: Some(false),
        ..Default::default()
    }
}

/// The first network adapter of a machine.
pub(crate) fn nic(network: MoRef<mo::Network>, network_name: &str, mac: &str) -> Poly<t::VirtualDevice> {
    let backing = t::VirtualEthernetCardNetworkBackingInfo {
        base: t::VirtualDeviceDeviceBackingInfo {
            device_name: network_name.to_owned(),
            use_auto_detect: Some(false),
            ..Default::default()
        },
        network: Some(network),
        ..Default::default()
    };
    let card = t::VirtualEthernetCard {
        base: t::VirtualDevice {
            backing: Some(Poly::new(backing)),
            connectable: Some(Box::new(connectable())),
            ..placed(NIC, PCI, 7)
        },
        address_type: Some("assigned".to_owned()),
        mac_address: Some(mac.to_owned()),
        wake_on_lan_enabled: Some(true),
        upt_compatibility_enabled: Some(false),
        ..Default::default()
    };
    Poly::new(t::VirtualVmxnet3 {
        base: t::VirtualVmxnet { base: card },
        uptv2_enabled: Some(false),
        ..Default::default()
    })
}

/// How a device is connected that its client said nothing about.
pub(crate) fn connectable() -> t::VirtualDeviceConnectInfo {
    t::VirtualDeviceConnectInfo {
        migrate_connect: Some("unset".to_owned()),
        start_connected: true,
        allow_guest_control: true,
        connected: false,
        status: Some("untried".to_owned()),
        ..Default::default()
    }
}

/// Says of all devices that can be connected whether they are: a machine that is off has none.
pub(crate) fn connect(config: &mut t::VirtualMachineConfigInfo, on: bool) {
    for device in &mut config.hardware.device {
        if let Some(connectable) = &mut device.connectable {
            connectable.connected = on && connectable.start_connected;
            connectable.status = Some(if connectable.connected { "ok" } else { "untried" }.to_owned());
        }
    }
}

/// What a host derives of the devices: the lists of the controllers, labels, summaries, and what names a disk.
pub(crate) fn arrange(config: &mut t::VirtualMachineConfigInfo, machine: &str) {
    let devices = &mut config.hardware.device;
    let on: Vec<(i32, i32)> =
        devices.iter().filter_map(|device| Some((device.controller_key?, device.key))).collect();
    let mut disks = 0;
    let mut nics = 0;
    for device in devices.iter_mut() {
        if let Some(controller) = device.downcast_mut::<t::VirtualController>() {
            let key = controller.base.key;
            controller.device = on.iter().filter(|(owner, _)| *owner == key).map(|(_, key)| *key).collect();
        }
        if let Some(disk) = device.downcast_mut::<t::VirtualDisk>() {
            disks += 1;
            if disk.disk_object_id.is_none() {
                let number = machine.trim_start_matches("vm-");
                disk.disk_object_id = Some(format!("{number}-{}", disk.base.key));
            }
        }
        nics += i32::from(is_nic(device));
        let (label, summary) = describe(device, disks, nics);
        let info = device.device_info.get_or_insert_default();
        if info.label.is_empty() {
            info.label = label;
        }
        info.summary = summary;
    }
}

/// Whether a device is a network adapter.
pub(crate) fn is_nic(device: &Poly<t::VirtualDevice>) -> bool {
    device.downcast_ref::<t::VirtualEthernetCard>().is_some()
}

fn describe(device: &Poly<t::VirtualDevice>, disks: i32, nics: i32) -> (String, String) {
    let bus = device.downcast_ref::<t::VirtualController>().map_or(0, |controller| controller.bus_number);
    let numbered = |name: &str| (format!("{name} {bus}"), name.to_owned());
    let named = |label: &str, summary: &str| (label.to_owned(), summary.to_owned());
    if let Some(disk) = device.downcast_ref::<t::VirtualDisk>() {
        let kib = u64::try_from(disk.capacity_in_kb).unwrap_or(0);
        return (format!("Hard disk {disks}"), format!("{} KB", thousands(kib)));
    }
    if device.downcast_ref::<t::VirtualEthernetCard>().is_some() {
        let backing = device.backing.as_ref();
        let network = backing.and_then(|backing| backing.downcast_ref::<t::VirtualDeviceDeviceBackingInfo>());
        let name = network.map_or_else(String::new, |network| network.device_name.clone());
        return (format!("Network adapter {nics}"), name);
    }
    match device.type_name() {
        "VirtualIDEController" => numbered("IDE"),
        "VirtualPS2Controller" => numbered("PS2 controller"),
        "VirtualPCIController" => numbered("PCI controller"),
        "VirtualSIOController" => numbered("SIO controller"),
        "VirtualAHCIController" => (format!("SATA controller {bus}"), "AHCI".to_owned()),
        "VirtualNVMEController" => (format!("NVME controller {bus}"), "NVME Controller".to_owned()),
        "VirtualLsiLogicController" => (format!("SCSI controller {bus}"), "LSI Logic".to_owned()),
        "VirtualLsiLogicSASController" => (format!("SCSI controller {bus}"), "LSI Logic SAS".to_owned()),
        "VirtualBusLogicController" => (format!("SCSI controller {bus}"), "BusLogic".to_owned()),
        "ParaVirtualSCSIController" => {
            (format!("SCSI controller {bus}"), "VMware paravirtual SCSI".to_owned())
        }
        "VirtualKeyboard" => named("Keyboard", "Keyboard"),
        "VirtualPointingDevice" => named("Pointing device", "Pointing device; Device"),
        // The blank is the host's own.
        "VirtualMachineVideoCard" => named("Video card ", "Video card"),
        "VirtualMachineVMCIDevice" => named(
            "VMCI device",
            "Device on the virtual machine PCI bus that provides support for the virtual machine communication interface",
        ),
        "VirtualCdrom" => named("CD/DVD drive 1", "CD/DVD drive"),
        "VirtualFloppy" => named("Floppy drive 1", "Floppy drive"),
        "VirtualTPM" => named("Virtual TPM", "Trusted Platform Module"),
        other => named(other.trim_start_matches("Virtual"), other.trim_start_matches("Virtual")),
    }
}

/// The key that a device of this kind gets: given by its place where a host does so, else the next that is free.
pub(crate) fn key_for(
    device: &Poly<t::VirtualDevice>,
    controller: Option<&Poly<t::VirtualDevice>>,
    taken: &dyn Fn(i32) -> bool,
) -> i32 {
    let unit = device.unit_number.unwrap_or(0);
    let bus = |device: &Poly<t::VirtualDevice>| {
        device.downcast_ref::<t::VirtualController>().map_or(0, |controller| controller.bus_number)
    };
    let is = |name: &str| vim_api::dynamic::type_info(name).is_some_and(|info| is_a(device, info));
    let first = if is("VirtualDisk") {
        match controller {
            Some(controller) if controller.downcast_ref::<t::VirtualSCSIController>().is_some() => {
                FIRST_DISK + 16 * bus(controller) + unit
            }
            Some(controller) if controller.downcast_ref::<t::VirtualSATAController>().is_some() => {
                16000 + 30 * bus(controller) + unit
            }
            Some(controller) if controller.downcast_ref::<t::VirtualNVMEController>().is_some() => {
                32000 + 15 * bus(controller) + unit
            }
            Some(controller) => 3000 + 2 * bus(controller) + unit,
            None => FIRST_DISK,
        }
    } else if is("VirtualSCSIController") {
        SCSI + bus(device)
    } else if is("VirtualSATAController") {
        SATA + bus(device)
    } else if is("VirtualNVMEController") {
        NVME + bus(device)
    } else if is("VirtualIDEController") {
        IDE + bus(device)
    } else if is("VirtualEthernetCard") {
        NIC
    } else if is("VirtualCdrom") {
        match controller {
            Some(controller) if controller.downcast_ref::<t::VirtualSATAController>().is_some() => {
                16000 + 30 * bus(controller) + unit
            }
            Some(controller) => 3000 + 2 * bus(controller) + unit,
            None => 3000,
        }
    } else if is("VirtualFloppy") {
        8000
    } else if is("VirtualSerialPort") {
        9000
    } else if is("VirtualParallelPort") {
        10000
    } else if is("VirtualTPM") {
        11000
    } else if is("VirtualUSBController") || is("VirtualUSBXHCIController") {
        7000
    } else {
        13000
    };
    (first..).find(|key| !taken(*key)).unwrap_or(first)
}

/// The controller that a device goes to which names none: the PCI bus for what sits there.
pub(crate) fn default_controller(device: &Poly<t::VirtualDevice>) -> Option<i32> {
    let on_pci = [
        "VirtualSCSIController",
        "VirtualSATAController",
        "VirtualNVMEController",
        "VirtualEthernetCard",
        "VirtualUSBController",
        "VirtualUSBXHCIController",
        "VirtualTPM",
        "VirtualPCIPassthrough",
        "VirtualSoundCard",
    ];
    let is = |name: &&str| vim_api::dynamic::type_info(name).is_some_and(|info| is_a(device, info));
    if on_pci.iter().any(&is) {
        return Some(PCI);
    }
    ["VirtualFloppy", "VirtualSerialPort", "VirtualParallelPort"].iter().any(is).then_some(SIO)
}

fn is_a(device: &Poly<t::VirtualDevice>, info: &vim_api::dynamic::TypeInfo) -> bool {
    device.as_object().type_info().is_a(info)
}

/// How many units a controller has, and the one that it has itself.
pub(crate) fn units(controller: &Poly<t::VirtualDevice>) -> (i32, Option<i32>) {
    if controller.downcast_ref::<t::ParaVirtualSCSIController>().is_some() {
        return (65, Some(SCSI_OWN_UNIT));
    }
    if controller.downcast_ref::<t::VirtualSCSIController>().is_some() {
        return (16, Some(SCSI_OWN_UNIT));
    }
    if controller.downcast_ref::<t::VirtualSATAController>().is_some() {
        return (30, None);
    }
    if controller.downcast_ref::<t::VirtualNVMEController>().is_some() {
        return (15, None);
    }
    if controller.downcast_ref::<t::VirtualIDEController>().is_some() {
        return (2, None);
    }
    (i32::MAX, None)
}

fn controller(key: i32, bus_number: i32, pci_slot: Option<i32>) -> t::VirtualController {
    let base = match pci_slot {
        Some(slot) => placed(key, PCI, slot),
        None => t::VirtualDevice { key, ..Default::default() },
    };
    t::VirtualController { base, bus_number, device: Vec::new() }
}

fn placed(key: i32, controller: i32, unit: i32) -> t::VirtualDevice {
    t::VirtualDevice { key, controller_key: Some(controller), unit_number: Some(unit), ..Default::default() }
}

fn pointer() -> t::VirtualPointingDevice {
    let backing = t::VirtualPointingDeviceDeviceBackingInfo {
        base: t::VirtualDeviceDeviceBackingInfo { use_auto_detect: Some(false), ..Default::default() },
        host_pointing_device: "autodetect".to_owned(),
    };
    t::VirtualPointingDevice {
        base: t::VirtualDevice { backing: Some(Poly::new(backing)), ..placed(POINTER, PS2, 1) },
    }
}

fn video() -> t::VirtualMachineVideoCard {
    t::VirtualMachineVideoCard {
        base: placed(VIDEO, PCI, 0),
        video_ram_size_in_kb: Some(8192),
        num_displays: Some(1),
        use_auto_detect: Some(false),
        enable3_d_support: Some(false),
        use3d_renderer: Some("automatic".to_owned()),
        graphics_memory_size_in_kb: Some(262_144),
    }
}

/// Says of a disk how many bytes it has.
pub(crate) fn set_capacity(disk: &mut t::VirtualDisk, capacity: u64) {
    disk.capacity_in_kb = signed(capacity / 1024);
    disk.capacity_in_bytes = Some(signed(capacity));
}

/// A device as one of the declared type.
pub(crate) fn device(value: impl IsA<t::VirtualDevice>) -> Poly<t::VirtualDevice> {
    Poly::new(value)
}

/// A size in bytes or the like; disks end long before the number does.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `2,097,152`.
fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
