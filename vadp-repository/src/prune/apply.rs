//! The steps of a prune, each of which leaves a repository that is whole. See docs/repository-format.md, "Pruning".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::survey::Survey;
use super::{PackAction, PackPlan, PruneOptions, PruneReport, compact, rewrite};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{PackId, PointId};
use crate::repository::lease::Lease;
use crate::repository::{Shared, pack_name, point_name, tombstone_name};
use crate::store::ObjectName;

/// What is to be done, and how carefully.
pub(super) struct Work<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) grace: Duration,
    /// How long its lease is good for.
    pub(super) lease: Duration,
    pub(super) options: &'a PruneOptions,
    /// Nobody else writes and nothing has to wait.
    pub(super) is_alone: bool,
    pub(super) planned: BTreeMap<PackId, PackAction>,
}

pub(super) async fn run(work: Work<'_>, survey: Survey, going: BTreeSet<PointId>) -> Result<PruneReport> {
    let mut lease = Lease::take(work.shared, work.lease).await?;
    let now = lease.now;
    let mut report = PruneReport::default();
    let done = steps(&work, survey, going, now, &mut lease, &mut report).await;
    lease.give_back(work.shared).await;
    done.map(|()| report)
}

async fn steps(
    work: &Work<'_>,
    mut survey: Survey,
    going: BTreeSet<PointId>,
    now: SystemTime,
    lease: &mut Lease,
    report: &mut PruneReport,
) -> Result<()> {
    let shared = work.shared;
    let mut removed = BTreeSet::new();
    for id in going {
        if remove(shared, &point_name(id)?, report).await? {
            removed.insert(id);
            report.points_removed += 1;
        }
    }
    // The second look: points that were committed since the plan was made count, and those that the store keeps.
    survey.look(shared, &removed).await?;
    let packs = work.decide(survey.plan(shared, now, work.grace, work.options));
    let of = |action| packs.iter().filter(move |pack| pack.action == action);
    for pack in of(PackAction::Restore) {
        if remove(shared, &tombstone_name(pack.pack)?, report).await? {
            report.packs_restored += 1;
        }
    }
    lease.keep(shared).await?;
    let merged: BTreeSet<PackId> = of(PackAction::Merge).map(|pack| pack.pack).collect();
    let rewritten: Vec<PackId> =
        of(PackAction::Rewrite).map(|pack| pack.pack).chain(merged.iter().copied()).collect();
    let rewritten = rewrite::run(shared, &survey, rewritten, lease, report).await?;
    report.packs_merged = rewritten.iter().filter(|pack| merged.contains(pack)).count() as u64;
    report.packs_rewritten = rewritten.len() as u64 - report.packs_merged;
    // Marked after what is needed of them is at hand elsewhere, so that backups find a pack without a mark for everything.
    let marked: Vec<PackId> = of(PackAction::Mark).map(|pack| pack.pack).chain(rewritten).collect();
    for pack in &marked {
        match shared.store.create(&tombstone_name(*pack)?, Bytes::new()).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    report.packs_marked = of(PackAction::Mark).count() as u64;
    let mut dead: BTreeSet<PackId> = of(PackAction::Delete).map(|pack| pack.pack).collect();
    if work.is_alone {
        dead.extend(&marked);
    }
    let forgotten = of(PackAction::Forget).map(|pack| pack.pack).collect();
    lease.keep(shared).await?;
    compact::run(shared, &dead.union(&forgotten).copied().collect(), lease, report).await?;
    for pack in &dead {
        lease.keep(shared).await?;
        if remove(shared, &pack_name(*pack)?, report).await? {
            report.packs_deleted += 1;
            report.bytes_deleted += bytes_of(&packs, *pack);
            remove(shared, &tombstone_name(*pack)?, report).await?;
        }
    }
    for pack in survey.bare_tombstones() {
        remove(shared, &tombstone_name(pack)?, report).await?;
    }
    let waiting =
        of(PackAction::Wait).filter(|pack| survey.tombstones.contains_key(&pack.pack)).map(|pack| pack.pack);
    let waiting = waiting.chain(marked).filter(|pack| !dead.contains(pack));
    report.bytes_marked = waiting.map(|pack| bytes_of(&packs, pack)).sum();
    if let Some(before) = now.checked_sub(work.grace) {
        report.bytes_deleted += shared.store.sweep(before).await?;
    }
    Ok(())
}

impl Work<'_> {
    /// Keeps to the plan: what it did not name waits for the next one. Marks that have to go, go in any case.
    fn decide(&self, packs: Vec<PackPlan>) -> Vec<PackPlan> {
        let was_planned = |pack: &PackPlan| match (pack.action, self.planned.get(&pack.pack)) {
            (PackAction::Keep | PackAction::Wait | PackAction::Restore, _) => true,
            (action, Some(planned)) => action == *planned,
            (_, None) => false,
        };
        packs
            .into_iter()
            .map(|pack| match was_planned(&pack) {
                true => pack,
                false => PackPlan { action: PackAction::Wait, ..pack },
            })
            .collect()
    }
}

fn bytes_of(packs: &[PackPlan], pack: PackId) -> u64 {
    packs.iter().find(|plan| plan.pack == pack).map_or(0, |plan| plan.bytes)
}

/// Removes an object; `false` when the store keeps it, which the report says.
pub(crate) async fn remove(shared: &Shared, name: &ObjectName, report: &mut PruneReport) -> Result<bool> {
    match shared.store.remove(name).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Denied => {
            report.refused.push((name.to_string(), error.to_string()));
            Ok(false)
        }
        Err(error) => {
            Err(Error::new(error.kind(), format!("the prune stopped when it removed {name}"))
                .with_source(error))
        }
    }
}
