//! First-class disks: disks that are objects of their own, with a name, metadata and snapshots, whether a machine has
//! them or not. The API's managers and VSLM are two ways to the same disks.
//!
//! Which machine has a disk is written in one place only: the `vDiskId` of a device in its hardware. The file that a
//! disk is on top of is followed here while a machine has it ([`Catalogue`] is brought in line whenever a machine is
//! written), so that the disk is what it was last, whatever becomes of the machine.

mod attach;
mod changes;
mod copies;
mod hold;
mod making;
pub(crate) mod operation;
mod show;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sim_store::snapshot::Removal;
use sim_store::state::{FirstClassDiskRecord, FirstClassSnapshotRecord};
use sim_store::{DatastorePath, Provisioning};
use vim_api::types as t;

use crate::clock::Moment;
use crate::fault::{Fault, fault};
use crate::machine::{self, DiskState, Machine};
use crate::world::{Shared, World};

pub(crate) use attach::{attach, attach_by_service, detach};
pub(crate) use hold::{of_machine, owned_links};
pub(crate) use making::{Wish, create};
pub(crate) use operation::call;
pub(crate) use show::{mebibytes, to_pairs};

/// Folder of the disks on each datastore, unless it is said otherwise.
const FOLDER: &str = "fcd";

/// The disks of the server.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    known: BTreeMap<String, FirstClassDisk>,
    /// The disks whose files have to be written.
    pub(crate) changed: BTreeSet<String>,
}

/// A disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FirstClassDisk {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Moment,
    /// The link that is written to.
    pub(crate) path: DatastorePath,
    /// Bytes.
    pub(crate) capacity: u64,
    pub(crate) provisioning: Provisioning,
    /// It stays when a machine that has it is deleted.
    pub(crate) keep_after_delete_vm: bool,
    pub(crate) relocation_disabled: bool,
    /// Whether changes of blocks are tracked. A machine that has the disk may want it too.
    pub(crate) tracked: bool,
    pub(crate) metadata: BTreeMap<String, String>,
    /// In the order of creation.
    pub(crate) snapshots: Vec<DiskSnapshot>,
    /// The task that holds the disk.
    #[serde(skip)]
    busy: Option<String>,
}

/// A snapshot of a disk alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiskSnapshot {
    pub(crate) id: String,
    /// The frozen link.
    pub(crate) path: DatastorePath,
    pub(crate) description: String,
    pub(crate) created: Moment,
    pub(crate) change_id: Option<String>,
    /// The disk's, at the time.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl FirstClassDisk {
    /// The links that the disk and its snapshots are on top of.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &DatastorePath> {
        std::iter::once(&self.path).chain(self.snapshots.iter().map(|snapshot| &snapshot.path))
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut DatastorePath> {
        std::iter::once(&mut self.path).chain(self.snapshots.iter_mut().map(|snapshot| &mut snapshot.path))
    }

    /// What other processes are told of the disk, which is on a datastore of this managed object id.
    pub(crate) fn record(&self, datastore: &str) -> FirstClassDiskRecord {
        let snapshot = |snapshot: &DiskSnapshot| FirstClassSnapshotRecord {
            id: snapshot.id.clone(),
            path: snapshot.path.clone(),
        };
        FirstClassDiskRecord {
            id: self.id.clone(),
            datastore: datastore.to_owned(),
            path: self.path.clone(),
            snapshots: self.snapshots.iter().map(snapshot).collect(),
        }
    }
}

impl Catalogue {
    /// The disks that were kept.
    pub(crate) fn new(known: BTreeMap<String, FirstClassDisk>) -> Self {
        Self { known, changed: BTreeSet::new() }
    }

    /// All disks, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &FirstClassDisk> {
        self.known.values()
    }

    /// A disk by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&FirstClassDisk> {
        self.known.get(id)
    }

    /// A disk by its id, to be changed: its file will be written.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut FirstClassDisk> {
        let found = self.known.get_mut(id)?;
        self.changed.insert(id.to_owned());
        Some(found)
    }

    fn insert(&mut self, disk: FirstClassDisk) {
        tracing::info!(disk = disk.id, name = disk.name, path = %disk.path, "first-class disk added");
        self.changed.insert(disk.id.clone());
        self.known.insert(disk.id.clone(), disk);
    }

    fn remove(&mut self, id: &str) -> Option<FirstClassDisk> {
        let disk = self.known.remove(id)?;
        tracing::info!(disk = id, name = disk.name, "first-class disk removed");
        self.changed.insert(id.to_owned());
        Some(disk)
    }

    /// Gives links other names: `renamed` answers the new one.
    pub(crate) fn rename_links(&mut self, renamed: impl Fn(&DatastorePath) -> Option<DatastorePath>) {
        for (id, disk) in &mut self.known {
            for path in disk.paths_mut() {
                if let Some(new) = renamed(path) {
                    *path = new;
                    self.changed.insert(id.clone());
                }
            }
        }
    }

    /// Brings the disks in line with the machine that has them.
    pub(crate) fn follow(&mut self, machine: &Machine) {
        if self.known.is_empty() {
            return;
        }
        for (id, held) in held_disks(&machine.config) {
            if let Some(disk) = self.known.get_mut(&id)
                && (&disk.path, disk.capacity) != (&held.path, held.capacity)
            {
                disk.path = held.path;
                disk.capacity = held.capacity;
                self.changed.insert(id);
            }
        }
    }
}

/// The first-class disks of a configuration.
pub(crate) fn held_disks(config: &t::VirtualMachineConfigInfo) -> Vec<(String, DiskState)> {
    let devices = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let ids: Vec<_> =
        devices.filter_map(|disk| Some((disk.base.key, disk.v_disk_id.as_ref()?.id.clone()))).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let states = machine::disks(config);
    let state = |key| states.iter().find(|state: &&DiskState| state.key == key).cloned();
    ids.into_iter().filter_map(|(key, id)| Some((id, state(key)?))).collect()
}

impl World {
    /// The machine that has a first-class disk, and the key of the device.
    pub(crate) fn consumer_of(&self, disk: &str) -> Option<(&Machine, i32)> {
        self.machines().filter(|machine| !machine.untouched).find_map(|machine| {
            let key = device_of(&machine.config, disk)?;
            Some((machine, key))
        })
    }

    /// The machines whose snapshots have a first-class disk.
    fn kept_by(&self, disk: &str) -> impl Iterator<Item = &Machine> {
        self.machines().filter(move |machine| {
            machine.snapshots.iter().any(|snapshot| device_of(&snapshot.config, disk).is_some())
        })
    }

    /// Says of each disk of a new machine whether it is a first-class disk.
    pub(crate) fn adopt_disks(&self, machine: &mut Machine) {
        let is_marked = !held_disks(&machine.config).is_empty();
        if is_marked || !self.first_class.known.is_empty() {
            self.claim_disks(&machine.id.clone(), machine.config_mut());
        }
    }

    /// Says of each disk of a configuration whether it is a first-class disk: one that the machine of this id has, or a
    /// free one whose file it is.
    pub(crate) fn claim_disks(&self, machine: &str, config: &mut t::VirtualMachineConfigInfo) {
        let before: BTreeSet<String> = match self.machine(machine) {
            Some(before) if !self.first_class.known.is_empty() => {
                held_disks(&before.config).into_iter().map(|(id, _)| id).collect()
            }
            _ => BTreeSet::new(),
        };
        let mut claimed = BTreeSet::new();
        for device in &mut config.hardware.device {
            let Some(disk) = device.downcast_mut::<t::VirtualDisk>() else { continue };
            if let Some(kept) = disk.v_disk_id.as_ref().filter(|id| before.contains(&id.id))
                && claimed.insert(kept.id.clone())
            {
                continue;
            }
            let file = machine::flat(disk).map(|backing| backing.file_name.as_str());
            let of_it = |known: &&FirstClassDisk| file == Some(known.path.to_string().as_str());
            let found = self.first_class.iter().find(of_it);
            let free = found.filter(|known| {
                let others = self.consumer_of(&known.id).is_some_and(|(other, _)| other.id != machine);
                !others && claimed.insert(known.id.clone())
            });
            disk.v_disk_id = free.map(|known| Box::new(id(&known.id)));
        }
    }
}

/// The key of the device that is a first-class disk.
fn device_of(config: &t::VirtualMachineConfigInfo, id: &str) -> Option<i32> {
    let mut disks =
        config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let is_it = |disk: &&t::VirtualDisk| disk.v_disk_id.as_ref().is_some_and(|found| found.id == id);
    disks.find(is_it).map(|disk| disk.base.key)
}

/// The host paths of the links that snapshots of these first-class disks own.
pub(crate) fn owned<'i>(world: &World, ids: impl IntoIterator<Item = &'i str>) -> Vec<PathBuf> {
    let disks = ids.into_iter().filter_map(|id| world.first_class.get(id));
    let snapshots = disks.flat_map(|disk| &disk.snapshots);
    snapshots.filter_map(|snapshot| world.resolve(&snapshot.path).ok()).collect()
}

/// Follows links that were merged into those below them.
pub(crate) fn follow_merges(shared: &Shared, merged: &[Removal]) {
    shared.update(|world| {
        let renamed = |path: &DatastorePath| {
            let before = world.resolve(path).ok()?;
            let host = merged.iter().fold(before.clone(), |host, removal| match removal {
                Removal::Merged { child, survivor } if host == *child => survivor.clone(),
                _ => host,
            });
            (host != before).then(|| path.sibling(host.file_name()?.to_str()?).ok()).flatten()
        };
        let paths = world.first_class.iter().flat_map(FirstClassDisk::paths);
        let moves: BTreeMap<DatastorePath, DatastorePath> =
            paths.filter_map(|path| Some((path.clone(), renamed(path)?))).collect();
        world.first_class.rename_links(|path| moves.get(path).cloned());
    });
}

/// Shows what the disk at a path has become.
pub(crate) fn show(world: &mut World, path: &DatastorePath, capacity: u64, provisioning: Provisioning) {
    let of_it = |disk: &&FirstClassDisk| disk.path == *path;
    let Some(id) = world.first_class.iter().find(of_it).map(|disk| disk.id.clone()) else { return };
    if let Some(disk) = world.first_class.get_mut(&id) {
        (disk.capacity, disk.provisioning) = (capacity, provisioning);
    }
}

/// Deletes the disks of a machine that is being deleted, but for those that are to stay. Their files are the machine's
/// to remove.
pub(crate) fn go_with(world: &mut World, machine: &Machine) {
    for id in doomed(world, machine) {
        world.first_class.remove(&id);
    }
}

/// The disks that go with a machine.
pub(crate) fn doomed(world: &World, machine: &Machine) -> Vec<String> {
    let held = held_disks(&machine.config).into_iter().map(|(id, _)| id);
    held.filter(|id| world.first_class.get(id).is_some_and(|disk| !disk.keep_after_delete_vm)).collect()
}

/// The links of the disks that go with a machine.
pub(crate) fn doomed_links(shared: &Shared, machine: &Machine) -> Vec<DatastorePath> {
    shared.read(|world| {
        let disks = doomed(world, machine);
        let disks = disks.iter().filter_map(|id| world.first_class.get(id));
        disks.flat_map(FirstClassDisk::paths).cloned().collect()
    })
}

fn id(text: &str) -> t::ID {
    t::ID { id: text.to_owned(), ..Default::default() }
}

fn missing(what: &str, id: &str) -> Fault {
    fault(t::NotFound::default(), format!("The {what} {id} cannot be found."))
}

fn invalid_state(message: impl Into<String>) -> Fault {
    fault(t::InvalidState::default(), message)
}
