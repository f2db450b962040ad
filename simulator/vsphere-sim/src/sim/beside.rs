//! What the services beside the API have: storage policies and first-class disks. It is gone when the simulator stops.

use std::collections::BTreeMap;
use std::fs;

use sim_store::{Access, DatastorePath, Disk, Scope};

use super::Sim;
use crate::beside::{disks, policies};
use crate::world::Shared;
use crate::{Error, ErrorKind, Result, random};

/// Folder of the first-class disks on the first datastore.
const FOLDER: &str = "fcd";

impl Sim {
    /// Adds a storage policy and answers its id.
    pub fn add_storage_policy(&self, name: &str, description: &str) -> String {
        add_policy(&self.shared, name, description)
    }

    /// Gives the policy with this id to a machine's home, or to the disk of a device key.
    ///
    /// # Errors
    /// `NotFound` for an unknown machine.
    pub fn give_storage_policy(&self, vm: &str, disk: Option<i32>, policy: &str) -> Result<()> {
        let vm = self.vm(vm)?;
        give_policy(&self.shared, vm.moref().value(), disk, policy);
        Ok(())
    }

    /// Makes an empty first-class disk of `capacity` bytes, and answers its id.
    ///
    /// # Errors
    /// `Store` if it cannot be made.
    pub fn add_first_class_disk(&self, name: &str, capacity: u64) -> Result<String> {
        add_disk(&self.shared, name, capacity)
    }

    /// Works on a first-class disk as whoever uses it would.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `Store` if the disk cannot be opened.
    pub fn with_first_class_disk<R>(&self, id: &str, work: impl FnOnce(&mut Disk) -> R) -> Result<R> {
        with_disk(&self.shared, id, work)
    }

    /// Ends the sessions of the services beside, and none of the API's.
    pub fn end_sessions_beside(&self) {
        self.shared.update(|world| world.ended_beside = world.beside.clone());
    }

    /// How many sessions of their own the services beside have begun: a client that sends their cookies back needs one at
    /// each.
    pub fn sessions_beside(&self) -> usize {
        self.shared.read(|world| world.beside.len())
    }
}

pub(crate) fn add_policy(shared: &Shared, name: &str, description: &str) -> String {
    let id = random::uuid();
    let policy = policies::Policy { name: name.to_owned(), description: description.to_owned() };
    shared.update(|world| world.policies.known.insert(id.clone(), policy));
    id
}

pub(crate) fn give_policy(shared: &Shared, vm: &str, disk: Option<i32>, policy: &str) {
    let entity = disk.map_or_else(|| vm.to_owned(), |key| format!("{vm}:{key}"));
    shared.update(|world| world.policies.given.insert(entity, policy.to_owned()));
}

pub(crate) fn add_disk(shared: &Shared, name: &str, capacity: u64) -> Result<String> {
    let failed = |error| Error::store(format!("making the first-class disk {name:?}"), error);
    let files = shared.read(|world| world.stored.tree.datastores().next().map(|(_, files)| files.clone()));
    let files = files.ok_or_else(|| Error::new(ErrorKind::Store, "the data folder has no datastore"))?;
    let id = random::uuid();
    let path = DatastorePath::new(files.name(), &format!("{FOLDER}/{id}.vmdk")).map_err(failed)?;
    let folder = files.root().join(FOLDER);
    fs::create_dir_all(&folder)
        .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", folder.display()), error))?;
    let top = folder.join(format!("{id}.vmdk"));
    Disk::create(&top, &sim_store::DiskSpec::thin(capacity)).map_err(failed)?;
    shared.update(|world| {
        let (name, created) = (name.to_owned(), world.clock.now());
        let snapshots = BTreeMap::new();
        let disk = disks::Disk { name, capacity, created, tracked: false, top, path, snapshots };
        world.disks.known.insert(id.clone(), disk);
    });
    Ok(id)
}

pub(crate) fn with_disk<R>(shared: &Shared, id: &str, work: impl FnOnce(&mut Disk) -> R) -> Result<R> {
    let top = shared.read(|world| world.disks.known.get(id).map(|disk| disk.top.clone()));
    let top =
        top.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no first-class disk {id}")))?;
    let mut disk = Disk::open(top, Access::ReadWrite, Scope::WholeChain)
        .map_err(|error| Error::store(format!("opening the first-class disk {id}"), error))?;
    Ok(work(&mut disk))
}
