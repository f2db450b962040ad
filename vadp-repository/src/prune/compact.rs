//! Index objects that leave out packs, and many small ones as one. See docs/repository-format.md, "Index".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::PruneReport;
use super::apply::remove;
use super::lease::Lease;
use super::rewrite::store_index;
use crate::error::{Error, Result};
use crate::format::index::IndexObject;
use crate::format::pack::PackRecord;
use crate::ids::{IndexId, PackId};
use crate::repository::{Shared, index_name, load};

/// Entries of an index object that is left alone when it names nothing that goes.
const ENOUGH_ENTRIES: usize = 16 * 1024;
/// Small index objects that are left beside each other.
const SMALL_OBJECTS: usize = 8;
/// Entries of one object: some 31 MB.
pub(super) const MOST_ENTRIES: usize = 700_000;

/// Has the index forget packs, and merges small index objects.
pub(super) async fn run(
    shared: &Arc<Shared>,
    packs: &BTreeSet<PackId>,
    lease: &mut Lease,
    report: &mut PruneReport,
) -> Result<()> {
    let listed = load::list(shared).await?;
    let mut objects = Vec::new();
    for (id, object) in load::load(shared, listed.clone()).await? {
        // The prune has refused to begin with a damaged one; this one has been damaged since.
        objects.push((id, object.map_err(Error::damaged)?));
    }
    // What a prune that died has left of those that it had replaced says nothing any more.
    let mut superseded: BTreeSet<IndexId> =
        objects.iter().flat_map(|(_, object)| object.supersedes.iter().copied()).collect();
    objects.retain(|(id, _)| !superseded.contains(id));
    let entries = |object: &IndexObject| object.packs.iter().map(|pack| pack.entries.len()).sum::<usize>();
    let names_dead = |object: &IndexObject| object.packs.iter().any(|pack| packs.contains(&pack.pack));
    let small = objects.iter().filter(|(_, object)| entries(object) < ENOUGH_ENTRIES).count();
    if small <= SMALL_OBJECTS && !objects.iter().any(|(_, object)| names_dead(object)) {
        return forget(shared, &listed, &superseded, report).await;
    }
    let mut kept: BTreeMap<PackId, PackRecord> = BTreeMap::new();
    for (id, object) in objects {
        if names_dead(&object) || entries(&object) < ENOUGH_ENTRIES {
            superseded.insert(id);
            let staying = object.packs.into_iter().filter(|record| !packs.contains(&record.pack));
            staying.for_each(|record| _ = kept.entry(record.pack).or_insert(record));
        }
    }
    let (mut packs, mut entries) = (Vec::new(), 0);
    for record in kept.into_values() {
        if entries > 0 && entries + record.entries.len() > MOST_ENTRIES {
            lease.keep(shared).await?;
            // Only the last one supersedes: until it is there, all that these say is said by the old ones, too.
            store_index(shared, IndexObject { supersedes: Vec::new(), packs: std::mem::take(&mut packs) })
                .await?;
            entries = 0;
        }
        entries += record.entries.len();
        packs.push(record);
    }
    lease.keep(shared).await?;
    // With those that were superseded before and are still there: what superseded them may be among the replaced.
    let supersedes = superseded.iter().copied().filter(|id| listed.contains(id)).collect();
    store_index(shared, IndexObject { supersedes, packs }).await?;
    forget(shared, &listed, &superseded, report).await
}

async fn forget(
    shared: &Arc<Shared>,
    listed: &[IndexId],
    superseded: &BTreeSet<IndexId>,
    report: &mut PruneReport,
) -> Result<()> {
    for id in listed.iter().filter(|id| superseded.contains(id)) {
        if remove(shared, &index_name(*id)?, report).await? {
            report.index_objects_replaced += 1;
        }
    }
    match superseded.is_empty() {
        true => Ok(()),
        false => load::rebuild(shared).await,
    }
}
