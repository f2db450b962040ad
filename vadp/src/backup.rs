//! Backup of a machine: snapshot, plan, copy, commit, and everything given back.

mod disk;

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use vadp_repository::{DiskSummary, PointDraft, Repository, RestorePoint};
use vim_api::dynamic::Element;
use vim_api::mo::{Managed, VirtualMachineSnapshot};
use vim_api::types::VirtualMachineConfigInfo;

use crate::cbt::{self, Decision};
use crate::error::Error;
use crate::journal::Journal;
use crate::machine::{self, ProtectedVm};
use crate::progress::{Event, Report};
use crate::snapshot::{SnapshotGuard, Sweeper, Swept};
use crate::stored::{self, MachineMetadata};
use crate::transport::Vddk;

/// Disks that are copied at a time.
const PARALLEL_DISKS: usize = 2;

/// A backup that is being described.
///
/// [`full`](Self::full) copies all that is allocated. [`incremental`](Self::incremental) copies what changed since the
/// machine's latest restore point, and decides disk by disk that it has to be everything where the changes cannot be
/// proved; the reason is in the outcome and in the restore point. Either way the restore point is complete in itself.
#[must_use = "nothing is backed up until it is run"]
pub struct Backup<'a> {
    vm: &'a ProtectedVm,
    repository: &'a Repository,
    transport: &'a Vddk,
    journal: &'a Journal,
    full: bool,
    quiesce: bool,
    track: bool,
}

/// A committed backup.
#[non_exhaustive]
pub struct BackupOutcome {
    /// The restore point. It is visible and complete, whatever else is said here.
    pub point: RestorePoint,
    /// Each disk, by device key.
    pub disks: Vec<DiskOutcome>,
    /// What runs that died had left, and was cleaned up first.
    pub swept: Swept,
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
    /// Transport through which they came.
    pub transport: String,
    /// What the repository did with them.
    pub summary: DiskSummary,
}

impl<'a> Backup<'a> {
    /// Backs up all that is allocated.
    pub fn full(
        vm: &'a ProtectedVm,
        repository: &'a Repository,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self { vm, repository, transport, journal, full: true, quiesce: false, track: true }
    }

    /// Backs up what changed since the machine's latest restore point, where that can be proved.
    pub fn incremental(
        vm: &'a ProtectedVm,
        repository: &'a Repository,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self { full: false, ..Self::full(vm, repository, transport, journal) }
    }

    /// Whether the guest's file systems are brought to rest for the snapshot. Off unless asked for; if the guest cannot do
    /// it, the backup fails.
    pub fn quiesce(mut self, quiesce: bool) -> Self {
        self.quiesce = quiesce;
        self
    }

    /// Whether changed block tracking is switched on first where it is off and can be. On unless told.
    pub fn enable_tracking(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Runs the backup. `on_event` is told what happens; it is called from any task and should return at once.
    ///
    /// Dropping the future stops the backup without a restore point; its snapshot stays in the journal, for the next run.
    ///
    /// # Errors
    /// Whatever kept the restore point from being complete: then there is none. The snapshot is removed all the same, or
    /// stays in the journal.
    pub async fn run(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<BackupOutcome, Error> {
        let report = Report(&on_event);
        let swept = Sweeper::new(self.journal).sweep(self.vm.client()).await?;
        if swept != Swept::default() {
            report.tell(Event::Swept(&swept));
        }
        let parent = match self.full {
            true => None,
            false => self.latest().await?,
        };
        if self.track {
            self.switch_tracking_on().await;
        }
        let guard = SnapshotGuard::take(self.vm, self.journal, self.quiesce, &report).await?;
        let copied = self.copy(guard.snapshot(), guard.name(), parent.as_ref(), &report).await;
        let released = guard.release(&report).await;
        let (point, disks) = match (copied, &released) {
            (Ok(done), _) => done,
            (Err(error), Ok(())) => return Err(error),
            (Err(error), Err(cleanup)) => {
                tracing::error!(%cleanup, "the snapshot of a failed backup stays in the journal");
                return Err(error);
            }
        };
        Ok(BackupOutcome { point, disks, swept, cleanup_error: released.err() })
    }

    async fn latest(&self) -> Result<Option<RestorePoint>, Error> {
        let machine = stored::machine_id(self.vm.identity())?;
        let latest = self.repository.latest(&machine).await;
        latest.map_err(|e| {
            Error::repository(format!("looking for the latest restore point of {}", self.vm.name()), e)
        })
    }

    /// Without tracking the backup is a full one, which is no failure; so this only tries.
    async fn switch_tracking_on(&self) {
        if let Err(error) = cbt::enable(self.vm, self.journal).await {
            tracing::warn!(%error, "changed block tracking stays off");
        }
    }

    async fn copy(
        &self,
        snapshot: &VirtualMachineSnapshot,
        name: &str,
        parent: Option<&RestorePoint>,
        report: &Report<'_>,
    ) -> Result<(RestorePoint, Vec<DiskOutcome>), Error> {
        let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await;
        let config =
            config.map_err(|e| Error::api(format!("reading the configuration of the snapshot {name}"), e))?;
        let disks = machine::disks(&config)?;
        let draft = PointDraft::new(stored::machine_id(self.vm.identity())?).tag("name", self.vm.name());
        let writer = self
            .repository
            .begin(draft)
            .await
            .map_err(|e| Error::repository("beginning a restore point", e))?;
        let work = disk::Work { backup: self, snapshot, parent, writer: &writer, report };
        let done: Vec<(DiskOutcome, bytes::Bytes)> = futures::stream::iter(&disks)
            .map(|disk| work.run(disk))
            .buffered(PARALLEL_DISKS)
            .try_collect()
            .await?;
        let metadata = self.metadata(&config, name)?;
        let mut disk_metadata = BTreeMap::new();
        let mut outcomes = Vec::new();
        for (outcome, metadata) in done {
            disk_metadata.insert(stored::disk_key(outcome.key), metadata);
            outcomes.push(outcome);
        }
        let point = writer.commit(stored::encode(&metadata)?, disk_metadata).await;
        let point = point.map_err(|e| Error::repository("committing the restore point", e))?;
        report.tell(Event::Committed { point: &point.id().to_string() });
        Ok((point, outcomes))
    }

    fn metadata(&self, config: &VirtualMachineConfigInfo, snapshot: &str) -> Result<MachineMetadata, Error> {
        let version = self.vm.client().version();
        let mut xml = vim_api::xml::Writer::new(version);
        config.encode("config", &mut xml);
        let identity = self.vm.identity().clone();
        Ok(MachineMetadata::new(identity, self.vm.name(), snapshot, self.quiesce, version.id(), xml.finish()))
    }
}
