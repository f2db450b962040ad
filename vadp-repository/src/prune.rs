//! Giving back what no restore point needs: planned first, then applied. See docs/repository-format.md, "Pruning".

mod apply;
pub(crate) mod compact;
mod rebuild;
mod retention;
pub(crate) mod rewrite;
mod survey;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{PackId, PointId};
use crate::read::PointInfo;
use crate::repository::{Repository, point_name};
pub(crate) use apply::remove;
pub use rebuild::RebuildReport;
pub(crate) use rebuild::{read_unnamed, rebuild as rebuild_index};
pub use retention::{KeepReason, Retention};
pub(crate) use rewrite::store_index;
use survey::Survey;

/// The shortest time that a pack stays marked before it is deleted. Backups look at the marks within it, right before they commit.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(15 * 60);

/// What a prune gives up, and how careful it is.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// Which restore points stay; all by default.
    pub retention: Retention,
    /// How long what nobody needs stays in the store before it is marked, and again before what is marked is deleted; 24 hours by
    /// default, at least [`SHORTEST_GRACE`]. A backup that takes longer than this may have to be run again.
    pub grace: Duration,
    /// Packs of which less than so many percent are needed are written anew without the rest; 30 by default, 0 never, 100 at any loss.
    pub rewrite_below: u8,
    /// Packs that are smaller than a quarter of a full one are merged when there are at least so many of a kind: small incremental
    /// backups leave many; 8 by default, at least 2, 0 never.
    pub merge_from: u32,
    /// Whether to prune although something that restore points need is lost. Repair first: what is still there of it, but not where it
    /// ought to be, may be given back otherwise.
    pub despite_losses: bool,
    /// Whether the caller vouches that nobody writes to the repository meanwhile, nor has begun to: then nothing has to wait.
    exclusive: bool,
    /// How long a lease is good for.
    lease: Duration,
}

impl Default for PruneOptions {
    fn default() -> Self {
        let grace = Duration::from_secs(24 * 3600);
        Self {
            retention: Retention::keep_all(),
            grace,
            rewrite_below: 30,
            merge_from: 8,
            despite_losses: false,
            exclusive: false,
            lease: crate::repository::lease::VALID,
        }
    }
}

impl PruneOptions {
    /// The defaults with this retention.
    pub fn new(retention: Retention) -> Self {
        Self { retention, ..Self::default() }
    }

    /// Deletes at once what would wait otherwise. Danger: a backup that runs meanwhile, on any machine, may be committed without its
    /// data. The caller vouches that there is none.
    #[must_use]
    pub fn danger_nobody_writes(mut self) -> Self {
        (self.grace, self.exclusive) = (Duration::ZERO, true);
        self
    }

    /// Shorter than anybody may use; for tests of two processes.
    pub(crate) fn with_any_grace(mut self, grace: Duration) -> Self {
        (self.grace, self.exclusive, self.lease) = (grace, true, grace);
        self
    }

    fn grace(&self) -> Result<Duration> {
        match (self.exclusive, self.grace >= SHORTEST_GRACE) {
            (false, false) => Err(Error::invalid("the grace period of a prune is at least 15 minutes")),
            _ if self.rewrite_below > 100 => Err(Error::invalid("rewrite_below is a share in percent")),
            _ if self.merge_from == 1 => Err(Error::invalid("merging takes at least two packs")),
            _ => Ok(self.grace),
        }
    }
}

/// What becomes of a pack.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PackAction {
    /// It stays.
    Keep,
    /// Nothing needs it, and it is too young, or was marked too lately, to be touched.
    Wait,
    /// Nothing needs it: it is marked, and deleted by a later prune.
    Mark,
    /// It is mostly dead: what is needed of it is written into a new pack, and it is marked.
    Rewrite,
    /// It is small, as many others are: what is needed of them is written into fewer new packs, and it is marked.
    Merge,
    /// It was marked, and a newer restore point needs it: the mark is taken off.
    Restore,
    /// It was marked long ago, and is still not needed: it is deleted.
    Delete,
    /// The index names it, it is not there, and nothing needs it: the index forgets it.
    Forget,
}

/// A pack, and what becomes of it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackPlan {
    /// The pack.
    pub pack: PackId,
    /// Its size in the store.
    pub bytes: u64,
    /// What is needed of it.
    pub live_bytes: u64,
    /// What becomes of it.
    pub action: PackAction,
}

/// A restore point that stays or goes.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointVerdict {
    /// The point.
    pub point: PointInfo,
    /// Why it stays; nothing when it goes.
    pub reasons: Vec<KeepReason>,
}

/// What a prune would do. Show it, then [`apply`](Self::apply) it.
pub struct PrunePlan {
    repository: Repository,
    options: PruneOptions,
    survey: Survey,
    points: Vec<PointVerdict>,
    packs: Vec<PackPlan>,
}

/// What a prune has done.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Restore points that were removed.
    pub points_removed: u64,
    /// Packs that were marked, and are deleted by a later prune.
    pub packs_marked: u64,
    /// Packs that were written anew without what nobody needs, and marked.
    pub packs_rewritten: u64,
    /// Small packs that were written anew together with others, and marked.
    pub packs_merged: u64,
    /// Packs whose marks were taken off, since newer points need them.
    pub packs_restored: u64,
    /// Packs that were deleted.
    pub packs_deleted: u64,
    /// Index objects that were replaced by fewer or smaller ones.
    pub index_objects_replaced: u64,
    /// Bytes of new packs, into which others were rewritten.
    pub bytes_written: u64,
    /// Bytes of packs, and of what interrupted writes had left, that were deleted.
    pub bytes_deleted: u64,
    /// Bytes of packs that are marked now: what later prunes will delete.
    pub bytes_marked: u64,
    /// What the store keeps although it was to be deleted, and why: an object lock, a missing permission. It is asked again by the next
    /// prune.
    pub refused: Vec<(String, String)>,
    /// Packs that could not be rewritten since they are damaged, and how. They stay as they are; a check says what is lost.
    pub damaged: Vec<(PackId, String)>,
}

impl Repository {
    /// Works out what a prune would give back. Nothing is written. Ages are judged by this machine's clock; when the plan is applied,
    /// the store's own decides.
    ///
    /// Memory: an eighth of a byte for each chunk and some 300 bytes for each pack; when packs are rewritten, one pack and 150 MB of lists
    /// besides. The plan holds the former.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) when a point or index object is not whole, since then what is needed cannot be told;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a grace period that is too short; those of reading.
    pub async fn plan_prune(&self, options: PruneOptions) -> Result<PrunePlan> {
        let grace = options.grace()?;
        let points = self.points(None).await?;
        let mut reasons = options.retention.judge(&points);
        let points: Vec<PointVerdict> = points
            .into_iter()
            .map(|point| PointVerdict { reasons: reasons.remove(&point.id).unwrap_or_default(), point })
            .collect();
        let going =
            points.iter().filter(|verdict| !verdict.stays()).map(|verdict| verdict.point.id).collect();
        let mut survey = Survey::new(options.despite_losses);
        survey.look(&self.shared, &going).await?;
        let now = survey.newest().map_or_else(SystemTime::now, |newest| newest.max(SystemTime::now()));
        let packs = survey.plan(&self.shared, now, grace, &options);
        Ok(PrunePlan { repository: self.clone(), options, survey, points, packs })
    }

    /// Removes a restore point, whether it can be read or not. What only it needs is given back by later prunes.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when it is the last readable one of its machine and `even_the_last` is not set;
    /// [`NotFound`](ErrorKind::NotFound); [`Denied`](ErrorKind::Denied) when the store keeps it.
    pub async fn remove_point(&self, id: PointId, even_the_last: bool) -> Result<()> {
        self.shared.require_writable()?;
        let listing = self.list_points(None).await?;
        let own = listing.points.iter().find(|point| point.id == id);
        if own.is_none() && !listing.unreadable.iter().any(|point| point.id == id) {
            let message = format!("{} has no restore point {id}", self.location());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let is_last = own.is_some_and(|own| {
            listing.points.iter().filter(|point| point.machine == own.machine).count() == 1
        });
        if is_last && !even_the_last {
            return Err(Error::invalid(format!(
                "{id} is the last restore point of its machine: say so if it is to go"
            )));
        }
        self.shared.store.remove(&point_name(id)?).await
    }
}

impl PointVerdict {
    /// Whether the point stays.
    pub fn stays(&self) -> bool {
        !self.reasons.is_empty()
    }
}

impl PrunePlan {
    /// All restore points, oldest first.
    pub fn points(&self) -> &[PointVerdict] {
        &self.points
    }

    /// All packs, those that stay included, in no order that means something.
    pub fn packs(&self) -> &[PackPlan] {
        &self.packs
    }

    /// Number and bytes of the packs of an action.
    pub fn total(&self, action: PackAction) -> (u64, u64) {
        let packs = self.packs.iter().filter(|pack| pack.action == action);
        packs.fold((0, 0), |(count, bytes), pack| (count + 1, bytes + pack.bytes))
    }

    /// Does what the plan says, and nothing that it does not: what has become needed since it was made stays. One prune at a time works
    /// on a repository; backups and restores may go on.
    ///
    /// It may be stopped at any moment. The next prune after the grace period clears away what it leaves.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) while another prune works, or has died within the last hour; otherwise as
    /// [`Repository::plan_prune`]. That the store keeps an object is no error but in the report.
    pub async fn apply(self) -> Result<PruneReport> {
        let grace = self.options.grace()?;
        let Self { repository, options, survey, points, packs } = self;
        repository.shared.require_writable()?;
        let going: BTreeSet<PointId> =
            points.iter().filter(|verdict| !verdict.stays()).map(|verdict| verdict.point.id).collect();
        let work = apply::Work {
            shared: &repository.shared,
            grace,
            lease: options.lease,
            options: &options,
            is_alone: options.exclusive && options.grace == Duration::ZERO,
            planned: packs.into_iter().map(|pack| (pack.pack, pack.action)).collect(),
        };
        apply::run(work, survey, going).await
    }
}

impl fmt::Debug for PrunePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrunePlan")
            .field("points", &self.points)
            .field("packs", &self.packs)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PrunePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verdict in &self.points {
            let PointInfo { id, machine, .. } = &verdict.point;
            let machine = machine.as_str().escape_debug();
            match verdict.stays() {
                true => {
                    let reasons: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
                    writeln!(f, "keep    {id} of {machine} ({})", reasons.join(", "))?;
                }
                false => writeln!(f, "remove  {id} of {machine}")?,
            }
        }
        for (action, what) in [
            (PackAction::Keep, "packs stay"),
            (PackAction::Delete, "packs are deleted: marked before, and not needed"),
            (PackAction::Mark, "packs are marked: nothing needs them, a later prune deletes them"),
            (PackAction::Rewrite, "packs are written anew: most of them is not needed"),
            (PackAction::Merge, "packs are merged: there are many small ones"),
            (PackAction::Restore, "packs lose their mark: newer restore points need them"),
            (PackAction::Wait, "packs wait: not needed, and younger than the grace period"),
            (PackAction::Forget, "packs are forgotten: missing, and not needed"),
        ] {
            let (count, bytes) = self.total(action);
            if count > 0 {
                writeln!(f, "{count} {what} ({bytes} bytes)")?;
            }
        }
        Ok(())
    }
}
