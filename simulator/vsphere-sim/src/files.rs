//! `FileManager`: files and folders of a datastore, without a machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_store::DatastorePath;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument, not_found};
use crate::machine::Power;
use crate::tasks;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// A file that a call names.
pub(crate) struct Named {
    /// As the caller wrote it.
    pub(crate) text: String,
    /// Where it is on this machine.
    pub(crate) host: PathBuf,
    path: DatastorePath,
}

/// `MakeDirectory`. With or without parents, a folder that is there already is an error, as on a vCenter.
pub(crate) fn make_directory(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let folder = named(shared, call, "name", "datacenter")?;
    let made = match call.optional::<bool>("createParentDirectories")? {
        Some(true) if !folder.host.exists() => fs::create_dir_all(&folder.host),
        _ => fs::create_dir(&folder.host),
    };
    made.map_err(|error| from_io(&error, &folder.text))?;
    Ok(Answer::void())
}

/// `CopyDatastoreFile_Task`.
pub(crate) fn copy(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |_: &Shared, _: &mut tasks::Progress<'_>| {
        make_way(&from, &to, force)?;
        copy_all(&from.host, &to.host).map_err(|error| from_io(&error, &to.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.copyFile", Box::new(work)))
}

/// `MoveDatastoreFile_Task`.
pub(crate) fn rename(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |shared: &Shared, _: &mut tasks::Progress<'_>| {
        check_unused(shared, &from)?;
        make_way(&from, &to, force)?;
        fs::rename(&from.host, &to.host).map_err(|error| from_io(&error, &to.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.moveFile", Box::new(work)))
}

/// `DeleteDatastoreFile_Task`.
pub(crate) fn delete(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let file = named(shared, call, "name", "datacenter")?;
    let work = move |shared: &Shared, _: &mut tasks::Progress<'_>| {
        check_unused(shared, &file)?;
        remove(&file.host).map_err(|error| from_io(&error, &file.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.deleteFile", Box::new(work)))
}

/// The file that an argument names, in the datacenter that another one does.
pub(crate) fn named(shared: &Shared, call: &Call, name: &str, datacenter: &str) -> Outcome<Named> {
    let datacenter: Option<MoRef<mo::Datacenter>> = call.optional(datacenter)?;
    if datacenter.is_none() {
        return Err(invalid_argument("datacenter", "A vCenter has to be told the datacenter."));
    }
    let text: String = call.required(name)?;
    let path: DatastorePath = text.parse().map_err(|_| {
        let value = t::InvalidDatastorePath { datastore_path: text.clone(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{text}'."))
    })?;
    shared.read(|world| {
        let tree = &world.stored.tree;
        if let Some(datacenter) = datacenter.as_ref().filter(|found| tree.find(&found.cast()).is_none()) {
            return Err(not_found(&datacenter.cast()));
        }
        let found = tree.datastore(path.datastore()).filter(|(entity, _)| {
            let home = tree.datacenter_of(&entity.id);
            home.is_some_and(|home| datacenter.as_ref().is_none_or(|wanted| wanted.value() == home.id))
        });
        if found.is_none() {
            let name = path.datastore().to_owned();
            let message = format!("There is no datastore \"{name}\".");
            return Err(fault(t::InvalidDatastore { name: Some(name), ..Default::default() }, message));
        }
        let host = world.resolve(&path).map_err(|error| from_store(&error, &text))?;
        Ok(Named { text, host, path })
    })
}

/// Refuses what a machine that is on has in use.
pub(crate) fn check_unused(shared: &Shared, file: &Named) -> Outcome<()> {
    let within = |used: &DatastorePath| {
        used.datastore() == file.path.datastore()
            && Path::new(used.relative()).starts_with(file.path.relative())
    };
    let used = shared.read(|world| {
        let mut on = world.machines().filter(|machine| machine.power == Power::On);
        on.any(|machine| {
            machine.vmx().is_some_and(|vmx| within(&vmx))
                || machine.disks().iter().any(|disk| within(&disk.path))
        })
    });
    if !used {
        return Ok(());
    }
    let base = t::FileFault { file: file.text.clone(), ..Default::default() };
    Err(fault(t::FileLocked { base }, format!("A machine that is on uses {}.", file.text)))
}

fn pair(shared: &Shared, call: &Call) -> Outcome<(Named, Named, bool)> {
    let from = named(shared, call, "sourceName", "sourceDatacenter")?;
    let to = named(shared, call, "destinationName", "destinationDatacenter")?;
    Ok((from, to, call.optional("force")?.unwrap_or(false)))
}

/// The source is there, and the destination is not, or is removed.
fn make_way(from: &Named, to: &Named, force: bool) -> Outcome<()> {
    fs::symlink_metadata(&from.host).map_err(|error| from_io(&error, &from.text))?;
    if to.host.starts_with(&from.host) || from.host.starts_with(&to.host) {
        return Err(invalid_argument("destinationName", "One of the two paths is within the other."));
    }
    match to.host.exists() {
        true if force => remove(&to.host).map_err(|error| from_io(&error, &to.text)),
        true => Err(from_io(&io::ErrorKind::AlreadyExists.into(), &to.text)),
        false => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn from_io(error: &io::Error, file: &str) -> Fault {
    let base = t::FileFault { file: file.to_owned(), ..Default::default() };
    match error.kind() {
        io::ErrorKind::NotFound => fault(t::FileNotFound { base }, format!("File {file} was not found")),
        io::ErrorKind::AlreadyExists => {
            fault(t::FileAlreadyExists { base }, format!("File {file} already exists"))
        }
        _ => fault(base, format!("{file}: {error}")),
    }
}
