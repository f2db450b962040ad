//! Taking a snapshot.

use std::fs;
use std::path::PathBuf;
use std::sync::PoisonError;

use sim_store::snapshot::{self, NewLink};
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;

use crate::chain::{self, Held, HostLink};
use crate::fault::{Fault, Outcome, fault, from_store, not_found};
use crate::inventory::{machine_ref, moref};
use crate::machine::{Power, Snapshot};
use crate::tasks::Progress;
use crate::world::Shared;

/// What the client asked for.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) memory: bool,
    pub(super) quiesce: bool,
}

/// Takes a snapshot and answers its reference. If any disk fails, all are as before.
pub(super) fn create(shared: &Shared, id: &str, wish: Wish, progress: &mut Progress<'_>) -> Outcome<Value> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let running = machine.power == Power::On;
    if wish.memory && running {
        return Err(fault(t::NotSupported::default(), "A snapshot of the memory is not supported."));
    }
    let links = Held::links(shared, &machine.settings.disks)?;
    // From here on the guest stands still, so that all disks show the same moment.
    let stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    let mut made: Vec<NewLink> = Vec::new();
    let frozen = freeze(&links, &mut made, progress).and_then(|()| write_state(shared, &machine, &wish));
    if let Err(fault) = frozen {
        return Err(roll_back(&made, fault));
    }
    let children: Outcome<Vec<_>> =
        links.iter().zip(&made).map(|(link, new)| chain::beside(&link.path, &new.child)).collect();
    let children = match children {
        Ok(children) => children,
        Err(fault) => return Err(roll_back(&made, fault)),
    };
    let reference = shared.update(|world| {
        let now = world.clock.now();
        let snapshot_id = format!("snapshot-{}", world.next_id());
        let machine = world.machine_mut(id).ok_or_else(|| not_found(&machine_ref(&machine).cast()))?;
        let mut settings = machine.settings.clone();
        for (disk, new) in settings.disks.iter_mut().zip(&made) {
            disk.change_id = new.change_id.map(|change_id| change_id.to_string());
        }
        for (disk, child) in machine.settings.disks.iter_mut().zip(children) {
            disk.path = child;
        }
        machine.last_snapshot += 1;
        machine.snapshots.push(Snapshot {
            id: snapshot_id.clone(),
            number: machine.last_snapshot,
            name: wish.name,
            description: wish.description,
            created: now,
            power: Power::Off,
            quiesced: wish.quiesce && running,
            parent: machine.current_snapshot.take(),
            settings,
        });
        machine.current_snapshot = Some(snapshot_id.clone());
        Ok(moref::<vim_api::mo::VirtualMachineSnapshot>(&snapshot_id))
    })?;
    let machine = Held::take(shared, id)?.machine;
    chain::apply_tracking(shared, &machine.settings)?;
    drop(stunned);
    chain::write_text_files(shared, id)?;
    Ok(reference.to_value())
}

fn freeze(links: &[HostLink], made: &mut Vec<NewLink>, progress: &mut Progress<'_>) -> Outcome<()> {
    for link in links {
        made.push(snapshot::create(&link.host).map_err(|error| from_store(&error, &link.path.to_string()))?);
        progress.step(made.len() as u64, links.len() as u64)?;
    }
    Ok(())
}

/// The file that a real server keeps the devices' state in; here it only says which snapshot it is.
fn write_state(shared: &Shared, machine: &crate::machine::Machine, wish: &Wish) -> Outcome<()> {
    let Some(path) = machine.vmsn(machine.last_snapshot + 1) else { return Ok(()) };
    let host =
        shared.read(|world| world.resolve(&path)).map_err(|error| from_store(&error, &path.to_string()))?;
    fs::write(&host, format!("snapshot state of {:?}\n", wish.name)).map_err(|error| {
        let value = t::FileFault { file: path.to_string(), ..Default::default() };
        fault(value, format!("The snapshot's state cannot be written: {error}"))
    })
}

/// Takes the new links away again. The fault stays the one that led here.
fn roll_back(made: &[NewLink], fault: Fault) -> Fault {
    for new in made {
        let child: &PathBuf = &new.child;
        if let Err(error) = sim_store::delete(child) {
            tracing::error!(%error, "a link of a failed snapshot is left behind");
        }
    }
    fault
}
