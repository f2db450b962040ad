//! The steps of a restore, and how each is undone.

use futures::StreamExt;

use super::scope::{Scopes, scopes};
use super::{DiskPlan, RestoreOutcome, RestorePlan, RestoredDisk, disk, power, take_match};
use crate::backup::first_failure;
use crate::cbt::{self, Decision, Reason};
use crate::error::{Error, ErrorKind, story};
use crate::machine::{self, ProtectedVm};
use crate::pipeline::{Engine, Scope};
use crate::progress::Report;
use crate::snapshot::{self, SnapshotGuard};

/// A restore whose result is there and can be kept or undone yet. The machine is off. When it is dropped, it is undone by the next
/// [sweep](crate::Sweeper).
#[must_use = "a restore that is neither accepted nor rolled back is undone by the next sweep"]
#[derive(Debug)]
pub struct TentativeRestore {
    vm: ProtectedVm,
    guard: SnapshotGuard,
    disks: Vec<RestoredDisk>,
    tracking_off: Option<String>,
    ran: bool,
}

impl TentativeRestore {
    /// What was done to each disk.
    pub fn disks(&self) -> &[RestoredDisk] {
        &self.disks
    }

    /// Keeps it: removes the snapshot, and starts the machine if it ran before.
    ///
    /// # Errors
    /// When the journal cannot be written, or the snapshot cannot be removed. In the latter case the disks are restored all the same, and the
    /// next sweep removes it.
    pub async fn accept(self) -> Result<RestoreOutcome, Error> {
        let Self { vm, guard, disks, tracking_off, ran } = self;
        let consolidation = guard.keep(&Report(&|_| ())).await?;
        let power_error = match ran {
            true => power::switch_on(&vm).await.err().map(|error| story(&error)),
            false => None,
        };
        Ok(RestoreOutcome { disks, tracking_off, consolidation, power_error })
    }

    /// Undoes it: the machine is as it was before, and runs if it did. Only its change tracking began anew, so its next backup is a
    /// full one.
    ///
    /// # Errors
    /// When the machine cannot go back to the snapshot; the next sweep tries again. When it is back and could not be started.
    pub async fn rollback(self) -> Result<(), Error> {
        self.guard.roll_back(&Report(&|_| ())).await?;
        match self.ran {
            true => power::switch_on(&self.vm).await,
            false => Ok(()),
        }
    }
}

pub(super) async fn apply(plan: RestorePlan<'_>, report: &Report<'_>) -> Result<TentativeRestore, Error> {
    let vm = plan.restore.vm;
    snapshot::refuse_unfinished_restore(vm).await?;
    let ran = power::switch_off(vm, plan.restore.power).await?;
    let done = Box::pin(apply_to_stopped(&plan, report)).await;
    match done {
        Ok((guard, disks, tracking_off)) => {
            Ok(TentativeRestore { vm: vm.clone(), guard, disks, tracking_off, ran })
        }
        Err((error, undone)) => {
            // Not with disks that are in part restored.
            if ran
                && undone
                && let Err(error) = power::switch_on(vm).await
            {
                tracing::error!(%error, "the machine of a failed restore stays off");
            }
            Err(error)
        }
    }
}

/// With an error comes whether the machine is as it was.
async fn apply_to_stopped(
    plan: &RestorePlan<'_>,
    report: &Report<'_>,
) -> Result<(SnapshotGuard, Vec<RestoredDisk>, Option<String>), (Error, bool)> {
    let (vm, journal) = (plan.restore.vm, plan.restore.journal);
    let engine = Engine::new(plan.restore.flow.clone(), plan.restore.cancel.clone());
    let untouched = |error| (error, true);
    let prepared = async {
        let tracked = cbt::is_enabled(vm.vm()).await?;
        plan.restore.cancel.check()?;
        let scopes = Box::pin(scopes(plan, tracked, report)).await?;
        plan.restore.cancel.check()?;
        // What is written from here on is not what the tracking of the machine has seen. Its epoch is ended first, so that no
        // incremental backup rests on it, however this ends.
        let tracking_off = match tracked {
            true => Box::pin(cbt::end_epoch(vm, journal)).await?,
            false => None,
        };
        Ok((scopes, tracking_off))
    };
    let (scopes, tracking_off) = Box::pin(prepared).await.map_err(untouched)?;
    let guard = Box::pin(SnapshotGuard::take_to_roll_back(vm, journal, report)).await.map_err(untouched)?;
    match Box::pin(write_all(plan, &engine, scopes, report)).await {
        Ok(disks) => Ok((guard, disks, tracking_off)),
        Err(error) => Err(match guard.roll_back(report).await {
            Ok(()) => (error, true),
            Err(cleanup) => {
                let text = format!(
                    "the restore of {} failed, and what it had written could not be undone ({}): do not power it on, and sweep",
                    vm.name(),
                    story(&cleanup)
                );
                (Error::new(error.kind(), text).because(error), false)
            }
        }),
    }
}

/// Writes and reads back each disk. When this returns, none of them is open any more.
async fn write_all(
    plan: &RestorePlan<'_>,
    engine: &Engine,
    mut scopes: Scopes,
    report: &Report<'_>,
) -> Result<Vec<RestoredDisk>, Error> {
    let vm = plan.restore.vm;
    if !vm.is_powered_off().await? {
        let hint = format!("{} was powered on while its restore was prepared", vm.name());
        return Err(Error::new(ErrorKind::NotEligible, hint));
    }
    // The snapshot has given the disks new links, and others may have done so since the plan.
    let mut current = machine::disks(&vm.config().await?);
    let mut work = Vec::new();
    for DiskPlan { reader, wanted, .. } in &plan.disks {
        let current = take_match(&mut current, wanted, reader.capacity())?;
        let scope = scopes.remove(&current.key);
        let (decision, scope) = scope.unwrap_or((Decision::Full(Reason::NotTracked), Scope::Allocated));
        work.push(disk::Work {
            restore: &plan.restore,
            engine,
            reader: &**reader,
            current,
            decision,
            scope,
            report,
        });
    }
    let done: Vec<Result<RestoredDisk, Error>> = futures::stream::iter(work)
        .map(|work| Box::pin(work.run()))
        .buffered(engine.flow().parallel_disks)
        .collect()
        .await;
    let mut disks = first_failure(done)?;
    disks.sort_by_key(|disk| disk.key);
    plan.restore.cancel.check()?;
    Ok(disks)
}
