//! Writing what is needed of mostly dead packs into new ones. See docs/repository-format.md, "Pruning".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::PruneReport;
use super::survey::Survey;
use crate::codec;
use crate::crypto::{Content, random};
use crate::error::{Error, Result};
use crate::format::header::ObjectKind;
use crate::format::index::IndexObject;
use crate::format::pack::{self, Encoded, PackRecord};
use crate::ids::{IndexId, PackId};
use crate::index::Place;
use crate::repository::{Shared, index_name, pack_name};
use crate::write::Packer;

/// Gives the packs of which everything needed is in new ones now. A damaged pack stays as it is.
pub(super) async fn run(
    shared: &Arc<Shared>,
    survey: &Survey,
    packs: &[PackId],
    report: &mut PruneReport,
) -> Result<Vec<PackId>> {
    let mut places = needed_places(shared, survey, packs)?;
    let pack_bytes = shared.limits.pack_bytes as usize;
    let data = Packer::new(ObjectKind::DataPack, pack_bytes);
    let pages = Packer::new(ObjectKind::PagePack, crate::write::PAGE_PACK_BYTES.min(pack_bytes));
    let (mut done, mut records): (Vec<PackId>, Vec<PackRecord>) = (Vec::new(), Vec::new());
    for pack in packs {
        let mut chunks = Vec::new();
        let mut damage = None;
        for (content, place) in places.remove(pack).unwrap_or_default() {
            match read(shared, content, place).await {
                Ok(chunk) => chunks.push((content, chunk)),
                Err(error) if error.is_damage() || error.is_not_found() => {
                    damage = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(why) = damage {
            report.damaged.push((*pack, why));
            continue;
        }
        for (content, chunk) in chunks {
            let packer = match content {
                Content::Data => &data,
                Content::Page => &pages,
            };
            records.extend(Packer::append(packer, shared, chunk).await?.1);
        }
        done.push(*pack);
    }
    for packer in [&data, &pages] {
        records.extend(Packer::flush(packer, shared).await?);
    }
    if !records.is_empty() {
        report.bytes_written = records.iter().map(|record| record.size).sum();
        store_index(shared, IndexObject { supersedes: Vec::new(), packs: records }).await?;
    }
    Ok(done)
}

/// Creates an index object, and adds it to the index of this process.
pub(super) async fn store_index(shared: &Arc<Shared>, object: IndexObject) -> Result<IndexId> {
    let id = IndexId::from_bytes(random()?);
    let sealed = shared.compute(move |shared| {
        let header = shared.new_header(ObjectKind::Index)?;
        let sealed = object.seal(id, &header, &shared.keyring)?;
        Ok((object, sealed))
    });
    let (object, sealed) = sealed.await?;
    shared.store.create(&index_name(id)?, sealed.into()).await?;
    shared.index_mut().add(id, &object)?;
    Ok(id)
}

fn needed_places(
    shared: &Shared,
    survey: &Survey,
    packs: &[PackId],
) -> Result<BTreeMap<PackId, Vec<(Content, Place)>>> {
    let wanted: BTreeSet<PackId> = packs.iter().copied().collect();
    let mut places: BTreeMap<PackId, Vec<(Content, Place)>> = BTreeMap::new();
    for entry in shared.index().entries()? {
        let (pack, entry) = entry?;
        if wanted.contains(&pack.pack) && survey.needs((pack.content, entry.id), pack.pack) {
            let place = Place { pack: pack.pack, header: pack.header, entry };
            places.entry(pack.pack).or_default().push((pack.content, place));
        }
    }
    // As they lie in the pack, so that a restore goes on to read in order.
    places.values_mut().for_each(|places| places.sort_unstable_by_key(|(_, place)| place.entry.offset));
    Ok(places)
}

/// A chunk as it is encoded, after its bytes have been verified: rot must not be handed on under a new seal.
async fn read(shared: &Arc<Shared>, content: Content, place: Place) -> Result<Encoded> {
    let range = u64::from(place.entry.offset)..place.entry.end();
    let sealed = shared.store.get_range(&pack_name(place.pack)?, range).await?;
    let work = move |shared: &Shared| {
        let Place { pack, header, entry } = place;
        let encoded = pack::open_chunk(pack, &header, &shared.keyring, &entry, sealed)?;
        let plain = codec::decode(entry.encoding, encoded.clone(), entry.plain as usize)?;
        match shared.digests.id(content, &plain) == entry.id {
            true => {
                Ok(Encoded { id: entry.id, plain: entry.plain, encoding: entry.encoding, bytes: encoded })
            }
            false => Err(Error::damaged("the bytes of a chunk do not have its digest")
                .at_pack(pack)
                .at_chunk(entry.id)),
        }
    };
    shared.compute(work).await
}
