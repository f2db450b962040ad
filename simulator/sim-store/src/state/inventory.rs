//! The part of the server's inventory that other processes need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::rights::UserRights;
use super::{CookieHash, PasswordHash, load_json, store_json};
use crate::{Datastore, DatastorePath, Error, ErrorKind, Result};

/// Everything in `inventory.json`, and the machines and first-class disks that have files of their own beside it.
///
/// A server with thousands of machines rewrites one small file when one of them changes: `machines/ID.json` is an object
/// whose `record` is a [`VmRecord`], and whose other entries are the server's own. So is `first-class-disks/ID.json`, with a
/// [`FirstClassDiskRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// `about.instanceUuid` of the server.
    pub server_uuid: String,
    /// Who may log in.
    pub users: Vec<UserRecord>,
    /// What each user may do, by name. Who is not among them may do nothing.
    pub rights: BTreeMap<String, UserRights>,
    /// Who is logged in now.
    pub sessions: Vec<SessionRecord>,
    /// The datastores.
    pub datastores: Vec<Datastore>,
    /// The machines.
    pub vms: Vec<VmRecord>,
    /// The first-class disks.
    pub disks: Vec<FirstClassDiskRecord>,
}

/// What of a machine's file is for other processes; nothing where the machine is gone.
#[derive(Deserialize)]
struct MachineFile {
    #[serde(default)]
    record: Option<VmRecord>,
}

/// The same of a first-class disk's file.
#[derive(Deserialize)]
struct DiskFile {
    record: FirstClassDiskRecord,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Login name, compared exactly.
    pub name: String,
    /// The password's hash.
    pub password: PasswordHash,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Hash of the cookie's value.
    pub cookie: CookieHash,
    /// Whose session it is.
    pub user: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRecord {
    /// Managed object id, such as `vm-101`.
    pub moref: String,
    /// `config.instanceUuid`.
    pub instance_uuid: String,
    /// Display name.
    pub name: String,
    /// Whether the machine is powered on.
    pub power_on: bool,
    /// The `.vmx` file.
    pub vmx: DatastorePath,
    /// The disks with their live top links.
    pub disks: Vec<VmDisk>,
    /// The snapshots with their frozen links, in the order of creation.
    pub snapshots: Vec<SnapshotRecord>,
    /// What `DisableMethods` forbids, and who asked for it.
    #[serde(default)]
    pub disabled_methods: Vec<DisabledMethod>,
}

/// A disk of a machine, or of a snapshot of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmDisk {
    /// Device key, such as 2000.
    pub key: i32,
    /// Descriptor of the link.
    pub path: DatastorePath,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Managed object id, such as `snapshot-102`.
    pub moref: String,
    /// The disks with the links that the snapshot owns.
    pub disks: Vec<VmDisk>,
}

/// A first-class disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstClassDiskRecord {
    /// Its id, a uuid.
    pub id: String,
    /// Managed object id of the datastore that it is on.
    pub datastore: String,
    /// Descriptor of the live top link.
    pub path: DatastorePath,
    /// The snapshots of the disk alone, in the order of creation.
    pub snapshots: Vec<FirstClassSnapshotRecord>,
}

/// A snapshot of a first-class disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstClassSnapshotRecord {
    /// Its id, a uuid.
    pub id: String,
    /// Descriptor of the frozen link.
    pub path: DatastorePath,
}

/// A method that must not be called on a machine for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledMethod {
    /// Method name, such as `RelocateVM_Task`.
    pub method: String,
    /// Identity of who disabled it.
    pub source: String,
}

impl Inventory {
    /// Path of the file in a server's data folder.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("inventory.json")
    }

    /// The folder of the machines' files in a server's data folder.
    pub fn machines_path(data_dir: &Path) -> PathBuf {
        data_dir.join("machines")
    }

    /// The folder of the first-class disks' files in a server's data folder.
    pub fn disks_path(data_dir: &Path) -> PathBuf {
        data_dir.join("first-class-disks")
    }

    /// Reads the inventory of a data folder, with the machines and first-class disks that have files of their own.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`.
    pub fn load(data_dir: &Path) -> Result<Self> {
        let mut inventory: Self = load_json(&Self::path(data_dir))?;
        let machines = load_all::<MachineFile>(&Self::machines_path(data_dir))?;
        inventory.vms.extend(machines.into_iter().filter_map(|file| file.record));
        let disks = load_all::<DiskFile>(&Self::disks_path(data_dir))?;
        inventory.disks.extend(disks.into_iter().map(|file| file.record));
        Ok(inventory)
    }

    /// Replaces the inventory of a data folder in one step.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub fn store(&self, data_dir: &Path) -> Result<()> {
        store_json(&Self::path(data_dir), self)
    }

    /// Checks user name and password. The answer does not tell which of them is wrong.
    ///
    /// # Errors
    /// `Denied`.
    pub fn authenticate(&self, user: &str, password: &str) -> Result<&UserRecord> {
        let record = self.users.iter().find(|record| record.name == user);
        record.filter(|record| record.password.verify(password)).ok_or_else(|| {
            Error::new(
                ErrorKind::Denied,
                format!("the password of user {user:?} is wrong, or there is no such user"),
            )
        })
    }

    /// The live session of a cookie's value.
    ///
    /// # Errors
    /// `Denied` if there is none.
    pub fn session(&self, cookie: &str) -> Result<&SessionRecord> {
        let denied =
            || Error::new(ErrorKind::Denied, "the session cookie is unknown or has expired; log in again");
        let hash = CookieHash::new(cookie).map_err(|_| denied())?;
        self.sessions.iter().find(|session| session.cookie.matches(&hash)).ok_or_else(denied)
    }

    /// Whether a user has one of [`DISK_PRIVILEGES`](super::rights::DISK_PRIVILEGES) on a machine, by its managed object id.
    pub fn allows(&self, user: &str, machine: &str, privilege: &str) -> bool {
        self.rights.get(user).is_some_and(|rights| rights.has(machine, privilege))
    }

    /// A machine by its managed object id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn vm(&self, moref: &str) -> Result<&VmRecord> {
        let mut vms = self.vms.iter();
        vms.find(|vm| vm.moref == moref)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no machine {moref:?}")))
    }

    /// The machine that has this `.vmx` file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn vm_by_vmx(&self, vmx: &DatastorePath) -> Result<&VmRecord> {
        let mut vms = self.vms.iter();
        vms.find(|vm| vm.vmx == *vmx)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no machine has the file {vmx}")))
    }

    /// A first-class disk by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn disk(&self, id: &str) -> Result<&FirstClassDiskRecord> {
        let mut disks = self.disks.iter();
        disks
            .find(|disk| disk.id == id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no first-class disk {id:?}")))
    }

    /// A datastore by name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn datastore(&self, name: &str) -> Result<&Datastore> {
        let mut datastores = self.datastores.iter();
        datastores
            .find(|datastore| datastore.name() == name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no datastore {name:?}")))
    }

    /// The host path of a datastore path.
    ///
    /// # Errors
    /// `NotFound` if there is no such datastore, `BadPath` if the path leads out of it.
    pub fn resolve(&self, path: &DatastorePath) -> Result<PathBuf> {
        self.datastore(path.datastore())?.resolve(path)
    }
}

/// Reads the files of JSON in a folder; none if it is not there.
fn load_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>> {
    let unreadable = |source| Error::io("a folder of the inventory cannot be listed", source).at(folder);
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(source) => return Err(unreadable(source)),
    };
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let is_ours = path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
        if !is_ours {
            continue;
        }
        match load_json(&path) {
            Ok(file) => files.push(file),
            // Removed between the listing and the look.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

impl FirstClassDiskRecord {
    /// A snapshot by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn snapshot(&self, id: &str) -> Result<&FirstClassSnapshotRecord> {
        let mut snapshots = self.snapshots.iter();
        snapshots.find(|snapshot| snapshot.id == id).ok_or_else(|| {
            let what = format!("the first-class disk {:?} has no snapshot {id:?}", self.id);
            Error::new(ErrorKind::NotFound, what)
        })
    }
}

impl VmRecord {
    /// A snapshot by its managed object id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn snapshot(&self, moref: &str) -> Result<&SnapshotRecord> {
        let mut snapshots = self.snapshots.iter();
        snapshots.find(|snapshot| snapshot.moref == moref).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the machine {:?} has no snapshot {moref:?}", self.name))
        })
    }
}
