//! Where the disks of a machine go that is copied or moved: which of their links are copied, made, shared, or stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;

use sim_store::elsewhere::{self, Copy};
use sim_store::{Access, DatastorePath, Disk, DiskSpec, DiskUuid, Scope, tracking};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{file_fault, home, host_of};
use crate::chain;
use crate::disks;
use crate::fault::{Outcome, from_store, invalid_argument, not_found};
use crate::machine::{self, DiskState, Machine, Place, Snapshot};
use crate::recovery::Intent;
use crate::tasks::Progress;
use crate::world::{Shared, World};

/// What `diskMoveType` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `createNewChildDiskBacking`: the disk stays, and a new child is put over it.
    Child,
    /// `moveChildMostDiskBacking`: the top link goes, over parents that stay.
    Top,
    /// `moveAllDiskBackingsAndAllowSharing`: all links go, but for parents whose like is there.
    Share,
    /// `moveAllDiskBackingsAndDisallowSharing`: all links go.
    All,
    /// `moveAllDiskBackingsAndConsolidate`: what no snapshot has becomes one link.
    Flat,
}

/// Where disks go, and how.
pub(super) struct Wishes {
    /// A disk of which nothing is said stays, or goes with its machine.
    usual: (Option<String>, Way),
    disks: BTreeMap<i32, (String, Way)>,
    /// The way is said, and not only usual.
    said: bool,
}

/// A plan, and which link becomes which.
pub(super) struct Moves {
    steps: Vec<Step>,
    /// The links of moved disks, by those from which they were made. A link that is shared was made of none.
    pub(super) renamed: BTreeMap<DatastorePath, DatastorePath>,
}

struct Step {
    from: DatastorePath,
    to: DatastorePath,
    /// That the disk gets with this link, which then is its top one.
    uuid: Option<DiskUuid>,
    make: Make,
}

enum Make {
    Copy { parent: Option<DatastorePath> },
    Child,
    Flat { capacity: u64, uuid: DiskUuid },
}

impl Way {
    fn parse(text: Option<&str>, usual: Self, argument: &str) -> Outcome<Self> {
        Ok(match text {
            None => usual,
            Some("createNewChildDiskBacking") => Self::Child,
            Some("moveChildMostDiskBacking") => Self::Top,
            Some("moveAllDiskBackingsAndAllowSharing") => Self::Share,
            Some("moveAllDiskBackingsAndDisallowSharing") => Self::All,
            Some("moveAllDiskBackingsAndConsolidate") => Self::Flat,
            Some(other) => {
                return Err(invalid_argument(argument, format!("There is no way to move disks {other:?}.")));
            }
        })
    }
}

impl Wishes {
    /// Reads a specification for a machine of some configuration.
    pub(super) fn of(
        shared: &Shared,
        config: &t::VirtualMachineConfigInfo,
        spec: &t::VirtualMachineRelocateSpec,
        usual: Way,
    ) -> Outcome<Self> {
        let name = |datastore: &MoRef<mo::Datastore>| {
            let name = shared
                .read(|world| Some(world.stored.tree.get(datastore.value())?.files()?.name().to_owned()));
            name.ok_or_else(|| not_found(&datastore.cast()))
        };
        let way = Way::parse(spec.disk_move_type.as_deref(), usual, "spec.diskMoveType")?;
        let datastore = spec.datastore.as_ref().map(name).transpose()?;
        let mut disks = BTreeMap::new();
        for locator in &spec.disk {
            if !machine::disks(config).iter().any(|disk| disk.key == locator.disk_id) {
                let message = format!("The machine has no disk {}.", locator.disk_id);
                return Err(invalid_argument("spec.disk.diskId", message));
            }
            let way = Way::parse(locator.disk_move_type.as_deref(), way, "spec.disk.diskMoveType")?;
            disks.insert(locator.disk_id, (name(&locator.datastore)?, way));
        }
        Ok(Self { usual: (datastore, way), disks, said: spec.disk_move_type.is_some() })
    }

    /// Whether any disk gets a new child.
    pub(super) fn make_children(&self) -> bool {
        self.usual.1 == Way::Child || self.disks.values().any(|(_, way)| *way == Way::Child)
    }

    /// The datastore for the machine.
    pub(super) fn datastore(&self) -> Option<&str> {
        self.usual.0.as_deref()
    }

    fn of_disk(&self, disk: &DiskState) -> Option<(String, Way)> {
        if let Some(wish) = self.disks.get(&disk.key) {
            return Some(wish.clone());
        }
        let (datastore, way) = &self.usual;
        // A disk may become one link where it is.
        let here = (self.said && *way == Way::Flat).then(|| disk.path.datastore().to_owned());
        Some((datastore.clone().or(here)?, *way))
    }
}

/// What a plan is made from.
pub(super) struct Planner<'a> {
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
    pub(super) fn new(shared: &'a Shared, place: &'a Place, vmx: &'a DatastorePath, copies: bool) -> Self {
        let moves = Moves { steps: Vec::new(), renamed: BTreeMap::new() };
        let (kept, folders, taken) = Default::default();
        Self { shared, place, vmx, copies, kept, folders, taken, moves }
    }

    /// The plan for a new machine with the disks of a configuration.
    pub(super) fn copy(mut self, config: &t::VirtualMachineConfigInfo, wishes: &Wishes) -> Outcome<Moves> {
        for (number, disk) in machine::disks(config).iter().enumerate() {
            let home = || (self.vmx.datastore().to_owned(), wishes.usual.1);
            let (datastore, way) = wishes.of_disk(disk).unwrap_or_else(home);
            self.disk(disk, number, &datastore, way)?;
        }
        Ok(self.moves)
    }

    /// The plan for a machine that moves with its snapshots.
    pub(super) fn relocate(mut self, machine: &Machine, wishes: &Wishes) -> Outcome<Moves> {
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
                    let is_like = |found: &(DatastorePath, sim_store::Descriptor)| {
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

impl Moves {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.renamed.is_empty()
    }

    /// The intent to make what is new.
    pub(super) fn intent(&self, shared: &Shared, intent: Intent) -> Outcome<Intent> {
        self.steps.iter().try_fold(intent, |intent, step| intent.makes_disk(shared, &step.to))
    }

    /// Makes what is new. With `tracked`, change ids stay valid.
    pub(super) fn carry_out(
        &self,
        shared: &Shared,
        tracked: bool,
        progress: &mut Progress<'_>,
    ) -> Outcome<()> {
        progress.allow_cancel();
        let total = self.steps.len() as u64;
        for (at, step) in self.steps.iter().enumerate() {
            let folder = host_of(shared, &step.to.parent())?;
            fs::create_dir_all(&folder).map_err(|error| file_fault(&step.to, &error))?;
            step.carry_out(shared, tracked, &mut |done, of| {
                // The links count alike, whatever they hold.
                progress.step(
                    (at as u64 * 1000).saturating_add(done.saturating_mul(1000) / of.max(1)),
                    total * 1000,
                )
            })?;
        }
        progress.forbid_cancel()
    }

    /// The new uuids of disks, by the links from which they were made.
    pub(super) fn uuid_of(&self, old: &DatastorePath) -> Option<DiskUuid> {
        let step = self.steps.iter().find(|step| step.from == *old)?;
        match step.make {
            Make::Flat { uuid, .. } => Some(uuid),
            _ => step.uuid,
        }
    }
}

impl Step {
    fn carry_out(
        &self,
        shared: &Shared,
        tracked: bool,
        progress: &mut dyn FnMut(u64, u64) -> Outcome<()>,
    ) -> Outcome<()> {
        let (from, to) = (host_of(shared, &self.from)?, host_of(shared, &self.to)?);
        let failed = |error: sim_store::Error| {
            // What has no room is where the link goes.
            let at = if error.kind() == sim_store::ErrorKind::NoSpace { &self.to } else { &self.from };
            from_store(&error, &at.to_string())
        };
        match &self.make {
            Make::Child => {
                let uuid = self.uuid.map_or_else(DiskUuid::random, Ok).map_err(failed)?;
                elsewhere::create_child(&from, &to, uuid).map_err(failed)?;
                if tracked {
                    // It is the same disk, which goes on.
                    carry_over(&from, &to).map_err(failed)?;
                }
                progress(1, 1)
            }
            Make::Copy { parent } => {
                let parent = parent.as_ref().map(|parent| host_of(shared, parent)).transpose()?;
                let copy = Copy { parent: parent.as_deref(), uuid: self.uuid, tracked };
                let mut refused = None;
                let done = elsewhere::copy_link(&from, &to, copy, &mut |done, of| match progress(done, of) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(fault) => {
                        refused = Some(fault);
                        ControlFlow::Break(())
                    }
                });
                match (done, refused) {
                    (_, Some(fault)) => Err(fault),
                    (done, None) => done.map(|_| ()).map_err(failed),
                }
            }
            Make::Flat { capacity, uuid } => {
                let spec = DiskSpec { uuid: Some(*uuid), ..DiskSpec::thin(*capacity) };
                let (from_text, to_text) = (self.from.to_string(), self.to.to_string());
                disks::copy_to(&from, &from_text, &to, &to_text, spec, progress)?;
                match tracked {
                    true => carry_over(&from, &to).map_err(failed),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Has a disk go on with the changes that were tracked on another, if they were.
fn carry_over(from: &std::path::Path, to: &std::path::Path) -> sim_store::Result<()> {
    match tracking::carry_over(from, to) {
        Err(error) if error.is_file_fault() => Ok(()),
        done => done,
    }
}

fn content_of(world: &World, link: &DatastorePath) -> Option<String> {
    let descriptor = sim_store::Descriptor::load(&world.resolve(link).ok()?).ok()?;
    descriptor.ddb.get("longContentID").cloned()
}

fn own_uuid(disk: &DiskState) -> Outcome<DiskUuid> {
    let known = crate::population::parse_dashed(&disk.uuid);
    known.map_or_else(DiskUuid::random, Ok).map_err(|error| from_store(&error, &disk.path.to_string()))
}
