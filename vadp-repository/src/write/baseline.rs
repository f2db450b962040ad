//! Which packs a writer may build on, see docs/repository-format.md, "Write order" step 3 and "Pruning".

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::format::page::MapPage;
use crate::format::point::PointBody;
use crate::ids::{ChunkId, PackId};
use crate::repository::{PACKS, Shared, TOMBSTONES, id_of, load, pack_of};

/// Packs that the index names but that cannot be relied on: missing, of another size, or about to be pruned.
/// Their chunks are stored again, and cannot be inherited.
pub(super) async fn unusable_packs(shared: &Shared) -> Result<HashSet<PackId>> {
    // A pruner deletes a pack before its tombstone: so looking for tombstones first misses no pack that has gone.
    let mut unusable = tombstoned_packs(shared).await?;
    let present = present_packs(shared).await?;
    let index = shared.index();
    let lost = index.packs().iter().filter(|pack| present.get(&pack.pack) != Some(&pack.size));
    unusable.extend(lost.map(|pack| pack.pack));
    Ok(unusable)
}

/// Fails when something that a point needs is no longer in a pack that can be relied on. `packs` are those that the point was built on,
/// its own included; when one of them has gone, what it needs may still be in others.
pub(super) async fn verify(shared: &Arc<Shared>, packs: &HashSet<PackId>, body: &PointBody) -> Result<()> {
    if unusable_packs(shared).await?.is_disjoint(packs) {
        return Ok(());
    }
    // A prune writes what is needed of a pack elsewhere before it marks it.
    load::rebuild(shared).await?;
    let unusable = unusable_packs(shared).await?;
    let require = |content, id| {
        let index = shared.index();
        let places = index.places(content, &id)?;
        if places.iter().any(|place| !unusable.contains(&place.pack)) {
            return Ok(());
        }
        let message =
            "something that this backup builds on was pruned, lost or cut meanwhile: run the backup again";
        let error = Error::new(ErrorKind::Conflict, message).at_chunk(id);
        Err(match places.first() {
            Some(place) => error.at_pack(place.pack),
            None => error,
        })
    };
    let pages: HashSet<ChunkId> = body.disks.iter().flat_map(|disk| disk.pages.iter().copied()).collect();
    for page in pages.into_iter().filter(|page| !page.is_zero()) {
        require(Content::Page, page)?;
        let bytes = shared.fetch(Content::Page, page).await?;
        let chunks = MapPage::parse(&bytes)?;
        chunks.ids().iter().filter(|id| !id.is_zero()).try_for_each(|id| require(Content::Data, *id))?;
    }
    Ok(())
}

async fn present_packs(shared: &Shared) -> Result<HashMap<PackId, u64>> {
    let objects = shared.store.list(PACKS).await?;
    Ok(objects.iter().filter_map(|object| Some((pack_of(&object.name)?, object.size))).collect())
}

async fn tombstoned_packs(shared: &Shared) -> Result<HashSet<PackId>> {
    let objects = shared.store.list(TOMBSTONES).await?;
    Ok(objects.iter().filter_map(|object| PackId::parse(id_of(TOMBSTONES, &object.name)?).ok()).collect())
}
