//! What is damaged, and what of it is to be had elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::{PackRepair, RepairPlan, Salvage};
use crate::check::{CheckDepth, Examined, examine};
use crate::crypto::Content;
use crate::error::Result;
use crate::format::pack::PackRecord;
use crate::ids::{ChunkId, PackId, PointId};
use crate::prune::read_unnamed;
use crate::read::open_point;
use crate::repository::{PACKS, Repository, Shared};

pub(super) async fn plan(repository: &Repository) -> Result<RepairPlan> {
    // With an index of its own, which may know of packs that no stored index object names: no backup may build on those.
    let mut shared = repository.shared.detached(Vec::new())?;
    let mut examined = examine(&shared, CheckDepth::Deep).await?;
    shared.require_all()?;
    let index_objects = shared.index().damaged().clone();
    let named: HashSet<PackId> = shared.index().packs().iter().map(|pack| pack.pack).collect();
    let mut found = Vec::new();
    if !index_objects.is_empty() || examined.has_losses() {
        found = unnamed(&shared).await?;
        if !found.is_empty() {
            shared = repository.shared.detached(found.clone())?;
            examined = examine(&shared, CheckDepth::Deep).await?;
        }
    }
    let (packs, salvage) = judge(&shared, &examined)?;
    // What is neither named nor of use may stay as it is, and is no damage if nothing is lost with it.
    let of_use = |pack: &PackId| named.contains(pack) || salvage.contains_key(pack);
    let bad: BTreeSet<PackId> = packs.iter().map(|repair| repair.pack).collect();
    found.retain(|record| !bad.contains(&record.pack));
    let packs: Vec<PackRepair> = packs.into_iter().filter(|repair| of_use(&repair.pack)).collect();
    let is_idle = |pack: &PackId| bad.contains(pack) && !of_use(pack);
    let damage = &mut examined.report.damage;
    damage.retain(|damage| !damage.lost.is_empty() || !damage.pack.as_ref().is_some_and(is_idle));
    let forget = packs.iter().map(|repair| repair.pack).collect();
    let mut unreadable_points = Vec::new();
    for id in examined.unreadable_points {
        if is_damaged(&shared, id).await? {
            unreadable_points.push(id);
        }
    }
    Ok(RepairPlan {
        repository: repository.clone(),
        report: examined.report,
        index_objects,
        found: found.len() as u64,
        bad,
        packs,
        salvage,
        forget,
        unreadable_points,
        removes_points: false,
    })
}

/// Packs that no index object names, as far as their own lists can be read.
async fn unnamed(shared: &Arc<Shared>) -> Result<Vec<PackRecord>> {
    let packs = shared.store.list(PACKS).await?;
    let none = BTreeSet::new();
    let mut read = read_unnamed(shared, packs, &none);
    let mut records = Vec::new();
    while let Some((pack, record)) = read.next().await {
        match record {
            Ok(record) => records.push(record),
            Err(error) if error.is_not_found() => {}
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => tracing::warn!(%pack, %error, "a pack that no index object names cannot be read"),
        }
    }
    Ok(records)
}

/// The damaged packs, and where in them is what only they have.
fn judge(shared: &Shared, examined: &Examined) -> Result<(Vec<PackRepair>, Salvage)> {
    let mut problems: BTreeMap<PackId, &String> = BTreeMap::new();
    let state = &examined.packs;
    for (pack, problem) in state.bad_packs.iter().chain(&state.bad_frames) {
        problems.entry(*pack).or_insert(problem);
    }
    for ((pack, _), problem) in &state.bad_chunks {
        problems.entry(*pack).or_insert(problem);
    }
    let index = shared.index();
    let is_elsewhere = |content, id: &ChunkId| -> Result<bool> {
        let places = index.places(content, id)?;
        Ok(places.iter().any(|place| !problems.contains_key(&place.pack) && state.is_good(place)))
    };
    let mut salvage = Salvage::new();
    let mut saved: HashSet<(Content, ChunkId)> = HashSet::new();
    let mut bad = Vec::new();
    for listed in index.rows()? {
        let listed = listed?;
        let (pack, place) = (listed.pack, listed.place());
        if !problems.contains_key(&pack.pack) {
            continue;
        }
        match state.is_good(&place) {
            false => bad.push((pack.content, place)),
            true if is_elsewhere(pack.content, &place.entry.id)? => {}
            true if saved.insert((pack.content, place.entry.id)) => {
                salvage.entry(pack.pack).or_default().push((pack.content, place));
            }
            true => {}
        }
    }
    let mut lost: BTreeMap<PackId, u64> = BTreeMap::new();
    for (content, place) in bad {
        let id = place.entry.id;
        if !saved.contains(&(content, id)) && !is_elsewhere(content, &id)? {
            *lost.entry(place.pack).or_default() += 1;
        }
    }
    salvage.values_mut().for_each(|places| places.sort_unstable_by_key(|(_, place)| place.entry.offset));
    let packs = problems.into_iter().map(|(pack, problem)| PackRepair {
        pack,
        problem: problem.clone(),
        salvaged: salvage.get(&pack).map_or(0, |places| places.len() as u64),
        lost: lost.get(&pack).copied().unwrap_or(0),
    });
    Ok((packs.collect(), salvage))
}

/// Whether a point is damaged, and not only beyond this program or keyring.
async fn is_damaged(shared: &Arc<Shared>, id: PointId) -> Result<bool> {
    match open_point(shared, id).await {
        Err(error) if error.is_of_store() => Err(error),
        Err(error) => Ok(error.is_damage()),
        Ok(_) => Ok(false),
    }
}
