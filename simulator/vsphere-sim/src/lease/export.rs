//! Leases to take a machine's disks out.

use std::sync::Arc;

use super::{Way, Wish, start};
use crate::fault::{Outcome, not_found, task_in_progress};
use crate::inventory::Node;
use crate::machine::Power;
use crate::power::wrong_state;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `VirtualMachine.ExportVm`, of a machine that is off, and `VirtualMachineSnapshot.ExportSnapshot`, of any.
pub(crate) fn export(shared: &Arc<Shared>, cookie: &str, user: &str, call: &Call) -> Outcome<Answer> {
    let id = call.this.value();
    start(shared, cookie, user, call, |world| {
        let (machine, snapshot) = match call.this.type_name() {
            "VirtualMachine" => (world.machine(id).ok_or_else(|| not_found(&call.this))?, None),
            _ => {
                let (machine, snapshot) = world.snapshot(id).ok_or_else(|| not_found(&call.this))?;
                (machine, Some(snapshot))
            }
        };
        if let Some(task) = &machine.busy {
            return Err(task_in_progress(task));
        }
        let config = match snapshot {
            None if machine.power != Power::Off => return Err(wrong_state(Power::Off, machine.power)),
            None => world.config_of(Node::Machine(machine))?,
            Some(snapshot) => world.config_of(Node::Snapshot(machine, snapshot))?,
        };
        Ok(Wish {
            machine: machine.id.clone(),
            snapshot: snapshot.map(|snapshot| snapshot.id.clone()),
            way: Way::Out,
            files: world.lease_files(&machine.id, &config)?,
            import: None,
            description_id: match snapshot {
                None => "VirtualMachine.exportVm",
                Some(_) => "vm.Snapshot.exportSnapshot",
            },
        })
    })
}
