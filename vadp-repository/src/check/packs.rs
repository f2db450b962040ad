//! Whether packs are there, and whether every byte of those that are read is good.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::inspect::damage_of;
use super::{CheckDepth, CheckReport};
use crate::error::Result;
use crate::format::pack::{PackEntry, parse_pack};
use crate::ids::{ChunkId, PackId};
use crate::index::{IndexedPack, Place};
use crate::repository::{PACKS, Shared, load, pack_name, pack_of};

/// What is wrong with packs.
#[derive(Default)]
pub(super) struct PackState {
    /// Missing or of another size: nothing in them counts on.
    pub(super) bad_packs: BTreeMap<PackId, String>,
    /// Chunks whose bytes are bad.
    pub(super) bad_chunks: BTreeMap<(PackId, ChunkId), String>,
    /// Packs whose header or trailer is bad. Their chunks can be read; the index could not be rebuilt from them.
    pub(super) bad_frames: BTreeMap<PackId, String>,
}

impl PackState {
    pub(super) fn is_good(&self, place: &Place) -> bool {
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
        let problem = match present.get(&pack.pack) {
            Some(size) if *size == pack.size => continue,
            Some(size) => format!("the pack has {size} bytes instead of {}", pack.size),
            None => "the pack is missing".to_owned(),
        };
        state.bad_packs.insert(pack.pack, problem);
    }
    if depth != CheckDepth::Quick {
        let mut entries: HashMap<PackId, Vec<PackEntry>> = HashMap::new();
        for entry in shared.index().entries()? {
            let (pack, entry) = entry?;
            if !depth.reads(pack.pack) {
                continue;
            }
            entries.entry(pack.pack).or_default().push(entry);
        }
        for pack in indexed {
            if depth.reads(pack.pack) && !state.bad_packs.contains_key(&pack.pack) {
                let entries = entries.remove(&pack.pack).unwrap_or_default();
                read_pack(shared, pack, entries, &mut state, report).await?;
            }
        }
    }
    Ok(state)
}

/// Reads a pack and verifies its frame and every chunk that the index says is in it.
async fn read_pack(
    shared: &Arc<Shared>,
    pack: IndexedPack,
    entries: Vec<PackEntry>,
    state: &mut PackState,
    report: &mut CheckReport,
) -> Result<()> {
    let object = match shared.store.get(&pack_name(pack.pack)?, pack.size).await {
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
    let frame = check_frame(shared, pack, &entries, object.clone()).await;
    if let Err(error) = frame {
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
        .compute(move |shared| parse_pack(pack.pack, shared.config.repository, &shared.keyring, &object));
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
            let end = object.len().min(entry.end() as usize);
            let sealed = object.slice(end.min(entry.offset as usize)..end);
            let place = Place { pack: pack.pack, header: pack.header, entry };
            shared.verify(pack.content, &place, sealed).map(drop)
        })
        .await
}
