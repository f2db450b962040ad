//! The files of a machine, as `layoutEx` and `storage` list them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sim_store::{Access, DatastorePath, Disk, Scope, sharing, space};
use vim_api::mo;
use vim_api::types as t;

use super::vm::snapshot_ref;
use crate::chain;
use crate::hardware::signed;
use crate::machine::{DiskState, Machine};
use crate::world::World;

/// Bytes that a machine takes on its datastore, and may take beyond.
pub(super) struct Usage {
    pub(super) committed: u64,
    pub(super) uncommitted: u64,
}

impl World {
    pub(super) fn usage(&self, machine: &Machine) -> Usage {
        let capacity: u64 = machine.disks().iter().map(|disk| disk.capacity).sum();
        if machine.untouched {
            return Usage { committed: 0, uncommitted: capacity };
        }
        let files = self.files(machine);
        let committed = files.iter().map(|file| u64::try_from(file.size).unwrap_or(0)).sum();
        Usage { committed, uncommitted: capacity.saturating_sub(committed) }
    }

    pub(super) fn storage(&self, machine: &Machine) -> t::VirtualMachineStorageInfo {
        let home = machine.vmx().map(|vmx| vmx.datastore().to_owned()).unwrap_or_default();
        let mut stores: BTreeMap<String, [u64; 3]> = BTreeMap::from([(home, [0; 3])]);
        for disk in machine.disks() {
            stores.entry(disk.path.datastore().to_owned()).or_default()[2] += disk.capacity;
        }
        let shared = self.shared_files(machine);
        for (path, size) in self.sizes(machine) {
            let [committed, unshared, _] = stores.entry(path.datastore().to_owned()).or_default();
            *committed += size;
            *unshared += if shared.contains(&path) { 0 } else { size };
        }
        let usage = |(name, [committed, unshared, capacity]): (String, [u64; 3])| {
            let datastore = self.stored.tree.datastore(&name);
            t::VirtualMachineUsageOnDatastore {
                datastore: datastore.map(|(store, _)| store.typed::<mo::Datastore>()).unwrap_or_default(),
                committed: signed(committed),
                uncommitted: signed(capacity.saturating_sub(committed)),
                unshared: signed(unshared),
                ..Default::default()
            }
        };
        t::VirtualMachineStorageInfo {
            per_datastore_usage: stores.into_iter().map(usage).collect(),
            timestamp: self.clock.now().date_time(),
            ..Default::default()
        }
    }

    /// The older form of the layout: files by name, without sizes.
    pub(super) fn layout(&self, machine: &Machine) -> t::VirtualMachineFileLayout {
        let files = self.files(machine);
        let named = |suffixes: &[&str]| {
            let found = files.iter().filter(|file| suffixes.iter().any(|suffix| file.name.ends_with(suffix)));
            found.filter_map(|file| Some(file.name.rsplit('/').next()?.to_owned())).collect()
        };
        let disk = |disk: &DiskState| t::VirtualMachineFileLayoutDiskLayout {
            key: disk.key,
            disk_file: self.chain(disk).into_iter().flatten().map(|path| path.to_string()).collect(),
            ..Default::default()
        };
        let snapshot = |snapshot: &crate::machine::Snapshot| t::VirtualMachineFileLayoutSnapshotLayout {
            key: snapshot_ref(snapshot),
            snapshot_file: vmsn(machine, snapshot.number).map(|path| path.to_string()).into_iter().collect(),
            ..Default::default()
        };
        t::VirtualMachineFileLayout {
            config_file: named(&[".vmx", ".vmxf", ".nvram", ".vmsd"]),
            log_file: named(&[".log"]),
            disk: machine.disks().iter().map(disk).collect(),
            snapshot: machine.snapshots.iter().map(snapshot).collect(),
            ..Default::default()
        }
    }

    pub(super) fn layout_ex(&self, machine: &Machine) -> t::VirtualMachineFileLayoutEx {
        let files = self.files(machine);
        let key_of = |path: &str| files.iter().find(|file| file.name == path).map_or(-1, |file| file.key);
        let layout = |disk: &DiskState| t::VirtualMachineFileLayoutExDiskLayout {
            key: disk.key,
            chain: self
                .chain(disk)
                .into_iter()
                .map(|unit| t::VirtualMachineFileLayoutExDiskUnit {
                    file_key: unit
                        .iter()
                        .map(|path| key_of(&path.to_string()))
                        .filter(|key| *key >= 0)
                        .collect(),
                    ..Default::default()
                })
                // A link has files, or it is not there.
                .filter(|unit| !unit.file_key.is_empty())
                .collect(),
            ..Default::default()
        };
        let snapshots =
            machine.snapshots.iter().map(|snapshot| t::VirtualMachineFileLayoutExSnapshotLayout {
                key: snapshot_ref(snapshot),
                data_key: vmsn(machine, snapshot.number).map_or(-1, |path| key_of(&path.to_string())),
                // There is no file with the memory.
                memory_key: Some(-1),
                disk: snapshot.disks().iter().map(layout).collect(),
                ..Default::default()
            });
        t::VirtualMachineFileLayoutEx {
            snapshot: snapshots.collect(),
            disk: machine.disks().iter().map(layout).collect(),
            timestamp: self.clock.now().date_time(),
            file: files,
            ..Default::default()
        }
    }

    /// The files of a machine, by their paths.
    fn files(&self, machine: &Machine) -> Vec<t::VirtualMachineFileLayoutExFileInfo> {
        let info = |(key, (path, size)): (usize, (DatastorePath, u64))| {
            Some(t::VirtualMachineFileLayoutExFileInfo {
                key: i32::try_from(key).ok()?,
                name: path.to_string(),
                r#type: kind(path.file_name()).to_owned(),
                size: signed(size),
                unique_size: Some(signed(size)),
                accessible: Some(true),
                ..Default::default()
            })
        };
        self.sizes(machine).into_iter().enumerate().filter_map(info).collect()
    }

    /// What is in the machine's folder, and the links of its disks that are elsewhere, with the bytes that they take.
    fn sizes(&self, machine: &Machine) -> BTreeMap<DatastorePath, u64> {
        let mut found = BTreeMap::new();
        let Some(vmx) = machine.vmx().filter(|_| !machine.untouched) else { return found };
        let folder = self.resolve(&vmx).ok().and_then(|path| path.parent().map(ToOwned::to_owned));
        // Files come and go while a task runs: one that is gone again is not listed.
        let Some(Ok(entries)) = folder.map(fs::read_dir) else { return found };
        for entry in entries.flatten() {
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else {
                continue;
            };
            if metadata.is_file()
                && !name.starts_with('.')
                && let Ok(path) = vmx.sibling(&name)
            {
                found.insert(path, space::taken(&entry.path(), &metadata));
            }
        }
        let kept = machine.snapshots.iter().flat_map(crate::machine::Snapshot::disks);
        for disk in machine.disks().into_iter().chain(kept) {
            let below = chain::descriptors(self, &disk.path);
            if below.iter().all(|(path, _)| path.parent() == vmx.parent()) {
                continue;
            }
            for path in self.chain(&disk).into_iter().flatten() {
                let metadata =
                    self.resolve(&path).ok().and_then(|host| Some((fs::metadata(&host).ok()?, host)));
                if let Some((metadata, host)) = metadata {
                    found.insert(path, space::taken(&host, &metadata));
                }
            }
        }
        found
    }

    /// The files of a machine's disks that disks in other folders need too.
    fn shared_files(&self, machine: &Machine) -> BTreeSet<DatastorePath> {
        let folders: BTreeSet<DatastorePath> =
            self.sizes(machine).into_keys().map(|path| path.parent()).collect();
        let needed = |folder: &DatastorePath| {
            // What cannot be read is no reason to have no answer.
            self.resolve(folder).and_then(|host| sharing::needed_elsewhere(&host)).unwrap_or_default()
        };
        folders.iter().flat_map(needed).filter_map(|host| self.path_of(&host)).collect()
    }

    /// The files of each link, the base first.
    fn chain(&self, disk: &DiskState) -> Vec<Vec<DatastorePath>> {
        let opened =
            self.resolve(&disk.path).and_then(|path| Disk::open(path, Access::ReadOnly, Scope::WholeChain));
        let Ok(opened) = opened else { return Vec::new() };
        let unit = |link: sim_store::LinkInfo| {
            let files = [Some(link.descriptor), Some(link.extent), link.change_track];
            files.into_iter().flatten().filter_map(|path| self.path_of(&path)).collect()
        };
        opened.links().into_iter().rev().map(unit).collect()
    }
}

/// The file that a snapshot's state is in.
pub(crate) fn vmsn(machine: &Machine, number: u32) -> Option<DatastorePath> {
    let vmx = machine.vmx()?;
    let stem = vmx.file_name().strip_suffix(".vmx")?;
    vmx.sibling(&format!("{stem}-Snapshot{number}.vmsn")).ok()
}

/// The file with what VSS said of a Windows guest, under a name such as hosts give it.
pub(crate) fn vss_manifest(machine: &Machine, number: u32) -> Option<DatastorePath> {
    let vmx = machine.vmx()?;
    let stem = vmx.file_name().strip_suffix(".vmx")?;
    vmx.sibling(&format!("{stem}-vss_manifests{number}.zip")).ok()
}

fn kind(name: &str) -> &'static str {
    let data = ["-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk", "-ctk.vmdk"];
    match name.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
        "vmx" => "config",
        "vmxf" => "extendedConfig",
        "vmsd" => "snapshotList",
        "vmsn" => "snapshotData",
        "nvram" => "nvram",
        "vmdk" if data.iter().any(|suffix| name.ends_with(suffix)) => "diskExtent",
        "vmdk" => "diskDescriptor",
        _ => "log",
    }
}
