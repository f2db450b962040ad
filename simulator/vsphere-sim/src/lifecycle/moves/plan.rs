//! Deciding which links of a machine's disks go where.

use std::collections::{BTreeMap, BTreeSet};

use sim_store::{Access, DatastorePath, Descriptor, Disk, DiskUuid, Scope};
use vim_api::types as t;

use super::super::{home, host_of};
use super::{Make, Moves, Step, Way, Wishes};
use crate::chain;
use crate::fault::{Outcome, from_store};
use crate::machine::{self, DiskState, Machine, Place, Snapshot};
use crate::world::{Shared, World};

/// What a plan is made from.
pub(in crate::lifecycle) struct Planner<'a> {
    shared: &'a Shared,
    place: &'a Place,
    /// The `.vmx` as it will be.
    vmx: &'a DatastorePath,
    /// The disks are those of a new machine: everything is copied, and has other uuids.
    copies: bool,
    /// The links that the machine's own snapshots have.
    kept: BTreeSet<DatastorePath>,
    /// The folders on other datastores than the machine's.
    folders: BTreeMap<String, DatastorePath>,
    taken: BTreeSet<DatastorePath>,
    moves: Moves,
}

impl<'a> Planner<'a> {
    pub(in crate::lifecycle) fn new(
        shared: &'a Shared,
        place: &'a Place,
        vmx: &'a DatastorePath,
        copies: bool,
    ) -> Self {
        let moves = Moves { steps: Vec::new(), renamed: BTreeMap::new() };
        let (kept, folders, taken) = Default::default();
        Self { shared, place, vmx, copies, kept, folders, taken, moves }
    }

    /// The plan for a new machine with the disks of a configuration.
    pub(in crate::lifecycle) fn copy(
        mut self,
        config: &t::VirtualMachineConfigInfo,
        wishes: &Wishes,
    ) -> Outcome<Moves> {
        for (number, disk) in machine::disks(config).iter().enumerate() {
            let home = || (self.vmx.datastore().to_owned(), wishes.usual.1);
            let (datastore, way) = wishes.of_disk(disk).unwrap_or_else(home);
            self.disk(disk, number, &datastore, way)?;
        }
        Ok(self.moves)
    }

    /// The plan for a machine that moves with its snapshots.
    pub(in crate::lifecycle) fn relocate(mut self, machine: &Machine, wishes: &Wishes) -> Outcome<Moves> {
        let of_snapshots: Vec<DiskState> = machine.snapshots.iter().flat_map(Snapshot::disks).collect();
        self.kept =
            of_snapshots.iter().filter(|disk| !disk.independent).map(|disk| disk.path.clone()).collect();
        let live = machine.disks();
        let mut keys: Vec<i32> = live.iter().chain(&of_snapshots).map(|disk| disk.key).collect();
        keys.sort_unstable();
        keys.dedup();
        // Parents come before their children, and what snapshots have before what is live.
        for (disk, is_live) in
            of_snapshots.iter().map(|disk| (disk, false)).chain(live.iter().map(|disk| (disk, true)))
        {
            let Some((datastore, way)) = wishes.of_disk(disk) else { continue };
            if !is_live && matches!(way, Way::Child | Way::Top) {
                continue;
            }
            let number = keys.iter().position(|key| *key == disk.key).unwrap_or(0);
            self.disk(disk, number, &datastore, way)?;
        }
        Ok(self.moves)
    }

    fn disk(&mut self, disk: &DiskState, number: usize, datastore: &str, way: Way) -> Outcome<()> {
        // A chain that is broken cannot go anywhere.
        let text = disk.path.to_string();
        Disk::open(&host_of(self.shared, &disk.path)?, Access::ReadOnly, Scope::WholeChain)
            .map_err(|error| from_store(&error, &text))?;
        let chain = self.shared.read(|world| chain::descriptors(world, &disk.path));
        let links: Vec<DatastorePath> = chain.into_iter().map(|(path, _)| path).collect();
        let uuid = match self.copies {
            true => Some(DiskUuid::random().map_err(|error| from_store(&error, &text))?),
            false => None,
        };
        let is_there = !self.copies && disk.path.datastore() == datastore;
        match way {
            Way::Child => {
                let uuid = match uuid {
                    Some(uuid) => uuid,
                    None => own_uuid(disk)?,
                };
                if !is_there {
                    let to = self.lowest(datastore, number)?;
                    self.step(&disk.path, to, Some(uuid), Make::Child);
                }
                Ok(())
            }
            Way::Top if is_there => Ok(()),
            Way::Top => {
                let to = self.lowest(datastore, number)?;
                self.step(&disk.path, to, uuid, Make::Copy { parent: links.get(1).cloned() });
                Ok(())
            }
            Way::Share | Way::All => self.links(&links, None, datastore, number, way, uuid),
            Way::Flat => {
                let is_kept = |link: &DatastorePath| self.kept.contains(link) || *link == disk.path;
                let lowest = links.iter().rposition(is_kept).unwrap_or(0);
                let (above, below) = links.split_at(lowest);
                let [first, ..] = below else { return Ok(()) };
                if below.len() == 1 {
                    return self.links(&links, None, datastore, number, Way::All, uuid);
                }
                if !self.moves.renamed.contains_key(first) {
                    let to = self.lowest(datastore, number)?;
                    let own = match uuid {
                        Some(uuid) => uuid,
                        None => own_uuid(disk)?,
                    };
                    self.step(first, to, None, Make::Flat { capacity: disk.capacity, uuid: own });
                }
                let base = self.moves.renamed.get(first).cloned();
                self.links(above, base, datastore, number, Way::All, uuid)
            }
        }
    }

    /// Moves links, the top one first, over `parent`.
    fn links(
        &mut self,
        links: &[DatastorePath],
        mut parent: Option<DatastorePath>,
        datastore: &str,
        number: usize,
        way: Way,
        uuid: Option<DiskUuid>,
    ) -> Outcome<()> {
        let mut parent_moved = parent.is_some();
        for (at, link) in links.iter().enumerate().rev() {
            let is_top = at == 0;
            if let Some(moved) = self.moves.renamed.get(link) {
                parent_moved = true;
                parent = Some(moved.clone());
                continue;
            }
            if !self.copies && !parent_moved && link.datastore() == datastore {
                parent = Some(link.clone());
                continue;
            }
            if way == Way::Share
                && !is_top
                && !self.kept.contains(link)
                && !parent_moved
                && let Some(like) = self.like(link, datastore)?
            {
                if like != *link {
                    self.moves.renamed.insert(link.clone(), like.clone());
                }
                parent = Some(like);
                continue;
            }
            let to = match &parent {
                Some(parent) if self.is_new(parent) => self.above(parent)?,
                _ => self.lowest(datastore, number)?,
            };
            let make = Make::Copy { parent: parent.clone() };
            self.step(link, to.clone(), uuid.filter(|_| is_top), make);
            parent_moved = true;
            parent = Some(to);
        }
        Ok(())
    }

    fn step(&mut self, from: &DatastorePath, to: DatastorePath, uuid: Option<DiskUuid>, make: Make) {
        self.moves.renamed.insert(from.clone(), to.clone());
        self.moves.steps.push(Step { from: from.clone(), to, uuid, make });
    }

    fn is_new(&self, link: &DatastorePath) -> bool {
        self.moves.steps.iter().any(|step| step.to == *link)
    }

    /// A link with the content of another that is on a datastore, and that nobody writes.
    fn like(&self, link: &DatastorePath, datastore: &str) -> Outcome<Option<DatastorePath>> {
        if link.datastore() == datastore {
            return Ok(Some(link.clone()));
        }
        Ok(self.shared.read(|world| {
            let content = content_of(world, link)?;
            let machines = world.machines().filter(|machine| !machine.untouched);
            for machine in machines {
                let frozen = machine.snapshots.iter().flat_map(Snapshot::disks).map(|disk| (disk.path, 0));
                let live = machine.disks().into_iter().map(|disk| (disk.path, 1));
                for (top, skipped) in frozen.chain(live) {
                    let links = chain::descriptors(world, &top).into_iter().skip(skipped);
                    let mut links = links.filter(|(path, _)| path.datastore() == datastore);
                    let is_like = |found: &(DatastorePath, Descriptor)| {
                        found.1.ddb.get("longContentID") == Some(&content)
                    };
                    if let Some((found, _)) = links.find(is_like) {
                        return Some(found);
                    }
                }
            }
            None
        }))
    }

    /// The name for the lowest link of a disk in its new folder.
    fn lowest(&mut self, datastore: &str, number: usize) -> Outcome<DatastorePath> {
        let beside = match self.folders.get(datastore) {
            _ if datastore == self.vmx.datastore() => self.vmx.clone(),
            Some(beside) => beside.clone(),
            None => {
                let files = t::VirtualMachineFileInfo {
                    vm_path_name: Some(format!("[{datastore}]")),
                    ..Default::default()
                };
                let stem = self.vmx.file_name().trim_end_matches(".vmx");
                let beside = home(self.shared, self.place, stem, Some(&files))?;
                self.folders.insert(datastore.to_owned(), beside.clone());
                beside
            }
        };
        let stem = self.vmx.file_name().trim_end_matches(".vmx").to_owned();
        self.free(&beside, (number..).map(|number| machine::disk_name(&stem, number)))
    }

    /// The name for a link over another that has got its own.
    fn above(&mut self, parent: &DatastorePath) -> Outcome<DatastorePath> {
        let stem = parent.file_name().trim_end_matches(".vmdk");
        let stem = match stem.rsplit_once('-') {
            Some((stem, digits)) if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                stem
            }
            _ => stem,
        };
        let stem = stem.to_owned();
        self.free(parent, (1..).map(|number: usize| format!("{stem}-{number:06}.vmdk")))
    }

    /// The first of some names that nothing has beside a file.
    fn free(
        &mut self,
        beside: &DatastorePath,
        mut names: impl Iterator<Item = String>,
    ) -> Outcome<DatastorePath> {
        loop {
            let name = names.next().unwrap_or_default();
            let path = beside.sibling(&name).map_err(|error| from_store(&error, &name))?;
            if !host_of(self.shared, &path)?.exists() && self.taken.insert(path.clone()) {
                return Ok(path);
            }
        }
    }
}

fn content_of(world: &World, link: &DatastorePath) -> Option<String> {
    let descriptor = Descriptor::load(&world.resolve(link).ok()?).ok()?;
    descriptor.ddb.get("longContentID").cloned()
}

fn own_uuid(disk: &DiskState) -> Outcome<DiskUuid> {
    let known = crate::population::parse_dashed(&disk.uuid);
    known.map_or_else(DiskUuid::random, Ok).map_err(|error| from_store(&error, &disk.path.to_string()))
}
