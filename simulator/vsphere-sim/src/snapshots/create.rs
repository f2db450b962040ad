//! Taking a snapshot.

use std::fs;
use std::sync::{Arc, PoisonError};

use sim_store::snapshot::{self, NewLink};
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;

use super::vss;
use crate::chain::{self, Held, HostLink};
use crate::fault::{Outcome, fault, from_store, not_found};
use crate::inventory::{machine_ref, moref, vmsn};
use crate::machine::{DiskState, Machine, Power, Snapshot};
use crate::recovery::{self, Intent};
use crate::tasks::Progress;
use crate::world::Shared;

/// What the client asked for.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) memory: bool,
    pub(super) quiesce: bool,
    /// The guest's VSS is asked to quiesce it, if it has one.
    pub(super) vss: bool,
}

/// Takes a snapshot and answers its reference. If any disk fails, all are as before.
pub(super) fn create(shared: &Shared, id: &str, wish: Wish, progress: &mut Progress<'_>) -> Outcome<Value> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let running = machine.power == Power::On;
    let disks: Vec<DiskState> = machine.disks().into_iter().filter(|disk| !disk.independent).collect();
    if wish.memory && running && disks.len() < machine.disks().len() {
        let message = "The memory of a machine that is on cannot be kept where it has independent disks.";
        return Err(fault(t::SnapshotFault::default(), message));
    }
    let links = chain::links(shared, &disks)?;
    // From here on the guest stands still, so that all disks show the same moment.
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    let number = machine.last_snapshot + 1;
    let intent = Intent::of(id)
        .changes_chains(shared, &machine)?
        .makes_children(shared, &disks)?
        .makes_snapshot(shared, &machine, number)?;
    recovery::carry_out(shared, intent, |_| {
        let made = freeze(&links, progress)?;
        write_state(shared, &machine, number, "vmsn", &wish.name)?;
        if wish.memory && running {
            write_state(shared, &machine, number, "vmem", &wish.name)?;
        }
        if wish.vss && running && vss::is_in(&machine) {
            vss::write_manifest(shared, &machine, number)?;
        }
        note(shared, &machine, number, wish, &links, &made)
    })
}

/// Takes the snapshot into the inventory, and lets the live disks be the new links.
fn note(
    shared: &Shared,
    machine: &Machine,
    number: u32,
    wish: Wish,
    links: &[HostLink],
    made: &[NewLink],
) -> Outcome<Value> {
    let (id, running) = (machine.id.as_str(), machine.power == Power::On);
    let children: Vec<_> = links
        .iter()
        .zip(made)
        .map(|(link, new)| Ok((link.key, chain::beside(&link.path, &new.child)?)))
        .collect::<Outcome<_>>()?;
    let mut kept = machine.config.clone();
    for (link, new) in links.iter().zip(made) {
        stamp(Arc::make_mut(&mut kept), link.key, new.change_id.map(|change_id| change_id.to_string()));
    }
    let reference = shared.update(|world| {
        let now = world.clock.now();
        let snapshot_id = world.next_snapshot_id(id, number);
        let mut live =
            world.machine(id).ok_or_else(|| not_found(&machine_ref(machine).cast()))?.config.clone();
        let path_of = |key| children.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
        chain::follow(world, Arc::make_mut(&mut live), &path_of);
        if let Some(machine) = world.machine_mut(id) {
            machine.config = live;
            machine.last_snapshot = number;
        }
        let snapshot = Snapshot {
            id: snapshot_id.clone(),
            number,
            name: wish.name,
            description: wish.description,
            created: now,
            power: if wish.memory { machine.power } else { Power::Off },
            quiesced: wish.quiesce && running,
            parent: machine.current_snapshot.clone(),
            config: kept,
        };
        world.add_snapshot(id, snapshot);
        Ok(moref::<vim_api::mo::VirtualMachineSnapshot>(&snapshot_id))
    })?;
    Ok(reference.to_value())
}

/// Writes the id that a snapshot stamped into the backing of a disk that it keeps.
fn stamp(config: &mut t::VirtualMachineConfigInfo, key: i32, change_id: Option<String>) {
    let mut disks =
        config.hardware.device.iter_mut().filter_map(|device| device.downcast_mut::<t::VirtualDisk>());
    let disk = disks.find(|disk| disk.base.key == key);
    let backing = disk.and_then(|disk| disk.base.backing.as_mut());
    if let Some(flat) =
        backing.and_then(|backing| backing.downcast_mut::<t::VirtualDiskFlatVer2BackingInfo>())
    {
        flat.change_id = change_id;
    }
}

fn freeze(links: &[HostLink], progress: &mut Progress<'_>) -> Outcome<Vec<NewLink>> {
    let mut made = Vec::new();
    for link in links {
        made.push(snapshot::create(&link.host).map_err(|error| from_store(&error, &link.path.to_string()))?);
        progress.step(made.len() as u64, links.len() as u64)?;
    }
    Ok(made)
}

/// The files that a real host keeps the devices' state and the memory in; here they only say which snapshot they are of.
fn write_state(shared: &Shared, machine: &Machine, number: u32, kind: &str, name: &str) -> Outcome<()> {
    let Some(path) = vmsn(machine, number) else { return Ok(()) };
    let host =
        shared.read(|world| world.resolve(&path)).map_err(|error| from_store(&error, &path.to_string()))?;
    fs::write(host.with_extension(kind), format!("snapshot state of {name:?}\n"))
        .map_err(|error| chain::unwritable(machine, &error))
}
