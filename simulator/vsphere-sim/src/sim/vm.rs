//! A machine from the outside: its disks as the guest has them.

use std::sync::{Arc, PoisonError};

use sim_store::guest::image::Manifest;
use sim_store::{Access, Disk, Extent, Scope};
use vim_api::{MoRef, mo};

use crate::inventory::escaped;
use crate::machine::{DiskState, Machine, Power};
use crate::population;
use crate::sim::Sim;
use crate::world::Shared;
use crate::{Error, ErrorKind, Result};

/// A machine of a running simulator.
#[derive(Clone)]
pub struct SimVm {
    shared: Arc<Shared>,
    id: String,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDisk {
    /// Device key, 2000 and up.
    pub key: i32,
    /// Capacity in bytes.
    pub capacity_bytes: u64,
    /// The live top link as a datastore path, `[datastore1] web/web.vmdk`.
    pub path: String,
    /// `backing.uuid`.
    pub uuid: String,
}

/// A machine that is in no inventory.
#[derive(Debug)]
pub struct Unregistered(Box<Machine>);

impl Sim {
    /// Takes a machine into the inventory again. It is the same machine, with its uuids and disks, under a new reference:
    /// a moRef does not survive this on a real server either.
    pub fn register(&self, machine: Unregistered) -> SimVm {
        let id = self.shared.update(|world| {
            let id = world.next_machine_id();
            world.insert_machine(Machine { id: id.clone(), ..*machine.0 });
            id
        });
        SimVm::new(Arc::clone(&self.shared), id)
    }
}

impl SimVm {
    pub(crate) fn new(shared: Arc<Shared>, id: String) -> Self {
        Self { shared, id }
    }

    /// Its managed object id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The machine's reference.
    pub fn moref(&self) -> MoRef<mo::VirtualMachine> {
        MoRef::new(self.id.as_str())
    }

    /// The live disks.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone.
    pub fn disks(&self) -> Result<Vec<SimDisk>> {
        let disk = |disk: &DiskState| SimDisk {
            key: disk.key,
            capacity_bytes: disk.capacity,
            path: disk.path.to_string(),
            uuid: disk.uuid.clone(),
        };
        let disks = self
            .shared
            .read(|world| world.machine(&self.id).map(|machine| machine.disks().iter().map(disk).collect()));
        disks.ok_or_else(|| self.gone())
    }

    /// The name that the machine has in the inventory.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone.
    pub fn name(&self) -> Result<String> {
        let name = self.shared.read(|world| world.machine(&self.id).map(Machine::plain_name));
        name.ok_or_else(|| self.gone())
    }

    /// Renames the machine, as another administrator may do at any time. Its files keep their names.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone.
    pub fn rename(&self, name: &str) -> Result<()> {
        let renamed = self.shared.update(|world| {
            let machine = world.machine_mut(&self.id)?;
            machine.config_mut().name = escaped(name);
            Some(())
        });
        renamed.ok_or_else(|| self.gone())
    }

    /// Gives the machine other uuids, as a copy gets them, or an administrator may.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone.
    pub fn set_uuids(&self, instance_uuid: &str, bios_uuid: &str) -> Result<()> {
        let done = self.shared.update(|world| {
            let machine = world.machine_mut(&self.id)?;
            let config = machine.config_mut();
            config.instance_uuid = Some(instance_uuid.to_owned());
            bios_uuid.clone_into(&mut config.uuid);
            Some(())
        });
        done.ok_or_else(|| self.gone())
    }

    /// Takes the machine out of the inventory, as `UnregisterVM` does; its files stay. [`Sim::register`] brings it back.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone.
    pub fn unregister(self) -> Result<Unregistered> {
        self.materialize()?;
        let taken = self.shared.update(|world| world.remove_machine(&self.id));
        taken.map(|machine| Unregistered(Box::new(machine))).ok_or_else(|| self.gone())
    }

    /// Whether the machine is on.
    pub fn is_powered_on(&self) -> bool {
        self.shared.read(|world| world.machine(&self.id).is_some_and(|machine| machine.power == Power::On))
    }

    /// How many snapshots the machine has.
    pub fn snapshot_count(&self) -> usize {
        self.snapshots().len()
    }

    /// The snapshots' ids, such as `snapshot-102`, in the order of creation.
    pub fn snapshots(&self) -> Vec<String> {
        self.shared.read(|world| {
            let snapshots = world.machine(&self.id).into_iter().flat_map(|machine| &machine.snapshots);
            snapshots.map(|snapshot| snapshot.id.clone()).collect()
        })
    }

    /// Opens a live disk as the guest does and hands it over: writes go into the top link and are tracked. Snapshot
    /// operations wait meanwhile. It does not matter whether the machine is on.
    ///
    /// # Errors
    /// `NotFound` if there is no such disk; `Store` if it is open for writing elsewhere, or broken.
    pub fn with_live_disk<R>(&self, key: i32, work: impl FnOnce(&mut Disk) -> R) -> Result<R> {
        self.materialize()?;
        let stun = self.shared.read(|world| world.machine(&self.id).map(|machine| Arc::clone(&machine.stun)));
        let stun = stun.ok_or_else(|| self.gone())?;
        let _writing = stun.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disk = self.open(key, None, Access::ReadWrite)?;
        Ok(work(&mut disk))
    }

    /// SHA-256 of all bytes of a disk, live or as in a snapshot (its id, such as `snapshot-102`), in hex digits.
    ///
    /// # Errors
    /// `NotFound` if there is no such disk or snapshot; `Store` if it cannot be read.
    pub fn disk_sha256(&self, key: i32, snapshot: Option<&str>) -> Result<String> {
        let disk = self.open(key, snapshot, Access::ReadOnly)?;
        let digest = disk.sha256().map_err(|error| Error::store("reading a disk", error))?;
        Ok(digest.to_string())
    }

    /// The files that [`Content::Image`](super::Content) put on a disk when it was made; `None` for other disks, and
    /// for those of an earlier run.
    pub fn image_manifest(&self, key: i32) -> Option<Manifest> {
        self.shared.read(|world| world.manifests.get(&(self.id.clone(), key)).cloned())
    }

    /// The allocated areas of a disk, live or as in a snapshot.
    ///
    /// # Errors
    /// As for [`disk_sha256`](Self::disk_sha256).
    pub fn disk_allocated(&self, key: i32, snapshot: Option<&str>) -> Result<Vec<Extent>> {
        let disk = self.open(key, snapshot, Access::ReadOnly)?;
        disk.allocated(0, disk.capacity()).map_err(|error| Error::store("looking for allocated areas", error))
    }

    /// Opens a disk for reading, live or as in a snapshot.
    ///
    /// # Errors
    /// As for [`disk_sha256`](Self::disk_sha256).
    pub fn open_disk(&self, key: i32, snapshot: Option<&str>) -> Result<Disk> {
        self.open(key, snapshot, Access::ReadOnly)
    }

    fn open(&self, key: i32, snapshot: Option<&str>, access: Access) -> Result<Disk> {
        self.materialize()?;
        let path = self.shared.read(|world| {
            let machine = world.machine(&self.id).ok_or_else(|| self.gone())?;
            let disks = match snapshot {
                None => machine.disks(),
                Some(id) => {
                    let found = machine.snapshot(id);
                    let missing = || Error::new(ErrorKind::NotFound, format!("there is no snapshot {id:?}"));
                    found.ok_or_else(missing)?.disks()
                }
            };
            let disk = disks.into_iter().find(|disk| disk.key == key);
            let disk = disk
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{} has no disk {key}", self.id)))?;
            world.resolve(&disk.path).map_err(|error| Error::store("finding a disk", error))
        })?;
        Disk::open(path, access, Scope::WholeChain).map_err(|error| Error::store("opening a disk", error))
    }

    /// A generated machine gets its files when it is used first.
    fn materialize(&self) -> Result<()> {
        population::materialize(&self.shared, &self.id)
            .map_err(|fault| Error::new(ErrorKind::Store, fault.message))
    }

    fn gone(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no machine {}", self.id))
    }
}

impl std::fmt::Debug for SimVm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimVm").field(&self.id).finish()
    }
}
