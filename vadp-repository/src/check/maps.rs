//! Walking the maps of all points: what do they need, and what of it is lost?

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::LostRange;
use super::inspect::{damage_of, lost_range};
use super::packs::PackState;
use crate::crypto::Content;
use crate::error::Result;
use crate::format::page::{MapPage, PAGE_SLOTS};
use crate::geometry::Geometry;
use crate::ids::{ChunkId, PointId};
use crate::index::{Marks, View};
use crate::read::{DiskMap, RestorePoint};
use crate::repository::{Repository, Shared};

/// Pages that are read at a time.
const READ_AHEAD: usize = 8;

/// What points need, and what they cannot have.
pub(super) struct Losses {
    pub(super) needed: Marks,
    /// Pages whose chunks are good and of full size: nothing is wrong with them but at the end of a disk.
    good: Marks,
    /// What is lost of other pages.
    bad: HashMap<ChunkId, Verdict>,
    /// Points that cannot be opened, and why.
    pub(super) points: BTreeMap<PointId, String>,
    /// Lost chunks and pages, and the disk ranges that go with them.
    pub(super) ranges: BTreeMap<(Content, ChunkId), Vec<LostRange>>,
    /// Why lost pages could not be read.
    pub(super) problems: HashMap<ChunkId, String>,
}

/// What is known of a page, whatever disk it belongs to.
enum Verdict {
    Lost,
    Read {
        /// Slots whose chunk is lost.
        lost: Vec<(u16, ChunkId)>,
        /// Slots whose chunk has not the full size, with its size: right only at the end of a disk.
        short: Vec<(u16, ChunkId, u32)>,
        /// The last slot that is not zero.
        last: Option<(u16, ChunkId)>,
    },
}

impl Verdict {
    fn is_bad(&self) -> bool {
        matches!(self, Self::Lost) || matches!(self, Self::Read { lost, .. } if !lost.is_empty())
    }

    /// Whether nothing is wrong with the page but where the disk ends within it.
    fn is_good(&self) -> bool {
        matches!(self, Self::Read { lost, short, .. } if lost.is_empty() && short.is_empty())
    }
}

pub(super) async fn inspect(
    shared: &Arc<Shared>,
    packs: &PackState,
    view: &View,
    points: &[PointId],
) -> Result<Losses> {
    let repository = Repository { shared: Arc::clone(shared) };
    let mut losses = Losses {
        needed: Marks::new(view.clone()),
        good: Marks::new(view.clone()),
        bad: HashMap::new(),
        points: BTreeMap::new(),
        ranges: BTreeMap::new(),
        problems: HashMap::new(),
    };
    for id in points {
        let point = match repository.point(*id).await {
            Ok(point) => point,
            // A pruner deleted it since it was listed.
            Err(error) if error.is_not_found() => continue,
            Err(error) => {
                losses.points.insert(*id, damage_of(error)?);
                continue;
            }
        };
        for disk in point.disks() {
            let reader = point.disk(&disk.key)?;
            walk(packs, view, &mut losses, &point, reader.map()).await?;
        }
    }
    Ok(losses)
}

async fn walk(
    packs: &PackState,
    view: &View,
    losses: &mut Losses,
    point: &RestorePoint,
    map: &DiskMap,
) -> Result<()> {
    let geometry = map.geometry();
    let pages =
        (0..geometry.pages()).map(|number| (number, map.page_id(number))).filter(|(_, id)| !id.is_zero());
    // A good page is that wherever it is, but for where a disk ends: there it is looked at anew.
    let last = geometry.pages().checked_sub(1);
    let mut unseen: HashMap<ChunkId, u32> = HashMap::new();
    for (number, id) in pages.clone() {
        let is_known =
            losses.bad.contains_key(&id) || (Some(number) != last && losses.good.has(Content::Page, &id)?);
        if !is_known {
            unseen.insert(id, number);
        }
    }
    let mut verdicts = HashMap::new();
    let mut read = futures::stream::iter(unseen)
        .map(
            |(id, number)| async move { Ok::<_, crate::Error>((id, judge(packs, view, map, number).await?)) },
        )
        .buffer_unordered(READ_AHEAD);
    while let Some((id, judged)) = read.try_next().await? {
        losses.needed.mark(Content::Page, &id)?;
        let verdict = match judged {
            Ok((page, verdict)) => {
                for chunk in page.ids().iter().filter(|id| !id.is_zero()) {
                    losses.needed.mark(Content::Data, chunk)?;
                }
                verdict
            }
            Err(problem) => {
                losses.problems.insert(id, problem);
                Verdict::Lost
            }
        };
        if verdict.is_good() {
            losses.good.mark(Content::Page, &id)?;
        }
        verdicts.insert(id, verdict);
    }
    drop(read);
    for (number, id) in pages {
        if let Some(verdict) = verdicts.get(&id).or_else(|| losses.bad.get(&id)) {
            let mut lose = |content, id, bytes| {
                let range = lost_range(point.id(), point.machine(), map.disk(), bytes);
                losses.ranges.entry((content, id)).or_default().push(range);
            };
            apply(verdict, geometry, number, id, &mut lose)?;
        }
    }
    losses.bad.extend(verdicts.into_iter().filter(|(_, verdict)| verdict.is_bad()));
    Ok(())
}

/// Turns what is known of a page into ranges of one disk.
fn apply(
    verdict: &Verdict,
    geometry: Geometry,
    number: u32,
    page: ChunkId,
    lose: &mut impl FnMut(Content, ChunkId, Range<u64>),
) -> Result<()> {
    let Verdict::Read { lost, short, last } = verdict else {
        lose(Content::Page, page, geometry.bytes_of_page(number));
        return Ok(());
    };
    if last.is_some_and(|(slot, _)| usize::from(slot) >= geometry.slots_of(number)) {
        lose(Content::Page, page, geometry.bytes_of_page(number));
        return Ok(());
    }
    let first = u64::from(number) * PAGE_SLOTS as u64;
    for (slot, id) in lost {
        lose(Content::Data, *id, geometry.bytes_of(first + u64::from(*slot))?);
    }
    for (slot, id, length) in short {
        let chunk = first + u64::from(*slot);
        if geometry.len_of(chunk)? != *length as usize {
            lose(Content::Data, *id, geometry.bytes_of(chunk)?);
        }
    }
    // A full-size chunk at the shorter end of a disk is as wrong as a short one elsewhere.
    if let Some((slot, id)) = last {
        let chunk = first + u64::from(*slot);
        let is_full = !short.iter().any(|(s, ..)| s == slot) && !lost.iter().any(|(s, _)| s == slot);
        if is_full && geometry.len_of(chunk)? < geometry.chunk_size() as usize {
            lose(Content::Data, *id, geometry.bytes_of(chunk)?);
        }
    }
    Ok(())
}

/// Reads a page and looks its chunks up; `Ok(Err(problem))` when the page is lost.
async fn judge(
    packs: &PackState,
    view: &View,
    map: &DiskMap,
    number: u32,
) -> Result<std::result::Result<(Arc<MapPage>, Verdict), String>> {
    let page = match map.page(number).await {
        Ok(Some(page)) => page,
        Ok(None) => Arc::new(MapPage::zero()),
        Err(error) => return damage_of(error).map(Err),
    };
    let chunk_size = map.chunk_size();
    let (mut lost, mut short, mut last) = (Vec::new(), Vec::new(), None);
    for (slot, id) in (0_u16..).zip(page.ids()).filter(|(_, id)| !id.is_zero()) {
        last = Some((slot, *id));
        match good_length(view, packs, *id)? {
            None => lost.push((slot, *id)),
            Some(length) if length != chunk_size => short.push((slot, *id, length)),
            Some(_) => {}
        }
    }
    Ok(Ok((page, Verdict::Read { lost, short, last })))
}

/// The plain length of a chunk that has a good copy.
fn good_length(view: &View, packs: &PackState, id: ChunkId) -> Result<Option<u32>> {
    let places = view.places(Content::Data, &id)?;
    Ok(places.iter().find(|place| packs.is_good(place)).map(|place| place.entry.plain))
}
