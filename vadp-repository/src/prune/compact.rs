//! Index objects that leave out packs, and many small ones as one. See docs/repository-format.md, "Index".

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;

use super::PruneReport;
use super::apply::remove;
use super::rewrite::store_index;
use crate::error::{Error, Result};
use crate::format::index::IndexObject;
use crate::format::pack::PackRecord;
use crate::ids::{IndexId, PackId};
use crate::repository::lease::Lease;
use crate::repository::{Shared, index_name, load};

/// Entries of an index object that is left alone when it names nothing that goes.
const ENOUGH_ENTRIES: usize = 16 * 1024;
/// Small index objects that are left beside each other.
const SMALL_OBJECTS: usize = 8;
/// Entries of one object: some 31 MB.
pub(super) const MOST_ENTRIES: usize = 700_000;

/// Has the index forget packs, and merges small index objects.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    packs: &BTreeSet<PackId>,
    lease: &mut Lease,
    report: &mut PruneReport,
) -> Result<()> {
    let listed = load::list(shared).await?;
    let (mut superseded, mut damaged) = (BTreeSet::new(), Vec::new());
    // Of each object: whether it names what goes, and how much it names. An index may be larger than memory, so one is held at a time.
    let mut seen: Vec<(IndexId, bool, usize)> = Vec::new();
    let mut objects = load::ahead(shared, listed.clone());
    while let Some((id, object)) = objects.try_next().await? {
        match object {
            // What a prune or repair that died, or a store that keeps objects, has left of those that were replaced says nothing any more.
            Ok(object) => {
                superseded.extend(object.supersedes.iter().copied());
                let names_dead = object.packs.iter().any(|pack| packs.contains(&pack.pack));
                seen.push((id, names_dead, entries(&object.packs)));
            }
            // Nobody begins with a damaged one; this one has been damaged since.
            Err(why) => damaged.push((id, why)),
        }
    }
    drop(objects);
    if let Some((_, why)) = damaged.into_iter().find(|(id, _)| !superseded.contains(id)) {
        return Err(Error::damaged(why));
    }
    seen.retain(|(id, ..)| !superseded.contains(id));
    let small = seen.iter().filter(|(.., entries)| *entries < ENOUGH_ENTRIES).count();
    if small <= SMALL_OBJECTS && !seen.iter().any(|(_, names_dead, _)| *names_dead) {
        return forget(shared, &listed, &superseded, report).await;
    }
    let replaced =
        seen.into_iter().filter(|(_, names_dead, entries)| *names_dead || *entries < ENOUGH_ENTRIES);
    let replaced: Vec<IndexId> = replaced.map(|(id, ..)| id).collect();
    let most = MOST_ENTRIES.min(shared.rows_at_once);
    let (mut kept, mut kept_entries): (Vec<PackRecord>, usize) = (Vec::new(), 0);
    let mut known: HashSet<PackId> = HashSet::new();
    let mut objects = load::ahead(shared, replaced.clone());
    while let Some((_, object)) = objects.try_next().await? {
        let records = object.map_err(Error::damaged)?.packs.into_iter();
        for record in records.filter(|record| !packs.contains(&record.pack)) {
            if !known.insert(record.pack) {
                continue;
            }
            if !kept.is_empty() && kept_entries + record.entries.len() > most {
                kept_entries = 0;
                lease.keep(shared).await?;
                // Only the last one supersedes: until it is there, all that these say is said by the old ones, too.
                let packs = std::mem::take(&mut kept);
                store_index(shared, IndexObject { supersedes: Vec::new(), packs }).await?;
            }
            kept_entries += record.entries.len();
            kept.push(record);
        }
    }
    drop(objects);
    superseded.extend(replaced);
    lease.keep(shared).await?;
    // With those that were superseded before and are still there: what superseded them may be among the replaced.
    let supersedes = superseded.iter().copied().filter(|id| listed.contains(id)).collect();
    store_index(shared, IndexObject { supersedes, packs: kept }).await?;
    forget(shared, &listed, &superseded, report).await
}

fn entries(packs: &[PackRecord]) -> usize {
    packs.iter().map(|pack| pack.entries.len()).sum()
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
