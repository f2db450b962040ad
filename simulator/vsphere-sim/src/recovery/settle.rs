//! Settling an intent.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sim_store::{Access, DatastorePath, Disk, Scope, sharing, snapshot};

use super::intent::Intent;
use super::needed::{is_lived_in, needed};
use crate::chain::{self, Held, host_of};
use crate::fault::{Outcome, from_store};
use crate::fcd::{self, FirstClassDisk};
use crate::machine::{self, DiskState, Machine};
use crate::world::Shared;
use crate::{disks, files};

/// Removes what an intent names and nobody needs, and brings the machine and its files in line with each other.
pub(super) fn settle(shared: &Shared, intent: &Intent) -> Outcome<()> {
    let id = intent.machine.as_deref();
    if let Some(id) = id.filter(|_| intent.provisional) {
        shared.update(|world| world.remove_machine(id));
    }
    let id = id.filter(|id| shared.read(|world| world.machine(id).is_some()));
    if let Some(id) = id.filter(|_| intent.stunned) {
        follow_links(shared, id, intent)?;
        finish_merges(shared, id)?;
        follow_links(shared, id, intent)?;
    }
    settle_first_class(shared, intent)?;
    remove(shared, intent)?;
    for link in &intent.beneath {
        look_over(shared, link)?;
    }
    for disk in &intent.disks {
        agree(shared, disk)?;
    }
    let Some(id) = id else { return Ok(()) };
    if intent.stunned {
        look_through(shared, id)?;
    }
    chain::write_text_files(shared, id)
}

/// A link that is gone was merged: whoever used it uses the link that has its content now.
fn follow_links(shared: &Shared, id: &str, intent: &Intent) -> Outcome<()> {
    let mut machine = Held::take(shared, id)?.machine;
    let survivor = |path: &DatastorePath| -> Outcome<Option<DatastorePath>> {
        let mut at = path;
        while !host_of(shared, at)?.exists() {
            match intent.links.get(at) {
                Some(parent) => at = parent,
                None => return Ok(None),
            }
        }
        Ok((at != path).then(|| at.clone()))
    };
    let mut any = false;
    for config in std::iter::once(&mut machine.config)
        .chain(machine.snapshots.iter_mut().map(|snapshot| &mut snapshot.config))
    {
        let mut moved = Vec::new();
        for disk in machine::disks(config) {
            moved.extend(survivor(&disk.path)?.map(|path| (disk.key, path)));
        }
        if !moved.is_empty() {
            any = true;
            let path_of = |key| moved.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
            shared.read(|world| chain::follow(world, Arc::make_mut(config), &path_of));
        }
    }
    if any {
        shared.update(|world| {
            if let Some(found) = world.machine_mut(id) {
                found.config = machine.config;
                found.snapshots = machine.snapshots;
            }
        });
    }
    Ok(())
}

/// The same for the first-class disks that have some of the links, whether a machine has the disks or not.
fn settle_first_class(shared: &Shared, intent: &Intent) -> Outcome<()> {
    if intent.links.is_empty() {
        return Ok(());
    }
    follow_first_class(shared, intent);
    let concerned = |disk: &&FirstClassDisk| disk.paths().any(|path| intent.links.contains_key(path));
    let disks: Vec<FirstClassDisk> =
        shared.read(|world| world.first_class.iter().filter(concerned).cloned().collect());
    for disk in disks {
        let owned = fcd::owned_links(shared, &disk)?;
        let host = host_of(shared, &disk.path)?;
        if host.exists() {
            snapshot::finish_merges(&host, &owned)
                .map_err(|error| from_store(&error, &disk.path.to_string()))?;
        }
    }
    follow_first_class(shared, intent);
    Ok(())
}

fn follow_first_class(shared: &Shared, intent: &Intent) {
    shared.update(|world| {
        let paths = world.first_class.iter().flat_map(FirstClassDisk::paths);
        let survivor = |path: &DatastorePath| {
            let mut at = path;
            while world.resolve(at).is_ok_and(|host| !host.exists()) {
                at = intent.links.get(at)?;
            }
            (at != path).then(|| at.clone())
        };
        let moves: BTreeMap<DatastorePath, DatastorePath> =
            paths.filter_map(|path| Some((path.clone(), survivor(path)?))).collect();
        if !moves.is_empty() {
            world.first_class.rename_links(|path| moves.get(path).cloned());
        }
    });
}

/// A merge that died in its last steps leaves a disk that other readers of the format refuse.
fn finish_merges(shared: &Shared, id: &str) -> Outcome<()> {
    let machine = Held::take(shared, id)?.machine;
    let owned = chain::owned(shared, &machine)?;
    for link in chain::links(shared, &machine.disks())? {
        snapshot::finish_merges(&link.host, &owned)
            .map_err(|error| from_store(&error, &link.path.to_string()))?;
    }
    Ok(())
}

fn remove(shared: &Shared, intent: &Intent) -> Outcome<()> {
    let needed = needed(shared, intent)?;
    for link in needed.elsewhere.iter().filter(|link| intent.had.contains(link)) {
        sharing::leave(&host_of(shared, link)?).map_err(|error| from_store(&error, &link.to_string()))?;
    }
    let mut doomed: Vec<&DatastorePath> =
        intent.files.iter().filter(|path| !needed.files.contains(path)).collect();
    // What is in a folder goes before the folder, and disks' descriptors before their data: these alone are litter.
    let depth = |path: &DatastorePath| path.relative().split('/').count();
    doomed.sort_by_key(|path| (Reverse(depth(path)), path.file_name().len()));
    for path in doomed {
        if path.relative().is_empty() {
            continue;
        }
        remove_one(&host_of(shared, path)?).map_err(|error| files::from_io(&error, &path.to_string()))?;
    }
    for tree in intent.trees.iter().filter(|tree| !tree.relative().is_empty()) {
        if is_lived_in(shared, tree) {
            continue;
        }
        match files::remove(&host_of(shared, tree)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(files::from_io(&error, &tree.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a file, or a folder with nothing in it.
fn remove_one(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if found.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    sim_store::crash::point();
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A machine whose disk is to be larger than it is has been reconfigured: the disk grows. Otherwise the machines show
/// what the disk is like.
fn agree(shared: &Shared, path: &DatastorePath) -> Outcome<()> {
    let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
    let host = host_of(shared, path)?;
    let capacity = match Disk::open(&host, Access::ReadOnly, Scope::WholeChain) {
        Ok(disk) => disk.capacity(),
        // A disk that was to be made or removed meanwhile.
        Err(error) if error.kind() == sim_store::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let wanted = shared.read(|world| {
        let disks = world.machines().filter(|machine| !machine.untouched).flat_map(Machine::disks);
        disks.filter(|disk| disk.path == *path).map(|disk| disk.capacity).max()
    });
    if let Some(wanted) = wanted.filter(|wanted| *wanted > capacity) {
        sim_store::grow(&host, wanted).map_err(failed)?;
    }
    disks::show_machines(shared, path)
}

/// Where fewer stand on a link than before, those who have it may have something to merge.
fn look_over(shared: &Shared, link: &DatastorePath) -> Outcome<()> {
    let near = |disk: &DiskState| disk.path.parent() == link.parent();
    let owners: Vec<String> = shared.read(|world| {
        let touched = world.machines().filter(|machine| !machine.untouched);
        let owners = touched.filter(|machine| machine.disks().iter().any(near));
        owners.map(|machine| machine.id.clone()).collect()
    });
    owners.iter().try_for_each(|id| look_for_merges(shared, id))
}

/// What is due whenever a machine has stood still: whether more has to be merged, what its descriptors say, and pending
/// change tracking.
fn look_through(shared: &Shared, id: &str) -> Outcome<()> {
    chain::refresh(shared, id)?;
    look_for_merges(shared, id)?;
    chain::apply_tracking(shared, &Held::take(shared, id)?.machine)
}

/// Notes whether a machine has links to merge.
fn look_for_merges(shared: &Shared, id: &str) -> Outcome<()> {
    let machine = Held::take(shared, id)?.machine;
    let owned = chain::owned(shared, &machine)?;
    let mut needed = false;
    for link in chain::links(shared, &machine.disks())? {
        needed |= snapshot::needs_consolidation(&link.host, &owned)
            .map_err(|error| from_store(&error, &link.path.to_string()))?;
    }
    shared.update(|world| {
        if let Some(machine) = world.machine_mut(id) {
            let before = std::mem::replace(&mut machine.consolidation_needed, needed);
            world.post_consolidation(id, before, needed);
        }
    });
    Ok(())
}
