//! Writing what is needed of mostly dead packs into new ones. See docs/repository-format.md, "Pruning".

use std::collections::HashMap;
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
use crate::index::{IndexedPack, Place};
use crate::repository::lease::Lease;
use crate::repository::{Shared, index_name, pack_name};
use crate::write::Packers;

/// Gives the packs of which everything needed is in new ones now. A damaged pack stays as it is.
pub(super) async fn run(
    shared: &Arc<Shared>,
    survey: &Survey,
    packs: Vec<PackId>,
    lease: &mut Lease,
    report: &mut PruneReport,
) -> Result<Vec<PackId>> {
    let mut done = Vec::new();
    for part in survey.needed().view().in_parts(packs, shared.rows_at_once)? {
        done.extend(rewrite(shared, survey, &part, lease, report).await?);
    }
    Ok(done)
}

/// Writes what is needed of some packs anew, and one index object for it.
async fn rewrite(
    shared: &Arc<Shared>,
    survey: &Survey,
    packs: &[PackId],
    lease: &mut Lease,
    report: &mut PruneReport,
) -> Result<Vec<PackId>> {
    let mut needed = needed_places(survey, packs)?;
    let packers = Packers::new(shared);
    let (mut done, mut records): (Vec<PackId>, Vec<PackRecord>) = (Vec::new(), Vec::new());
    for pack in packs {
        lease.keep(shared).await?;
        let mut chunks = Vec::new();
        let mut damage = None;
        for (content, place) in needed.remove(pack).unwrap_or_default() {
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
            records.extend(packers.append(shared, content, chunk).await?.1);
        }
        done.push(*pack);
    }
    records.extend(packers.flush(shared).await?);
    if !records.is_empty() {
        report.bytes_written += records.iter().map(|record| record.size).sum::<u64>();
        store_index(shared, IndexObject { supersedes: Vec::new(), packs: records }).await?;
    }
    Ok(done)
}

/// Creates an index object, and adds it to the index of this process.
pub(crate) async fn store_index(shared: &Arc<Shared>, object: IndexObject) -> Result<IndexId> {
    let id = IndexId::from_bytes(random()?);
    let sealed = shared.compute(move |shared| {
        let header = shared.new_header(ObjectKind::Index)?;
        let sealed = object.seal(id, &header, &shared.keyring())?;
        Ok((object, sealed))
    });
    let (object, sealed) = sealed.await?;
    shared.store.create(&index_name(id)?, sealed.into()).await?;
    shared.index_mut().add(id, &object)?;
    Ok(id)
}

/// What is needed of some packs, in the order in which it lies there: so a restore goes on to read in order.
fn needed_places(survey: &Survey, packs: &[PackId]) -> Result<HashMap<PackId, Vec<(Content, Place)>>> {
    let needed = survey.needed();
    let mut lists = needed.view().lists(packs, |row| needed.is_marked(row))?;
    let mut places = HashMap::new();
    for IndexedPack { pack, header, content, .. } in needed.view().packs() {
        if let Some(list) = lists.remove(pack) {
            let place = |entry| (*content, Place { pack: *pack, header: *header, entry });
            places.insert(*pack, list.into_iter().map(place).collect());
        }
    }
    Ok(places)
}

/// A chunk as it is encoded, after its bytes have been verified: rot must not be handed on under a new seal.
pub(crate) async fn read(shared: &Arc<Shared>, content: Content, place: Place) -> Result<Encoded> {
    let range = u64::from(place.entry.offset)..place.entry.end();
    let sealed = shared.store.get_range(&pack_name(place.pack)?, range).await?;
    let work = move |shared: &Shared| {
        let Place { pack, header, entry } = place;
        let encoded = pack::open_chunk(pack, &header, &shared.keyring(), &entry, &sealed, &shared.buffers)?;
        let plain = codec::decode(entry.encoding, encoded.clone(), entry.plain as usize, &shared.buffers)?;
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
