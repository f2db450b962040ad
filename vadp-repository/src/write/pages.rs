//! The map of a disk that is being written. Chunks mostly come in rising order; so the lowest pages are soon complete, and are stored
//! before the disk is finished: memory does not grow with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::run::{Run, Stored};
use crate::crypto::Content;
use crate::error::{Error, Result};
use crate::format::page::{MapPage, PAGE_SLOTS};
use crate::geometry::{Geometry, page_and_slot};
use crate::ids::ChunkId;
use crate::read::DiskMap;

/// Pages that are open at a time, beside those with chunks on their way.
const MOST_OPEN: usize = 64;

/// One bit for each slot of a page.
type Slots = [u64; PAGE_SLOTS / 64];

/// What was put of a disk, in pages.
#[derive(Default)]
pub(super) struct Pages {
    open: BTreeMap<u32, OpenPage>,
    /// Those that are stored. What is put into one of them afterwards is in an open page again, until the end.
    closed: BTreeMap<u32, ClosedPage>,
    /// Chunks that closed pages have of the parent.
    inherited: u64,
}

/// What was put into a page.
#[derive(Clone)]
struct OpenPage {
    put: Slots,
    /// Chunks that were put and are not stored yet.
    under_way: u32,
    /// Until one of them is not zero there is no page.
    ids: Option<MapPage>,
}

/// A page as it is stored, the parent's chunks included.
struct ClosedPage {
    put: Slots,
    id: ChunkId,
}

/// A page of the new map.
enum Laid {
    Unchanged(ChunkId),
    Changed(MapPage),
}

impl Pages {
    /// Marks a chunk as put; `false` when it was before.
    pub(super) fn mark(&mut self, chunk: u64) -> bool {
        let (number, slot) = page_and_slot(chunk);
        if self.closed.get(&number).is_some_and(|page| has(&page.put, slot)) {
            return false;
        }
        let page = self.open.entry(number).or_insert_with(OpenPage::new);
        let is_new = !has(&page.put, slot);
        page.put[slot / 64] |= 1 << (slot % 64);
        is_new
    }

    /// Notes that a chunk that was marked is on its way: its page stays open.
    pub(super) fn begin(&mut self, chunk: u64) {
        if let Some(page) = self.open.get_mut(&page_and_slot(chunk).0) {
            page.under_way += 1;
        }
    }

    /// Notes that a chunk is on its way no more.
    pub(super) fn end(&mut self, chunk: u64) {
        if let Some(page) = self.open.get_mut(&page_and_slot(chunk).0) {
            page.under_way = page.under_way.saturating_sub(1);
        }
    }

    /// Notes what a chunk that was marked is. It is zero unless this says otherwise.
    pub(super) fn set(&mut self, chunk: u64, id: ChunkId) {
        let (number, slot) = page_and_slot(chunk);
        if let Some(page) = self.open.get_mut(&number).filter(|_| !id.is_zero()) {
            page.ids.get_or_insert_with(MapPage::zero).set(slot, id);
        }
    }

    /// Stores the lowest pages, if too many are open. Broken off, it leaves them open.
    pub(super) async fn close_some(
        &mut self,
        run: &Arc<Run>,
        geometry: Geometry,
        parent: Option<&DiskMap>,
    ) -> Result<()> {
        while self.open.len() > MOST_OPEN {
            // Pages that were closed before are in nobody's order, and would only be read back again.
            let mut lowest = self.open.iter().take(2 * MOST_OPEN);
            let closable =
                lowest.find(|(number, page)| page.under_way == 0 && !self.closed.contains_key(number));
            let Some((number, page)) = closable.map(|(number, page)| (*number, page.clone())) else { break };
            let (laid, of_parent) = lay(run, geometry, parent, number, Some(&page)).await?;
            let id = store(run, laid).await?;
            self.inherited += of_parent;
            self.open.remove(&number);
            self.closed.insert(number, ClosedPage { put: page.put, id });
        }
        Ok(())
    }

    /// Stores all that is open. Gives the ids of all pages of the disk, and how many chunks they have of the parent.
    pub(super) async fn close_all(
        self,
        run: &Arc<Run>,
        geometry: Geometry,
        parent: Option<&DiskMap>,
    ) -> Result<(Vec<ChunkId>, u64)> {
        let Self { mut open, closed, mut inherited } = self;
        let mut pages = vec![ChunkId::ZERO; geometry.pages() as usize];
        let mut keep = |number: u32, id| {
            if let Some(place) = pages.get_mut(number as usize) {
                *place = id;
            }
        };
        if open.keys().any(|number| closed.contains_key(number)) {
            // What was stored of pages cannot be read before it is in the index.
            run.flush().await?;
        }
        for (number, page) in &closed {
            let id = match open.remove(number) {
                None => page.id,
                Some(late) => {
                    let (laid, replaced) = lay_late(run, page, &late).await?;
                    inherited = inherited.saturating_sub(replaced);
                    store(run, laid).await?
                }
            };
            keep(*number, id);
        }
        // Every page is looked at, also those without edits: a chunk that the parent names and the repository lost must not be
        // handed on from point to point.
        let rest = (0..geometry.pages()).filter(|number| !closed.contains_key(number));
        let rest = rest.map(|number| (number, open.remove(&number)));
        let rest = rest.filter(|(number, page)| {
            page.is_some() || parent.is_some_and(|parent| !parent.page_id(*number).is_zero())
        });
        let stored = futures::stream::iter(rest).map(|(number, page)| async move {
            let (laid, of_parent) = lay(run, geometry, parent, number, page.as_ref()).await?;
            Ok::<_, Error>((number, store(run, laid).await?, of_parent))
        });
        let mut stored = stored.buffered(super::disk::READ_AHEAD);
        while let Some((number, id, of_parent)) = stored.try_next().await? {
            inherited += of_parent;
            keep(number, id);
        }
        Ok((pages, inherited))
    }
}

impl OpenPage {
    fn new() -> Self {
        Self { put: [0; PAGE_SLOTS / 64], under_way: 0, ids: None }
    }
}

fn has(slots: &Slots, slot: usize) -> bool {
    slots[slot / 64] & 1 << (slot % 64) != 0
}

async fn store(run: &Arc<Run>, laid: Laid) -> Result<ChunkId> {
    Ok(match laid {
        Laid::Unchanged(id) => id,
        Laid::Changed(page) if page.is_zero() => ChunkId::ZERO,
        Laid::Changed(page) => match run.store(Content::Page, page.to_bytes().into()).await? {
            Stored::Zero => ChunkId::ZERO,
            Stored::Known(id) | Stored::New(id, _) => id,
        },
    })
}

/// Lays what was put over the parent's page. Every chunk taken from the parent is looked up in the index.
async fn lay(
    run: &Run,
    geometry: Geometry,
    parent: Option<&DiskMap>,
    number: u32,
    page: Option<&OpenPage>,
) -> Result<(Laid, u64)> {
    let base = match parent {
        Some(parent) => parent.page(number).await?,
        None => None,
    };
    let mut laid = page.and_then(|page| page.ids.clone()).unwrap_or_else(MapPage::zero);
    let mut inherited = 0;
    if let (Some(parent), Some(base)) = (parent, &base) {
        for slot in (0..PAGE_SLOTS).filter(|&slot| !page.is_some_and(|page| has(&page.put, slot))) {
            let id = base.get(slot);
            if id.is_zero() {
                continue;
            }
            let chunk = u64::from(number) * PAGE_SLOTS as u64 + slot as u64;
            let at_disk = |error: Error| match parent.geometry().bytes_of(chunk) {
                Ok(range) => error.at_disk(parent.disk(), range),
                Err(_) => error,
            };
            let place = run.reuse(Content::Data, id).map_err(at_disk)?;
            if place.entry.plain as usize != geometry.len_of(chunk)? {
                return Err(Error::invalid(format!(
                    "chunk {chunk} was the shorter last chunk of the parent: the disk has grown, so it must be put"
                )));
            }
            laid.set(slot, id);
            inherited += 1;
        }
        if **base == laid {
            let id = parent.page_id(number);
            run.reuse(Content::Page, id)
                .map_err(|error| error.at_disk(parent.disk(), geometry.bytes_of_page(number)))?;
            return Ok((Laid::Unchanged(id), inherited));
        }
    }
    Ok((Laid::Changed(laid), inherited))
}

/// Lays what was put late over a page that was stored already. Gives how many chunks of the parent were replaced by that.
async fn lay_late(run: &Run, stored: &ClosedPage, late: &OpenPage) -> Result<(Laid, u64)> {
    let mut laid = match stored.id.is_zero() {
        true => MapPage::zero(),
        false => MapPage::parse(&run.shared.fetch(Content::Page, stored.id).await?)?,
    };
    let mut replaced = 0;
    for slot in (0..PAGE_SLOTS).filter(|&slot| has(&late.put, slot)) {
        replaced += u64::from(!laid.get(slot).is_zero());
        laid.set(slot, late.ids.as_ref().map_or(ChunkId::ZERO, |ids| ids.get(slot)));
    }
    Ok((Laid::Changed(laid), replaced))
}
