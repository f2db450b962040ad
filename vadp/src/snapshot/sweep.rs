//! Settling what runs that died have left.

use vim_api::mo::VirtualMachine;
use vim_api::types::{VirtualMachineSnapshotInfo, VirtualMachineSnapshotTree};

use super::consolidate::{Consolidation, consolidate};
use super::{Purpose, remove, rollback, wait_for_tasks};
use crate::error::{Error, ErrorKind};
use crate::held;
use crate::journal::{Intent, Journal, is_owner};
use crate::machine::{ProtectedVm, VmSelector};
use crate::recover;
use crate::transport::Vddk;

/// What was settled of runs that died.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Names of the snapshots that were removed.
    pub snapshots_removed: Vec<String>,
    /// Intents of what was never so, or not any more.
    pub already_gone: usize,
    /// Names of the machines that may be migrated again.
    pub migration_allowed: Vec<String>,
    /// Names of the machines that are templates again.
    pub templates: Vec<String>,
    /// Names of the machines that a recovery had left half made, and that were removed with their disks.
    pub machines_removed: Vec<String>,
    /// Names of the machines whose restore had died, and whose disks are again as they were before it.
    pub rolled_back: Vec<String>,
    /// Names of the machines whose disks need consolidation even so.
    pub need_consolidation: Vec<String>,
    /// What could not be settled, each with what it takes. It stays in the journal.
    pub left: Vec<String>,
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
    disks: Option<&'a Vddk>,
}

impl<'a> Sweeper<'a> {
    /// For the runs of this journal.
    pub fn new(journal: &'a Journal) -> Self {
        Self { journal, disks: None }
    }

    /// With the disk library, which it takes to lift a bar to migration, and to remove disks that were left attached to this machine.
    pub fn through(mut self, disks: &'a Vddk) -> Self {
        self.disks = Some(disks);
        self
    }

    /// Settles every intent of a dead run on the server that `client` speaks to. Those of other servers stay.
    ///
    /// # Errors
    /// When a snapshot is there and cannot be removed, or the journal cannot be read. What was settled before stays
    /// settled.
    pub async fn sweep(&self, client: &vim_api::Client) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        // What was taken last is given back first: no template is made of a machine with a snapshot.
        for entry in self.journal.orphans()?.into_iter().rev() {
            let vm = match entry.intent() {
                Intent::Snapshot { vm, .. }
                | Intent::Rollback { vm, .. }
                | Intent::Access { vm, .. }
                | Intent::Template { vm } => vm,
                Intent::Machine { vcenter, folder, mark, .. } => {
                    if *vcenter == client.content().about.instance_uuid
                        && remove_half_made(client, folder, mark, &mut swept).await?
                    {
                        entry.settle()?;
                    }
                    continue;
                }
            };
            if vm.vcenter != client.content().about.instance_uuid {
                continue;
            }
            match ProtectedVm::find(client, vm).await {
                Ok(vm) => {
                    if !self.settle(&vm, entry.intent(), &mut swept).await? {
                        continue;
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

    /// Gives back what an intent has left of a machine, as its state shows. `false` when that takes more than is at hand.
    async fn settle(&self, vm: &ProtectedVm, intent: &Intent, swept: &mut Swept) -> Result<bool, Error> {
        match intent {
            Intent::Snapshot { name, .. } => {
                if let Some(disks) = self.disks
                    && let Err(error) = disks.clean_up(vm).await
                {
                    tracing::warn!(%error, "disks may be left attached to this machine");
                }
                self.remove(vm, name, swept).await?;
            }
            Intent::Rollback { name, .. } => return self.roll_back(vm, name, swept).await,
            Intent::Access { identity, .. } => match (held::is_barred(vm).await?, self.disks) {
                (false, _) => swept.already_gone += 1,
                (true, Some(disks)) => match disks.bar_migration(vm, identity).await {
                    Ok(guard) => {
                        Vddk::end_access(vm, guard).await?;
                        tracing::warn!(vm = vm.name(), "ended the bar to migration of a run that died");
                        swept.migration_allowed.push(vm.name().to_owned());
                    }
                    // It is somebody else's by now, so it is not ours any more.
                    Err(error) if is_anothers(&error) => swept.already_gone += 1,
                    Err(error) => return Err(error),
                },
                (true, None) => {
                    let text = format!("{} is barred from migration: sweep with the disk library", vm.name());
                    swept.left.push(text);
                    return Ok(false);
                }
            },
            // It is no machine yet, and was settled before one was looked for.
            Intent::Machine { .. } => return Ok(false),
            Intent::Template { .. } => {
                if vm.config().await?.template {
                    swept.already_gone += 1;
                } else if !vm.is_powered_off().await? {
                    let text = format!(
                        "{} was a template and runs: somebody uses it; shut it down, or leave it",
                        vm.name()
                    );
                    swept.left.push(text);
                    return Ok(false);
                } else {
                    held::mark(vm).await?;
                    tracing::warn!(
                        vm = vm.name(),
                        "made a template again of what a run that died had made a machine"
                    );
                    swept.templates.push(vm.name().to_owned());
                }
            }
        }
        Ok(true)
    }

    async fn remove(&self, vm: &ProtectedVm, name: &str, swept: &mut Swept) -> Result<(), Error> {
        // The run may have died while its snapshot was being made: until that task has ended, a snapshot that is not there proves
        // nothing.
        wait_for_tasks(vm).await?;
        if !remove(vm, name).await? {
            swept.already_gone += 1;
            return Ok(());
        }
        tracing::warn!(snapshot = %name, vm = vm.name(), "removed a snapshot that a backup has left");
        swept.snapshots_removed.push(name.to_owned());
        if let Consolidation::StillNeeded { .. } = consolidate(vm).await {
            swept.need_consolidation.push(vm.name().to_owned());
        }
        Ok(())
    }

    /// Has the machine go back to the snapshot of a restore that died. `false` when it must not: somebody uses what is half restored.
    async fn roll_back(&self, vm: &ProtectedVm, name: &str, swept: &mut Swept) -> Result<bool, Error> {
        if let Some(disks) = self.disks
            && let Err(error) = disks.clean_up(vm).await
        {
            tracing::warn!(%error, "disks may be left attached to this machine");
        }
        // As after a crash: as long as its task is under way, a snapshot that is not there proves nothing.
        wait_for_tasks(vm).await?;
        if super::find_by_name(vm, name).await?.is_none() {
            swept.already_gone += 1;
            return Ok(true);
        }
        if !vm.is_powered_off().await? {
            let text = format!(
                "{} runs on disks that a restore has left in part old and in part restored: shut it down and sweep again, which \
                 undoes what was written; or remove the snapshot {name} to keep it as it is",
                vm.name()
            );
            swept.left.push(text);
            return Ok(false);
        }
        rollback::revert(vm, name).await?;
        self.remove(vm, name, swept).await?;
        tracing::warn!(vm = vm.name(), "undid what a restore that died has written");
        swept.rolled_back.push(vm.name().to_owned());
        Ok(true)
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
        let theirs = |mark: &str| recover::owner_of(mark) == Some(owner);
        for found in recover::marked(client, theirs).await? {
            swept.machines_removed.extend(recover::remove(client, None, &found.mark).await?);
        }
        for snapshot in self.foreign(client).await? {
            if snapshot.owner != owner {
                continue;
            }
            let vm = ProtectedVm::resolve(client, &VmSelector::MoRef(snapshot.vm.clone())).await?;
            match Purpose::of(&snapshot.name) {
                Some(Purpose::Rollback) => drop(self.roll_back(&vm, &snapshot.name, &mut swept).await?),
                _ => self.remove(&vm, &snapshot.name, &mut swept).await?,
            }
        }
        if let Some(disks) = self.disks {
            self.allow_migration(client, disks, owner, &mut swept).await?;
        }
        Ok(swept)
    }

    /// Lifts the bars of an owner. The server does not tell whose they are, but lets nobody else lift one.
    async fn allow_migration(
        &self,
        client: &vim_api::Client,
        disks: &Vddk,
        owner: &str,
        swept: &mut Swept,
    ) -> Result<(), Error> {
        let context = || format!("looking for machines that {owner} has barred from migration");
        let root = client.content().root_folder.cast();
        let machines = client.list::<VirtualMachine>(&root, &["name"]).await;
        for machine in machines.map_err(|e| Error::api(context(), e))? {
            let vm = ProtectedVm::resolve(client, &VmSelector::MoRef(machine.object().clone())).await?;
            if !held::is_barred(&vm).await? {
                continue;
            }
            match disks.bar_migration(&vm, &held::identity_of(owner)).await {
                Ok(guard) => {
                    Vddk::end_access(&vm, guard).await?;
                    swept.migration_allowed.push(vm.name().to_owned());
                }
                Err(error) if is_anothers(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn collect(
        &self,
        trees: &[VirtualMachineSnapshotTree],
        machine: &str,
        vm: &vim_api::MoRef<VirtualMachine>,
        found: &mut Vec<ForeignSnapshot>,
    ) {
        for tree in trees {
            let ours = Purpose::of(&tree.name).and_then(|purpose| tree.name.strip_prefix(purpose.prefix()));
            let owner = ours.and_then(|rest| rest.split('-').next());
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

/// Removes the machine of an intent. `false` when somebody has switched it on, and has to decide.
async fn remove_half_made(
    client: &vim_api::Client,
    folder: &str,
    mark: &str,
    swept: &mut Swept,
) -> Result<bool, Error> {
    match recover::remove(client, Some(&vim_api::MoRef::new(folder)), mark).await {
        Ok(removed) if removed.is_empty() => swept.already_gone += 1,
        Ok(removed) => swept.machines_removed.extend(removed),
        Err(error) if error.kind() == ErrorKind::NotEligible => {
            swept.left.push(error.to_string());
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Whether a machine is barred by another identity.
fn is_anothers(error: &Error) -> bool {
    error.disk_error().is_some_and(|error| error.kind() == vixdisklib::ErrorKind::AccessDisabled)
}
