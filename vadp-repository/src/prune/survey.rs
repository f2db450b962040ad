//! What the points need, and in which packs it is. See docs/repository-format.md, "Pruning".

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;

use super::{PackAction, PackPlan, PruneOptions};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ChunkId, PackId, PointId};
use crate::index::{Listed, Marks, View};
use crate::read::{RestorePoint, open_point, point_ids};
use crate::repository::{PACKS, Shared, TOMBSTONES, id_of, load, pack_of};
use crate::write::full_pack_bytes;

/// Pages that are read at a time.
const READ_AHEAD: usize = 8;

/// What is in the store, and which of it the points need that have been marked so far.
#[derive(Default)]
pub(super) struct Survey {
    marked: HashSet<PointId>,
    /// What they need: all copies while points are marked, then the one copy of each that counts.
    needed: Marks,
    /// Packs in the store.
    present: BTreeMap<PackId, Stored>,
    /// When packs were given their tombstones.
    pub(super) tombstones: BTreeMap<PackId, SystemTime>,
    /// Bytes of the items that each pack holds, and of those of them that are needed.
    held: HashMap<PackId, u64>,
    live: HashMap<PackId, u64>,
    /// Packs that the index names, with the sizes that they ought to have.
    named: HashMap<PackId, (Content, u64)>,
    despite_losses: bool,
    /// Whether something that points need is in no whole pack.
    has_losses: bool,
    /// Whether it could not be seen of all points what they need.
    is_partial: bool,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    size: u64,
    modified: SystemTime,
}

impl Survey {
    pub(super) fn new(despite_losses: bool) -> Self {
        Self { despite_losses, ..Self::default() }
    }

    /// Looks at the store, and marks what all points need but those in `without`. May be called again: then the points that were
    /// marked before still count, and are not read again.
    pub(super) async fn look(&mut self, shared: &Arc<Shared>, without: &BTreeSet<PointId>) -> Result<()> {
        // Points before the index before packs: so whatever a listed point needs is seen, however many backups end meanwhile.
        let points = point_ids(shared).await?;
        load::refresh(shared).await?;
        let before = std::mem::replace(&mut self.needed, Marks::new(usable_view(shared)?));
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
        self.has_losses = false;
        // What was nowhere may have come back, and a page that could not be read says more now.
        match std::mem::take(&mut self.is_partial) {
            true => self.marked.clear(),
            false => self.carry_over(shared, &before)?,
        }
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

    /// Marks in the index as it is now what was marked in the one before.
    fn carry_over(&mut self, shared: &Shared, before: &Marks) -> Result<()> {
        for listed in before.view().rows()? {
            let listed = listed?;
            if before.is_marked(listed.row) {
                self.need(shared, listed.pack.content, &listed.entry.id)?;
            }
        }
        Ok(())
    }

    /// Notes that points need a chunk or page.
    fn need(&mut self, shared: &Shared, content: Content, id: &ChunkId) -> Result<()> {
        match self.needed.mark(content, id)? {
            true => Ok(()),
            false => {
                self.is_partial = true;
                self.lose(shared, content, id)
            }
        }
    }

    /// Notes that a chunk or page that points need is in no whole pack.
    fn lose(&mut self, shared: &Shared, content: Content, id: &ChunkId) -> Result<()> {
        self.has_losses = true;
        if self.despite_losses {
            return Ok(());
        }
        let what = shared.not_indexed(content, *id);
        let message =
            "something that restore points need is in no whole pack, and nothing is pruned: run a check";
        Err(Error::new(ErrorKind::Damaged, message).with_source(what))
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
            let mut unseen: HashMap<ChunkId, u32> = HashMap::new();
            for (number, id) in pages.filter(|(_, id)| !id.is_zero()) {
                if !self.needed.has(Content::Page, &id)? {
                    unseen.insert(id, number);
                }
            }
            let read =
                futures::stream::iter(unseen).map(|(id, number)| async move { (id, map.page(number).await) });
            let mut read = read.buffer_unordered(READ_AHEAD);
            while let Some((id, page)) = read.next().await {
                match page {
                    Err(error) if self.despite_losses && error.is_damage() => self.is_partial = true,
                    read => {
                        let page = read?;
                        let chunks = page.iter().flat_map(|page| page.ids()).filter(|id| !id.is_zero());
                        chunks.into_iter().try_for_each(|id| self.need(shared, Content::Data, id))?;
                    }
                }
                self.need(shared, Content::Page, &id)?;
            }
        }
        self.marked.insert(id);
        Ok(())
    }

    /// Chooses for every needed item one copy that counts, takes the marks off the others, and adds up what each pack holds.
    fn choose(&mut self, shared: &Shared) -> Result<()> {
        let view = self.needed.view().clone();
        let named: HashMap<PackId, (Content, u64)> =
            view.packs().iter().map(|pack| (pack.pack, (pack.content, pack.size))).collect();
        let present = &self.present;
        let is_whole = |copy: &Listed<'_>| {
            present.get(&copy.pack.pack).is_some_and(|stored| stored.size == copy.pack.size)
        };
        let (mut live, mut held): (HashMap<PackId, u64>, HashMap<PackId, u64>) = Default::default();
        let (mut lost, mut are_several) = (None, false);
        view.by_chunk(|copies| {
            for copy in copies {
                *held.entry(copy.pack.pack).or_default() += u64::from(copy.entry.stored);
            }
            let mut needed = copies.iter().filter(|copy| self.needed.is_marked(copy.row)).peekable();
            let Some(any) = needed.peek().map(|copy| (copy.pack.content, copy.entry.id)) else {
                return Ok(());
            };
            let mut whole = needed.filter(|copy| is_whole(copy));
            match (whole.next(), whole.next()) {
                (None, _) => lost = lost.or(Some(any)),
                (Some(only), None) => {
                    *live.entry(only.pack.pack).or_default() += u64::from(only.entry.stored);
                }
                (Some(_), Some(_)) => are_several = true,
            }
            Ok(())
        })?;
        // After the others, in a fixed order: so two looks at the same state choose alike.
        let tombstones = &self.tombstones;
        let mut choose = |copies: &[Listed<'_>]| {
            let is_choice = |copy: &&Listed<'_>| self.needed.is_marked(copy.row) && is_whole(copy);
            if copies.iter().filter(is_choice).count() < 2 {
                return Ok(());
            }
            // Packs without a tombstone, and among those the ones that hold most already: so the others get empty.
            let best = copies.iter().filter(is_choice).max_by_key(|copy| {
                let pack = copy.pack.pack;
                (!tombstones.contains_key(&pack), live.get(&pack).copied().unwrap_or(0), pack)
            });
            if let Some(best) = best {
                *live.entry(best.pack.pack).or_default() += u64::from(best.entry.stored);
                let others = copies.iter().filter(|copy| copy.row != best.row);
                others.for_each(|copy| self.needed.clear(copy.row));
            }
            Ok(())
        };
        if are_several {
            view.by_chunk(&mut choose)?;
        }
        (self.held, self.live, self.named) = (held, live, named);
        match lost {
            Some((content, id)) => self.lose(shared, content, &id),
            None => Ok(()),
        }
    }

    /// The newest time in the store, before which its clock cannot be.
    pub(super) fn newest(&self) -> Option<SystemTime> {
        let packs = self.present.values().map(|stored| stored.modified);
        packs.chain(self.tombstones.values().copied()).max()
    }

    /// The index as the survey has seen it, with marks on the copies that are needed and count.
    pub(super) fn needed(&self) -> &Marks {
        &self.needed
    }

    /// Says for every pack what becomes of it at the time `now`.
    pub(super) fn plan(
        &self,
        shared: &Shared,
        now: SystemTime,
        grace: Duration,
        options: &PruneOptions,
    ) -> Vec<PackPlan> {
        let is_over = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= grace);
        let named = self.needed.view().packs().iter();
        let missing = named.filter(|pack| !self.present.contains_key(&pack.pack));
        let missing = missing.map(|pack| (pack.pack, 0, PackAction::Forget));
        let present = self.present.iter().map(|(pack, stored)| {
            let live = self.live.get(pack).copied().unwrap_or(0);
            let held = self.held.get(pack).copied().unwrap_or(0);
            let is_mostly_dead =
                u128::from(live) * 100 < u128::from(held) * u128::from(options.rewrite_below);
            let action = match (live, self.tombstones.get(pack)) {
                // It may hold what is missing.
                _ if self.is_odd(pack, *stored) => PackAction::Wait,
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
        let mut packs: Vec<PackPlan> = missing.chain(present).map(plan).collect();
        if options.merge_from > 0 {
            for content in [Content::Data, Content::Page] {
                let enough = (full_pack_bytes(shared, content) / 4) as u64;
                let is_small = |pack: &PackPlan| {
                    pack.action == PackAction::Keep
                        && pack.bytes < enough
                        && self.named.get(&pack.pack).is_some_and(|(kind, _)| *kind == content)
                        && self.present.get(&pack.pack).is_some_and(|stored| is_over(stored.modified))
                };
                if packs.iter().filter(|pack| is_small(pack)).count() >= options.merge_from as usize {
                    let small = packs.iter_mut().filter(|pack| is_small(pack));
                    small.for_each(|pack| pack.action = PackAction::Merge);
                }
            }
        }
        packs
    }

    /// While something is missing: packs that are not whole, or that neither the index nor a tombstone names.
    fn is_odd(&self, pack: &PackId, stored: Stored) -> bool {
        let is_as_named = match self.named.get(pack) {
            Some((_, size)) => *size == stored.size,
            None => self.tombstones.contains_key(pack),
        };
        self.has_losses && !is_as_named
    }

    /// Tombstones of packs that are gone.
    pub(super) fn bare_tombstones(&self) -> Vec<PackId> {
        self.tombstones.keys().filter(|pack| !self.present.contains_key(pack)).copied().collect()
    }
}

/// What the index says, unless something of it is missing.
fn usable_view(shared: &Shared) -> Result<View> {
    shared.require_all()?;
    let index = shared.index();
    match index.damaged().len() {
        0 => Ok(index.view()),
        count => Err(Error::damaged(format!(
            "{count} index objects are damaged, so packs that they name would look unneeded, and nothing is pruned: \
             run a check"
        ))),
    }
}
