//! Restore of a machine that still exists: its disks are brought back to a restore point, in place.
//!
//! ```text
//!  plan ── disks matched ─► off ─► what changed since? ─► tracking begins anew ─► snapshot ─► write, read back ─► keep it
//!                                                                                    ▲            │ failed, stopped
//!                                                                                    └─ undone ◄──┘ or died (sweep)
//! ```

mod apply;
mod disk;
mod power;
mod scope;

use std::fmt;
use std::sync::Arc;

use vadp_repository::{StoredDisk, StoredPoint};

use crate::cancel::CancelToken;
use crate::cbt::Decision;
use crate::error::{Error, ErrorKind};
use crate::flow::Flow;
use crate::journal::Journal;
use crate::machine::{self, DiskConfig, ProtectedVm};
use crate::progress::Event;
use crate::snapshot::{self, Consolidation};
use crate::stored::{DiskMetadata, MachineMetadata};
use crate::transport::Vddk;
use crate::verify::Verify;

pub use apply::TentativeRestore;
pub use power::PowerPolicy;

/// A restore that is being described.
#[must_use = "nothing is restored until it is planned and run"]
pub struct Restore<'a> {
    point: &'a dyn StoredPoint,
    vm: &'a ProtectedVm,
    transport: &'a Vddk,
    journal: &'a Journal,
    power: PowerPolicy,
    differential: bool,
    verify: Verify,
    left_out: Vec<i32>,
    flow: Flow,
    cancel: CancelToken,
}

/// What a restore will do. Nothing was touched yet. `Display` shows it to people.
#[must_use = "nothing is restored until it is run"]
pub struct RestorePlan<'a> {
    restore: Restore<'a>,
    disks: Vec<DiskPlan>,
    left_out: Vec<String>,
    untouched: Vec<String>,
    runs: bool,
}

/// What will be done to a disk.
struct DiskPlan {
    reader: Arc<dyn StoredDisk>,
    wanted: DiskMetadata,
    current: DiskConfig,
}

/// A restore that succeeded: every byte of every disk that it was about is as it was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreOutcome {
    /// Each disk, by device key.
    pub disks: Vec<RestoredDisk>,
    /// Why changed block tracking is off now, if it was on: the machine has snapshots, under which it must not be switched on. Backups
    /// are full until they are gone.
    pub tracking_off: Option<String>,
    /// Whether the removal of the restore's own snapshot left links in the machine's disks, and what became of them.
    pub consolidation: Consolidation,
    /// Why the machine is off, if it ran before and could not be started again.
    pub power_error: Option<String>,
}

/// What was done to a disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoredDisk {
    /// Device key.
    pub key: i32,
    /// Bytes that were brought back: the disk's size in the restore point.
    pub capacity: u64,
    /// Incremental: what changed since the restore point, by change tracking, was written and the rest left. Full: all of the disk was
    /// compared, and what differed was written.
    pub decision: Decision,
    /// Bytes written.
    pub written: u64,
    /// Bytes that were left as they were: compared and found right, or told not to have changed.
    pub skipped: u64,
    /// Bytes that were read back afterwards and found right, and bytes that the disk does not hold and that are zero in the
    /// restore point. The whole capacity under [`Verify::Full`].
    pub verified: u64,
    /// Under [`Verify::Full`], a digest of what was read back, which depends on nothing else: BLAKE3 of the capacity in bytes (u64) and
    /// the size of a chunk (u32), and then for each chunk that has a byte other than zero, in order, its number (u64) and the BLAKE3 of
    /// its bytes. Numbers are little-endian.
    pub digest: Option<[u8; 32]>,
}

impl<'a> Restore<'a> {
    /// Brings the machine's disks back to the restore point, where they are. They can only be written while the machine is off; see
    /// [`power`](Self::power).
    pub fn revert(
        point: &'a dyn StoredPoint,
        vm: &'a ProtectedVm,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self {
            point,
            vm,
            transport,
            journal,
            power: PowerPolicy::default(),
            differential: true,
            verify: Verify::default(),
            left_out: Vec::new(),
            flow: Flow::default(),
            cancel: CancelToken::new(),
        }
    }

    /// What is done with a machine that runs: it is [refused](PowerPolicy::Refuse) unless told. One that was switched off for the
    /// restore is started again afterwards.
    pub fn power(mut self, policy: PowerPolicy) -> Self {
        self.power = policy;
        self
    }

    /// Whether only what changed since the restore point is written, where change tracking proves what that is. On unless told. Off: all
    /// of each disk is compared with the restore point.
    ///
    /// What reached the disk past its host, such as through its storage, tracking does not tell: under [`Verify::Full`] it is found, and the
    /// disk then compared as a whole.
    pub fn differential(mut self, differential: bool) -> Self {
        self.differential = differential;
        self
    }

    /// How much is read back afterwards: everything, unless told.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Leaves the disks with these device keys as they are, whatever the restore point has of them. It takes this to restore a machine
    /// one of whose disks is gone or was replaced by another.
    pub fn leave_out(mut self, keys: impl IntoIterator<Item = i32>) -> Self {
        self.left_out.extend(keys);
        self
    }

    /// Bounds on memory, lines and time: [`Flow::default`] unless set.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// Stops the run when the token says so: what was written is undone, and the error is [`ErrorKind::Cancelled`].
    pub fn cancel_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Matches the disks of the restore point with those of the machine, by device key and backing uuid, and checks that
    /// they can be written.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when the point is of another machine; [`ErrorKind::NotEligible`] when the machine runs and is not to be
    /// switched off, when an earlier restore has left it half done, or when a disk is gone, was replaced, or is smaller than it was.
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
        snapshot::refuse_unfinished_restore(self.vm).await?;
        let runs = power::check(self.vm, self.power).await?;
        let mut current = machine::disks(&self.vm.config().await?);
        let (mut disks, mut left_out) = (Vec::new(), Vec::new());
        for disk in &self.point.info().disks {
            let reader = self.point.disk(&disk.key).await;
            let reader = reader.map_err(|e| {
                Error::repository(format!("opening disk {} of the restore point", disk.key), e)
            })?;
            let wanted = DiskMetadata::from_bytes(reader.metadata())?;
            if self.left_out.contains(&wanted.key) {
                left_out.push(wanted.label);
                continue;
            }
            let current = take_match(&mut current, &wanted, reader.capacity())?;
            disks.push(DiskPlan { current, wanted, reader });
        }
        if disks.is_empty() {
            let hint = format!("no disk of {} is left to be restored", self.vm.name());
            return Err(Error::new(ErrorKind::NotEligible, hint));
        }
        let untouched = current.into_iter().filter(|disk| !self.left_out.contains(&disk.key));
        let untouched = untouched.map(|disk| disk.label).collect();
        Ok(RestorePlan { restore: self, disks, left_out, untouched, runs })
    }
}

impl RestorePlan<'_> {
    /// Labels of the machine's disks that the restore point does not have. They are left as they are.
    pub fn untouched(&self) -> &[String] {
        &self.untouched
    }

    /// Runs it, and keeps the result: [`apply`](Self::apply) and [`accept`](TentativeRestore::accept).
    ///
    /// # Errors
    /// As both.
    pub async fn run(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<RestoreOutcome, Error> {
        Box::pin(self.apply(on_event)).await?.accept().await
    }

    /// Runs it, and leaves it to the caller whether the result is kept.
    ///
    /// The machine is switched off, a snapshot of it is taken, and what is written goes on top of that. When anything fails, or the run is
    /// [stopped](Restore::cancel_by), the machine goes back to the snapshot: it is as it was. A process that dies, or drops the future,
    /// leaves the snapshot and an entry in the journal, and the next [sweep](crate::Sweeper) goes back to it. Until then the machine can
    /// neither be backed up nor restored, and should not be powered on; the snapshot's description says so.
    ///
    /// The datastores need room for all that is written, once more, until it is kept or undone.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] when the restore point is damaged (it says where), before anything of that chunk is
    /// written; [`ErrorKind::Verification`] when something read back is not what it should be. The text says when the machine could not go
    /// back; the journal entry then stays.
    pub async fn apply(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<TentativeRestore, Error> {
        apply::apply(self, &crate::progress::Report(&on_event)).await
    }
}

fn take_match(
    current: &mut Vec<DiskConfig>,
    wanted: &DiskMetadata,
    capacity: u64,
) -> Result<DiskConfig, Error> {
    let refuse = |why: String| {
        let hint = format!("{}: {why}; leave the disk out to restore the others", wanted.label);
        Err(Error::new(ErrorKind::NotEligible, hint))
    };
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
    if disk.capacity < capacity {
        return refuse(format!("it had {capacity} bytes and has {} now", disk.capacity));
    }
    Ok(disk)
}

impl fmt::Display for RestorePlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restore = &self.restore;
        writeln!(f, "{} back to the restore point {}", restore.vm.name(), restore.point.id())?;
        match self.runs {
            true => writeln!(f, "  it runs: {}, and is started again afterwards", restore.power)?,
            false => writeln!(f, "  it is off, and stays off")?,
        }
        for DiskPlan { wanted, current, reader } in &self.disks {
            let (label, size) = (&wanted.label, reader.capacity());
            write!(f, "  {label}: {size} bytes are overwritten, as far as they differ")?;
            match current.capacity - size {
                0 => writeln!(f)?,
                more => writeln!(f, "; the last {more} bytes, by which it grew since, stay as they are")?,
            }
        }
        for label in &self.left_out {
            writeln!(f, "  {label}: left out on request")?;
        }
        for label in &self.untouched {
            writeln!(f, "  {label}: not in the restore point, stays as it is")?;
        }
        write!(f, "  a failure leaves the machine as it is now")
    }
}
