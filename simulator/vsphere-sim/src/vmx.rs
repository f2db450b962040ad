//! The text files of a machine: `.vmx` and `.vmsd`, in the form `key = "value"`.

use crate::machine::Machine;

/// The configuration.
pub(crate) fn render(machine: &Machine) -> String {
    let settings = &machine.settings;
    let mut lines = Lines::default();
    lines.add(".encoding", "UTF-8");
    lines.add("config.version", "8");
    lines.add("virtualHW.version", "21");
    lines.add("displayName", &settings.name);
    lines.add("annotation", &settings.annotation);
    lines.add("guestOS", settings.guest_id.trim_end_matches("Guest"));
    lines.add("firmware", "bios");
    lines.add("memSize", &settings.memory_mb.to_string());
    lines.add("numvcpus", &settings.cpus.to_string());
    lines.add("uuid.bios", &spaced(&machine.bios_uuid));
    lines.add("uuid.location", &spaced(&machine.bios_uuid));
    lines.add("vc.uuid", &spaced(&machine.instance_uuid));
    lines.add("ctkEnabled", flag(settings.change_tracking));
    lines.add("scsi0.present", "TRUE");
    lines.add("scsi0.virtualDev", "pvscsi");
    for disk in &settings.disks {
        let name = format!("scsi0:{}", disk.unit);
        lines.add(&format!("{name}.present"), "TRUE");
        lines.add(&format!("{name}.deviceType"), "scsi-hardDisk");
        lines.add(&format!("{name}.fileName"), disk.path.file_name());
        lines.add(&format!("{name}.ctkEnabled"), flag(settings.change_tracking));
    }
    lines.add("ethernet0.present", "TRUE");
    lines.add("ethernet0.virtualDev", "vmxnet3");
    lines.add("ethernet0.networkName", "VM Network");
    lines.add("ethernet0.addressType", "vpx");
    lines.add("ethernet0.generatedAddress", &settings.mac);
    lines.0
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
        lines.add(&format!("{name}.numDisks"), &snapshot.settings.disks.len().to_string());
        for (index, disk) in snapshot.settings.disks.iter().enumerate() {
            lines.add(&format!("{name}.disk{index}.fileName"), disk.path.file_name());
            lines.add(&format!("{name}.disk{index}.node"), &format!("scsi0:{}", disk.unit));
        }
    }
    lines.0
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
        assert_eq!(
            spaced("564d1122-3344-5566-7788-99aabbccddee"),
            "56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ee"
        );
        let mut lines = Lines::default();
        lines.add("displayName", "a \"b\"\n|");
        assert_eq!(lines.0, "displayName = \"a |22b|22|0A|7C\"\n");
    }
}
