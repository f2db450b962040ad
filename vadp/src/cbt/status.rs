//! How the tracking of a machine stands, and whether it tells the truth: for people, outside of a backup.

use vadp_repository::StoredPoint;
use vim_api::mo::{Managed, VirtualMachineSnapshot};

use super::{Answer, Audit, ChangeId, Decision, Signs, query};
use crate::backup::{decide, in_parent};
use crate::eligibility;
use crate::error::Error;
use crate::journal::Journal;
use crate::machine::{self, DiskConfig, ProtectedVm};
use crate::progress::Report;
use crate::snapshot::{QuiescePolicy, SnapshotGuard};
use crate::stored::MachineMetadata;
use crate::transport::Vddk;

/// How a machine's tracking stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Whether it is switched on.
    pub enabled: bool,
    /// What stands against believing it.
    pub signs: Signs,
    /// Its disks.
    pub disks: Vec<TrackedDisk>,
}

/// A disk of a [`Status`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrackedDisk {
    /// Device key.
    pub key: i32,
    /// The disk's label, such as "Hard disk 1".
    pub label: String,
    /// Size in bytes.
    pub capacity: u64,
    /// The id that the machine's configuration tells. Servers need tell one in snapshots only.
    pub change_id: Option<ChangeId>,
    /// The id in the restore point.
    pub restore_point_id: Option<ChangeId>,
    /// How an incremental backup onto the restore point would be made, if tracking that is on did not begin anew.
    pub decision: Decision,
}

/// What an audit of a disk has shown.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditedDisk {
    /// Device key.
    pub key: i32,
    /// The disk's label.
    pub label: String,
    /// Incremental where it was audited; otherwise why tracking has nothing to say about it since the restore point.
    pub decision: Decision,
    /// Bytes that were compared.
    pub compared: u64,
    /// Number of a chunk that had changed, and was not told: the first that was found.
    pub lie: Option<u64>,
}

/// How the tracking of `vm` stands beside what the restore point `latest` knows. Nothing is changed.
///
/// # Errors
/// When the machine or the restore point cannot be read.
pub async fn status(vm: &ProtectedVm, latest: Option<&dyn StoredPoint>) -> Result<Status, Error> {
    let config = vm.config().await?;
    let enabled = config.change_tracking_enabled.unwrap_or(false);
    let signs = signs_since(vm, latest).await?;
    let mut disks = Vec::new();
    for found in machine::disks(&config) {
        disks.push(judge(&found, latest, enabled, &signs, false).await?);
    }
    Ok(Status { enabled, signs, disks })
}

/// What stands against believing the machine's tracking since `point`.
pub(crate) async fn signs_since(vm: &ProtectedVm, point: Option<&dyn StoredPoint>) -> Result<Signs, Error> {
    let since = point.map(MachineMetadata::of).transpose()?.and_then(|metadata| metadata.taken());
    Signs::read(vm, since).await
}

/// A disk of the machine's own configuration, which need not tell a change id.
pub(crate) async fn judge(
    disk: &DiskConfig,
    latest: Option<&dyn StoredPoint>,
    enabled: bool,
    signs: &Signs,
    full: bool,
) -> Result<TrackedDisk, Error> {
    let before = in_parent(latest, disk).await?;
    let restore_point_id = before.as_ref().and_then(|(_, metadata)| metadata.parsed_change_id());
    let mut judged = disk.clone();
    if enabled && judged.change_id.is_none() {
        // Only a snapshot has to carry an id. Until then tracking that is on is taken at its word.
        judged.change_id.clone_from(&restore_point_id);
    }
    Ok(TrackedDisk {
        key: disk.key,
        label: disk.label.clone(),
        capacity: disk.capacity,
        change_id: disk.change_id.clone(),
        restore_point_id,
        decision: decide(full, &judged, before.as_ref(), signs),
    })
}

/// Takes a snapshot, asks what changed since the restore point, and compares a share of what is called unchanged with it. The
/// snapshot goes again. Nothing is backed up, and nothing is done about a lie: the next backup will find it, or
/// [`reset`](super::reset) begins tracking anew.
///
/// # Errors
/// Those of the snapshot, the queries and the disks.
pub async fn audit(
    vm: &ProtectedVm,
    point: &dyn StoredPoint,
    transport: &Vddk,
    journal: &Journal,
    share: Audit,
) -> Result<Vec<AuditedDisk>, Error> {
    let silent = Report(&|_| ());
    let signs = signs_since(vm, Some(point)).await?;
    let guard = SnapshotGuard::take(vm, journal, &QuiescePolicy::default(), &silent).await?;
    let audited = async {
        let snapshot: &VirtualMachineSnapshot = guard.snapshot();
        let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await;
        let config = config.map_err(|e| Error::api("reading the configuration of a snapshot", e))?;
        let (disks, _) = eligibility::split(&config, &[]);
        let mut audited = Vec::new();
        for disk in disks.iter().filter(|disk| disk.obstacle.is_none()) {
            audited.push(one(vm, point, transport, snapshot, disk, &signs, share).await?);
        }
        Ok(audited)
    };
    let audited = audited.await;
    let released = guard.release(&silent).await;
    released?;
    audited
}

async fn one(
    vm: &ProtectedVm,
    point: &dyn StoredPoint,
    transport: &Vddk,
    snapshot: &VirtualMachineSnapshot,
    disk: &DiskConfig,
    signs: &Signs,
    share: Audit,
) -> Result<AuditedDisk, Error> {
    let parent = in_parent(Some(point), disk).await?;
    let decision = decide(false, disk, parent.as_ref(), signs);
    let (key, label) = (disk.key, disk.label.clone());
    let unasked = |decision| AuditedDisk { key, label: label.clone(), decision, compared: 0, lie: None };
    let (Decision::Incremental(since), Some((reader, _))) = (&decision, &parent) else {
        return Ok(unasked(decision));
    };
    let changed = match query(vm.vm(), snapshot, disk.key, disk.capacity, since).await? {
        Answer::Map(map) => map,
        Answer::Refused(fault) => return Ok(unasked(Decision::Full(super::Reason::Refused { fault }))),
    };
    let source = transport.open_source(vm, snapshot.moref().value(), &disk.file_name).await?;
    let seen = share.run(&*source, &**reader, &changed).await;
    source.close().await?;
    let seen = seen?;
    Ok(AuditedDisk { compared: seen.bytes, lie: seen.lie, ..unasked(decision) })
}
