//! Links that removed snapshots have left in a machine's disks.

use vim_api::mo::{Managed, VirtualMachine};

use super::busy_pause;
use crate::machine::ProtectedVm;

/// How often a server is asked to merge what is left.
const TRIES: u32 = 4;

/// Whether a machine's disks needed consolidation once a snapshot was gone, and what became of it.
///
/// A server removes a snapshot from its list before it merges the disks' links, and may fail in between: then the snapshot is gone
/// and its files are not, grow, and make each later snapshot's removal longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consolidation {
    /// The server says that nothing is left.
    #[default]
    NotNeeded,
    /// Something was left, and was merged.
    Done {
        /// How often the server was asked.
        tries: u32,
    },
    /// Something is left. The next run tries again; the machine's owner should see to it if that does not help.
    StillNeeded {
        /// Why, in the server's words.
        fault: String,
    },
}

/// Looks, and has the server merge what is left, a bounded number of times. It fails nothing: disks with links are whole.
pub(super) async fn consolidate(vm: &ProtectedVm) -> Consolidation {
    let mut fault = String::new();
    for tries in 0..=TRIES {
        match is_needed(vm).await {
            Ok(false) if tries == 0 => return Consolidation::NotNeeded,
            Ok(false) => return Consolidation::Done { tries },
            Ok(true) => {}
            Err(error) => return Consolidation::StillNeeded { fault: error.to_string() },
        }
        if tries == TRIES {
            break;
        }
        if tries > 0 {
            tokio::time::sleep(busy_pause(tries)).await;
        }
        let asked = async { vm.vm().consolidate_vm_disks_task().resend_after_login().await?.wait().await };
        if let Err(error) = asked.await {
            tracing::warn!(vm = vm.name(), %error, "the machine's disks were not consolidated");
            fault = error.to_string();
        }
    }
    Consolidation::StillNeeded { fault }
}

async fn is_needed(vm: &ProtectedVm) -> Result<bool, vim_api::Error> {
    let runtime = vm.vm().require(VirtualMachine::RUNTIME).await?;
    Ok(runtime.consolidation_needed.unwrap_or(false))
}
