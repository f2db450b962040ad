//! Settling what runs that died have left.

use super::{remove, wait_for_tasks};
use crate::error::{Error, ErrorKind};
use crate::journal::{Intent, Journal};
use crate::machine::ProtectedVm;

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
