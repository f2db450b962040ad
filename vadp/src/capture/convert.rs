//! Could the machine be made anew from its configuration? A trial at backup time, so that nobody finds out at the restore.
//!
//! The tables say of each type of device, each type of backing and each property of a configuration what becomes of it in a
//! specification for a new machine. They name all that the generated types have: a test fails when a new version of the API brings
//! one that nobody has judged. A server may be newer still: what no table names is lost, and reported.

pub(crate) mod tables;

use std::fmt;

use serde::{Deserialize, Serialize};
use vim_api::dynamic::{Poly, Value, get_path};
use vim_api::types::{VirtualDevice, VirtualDisk, VirtualMachineConfigInfo};

use tables::{BACKINGS, DEVICES, Made, PROPERTIES, Rule};

/// Something of a machine that a new one made from the restore point would not have as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// What of the machine, such as "PCI device 0".
    pub subject: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It comes back where something else is there as well, such as the same key provider.
    Conditional,
    /// Something else takes its place.
    Changed,
    /// It does not come back.
    Lost,
    /// A later version's verdict.
    #[serde(other)]
    Unknown,
}

/// All that would not come back as it was. `excluded`: the device keys of disks that the restore point does not have.
pub(crate) fn losses(config: &VirtualMachineConfigInfo, excluded: &[i32]) -> Vec<Loss> {
    let mut found = Vec::new();
    for device in &config.hardware.device {
        of_device(device, excluded, &mut found);
    }
    for (property, rule, _) in PROPERTIES {
        if is_in_use(config, property) {
            note(rule, || (*property).to_owned(), &mut found);
        }
    }
    found
}

/// What a device is called in a list of losses.
pub(crate) fn subject_of(device: &Poly<VirtualDevice>) -> String {
    match &device.device_info {
        Some(info) if !info.label.is_empty() => info.label.clone(),
        _ => format!("{} (key {})", device.type_name(), device.key),
    }
}

/// Whether a property of a configuration says more than that nothing is set.
pub(crate) fn is_in_use(config: &VirtualMachineConfigInfo, property: &str) -> bool {
    get_path(config, telling_part(property)).ok().flatten().as_ref().is_some_and(says_something)
}

fn of_device(device: &Poly<VirtualDevice>, excluded: &[i32], found: &mut Vec<Loss>) {
    let subject = || subject_of(device);
    let before = found.len();
    look_up(DEVICES, device.type_name(), subject, found);
    if found[before..].iter().any(|loss| loss.verdict == Verdict::Lost) {
        return;
    }
    if let Some(backing) = &device.backing {
        look_up(BACKINGS, backing.type_name(), subject, found);
    }
    if device.is::<VirtualDisk>() && excluded.contains(&device.key) {
        let why = "the backup leaves it out".to_owned();
        found.push(Loss { subject: subject(), verdict: Verdict::Lost, why });
    }
}

fn look_up(
    table: &[(&str, Rule, Made)],
    type_name: &str,
    subject: impl Fn() -> String,
    found: &mut Vec<Loss>,
) {
    match row(table, type_name) {
        Some((rule, _)) => note(&rule, subject, found),
        None => found.push(unknown(subject(), type_name)),
    }
}

/// What a table says of a type.
pub(crate) fn row(table: &[(&str, Rule, Made)], type_name: &str) -> Option<(Rule, Made)> {
    table.iter().find(|(name, ..)| *name == type_name).map(|(_, rule, made)| (*rule, *made))
}

/// The loss of something of which no table says anything.
pub(crate) fn unknown(subject: String, type_name: &str) -> Loss {
    let why = format!("this program does not know what {type_name} is: it is newer, or no device");
    Loss { subject, verdict: Verdict::Lost, why }
}

/// Notes what a rule costs.
pub(crate) fn note(rule: &Rule, subject: impl Fn() -> String, found: &mut Vec<Loss>) {
    let (verdict, why) = match rule {
        Rule::Kept | Rule::Servers => return,
        Rule::Conditional(why) => (Verdict::Conditional, why),
        Rule::Changed(why) => (Verdict::Changed, why),
        Rule::Lost(why) => (Verdict::Lost, why),
    };
    found.push(Loss { subject: subject(), verdict, why: (*why).to_owned() });
}

/// What of a property says whether it is in use: some objects are there on every machine.
fn telling_part(property: &str) -> &str {
    match property {
        "networkShaper" => "networkShaper.enabled",
        "cpuAffinity" => "cpuAffinity.affinitySet",
        "memoryAffinity" => "memoryAffinity.affinitySet",
        "sgxInfo" => "sgxInfo.epcSize",
        "deviceGroups" => "deviceGroups.deviceGroup",
        "guestMonitoringModeInfo" => "guestMonitoringModeInfo.gmmFile",
        "scheduledHardwareUpgradeInfo" => "scheduledHardwareUpgradeInfo.versionKey",
        whole => whole,
    }
}

/// Whether a value is more than a "no".
pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::String(text) => !text.is_empty(),
        Value::Int(number) => *number != 0,
        Value::Long(number) => *number != 0,
        Value::Array(array) => !array.items().is_empty(),
        _ => true,
    }
}

impl Loss {
    pub(crate) fn new(subject: impl Into<String>, verdict: Verdict, why: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict, why: why.into() }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.verdict {
            Verdict::Conditional => "comes back only if",
            Verdict::Changed => "comes back otherwise",
            Verdict::Lost => "does not come back",
            Verdict::Unknown => "is judged by a later version",
        };
        write!(f, "{} {what}: {}", self.subject, self.why)
    }
}

#[cfg(test)]
mod tests {
    use vim_api::dynamic::DataObject;
    use vim_api::types::{
        Description, VirtualCdrom, VirtualCdromIsoBackingInfo, VirtualDeviceFileBackingInfo,
        VirtualDiskFlatVer2BackingInfo, VirtualMachineNetworkShaperInfo, VirtualUSB,
    };

    use super::*;

    fn labelled(label: &str, key: i32) -> VirtualDevice {
        let info = Description { label: label.into(), ..Default::default() };
        VirtualDevice { key, device_info: Some(Poly::new(info)), ..Default::default() }
    }

    #[test]
    fn each_loss_is_named_once_and_what_comes_back_is_not() {
        let mut config = VirtualMachineConfigInfo::default();
        let iso = VirtualCdromIsoBackingInfo {
            base: VirtualDeviceFileBackingInfo { file_name: "[ds] a.iso".into(), ..Default::default() },
        };
        let mut drive = labelled("CD/DVD drive 1", 3000);
        drive.backing = Some(Poly::new(iso));
        let mut disk = VirtualDisk { base: labelled("Hard disk 1", 2000), ..Default::default() };
        disk.base.backing = Some(Poly::new(VirtualDiskFlatVer2BackingInfo::default()));
        config.hardware.device = vec![
            Poly::new(VirtualCdrom { base: drive }),
            Poly::new(disk),
            Poly::new(VirtualUSB { base: labelled("USB 1", 7001), ..Default::default() }),
        ];
        config.network_shaper = Some(Box::new(VirtualMachineNetworkShaperInfo::default()));
        let told = |excluded: &[i32], config: &VirtualMachineConfigInfo| -> Vec<(String, Verdict)> {
            losses(config, excluded).into_iter().map(|loss| (loss.subject, loss.verdict)).collect()
        };
        let always =
            [("CD/DVD drive 1".to_owned(), Verdict::Conditional), ("USB 1".to_owned(), Verdict::Lost)];
        assert_eq!(told(&[], &config), always);
        assert!(told(&[2000], &config).contains(&("Hard disk 1".to_owned(), Verdict::Lost)));
        config.network_shaper =
            Some(Box::new(VirtualMachineNetworkShaperInfo { enabled: Some(true), ..Default::default() }));
        assert!(told(&[], &config).contains(&("networkShaper".to_owned(), Verdict::Lost)));
    }

    #[test]
    fn what_no_table_knows_is_lost_and_not_passed_over() {
        let mut found = Vec::new();
        look_up(DEVICES, "VirtualTeleporter", || "Teleporter 1".into(), &mut found);
        assert_eq!(found[0].verdict, Verdict::Lost);
        assert!(found[0].to_string().contains("VirtualTeleporter"), "{}", found[0]);
        look_up(DEVICES, VirtualDisk::INFO.name, || "Hard disk 1".into(), &mut found);
        assert_eq!(found.len(), 1);
    }
}
