//! Snapshots of a disk alone, whether a machine has it or not, and what changed between them.

use std::sync::{Arc, PoisonError};

use sim_store::snapshot::{self, Removal};
use vim_api::dynamic::Element;
use vim_api::types as t;

use super::hold::{Held, owned_links};
use super::{DiskSnapshot, FirstClassDisk, id, missing};
use crate::cbt;
use crate::chain;
use crate::fault::{Outcome, from_store};
use crate::lease;
use crate::random;
use crate::recovery;
use crate::tasks::{Progress, Work};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `VStorageObjectCreateSnapshot_Task`. The task answers the snapshot's id.
pub(super) fn create(call: &Call) -> Outcome<Work> {
    let disk: t::ID = call.required("id")?;
    let description: String = call.required("description")?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &disk.id, progress.task())?;
        progress.fail_early()?;
        let (host, path) = (held.host()?, held.disk.path.clone());
        let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
        // From here on the guest of the machine that has the disk stands still.
        let stun = held.stun();
        let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = random::uuid();
        recovery::carry_out(shared, held.intent()?.makes_child(shared, &path)?, |_| {
            held.apply_tracking()?;
            let made = snapshot::create(&host).map_err(failed)?;
            // A disk whose link is frozen without a snapshot loses nothing; one that went on writing to it would.
            held.go_on_with(&chain::beside(&path, &made.child)?);
            shared.update(|world| {
                let created = world.clock.now();
                if let Some(disk) = world.first_class.get_mut(&disk.id) {
                    disk.snapshots.push(DiskSnapshot {
                        id: snapshot.clone(),
                        path: path.clone(),
                        description,
                        created,
                        change_id: made.change_id.map(|change_id| change_id.to_string()),
                        metadata: disk.metadata.clone(),
                    });
                }
            });
            Ok(())
        })?;
        tracing::info!(disk = disk.id, snapshot, "snapshot of a first-class disk taken");
        Ok(Some(id(&snapshot).to_value()))
    }))
}

/// `DeleteSnapshot_Task`: the snapshot's link is merged with the one over it.
pub(super) fn delete(call: &Call) -> Outcome<Work> {
    let (disk, snapshot): (t::ID, t::ID) = (call.required("id")?, call.required("snapshotId")?);
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &disk.id, progress.task())?;
        let frozen = find(&held.disk, &snapshot.id)?.path.clone();
        check_leases(&held)?;
        progress.fail_early()?;
        let stun = held.stun();
        let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
        recovery::carry_out(shared, held.intent()?, |_| {
            shared.update(|world| {
                if let Some(disk) = world.first_class.get_mut(&disk.id) {
                    disk.snapshots.retain(|known| known.id != snapshot.id);
                }
            });
            merge(&held, &frozen, progress)
        })?;
        tracing::info!(disk = disk.id, snapshot = snapshot.id, "snapshot of a first-class disk deleted");
        Ok(None)
    }))
}

/// Merges the link of a snapshot that is gone, and what else nobody owns below the disk.
fn merge(held: &Held<'_>, frozen: &sim_store::DatastorePath, progress: &mut Progress<'_>) -> Outcome<()> {
    let shared = held.shared;
    let failed = |error: sim_store::Error| from_store(&error, &held.disk.path.to_string());
    let host = chain::host_of(shared, frozen)?;
    let owned = owned_links(shared, &held.disk)?;
    // A snapshot of a machine, or another one of the disk, may be of the same link.
    if owned.contains(&host) {
        return Ok(());
    }
    let removal = snapshot::remove_link(&host, &owned, &mut |done, of| {
        progress.tell(done, of);
    });
    match removal {
        // The base of a disk that has left it, for another datastore: it stays.
        Err(error) if error.kind() == sim_store::ErrorKind::InUse => {}
        removal => follow(held, &[removal.map_err(failed)?])?,
    }
    let top = shared.read(|world| world.first_class.get(&held.disk.id).map(|disk| disk.path.clone()));
    let top = chain::host_of(shared, &top.ok_or_else(|| missing("disk", &held.disk.id))?)?;
    let merged =
        snapshot::consolidate(&top, &owned_links(shared, &held.disk)?, &mut |_, _| {}).map_err(failed)?;
    follow(held, &merged)
}

/// Writes down what links are called after merges.
fn follow(held: &Held<'_>, merged: &[Removal]) -> Outcome<()> {
    let shared = held.shared;
    let mut machines: Vec<String> =
        shared.read(|world| world.kept_by(&held.disk.id).map(|machine| machine.id.clone()).collect());
    machines.extend(held.machine.as_ref().map(|(machine, _)| machine.id.clone()));
    for machine in machines {
        crate::snapshots::follow(shared, &machine, merged)?;
    }
    super::follow_merges(shared, merged);
    Ok(())
}

/// `RevertVStorageObject_Task`. Later snapshots stay, beside what is written from now on; the content of the disk as it
/// was goes.
pub(super) fn revert(call: &Call) -> Outcome<Work> {
    let (disk, snapshot): (t::ID, t::ID) = (call.required("id")?, call.required("snapshotId")?);
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &disk.id, progress.task())?;
        held.check_detached()?;
        let frozen = find(&held.disk, &snapshot.id)?.path.clone();
        progress.fail_early()?;
        chain::check_free(&held.host()?, &held.disk.path)?;
        recovery::carry_out(shared, held.intent()?.makes_child(shared, &frozen)?, |_| {
            let child = snapshot::branch(&chain::host_of(shared, &frozen)?)
                .map_err(|error| from_store(&error, &frozen.to_string()))?;
            held.go_on_with(&chain::beside(&frozen, &child)?);
            Ok(())
        })?;
        tracing::info!(disk = disk.id, snapshot = snapshot.id, "first-class disk reverted");
        Ok(None)
    }))
}

/// `VstorageObjectVCenterQueryChangedDiskAreas`.
pub(super) async fn changed_areas(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let (disk, snapshot): (t::ID, t::ID) = (call.required("id")?, call.required("snapshotId")?);
    let target = shared.read(|world| {
        let disk = world.first_class.get(&disk.id).ok_or_else(|| missing("disk", &disk.id))?;
        let frozen = &find(disk, &snapshot.id)?.path;
        let file = frozen.to_string();
        let host = world.resolve(frozen).map_err(|error| from_store(&error, &file))?;
        Ok(cbt::Target { host, file, capacity: disk.capacity })
    })?;
    cbt::answer(shared, call, target, &disk.id).await
}

/// A snapshot of a disk.
///
/// # Errors
/// `NotFound`.
pub(super) fn find<'d>(disk: &'d FirstClassDisk, id: &str) -> Outcome<&'d DiskSnapshot> {
    disk.snapshots.iter().find(|snapshot| snapshot.id == id).ok_or_else(|| missing("snapshot", id))
}

/// Refuses to merge links that are being read for a lease.
fn check_leases(held: &Held<'_>) -> Outcome<()> {
    match &held.machine {
        Some((machine, _)) => lease::check_chains(held.shared, &machine.id),
        None => Ok(()),
    }
}
