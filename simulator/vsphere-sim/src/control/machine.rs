//! A machine as the control port shows it, with its snapshots and disks.

use serde_json::{Value, json};
use vim_api::types as t;

use super::inventory::{path_to, power};
use crate::machine::{self, Machine, Snapshot};
use crate::world::{Shared, World};
use crate::{Error, ErrorKind, Result};

/// `GET /v1/machines/ID`.
pub(super) fn show(shared: &Shared, id: &str) -> Result<Value> {
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no machine {id:?}"));
    shared.read(|world| world.machine(id).map(|machine| describe(world, machine))).ok_or_else(missing)
}

fn describe(world: &World, machine: &Machine) -> Value {
    let config = &machine.config;
    let named = |id: &str| json!({ "id": id, "path": path_to(world, id) });
    json!({
        "id": machine.id,
        "name": machine.plain_name(),
        "power": power(machine.power),
        "template": config.template,
        "guest": config.guest_full_name,
        "cpus": config.hardware.num_cpu,
        "memory_mib": config.hardware.memory_mb,
        "uuid": config.uuid,
        "instance_uuid": config.instance_uuid,
        "vmx": config.files.vm_path_name,
        "folder": named(&machine.folder),
        "host": named(&machine.host),
        "pool": machine.pool.as_deref().map(named),
        "created": machine.created.date_time().as_str(),
        "tracked": machine.is_tracked(),
        "consolidation_needed": machine.consolidation_needed,
        "task": machine.busy,
        // A generated machine gets its files when it is used first.
        "has_files": !machine.untouched,
        "disks": disks(config),
        "current_snapshot": machine.current_snapshot,
        "snapshots": machine.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
    })
}

fn snapshot(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "created": snapshot.created.date_time().as_str(),
        "power": power(snapshot.power),
        "quiesced": snapshot.quiesced,
        "parent": snapshot.parent,
        "disks": disks(&snapshot.config),
    })
}

fn disks(config: &t::VirtualMachineConfigInfo) -> Vec<Value> {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let shown = disks.filter_map(|disk| {
        let backing = machine::flat(disk)?;
        Some(json!({
            "key": disk.base.key,
            "label": disk.base.device_info.as_ref().map(|info| &info.label),
            "capacity": machine::capacity(disk),
            "path": backing.base.file_name,
            "uuid": backing.uuid,
            "mode": backing.disk_mode,
            "thin": backing.thin_provisioned,
            "change_id": backing.change_id,
        }))
    });
    shown.collect()
}
