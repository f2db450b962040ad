//! What a change may make and remove.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sim_store::{DatastorePath, Descriptor, sharing, snapshot};

use crate::chain::{self, host_of};
use crate::fault::{Outcome, from_store};
use crate::machine::{DiskState, Machine, Snapshot};
use crate::world::Shared;

/// Data files of a disk, by what follows the stem of the descriptor's name.
const DATA: [&str; 4] = ["-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk", "-ctk.vmdk"];

/// A change that is written down before it begins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The machine that is changed.
    pub(super) machine: Option<String>,
    /// The machine is there for this change only, and goes with it unless it is confirmed.
    pub(super) provisional: bool,
    /// The machine stands still: pending change tracking takes effect, and its chains are gone through.
    pub(super) stunned: bool,
    /// Files; and folders, which go if nothing is in them.
    pub(super) files: Vec<DatastorePath>,
    /// Files and folders that go with all that is in them.
    pub(super) trees: Vec<DatastorePath>,
    /// Disks whose capacity and format the machines that have them are to show.
    pub(super) disks: Vec<DatastorePath>,
    /// The links of the disks, each with its parent: where a link is gone, its parent has its content.
    pub(super) links: BTreeMap<DatastorePath, DatastorePath>,
    /// All links that the machine has. Those that it does not have in the end, and on which links in other folders stand,
    /// are left to these.
    #[serde(default)]
    pub(super) had: BTreeSet<DatastorePath>,
    /// Links in other folders on which the machine's disks stand: those who have them may be able to merge them.
    #[serde(default)]
    pub(super) beneath: BTreeSet<DatastorePath>,
}

impl Intent {
    /// Changes a machine.
    pub(crate) fn of(machine: &str) -> Self {
        Self { machine: Some(machine.to_owned()), ..Self::default() }
    }

    /// Makes a machine.
    pub(crate) fn provisional(machine: &str) -> Self {
        Self { provisional: true, ..Self::of(machine) }
    }

    /// The machine stands still meanwhile.
    pub(crate) fn stunned(self) -> Self {
        Self { stunned: true, ..self }
    }

    /// Makes the text files of a machine, and the folder that they are in.
    pub(crate) fn makes_home(mut self, shared: &Shared, vmx: &DatastorePath) -> Outcome<Self> {
        self.makes_folder(shared, &vmx.parent())?;
        for path in Machine::text_files(vmx) {
            self.makes(shared, path)?;
        }
        Ok(self)
    }

    /// Makes a disk, and the folder that it is in. Files that are there already are not its own.
    pub(crate) fn makes_disk(mut self, shared: &Shared, path: &DatastorePath) -> Outcome<Self> {
        self.makes_folder(shared, &path.parent())?;
        for file in disk_files(path)? {
            self.makes(shared, file)?;
        }
        Ok(self)
    }

    /// Makes a file or folder where nothing is, or replaces what is there.
    pub(crate) fn makes_tree(mut self, path: &DatastorePath) -> Self {
        self.trees.push(path.clone());
        self
    }

    /// Removes a file or folder with all that is in it.
    pub(crate) fn removes_tree(self, path: &DatastorePath) -> Self {
        self.makes_tree(path)
    }

    /// Removes one link of a disk.
    pub(crate) fn removes_link(mut self, shared: &Shared, path: &DatastorePath) -> Outcome<Self> {
        let host = host_of(shared, path)?;
        self.removes(&host, path)?;
        self.had.insert(path.clone());
        let descriptor = Descriptor::load(&host).map_err(|error| from_store(&error, &path.to_string()))?;
        if descriptor.parent_in_folder(&host).is_none()
            && let Some(parent) = shared.read(|world| chain::parent(world, path, &host, &descriptor))
            && self.stands_on(shared, &parent)?
        {
            self.names_chain(shared, parent, false, true)?;
        }
        Ok(self)
    }

    /// Changes what a disk is like.
    pub(crate) fn shows(mut self, disk: &DatastorePath) -> Self {
        self.disks.push(disk.clone());
        self
    }

    /// Removes a machine with all of its files, and its folder if nothing else is in it.
    pub(crate) fn removes_all(mut self, shared: &Shared, machine: &Machine) -> Outcome<Self> {
        let links: Vec<_> = links_of(machine).chain(crate::fcd::doomed_links(shared, machine)).collect();
        let home = machine.vmx().map(|vmx| vmx.parent());
        // On other datastores its disks are in folders of the same name, which the server has made.
        let is_home =
            |folder: &DatastorePath| home.as_ref().is_some_and(|home| home.relative() == folder.relative());
        let folders: Vec<_> = links.iter().map(DatastorePath::parent).filter(is_home).collect();
        self = self.with_links(shared, links, true)?;
        self.files.extend(machine.own_files());
        self.files.extend(folders);
        self.files.extend(home);
        Ok(self)
    }

    /// Changes the chains of a machine's disks: each link over another, and the files of each snapshot, may go.
    pub(crate) fn changes_chains(mut self, shared: &Shared, machine: &Machine) -> Outcome<Self> {
        self = self.with_links(shared, links_of(machine), false)?.stunned();
        self.files
            .extend(machine.snapshots.iter().flat_map(|snapshot| machine.snapshot_files(snapshot.number)));
        Ok(self)
    }

    /// Changes the chains of a disk that no machine need have: each link over another may go.
    pub(crate) fn changes_links<'p>(
        self,
        shared: &Shared,
        links: impl IntoIterator<Item = &'p DatastorePath>,
    ) -> Outcome<Self> {
        self.with_links(shared, links.into_iter().cloned(), false)
    }

    /// Removes a disk that no machine has, with all of its links.
    pub(crate) fn removes_links<'p>(
        self,
        shared: &Shared,
        links: impl IntoIterator<Item = &'p DatastorePath>,
    ) -> Outcome<Self> {
        self.with_links(shared, links.into_iter().cloned(), true)
    }

    /// Puts new links over some disks.
    pub(crate) fn makes_children(self, shared: &Shared, disks: &[DiskState]) -> Outcome<Self> {
        disks.iter().try_fold(self, |intent, disk| intent.makes_child(shared, &disk.path))
    }

    /// Puts a new link over another.
    pub(crate) fn makes_child(mut self, shared: &Shared, path: &DatastorePath) -> Outcome<Self> {
        let child = snapshot::next_child(&host_of(shared, path)?)
            .map_err(|error| from_store(&error, &path.to_string()))?;
        for file in disk_files(&chain::beside(path, &child)?)? {
            self.makes(shared, file)?;
        }
        Ok(self)
    }

    /// Makes the files of a snapshot.
    pub(crate) fn makes_snapshot(mut self, shared: &Shared, machine: &Machine, number: u32) -> Outcome<Self> {
        for path in machine.snapshot_files(number) {
            self.makes(shared, path)?;
        }
        Ok(self)
    }

    /// Names the links that these are, and those below them. The bases are among the files only if `bases` says so. What is
    /// in other folders than a disk is named if it was left to those who stand on it.
    fn with_links(
        mut self,
        shared: &Shared,
        links: impl IntoIterator<Item = DatastorePath>,
        bases: bool,
    ) -> Outcome<Self> {
        for link in links {
            self.names_chain(shared, link, bases, false)?;
        }
        Ok(self)
    }

    /// Names a link and those below it, unless that was done. `left` says that only links in other folders have it.
    fn names_chain(
        &mut self,
        shared: &Shared,
        top: DatastorePath,
        bases: bool,
        mut left: bool,
    ) -> Outcome<()> {
        let mut at = top;
        while self.had.insert(at.clone()) {
            let host = host_of(shared, &at)?;
            let Ok(descriptor) = Descriptor::load(&host) else { break };
            let parent = shared.read(|world| chain::parent(world, &at, &host, &descriptor));
            if parent.is_some() || left || bases {
                self.removes(&host, &at)?;
            } else {
                self.files.push(data_of(&at, "-ctk.vmdk")?);
            }
            if bases || left {
                self.files.push(at.parent());
            }
            let Some(parent) = parent else { break };
            if descriptor.parent_in_folder(&host).is_some() {
                self.links.insert(at, parent.clone());
            } else {
                left = self.stands_on(shared, &parent)?;
                if !left {
                    break;
                }
            }
            at = parent;
        }
        Ok(())
    }

    /// Notes a link in another folder than one of the machine's. Answers whether it was left to those who stand on it.
    fn stands_on(&mut self, shared: &Shared, parent: &DatastorePath) -> Outcome<bool> {
        self.beneath.insert(parent.clone());
        sharing::is_left(&host_of(shared, parent)?).map_err(|error| from_store(&error, &parent.to_string()))
    }

    fn removes(&mut self, host: &Path, path: &DatastorePath) -> Outcome<()> {
        let descriptor = Descriptor::load(host).map_err(|error| from_store(&error, &path.to_string()))?;
        self.files.push(path.clone());
        self.files.push(list_of(path)?);
        self.files.push(sibling(path, &descriptor.extent_file)?);
        self.files.push(match &descriptor.change_track {
            Some(name) => sibling(path, name)?,
            // It may be switched on meanwhile.
            None => data_of(path, "-ctk.vmdk")?,
        });
        Ok(())
    }

    fn makes(&mut self, shared: &Shared, path: DatastorePath) -> Outcome<()> {
        if fs::symlink_metadata(host_of(shared, &path)?).is_err() {
            self.files.push(path);
        }
        Ok(())
    }

    fn makes_folder(&mut self, shared: &Shared, folder: &DatastorePath) -> Outcome<()> {
        let mut at = folder.clone();
        while !at.relative().is_empty() && !host_of(shared, &at)?.exists() {
            self.files.push(at.clone());
            at = at.parent();
        }
        Ok(())
    }
}

/// The links that a machine's disks are on top of, now and in its snapshots.
fn links_of(machine: &Machine) -> impl Iterator<Item = DatastorePath> {
    let kept = machine.snapshots.iter().flat_map(Snapshot::disks);
    machine.disks().into_iter().chain(kept).map(|disk| disk.path)
}

/// The files that a disk, or a link of one, can have.
fn disk_files(path: &DatastorePath) -> Outcome<Vec<DatastorePath>> {
    let mut files = vec![path.clone()];
    for data in DATA {
        files.push(data_of(path, data)?);
    }
    Ok(files)
}

fn data_of(path: &DatastorePath, suffix: &str) -> Outcome<DatastorePath> {
    let stem = path.file_name().strip_suffix(".vmdk").unwrap_or(path.file_name());
    sibling(path, &format!("{stem}{suffix}"))
}

/// Where the children of a link are listed that are in other folders.
pub(super) fn list_of(path: &DatastorePath) -> Outcome<DatastorePath> {
    let list = sharing::list_of(Path::new(path.file_name()));
    sibling(path, &list.to_string_lossy())
}

pub(super) fn sibling(path: &DatastorePath, name: &str) -> Outcome<DatastorePath> {
    path.sibling(name).map_err(|error| from_store(&error, &path.to_string()))
}
