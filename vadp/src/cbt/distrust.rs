//! When changed block tracking is known not to tell all changes: a table, and what is looked at to apply it.
//!
//! What shows in a change id, such as tracking that began anew, needs no row: the id itself tells.

use std::time::SystemTime;

use serde::Serialize;
use vim_api::dynamic::DateTime;
use vim_api::mo::{EventManager, HostSystem, Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types::{
    Event, EventEx, EventFilterSpec, EventFilterSpecByEntity, EventFilterSpecByTime,
    EventFilterSpecRecursionOption, TaskEvent, VirtualMachineSnapshotTree,
};

use crate::error::Error;
use crate::machine::ProtectedVm;
use crate::snapshot::Purpose;

/// A condition under which tracking has been seen to keep silent about changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KnownFault {
    /// What goes wrong.
    pub what: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// When it applies.
    pub when: When,
    /// Whether ids of that tracking stay worthless until it begins anew ([`reset`](super::reset)); otherwise one full backup
    /// mends it.
    pub lasting: bool,
}

/// The condition of a [`KnownFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// The host is of this release (two numbers) with an older build.
    HostBelow {
        /// Such as `6.0`.
        release: &'static str,
        /// The build that mended it.
        build: u64,
    },
    /// The disk has grown past 128 GiB or a power of two times that, on a host of an older release.
    Grown {
        /// The first release that does not have it, such as `6.0`.
        before: &'static str,
    },
    /// The machine was reverted to a snapshot since the restore point.
    Reverted,
    /// Tracking was switched on above a snapshot that is still there.
    EnabledUnderSnapshot,
}

/// All that are known. Sources are named as their publishers number them.
pub const KNOWN: &[KnownFault] = &[
    KnownFault {
        what: "changes are forgotten when snapshots are consolidated",
        source: "KB 2136854 (317933): ESXi 6.0 before ESXi600-201511001",
        when: When::HostBelow { release: "6.0", build: 3_247_720 },
        lasting: true,
    },
    KnownFault {
        what: "changes are forgotten once a disk has grown past 128 GiB, or a power of two times that",
        source: "KB 2090639: ESXi 4.x and 5.x",
        when: When::Grown { before: "6.0" },
        lasting: true,
    },
    KnownFault {
        what: "after a revert, changes since an id of before are not told rightly",
        source: "gestaltit.com, pre-existing snapshots and inconsistent incrementals with CBT",
        when: When::Reverted,
        lasting: false,
    },
    KnownFault {
        what: "what changed below a snapshot that is older than tracking is not tracked",
        source: "KB 1020128",
        when: When::EnabledUnderSnapshot,
        lasting: true,
    },
];

/// What a machine and its host show of such conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// Version and build of the host, such as `8.0.1` and 21495797; `None` where nobody told.
    pub host: Option<(String, u64)>,
    /// Whether the machine was reverted to a snapshot since the restore point.
    pub reverted: bool,
    /// Whether it has a snapshot that is older than its tracking.
    pub enabled_under_snapshot: bool,
}

impl Signs {
    /// The first row that applies. `grown` is the disk's size in bytes then and now.
    pub fn known_fault(&self, grown: Option<(u64, u64)>) -> Option<&'static KnownFault> {
        KNOWN.iter().find(|fault| match fault.when {
            When::HostBelow { release, build } => self
                .host
                .as_ref()
                .is_some_and(|(version, own)| numbers(version) == numbers(release) && *own < build),
            When::Grown { before } => {
                let is_old =
                    self.host.as_ref().is_some_and(|(version, _)| numbers(version) < numbers(before));
                is_old && grown.is_some_and(|(before, now)| passes(before, now))
            }
            When::Reverted => self.reverted,
            When::EnabledUnderSnapshot => self.enabled_under_snapshot,
        })
    }

    /// Looks at the machine, its host, its snapshots, and what happened since `since`, which is of the server's clock. Where
    /// the account may not see something, nothing is concluded from it.
    pub(crate) async fn read(vm: &ProtectedVm, since: Option<SystemTime>) -> Result<Self, Error> {
        let context = || format!("looking whether the tracking of {} can be trusted", vm.name());
        let runtime = vm.vm().require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
        let mut signs = Self::default();
        if let Some(host) = &runtime.host {
            let host: HostSystem = vm.client().bind(host);
            match host.require(HostSystem::SUMMARY).await {
                Ok(summary) => {
                    let product = summary.config.product;
                    signs.host = product.and_then(|p| Some((p.version.clone(), p.build.parse().ok()?)));
                }
                Err(error) => tracing::info!(%error, "the host's release is not known"),
            }
        }
        signs.enabled_under_snapshot =
            enabled_under_snapshot(vm).await.map_err(|e| Error::api(context(), e))?;
        if let Some(since) = since {
            match reverted_since(vm, since).await {
                Ok(reverted) => signs.reverted = reverted,
                Err(error) => tracing::info!(%error, "the machine's events are not known"),
            }
        }
        Ok(signs)
    }
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Whether a size of 128 GiB, or a power of two times that, lies between them.
fn passes(before: u64, now: u64) -> bool {
    let steps = |bytes: u64| (bytes >> 37).checked_ilog2().map_or(0, |log| log + 1);
    steps(now) > steps(before)
}

/// A snapshot of somebody else that knows of no tracking, below a machine that has it.
async fn enabled_under_snapshot(vm: &ProtectedVm) -> Result<bool, vim_api::Error> {
    let Some(tree) = vm.vm().get(VirtualMachine::SNAPSHOT).await? else { return Ok(false) };
    if !vm.vm().require(VirtualMachine::CONFIG).await?.change_tracking_enabled.unwrap_or(false) {
        return Ok(false);
    }
    let mut left: Vec<&VirtualMachineSnapshotTree> = tree.root_snapshot_list.iter().collect();
    while let Some(tree) = left.pop() {
        left.extend(&tree.child_snapshot_list);
        if Purpose::of(&tree.name).is_some() {
            continue;
        }
        let snapshot: VirtualMachineSnapshot = vm.client().bind(&tree.snapshot);
        let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await?;
        if !config.change_tracking_enabled.unwrap_or(false) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Events of reverts. A vCenter has one of its own, and each task leaves one as well.
async fn reverted_since(vm: &ProtectedVm, since: SystemTime) -> Result<bool, vim_api::Error> {
    const REVERTED: &str = "com.vmware.vc.vm.VmStateRevertedToSnapshot";
    let Some(manager) = &vm.client().content().event_manager else { return Ok(false) };
    let manager: EventManager = vm.client().bind(manager);
    let entity = EventFilterSpecByEntity {
        entity: vm.vm().moref().cast(),
        recursion: EventFilterSpecRecursionOption::Self_,
        ..Default::default()
    };
    let time = EventFilterSpecByTime { begin_time: Some(DateTime::from(since)), ..Default::default() };
    let filter = EventFilterSpec {
        entity: Some(Box::new(entity)),
        time: Some(Box::new(time)),
        event_type_id: vec!["vim.event.TaskEvent".to_owned(), REVERTED.to_owned()],
        ..Default::default()
    };
    let events = manager.query_events(&filter, None).await?;
    Ok(events.iter().any(|event: &vim_api::dynamic::Poly<Event>| {
        let task = event.downcast_ref::<TaskEvent>();
        let named = event.downcast_ref::<EventEx>().is_some_and(|event| event.event_type_id == REVERTED);
        named || task.is_some_and(|task| task.info.description_id.to_ascii_lowercase().contains("revert"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn on(version: &str, build: u64) -> Signs {
        Signs { host: Some((version.into(), build)), ..Signs::default() }
    }

    #[test]
    fn each_row_applies_where_it_should_and_nowhere_else() {
        let source = |signs: &Signs, grown| signs.known_fault(grown).map(|fault| fault.source);
        assert!(source(&on("6.0.0", 2_494_585), None).unwrap().contains("2136854"));
        assert_eq!(source(&on("6.0.0", 3_247_720), None), None);
        assert_eq!(source(&on("6.5.0", 100), None), None);
        let grown = Some((100 * GIB, 200 * GIB));
        assert!(source(&on("5.5.0", 1), grown).unwrap().contains("2090639"));
        assert_eq!(source(&on("5.5.0", 1), Some((100 * GIB, 120 * GIB))), None);
        assert_eq!(source(&on("8.0.1", 1), grown), None);
        assert!(source(&Signs { reverted: true, ..on("8.0.1", 1) }, None).is_some());
        let under = Signs { enabled_under_snapshot: true, ..Signs::default() };
        assert!(source(&under, None).unwrap().contains("1020128"));
        assert_eq!(source(&Signs::default(), grown), None, "nothing is concluded from nothing");
    }

    #[test]
    fn the_sizes_of_kb_2090639() {
        for (before, now, crosses) in [
            (127, 128, true),
            (128, 255, false),
            (128, 256, true),
            (200, 300, true),
            (300, 500, false),
            (511, 513, true),
            (1, 2000, true),
            (300, 200, false),
        ] {
            assert_eq!(passes(before * GIB, now * GIB), crosses, "{before} to {now}");
        }
    }
}
