//! Which packs a writer may build on, see docs/repository-format.md, "Write order" step 3 and "Pruning".

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::PackId;
use crate::repository::{PACKS, Shared, TOMBSTONES, id_of, pack_of};

/// Packs that the index names but that cannot be relied on: missing, of another size, or about to be pruned.
/// Their chunks are stored again, and cannot be inherited.
pub(super) async fn unusable_packs(shared: &Shared) -> Result<HashSet<PackId>> {
    let present = present_packs(shared).await?;
    let mut unusable = tombstoned_packs(shared).await?;
    let index = shared.index();
    let lost = index.packs().iter().filter(|pack| present.get(&pack.pack) != Some(&pack.size));
    unusable.extend(lost.map(|pack| pack.pack));
    Ok(unusable)
}

/// Fails when one of the packs that a point builds on is no longer to be relied on.
pub(super) async fn verify_reused(shared: &Shared, reused: &HashSet<PackId>) -> Result<()> {
    if reused.is_empty() {
        return Ok(());
    }
    let unusable = unusable_packs(shared).await?;
    match reused.iter().find(|pack| unusable.contains(pack)) {
        None => Ok(()),
        Some(pack) => Err(Error::new(
            ErrorKind::Conflict,
            "a pack that this backup reuses was pruned, lost or cut meanwhile: run the backup again",
        )
        .at_pack(*pack)),
    }
}

async fn present_packs(shared: &Shared) -> Result<HashMap<PackId, u64>> {
    let objects = shared.store.list(PACKS).await?;
    Ok(objects.iter().filter_map(|object| Some((pack_of(&object.name)?, object.size))).collect())
}

async fn tombstoned_packs(shared: &Shared) -> Result<HashSet<PackId>> {
    let objects = shared.store.list(TOMBSTONES).await?;
    Ok(objects.iter().filter_map(|object| PackId::parse(id_of(TOMBSTONES, &object.name)?).ok()).collect())
}
