//! Mending what is damaged, and saying what is lost: planned first, then applied. See docs/repository-format.md, "Repair".

mod apply;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::check::{CheckReport, LostRange};
use crate::crypto::Content;
use crate::error::Result;
use crate::ids::{IndexId, PackId, PointId};
use crate::index::Place;
use crate::repository::Repository;

/// What a repair would do, and what is lost all the same. Show it, then [`apply`](Self::apply) it.
pub struct RepairPlan {
    repository: Repository,
    report: CheckReport,
    /// Index objects that cannot be used.
    index_objects: BTreeMap<IndexId, String>,
    /// Packs that no index object names, and that are to be named again.
    found: u64,
    /// Damaged packs, whether an index object names them or not.
    bad: BTreeSet<PackId>,
    packs: Vec<PackRepair>,
    salvage: Salvage,
    /// Packs that the index is to forget.
    forget: Vec<PackId>,
    unreadable_points: Vec<PointId>,
    removes_points: bool,
}

/// Where in damaged packs is what only they have, as it lies there.
type Salvage = BTreeMap<PackId, Vec<(Content, Place)>>;

/// A damaged pack, and what can be had of it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRepair {
    /// The pack.
    pub pack: PackId,
    /// What is wrong with it; the first thing, if there are several.
    pub problem: String,
    /// Chunks and map pages that are good, and in no other good pack: they are written anew.
    pub salvaged: u64,
    /// Chunks and map pages that are bad, and in no other good pack, whether a restore point needs them or not.
    pub lost: u64,
}

/// What a repair has done.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Damaged index objects that were replaced.
    pub index_objects_replaced: u64,
    /// Packs that no index object named, and that are named again.
    pub packs_found: u64,
    /// Damaged packs that the index has forgotten. They are marked, and a later prune deletes them.
    pub packs_dropped: u64,
    /// Chunks and map pages that were written into new packs.
    pub salvaged: u64,
    /// Bytes of the new packs.
    pub bytes_written: u64,
    /// Chunks and map pages that could be read when the plan was made, and cannot any more.
    pub lost_since: u64,
    /// Unreadable restore points that were removed, since that was asked for.
    pub points_removed: u64,
    /// What the store keeps although it was to be removed, and why.
    pub refused: Vec<(String, String)>,
}

impl Repository {
    /// Looks at every byte, and works out what can be mended and what is lost. Nothing is written. Takes as long as a deep check, twice
    /// that when packs were found that no index object names.
    ///
    /// Memory: about that of the index twice, and one pack.
    ///
    /// # Errors
    /// [`WrongKey`](crate::ErrorKind::WrongKey) when the keys were rotated since the repository was opened; those of
    /// [`check`](Self::check).
    pub async fn plan_repair(&self) -> Result<RepairPlan> {
        survey::plan(self).await
    }
}

impl RepairPlan {
    /// Every damage, with the ranges of restore points that are lost even after the repair.
    pub fn report(&self) -> &CheckReport {
        &self.report
    }

    /// All ranges that are lost, of all damages; a point that cannot be read at all has none here.
    pub fn lost(&self) -> impl Iterator<Item = &LostRange> {
        self.report.damage.iter().flat_map(|damage| &damage.lost)
    }

    /// Damaged packs, and what can be had of them.
    pub fn packs(&self) -> &[PackRepair] {
        &self.packs
    }

    /// Index objects that cannot be used, and why: they are replaced.
    pub fn index_objects(&self) -> &BTreeMap<IndexId, String> {
        &self.index_objects
    }

    /// Packs that no index object names any more, and that are named again.
    pub fn packs_found(&self) -> u64 {
        self.found
    }

    /// Restore points that are damaged beyond reading. They stay, unless [`remove_unreadable_points`](Self::remove_unreadable_points) was
    /// asked for. Points of a newer format, or sealed with a newer key, are not among them.
    pub fn unreadable_points(&self) -> &[PointId] {
        &self.unreadable_points
    }

    /// Has the repair remove the points that are damaged beyond reading, too.
    #[must_use]
    pub fn remove_unreadable_points(mut self) -> Self {
        self.removes_points = true;
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let removes = self.removes_points && !self.unreadable_points.is_empty();
        self.index_objects.is_empty() && self.found == 0 && self.packs.is_empty() && !removes
    }

    /// Does what the plan says. What is lost stays lost, and reading it an error, until a backup meets the same bytes again. Restore points
    /// stay, also those with lost ranges.
    ///
    /// It may be stopped at any moment, and leaves nothing worse than it was: plan and apply again.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) while somebody prunes, repairs or changes keys; those of reading and writing. That the store
    /// keeps an object is no error but in the report.
    pub async fn apply(self) -> Result<RepairReport> {
        apply::run(self).await
    }
}

impl fmt::Debug for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairPlan")
            .field("index_objects", &self.index_objects)
            .field("packs", &self.packs)
            .field("unreadable_points", &self.unreadable_points)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for damage in &self.report.damage {
            writeln!(f, "{damage}")?;
        }
        for id in self.index_objects.keys() {
            writeln!(f, "replace index object {id}")?;
        }
        if self.found > 0 {
            writeln!(f, "name {} packs again that no index object names", self.found)?;
        }
        for PackRepair { pack, salvaged, lost, .. } in &self.packs {
            writeln!(f, "drop pack {pack}: {salvaged} chunks are written anew, {lost} are lost")?;
        }
        let fate = if self.removes_points { "remove" } else { "keep, though nobody can read it," };
        for point in &self.unreadable_points {
            writeln!(f, "{fate} restore point {point}")?;
        }
        let lost: u64 = self.lost().map(|lost| lost.bytes.end - lost.bytes.start).sum();
        match (self.is_empty(), lost) {
            (true, 0) => write!(f, "nothing to repair"),
            (true, _) => write!(f, "nothing can be repaired; {lost} bytes of restore points are lost"),
            (false, _) => write!(f, "{lost} bytes of restore points are lost"),
        }
    }
}
