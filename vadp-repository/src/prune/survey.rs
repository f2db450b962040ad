//! What the points need, and in which packs it is. See docs/repository-format.md, "Pruning".

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};

use super::{PackAction, PackPlan};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ChunkId, PackId, PointId};
use crate::read::{RestorePoint, open_point, point_ids};
use crate::repository::{PACKS, Shared, TOMBSTONES, id_of, load, pack_of};

/// Pages that are read at a time.
const READ_AHEAD: usize = 8;

/// A chunk or page.
pub(super) type Item = (Content, ChunkId);

/// What is in the store, and which of it the points need that have been marked so far.
#[derive(Default)]
pub(super) struct Survey {
    marked: HashSet<PointId>,
    needed: HashSet<Item>,
    /// Packs in the store.
    present: BTreeMap<PackId, Stored>,
    /// When packs were given their tombstones.
    pub(super) tombstones: BTreeMap<PackId, SystemTime>,
    /// Bytes of the items that each pack holds, and of those of them that are needed.
    held: HashMap<PackId, u64>,
    live: HashMap<PackId, u64>,
    /// Where chunks count as needed that are in several packs.
    chosen: HashMap<Item, PackId>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    size: u64,
    modified: SystemTime,
}

impl Survey {
    /// Looks at the store, and marks what all points need but those in `without`. May be called again: then the points that were
    /// marked before still count.
    pub(super) async fn look(&mut self, shared: &Arc<Shared>, without: &BTreeSet<PointId>) -> Result<()> {
        // Points before the index before packs: so whatever a listed point needs is seen, however many backups end meanwhile.
        let points = point_ids(shared).await?;
        load::refresh(shared).await?;
        self.refuse_damaged_index(shared)?;
        let packs = shared.store.list(PACKS).await?;
        let packs = packs.into_iter().filter_map(|object| Some((pack_of(&object.name)?, object)));
        self.present = packs
            .map(|(pack, object)| (pack, Stored { size: object.size, modified: object.modified }))
            .collect();
        let tombstones = shared.store.list(TOMBSTONES).await?.into_iter();
        self.tombstones = tombstones
            .filter_map(|object| {
                Some((PackId::parse(id_of(TOMBSTONES, &object.name)?).ok()?, object.modified))
            })
            .collect();
        for id in points {
            if !without.contains(&id) && !self.marked.contains(&id) {
                self.mark(shared, id).await.map_err(|error| {
                    let message = format!(
                        "restore point {id} is not whole, so it cannot be said what it needs, and nothing is pruned: \
                         run a check, and remove the point if it is lost"
                    );
                    Error::new(error.kind(), message).with_source(error)
                })?;
            }
        }
        self.choose(shared)
    }

    fn refuse_damaged_index(&self, shared: &Shared) -> Result<()> {
        match shared.index().damaged().len() {
            0 => Ok(()),
            count => Err(Error::damaged(format!(
                "{count} index objects are damaged, so packs that they name would look unneeded, and nothing is pruned: \
                 run a check"
            ))),
        }
    }

    async fn mark(&mut self, shared: &Arc<Shared>, id: PointId) -> Result<()> {
        let point: RestorePoint = match open_point(shared, id).await {
            Ok(point) => point,
            // Somebody else has removed it.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        for disk in point.disks() {
            let reader = point.disk(&disk.key)?;
            let map = reader.map();
            let pages = (0..map.geometry().pages()).map(|number| (number, map.page_id(number)));
            let unseen: HashMap<ChunkId, u32> = pages
                .filter(|(_, id)| !id.is_zero() && !self.needed.contains(&(Content::Page, *id)))
                .map(|(number, id)| (id, number))
                .collect();
            let read = futures::stream::iter(unseen)
                .map(|(id, number)| async move { Ok::<_, Error>((id, map.page(number).await?)) });
            let mut read = read.buffer_unordered(READ_AHEAD);
            while let Some((id, page)) = read.try_next().await? {
                let chunks =
                    page.iter().flat_map(|page| page.ids().iter().copied()).filter(|id| !id.is_zero());
                self.needed.extend(chunks.map(|id| (Content::Data, id)));
                self.needed.insert((Content::Page, id));
            }
        }
        self.marked.insert(id);
        Ok(())
    }

    /// Chooses for every needed item one pack that counts as holding it, and adds up what each pack holds.
    fn choose(&mut self, shared: &Shared) -> Result<()> {
        let index = shared.index();
        let sizes: HashMap<PackId, u64> = index.packs().iter().map(|pack| (pack.pack, pack.size)).collect();
        let is_whole =
            |pack: &PackId| self.present.get(pack).map(|stored| stored.size) == sizes.get(pack).copied();
        let mut live: HashMap<PackId, u64> = HashMap::new();
        let mut several = Vec::new();
        for (content, id) in &self.needed {
            let mut places = index.places(*content, id)?.into_iter().filter(|place| is_whole(&place.pack));
            let Some(first) = places.next() else {
                let what = shared.not_indexed(*content, *id);
                let message = "something that restore points need is in no whole pack, and nothing is pruned: run a check";
                return Err(Error::new(ErrorKind::Damaged, message).with_source(what));
            };
            match places.next() {
                None => *live.entry(first.pack).or_default() += u64::from(first.entry.stored),
                Some(_) => several.push((*content, *id)),
            }
        }
        // In a fixed order, so that two looks at the same state choose alike.
        several.sort_unstable();
        let mut chosen = HashMap::new();
        for (content, id) in several {
            let places = index.places(content, &id)?.into_iter().filter(|place| is_whole(&place.pack));
            // Packs without a tombstone, and among those the ones that hold most already: so the others get empty.
            let best = places.max_by_key(|place| {
                let pack = place.pack;
                (!self.tombstones.contains_key(&pack), live.get(&pack).copied().unwrap_or(0), pack)
            });
            if let Some(best) = best {
                *live.entry(best.pack).or_default() += u64::from(best.entry.stored);
                chosen.insert((content, id), best.pack);
            }
        }
        let mut held: HashMap<PackId, u64> = HashMap::new();
        for entry in index.entries()? {
            let (pack, entry) = entry?;
            *held.entry(pack.pack).or_default() += u64::from(entry.stored);
        }
        drop(index);
        (self.held, self.live, self.chosen) = (held, live, chosen);
        Ok(())
    }

    /// The newest time in the store, before which its clock cannot be.
    pub(super) fn newest(&self) -> Option<SystemTime> {
        let packs = self.present.values().map(|stored| stored.modified);
        packs.chain(self.tombstones.values().copied()).max()
    }

    /// Whether a pack counts as holding an item that is needed.
    pub(super) fn needs(&self, item: Item, pack: PackId) -> bool {
        self.needed.contains(&item) && self.chosen.get(&item).is_none_or(|chosen| *chosen == pack)
    }

    /// Says for every pack what becomes of it at the time `now`.
    pub(super) fn plan(
        &self,
        shared: &Shared,
        now: SystemTime,
        grace: Duration,
        rewrite_below: u8,
    ) -> Vec<PackPlan> {
        let is_over = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= grace);
        let missing = {
            let index = shared.index();
            let missing = index.packs().iter().filter(|pack| !self.present.contains_key(&pack.pack));
            missing.map(|pack| (pack.pack, 0, PackAction::Forget)).collect::<Vec<_>>()
        };
        let present = self.present.iter().map(|(pack, stored)| {
            let live = self.live.get(pack).copied().unwrap_or(0);
            let held = self.held.get(pack).copied().unwrap_or(0);
            let is_mostly_dead = u128::from(live) * 100 < u128::from(held) * u128::from(rewrite_below);
            let action = match (live, self.tombstones.get(pack)) {
                (0, Some(since)) if is_over(*since) => PackAction::Delete,
                (0, Some(_)) => PackAction::Wait,
                (_, Some(_)) => PackAction::Restore,
                // A younger one may belong to a backup that is running.
                (0, None) if is_over(stored.modified) => PackAction::Mark,
                (0, None) => PackAction::Wait,
                (_, None) if is_mostly_dead && is_over(stored.modified) => PackAction::Rewrite,
                (_, None) => PackAction::Keep,
            };
            (*pack, stored.size, action)
        });
        let plan = |(pack, bytes, action)| PackPlan {
            pack,
            bytes,
            live_bytes: self.live.get(&pack).copied().unwrap_or(0),
            action,
        };
        missing.into_iter().chain(present).map(plan).collect()
    }

    /// Tombstones of packs that are gone.
    pub(super) fn bare_tombstones(&self) -> Vec<PackId> {
        self.tombstones.keys().filter(|pack| !self.present.contains_key(pack)).copied().collect()
    }
}
