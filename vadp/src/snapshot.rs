//! The snapshot of a backup: taken under a journal entry, removed for sure.

use vim_api::mo::{Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types::{TaskInProgress, VirtualMachineSnapshotTree};
use vim_api::{MoRef, Task};

use crate::error::{Error, ErrorKind};
use crate::journal::{Entry, Intent, Journal};
use crate::machine::ProtectedVm;
use crate::progress::{Event, Report};

/// Every snapshot of ours begins with it; none that does not is ever removed.
pub(crate) const NAME_PREFIX: &str = "vadp-backup-";

/// How often a removal is tried while another task holds the machine, and how long it waits in between.
const REMOVAL_TRIES: u32 = 10;
const REMOVAL_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// A snapshot that we took. It has to be [released](Self::release); what is dropped instead stays in the journal, and the
/// next [`Sweeper`] removes it.
#[must_use = "a snapshot has to be released"]
#[derive(Debug)]
pub(crate) struct SnapshotGuard {
    vm: ProtectedVm,
    snapshot: VirtualMachineSnapshot,
    name: String,
    entry: Entry,
}

/// What was settled of runs that died.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Names of the snapshots that were removed.
    pub snapshots_removed: Vec<String>,
    /// Intents whose snapshot was never made, or was gone already.
    pub already_gone: usize,
}

/// Settles what runs that died have left behind: removes their snapshots and their journal entries.
///
/// It decides by looking at the machine, not by what the journal says was done. Only snapshots that the journal names
/// are touched.
#[derive(Debug, Clone)]
pub struct Sweeper<'a> {
    journal: &'a Journal,
}

impl SnapshotGuard {
    /// Takes a snapshot without memory.
    ///
    /// # Errors
    /// When the intent cannot be journalled, or the task fails. A snapshot whose task was lost sight of is looked for,
    /// and used when it is there.
    pub(crate) async fn take(
        vm: &ProtectedVm,
        journal: &Journal,
        quiesce: bool,
        report: &Report<'_>,
    ) -> Result<Self, Error> {
        let name = format!("{NAME_PREFIX}{}", journal.unique_name());
        let entry = journal.record(Intent::Snapshot { vm: vm.identity().clone(), name: name.clone() })?;
        let description = "Taken for a backup; removed when it is done.";
        report.tell(Event::SnapshotStarted { name: &name });
        let made = async {
            let call = vm.vm().create_snapshot_task(&name, Some(description), false, quiesce);
            call.resend_after_login().await?.wait().await
        }
        .await;
        let moref: Option<MoRef<VirtualMachineSnapshot>> = match made {
            Ok(moref) => Some(moref),
            Err(error) => {
                let context = format!("taking the snapshot {name} of {}", vm.name());
                // As after a crash: as long as a task is under way, a snapshot that is not there proves nothing.
                let seen = match wait_for_tasks(vm).await {
                    Ok(()) => find(vm.vm(), &name).await.ok(),
                    Err(_) => None,
                };
                match seen {
                    Some(None) => {
                        entry.settle()?;
                        return Err(Error::api(context, error));
                    }
                    Some(found) if error.kind() == vim_api::ErrorKind::OutcomeUnknown => found,
                    // It is there although the task failed, or nobody can tell: the journal keeps it for the sweeper.
                    Some(_) | None => return Err(Error::api(context, error)),
                }
            }
        };
        let Some(moref) = moref else {
            return Err(Error::new(ErrorKind::OutcomeUnknown, format!("the snapshot {name} is nowhere")));
        };
        report.tell(Event::SnapshotTaken { name: &name });
        Ok(Self { snapshot: vm.client().bind(&moref), vm: vm.clone(), name, entry })
    }

    pub(crate) fn snapshot(&self) -> &VirtualMachineSnapshot {
        &self.snapshot
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Removes the snapshot, sees that it is gone, and settles the journal entry.
    ///
    /// # Errors
    /// When it could not be removed; the entry then stays.
    pub(crate) async fn release(self, report: &Report<'_>) -> Result<(), Error> {
        remove(&self.vm, &self.name).await?;
        report.tell(Event::SnapshotRemoved { name: &self.name });
        self.entry.settle()
    }
}

impl<'a> Sweeper<'a> {
    /// For the runs of this journal.
    pub fn new(journal: &'a Journal) -> Self {
        Self { journal }
    }

    /// Settles every intent of a dead run on the server that `client` speaks to. Those of other servers stay.
    ///
    /// # Errors
    /// When a snapshot is there and cannot be removed, or the journal cannot be read. What was settled before stays
    /// settled.
    pub async fn sweep(&self, client: &vim_api::Client) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for entry in self.journal.orphans()? {
            let Intent::Snapshot { vm, name } = entry.intent().clone();
            if vm.vcenter != client.content().about.instance_uuid {
                continue;
            }
            match ProtectedVm::find(client, &vm).await {
                Ok(vm) => {
                    // The run may have died while its snapshot was being made: until that task has ended, a snapshot that
                    // is not there proves nothing.
                    wait_for_tasks(&vm).await?;
                    if remove(&vm, &name).await? {
                        tracing::warn!(snapshot = %name, vm = vm.name(), "removed a snapshot of a run that died");
                        swept.snapshots_removed.push(name);
                    } else {
                        swept.already_gone += 1;
                    }
                }
                // The machine was deleted, and its snapshots with it.
                Err(error) if error.kind() == ErrorKind::Machine => swept.already_gone += 1,
                Err(error) => return Err(error),
            }
            entry.settle()?;
        }
        self.journal.tidy()?;
        Ok(swept)
    }
}

/// Waits until no task that the server remembers of the machine is under way. How they end does not matter here.
async fn wait_for_tasks(vm: &ProtectedVm) -> Result<(), Error> {
    let tasks = vm.vm().get(VirtualMachine::RECENT_TASK).await;
    let tasks = tasks.map_err(|e| Error::api(format!("reading the recent tasks of {}", vm.name()), e))?;
    for moref in tasks.unwrap_or_default() {
        match Task::<()>::new(vm.client().clone(), moref).wait().await {
            Ok(()) => {}
            // It ended with a fault, or is forgotten, which a task under way is not.
            Err(error) if error.kind() == vim_api::ErrorKind::Fault && !error.is_session_lost() => {}
            Err(error) if error.kind() == vim_api::ErrorKind::OutcomeUnknown => {}
            Err(error) => return Err(Error::api(format!("waiting for the tasks of {}", vm.name()), error)),
        }
    }
    Ok(())
}

/// Removes the snapshot called `name`, and looks until it is gone. `false` when there was none.
async fn remove(vm: &ProtectedVm, name: &str) -> Result<bool, Error> {
    let context = || format!("removing the snapshot {name} of {}", vm.name());
    if !name.starts_with(NAME_PREFIX) {
        return Err(Error::new(ErrorKind::Journal, format!("{}: it is not one of ours", context())));
    }
    let mut last = None;
    for attempt in 0..REMOVAL_TRIES {
        let found = find(vm.vm(), name).await.map_err(|e| Error::api(context(), e))?;
        let Some(moref) = found else { return Ok(attempt > 0) };
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
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
            Err(error) => return Err(Error::api(context(), error)),
        }
    }
    let error = Error::new(ErrorKind::OutcomeUnknown, format!("{}: it is still there", context()));
    Err(match last {
        Some(source) => error.because(source),
        None => error,
    })
}

/// The snapshot of this name, wherever it is in the machine's tree.
async fn find(
    vm: &VirtualMachine,
    name: &str,
) -> Result<Option<MoRef<VirtualMachineSnapshot>>, vim_api::Error> {
    let tree = vm.get(VirtualMachine::SNAPSHOT).await?;
    Ok(tree.and_then(|info| search(&info.root_snapshot_list, name)))
}

fn search(trees: &[VirtualMachineSnapshotTree], name: &str) -> Option<MoRef<VirtualMachineSnapshot>> {
    trees.iter().find_map(|tree| {
        if tree.name == name { Some(tree.snapshot.clone()) } else { search(&tree.child_snapshot_list, name) }
    })
}
