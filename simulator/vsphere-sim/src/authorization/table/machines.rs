//! Calls about machines whose needs depend on what is asked for.

use vim_api::MoRef;
use vim_api::dynamic::{DataObject, Poly, Value, get_path};
use vim_api::types as t;

use super::{Asked, Needs, property_path};
use crate::authorization::VIEW;
use crate::fault::Outcome;

/// Fields of a configuration, and what changing them takes. Any other takes [`OTHERWISE`].
const FIELDS: &[(&str, &str)] = &[
    ("changeVersion", VIEW),
    ("name", "VirtualMachine.Config.Rename"),
    ("annotation", "VirtualMachine.Config.Annotation"),
    ("changeTrackingEnabled", "VirtualMachine.Config.ChangeTracking"),
    ("numCPUs", "VirtualMachine.Config.CPUCount"),
    ("numCoresPerSocket", "VirtualMachine.Config.CPUCount"),
    ("cpuHotAddEnabled", "VirtualMachine.Config.CPUCount"),
    ("cpuHotRemoveEnabled", "VirtualMachine.Config.CPUCount"),
    ("memoryMB", "VirtualMachine.Config.Memory"),
    ("memoryHotAddEnabled", "VirtualMachine.Config.Memory"),
    ("cpuAllocation", "VirtualMachine.Config.Resource"),
    ("memoryAllocation", "VirtualMachine.Config.Resource"),
    ("extraConfig", "VirtualMachine.Config.AdvancedConfig"),
    ("managedBy", "VirtualMachine.Config.ManagedBy"),
    ("swapPlacement", "VirtualMachine.Config.SwapPlacement"),
];
const OTHERWISE: &str = "VirtualMachine.Config.Settings";

/// `ReconfigVM_Task`: one privilege for each kind of change.
pub(super) fn reconfigure(asked: &Asked<'_>) -> Outcome<Needs> {
    let spec: t::VirtualMachineConfigSpec = asked.call.required("spec")?;
    let mut needs = vec![asked.on_this(VIEW)];
    for field in <t::VirtualMachineConfigSpec as DataObject>::INFO.fields {
        let is_set = match get_path(&spec, field.name) {
            Ok(Some(Value::Array(array))) => !array.items().is_empty(),
            Ok(value) => value.is_some(),
            Err(_) => false,
        };
        if !is_set || field.name == "deviceChange" {
            continue;
        }
        let privilege =
            FIELDS.iter().find(|(name, _)| *name == field.name).map_or(OTHERWISE, |(_, need)| need);
        needs.push(asked.on_this(privilege));
    }
    needs.extend(spec.device_change.iter().map(|change| asked.on_this(device_privilege(asked, change))));
    needs.extend(spec.device_change.iter().flat_map(|change| networks(&change.device)));
    Ok(needs)
}

/// `CreateVM_Task`: on the folder, the pool, the datastores and the networks.
pub(super) fn create(asked: &Asked<'_>) -> Outcome<Needs> {
    let spec: t::VirtualMachineConfigSpec = asked.call.required("config")?;
    let mut needs = asked.by_schema();
    needs.extend(asked.on_argument("pool", "Resource.AssignVMToPool")?);
    if let Some(path) = spec.files.as_ref().and_then(|files| files.vm_path_name.as_ref()) {
        needs.push((asked.store_of(path), "Datastore.AllocateSpace".to_owned()));
    }
    for change in &spec.device_change {
        if change.device.is::<t::VirtualDisk>() {
            needs.push(asked.on_this(device_privilege(asked, change)));
        }
        needs.extend(networks(&change.device));
    }
    Ok(needs)
}

/// `RegisterVM_Task`.
pub(super) fn register(asked: &Asked<'_>) -> Outcome<Needs> {
    let path: String = asked.call.required("path")?;
    let mut needs = asked.by_schema();
    needs.push((asked.store_of(&path), "System.Read".to_owned()));
    needs.extend(asked.on_argument("pool", "Resource.AssignVMToPool")?);
    Ok(needs)
}

/// `CloneVM_Task`: a machine or a template becomes a machine or a template.
pub(super) fn copy(asked: &Asked<'_>) -> Outcome<Needs> {
    let spec: t::VirtualMachineCloneSpec = asked.call.required("spec")?;
    let from_template =
        matches!(property_path(asked.world, &asked.call.this, "config", "template"), Some(Value::Bool(true)));
    let privilege = match (from_template, spec.template) {
        (true, true) => "VirtualMachine.Provisioning.CloneTemplate",
        (true, false) => "VirtualMachine.Provisioning.DeployTemplate",
        (false, true) => "VirtualMachine.Provisioning.CreateTemplateFromVM",
        (false, false) => "VirtualMachine.Provisioning.Clone",
    };
    let mut needs = vec![asked.on_this(privilege)];
    needs.extend(asked.on_argument("folder", "VirtualMachine.Inventory.CreateFromExisting")?);
    needs.extend(places(&spec.location));
    Ok(needs)
}

/// `RelocateVM_Task` and `MigrateVM_Task`: it matters whether the machine is on.
pub(super) fn relocate(asked: &Asked<'_>) -> Outcome<Needs> {
    let power = property_path(asked.world, &asked.call.this, "runtime", "powerState");
    let is_off = matches!(power, Some(Value::Enum { value, .. }) if &*value == "poweredOff");
    let privilege = if is_off { "Resource.ColdMigrate" } else { "Resource.HotMigrate" };
    let mut needs = vec![asked.on_this(privilege)];
    if let Some(spec) = asked.call.optional::<t::VirtualMachineRelocateSpec>("spec")? {
        needs.extend(places(&spec));
    }
    needs.extend(asked.on_argument("pool", "Resource.AssignVMToPool")?);
    Ok(needs)
}

/// `MarkAsVirtualMachine`.
pub(super) fn mark_as_machine(asked: &Asked<'_>) -> Outcome<Needs> {
    let mut needs = asked.by_schema();
    needs.extend(asked.on_argument("pool", "Resource.AssignVMToPool")?);
    Ok(needs)
}

/// On where a machine goes.
fn places(spec: &t::VirtualMachineRelocateSpec) -> Needs {
    let on = |object: MoRef, privilege: &str| (object, privilege.to_owned());
    let pool = spec.pool.as_ref().map(|pool| on(pool.cast(), "Resource.AssignVMToPool"));
    let store = spec.datastore.as_ref().map(|store| on(store.cast(), "Datastore.AllocateSpace"));
    let disks = spec.disk.iter().map(|disk| on(disk.datastore.cast(), "Datastore.AllocateSpace"));
    pool.into_iter().chain(store).chain(disks).collect()
}

fn device_privilege(asked: &Asked<'_>, change: &t::VirtualDeviceConfigSpec) -> &'static str {
    use t::VirtualDeviceConfigSpecOperation as Operation;
    let device = &change.device;
    let Some(disk) = device.downcast_ref::<t::VirtualDisk>() else {
        return match change.operation {
            Some(Operation::Edit) | None => "VirtualMachine.Config.EditDevice",
            _ if device.is::<t::VirtualUSB>() => "VirtualMachine.Config.HostUSBDevice",
            _ => "VirtualMachine.Config.AddRemoveDevice",
        };
    };
    let is_raw = disk.backing.as_ref().is_some_and(|backing| {
        backing.is::<t::VirtualDiskRawDiskMappingVer1BackingInfo>()
            || backing.is::<t::VirtualDiskRawDiskVer2BackingInfo>()
    });
    match change.operation {
        Some(Operation::Add) if is_raw => "VirtualMachine.Config.RawDevice",
        Some(Operation::Add) if change.file_operation.is_some() => "VirtualMachine.Config.AddNewDisk",
        Some(Operation::Add) => "VirtualMachine.Config.AddExistingDisk",
        Some(Operation::Remove) => "VirtualMachine.Config.RemoveDisk",
        _ => {
            let path = format!("hardware.device[{}].capacityInKB", disk.key);
            let grows = match property_path(asked.world, &asked.call.this, "config", &path) {
                Some(Value::Long(now)) => {
                    disk.capacity_in_kb > now
                        || disk.capacity_in_bytes.is_some_and(|bytes| bytes > now.saturating_mul(1024))
                }
                _ => false,
            };
            if grows { "VirtualMachine.Config.DiskExtend" } else { "VirtualMachine.Config.EditDevice" }
        }
    }
}

/// The network that a card is put on.
fn networks(device: &Poly<t::VirtualDevice>) -> Option<(MoRef, String)> {
    let backing = device.backing.as_ref()?.downcast_ref::<t::VirtualEthernetCardNetworkBackingInfo>()?;
    Some((backing.network.as_ref()?.cast(), "Network.Assign".to_owned()))
}
