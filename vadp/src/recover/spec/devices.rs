//! The devices: which are sent, in what form, and on what.

mod adapter;
mod backing;
mod disk;

use std::collections::{BTreeMap, BTreeSet};

use vim_api::dynamic::{IsA, Poly};
use vim_api::types::{
    VirtualAHCIController, VirtualController, VirtualDevice, VirtualDeviceBusSlotInfo,
    VirtualDeviceConfigSpec, VirtualDeviceConfigSpecOperation, VirtualDeviceConnectInfo,
    VirtualDevicePciBusSlotInfo, VirtualDisk, VirtualEthernetCard, VirtualFloppy,
    VirtualMachineBootOptionsBootableDiskDevice, VirtualMachineBootOptionsBootableEthernetDevice,
    VirtualSATAController, VirtualSCSIController, VirtualSoundCard, VirtualSriovEthernetCard, VirtualVmxnet,
    VirtualVmxnet3, VirtualVmxnet3Vrdma, VirtualWDT,
};

use super::settings::NOT_KEPT;
use super::{Draft, NewNetwork, Sent, newer};
use crate::capture::convert::tables::{BACKINGS, DEVICES, Made, Rule};
use crate::capture::convert::{note, row, subject_of, unknown};
use crate::capture::{Loss, Verdict};
use crate::error::Error;

/// Keys of a specification count down from here: no server gives negative ones, and no two devices have the same.
const FIRST_KEY: i32 = -100;

/// A device on its way into a specification.
enum Shape {
    /// It is sent.
    Sent(Poly<VirtualDevice>),
    /// It is sent, but not as what it was.
    Converted(Poly<VirtualDevice>),
    /// It is sent when the machine's folder is known.
    Beside(Poly<VirtualDevice>),
    /// It is not.
    Left,
}

/// The bus of a controller.
pub(super) fn bus_of(device: &Poly<VirtualDevice>) -> Option<i32> {
    device.downcast_ref::<VirtualController>().map(|controller| controller.bus_number)
}

/// The key that every server gives a controller which all machines have.
fn default_key(device: &Poly<VirtualDevice>) -> Option<i32> {
    let bus = bus_of(device)?;
    match device.type_name() {
        "VirtualPCIController" => Some(100),
        "VirtualIDEController" => Some(200 + bus),
        "VirtualPS2Controller" => Some(300),
        "VirtualSIOController" => Some(400),
        _ => None,
    }
}

/// The adding of a device.
pub(super) fn adding(device: Poly<VirtualDevice>) -> VirtualDeviceConfigSpec {
    VirtualDeviceConfigSpec {
        operation: Some(VirtualDeviceConfigSpecOperation::Add),
        device,
        ..Default::default()
    }
}

impl Draft<'_> {
    pub(super) fn devices(&mut self) -> Result<(), Error> {
        // What others are on comes first, bus by bus: a server makes a bus that is missing by itself.
        let mut devices: Vec<&Poly<VirtualDevice>> = self.config.hardware.device.iter().collect();
        devices.sort_by_key(|device| bus_of(device).map_or((1, 0), |bus| (0, bus)));
        let mut keys = BTreeMap::new();
        let mut slots = Slots::default();
        for device in devices {
            let shape = self.shape(device, &keys)?;
            slots.saw(device, &shape);
            let (mut sent, is_beside) = match shape {
                Shape::Sent(sent) | Shape::Converted(sent) => (sent, false),
                Shape::Beside(sent) => (sent, true),
                Shape::Left => continue,
            };
            let key = FIRST_KEY - i32::try_from(keys.len()).unwrap_or(i32::MAX / 2);
            keys.insert(device.key, key);
            self.clean(device, &mut sent, key, &keys);
            newer::note(sent.as_object(), &subject_of(device), self.design.version, &mut self.losses);
            self.found_again_by(device, sent.type_name());
            match is_beside {
                true => self.late.beside.push((device.controller_key, sent)),
                false => {
                    slots.sent.push((self.create.device_change.len(), device.slot_info.clone()));
                    self.create.device_change.push(Poly::new(adding(sent)));
                }
            }
        }
        let place: BTreeMap<i32, usize> =
            self.sent.iter().enumerate().map(|(at, sent)| (sent.saved, at)).collect();
        self.disks.sort_by_key(|disk| (place.get(&disk.controller).copied(), disk.unit));
        for disk in &self.disks {
            self.sent.push(Sent {
                saved: disk.key,
                type_name: "VirtualDisk".to_owned(),
                bus: None,
                controller: Some(disk.controller),
                unit: Some(disk.unit),
            });
        }
        self.keep_slots(slots);
        Ok(())
    }

    /// Notes by what a device is found again when the server has given it a key.
    fn found_again_by(&mut self, device: &Poly<VirtualDevice>, type_name: &str) {
        self.sent.push(Sent {
            saved: device.key,
            type_name: type_name.to_owned(),
            bus: bus_of(device),
            controller: device.controller_key.filter(|_| bus_of(device).is_none()),
            unit: device.unit_number,
        });
    }

    fn lose(&mut self, device: &Poly<VirtualDevice>, why: &str) -> Shape {
        self.losses.push(Loss::new(subject_of(device), Verdict::Lost, why));
        Shape::Left
    }

    /// What a device becomes, but for what is cleared on all of them.
    fn shape(&mut self, device: &Poly<VirtualDevice>, keys: &BTreeMap<i32, i32>) -> Result<Shape, Error> {
        let subject = || subject_of(device);
        let type_name = device.type_name();
        let Some((rule, made)) = row(DEVICES, type_name) else {
            self.losses.push(unknown(subject(), type_name));
            return Ok(Shape::Left);
        };
        if made == Made::Nothing || made == Made::Edited {
            note(&rule, subject, &mut self.losses);
            if made == Made::Edited {
                self.late.edits.push(device.clone());
            }
            if default_key(device).is_some() || made == Made::Edited {
                self.found_again_by(device, type_name);
            }
            return Ok(Shape::Left);
        }
        let since = device.as_object().type_info().since();
        if since > self.design.version {
            return Ok(self.lose(device, &newer::why(since, self.design.version)));
        }
        if device.device_group_info.is_some() {
            let why = "it belongs to a group of devices, which is put together anew where a host has them";
            return Ok(self.lose(device, why));
        }
        let is_there = |key: i32| {
            let is_default = |other: &Poly<VirtualDevice>| other.key == key && default_key(other).is_some();
            keys.contains_key(&key) || self.config.hardware.device.iter().any(is_default)
        };
        if bus_of(device).is_none() && device.controller_key.is_some_and(|key| !is_there(key)) {
            return Ok(self.lose(device, "what it is on does not come back"));
        }
        let (converted, rule) = match made {
            Made::Ahci => {
                let base = device.downcast_ref::<VirtualController>().cloned().unwrap_or_default();
                (Some(ahci(base)), rule)
            }
            Made::Host if !self.design.keep_host_devices => {
                let Some(card) = device.downcast_ref::<VirtualSriovEthernetCard>() else {
                    return Ok(self.lose(device, NOT_KEPT));
                };
                let why = "it becomes an ordinary adapter: only some hosts have what it was";
                (Some(vmxnet3(card.base.clone())), Rule::Changed(why))
            }
            Made::Sealed if !(self.design.keep_key && self.config.key_id.is_some()) => {
                let why = "the machine is not encrypted with the key that it had: what was sealed with its TPM is lost";
                return Ok(self.lose(device, why));
            }
            Made::Rdma => {
                match (self.design.networks.get(&device.key), device.downcast_ref::<VirtualVmxnet3Vrdma>()) {
                    (Some(NewNetwork::Distributed { .. }), _) | (_, None) => (None, Rule::Kept),
                    (_, Some(card)) => {
                        let why = "it becomes an ordinary adapter: it does not go to a distributed switch";
                        (Some(Poly::new(card.base.clone())), Rule::Changed(why))
                    }
                }
            }
            _ => (None, rule),
        };
        let is_converted = converted.is_some();
        let mut sent = converted.unwrap_or_else(|| device.clone());
        let mut losses = Vec::new();
        note(&rule, subject, &mut losses);
        let shape = match sent.backing.clone() {
            None if device.is::<VirtualDisk>() => {
                return Ok(self.lose(device, "nothing says what it is made of"));
            }
            None if device.is::<VirtualEthernetCard>() => {
                self.adapter(device, &mut sent)?;
                Shape::Sent(sent)
            }
            None => Shape::Sent(sent),
            Some(backing) => {
                let Some((rule, made)) = row(BACKINGS, backing.type_name()) else {
                    self.losses.push(unknown(subject(), backing.type_name()));
                    return Ok(Shape::Left);
                };
                let since = backing.as_object().type_info().since();
                if since > self.design.version && !matches!(made, Made::Disk | Made::Network | Made::Empty) {
                    return Ok(self.lose(device, &newer::why(since, self.design.version)));
                }
                match made {
                    Made::Disk => {
                        self.disk(device, &backing, &rule);
                        return Ok(Shape::Left);
                    }
                    Made::Network => {
                        self.adapter(device, &mut sent)?;
                        Shape::Sent(sent)
                    }
                    made => self.behind(device, sent, backing, (rule, made)),
                }
            }
        };
        if let Shape::Left = shape {
            return Ok(shape);
        }
        self.losses.append(&mut losses);
        Ok(match shape {
            Shape::Sent(sent) if is_converted => Shape::Converted(sent),
            shape => shape,
        })
    }

    /// Clears what a server says of a device, and puts it onto what it was on.
    fn clean(
        &self,
        device: &Poly<VirtualDevice>,
        sent: &mut Poly<VirtualDevice>,
        key: i32,
        keys: &BTreeMap<i32, i32>,
    ) {
        let default = |wanted: i32| {
            let found = self.config.hardware.device.iter().find(|other| other.key == wanted);
            found.and_then(default_key)
        };
        let is_quiet = device.is::<VirtualSoundCard>()
            || self.design.disconnected && device.is::<VirtualEthernetCard>()
            || is_emptied(device, sent);
        let common: &mut VirtualDevice = &mut *sent;
        common.key = key;
        common.device_info = None;
        common.slot_info = None;
        common.numa_node = device.numa_node.filter(|node| *node >= 0);
        common.connectable = device.connectable.as_deref().map(|saved| {
            Box::new(VirtualDeviceConnectInfo {
                start_connected: saved.start_connected && !is_quiet,
                allow_guest_control: saved.allow_guest_control,
                ..Default::default()
            })
        });
        common.controller_key =
            device.controller_key.and_then(|wanted| default(wanted).or_else(|| keys.get(&wanted).copied()));
        if let Some(controller) = sent.downcast_mut::<VirtualController>() {
            controller.device.clear();
            // The PCI bus is the server's to divide.
            controller.base.unit_number = None;
        }
        if let Some(controller) = sent.downcast_mut::<VirtualSCSIController>() {
            controller.scsi_ctlr_unit_number = None;
        }
        if let Some(watchdog) = sent.downcast_mut::<VirtualWDT>() {
            watchdog.running = false;
        }
    }

    /// PCI slots are given for all devices, or the server gives them all.
    fn keep_slots(&mut self, slots: Slots) {
        let numbers: Vec<i32> =
            slots.sent.iter().filter_map(|(_, slot)| slot_number(slot.as_ref())).collect();
        if numbers.is_empty() && !slots.is_broken {
            return;
        }
        let distinct: BTreeSet<i32> = numbers.iter().copied().filter(|number| *number >= 0).collect();
        self.late.keeps_slots = !slots.is_broken && distinct.len() == numbers.len();
        if !self.late.keeps_slots {
            let why = "the server gives them anew, and guests may name their network adapters otherwise";
            self.losses.push(Loss::new("PCI slots", Verdict::Changed, why));
            return;
        }
        for (at, slot) in slots.sent {
            if let Some(change) = self.create.device_change.get_mut(at) {
                change.device.slot_info = slot;
            }
        }
    }

    /// What is booted from, as far as it is there.
    pub(super) fn boot_order(&mut self) {
        let Some(options) = self.config.boot_options.as_deref() else { return };
        for entry in &options.boot_order {
            let key = entry
                .downcast_ref::<VirtualMachineBootOptionsBootableDiskDevice>()
                .map(|disk| disk.device_key)
                .or_else(|| {
                    let card = entry.downcast_ref::<VirtualMachineBootOptionsBootableEthernetDevice>();
                    card.map(|card| card.device_key)
                });
            if key.is_none_or(|key| self.sent.iter().any(|sent| sent.saved == key)) {
                self.late.boot_order.push(entry.clone());
            } else {
                let why = "a device that is booted from does not come back";
                self.losses.push(Loss::new("bootOptions.bootOrder", Verdict::Changed, why));
            }
        }
    }
}

/// Whether a drive had a medium and has none now: then there is nothing to connect.
fn is_emptied(device: &Poly<VirtualDevice>, sent: &Poly<VirtualDevice>) -> bool {
    let is_drive = device.is::<vim_api::types::VirtualCdrom>() || device.is::<VirtualFloppy>();
    let type_of =
        |device: &Poly<VirtualDevice>| device.backing.as_ref().map(|backing| backing.type_name().to_owned());
    is_drive && type_of(device) != type_of(sent)
}

/// What is known of the slots of a machine.
#[derive(Default)]
struct Slots {
    /// Index in the specification, and the slot that the device had.
    sent: Vec<(usize, Option<Poly<VirtualDeviceBusSlotInfo>>)>,
    /// Whether a device that had a slot does not come back as what it was.
    is_broken: bool,
}

impl Slots {
    fn saw(&mut self, device: &Poly<VirtualDevice>, shape: &Shape) {
        let is_servers = matches!(row(DEVICES, device.type_name()), Some((Rule::Servers, _)));
        if slot_number(device.slot_info.as_ref()).is_some() && !is_servers && !matches!(shape, Shape::Sent(_))
        {
            self.is_broken = true;
        }
    }
}

fn slot_number(slot: Option<&Poly<VirtualDeviceBusSlotInfo>>) -> Option<i32> {
    Some(slot?.downcast_ref::<VirtualDevicePciBusSlotInfo>()?.pci_slot_number)
}

fn ahci(base: VirtualController) -> Poly<VirtualDevice> {
    device(VirtualAHCIController { base: VirtualSATAController { base } })
}

fn vmxnet3(base: VirtualEthernetCard) -> Poly<VirtualDevice> {
    device(VirtualVmxnet3 { base: VirtualVmxnet { base }, ..Default::default() })
}

fn device(value: impl IsA<VirtualDevice>) -> Poly<VirtualDevice> {
    Poly::new(value)
}
