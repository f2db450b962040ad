//! Where the disks of a machine go that is copied or moved: which of their links are copied, made, shared, or stay.

mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use sim_store::elsewhere::{self, Copy};
use sim_store::{DatastorePath, DiskSpec, DiskUuid, tracking};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{file_fault, host_of};
use crate::disks;
use crate::fault::{Outcome, from_store, invalid_argument, not_found};
use crate::machine::{self, DiskState};
use crate::recovery::Intent;
use crate::tasks::Progress;
use crate::world::Shared;

pub(super) use plan::Planner;

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
fn carry_over(from: &Path, to: &Path) -> sim_store::Result<()> {
    match tracking::carry_over(from, to) {
        Err(error) if error.is_file_fault() => Ok(()),
        done => done,
    }
}
