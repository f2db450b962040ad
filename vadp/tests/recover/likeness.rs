//! Whether one machine is configured like another. It knows what a server decides by itself, from the API's reference, and nothing of how
//! a recovery works; all else has to be the same, unless a loss says that it is not.

use std::collections::{BTreeMap, BTreeSet};

use vadp::capture::{Loss, Verdict};
use vim_api::dynamic::{DataObject, Poly, Value, get_path};
use vim_api::types as t;

/// What is a server's result, or belongs to a place.
const SERVERS: [&str; 7] =
    ["changeVersion", "modified", "createDate", "locationId", "files", "datastoreUrl", "vmxConfigChecksum"];

/// Options that the server keeps for itself.
const OWN_OPTIONS: [&str; 2] = ["nvram", "uuid.action"];

/// What differs without a loss that says so.
pub(crate) fn differences(
    was: &t::VirtualMachineConfigInfo,
    is: &t::VirtualMachineConfigInfo,
    losses: &[Loss],
) -> Vec<String> {
    let mut found = Vec::new();
    let told: BTreeSet<&str> = losses.iter().map(|loss| loss.subject.as_str()).collect();
    for field in t::VirtualMachineConfigInfo::INFO.fields {
        let name = field.name;
        if SERVERS.contains(&name)
            || told.contains(name)
            || ["hardware", "extraConfig", "bootOptions"].contains(&name)
        {
            continue;
        }
        let value = |config: &t::VirtualMachineConfigInfo| plain(get_path(config, name).unwrap());
        if value(was) != value(is) {
            found.push(format!("{name}: was {}, is {}", value(was), value(is)));
        }
    }
    for name in [
        "numCPU",
        "numCoresPerSocket",
        "memoryMB",
        "motherboardLayout",
        "simultaneousThreads",
        "virtualICH7MPresent",
    ] {
        let path = format!("hardware.{name}");
        let value = |config: &t::VirtualMachineConfigInfo| plain(get_path(config, &path).unwrap());
        if value(was) != value(is) {
            found.push(format!("{path}: was {}, is {}", value(was), value(is)));
        }
    }
    let options = |config: &t::VirtualMachineConfigInfo| -> BTreeMap<String, String> {
        let all = config.extra_config.iter();
        let foreign = all.filter(|option| !OWN_OPTIONS.contains(&option.key.as_str()));
        foreign
            .filter(|option| !told.contains(format!("option {}", option.key).as_str()))
            .map(|option| (option.key.clone(), format!("{:?}", option.value)))
            .collect()
    };
    if options(was) != options(is) {
        found.push(format!("extraConfig: was {:?}, is {:?}", options(was), options(is)));
    }
    let (boots, boots_now) = (boot(was), boot(is));
    if boots != boots_now && !told.contains("bootOptions.bootOrder") {
        found.push(format!("bootOptions: was {boots:?}, is {boots_now:?}"));
    }
    found.extend(devices(was, is, losses));
    found
}

fn plain(value: Option<Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        // What is not set, and what is set to nothing, is the same to everybody.
        Some(Value::Array(array)) if array.items().is_empty() => "nothing".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "nothing".to_owned(),
        Some(value) => format!("{value:?}"),
    }
}

/// Boot options, with places instead of keys.
fn boot(config: &t::VirtualMachineConfigInfo) -> Vec<String> {
    let Some(options) = config.boot_options.as_deref() else { return Vec::new() };
    let mut rest = options.clone();
    rest.boot_order.clear();
    let mut lines = vec![format!("{rest:?}")];
    for entry in &options.boot_order {
        let disk = entry.downcast_ref::<t::VirtualMachineBootOptionsBootableDiskDevice>();
        let card = entry.downcast_ref::<t::VirtualMachineBootOptionsBootableEthernetDevice>();
        let key = disk.map(|disk| disk.device_key).or(card.map(|card| card.device_key));
        let place =
            key.map(|key| place(config, config.hardware.device.iter().find(|d| d.key == key).unwrap()));
        lines.push(format!("{} {place:?}", entry.type_name()));
    }
    lines
}

/// Where a device is, without any key: what it is on, by type and bus, and its unit.
fn place(config: &t::VirtualMachineConfigInfo, device: &Poly<t::VirtualDevice>) -> String {
    if let Some(controller) = device.downcast_ref::<t::VirtualController>() {
        return format!("{} {}", device.type_name(), controller.bus_number);
    }
    let on = device.controller_key.and_then(|key| config.hardware.device.iter().find(|on| on.key == key));
    let unit = device.unit_number;
    match on {
        Some(on) => format!("{} unit {unit:?} of {}", device.type_name(), place(config, on)),
        None => format!("{} unit {unit:?}", device.type_name()),
    }
}

fn devices(
    was: &t::VirtualMachineConfigInfo,
    is: &t::VirtualMachineConfigInfo,
    losses: &[Loss],
) -> Vec<String> {
    let label = |device: &Poly<t::VirtualDevice>| {
        device.device_info.as_ref().map(|info| info.label.clone()).unwrap_or_default()
    };
    let told = |subject: String| losses.iter().find(|loss| loss.subject == subject);
    let mut left: BTreeMap<String, &Poly<t::VirtualDevice>> =
        is.hardware.device.iter().map(|device| (place(is, device), device)).collect();
    assert_eq!(left.len(), is.hardware.device.len(), "two devices are at one place");
    let mut found = Vec::new();
    for device in &was.hardware.device {
        let (place, label) = (place(was, device), label(device));
        let loss = told(label.clone());
        match (left.remove(&place), loss) {
            (None, Some(loss)) if loss.verdict == Verdict::Lost => {}
            (None, _) => found.push(format!("{label} ({place}) is not there, and the losses are {losses:?}")),
            (Some(_), Some(loss)) if loss.verdict == Verdict::Lost => {
                found.push(format!("{label} ({place}) is there, and said to be lost"));
            }
            // What changed is for a test that knows how.
            (Some(_), Some(_)) => {}
            (Some(now), None) => {
                let is_told = |what: &str| told(format!("{label}, {what}")).is_some();
                let (old, new) = (bare(device, &is_told), bare(now, &is_told));
                if old != new {
                    found.push(format!("{label} ({place}): was {old}\nis {new}"));
                }
            }
        }
    }
    found.extend(left.into_keys().map(|place| format!("{place} is new")));
    found
}

/// A device without what is the server's.
fn bare(device: &Poly<t::VirtualDevice>, is_told: &dyn Fn(&str) -> bool) -> String {
    let mut device = device.clone();
    device.key = 0;
    device.controller_key = None;
    device.device_info = None;
    if let Some(connectable) = &mut device.connectable {
        connectable.status = None;
        connectable.connected = false;
        connectable.migrate_connect = None;
    }
    if let Some(controller) = device.downcast_mut::<t::VirtualController>() {
        controller.device.clear();
        controller.base.unit_number = None;
    }
    if let Some(file) =
        device.backing.as_mut().and_then(|b| b.downcast_mut::<t::VirtualDeviceFileBackingInfo>())
    {
        file.datastore = None;
        file.file_name = String::new();
        file.backing_object_id = None;
    }
    if let Some(flat) =
        device.backing.as_mut().and_then(|b| b.downcast_mut::<t::VirtualDiskFlatVer2BackingInfo>())
    {
        flat.change_id = None;
        flat.content_id = None;
        flat.parent = None;
        // Of links over others alone.
        flat.delta_disk_format = None;
        // Thick, and zeroed on use, is said in two ways.
        flat.eagerly_scrub = Some(flat.eagerly_scrub == Some(true));
        if is_told("uuid") {
            flat.uuid = None;
        }
    }
    if let Some(disk) = device.downcast_mut::<t::VirtualDisk>() {
        disk.disk_object_id = None;
    }
    if let Some(card) = device.downcast_mut::<t::VirtualEthernetCard>()
        && is_told("MAC address")
    {
        card.mac_address = None;
        card.address_type = None;
    }
    format!("{:?}", device.as_object())
}
