//! Restore of a machine that still exists: its disks are brought back to a restore point, in place.

mod disk;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use vadp_repository::{StoredDisk, StoredPoint};

use crate::cbt;
use crate::error::{Error, ErrorKind};
use crate::journal::Journal;
use crate::machine::{self, DiskConfig, ProtectedVm};
use crate::progress::{Event, Report};
use crate::stored::{DiskMetadata, MachineMetadata};
use crate::transport::Vddk;

/// Disks that are restored at a time.
const PARALLEL_DISKS: usize = 2;

/// A restore that is being described.
#[must_use = "nothing is restored until it is planned and run"]
pub struct Restore<'a> {
    point: &'a dyn StoredPoint,
    vm: &'a ProtectedVm,
    transport: &'a Vddk,
    journal: &'a Journal,
}

/// What a restore will do. Nothing was touched yet.
#[must_use = "nothing is restored until it is run"]
pub struct RestorePlan<'a> {
    restore: Restore<'a>,
    disks: Vec<DiskPlan>,
    untouched: Vec<String>,
}

/// What will be done to a disk.
pub(crate) struct DiskPlan {
    reader: Arc<dyn StoredDisk>,
    current: DiskConfig,
}

/// A restore that succeeded: every byte of every disk is as it was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreOutcome {
    /// Each disk.
    pub disks: Vec<RestoredDisk>,
    /// Why changed block tracking could not be reset before the first write, if it was on and could not. The next backup
    /// should then be a full one.
    pub tracking_error: Option<String>,
}

/// What was done to a disk.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RestoredDisk {
    /// Device key.
    pub key: i32,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// Bytes written: chunks that differed from the restore point.
    pub written: u64,
    /// Bytes that were read back afterwards and found right, and bytes that the disk does not hold and that are zero in the
    /// restore point. Always the whole capacity.
    pub verified: u64,
}

impl<'a> Restore<'a> {
    /// Brings the machine's disks back to the restore point, where they are. The machine has to be powered off.
    pub fn revert(
        point: &'a dyn StoredPoint,
        vm: &'a ProtectedVm,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self { point, vm, transport, journal }
    }

    /// Matches the disks of the restore point with those of the machine, by device key and backing uuid, and checks that
    /// they can be written.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when the point is of another machine; [`ErrorKind::NotEligible`] when the machine is
    /// powered on, or a disk is gone, was replaced, or has another size.
    pub async fn plan(self) -> Result<RestorePlan<'a>, Error> {
        let metadata = MachineMetadata::of(self.point)?;
        if metadata.vm.instance_uuid != self.vm.identity().instance_uuid {
            let context = format!(
                "the restore point {} is of the machine {} ({}), not of {}: a restore onto another machine is no revert",
                self.point.id(),
                metadata.name,
                metadata.vm.instance_uuid,
                self.vm.name()
            );
            return Err(Error::new(ErrorKind::RestorePoint, context));
        }
        self.require_powered_off().await?;
        let mut current = machine::disks(&self.vm.config().await?);
        let mut disks = Vec::new();
        for disk in &self.point.info().disks {
            let reader = self.point.disk(&disk.key).await;
            let reader = reader.map_err(|e| {
                Error::repository(format!("opening disk {} of the restore point", disk.key), e)
            })?;
            let wanted = DiskMetadata::from_bytes(reader.metadata())?;
            disks.push(DiskPlan { current: take_match(&mut current, &wanted, reader.capacity())?, reader });
        }
        let untouched = current.into_iter().map(|disk| disk.label).collect();
        Ok(RestorePlan { restore: self, disks, untouched })
    }

    async fn require_powered_off(&self) -> Result<(), Error> {
        if self.vm.is_powered_off().await? {
            return Ok(());
        }
        let hint = format!(
            "{} is not powered off: shut it down first, its disks cannot be written while it runs",
            self.vm.name()
        );
        Err(Error::new(ErrorKind::NotEligible, hint))
    }
}

impl RestorePlan<'_> {
    /// Labels of the machine's disks that the restore point does not have. They are left as they are.
    pub fn untouched(&self) -> &[String] {
        &self.untouched
    }

    /// Runs it: compares each disk with the restore point, writes what differs, then opens it again and reads everything
    /// back.
    ///
    /// Dropping the future, or an error, leaves the disks in part as they were and in part restored: run it again.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] when the restore point is damaged (it says where), before anything of that chunk is
    /// written; [`ErrorKind::Verification`] when something read back is not what it should be.
    pub async fn run(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<RestoreOutcome, Error> {
        let report = Report(&on_event);
        let restore = &self.restore;
        restore.require_powered_off().await?;
        // What is written from here on is not what the tracking of the machine has seen. Its epoch is ended first, so that a
        // restore that dies in the middle cannot be followed by an incremental backup.
        let tracking_error = match cbt::is_enabled(restore.vm.vm()).await? {
            true => cbt::reset(restore.vm, restore.journal).await.err().map(|e| e.to_string()),
            false => None,
        };
        let disks = futures::stream::iter(&self.disks)
            .map(|disk| disk::revert(restore, disk, &report))
            .buffered(PARALLEL_DISKS)
            .try_collect()
            .await?;
        Ok(RestoreOutcome { disks, tracking_error })
    }
}

fn take_match(
    current: &mut Vec<DiskConfig>,
    wanted: &DiskMetadata,
    capacity: u64,
) -> Result<DiskConfig, Error> {
    let refuse = |why: String| Err(Error::new(ErrorKind::NotEligible, format!("{}: {why}", wanted.label)));
    let Some(at) = current.iter().position(|disk| disk.key == wanted.key) else {
        return refuse(format!("the machine has no disk with the device key {} any more", wanted.key));
    };
    let disk = current.swap_remove(at);
    if let Some(obstacle) = disk.obstacle.as_ref().filter(|obstacle| !obstacle.allows_access()) {
        return refuse(format!("it cannot be written: it {obstacle}"));
    }
    if disk.backing_uuid != wanted.backing_uuid {
        return refuse("the disk at this place is another one than in the restore point".into());
    }
    if disk.capacity != capacity {
        return refuse(format!("it had {capacity} bytes and has {} now", disk.capacity));
    }
    Ok(disk)
}
