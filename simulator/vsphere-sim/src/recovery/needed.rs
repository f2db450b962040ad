//! Which files somebody needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sim_store::{DatastorePath, Descriptor, ErrorKind, sharing};

use super::intent::{Intent, list_of, sibling};
use crate::chain::host_of;
use crate::fault::{Outcome, from_store};
use crate::fcd::FirstClassDisk;
use crate::machine::{Machine, Snapshot};
use crate::world::Shared;

/// Who needs files that an intent names.
pub(super) struct Needed {
    /// All files that somebody needs.
    pub(super) files: BTreeSet<DatastorePath>,
    /// The links that only links in other folders need.
    pub(super) elsewhere: Vec<DatastorePath>,
}

/// Of the files that an intent names, those that are needed by a machine, by a first-class disk, by a disk that the intent
/// does not name, or by a link in another folder.
pub(super) fn needed(shared: &Shared, intent: &Intent) -> Outcome<Needed> {
    let folders: BTreeSet<DatastorePath> = intent.files.iter().map(DatastorePath::parent).collect();
    let (mut needed, mut disks) = shared.read(|world| {
        let (mut texts, mut disks) = (BTreeSet::new(), BTreeSet::new());
        for machine in world.machines().filter(|machine| !machine.untouched) {
            let near = |path: &DatastorePath| folders.contains(&path.parent());
            texts.extend(machine.own_files().into_iter().filter(near));
            // A folder in which nothing is yet may be somebody's home.
            let mut home = machine.vmx().map(|vmx| vmx.parent());
            while let Some(at) = home.filter(|at| !at.relative().is_empty()) {
                home = Some(at.parent());
                if intent.files.contains(&at) {
                    texts.insert(at);
                }
            }
            disks.extend(disks_of(machine).filter(near));
        }
        let first_class = world.first_class.iter().flat_map(FirstClassDisk::paths);
        disks.extend(first_class.filter(|path| folders.contains(&path.parent())).cloned());
        (texts, disks)
    });
    for folder in &folders {
        disks.extend(strangers(shared, intent, folder)?);
    }
    add_chains(shared, disks, &mut needed)?;
    let mut elsewhere = Vec::new();
    // A link that is needed may need one on which it stands in another folder, and so on.
    while let Some(link) = needed_elsewhere(shared, intent, &needed)? {
        add_chains(shared, BTreeSet::from([link.clone()]), &mut needed)?;
        elsewhere.push(link);
    }
    Ok(Needed { files: needed, elsewhere })
}

/// Adds the files of disks, and those of the links below in the same folder.
fn add_chains(
    shared: &Shared,
    mut disks: BTreeSet<DatastorePath>,
    needed: &mut BTreeSet<DatastorePath>,
) -> Outcome<()> {
    while let Some(path) = disks.pop_first() {
        if needed.contains(&path) {
            continue;
        }
        let host = host_of(shared, &path)?;
        match Descriptor::load(&host) {
            Ok(descriptor) => {
                needed.insert(list_of(&path)?);
                needed.insert(sibling(&path, &descriptor.extent_file)?);
                if let Some(track) = &descriptor.change_track {
                    needed.insert(sibling(&path, track)?);
                }
                if let (Some(parent), Some(_)) = (&descriptor.parent_hint, descriptor.parent_in_folder(&host))
                {
                    disks.insert(sibling(&path, parent)?);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Nothing is removed where it is not known what is needed.
            Err(error) => return Err(from_store(&error, &path.to_string())),
        }
        needed.insert(path);
    }
    Ok(())
}

/// A link that the intent names, and that is needed only by one in another folder which stays.
fn needed_elsewhere(
    shared: &Shared,
    intent: &Intent,
    needed: &BTreeSet<DatastorePath>,
) -> Outcome<Option<DatastorePath>> {
    let named = intent.files.iter().filter(|file| file.file_name().ends_with(".vmdk"));
    let had = intent.had.iter().chain(named).filter(|link| !needed.contains(link));
    for link in had.collect::<BTreeSet<_>>() {
        let children = sharing::children(&host_of(shared, link)?)
            .map_err(|error| from_store(&error, &link.to_string()))?;
        let stays = |child: &PathBuf| {
            let child = shared.read(|world| world.path_of(child));
            child.is_none_or(|child| needed.contains(&child) || !intent.files.contains(&child))
        };
        if children.iter().any(stays) {
            return Ok(Some(link.clone()));
        }
    }
    Ok(None)
}

/// Whether a machine or a first-class disk has a file in a folder, or is the file's.
pub(super) fn is_lived_in(shared: &Shared, tree: &DatastorePath) -> bool {
    let within = |path: &DatastorePath| {
        path.datastore() == tree.datastore() && Path::new(path.relative()).starts_with(tree.relative())
    };
    shared.read(|world| {
        let mut machines = world.machines().filter(|machine| !machine.untouched);
        let has_machine = machines.any(|machine| {
            machine.vmx().is_some_and(|vmx| within(&vmx)) || disks_of(machine).any(|disk| within(&disk))
        });
        has_machine || world.first_class.iter().flat_map(FirstClassDisk::paths).any(within)
    })
}

fn disks_of(machine: &Machine) -> impl Iterator<Item = DatastorePath> {
    let kept = machine.snapshots.iter().flat_map(Snapshot::disks);
    machine.disks().into_iter().chain(kept).map(|disk| disk.path)
}

/// The disks of a folder that an intent does not name: somebody else put them there, and what is below them stays.
fn strangers(shared: &Shared, intent: &Intent, folder: &DatastorePath) -> Outcome<Vec<DatastorePath>> {
    let mut found = Vec::new();
    if !intent.files.iter().any(|file| file.parent() == *folder && file.file_name().ends_with(".vmdk")) {
        return Ok(found);
    }
    let Ok(entries) = fs::read_dir(host_of(shared, folder)?) else { return Ok(found) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let relative = match folder.relative() {
            "" => name,
            relative => format!("{relative}/{name}"),
        };
        let Ok(path) = DatastorePath::new(folder.datastore(), &relative) else { continue };
        let is_other = relative.ends_with(".vmdk") && !intent.files.contains(&path);
        // What cannot be read is no descriptor.
        if is_other && Descriptor::load(&entry.path()).is_ok() {
            found.push(path);
        }
    }
    Ok(found)
}
