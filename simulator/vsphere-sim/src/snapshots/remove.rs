//! Removing snapshots, and merging the links that nobody owns any more.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use sim_store::snapshot::{self, Removal};
use sim_store::{Access, Disk, Scope};
use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Outcome, from_store, not_found};
use crate::fcd;
use crate::machine::{self, DiskState, Machine};
use crate::recovery::{self, Intent};
use crate::tasks::Progress;
use crate::world::Shared;

/// Which snapshots go.
pub(super) enum Doomed {
    One(String),
    Subtree(String),
    All,
}

/// Removes snapshots from the tree at once, then merges their links unless `merge` is false. If merging fails, the
/// snapshots are gone all the same and the machine needs consolidation, as on a real server.
pub(super) fn remove(
    shared: &Shared,
    id: &str,
    doomed: &Doomed,
    merge: bool,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    let ids = match doomed {
        Doomed::All => machine.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect(),
        Doomed::One(one) => HashSet::from([one.clone()]),
        Doomed::Subtree(root) => subtree(&machine, root),
    };
    let gone: Vec<_> = machine.snapshots.iter().filter(|snapshot| ids.contains(&snapshot.id)).collect();
    if let (Doomed::One(one) | Doomed::Subtree(one), true) = (doomed, gone.is_empty()) {
        return Err(not_found(
            &vim_api::MoRef::<vim_api::mo::VirtualMachineSnapshot>::new(one.as_str()).cast(),
        ));
    }
    let disks: Vec<DiskState> =
        gone.iter().flat_map(|snapshot| snapshot.disks()).filter(|disk| !disk.independent).collect();
    recovery::carry_out(shared, Intent::of(id).changes_chains(shared, &machine)?, |_| {
        shared.update(|world| world.machine_mut(id).map(|machine| prune(machine, &ids)));
        for snapshot in &gone {
            tracing::info!(
                machine = id,
                snapshot = snapshot.id,
                name = snapshot.name,
                merge,
                "snapshot removed"
            );
        }
        match merge {
            true => merge_links(shared, id, &disks, progress),
            false => drop_unused(shared, id, &disks),
        }
    })
}

/// Merges the links that nobody owns.
pub(super) fn consolidate(shared: &Shared, id: &str, progress: &mut Progress<'_>) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    recovery::carry_out(shared, Intent::of(id).changes_chains(shared, &machine)?, |_| {
        merge_links(shared, id, &[], progress)
    })
}

/// For each datastore, the bytes of the links that merging would write into others, in KiB.
pub(super) fn space_to_consolidate(shared: &Shared, id: &str) -> Outcome<Vec<t::StorageRequirement>> {
    let machine = Held::take(shared, id)?.machine;
    let owned = chain::owned(shared, &machine)?;
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    for link in chain::links(shared, &machine.disks())? {
        let failed = |error| from_store(&error, &link.path.to_string());
        let bytes = needed.entry(link.path.datastore().to_owned()).or_default();
        if !snapshot::needs_consolidation(&link.host, &owned).map_err(failed)? {
            continue;
        }
        let disk = Disk::open(&link.host, Access::ReadOnly, Scope::TopLink).map_err(failed)?;
        for below in disk.links().iter().skip(1).filter(|below| !owned.contains(&below.descriptor)) {
            // A link that goes meanwhile takes no space.
            *bytes += fs::metadata(&below.extent).map_or(0, |file| file.blocks() * 512);
        }
    }
    Ok(shared.read(|world| {
        let known = needed.into_iter().filter_map(|(name, bytes)| {
            let (entity, _) = world.stored.tree.datastore(&name)?;
            Some(t::StorageRequirement {
                datastore: entity.typed(),
                free_space_required_in_kb: i64::try_from(bytes.div_ceil(1024)).unwrap_or(i64::MAX),
                ..Default::default()
            })
        });
        known.collect()
    }))
}

/// Removes those links of removed snapshots over which nothing is built: a consolidation looks below the live links and
/// below those of snapshots, and would not find them.
fn drop_unused(shared: &Shared, id: &str, disks: &[DiskState]) -> Outcome<()> {
    let owned = chain::owned(shared, &Held::take(shared, id)?.machine)?;
    // Children come after their parents.
    for link in chain::links(shared, disks)?.iter().rev().filter(|link| link.host.exists()) {
        snapshot::drop_unused(&link.host, &owned)
            .map_err(|error| from_store(&error, &link.path.to_string()))?;
    }
    Ok(())
}

/// Merges the links of the disks that removed snapshots had, then whatever else nobody owns below the live links.
fn merge_links(shared: &Shared, id: &str, disks: &[DiskState], progress: &mut Progress<'_>) -> Outcome<()> {
    let mut links = chain::links(shared, disks)?;
    let total = links.len() as u64 + 1;
    progress.fail_early()?;
    for at in 0..links.len() {
        let (path, host) = (links[at].path.to_string(), links[at].host.clone());
        if !host.exists() {
            // Merged already, as the parent of another.
            continue;
        }
        let owned = chain::owned(shared, &Held::take(shared, id)?.machine)?;
        let removal = snapshot::remove_link(&host, &owned, &mut |done, of| {
            progress.tell((at as u64 * of).saturating_add(done), total.saturating_mul(of));
        });
        let removal = match removal {
            // The base of a disk that the machine does not have any more, and no snapshot: like one that was taken off
            // the machine, it is left to whoever wants it.
            Err(error) if error.kind() == sim_store::ErrorKind::InUse => continue,
            removal => removal.map_err(|error| from_store(&error, &path))?,
        };
        follow(shared, id, std::slice::from_ref(&removal))?;
        if let Removal::Merged { child, survivor } = &removal {
            for link in links.iter_mut().filter(|link| link.host == *child) {
                link.host.clone_from(survivor);
            }
        }
    }
    merge_unowned(shared, id)
}

fn merge_unowned(shared: &Shared, id: &str) -> Outcome<()> {
    let machine = Held::take(shared, id)?.machine;
    for link in chain::links(shared, &machine.disks())? {
        let owned = chain::owned(shared, &Held::take(shared, id)?.machine)?;
        let merged = snapshot::consolidate(&link.host, &owned, &mut |_, _| {})
            .map_err(|error| from_store(&error, &link.path.to_string()))?;
        follow(shared, id, &merged)?;
    }
    Ok(())
}

/// Writes down what links are called after merges.
pub(crate) fn follow(shared: &Shared, id: &str, merged: &[Removal]) -> Outcome<()> {
    let moved = |removal: &Removal| match removal {
        Removal::Merged { child, survivor } => Some((child.clone(), survivor.clone())),
        _ => None,
    };
    let moves: Vec<(PathBuf, PathBuf)> = merged.iter().filter_map(moved).collect();
    if moves.is_empty() {
        return Ok(());
    }
    for (child, survivor) in &moves {
        tracing::info!(machine = id, child = ?child, into = ?survivor, "disk links merged");
    }
    let mut machine = Held::take(shared, id)?.machine;
    shared.read(|world| {
        let renamed = |config: &mut machine::Config| -> Outcome<()> {
            let mut paths = Vec::new();
            for disk in machine::disks(config) {
                let Ok(mut host) = world.resolve(&disk.path) else { continue };
                let old = host.clone();
                for (child, survivor) in &moves {
                    if host == *child {
                        host.clone_from(survivor);
                    }
                }
                if host != old {
                    paths.push((disk.key, chain::beside(&disk.path, &host)?));
                }
            }
            let path_of = |key| paths.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
            chain::follow(world, Arc::make_mut(config), &path_of);
            Ok(())
        };
        renamed(&mut machine.config)?;
        machine.snapshots.iter_mut().try_for_each(|snapshot| renamed(&mut snapshot.config))
    })?;
    shared.update(|world| {
        if let Some(found) = world.machine_mut(id) {
            found.config = machine.config;
            found.snapshots = machine.snapshots;
        }
    });
    fcd::follow_merges(shared, merged);
    // The links above a merged one name another parent now.
    chain::refresh(shared, id)
}

/// A snapshot and all that were taken over it.
fn subtree(machine: &Machine, root: &str) -> HashSet<String> {
    let mut found = HashSet::from([root.to_owned()]);
    // Parents come before their children.
    for snapshot in &machine.snapshots {
        if snapshot.parent.as_ref().is_some_and(|parent| found.contains(parent)) {
            found.insert(snapshot.id.clone());
        }
    }
    found
}

/// Takes snapshots out of the tree. Their children, and the current state, move to the next parent that stays.
fn prune(machine: &mut Machine, ids: &HashSet<String>) {
    let parents: Vec<(String, Option<String>)> =
        machine.snapshots.iter().map(|snapshot| (snapshot.id.clone(), snapshot.parent.clone())).collect();
    let staying = |mut at: Option<String>| {
        while let Some(id) = at.as_ref().filter(|id| ids.contains(*id)) {
            at = parents.iter().find(|(known, _)| known == id).and_then(|(_, parent)| parent.clone());
        }
        at
    };
    machine.current_snapshot = staying(machine.current_snapshot.take());
    machine.snapshots.retain(|snapshot| !ids.contains(&snapshot.id));
    for snapshot in &mut machine.snapshots {
        snapshot.parent = staying(snapshot.parent.take());
    }
}
