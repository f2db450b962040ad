//! Backup of a machine: snapshot, plan, copy, commit, and everything given back.

mod disk;
mod held;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use vadp_repository::{BackupStore, DiskSummary, PointDraft, PointId, StoredPoint};
use vim_api::dynamic::Element;
use vim_api::mo::{Managed, VirtualMachineSnapshot};
use vim_api::types::VirtualMachineConfigInfo;

use crate::cancel::CancelToken;
use crate::capture::{self, Loss, Missing, PartName, Parts};
use crate::cbt::{self, Audit, ChangeId, Decision};
use crate::eligibility::{self, UnprotectedDisk};
use crate::error::{Error, ErrorKind};
use crate::flow::Flow;
use crate::held::{ConvertedTemplate, MigrationBar};
use crate::journal::Journal;
use crate::machine::{self, ProtectedVm};
use crate::pipeline::Engine;
use crate::progress::{Event, Report};
use crate::resume::{self, ResumeLog, Resumed};
use crate::snapshot::{
    self, Consistency, Consolidation, QuiescePolicy, SnapshotAttempt, SnapshotRecord, Sweeper, Swept,
};
use crate::stored::{self, DiskMetadata, MachineMetadata};
use crate::transport::Vddk;
use crate::transport::retry::Patience;

pub(crate) use disk::{decide, in_parent};
use held::Held;
pub use plan::{BackupPlan, PlannedDisk};

/// A backup that is being described.
///
/// [`full`](Self::full) copies all that is allocated. [`incremental`](Self::incremental) copies what changed since the
/// machine's latest restore point, and decides disk by disk that it has to be everything where the changes cannot be
/// proved; the reason is in the outcome and in the restore point. Either way the restore point is complete in itself.
#[must_use = "nothing is backed up until it is run"]
pub struct Backup<'a> {
    vm: &'a ProtectedVm,
    store: &'a dyn BackupStore,
    transport: &'a Vddk,
    journal: &'a Journal,
    full: bool,
    quiesce: QuiescePolicy,
    track: bool,
    excluded: Vec<i32>,
    audit: Audit,
    flow: Flow,
    cancel: CancelToken,
    resume: bool,
    required: Vec<PartName>,
    bar_migration: bool,
    convert_template: bool,
}

/// A committed backup.
#[non_exhaustive]
pub struct BackupOutcome {
    /// The restore point. It is visible and complete, whatever else is said here.
    pub point: Arc<dyn StoredPoint>,
    /// Each disk, by device key.
    pub disks: Vec<DiskOutcome>,
    /// In what state the disks were: at rest, off, or as after a power cut.
    pub consistency: Consistency,
    /// Why it is not what was wished for, if it is not: each attempt that failed.
    pub snapshot_attempts: Vec<SnapshotAttempt>,
    /// Parts of the configuration that could not be captured.
    pub not_captured: Vec<(PartName, Missing)>,
    /// What a machine made anew from the restore point would not have as it was.
    pub losses: Vec<Loss>,
    /// What runs that died had left, and was cleaned up first.
    pub swept: Swept,
    /// Earlier restore points that may lack changes, since an audit found their tracking to lie. Empty when it did not.
    pub suspects: Vec<PointId>,
    /// Why tracking did not begin anew after such a find, if it did not: backups of that disk are full until it does.
    pub tracking_error: Option<Error>,
    /// Whether the snapshot's removal left links in the machine's disks, and what became of them.
    pub consolidation: Consolidation,
    /// What could not be given back after the commit. It stands in the journal, and the next run tries again.
    pub cleanup_error: Option<Error>,
}

/// How a disk was backed up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiskOutcome {
    /// Device key.
    pub key: i32,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// What was copied, and why.
    pub decision: Decision,
    /// Bytes read from the disk.
    pub read: u64,
    /// Chunks that a run that died had stored, and that were not read again.
    pub resumed: u64,
    /// Bytes that were read only to see whether tracking tells the truth.
    pub audited: u64,
    /// Transport through which they came.
    pub transport: String,
    /// What the repository did with them.
    pub summary: DiskSummary,
}

/// What is known once the restore point is committed.
struct Copied {
    point: Arc<dyn StoredPoint>,
    disks: Vec<DiskOutcome>,
    not_captured: Vec<(PartName, Missing)>,
    losses: Vec<Loss>,
}

impl<'a> Backup<'a> {
    /// Backs up all that is allocated. `store` is a [`Repository`](vadp_repository::Repository), or another store of backups.
    pub fn full(
        vm: &'a ProtectedVm,
        store: &'a dyn BackupStore,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self {
            vm,
            store,
            transport,
            journal,
            full: true,
            quiesce: QuiescePolicy::default(),
            track: true,
            excluded: Vec::new(),
            audit: Audit::default(),
            flow: Flow::default(),
            cancel: CancelToken::new(),
            resume: true,
            required: Vec::new(),
            bar_migration: false,
            convert_template: false,
        }
    }

    /// Backs up what changed since the machine's latest restore point, where that can be proved.
    pub fn incremental(
        vm: &'a ProtectedVm,
        store: &'a dyn BackupStore,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self { full: false, ..Self::full(vm, store, transport, journal) }
    }

    /// Whether and how the guest is brought to rest for the snapshot: [`Quiesce`](crate::Quiesce) alone, or a whole
    /// [`QuiescePolicy`]. It is not unless asked for. What was achieved is in the outcome and in the restore point.
    pub fn quiesce(mut self, policy: impl Into<QuiescePolicy>) -> Self {
        self.quiesce = policy.into();
        self
    }

    /// Whether changed block tracking is switched on first where it is off and can be. On unless told.
    pub fn enable_tracking(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// How much of what tracking calls unchanged is read all the same, and compared: [`Audit::default`] unless told.
    ///
    /// A change that was not told makes the disk's backup a full one at once. Afterwards tracking begins anew
    /// ([`cbt::reset`]); where it cannot, backups of the disk stay full. Earlier restore points that rest on the same epoch
    /// of tracking may lack changes too: they are in [`BackupOutcome::suspects`].
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Leaves out the disks with these device keys. They stand in the restore point by name, without content.
    ///
    /// A disk that a snapshot does not protect ([`Obstacle`](crate::Obstacle)) is left out only on request: without it
    /// there is no backup, so that nobody finds out at the restore.
    pub fn exclude(mut self, keys: impl IntoIterator<Item = i32>) -> Self {
        self.excluded.extend(keys);
        self
    }

    /// Bounds on memory, lines and time: [`Flow::default`] unless set.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// Stops the run when the token says so: the snapshot is removed, there is no restore point, and the error is
    /// [`ErrorKind::Cancelled`]. A server's task that is under way is waited for.
    pub fn cancel_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Whether the run goes on where one of the same journal that died (not one that failed) has stopped, when its snapshot is there
    /// yet: what the store has of it is not read again. On unless told.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Has the vCenter not migrate the machine while it is backed up (`VixDiskLib_PrepareForAccess`). Off unless told: it takes
    /// [`privileges::MIGRATION_BAR`](crate::privileges::MIGRATION_BAR). A host alone moves nothing, and is not asked.
    pub fn bar_migration(mut self, bar: bool) -> Self {
        self.bar_migration = bar;
        self
    }

    /// Makes a machine of a template for the backup, and a template of it again afterwards. Off unless told: then a template is
    /// refused. It takes [`privileges::TEMPLATE`](crate::privileges::TEMPLATE).
    pub fn convert_template(mut self, convert: bool) -> Self {
        self.convert_template = convert;
        self
    }

    /// Makes these parts of the [configuration](crate::capture) a condition: without one of them there is no restore point.
    /// Unless told, none is; what is missing is in [`BackupOutcome::not_captured`] and in the restore point.
    pub fn require(mut self, parts: impl IntoIterator<Item = PartName>) -> Self {
        self.required.extend(parts);
        self
    }

    /// Runs the backup. `on_event` is told what happens; it is called from any task and should return at once.
    ///
    /// Dropping the future stops the backup without a restore point. Its snapshot is removed by a task of the runtime; should the runtime
    /// end before that, it stays in the journal, for the next run; so does what else the run holds, a bar or a converted template.
    ///
    /// # Errors
    /// Whatever kept the restore point from being complete: then there is none. The snapshot is removed all the same, or
    /// stays in the journal. [`ErrorKind::Cancelled`] when it was told to stop.
    pub async fn run(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<BackupOutcome, Error> {
        let report = Report(&on_event);
        let engine = Engine::new(self.flow.clone(), self.cancel.clone());
        // In boxes, as what follows: together they would not fit on a thread's stack in a program that is not optimised.
        let (swept, mut resumed) = engine.unless_stopped(Box::pin(self.sweep(&report))).await?;
        let template = match resumed.as_mut().and_then(|resumed| resumed.template.take()) {
            None if self.convert_template => Box::pin(ConvertedTemplate::take(self.vm, self.journal)).await?,
            converted => converted,
        };
        let done = Box::pin(self.run_on_machine(&engine, swept, resumed, &report)).await;
        let returned = match template {
            Some(template) => template.release().await,
            None => Ok(()),
        };
        with_cleanup(done, returned)
    }

    async fn run_on_machine(
        &self,
        engine: &Engine,
        swept: Swept,
        resumed: Option<Resumed>,
        report: &Report<'_>,
    ) -> Result<BackupOutcome, Error> {
        let parent = engine.unless_stopped(Box::pin(self.prepare(resumed.is_some()))).await?;
        let bar = match self.bar_migration {
            true => Box::pin(MigrationBar::take(self.vm, self.journal, self.transport)).await?,
            false => None,
        };
        let done = Box::pin(self.run_with_snapshot(engine, swept, parent, resumed, report)).await;
        let returned = match bar {
            Some(bar) => bar.release().await,
            None => Ok(()),
        };
        with_cleanup(done, returned)
    }

    async fn run_with_snapshot(
        &self,
        engine: &Engine,
        swept: Swept,
        parent: Option<Arc<dyn StoredPoint>>,
        resumed: Option<Resumed>,
        report: &Report<'_>,
    ) -> Result<BackupOutcome, Error> {
        let (guard, log) = match resumed {
            Some(resumed) => {
                report.tell(Event::Resumed { name: resumed.guard.name() });
                (Held::new(resumed.guard), Some(resumed.log))
            }
            None => {
                engine.unless_stopped(async { Ok(()) }).await?;
                (Box::pin(held::take(self.vm, self.journal, &self.quiesce, report)).await?, None)
            }
        };
        let record = guard.record.clone();
        let copied = Box::pin(self.copy(engine, &guard, log, parent.as_deref(), report)).await;
        let released = guard.release(report).await;
        let (Copied { point, disks, not_captured, losses }, log) = match (copied, &released) {
            (Ok(done), _) => done,
            (Err(error), Ok(_)) => {
                self.journal.forget_settled();
                return Err(error);
            }
            (Err(error), Err(cleanup)) => {
                tracing::error!(%cleanup, "the snapshot of a failed backup stays in the journal");
                return Err(error);
            }
        };
        // There is nothing to go on with, also when the snapshot is there yet.
        log.end();
        let lied: Vec<i32> = disks
            .iter()
            .filter(|disk| matches!(&disk.decision, Decision::Full(reason) if reason.is_lasting()))
            .map(|d| d.key)
            .collect();
        let (mut suspects, mut tracking_error) = (Vec::new(), None);
        if !lied.is_empty() {
            suspects = self.suspects(&*point, &lied).await?;
            tracking_error = cbt::reset(self.vm, self.journal).await.err();
        }
        let SnapshotRecord { consistency, attempts, .. } = record;
        let (consolidation, cleanup_error) = match released {
            Ok(consolidation) => (consolidation, None),
            Err(error) => (Consolidation::NotNeeded, Some(error)),
        };
        Ok(BackupOutcome {
            point,
            disks,
            consistency,
            snapshot_attempts: attempts,
            not_captured,
            losses,
            swept,
            suspects,
            tracking_error,
            consolidation,
            cleanup_error,
        })
    }

    /// Takes over the snapshot of a run that died, if that can be gone on with, and gives back what else such runs have left.
    async fn sweep(&self, report: &Report<'_>) -> Result<(Swept, Option<Resumed>), Error> {
        let mut resumed = None;
        if self.resume && !self.journal.orphans()?.is_empty() {
            let made = self.latest().await?.map(|point| point.info().created);
            resumed = resume::find(self.vm, self.journal, made).await?;
        }
        let swept = Sweeper::new(self.journal).through(self.transport).sweep(self.vm.client()).await?;
        if swept != Swept::default() {
            report.tell(Event::Swept(&swept));
        }
        Ok((swept, resumed))
    }

    /// What is to be known before the snapshot: the restore point to build on.
    async fn prepare(&self, resumed: bool) -> Result<Option<Arc<dyn StoredPoint>>, Error> {
        eligibility::check(self.vm.name(), &self.vm.config().await?, &self.excluded)?;
        snapshot::refuse_unfinished_restore(self.vm).await?;
        let parent = match self.full {
            true => None,
            false => self.latest().await?,
        };
        if self.track && !resumed {
            self.switch_tracking_on().await;
        }
        Ok(parent)
    }

    async fn latest(&self) -> Result<Option<Arc<dyn StoredPoint>>, Error> {
        let machine = stored::machine_id(self.vm.identity())?;
        let latest = self.store.latest(&machine).await;
        latest.map_err(|e| {
            Error::repository(format!("looking for the latest restore point of {}", self.vm.name()), e)
        })
    }

    /// The restore points whose content of one of these disks rests on the same epoch of tracking: incremental ones, back to
    /// the last full one of a disk's epoch, which read everything.
    async fn suspects(&self, point: &dyn StoredPoint, lied: &[i32]) -> Result<Vec<PointId>, Error> {
        let context = |e| Error::repository("looking for restore points that rest on tracking that lied", e);
        let machine = stored::machine_id(self.vm.identity())?;
        let epoch_of = async |point: &dyn StoredPoint, key: i32| -> Result<Option<(ChangeId, bool)>, Error> {
            let key = stored::disk_key(key);
            if !point.info().disks.iter().any(|disk| disk.key == key) {
                return Ok(None);
            }
            let metadata = DiskMetadata::from_bytes(point.disk(&key).await.map_err(context)?.metadata())?;
            let incremental = metadata.full_because.is_none();
            Ok(metadata.parsed_change_id().map(|id| (id, incremental)))
        };
        let mut suspects = Vec::new();
        for info in self.store.points(Some(&machine)).await.map_err(context)? {
            if info.id == point.id() {
                continue;
            }
            let earlier = self.store.point(info.id).await.map_err(context)?;
            for key in lied {
                if let (Some((now, _)), Some((then, true))) =
                    (epoch_of(point, *key).await?, epoch_of(&*earlier, *key).await?)
                    && then.is_comparable_to(&now)
                {
                    suspects.push(info.id);
                    break;
                }
            }
        }
        Ok(suspects)
    }

    /// Without tracking the backup is a full one, which is no failure; so this only tries.
    async fn switch_tracking_on(&self) {
        if let Err(error) = cbt::enable(self.vm, self.journal).await {
            tracing::warn!(%error, "changed block tracking stays off");
        }
    }

    async fn copy(
        &self,
        engine: &Engine,
        guard: &Held,
        log: Option<ResumeLog>,
        parent: Option<&dyn StoredPoint>,
        report: &Report<'_>,
    ) -> Result<(Copied, ResumeLog), Error> {
        let (snapshot, name) = (&guard.snapshot, &guard.name);
        let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await;
        let config =
            config.map_err(|e| Error::api(format!("reading the configuration of the snapshot {name}"), e))?;
        let log = match log {
            Some(log) => log,
            None => ResumeLog::begin(self.journal, self.vm, name, &guard.record, &machine::disks(&config))?,
        };
        let (disks, excluded) = eligibility::split(&config, &self.excluded);
        let parts = engine.unless_stopped(Box::pin(self.capture(&config, guard))).await?;
        let losses = capture::losses(&config, &self.excluded);
        let missing = |(name, missing): (PartName, &Missing)| (name, missing.clone());
        let not_captured = parts.missing().into_iter().map(missing).collect();
        let draft = PointDraft::new(stored::machine_id(self.vm.identity())?).tag("name", self.vm.name());
        let draft = draft.created(log.taken());
        let sink = engine.unless_stopped(async {
            let sink = self.store.begin(draft).await;
            sink.map_err(|e| Error::repository("beginning a restore point", e))
        });
        let sink = sink.await?;
        let signs = Box::pin(cbt::signs_since(self.vm, parent)).await?;
        let patience = Patience::new(self.flow.read_retries, self.flow.first_pause);
        let work = disk::Work {
            backup: self,
            engine,
            patience,
            snapshot,
            parent,
            sink: &*sink,
            log: &log,
            report,
            signs: &signs,
        };
        // All of them are waited for, so that each has closed its disk before the snapshot goes.
        let copied: Vec<Result<(DiskOutcome, bytes::Bytes), Error>> = futures::stream::iter(&disks)
            .map(|disk| Box::pin(work.run(disk)))
            .buffered(engine.flow().parallel_disks)
            .collect()
            .await;
        let done = first_failure(copied)?;
        self.cancel.check()?;
        let metadata = self.metadata(&config, guard, excluded, (parts, losses.clone()))?;
        let mut disk_metadata = BTreeMap::new();
        let mut outcomes = Vec::new();
        for (outcome, metadata) in done {
            disk_metadata.insert(stored::disk_key(outcome.key), metadata);
            outcomes.push(outcome);
        }
        let point = sink.commit(stored::encode(&metadata)?, disk_metadata).await;
        let point = point.map_err(|e| Error::repository("committing the restore point", e))?;
        report.tell(Event::Committed { point: &point.id().to_string() });
        Ok((Copied { point, disks: outcomes, not_captured, losses }, log))
    }

    /// What is to be kept of the machine beside its disks.
    async fn capture(&self, config: &VirtualMachineConfigInfo, guard: &Held) -> Result<Parts, Error> {
        let parts = capture::gather(self.vm, config, Some(&guard.record)).await;
        let lacking: Vec<String> = parts
            .missing()
            .into_iter()
            .filter(|(name, _)| self.required.contains(name))
            .map(|(name, missing)| format!("{name} ({missing})"))
            .collect();
        if lacking.is_empty() {
            return Ok(parts);
        }
        let text = format!("{}: what is required was not captured: {}", self.vm.name(), lacking.join("; "));
        Err(Error::new(ErrorKind::NotCaptured, text))
    }

    fn metadata(
        &self,
        config: &VirtualMachineConfigInfo,
        guard: &Held,
        excluded: Vec<UnprotectedDisk>,
        captured: (Parts, Vec<Loss>),
    ) -> Result<MachineMetadata, Error> {
        let version = self.vm.client().version();
        let mut xml = vim_api::xml::Writer::new(version);
        config.encode("config", &mut xml);
        let identity = self.vm.identity().clone();
        let (name, snapshot, record) = (self.vm.name(), &guard.name, &guard.record);
        let config = (version.id(), xml.finish());
        Ok(MachineMetadata::new(identity, name, snapshot, record, excluded, config, captured))
    }
}

/// All results, or the error that counts: not that of a disk that was given up since another had failed.
pub(crate) fn first_failure<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, Error> {
    let (mut done, mut failure) = (Vec::new(), None::<Error>);
    for result in results {
        match result {
            Ok(one) => done.push(one),
            Err(error) if failure.as_ref().is_none_or(|known| known.kind() == ErrorKind::Cancelled) => {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    match failure {
        None => Ok(done),
        Some(failure) => Err(failure),
    }
}

/// What was committed is not undone by what could not be given back; what failed is the first failure's.
fn with_cleanup(
    done: Result<BackupOutcome, Error>,
    returned: Result<(), Error>,
) -> Result<BackupOutcome, Error> {
    match (done, returned) {
        (Ok(mut done), Err(error)) => {
            if let Some(later) = done.cleanup_error.replace(error) {
                tracing::error!(%later, "more than one thing of a backup stays in the journal");
            }
            Ok(done)
        }
        (Err(error), Err(cleanup)) => {
            tracing::error!(%cleanup, "something of a failed backup stays in the journal");
            Err(error)
        }
        (done, Ok(())) => done,
    }
}
