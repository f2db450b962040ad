//! The virtual hardware, with the keys and in the order of a real server's list.

use std::collections::BTreeMap;

use sim_store::Descriptor;
use vim_api::dynamic::{IsA, Poly};
use vim_api::mo;
use vim_api::types as t;

use super::{ids, moref};
use crate::machine::{DiskState, Machine, Power, Settings};
use crate::world::World;

/// Name of the one network.
pub(super) const NETWORK_NAME: &str = "VM Network";

/// Key of the SCSI controller that has all disks.
pub(crate) const SCSI: i32 = 1000;

/// Key of the first disk on the SCSI controller: its unit is added to it.
pub(crate) const FIRST_DISK: i32 = 2000;

/// The controller's own unit, which no disk can have.
pub(crate) const SCSI_OWN_UNIT: i32 = 7;

const PCI: i32 = 100;
const IDE: i32 = 200;
const PS2: i32 = 300;
const SIO: i32 = 400;
const VIDEO: i32 = 500;
const KEYBOARD: i32 = 600;
const POINTER: i32 = 700;
const NIC: i32 = 4000;
const VMCI: i32 = 12000;

impl World {
    /// All devices. `live` says whether they are the machine's own, or those that a snapshot keeps.
    pub(super) fn devices(
        &self,
        machine: &Machine,
        settings: &Settings,
        live: bool,
    ) -> Vec<Poly<t::VirtualDevice>> {
        let disk_keys: Vec<i32> = settings.disks.iter().map(|disk| disk.key).collect();
        let mut devices = vec![
            controller(IDE, "IDE 0", 0, Vec::new(), |base| t::VirtualIDEController { base }),
            controller(IDE + 1, "IDE 1", 1, Vec::new(), |base| t::VirtualIDEController { base }),
            controller(PS2, "PS2 controller 0", 0, vec![KEYBOARD, POINTER], |base| t::VirtualPS2Controller {
                base,
            }),
            controller(PCI, "PCI controller 0", 0, vec![VIDEO, VMCI, SCSI, NIC], |base| {
                t::VirtualPCIController { base }
            }),
            controller(SIO, "SIO controller 0", 0, Vec::new(), |base| t::VirtualSIOController { base }),
            Poly::new(t::VirtualKeyboard {
                base: t::VirtualDevice {
                    controller_key: Some(PS2),
                    unit_number: Some(0),
                    ..device(KEYBOARD, "Keyboard", "Keyboard")
                },
            }),
            Poly::new(pointer()),
            Poly::new(video()),
            Poly::new(t::VirtualMachineVMCIDevice {
                base: on_pci(
                    17,
                    device(
                        VMCI,
                        "VMCI device",
                        "Device on the virtual machine PCI bus that provides support for the virtual machine communication interface",
                    ),
                ),
                id: Some(-1),
                allow_unrestricted_communication: Some(false),
                filter_enable: Some(true),
                ..Default::default()
            }),
            Poly::new(scsi(disk_keys)),
        ];
        devices.extend(settings.disks.iter().map(|disk| Poly::new(self.disk(machine, disk, live))));
        devices.push(Poly::new(nic(settings, live && machine.power == Power::On)));
        devices
    }

    fn disk(&self, machine: &Machine, disk: &DiskState, live: bool) -> t::VirtualDisk {
        let backing = self.backing(disk, live);
        let kib = disk.capacity / 1024;
        let label = format!("Hard disk {}", disk.unit + i32::from(disk.unit < SCSI_OWN_UNIT));
        t::VirtualDisk {
            base: t::VirtualDevice {
                backing: Some(Poly::new(backing)),
                controller_key: Some(SCSI),
                unit_number: Some(disk.unit),
                ..device(disk.key, &label, &format!("{} KB", thousands(kib)))
            },
            capacity_in_kb: signed(kib),
            capacity_in_bytes: Some(signed(disk.capacity)),
            shares: Some(Box::new(t::SharesInfo {
                shares: 1000,
                level: t::SharesLevel::Normal,
                ..Default::default()
            })),
            disk_object_id: Some(format!("{}-{}", machine.id.trim_start_matches("vm-"), disk.key)),
            native_unmanaged_linked_clone: Some(false),
            ..Default::default()
        }
    }

    /// The backing of a link, with those of its parents.
    fn backing(&self, disk: &DiskState, live: bool) -> t::VirtualDiskFlatVer2BackingInfo {
        let mut chain = Vec::new();
        let mut path = disk.path.clone();
        while chain.len() < sim_store::MAX_LINKS {
            // While links are being merged one of them may be gone for a moment; the list then ends there.
            let Some(descriptor) = self.resolve(&path).ok().and_then(|host| Descriptor::load(&host).ok())
            else {
                break;
            };
            let parent = descriptor.parent_hint.as_deref().and_then(|hint| path.sibling(hint).ok());
            chain.push((path, descriptor));
            match parent {
                Some(parent) => path = parent,
                None => break,
            }
        }
        let mut below = None;
        for (path, descriptor) in chain.into_iter().rev() {
            let is_child = descriptor.parent_hint.is_some();
            let mut backing = self.link(disk, path.to_string(), &descriptor.ddb);
            backing.thin_provisioned = Some(disk.thin);
            backing.delta_disk_format = is_child.then(|| "redoLogFormat".to_owned());
            backing.parent = below.map(Box::new);
            below = Some(backing);
        }
        let mut top = below.unwrap_or_else(|| self.link(disk, disk.path.to_string(), &BTreeMap::new()));
        // The number in force on a live disk is not one that a backup could build on: only a snapshot stamps it.
        top.change_id = if live { None } else { disk.change_id.clone() };
        top
    }

    fn link(
        &self,
        disk: &DiskState,
        file_name: String,
        metadata: &BTreeMap<String, String>,
    ) -> t::VirtualDiskFlatVer2BackingInfo {
        let mut datastores = self.stored.datastores.iter();
        let datastore = datastores.find(|store| store.files.name() == disk.path.datastore());
        let base = t::VirtualDeviceFileBackingInfo {
            file_name,
            datastore: datastore.map(|store| moref(&store.id)),
            backing_object_id: Some(String::new()),
            ..Default::default()
        };
        t::VirtualDiskFlatVer2BackingInfo {
            base,
            disk_mode: "persistent".to_owned(),
            split: Some(false),
            write_through: Some(false),
            eagerly_scrub: Some(disk.eager),
            uuid: Some(disk.uuid.clone()),
            content_id: metadata.get("longContentID").cloned(),
            digest_enabled: Some(false),
            sharing: Some("sharingNone".to_owned()),
            ..Default::default()
        }
    }
}

fn controller<C: IsA<t::VirtualDevice>>(
    key: i32,
    label: &str,
    bus_number: i32,
    devices: Vec<i32>,
    wrap: fn(t::VirtualController) -> C,
) -> Poly<t::VirtualDevice> {
    let name = label.rsplit_once(' ').map_or(label, |(name, _)| name);
    let base = device(key, label, name);
    Poly::new(wrap(t::VirtualController { base, bus_number, device: devices }))
}

fn scsi(disks: Vec<i32>) -> t::ParaVirtualSCSIController {
    let base = on_pci(3, device(SCSI, "SCSI controller 0", "VMware paravirtual SCSI"));
    t::ParaVirtualSCSIController {
        base: t::VirtualSCSIController {
            base: t::VirtualController { base, bus_number: 0, device: disks },
            hot_add_remove: Some(true),
            shared_bus: t::VirtualSCSISharing::NoSharing,
            scsi_ctlr_unit_number: Some(SCSI_OWN_UNIT),
        },
    }
}

fn pointer() -> t::VirtualPointingDevice {
    let backing = t::VirtualPointingDeviceDeviceBackingInfo {
        base: t::VirtualDeviceDeviceBackingInfo { use_auto_detect: Some(false), ..Default::default() },
        host_pointing_device: "autodetect".to_owned(),
    };
    t::VirtualPointingDevice {
        base: t::VirtualDevice {
            backing: Some(Poly::new(backing)),
            controller_key: Some(PS2),
            unit_number: Some(1),
            ..device(POINTER, "Pointing device", "Pointing device; Device")
        },
    }
}

fn video() -> t::VirtualMachineVideoCard {
    t::VirtualMachineVideoCard {
        base: on_pci(0, device(VIDEO, "Video card ", "Video card")),
        video_ram_size_in_kb: Some(8192),
        num_displays: Some(1),
        use_auto_detect: Some(false),
        enable3_d_support: Some(false),
        use3d_renderer: Some("automatic".to_owned()),
        graphics_memory_size_in_kb: Some(262_144),
    }
}

fn nic(settings: &Settings, connected: bool) -> t::VirtualVmxnet3 {
    let backing = t::VirtualEthernetCardNetworkBackingInfo {
        base: t::VirtualDeviceDeviceBackingInfo {
            device_name: NETWORK_NAME.to_owned(),
            use_auto_detect: Some(false),
            ..Default::default()
        },
        network: Some(moref::<mo::Network>(ids::NETWORK)),
        ..Default::default()
    };
    let connectable = t::VirtualDeviceConnectInfo {
        migrate_connect: Some("unset".to_owned()),
        start_connected: true,
        allow_guest_control: true,
        connected,
        status: Some(if connected { "ok" } else { "untried" }.to_owned()),
        ..Default::default()
    };
    let card = t::VirtualEthernetCard {
        base: t::VirtualDevice {
            backing: Some(Poly::new(backing)),
            connectable: Some(Box::new(connectable)),
            ..on_pci(7, device(NIC, "Network adapter 1", NETWORK_NAME))
        },
        address_type: Some("assigned".to_owned()),
        mac_address: Some(settings.mac.clone()),
        wake_on_lan_enabled: Some(true),
        upt_compatibility_enabled: Some(false),
        ..Default::default()
    };
    t::VirtualVmxnet3 {
        base: t::VirtualVmxnet { base: card },
        uptv2_enabled: Some(false),
        ..Default::default()
    }
}

fn device(key: i32, label: &str, summary: &str) -> t::VirtualDevice {
    let info = t::Description { label: label.to_owned(), summary: summary.to_owned(), ..Default::default() };
    t::VirtualDevice { key, device_info: Some(Poly::new(info)), ..Default::default() }
}

fn on_pci(unit: i32, device: t::VirtualDevice) -> t::VirtualDevice {
    t::VirtualDevice { controller_key: Some(PCI), unit_number: Some(unit), ..device }
}

/// A size in bytes or the like; disks end long before the number does.
pub(super) fn signed(value: u64) -> i64 {
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
