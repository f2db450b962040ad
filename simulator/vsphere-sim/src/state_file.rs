//! What a restarted simulator takes up again: `DATA/vsphere.json`, `DATA/machines/ID.json` for each machine, and
//! `DATA/first-class-disks/ID.json` for each first-class disk.
//!
//! Each file is replaced in one step, and a machine is written whole, so a process that dies leaves every machine as it
//! was before or after a change.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim_store::state::{FirstClassDiskRecord, Inventory, VmRecord};

use crate::fcd::FirstClassDisk;
use crate::machine::Machine;
use crate::world::Stored;
use crate::{Error, ErrorKind, Result, host_file};

const NAME: &str = "vsphere.json";

/// A machine's file. `record` is what the fake VDDK reads.
#[derive(Serialize, Deserialize)]
struct MachineFile<M> {
    record: Option<VmRecord>,
    /// `None` where a machine that would be generated anew is gone.
    machine: Option<M>,
}

/// A first-class disk's file. `record` is what the fake VDDK reads.
#[derive(Serialize, Deserialize)]
struct DiskFile<D> {
    record: FirstClassDiskRecord,
    disk: D,
}

/// Reads the state of a data folder; `None` if there is none yet.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Stored>> {
    read(&data_dir.join(NAME))
}

/// Reads the machines of a data folder, by id; `None` for those that are gone for good.
pub(crate) fn load_machines(data_dir: &Path) -> Result<BTreeMap<String, Option<Machine>>> {
    let files = load_all::<MachineFile<Machine>>(&Inventory::machines_path(data_dir))?;
    Ok(files.into_iter().map(|(id, file)| (id, file.machine)).collect())
}

/// Reads the first-class disks of a data folder, by id.
pub(crate) fn load_disks(data_dir: &Path) -> Result<BTreeMap<String, FirstClassDisk>> {
    let files = load_all::<DiskFile<FirstClassDisk>>(&Inventory::disks_path(data_dir))?;
    Ok(files.into_iter().map(|(id, file)| (id, file.disk)).collect())
}

/// Reads the files of JSON in a folder, by what they are called without the ending.
fn load_all<T: DeserializeOwned>(folder: &Path) -> Result<BTreeMap<String, T>> {
    let failed = |error| Error::caused(ErrorKind::Store, format!("listing {}", folder.display()), error);
    let mut files = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "json") || stem.starts_with('.') {
            continue;
        }
        if let Some(file) = read(&path)? {
            files.insert(stem.to_owned(), file);
        }
    }
    Ok(files)
}

/// Replaces the state of a data folder in one step.
pub(crate) fn store(data_dir: &Path, stored: &Stored) -> Result<()> {
    write(data_dir, NAME, stored)
}

/// Replaces the file of a machine in one step.
pub(crate) fn store_machine(data_dir: &Path, machine: &Machine) -> Result<()> {
    let folder = Inventory::machines_path(data_dir);
    let file = MachineFile { record: machine.record(), machine: Some(machine) };
    write(&folder, &format!("{}.json", machine.id), &file)
}

/// Removes the file of a machine. One that was generated leaves a note, so that it is not made again.
pub(crate) fn remove_machine(data_dir: &Path, id: &str, generated: bool) -> Result<()> {
    let folder = Inventory::machines_path(data_dir);
    let name = format!("{id}.json");
    if generated {
        return write(&folder, &name, &MachineFile::<Machine> { record: None, machine: None });
    }
    remove(&folder, &name)
}

/// Replaces the file of a first-class disk in one step, or removes it where the disk is gone. `datastore` knows the managed
/// object id of a datastore's name.
pub(crate) fn store_disk(
    data_dir: &Path,
    id: &str,
    disk: Option<&FirstClassDisk>,
    datastore: impl FnOnce(&str) -> String,
) -> Result<()> {
    let (folder, name) = (Inventory::disks_path(data_dir), format!("{id}.json"));
    let Some(disk) = disk else { return remove(&folder, &name) };
    let record = disk.record(&datastore(disk.path.datastore()));
    write(&folder, &name, &DiskFile { record, disk })
}

fn remove(folder: &Path, name: &str) -> Result<()> {
    let removed = fs::remove_file(folder.join(name));
    sim_store::crash::point();
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::caused(ErrorKind::Store, format!("removing {name}"), error))
        }
        _ => Ok(()),
    }
}

/// Reads a file of JSON; `None` if there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let failed = |what: &str| format!("{what} {}", path.display());
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::caused(ErrorKind::Store, failed("reading"), error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::caused(ErrorKind::Store, failed("understanding"), error))
}

/// Replaces a file of JSON in one step.
pub(crate) fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::caused(ErrorKind::Store, format!("writing {name} in {}", folder.display()), error)
    };
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    host_file::replace(&folder.join(name), &bytes).map_err(failed)
}
