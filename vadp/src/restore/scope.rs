//! What has to be written: what changed since the restore point, where that can be proved.

use std::collections::BTreeMap;

use vim_api::mo::{Managed, VirtualMachineSnapshot};

use super::{DiskPlan, RestorePlan};
use crate::backup::decide;
use crate::cbt::{self, Answer, Decision, Reason};
use crate::error::Error;
use crate::machine;
use crate::pipeline::Scope;
use crate::progress::Report;
use crate::snapshot::{QuiescePolicy, SnapshotGuard};

/// How each disk is restored, by device key. The machine is off, and stays off.
pub(super) type Scopes = BTreeMap<i32, (Decision, Scope)>;

/// Asks for the changes since the restore point, up to a snapshot that is taken for it and removed again.
pub(super) async fn scopes(
    plan: &RestorePlan<'_>,
    tracked: bool,
    report: &Report<'_>,
) -> Result<Scopes, Error> {
    let whole = |disk: &DiskPlan, reason| (disk.current.key, (Decision::Full(reason), Scope::Allocated));
    if !plan.restore.differential {
        return Ok(plan.disks.iter().map(|disk| whole(disk, Reason::Requested)).collect());
    }
    if !tracked || plan.disks.iter().all(|disk| disk.wanted.change_id.is_none()) {
        return Ok(plan.disks.iter().map(|disk| whole(disk, Reason::NotTracked)).collect());
    }
    let (vm, journal) = (plan.restore.vm, plan.restore.journal);
    let guard = SnapshotGuard::take(vm, journal, &QuiescePolicy::default(), report).await?;
    let asked = ask(plan, guard.snapshot()).await;
    let released = guard.release(report).await;
    let scopes = asked?;
    released?;
    Ok(scopes)
}

async fn ask(plan: &RestorePlan<'_>, snapshot: &VirtualMachineSnapshot) -> Result<Scopes, Error> {
    let vm = plan.restore.vm;
    let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await;
    let config = config.map_err(|e| Error::api(format!("reading a snapshot of {}", vm.name()), e))?;
    let now = machine::disks(&config);
    let signs = cbt::signs_since(vm, Some(plan.restore.point)).await?;
    let mut scopes = Scopes::new();
    for DiskPlan { reader, wanted, current } in &plan.disks {
        let Some(disk) = now.iter().find(|disk| disk.key == current.key) else { continue };
        let parent = (std::sync::Arc::clone(reader), wanted.clone());
        let mut decision = decide(false, disk, Some(&parent), &signs);
        let mut scope = Scope::Allocated;
        if let Decision::Incremental(since) = &decision {
            match cbt::query(vm.vm(), snapshot, disk.key, disk.capacity, since).await? {
                Answer::Map(map) => scope = Scope::Changed(map.changed().clone()),
                Answer::Refused(fault) => decision = Decision::Full(Reason::Refused { fault }),
            }
        }
        scopes.insert(disk.key, (decision, scope));
    }
    Ok(scopes)
}
