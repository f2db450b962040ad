//! A snapshot that is given back even when nobody waits for the backup any more.

use tokio::sync::mpsc;
use vim_api::mo::VirtualMachineSnapshot;

use crate::error::{Error, ErrorKind};
use crate::journal::Journal;
use crate::machine::ProtectedVm;
use crate::progress::{Event, Report};
use crate::snapshot::{Consistency, Consolidation, QuiescePolicy, SnapshotGuard, SnapshotRecord};

/// A snapshot. Dropped instead of released, it is removed by a task of the runtime that is running; without one it stays in the
/// journal.
pub(super) struct Held {
    /// Until it is released.
    guard: Option<SnapshotGuard>,
    pub(super) snapshot: VirtualMachineSnapshot,
    pub(super) name: String,
    pub(super) record: SnapshotRecord,
}

/// What is told while the snapshot is taken, by a task that outlives whoever listens.
enum Told {
    Started(String),
    Failed(u32, String),
    Taken(String, Consistency),
}

/// Takes the snapshot, in a task of its own: broken off in the middle, nobody would know whether there is one.
pub(super) async fn take(
    vm: &ProtectedVm,
    journal: &Journal,
    policy: &QuiescePolicy,
    report: &Report<'_>,
) -> Result<Held, Error> {
    let (send, mut told) = mpsc::unbounded_channel();
    let (vm, journal, policy) = (vm.clone(), journal.clone(), policy.clone());
    let task = tokio::spawn(async move {
        let tell = move |event: Event<'_>| {
            let said = match event {
                Event::SnapshotStarted { name } => Told::Started(name.to_owned()),
                Event::QuiesceFailed { attempt, fault } => Told::Failed(attempt, fault.to_owned()),
                Event::SnapshotTaken { name, consistency } => Told::Taken(name.to_owned(), consistency),
                _ => return,
            };
            // Nobody listens when the backup was dropped.
            let _listened = send.send(said);
        };
        Box::pin(SnapshotGuard::take(&vm, &journal, &policy, &Report(&tell))).await.map(Held::new)
    });
    while let Some(said) = told.recv().await {
        match said {
            Told::Started(name) => report.tell(Event::SnapshotStarted { name: &name }),
            Told::Failed(attempt, fault) => report.tell(Event::QuiesceFailed { attempt, fault: &fault }),
            Told::Taken(name, consistency) => {
                report.tell(Event::SnapshotTaken { name: &name, consistency });
            }
        }
    }
    let taken = task.await;
    taken.map_err(|e| Error::new(ErrorKind::OutcomeUnknown, "taking the snapshot ended early").because(e))?
}

impl Held {
    pub(super) fn new(guard: SnapshotGuard) -> Self {
        let (snapshot, name) = (guard.snapshot().clone(), guard.name().to_owned());
        Self { record: guard.record().clone(), guard: Some(guard), snapshot, name }
    }

    /// As [`SnapshotGuard::release`]. Dropped while it goes on, the removal is finished all the same.
    pub(super) async fn release(mut self, report: &Report<'_>) -> Result<Consolidation, Error> {
        let Some(guard) = self.guard.take() else { return Ok(Consolidation::default()) };
        let task = tokio::spawn(async move { guard.release(&Report(&|_| ())).await });
        let released = task.await;
        let done = released.map_err(|e| {
            Error::new(ErrorKind::OutcomeUnknown, "removing the snapshot ended early").because(e)
        })??;
        report.tell(Event::SnapshotRemoved { name: &self.name });
        Ok(done)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (Some(guard), Ok(runtime)) = (self.guard.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            let name = guard.name().to_owned();
            if let Err(error) = guard.release(&Report(&|_| ())).await {
                tracing::error!(%error, snapshot = name, "the snapshot of a backup that was dropped stays in the journal");
            }
        });
    }
}
