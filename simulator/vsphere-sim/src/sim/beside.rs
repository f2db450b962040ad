//! Storage policies, which are gone when the simulator stops, and first-class disks, which are not.

use std::sync::{Arc, PoisonError};

use sim_store::{Access, Disk, Scope};

use super::Sim;
use crate::beside::policies;
use crate::world::{Shared, World};
use crate::{Error, ErrorKind, Result, fcd, random};

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

    /// Makes an empty thin first-class disk of `capacity` bytes on the first datastore, and answers its id.
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

    /// Opens a first-class disk, or a snapshot of it, for reading.
    ///
    /// # Errors
    /// `NotFound` for an unknown id; `Store` if the disk cannot be opened.
    pub fn open_first_class_disk(&self, id: &str, snapshot: Option<&str>) -> Result<Disk> {
        open_disk(&self.shared, id, snapshot, Access::ReadOnly)
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
    let first =
        |world: &World| world.stored.tree.datastores().next().map(|(_, files)| files.name().to_owned());
    let datastore = shared.read(first);
    let datastore =
        datastore.ok_or_else(|| Error::new(ErrorKind::Store, "the data folder has no datastore"))?;
    let failed = |fault: crate::fault::Fault| {
        Error::new(ErrorKind::Store, format!("making the first-class disk {name:?}: {}", fault.message))
    };
    let wish = fcd::Wish::new(name, &datastore).map_err(failed)?;
    let id = wish.id.clone();
    fcd::create(shared, wish, &sim_store::DiskSpec::thin(capacity)).map_err(failed)?;
    Ok(id)
}

pub(crate) fn with_disk<R>(shared: &Shared, id: &str, work: impl FnOnce(&mut Disk) -> R) -> Result<R> {
    let stun = shared.read(|world| world.consumer_of(id).map(|(machine, _)| Arc::clone(&machine.stun)));
    // Whoever has the disk stands still while its chain changes.
    let stun = stun.unwrap_or_default();
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(work(&mut open_disk(shared, id, None, Access::ReadWrite)?))
}

pub(crate) fn open_disk(shared: &Shared, id: &str, snapshot: Option<&str>, access: Access) -> Result<Disk> {
    let failed = |error| Error::store(format!("opening the first-class disk {id}"), error);
    let host = shared.read(|world| {
        let missing =
            |what: &str, id: &str| Error::new(ErrorKind::NotFound, format!("there is no {what} {id}"));
        let disk = world.first_class.get(id).ok_or_else(|| missing("first-class disk", id))?;
        let path = match snapshot {
            None => &disk.path,
            Some(snapshot) => {
                let found = disk.snapshots.iter().find(|found| found.id == snapshot);
                &found.ok_or_else(|| missing("snapshot", snapshot))?.path
            }
        };
        world.resolve(path).map_err(failed)
    })?;
    Disk::open(host, access, Scope::WholeChain).map_err(failed)
}
