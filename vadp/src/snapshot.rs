//! The snapshot of a backup: taken under a journal entry, by policy, and removed for sure.

mod consolidate;
mod policy;
mod rollback;
mod sweep;

use std::time::{Duration, SystemTime};

use vim_api::mo::{Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types::{
    GuestInfo, TaskInProgress, TaskInfoState, VirtualMachinePowerState, VirtualMachineSnapshotTree,
};
use vim_api::{Client, MoRef, Task};

use crate::error::{Error, ErrorKind};
use crate::journal::{Entry, Intent, Journal};
use crate::machine::{ProtectedVm, VmIdentity};
use crate::progress::{Event, Report};

pub use consolidate::Consolidation;
pub use policy::{Consistency, Quiesce, QuiescePolicy, SnapshotAttempt, VssBackup, VssContext, VssSpec};
pub use sweep::{ForeignSnapshot, Sweeper, Swept};

use policy::FaultClass;

/// What a snapshot of ours is for. Every one begins with the prefix of its purpose; none that does not is ever touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be read; what is left of it is removed.
    Backup,
    /// To go back to, if a restore fails; what is left of it is gone back to, and removed.
    Rollback,
}

impl Purpose {
    pub(crate) const ALL: [Self; 2] = [Self::Backup, Self::Rollback];

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "vadp-backup-",
            Self::Rollback => "vadp-restore-",
        }
    }

    /// That of a snapshot of this name, if it is one of ours.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| name.starts_with(purpose.prefix()))
    }

    fn description(self) -> &'static str {
        match self {
            Self::Backup => "Taken for a backup; removed when it is done.",
            Self::Rollback => {
                "The machine's disks are being restored: do not power it on. To undo what was written, revert to this snapshot."
            }
        }
    }

    fn intent(self, vm: VmIdentity, name: String) -> Intent {
        match self {
            Self::Backup => Intent::Snapshot { vm, name },
            Self::Rollback => Intent::Rollback { vm, name },
        }
    }
}

/// How often a machine that is busy is asked again, and how long it is left alone at first; the pauses double up to a limit.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(500);
const BUSY_PAUSE_LIMIT: Duration = Duration::from_secs(15);

/// How long tasks of the machine are waited for before a snapshot is removed all the same.
const TASK_PATIENCE: Duration = Duration::from_secs(600);

/// What is noted when a snapshot is there and not as it was asked for.
const IGNORED: &str = "the server took the snapshot without bringing the guest to rest";

/// What VirtualMachine.guest.toolsRunningStatus says of Tools that can be asked.
const TOOLS_RUN: &str = "guestToolsRunning";

/// A snapshot that we took. It has to be [released](Self::release); what is dropped instead stays in the journal, and the
/// next [`Sweeper`] removes it.
#[must_use = "a snapshot has to be released"]
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    vm: ProtectedVm,
    snapshot: VirtualMachineSnapshot,
    name: String,
    entry: Entry,
    record: SnapshotRecord,
}

/// What a restore point keeps of the snapshot that it was read from.
#[derive(Debug, Clone, Default)]
pub(crate) struct SnapshotRecord {
    pub(crate) consistency: Consistency,
    pub(crate) attempts: Vec<SnapshotAttempt>,
    /// When it was taken, by the server's clock: milliseconds since 1970.
    pub(crate) taken_ms: Option<u64>,
}

/// A snapshot as the machine's tree shows it.
struct Found {
    moref: MoRef<VirtualMachineSnapshot>,
    quiesced: bool,
    taken_ms: Option<u64>,
}

impl SnapshotGuard {
    /// Takes a snapshot without memory.
    ///
    /// # Errors
    /// [`ErrorKind::NotQuiesced`] when the guest has to come to rest and does not; when the intent cannot be journalled, or
    /// the task fails for good. A snapshot whose task was lost sight of is looked for, and used when it is there.
    pub(crate) async fn take(
        vm: &ProtectedVm,
        journal: &Journal,
        policy: &QuiescePolicy,
        report: &Report<'_>,
    ) -> Result<Self, Error> {
        Self::take_for(Purpose::Backup, vm, journal, policy, report).await
    }

    /// Takes one that [`roll_back`](Self::roll_back) goes back to: of a machine that is off.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) async fn take_to_roll_back(
        vm: &ProtectedVm,
        journal: &Journal,
        report: &Report<'_>,
    ) -> Result<Self, Error> {
        Self::take_for(Purpose::Rollback, vm, journal, &QuiescePolicy::default(), report).await
    }

    async fn take_for(
        purpose: Purpose,
        vm: &ProtectedVm,
        journal: &Journal,
        policy: &QuiescePolicy,
        report: &Report<'_>,
    ) -> Result<Self, Error> {
        let name = format!("{}{}-{}", purpose.prefix(), journal.owner(), journal.unique_name());
        let context = || format!("taking the snapshot {name} of {}", vm.name());
        let mut attempts = Vec::new();
        let (mut quiesced, otherwise) = can_be_quiesced(vm, policy, &mut attempts).await?;
        let entry = journal.record(purpose.intent(vm.identity().clone(), name.clone()))?;
        report.tell(Event::SnapshotStarted { name: &name });
        let (mut tries, mut busy) = (0, 0);
        let Found { moref, taken_ms, .. } = loop {
            let failure = match attempt(vm, &name, quiesced.then_some(policy)).await? {
                Ok(found) if found.quiesced || !quiesced => break found,
                Ok(found) if policy.level() == Quiesce::Prefer => {
                    attempts.push(SnapshotAttempt { quiesced, fault: IGNORED.to_owned() });
                    quiesced = false;
                    break found;
                }
                Ok(_) => {
                    remove(vm, &name).await?;
                    None
                }
                Err(fault) => Some(fault),
            };
            match (failure.as_ref().map_or(FaultClass::Quiescing, |f| policy::classify(f, quiesced)), failure)
            {
                (FaultClass::Busy, _) if busy < BUSY_TRIES => {
                    tokio::time::sleep(busy_pause(busy)).await;
                    busy += 1;
                }
                (FaultClass::Quiescing, failure) => {
                    tries += 1;
                    let fault = failure.as_ref().map_or_else(|| IGNORED.to_owned(), ToString::to_string);
                    report.tell(Event::QuiesceFailed { attempt: tries, fault: &fault });
                    attempts.push(SnapshotAttempt { quiesced, fault });
                    if tries < policy.allowed_attempts() {
                        tokio::time::sleep(policy.pause_between()).await;
                    } else if policy.level() == Quiesce::Prefer {
                        quiesced = false;
                    } else {
                        entry.settle()?;
                        let text =
                            format!("{}: the guest did not come to rest, asked {tries} times", context());
                        let error = Error::new(ErrorKind::NotQuiesced, text);
                        return Err(match failure {
                            Some(fault) => error.because(fault),
                            None => error,
                        });
                    }
                }
                (FaultClass::Busy | FaultClass::Final, failure) => {
                    entry.settle()?;
                    let unknown = || Error::new(ErrorKind::OutcomeUnknown, context());
                    return Err(failure.map_or_else(unknown, |fault| Error::api(context(), fault)));
                }
            }
        };
        let consistency = if quiesced { Consistency::Quiesced } else { otherwise };
        report.tell(Event::SnapshotTaken { name: &name, consistency });
        let snapshot = vm.client().bind(&moref);
        let record = SnapshotRecord { consistency, attempts, taken_ms };
        Ok(Self { snapshot, vm: vm.clone(), name, entry, record })
    }

    /// One that a run has taken that died; `entry` is its intent, which is this run's now.
    pub(crate) fn adopted(
        vm: ProtectedVm,
        snapshot: VirtualMachineSnapshot,
        name: String,
        entry: Entry,
        record: SnapshotRecord,
    ) -> Self {
        Self { vm, snapshot, name, entry, record }
    }

    pub(crate) fn snapshot(&self) -> &VirtualMachineSnapshot {
        &self.snapshot
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn record(&self) -> &SnapshotRecord {
        &self.record
    }

    /// Removes the snapshot, sees that it is gone, settles the journal entry, and has the server merge what it left unmerged.
    ///
    /// # Errors
    /// When it could not be removed; the entry then stays.
    pub(crate) async fn release(self, report: &Report<'_>) -> Result<Consolidation, Error> {
        remove(&self.vm, &self.name).await?;
        report.tell(Event::SnapshotRemoved { name: &self.name });
        self.entry.settle()?;
        Ok(consolidate::consolidate(&self.vm).await)
    }

    /// Keeps what was written since: from here on the snapshot is one that is removed, and is.
    ///
    /// # Errors
    /// When the journal cannot be written: then what was written stands to be undone yet. When the snapshot could not be removed: then
    /// what was written stays, and the next sweep removes it.
    pub(crate) async fn keep(mut self, report: &Report<'_>) -> Result<Consolidation, Error> {
        self.entry.turn_into(Purpose::Backup.intent(self.vm.identity().clone(), self.name.clone()))?;
        self.release(report).await
    }

    /// Undoes what was written since, and removes the snapshot.
    ///
    /// # Errors
    /// When it could not be undone; the entry then stays, and the next sweep tries again.
    pub(crate) async fn roll_back(self, report: &Report<'_>) -> Result<(), Error> {
        rollback::revert(&self.vm, &self.name).await?;
        self.release(report).await.map(drop)
    }
}

/// Whether the guest is to be brought to rest, and what the disks are if it is not.
async fn can_be_quiesced(
    vm: &ProtectedVm,
    policy: &QuiescePolicy,
    attempts: &mut Vec<SnapshotAttempt>,
) -> Result<(bool, Consistency), Error> {
    let context = || format!("reading the state of {}", vm.name());
    let runtime = vm.vm().require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
    if runtime.power_state == VirtualMachinePowerState::PoweredOff {
        return Ok((false, Consistency::PoweredOff));
    }
    if policy.level() == Quiesce::None {
        return Ok((false, Consistency::Crash));
    }
    let guest = vm.vm().get(VirtualMachine::GUEST).await.map_err(|e| Error::api(context(), e))?;
    let Some(why_not) = why_not_quiesced(&runtime.power_state, guest.as_ref()) else {
        return Ok((true, Consistency::Crash));
    };
    if policy.level() == Quiesce::Require {
        let text = format!("{} cannot be quiesced: {why_not}", vm.name());
        return Err(Error::new(ErrorKind::NotQuiesced, text));
    }
    attempts.push(SnapshotAttempt { quiesced: true, fault: why_not });
    Ok((false, Consistency::Crash))
}

/// Why the guest of a machine that is not off cannot be asked to come to rest. A server ignores the wish when it cannot fulfil
/// it, and says nothing (API reference, CreateSnapshot_Task).
pub(crate) fn why_not_quiesced(
    power: &VirtualMachinePowerState,
    guest: Option<&GuestInfo>,
) -> Option<String> {
    if *power != VirtualMachinePowerState::PoweredOn {
        return Some("the machine is suspended".to_owned());
    }
    let tools = guest.and_then(|guest| guest.tools_running_status.as_deref()).unwrap_or("unknown");
    (tools != TOOLS_RUN).then(|| format!("VMware Tools do not run in the guest ({tools})"))
}

/// One attempt, judged by what is there afterwards: the snapshot, or the fault, and then nothing is left of it.
///
/// # Errors
/// When nobody can tell what is there.
async fn attempt(
    vm: &ProtectedVm,
    name: &str,
    quiesce: Option<&QuiescePolicy>,
) -> Result<Result<Found, vim_api::Error>, Error> {
    let context = || format!("taking the snapshot {name} of {}", vm.name());
    let asked = ask(vm, name, quiesce).await;
    if asked.is_err() {
        // As after a crash: as long as a task is under way, a snapshot that is not there proves nothing.
        wait_for_tasks(vm).await?;
    }
    let found = find(vm.vm(), name).await.map_err(|e| Error::api(context(), e))?;
    match (asked, found) {
        (Ok(_), Some(found)) => Ok(Ok(found)),
        (Err(error), Some(found)) if error.kind() == vim_api::ErrorKind::OutcomeUnknown => Ok(Ok(found)),
        (Ok(_), None) => {
            let text = format!("{}: its task succeeded, and it is nowhere", context());
            Err(Error::new(ErrorKind::OutcomeUnknown, text))
        }
        (Err(error), found) => {
            if found.is_some() {
                remove(vm, name).await?;
            }
            Ok(Err(error))
        }
    }
}

async fn ask(
    vm: &ProtectedVm,
    name: &str,
    quiesce: Option<&QuiescePolicy>,
) -> Result<MoRef<VirtualMachineSnapshot>, vim_api::Error> {
    let description = Purpose::of(name).map(Purpose::description);
    let call = match quiesce {
        None => vm.vm().create_snapshot_task(name, description, false, false),
        Some(policy) => vm.vm().create_snapshot_ex_task(name, description, false, Some(&policy.spec())),
    };
    call.resend_after_login().await?.wait().await
}

fn busy_pause(tries: u32) -> Duration {
    BUSY_PAUSE.saturating_mul(1 << tries.min(8)).min(BUSY_PAUSE_LIMIT)
}

/// Waits until no task that the server remembers of the machine is under way. How they end does not matter here.
async fn wait_for_tasks(vm: &ProtectedVm) -> Result<(), Error> {
    let tasks = vm.vm().get(VirtualMachine::RECENT_TASK).await;
    let tasks = tasks.map_err(|e| Error::api(format!("reading the recent tasks of {}", vm.name()), e))?;
    wait_for(vm.client(), tasks.unwrap_or_default(), vm.name()).await
}

/// Waits until each of the tasks, which are of `what`, has ended in whatever way.
pub(crate) async fn wait_for(
    client: &Client,
    tasks: Vec<MoRef<vim_api::mo::Task>>,
    what: &str,
) -> Result<(), Error> {
    if tasks.is_empty() {
        return Ok(());
    }
    let context = || format!("waiting for the tasks of {what}");
    // A server remembers dozens, of which hardly any is under way: one question tells them apart.
    let states = client.properties(&tasks, &["info.state"]).await.map_err(|e| Error::api(context(), e))?;
    for mut task in states {
        let state: TaskInfoState = task.take_required("info.state").map_err(|e| Error::api(context(), e))?;
        if matches!(state, TaskInfoState::Success | TaskInfoState::Error) {
            continue;
        }
        match Task::<()>::new(client.clone(), task.object().clone()).wait().await {
            Ok(()) => {}
            // It ended with a fault, or is forgotten, which a task under way is not.
            Err(error) if error.kind() == vim_api::ErrorKind::Fault && !error.is_session_lost() => {}
            Err(error) if error.kind() == vim_api::ErrorKind::OutcomeUnknown => {}
            Err(error) => return Err(Error::api(context(), error)),
        }
    }
    Ok(())
}

/// Removes the snapshot called `name`, and looks until it is gone. `false` when there was none.
async fn remove(vm: &ProtectedVm, name: &str) -> Result<bool, Error> {
    let context = || format!("removing the snapshot {name} of {}", vm.name());
    if Purpose::of(name).is_none() {
        return Err(Error::new(ErrorKind::Journal, format!("{}: it is not one of ours", context())));
    }
    let mut last = None;
    for attempt in 0..BUSY_TRIES {
        // Not into a migration or another's snapshot: the server would refuse, or worse, do both.
        let waited = tokio::time::timeout(TASK_PATIENCE, wait_for_tasks(vm)).await;
        if let Ok(waited) = waited {
            waited?;
        }
        let found = find(vm.vm(), name).await.map_err(|e| Error::api(context(), e))?;
        let Some(Found { moref, .. }) = found else { return Ok(attempt > 0) };
        let snapshot: VirtualMachineSnapshot = vm.client().bind(&moref);
        let removed = async {
            let call = snapshot.remove_snapshot_task(false, Some(true));
            call.resend_after_login().await?.wait().await
        }
        .await;
        match removed {
            Ok(()) => {}
            // Another task has the machine, or ours was lost sight of: the next look tells.
            Err(error)
                if error.fault::<TaskInProgress>().is_some()
                    || error.is_retryable()
                    || error.is_not_found()
                    || error.kind() == vim_api::ErrorKind::OutcomeUnknown =>
            {
                last = Some(error);
                tokio::time::sleep(busy_pause(attempt)).await;
            }
            // A removal whose merging failed has removed the snapshot: what is there decides.
            Err(error) => match find(vm.vm(), name).await {
                Ok(None) => return Ok(true),
                _ => return Err(Error::api(context(), error)),
            },
        }
    }
    let error = Error::new(ErrorKind::OutcomeUnknown, format!("{}: it is still there", context()));
    Err(match last {
        Some(source) => error.because(source),
        None => error,
    })
}

/// The name of a snapshot that a restore has left, or that one needs that is under way.
///
/// # Errors
/// When the machine's snapshots cannot be read.
async fn unfinished_restore(vm: &ProtectedVm) -> Result<Option<String>, Error> {
    let tree = vm.vm().get(VirtualMachine::SNAPSHOT).await;
    let tree = tree.map_err(|e| Error::api(format!("reading the snapshots of {}", vm.name()), e))?;
    fn search(trees: &[VirtualMachineSnapshotTree]) -> Option<String> {
        trees.iter().find_map(|tree| match Purpose::of(&tree.name) {
            Some(Purpose::Rollback) => Some(tree.name.clone()),
            _ => search(&tree.child_snapshot_list),
        })
    }
    Ok(tree.and_then(|info| search(&info.root_snapshot_list)))
}

/// The same as an error: neither may such a machine be backed up, as if its disks were of one moment, nor restored once more.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when there is one.
pub(crate) async fn refuse_unfinished_restore(vm: &ProtectedVm) -> Result<(), Error> {
    let Some(name) = unfinished_restore(vm).await? else { return Ok(()) };
    let hint = format!(
        "{} is being restored, or such a run has died: its disks are in part old and in part restored. Sweep with the journal that \
         the snapshot {name} is of, or take over from its owner (Sweeper::take_over), which undoes what was written",
        vm.name()
    );
    Err(Error::new(ErrorKind::NotEligible, hint))
}

/// The snapshot of this name, if the machine has it.
pub(crate) async fn find_by_name(
    vm: &ProtectedVm,
    name: &str,
) -> Result<Option<MoRef<VirtualMachineSnapshot>>, Error> {
    let found = find(vm.vm(), name).await;
    let found =
        found.map_err(|e| Error::api(format!("looking for the snapshot {name} of {}", vm.name()), e))?;
    Ok(found.map(|found| found.moref))
}

/// The snapshot of this name, wherever it is in the machine's tree.
async fn find(vm: &VirtualMachine, name: &str) -> Result<Option<Found>, vim_api::Error> {
    let tree = vm.get(VirtualMachine::SNAPSHOT).await?;
    Ok(tree.and_then(|info| search(&info.root_snapshot_list, name)))
}

fn search(trees: &[VirtualMachineSnapshotTree], name: &str) -> Option<Found> {
    trees.iter().find_map(|tree| {
        if tree.name == name {
            let taken = tree.create_time.to_system_time();
            let since = taken.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            let taken_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
            return Some(Found { moref: tree.snapshot.clone(), quiesced: tree.quiesced, taken_ms });
        }
        search(&tree.child_snapshot_list, name)
    })
}
