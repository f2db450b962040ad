//! Holding a disk while it is worked on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sim_store::{DatastorePath, tracking};
use vim_api::{MoRef, mo};

use super::{FirstClassDisk, held_disks, invalid_state, missing};
use crate::chain::{self, host_of};
use crate::fault::{Fault, Outcome, from_store, not_found, task_in_progress};
use crate::machine::{Machine, Snapshot};
use crate::recovery::Intent;
use crate::world::{Shared, World};

/// A disk that nobody else works on, with the machine that has it. It is set free when this is dropped.
pub(super) struct Held<'s> {
    pub(super) shared: &'s Shared,
    /// As it was when it was taken.
    pub(super) disk: FirstClassDisk,
    pub(super) machine: Option<(Machine, i32)>,
    _machine: Option<HeldMachine<'s>>,
}

/// A machine that no task works on but this one. It is set free when this is dropped.
pub(super) struct HeldMachine<'s> {
    shared: &'s Shared,
    id: String,
}

impl<'s> HeldMachine<'s> {
    /// Takes a machine for a task.
    ///
    /// # Errors
    /// `ManagedObjectNotFound`; `TaskInProgress` if it is held by another.
    pub(super) fn take(shared: &'s Shared, id: &str, task: &str) -> Outcome<Self> {
        shared.update(|world| Self::take_in(world, shared, id, task))
    }

    fn take_in(world: &mut World, shared: &'s Shared, id: &str, task: &str) -> Outcome<Self> {
        let gone = || not_found(&MoRef::<mo::VirtualMachine>::new(id).cast());
        if let Some(other) = &world.machine(id).ok_or_else(gone)?.busy {
            return Err(in_progress(other));
        }
        world.set_busy(id, Some(task.to_owned()));
        Ok(Self { shared, id: id.to_owned() })
    }
}

impl Drop for HeldMachine<'_> {
    fn drop(&mut self) {
        self.shared.update(|world| world.set_busy(&self.id, None));
    }
}

impl<'s> Held<'s> {
    /// Takes a disk, and the machine that has it, for a task.
    ///
    /// # Errors
    /// `NotFound`; `TaskInProgress` if the disk or the machine is held by another task.
    pub(super) fn take(shared: &'s Shared, id: &str, task: &str) -> Outcome<Self> {
        Self::take_for(shared, id, task, true)
    }

    /// Takes a disk alone, where the task holds the machine already.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(super) fn take_alone(shared: &'s Shared, id: &str, task: &str) -> Outcome<Self> {
        Self::take_for(shared, id, task, false)
    }

    fn take_for(shared: &'s Shared, id: &str, task: &str, with_machine: bool) -> Outcome<Self> {
        shared.update(|world| {
            let disk = world.first_class.get(id).cloned().ok_or_else(|| missing("disk", id))?;
            if let Some(other) = &disk.busy {
                return Err(in_progress(other));
            }
            let machine = world.consumer_of(id).map(|(machine, key)| (machine.clone(), key));
            let to_hold = machine.as_ref().filter(|_| with_machine);
            let held = to_hold.map(|(machine, _)| HeldMachine::take_in(world, shared, &machine.id, task));
            let held = held.transpose()?;
            world.first_class.hold(id, Some(task.to_owned()));
            Ok(Self { shared, disk, machine, _machine: held })
        })
    }

    /// The disk's file on this machine.
    pub(super) fn host(&self) -> Outcome<PathBuf> {
        host_of(self.shared, &self.disk.path)
    }

    /// What is locked while the chain of the disk changes.
    pub(super) fn stun(&self) -> Arc<Mutex<()>> {
        self.machine.as_ref().map(|(machine, _)| Arc::clone(&machine.stun)).unwrap_or_default()
    }

    /// # Errors
    /// `InvalidState` if a machine has the disk.
    pub(super) fn check_detached(&self) -> Outcome<()> {
        match &self.machine {
            Some((machine, _)) => {
                Err(invalid_state(format!("The disk is attached to the machine {}.", machine.plain_name())))
            }
            None => Ok(()),
        }
    }

    /// # Errors
    /// `InvalidState` if the disk has snapshots, or a snapshot of a machine has the disk.
    pub(super) fn check_no_snapshots(&self) -> Outcome<()> {
        if !self.disk.snapshots.is_empty() {
            return Err(invalid_state("The disk has snapshots."));
        }
        match self.shared.read(|world| world.kept_by(&self.disk.id).map(Machine::plain_name).next()) {
            Some(machine) => Err(invalid_state(format!("A snapshot of the machine {machine} has the disk."))),
            None => Ok(()),
        }
    }

    /// Brings the tracking of changes in line with what is wanted.
    pub(super) fn apply_tracking(&self) -> Outcome<()> {
        let host = self.host()?;
        let wanted =
            self.disk.tracked || self.machine.as_ref().is_some_and(|(machine, _)| machine.is_tracked());
        let done = if wanted { tracking::enable(&host, None) } else { tracking::disable(&host) };
        done.map_err(|error| from_store(&error, &self.disk.path.to_string()))
    }

    /// An intent that names all links of the disk, and of the machine that has it.
    pub(super) fn intent(&self) -> Outcome<Intent> {
        let intent = match &self.machine {
            Some((machine, _)) => Intent::of(&machine.id).changes_chains(self.shared, machine)?,
            None => Intent::default(),
        };
        intent.changes_links(self.shared, self.disk.paths())
    }

    /// Lets the disk, and the machine that has it, go on with another link.
    pub(super) fn go_on_with(&self, path: &DatastorePath) {
        self.shared.update(|world| match &self.machine {
            Some((machine, key)) => {
                let mut config = machine.config.clone();
                let path_of = |found| (found == *key).then(|| path.clone());
                chain::follow(world, Arc::make_mut(&mut config), &path_of);
                if let Some(found) = world.machine_mut(&machine.id) {
                    found.config = config;
                }
            }
            None => {
                if let Some(disk) = world.first_class.get_mut(&self.disk.id) {
                    disk.path = path.clone();
                }
            }
        });
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.update(|world| world.first_class.hold(&self.disk.id, None));
    }
}

impl super::Catalogue {
    /// Holds a disk for a task, or sets it free.
    fn hold(&mut self, id: &str, task: Option<String>) {
        if let Some(disk) = self.known.get_mut(id) {
            disk.busy = task;
        }
    }
}

/// The host paths of the links that are somebody's: those of the disk's snapshots, and of snapshots of machines that have
/// the disk or have had it.
pub(crate) fn owned_links(shared: &Shared, disk: &FirstClassDisk) -> Outcome<Vec<PathBuf>> {
    let id = disk.id.as_str();
    let (mut owned, machines) = shared.read(|world| {
        let mut machines: Vec<Machine> = world.kept_by(id).cloned().collect();
        machines.extend(world.consumer_of(id).map(|(machine, _)| machine.clone()));
        (super::owned(world, [id]), machines)
    });
    for machine in machines {
        owned.extend(chain::owned(shared, &machine)?);
    }
    Ok(owned)
}

/// The first-class disks that a machine or one of its snapshots has.
pub(crate) fn of_machine(machine: &Machine) -> BTreeSet<String> {
    let kept = machine.snapshots.iter().map(|snapshot: &Snapshot| &snapshot.config);
    let configs = std::iter::once(&machine.config).chain(kept);
    configs.flat_map(|config| held_disks(config)).map(|(id, _)| id).collect()
}

/// What is done without a task has none to name.
fn in_progress(task: &str) -> Fault {
    match task {
        "" => invalid_state("The disk is being changed."),
        task => task_in_progress(task),
    }
}
