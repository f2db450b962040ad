//! The text files of a machine: `.vmx` and `.vmsd`, in the form `key = "value"`.

use std::collections::BTreeMap;

use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use crate::machine::{self, DiskState, Machine};

/// What names the devices on a controller: `scsi0`, `sata1`, `nvme0`, `ide0`.
fn bus_name(controller: &Poly<t::VirtualDevice>) -> Option<String> {
    let bus = controller.downcast_ref::<t::VirtualController>()?.bus_number;
    let kind = if controller.is::<t::VirtualSCSIController>() {
        "scsi"
    } else if controller.is::<t::VirtualSATAController>() {
        "sata"
    } else if controller.is::<t::VirtualNVMEController>() {
        "nvme"
    } else if controller.is::<t::VirtualIDEController>() {
        "ide"
    } else {
        return None;
    };
    Some(format!("{kind}{bus}"))
}

/// The disks of a configuration by their places, such as `scsi0:1`.
pub(crate) fn disk_nodes(config: &t::VirtualMachineConfigInfo) -> Vec<(String, DiskState)> {
    let devices = &config.hardware.device;
    let node = |disk: DiskState| {
        let device = devices.iter().find(|device| device.key == disk.key)?;
        let controller = devices.iter().find(|other| Some(other.key) == device.controller_key)?;
        Some((format!("{}:{}", bus_name(controller)?, device.unit_number.unwrap_or(0)), disk))
    };
    machine::disks(config).into_iter().filter_map(node).collect()
}

/// The configuration.
pub(crate) fn render(machine: &Machine) -> String {
    let config = &*machine.config;
    let mut lines = Lines::default();
    lines.add(".encoding", "UTF-8");
    lines.add("config.version", "8");
    lines.add("virtualHW.version", config.version.trim_start_matches("vmx-"));
    lines.add("displayName", &machine.plain_name());
    lines.add("annotation", config.annotation.as_deref().unwrap_or_default());
    lines.add("guestOS", &config.guest_id.trim_end_matches("Guest").replace('_', "-"));
    lines.add("firmware", config.firmware.as_deref().unwrap_or("bios"));
    lines.add("memSize", &config.hardware.memory_mb.to_string());
    lines.add("numvcpus", &config.hardware.num_cpu.to_string());
    lines.add("cpuid.coresPerSocket", &config.hardware.num_cores_per_socket.unwrap_or(1).to_string());
    lines.add("uuid.bios", &spaced(&config.uuid));
    lines.add("uuid.location", &spaced(config.location_id.as_deref().unwrap_or(&config.uuid)));
    lines.add("vc.uuid", &spaced(config.instance_uuid.as_deref().unwrap_or_default()));
    lines.add("ctkEnabled", flag(machine.is_tracked()));
    for device in &config.hardware.device {
        let Some(bus) = bus_name(device) else { continue };
        let kind = match device.type_name() {
            "ParaVirtualSCSIController" => "pvscsi",
            "VirtualLsiLogicController" => "lsilogic",
            "VirtualLsiLogicSASController" => "lsisas1068",
            "VirtualBusLogicController" => "buslogic",
            "VirtualAHCIController" => "ahci",
            "VirtualNVMEController" => "nvme",
            // IDE is there without being said.
            _ => continue,
        };
        lines.add(&format!("{bus}.present"), "TRUE");
        if bus.starts_with("scsi") {
            lines.add(&format!("{bus}.virtualDev"), kind);
        }
    }
    let home = machine.vmx().map(|vmx| vmx.parent());
    for (node, disk) in disk_nodes(config) {
        lines.add(&format!("{node}.present"), "TRUE");
        lines.add(
            &format!("{node}.deviceType"),
            if node.starts_with("scsi") { "scsi-hardDisk" } else { "disk" },
        );
        let file = match home.as_ref() == Some(&disk.path.parent()) {
            true => disk.path.file_name().to_owned(),
            false => format!("/vmfs/volumes/{}/{}", disk.path.datastore(), disk.path.relative()),
        };
        lines.add(&format!("{node}.fileName"), &file);
        if disk.independent {
            lines.add(&format!("{node}.mode"), &mode_of(config, disk.key));
        }
        lines.add(&format!("{node}.ctkEnabled"), flag(machine.is_tracked()));
    }
    let nics = config.hardware.device.iter().filter_map(|device| {
        Some((device.type_name(), device, device.downcast_ref::<t::VirtualEthernetCard>()?))
    });
    for (at, (kind, device, card)) in nics.enumerate() {
        let name = format!("ethernet{at}");
        lines.add(&format!("{name}.present"), "TRUE");
        lines.add(&format!("{name}.virtualDev"), &kind.trim_start_matches("Virtual").to_lowercase());
        let backing = device.backing.as_ref();
        let network = backing.and_then(|backing| backing.downcast_ref::<t::VirtualDeviceDeviceBackingInfo>());
        lines.add(&format!("{name}.networkName"), network.map_or("", |network| &network.device_name));
        let address = card.mac_address.as_deref().unwrap_or_default();
        match card.address_type.as_deref() {
            Some("manual") => {
                lines.add(&format!("{name}.addressType"), "static");
                lines.add(&format!("{name}.address"), address);
            }
            other => {
                lines.add(
                    &format!("{name}.addressType"),
                    if other == Some("generated") { "generated" } else { "vpx" },
                );
                lines.add(&format!("{name}.generatedAddress"), address);
            }
        }
    }
    for option in &config.extra_config {
        if let Some(Value::String(value)) = &option.value
            && !option.key.ends_with("ctkEnabled")
        {
            lines.add(&option.key, value);
        }
    }
    lines.0
}

fn mode_of(config: &t::VirtualMachineConfigInfo, key: i32) -> String {
    let mut disks =
        config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let mode = match disks.find(|disk| disk.base.key == key).and_then(machine::flat) {
        Some(backing) => backing.disk_mode.as_str(),
        None => "persistent",
    };
    mode.replace('_', "-")
}

/// The list of snapshots.
pub(crate) fn snapshot_list(machine: &Machine) -> String {
    let number = |id: &Option<String>| {
        let snapshot = id.as_deref().and_then(|id| machine.snapshot(id));
        snapshot.map_or(0, |snapshot| snapshot.number).to_string()
    };
    let mut lines = Lines::default();
    lines.add(".encoding", "UTF-8");
    lines.add("snapshot.lastUID", &machine.last_snapshot.to_string());
    lines.add("snapshot.current", &number(&machine.current_snapshot));
    lines.add("snapshot.numSnapshots", &machine.snapshots.len().to_string());
    for (at, snapshot) in machine.snapshots.iter().enumerate() {
        let name = format!("snapshot{at}");
        lines.add(&format!("{name}.uid"), &snapshot.number.to_string());
        lines.add(&format!("{name}.parent"), &number(&snapshot.parent));
        lines.add(&format!("{name}.displayName"), &snapshot.name);
        lines.add(&format!("{name}.description"), &snapshot.description);
        let disks = disk_nodes(&snapshot.config);
        lines.add(&format!("{name}.numDisks"), &disks.len().to_string());
        for (index, (node, disk)) in disks.iter().enumerate() {
            lines.add(&format!("{name}.disk{index}.fileName"), disk.path.file_name());
            lines.add(&format!("{name}.disk{index}.node"), node);
        }
    }
    lines.0
}

/// The entries of such a file, their keys in lower case: a host does not tell them apart either.
pub(crate) fn parse(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
        (!key.trim_start().starts_with('#')).then(|| (key.trim().to_lowercase(), unquoted(value)))
    };
    text.lines().filter_map(entry).collect()
}

/// A uuid in the form of the API, of one in the form of these files.
pub(crate) fn dashed(spaced: &str) -> Option<String> {
    let digits: String = spaced.chars().filter(char::is_ascii_hexdigit).collect();
    (digits.len() == 32).then(|| {
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        parts.join("-").to_lowercase()
    })
}

/// The guest's id of the API for one of these files: `debian12-64` stands for `debian12_64Guest`.
pub(crate) fn guest_id(guest_os: &str) -> String {
    format!("{}Guest", guest_os.replace('-', "_"))
}

fn unquoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('|') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[at + 3..];
            }
            None => {
                text.push('|');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Quotes, line breaks and the escape itself are written as `|` and two hex digits.
    fn add(&mut self, key: &str, value: &str) {
        self.0.push_str(key);
        self.0.push_str(" = \"");
        for c in value.chars() {
            match c {
                '"' | '|' | '\n' | '\r' => self.0.push_str(&format!("|{:02X}", u32::from(c))),
                c => self.0.push(c),
            }
        }
        self.0.push_str("\"\n");
    }
}

fn flag(on: bool) -> &'static str {
    if on { "TRUE" } else { "FALSE" }
}

/// `56 4d .. ..-.. ..` of a uuid with dashes.
fn spaced(uuid: &str) -> String {
    let digits = uuid.replace('-', "");
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        match at {
            0 => {}
            16 => text.push('-'),
            at if at % 2 == 0 => text.push(' '),
            _ => {}
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let uuid = "564d1122-3344-5566-7788-99aabbccddee";
        assert_eq!(spaced(uuid), "56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ee");
        assert_eq!(dashed(&spaced(uuid)).as_deref(), Some(uuid));
        assert_eq!(dashed("56 4d"), None);
        let mut lines = Lines::default();
        lines.add("displayName", "a \"b\"\n|");
        assert_eq!(lines.0, "displayName = \"a |22b|22|0A|7C\"\n");
        assert_eq!(parse(&lines.0)["displayname"], "a \"b\"\n|");
        assert_eq!(
            parse("# x = \"1\"\nA.b = \"1|\"\nnonsense\nc = 1"),
            BTreeMap::from([("a.b".into(), "1|".into())])
        );
        assert_eq!(guest_id("debian12-64"), "debian12_64Guest");
    }
}
