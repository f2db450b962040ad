//! `FileManager`: files and folders of a datastore, without a machine.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_store::{DatastorePath, sharing};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument, no_disk_space, not_found};
use crate::inventory::places::HOST_DATACENTER;
use crate::recovery::{self, Intent};
use crate::server::folder::Wanted;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};
use crate::{host_file, in_use, population};

/// Whom all files belong to.
pub(crate) const OWNER: &str = "root";

/// A file that a call names.
pub(crate) struct Named {
    /// As the caller wrote it.
    pub(crate) text: String,
    /// Where it is on this machine.
    pub(crate) host: PathBuf,
    /// By the names that things really have, where it is there: symbolic links are followed.
    pub(crate) path: DatastorePath,
}

/// Carries out a call to the manager.
pub(crate) fn call(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    match call.method.as_str() {
        "MakeDirectory" => make_directory(shared, call),
        "CopyDatastoreFile_Task" => copy(shared, call, user),
        "MoveDatastoreFile_Task" => rename(shared, call, user),
        "DeleteDatastoreFile_Task" => delete(shared, call, user),
        "ChangeOwner" => change_owner(shared, call),
        _ => Err(method_not_found(call)),
    }
}

/// `DatastoreNamespaceManager`: object storage has namespaces, and VMFS does not.
pub(crate) fn namespaces(call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "CreateDirectory" | "DeleteDirectory" | "ConvertNamespacePathToUuidPath" => {
            let text = "Only vSAN and virtual volumes have namespaces: on VMFS, MakeDirectory makes folders.";
            Err(fault(t::NotSupported::default(), text))
        }
        _ => Err(method_not_found(call)),
    }
}

/// `MakeDirectory`. With or without parents, a folder that is there already is an error, as on a vCenter.
fn make_directory(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let folder = named(shared, call, "name", "datacenter")?;
    let made = match call.optional::<bool>("createParentDirectories")? {
        Some(true) if !folder.host.exists() => fs::create_dir_all(&folder.host),
        _ => fs::create_dir(&folder.host),
    };
    made.map_err(|error| from_io(&error, &folder.text))?;
    Ok(Answer::void())
}

/// `CopyDatastoreFile_Task`, of a file or a whole folder.
fn copy(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        check_readable(shared, &from)?;
        check_way(shared, &from, &to, force)?;
        recovery::carry_out(shared, Intent::default().makes_tree(&to.path), |begun| {
            make_way(&to)?;
            copy_all(&from.host, &to.host).map_err(|error| from_io(&error, &to.text))?;
            sharing::add_all(&to.host).map_err(|error| from_store(&error, &to.text))?;
            begun.replace(shared, Intent::default())
        })?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.copyFile", Box::new(work)))
}

/// `MoveDatastoreFile_Task`, of a file or a whole folder.
fn rename(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        check_unused(shared, &from)?;
        check_way(shared, &from, &to, force)?;
        if fs::symlink_metadata(&to.host).is_ok() {
            recovery::carry_out(shared, Intent::default().removes_tree(&to.path), |_| make_way(&to))?;
        }
        match fs::rename(&from.host, &to.host) {
            // Datastores may be on different file systems.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                recovery::carry_out(shared, Intent::default().makes_tree(&to.path), |begun| {
                    copy_all(&from.host, &to.host).map_err(|error| from_io(&error, &to.text))?;
                    begun.replace(shared, Intent::default().removes_tree(&from.path))?;
                    // A machine's files go too, as they do where nothing has to be copied.
                    remove(&from.host).map_err(|error| from_io(&error, &from.text))
                })?;
            }
            moved => moved.map_err(|error| from_io(&error, &to.text))?,
        }
        sharing::add_all(&to.host).map_err(|error| from_store(&error, &to.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.moveFile", Box::new(work)))
}

/// `DeleteDatastoreFile_Task`, of a file or a whole folder.
fn delete(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let file = below_root(named(shared, call, "name", "datacenter")?, "name")?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        check_unused(shared, &file)?;
        recovery::carry_out(shared, Intent::default().removes_tree(&file.path), |_| {
            remove(&file.host).map_err(|error| from_io(&error, &file.text))
        })?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "FileManager.deleteFile", Box::new(work)))
}

/// `ChangeOwner`. A host has one user here, to whom everything belongs already.
fn change_owner(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let file = named(shared, call, "name", "datacenter")?;
    let owner: String = call.required("owner")?;
    fs::symlink_metadata(&file.host).map_err(|error| from_io(&error, &file.text))?;
    if owner != OWNER {
        let message = format!("The host has no user \"{owner}\".");
        let value = t::UserNotFound { principal: owner, unresolved: true, ..Default::default() };
        return Err(fault(value, message));
    }
    Ok(Answer::void())
}

/// The file that an argument names: a datastore path in the datacenter that another argument names, or the URL under
/// which it can be downloaded, which names its datacenter itself.
pub(crate) fn named(shared: &Shared, call: &Call, name: &str, datacenter: &str) -> Outcome<Named> {
    let given: Option<MoRef<mo::Datacenter>> = call.optional(datacenter)?;
    let text: String = call.required(name)?;
    let invalid = |why: &str| {
        let value = t::InvalidDatastorePath { datastore_path: text.clone(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{text}'{why}."))
    };
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    let (path, datacenter): (DatastorePath, MoRef) = if is_url {
        let file = Wanted::parse(&text).and_then(Wanted::into_file);
        let (within, path) = file.map_err(|why| invalid(&format!(": {why}")))?;
        let within = within.unwrap_or_else(|| HOST_DATACENTER.to_owned());
        let datacenter = shared.read(|world| world.datacenter_at(&within));
        (path, datacenter.ok_or_else(|| invalid(&format!(": there is no datacenter {within:?}")))?)
    } else {
        let datacenter = match given {
            Some(given) => known(shared, given.cast())?,
            None => shared
                .read(|world| world.datacenter_at(HOST_DATACENTER))
                .ok_or_else(|| invalid_argument(datacenter, "A vCenter has to be told the datacenter."))?,
        };
        (text.parse().map_err(|_| invalid(""))?, datacenter)
    };
    if !path.relative().is_empty() {
        population::materialize_at(shared, &path)?;
    }
    shared.read(|world| resolve(world, &datacenter, path, &text))
}

/// A file below the root of its datastore, for what the root itself cannot suffer.
fn below_root(file: Named, argument: &str) -> Outcome<Named> {
    match file.path.relative() {
        "" => Err(invalid_argument(argument, format!("{} is a whole datastore.", file.text))),
        _ => Ok(file),
    }
}

fn known(shared: &Shared, datacenter: MoRef) -> Outcome<MoRef> {
    let is_known = datacenter.type_name() == "Datacenter"
        && shared.read(|world| world.node(&datacenter, None).is_some());
    if is_known { Ok(datacenter) } else { Err(not_found(&datacenter)) }
}

fn resolve(world: &World, datacenter: &MoRef, path: DatastorePath, text: &str) -> Outcome<Named> {
    let mut datastores = world.datastores_in(datacenter);
    let Some((_, files)) = datastores.find(|(_, files)| files.name() == path.datastore()) else {
        return Err(no_datastore(path.datastore()));
    };
    let host = files.resolve(&path).map_err(|error| from_store(&error, text))?;
    let real = fs::canonicalize(&host).ok().and_then(|real| files.path_of(&real).ok());
    Ok(Named { text: text.to_owned(), host, path: real.unwrap_or(path) })
}

/// The fault for a datastore that is not there.
pub(crate) fn no_datastore(name: &str) -> Fault {
    let message = format!("There is no datastore \"{name}\" here.");
    fault(t::InvalidDatastore { name: Some(name.to_owned()), ..Default::default() }, message)
}

/// Refuses to change what a machine that is on has in use.
pub(crate) fn check_unused(shared: &Shared, file: &Named) -> Outcome<()> {
    if in_use::is_unwritable(shared, &file.path) { Err(locked(file)) } else { Ok(()) }
}

/// Refuses to read what a machine that is on is writing.
pub(crate) fn check_readable(shared: &Shared, file: &Named) -> Outcome<()> {
    if in_use::is_unreadable(shared, &file.path) { Err(locked(file)) } else { Ok(()) }
}

fn locked(file: &Named) -> Fault {
    let base = t::FileFault { file: file.text.clone(), ..Default::default() };
    fault(t::FileLocked { base }, format!("A machine that is on uses {}.", file.text))
}

fn pair(shared: &Shared, call: &Call) -> Outcome<(Named, Named, bool)> {
    let from = below_root(named(shared, call, "sourceName", "sourceDatacenter")?, "sourceName")?;
    let to = below_root(named(shared, call, "destinationName", "destinationDatacenter")?, "destinationName")?;
    Ok((from, to, call.optional("force")?.unwrap_or(false)))
}

/// The source is there, and the destination is not, or may be replaced.
fn check_way(shared: &Shared, from: &Named, to: &Named, force: bool) -> Outcome<()> {
    fs::symlink_metadata(&from.host).map_err(|error| from_io(&error, &from.text))?;
    if to.host.starts_with(&from.host) || from.host.starts_with(&to.host) {
        return Err(invalid_argument("destinationName", "One of the two paths is within the other."));
    }
    if fs::symlink_metadata(&to.host).is_err() {
        return Ok(());
    }
    if !force {
        return Err(from_io(&io::ErrorKind::AlreadyExists.into(), &to.text));
    }
    check_unused(shared, to)
}

/// Removes what is replaced.
fn make_way(to: &Named) -> Outcome<()> {
    match remove(&to.host) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| from_io(&error, &to.text)),
    }
}

/// Removes a file, or a folder with all that is in it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::metadata(from)?.is_dir() {
        host_file::claim(to, fs::metadata(from)?.blocks() * 512)?;
        return host_file::copy(from, to);
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(host_file::is_temporary) {
            continue;
        }
        // It may lead out of the datastore.
        if entry.file_type()?.is_symlink() {
            let what = format!("{} is a symbolic link, which is not copied", entry.path().display());
            return Err(io::Error::other(what));
        }
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What a failure with a file looks like to a client.
pub(crate) fn from_io(error: &io::Error, file: &str) -> Fault {
    let base = t::FileFault { file: file.to_owned(), ..Default::default() };
    match error.kind() {
        io::ErrorKind::NotFound => fault(t::FileNotFound { base }, format!("File {file} was not found")),
        io::ErrorKind::AlreadyExists => {
            fault(t::FileAlreadyExists { base }, format!("File {file} already exists"))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            no_disk_space(file, format!("The datastore of {file} is full: {error}"))
        }
        _ => fault(base, format!("{file}: {error}")),
    }
}
