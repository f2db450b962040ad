//! Settling what runs that died have left.

use vim_api::mo::VirtualMachine;
use vim_api::types::{VirtualMachineSnapshotInfo, VirtualMachineSnapshotTree};

use super::{NAME_PREFIX, remove, wait_for_tasks};
use crate::error::{Error, ErrorKind};
use crate::journal::{Intent, Journal, is_owner};
use crate::machine::{ProtectedVm, VmSelector};

/// What was settled of runs that died.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Names of the snapshots that were removed.
    pub snapshots_removed: Vec<String>,
    /// Intents whose snapshot was never made, or was gone already.
    pub already_gone: usize,
}

/// A snapshot that a backup has taken whose journal is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignSnapshot {
    /// Whose it is: [`Journal::owner`] of its journal.
    pub owner: String,
    /// The machine's name.
    pub machine: String,
    /// The snapshot's name.
    pub name: String,
    /// When it was taken, by the server's clock, as the server writes it.
    pub created: String,
    vm: vim_api::MoRef<VirtualMachine>,
}

/// Settles what runs that died have left behind: removes their snapshots and their journal entries.
///
/// It decides by looking at the machine, not by what the journal says was done. Only snapshots that the journal names
/// are touched.
#[derive(Debug, Clone)]
pub struct Sweeper<'a> {
    journal: &'a Journal,
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

    /// The snapshots on the server that backups with other journals have taken, the oldest first. They may be in use: whether
    /// their owner lives, nobody can tell from here.
    ///
    /// # Errors
    /// When the inventory cannot be read.
    pub async fn foreign(&self, client: &vim_api::Client) -> Result<Vec<ForeignSnapshot>, Error> {
        let context = || "looking for snapshots of other backups".to_owned();
        let root = client.content().root_folder.cast();
        let machines = client.list::<VirtualMachine>(&root, &["name", "snapshot"]).await;
        let mut found = Vec::new();
        for mut vm in machines.map_err(|e| Error::api(context(), e))? {
            let name: String = vm.take_required("name").map_err(|e| Error::api(context(), e))?;
            let tree =
                vm.take::<VirtualMachineSnapshotInfo>("snapshot").map_err(|e| Error::api(context(), e))?;
            let roots = tree.map(|info| info.root_snapshot_list).unwrap_or_default();
            self.collect(&roots, &name, vm.object(), &mut found);
        }
        found.sort_by(|a, b| a.created.cmp(&b.created));
        Ok(found)
    }

    /// Removes all snapshots that the backups of `owner` have taken, on every machine of the server. For the day on which an
    /// owner's journal is gone with the machine that it was on: an owner that lives loses the snapshots of its running
    /// backups, and so the backups.
    ///
    /// # Errors
    /// [`ErrorKind::Journal`] when `owner` is this journal's own, whose runs tell themselves who is dead, or is no owner's
    /// name. When a snapshot cannot be removed; those before it are gone.
    pub async fn take_over(&self, client: &vim_api::Client, owner: &str) -> Result<Swept, Error> {
        if owner == self.journal.owner() || !is_owner(owner) {
            let text = format!(
                "taking over from {owner:?}: it is not the owner of another journal; see Sweeper::foreign"
            );
            return Err(Error::new(ErrorKind::Journal, text));
        }
        let mut swept = Swept::default();
        for snapshot in self.foreign(client).await? {
            if snapshot.owner != owner {
                continue;
            }
            let vm = ProtectedVm::resolve(client, &VmSelector::MoRef(snapshot.vm.clone())).await?;
            wait_for_tasks(&vm).await?;
            if remove(&vm, &snapshot.name).await? {
                tracing::warn!(snapshot = %snapshot.name, vm = vm.name(), owner, "removed a snapshot of a lost journal");
                swept.snapshots_removed.push(snapshot.name);
            } else {
                swept.already_gone += 1;
            }
        }
        Ok(swept)
    }

    fn collect(
        &self,
        trees: &[VirtualMachineSnapshotTree],
        machine: &str,
        vm: &vim_api::MoRef<VirtualMachine>,
        found: &mut Vec<ForeignSnapshot>,
    ) {
        for tree in trees {
            let owner = tree.name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split('-').next());
            if let Some(owner) = owner.filter(|owner| is_owner(owner) && *owner != self.journal.owner()) {
                found.push(ForeignSnapshot {
                    owner: owner.to_owned(),
                    machine: machine.to_owned(),
                    name: tree.name.clone(),
                    created: tree.create_time.to_string(),
                    vm: vm.clone(),
                });
            }
            self.collect(&tree.child_snapshot_list, machine, vm, found);
        }
    }
}
