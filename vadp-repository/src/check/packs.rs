//! Whether packs are there, and whether every byte of those that are read is good.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::inspect::damage_of;
use super::{CheckDepth, CheckReport};
use crate::error::Result;
use crate::format::pack::{MAX_BYTES, PackEntry, parse_pack};
use crate::ids::{ChunkId, PackId};
use crate::index::{IndexedPack, Place};
use crate::repository::{PACKS, Shared, load, pack_name, pack_of};

/// What is wrong with packs.
#[derive(Default)]
pub(crate) struct PackState {
    /// Missing or of another size: nothing in them counts on.
    pub(crate) bad_packs: BTreeMap<PackId, String>,
    /// Chunks whose bytes are bad.
    pub(crate) bad_chunks: BTreeMap<(PackId, ChunkId), String>,
    /// Packs whose header, trailer or size is bad. What of their chunks is not bad can be read; the index could not be rebuilt from them.
    pub(crate) bad_frames: BTreeMap<PackId, String>,
}

impl PackState {
    pub(crate) fn is_good(&self, place: &Place) -> bool {
        !self.bad_packs.contains_key(&place.pack)
            && !self.bad_chunks.contains_key(&(place.pack, place.entry.id))
    }
}

pub(super) async fn inspect(
    shared: &Arc<Shared>,
    depth: CheckDepth,
    report: &mut CheckReport,
) -> Result<PackState> {
    let mut state = PackState::default();
    let mut indexed: Vec<IndexedPack> = shared.index().packs().to_vec();
    let known: HashSet<PackId> = indexed.iter().map(|pack| pack.pack).collect();
    let mut present = HashMap::new();
    for object in shared.store.list(PACKS).await? {
        match pack_of(&object.name) {
            Some(pack) if known.contains(&pack) => _ = present.insert(pack, object.size),
            Some(pack) => report.leftovers.packs.push(pack),
            None => report.leftovers.foreign.push(object.name),
        }
    }
    if indexed.iter().any(|pack| !present.contains_key(&pack.pack)) {
        // A prune may have deleted packs since the index was loaded; then the index does not name them any more.
        load::rebuild(shared).await?;
        let index = shared.index();
        let named: HashSet<PackId> = index.packs().iter().map(|pack| pack.pack).collect();
        indexed.retain(|pack| present.contains_key(&pack.pack) || named.contains(&pack.pack));
    }
    for pack in &indexed {
        match present.get(&pack.pack) {
            Some(size) if *size == pack.size => {}
            Some(size) => {
                let problem = format!("the pack has {size} bytes instead of {}", pack.size);
                // Who reads it can tell which of its chunks are good.
                let place = if depth.reads(pack.pack) { &mut state.bad_frames } else { &mut state.bad_packs };
                place.insert(pack.pack, problem);
            }
            None => _ = state.bad_packs.insert(pack.pack, "the pack is missing".to_owned()),
        }
    }
    if depth != CheckDepth::Quick {
        let is_read =
            |pack: &IndexedPack| depth.reads(pack.pack) && !state.bad_packs.contains_key(&pack.pack);
        let indexed: BTreeMap<PackId, IndexedPack> =
            indexed.into_iter().filter(is_read).map(|pack| (pack.pack, pack)).collect();
        let view = shared.index().view();
        for part in view.in_parts(indexed.keys().copied().collect(), shared.rows_at_once)? {
            for (id, entries) in view.lists(&part, |_| true)? {
                let Some(pack) = indexed.get(&id) else { continue };
                let size = present.get(&id).copied().unwrap_or(pack.size);
                read_pack(shared, (*pack, size), entries, &mut state, report).await?;
            }
        }
    }
    Ok(state)
}

/// Reads a pack and verifies its frame and every chunk that the index says is in it.
async fn read_pack(
    shared: &Arc<Shared>,
    (pack, size): (IndexedPack, u64),
    entries: Vec<PackEntry>,
    state: &mut PackState,
    report: &mut CheckReport,
) -> Result<()> {
    let object = match shared.store.get(&pack_name(pack.pack)?, size.min(MAX_BYTES)).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => {
            load::rebuild(shared).await?;
            if shared.index().packs().iter().any(|named| named.pack == pack.pack) {
                state.bad_packs.insert(pack.pack, "the pack is missing".to_owned());
            }
            return Ok(());
        }
        Err(error) => {
            state.bad_packs.insert(pack.pack, damage_of(error)?);
            return Ok(());
        }
    };
    report.verified_bytes += object.len() as u64;
    if !state.bad_frames.contains_key(&pack.pack)
        && let Err(error) = check_frame(shared, pack, &entries, object.clone()).await
    {
        state.bad_frames.insert(pack.pack, damage_of(error)?);
    }
    let checks = entries.into_iter().map(|entry| {
        let object = object.clone();
        async move { (entry.id, check_chunk(shared, pack, entry, object).await) }
    });
    let mut checks = futures::stream::iter(checks).buffer_unordered(shared.limits.workers);
    while let Some((id, result)) = checks.next().await {
        if let Err(error) = result {
            state.bad_chunks.insert((pack.pack, id), damage_of(error)?);
        }
    }
    Ok(())
}

async fn check_frame(
    shared: &Arc<Shared>,
    pack: IndexedPack,
    entries: &[PackEntry],
    object: Bytes,
) -> Result<()> {
    let record = shared
        .compute(move |shared| parse_pack(pack.pack, shared.config.repository, &shared.keyring(), &object));
    let record = record.await?;
    let listed: HashSet<(ChunkId, u32)> =
        record.entries.iter().map(|entry| (entry.id, entry.offset)).collect();
    let agrees = record.header == pack.header
        && record.size == pack.size
        && entries.iter().all(|entry| listed.contains(&(entry.id, entry.offset)));
    match agrees {
        true => Ok(()),
        false => Err(crate::Error::damaged("the pack's own list and the index differ").at_pack(pack.pack)),
    }
}

async fn check_chunk(shared: &Arc<Shared>, pack: IndexedPack, entry: PackEntry, object: Bytes) -> Result<()> {
    shared
        .compute(move |shared| {
            let sealed = object.get(entry.offset as usize..entry.end() as usize).unwrap_or_default();
            let place = Place { pack: pack.pack, header: pack.header, entry };
            shared.verify(pack.content, &place, sealed).map(drop)
        })
        .await
}
