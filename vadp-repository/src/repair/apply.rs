//! The steps of a repair, each of which leaves no less than there was. See docs/repository-format.md, "Repair".

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{RepairPlan, RepairReport, Salvage};
use crate::error::{ErrorKind, Result};
use crate::format::index::IndexObject;
use crate::format::pack::PackRecord;
use crate::ids::PackId;
use crate::prune::{PruneReport, compact, rebuild_index, remove, rewrite, store_index};
use crate::repository::lease::{self, Lease};
use crate::repository::{PACKS, Shared, pack_of, point_name, tombstone_name};
use crate::write::Packers;

pub(super) async fn run(plan: RepairPlan) -> Result<RepairReport> {
    let shared = Arc::clone(&plan.repository.shared);
    shared.require_writable()?;
    let mut lease = Lease::take(&shared, lease::VALID).await?;
    let done = steps(&shared, plan, &mut lease).await;
    lease.give_back(&shared).await;
    done
}

async fn steps(shared: &Arc<Shared>, plan: RepairPlan, lease: &mut Lease) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    let mut removed = PruneReport::default();
    // What was lost from the index is named again first, so that what follows can build on it.
    if !plan.index_objects.is_empty() || plan.found > 0 {
        let rebuilt = rebuild_index(shared, lease, &plan.bad).await?;
        (report.packs_found, report.index_objects_replaced) = (rebuilt.packs_found, rebuilt.objects_replaced);
        removed.refused = rebuilt.refused;
    }
    lease.keep(shared).await?;
    let records = salvage(shared, plan.salvage, lease, &mut report).await?;
    if !records.is_empty() {
        report.bytes_written = records.iter().map(|record| record.size).sum();
        store_index(shared, IndexObject { supersedes: Vec::new(), packs: records }).await?;
    }
    // Marked after what is good of them is at hand elsewhere, so that backups find a pack without a mark for all of it.
    let present: BTreeSet<PackId> = present(shared).await?;
    for pack in plan.forget.iter().filter(|pack| present.contains(pack)) {
        match shared.store.create(&tombstone_name(*pack)?, Bytes::new()).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    if !plan.forget.is_empty() {
        lease.keep(shared).await?;
        compact::run(shared, &plan.forget.iter().copied().collect(), lease, &mut removed).await?;
        report.packs_dropped = plan.forget.len() as u64;
    }
    if plan.removes_points {
        for id in plan.unreadable_points {
            if remove(shared, &point_name(id)?, &mut removed).await? {
                report.points_removed += 1;
            }
        }
    }
    report.refused = removed.refused;
    Ok(report)
}

/// Writes the good chunks of damaged packs into new ones.
async fn salvage(
    shared: &Arc<Shared>,
    places: Salvage,
    lease: &mut Lease,
    report: &mut RepairReport,
) -> Result<Vec<PackRecord>> {
    let packers = Packers::new(shared);
    let mut records = Vec::new();
    for (_, places) in places {
        lease.keep(shared).await?;
        for (content, place) in places {
            match rewrite::read(shared, content, place).await {
                Ok(chunk) => {
                    records.extend(packers.append(shared, content, chunk).await?.1);
                    report.salvaged += 1;
                }
                Err(error) if error.is_damage() || error.is_not_found() => report.lost_since += 1,
                Err(error) => return Err(error),
            }
        }
    }
    records.extend(packers.flush(shared).await?);
    Ok(records)
}

async fn present(shared: &Shared) -> Result<BTreeSet<PackId>> {
    let objects = shared.store.list(PACKS).await?;
    Ok(objects.iter().filter_map(|object| pack_of(&object.name)).collect())
}
