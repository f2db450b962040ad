//! What a dead process leaves that no intent names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::host_file;
use crate::inventory::tree::Holds;
use crate::world::Shared;

/// Is there while a process runs, and stays when it is killed.
const RUNNING: &str = ".running";

/// Notes that a process runs. Answers whether the one before it came to its end.
pub(super) fn begin(data: &Path) -> io::Result<bool> {
    let path = data.join(RUNNING);
    let ended = !path.exists();
    fs::write(&path, [])?;
    Ok(ended)
}

/// Notes that this one does. What cannot be noted makes the next start look through all folders.
pub(super) fn end(data: &Path) {
    if let Err(error) = fs::remove_file(data.join(RUNNING)) {
        tracing::warn!(%error, "the end of the simulator is not noted");
    }
}

/// Removes the files in the making of processes that are dead.
pub(super) fn temporaries(shared: &Shared) {
    let data = &shared.settings.data_dir;
    let mut folders: Vec<PathBuf> = shared
        .read(|world| world.stored.tree.datastores().map(|(_, files)| files.root().to_owned()).collect());
    for folder in [data.clone(), data.join("machines"), data.join("first-class-disks"), data.join("intents")]
    {
        sweep(&folder, &mut |_| {});
    }
    while let Some(folder) = folders.pop() {
        sweep(&folder, &mut |below| folders.push(below));
    }
}

fn sweep(folder: &Path, below: &mut dyn FnMut(PathBuf)) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "a folder cannot be looked through");
            return;
        }
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            below(entry.path());
        } else if kind.is_file()
            && host_file::is_abandoned(&entry.file_name().to_string_lossy())
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "part of a file is left behind");
        }
    }
}

/// Machines whose folder or pool was removed, by a process that died before it could move them, move now.
pub(super) fn homeless(shared: &Shared) {
    let moves: Vec<(String, String, Option<String>)> = shared.read(|world| {
        let tree = &world.stored.tree;
        let known = |id: &str| tree.get(id).is_some();
        let lost = world.machines().filter(|machine| {
            !known(&machine.folder) || machine.pool.as_deref().is_some_and(|pool| !known(pool))
        });
        let home = |machine: &crate::machine::Machine| {
            let datacenter = tree.datacenter_of(&machine.host)?;
            let folder = match known(&machine.folder) {
                true => machine.folder.clone(),
                false => tree.folder_of(&datacenter.id, Holds::Vms)?.id.clone(),
            };
            let root = tree.root_pool(&tree.owner_of(&machine.host)?.id)?.id.clone();
            let pool = machine.pool.clone().map(|pool| if known(&pool) { pool } else { root });
            Some((machine.id.clone(), folder, pool))
        };
        lost.filter_map(home).collect()
    });
    if moves.is_empty() {
        return;
    }
    shared.update(|world| {
        for (id, folder, pool) in moves {
            if let Some(machine) = world.machine_mut(&id) {
                machine.folder = folder;
                machine.pool = pool;
            }
        }
    });
}
