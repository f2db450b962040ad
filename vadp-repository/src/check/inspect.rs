//! The order of a check, and the report at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::maps::{self, Losses};
use super::packs::{self, PackState};
use super::{CheckDepth, CheckReport, Damage, Leftovers, LostRange};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::format::key_slot::{self, KeySlot};
use crate::ids::{ChunkId, KeySlotId, PackId, PointId};
use crate::index::View;
use crate::read::point_ids;
use crate::repository::{CONFIG, FOLDERS, KEYS, Shared, index_name, key_name, load, pack_name, point_name};

/// A report, and what a repair needs to know beside it.
pub(crate) struct Examined {
    pub(crate) report: CheckReport,
    pub(crate) packs: PackState,
    /// Points that cannot be opened, for whatever reason.
    pub(crate) unreadable_points: Vec<PointId>,
    has_losses: bool,
}

impl Examined {
    /// Whether something that points need cannot be had.
    pub(crate) fn has_losses(&self) -> bool {
        self.has_losses
    }
}

pub(crate) async fn examine(shared: &Arc<Shared>, depth: CheckDepth) -> Result<Examined> {
    // Points are listed before the index is loaded and packs are listed after: so whatever a listed point needs is seen,
    // however many backups end meanwhile.
    let points = point_ids(shared).await?;
    load::refresh(shared).await?;
    let mut report = CheckReport {
        depth,
        points: points.len() as u64,
        packs: shared.index().packs().len() as u64,
        chunks: 0,
        verified_bytes: 0,
        damage: Vec::new(),
        leftovers: Leftovers::default(),
    };
    for (id, why) in shared.index().damaged() {
        let object = Some(index_name(*id)?.to_string());
        report.damage.push(Damage {
            object,
            pack: None,
            chunk: None,
            problem: why.clone(),
            lost: Vec::new(),
        });
    }
    inspect_names(shared, &mut report).await?;
    let packs = packs::inspect(shared, depth, &mut report).await?;
    // Packs were listed by what the index says now, so this is what their state is known of.
    let view = shared.index().view();
    let losses = maps::inspect(shared, &packs, &view, &points).await?;
    count(&losses, &mut report)?;
    for (id, why) in &losses.points {
        let object = Some(point_name(*id)?.to_string());
        report.damage.push(Damage {
            object,
            pack: None,
            chunk: None,
            problem: why.clone(),
            lost: Vec::new(),
        });
    }
    let (unreadable_points, has_losses) =
        (losses.points.keys().copied().collect(), !losses.ranges.is_empty());
    attribute(shared, &view, &packs, losses, &mut report)?;
    Ok(Examined { report, packs, unreadable_points, has_losses })
}

/// Key slots, and objects that are not ours.
async fn inspect_names(shared: &Arc<Shared>, report: &mut CheckReport) -> Result<()> {
    for object in shared.store.list("").await? {
        let folder = object.name.split('/').next().unwrap_or_default();
        if object.name != CONFIG && !FOLDERS.contains(&folder) {
            report.leftovers.foreign.push(object.name);
            continue;
        }
        let Some(id) = object.name.strip_prefix(KEYS).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let Ok(id) = KeySlotId::parse(id) else {
            report.leftovers.foreign.push(object.name);
            continue;
        };
        let slot = shared.store.get(&key_name(id)?, key_slot::MAX_BYTES).await;
        match slot.and_then(|bytes| KeySlot::parse(&bytes)) {
            Ok(slot) if slot.repository != shared.config.repository => report.leftovers.key_slots.push(id),
            Ok(slot) if slot.slot == id => {}
            Ok(_) => report
                .damage
                .push(of_object(object.name, "the key slot has the name of another one".to_owned())),
            Err(error) if error.is_of_store() => return Err(error),
            Err(error) => report.damage.push(of_object(object.name, error.to_string())),
        }
    }
    Ok(())
}

fn of_object(object: String, problem: String) -> Damage {
    Damage { object: Some(object), pack: None, chunk: None, problem, lost: Vec::new() }
}

/// Counts the chunks that points need, and what no point needs.
fn count(losses: &Losses, report: &mut CheckReport) -> Result<()> {
    losses.needed.view().by_chunk(|copies| {
        let unneeded = copies.iter().filter(|copy| !losses.needed.is_marked(copy.row));
        let (count, bytes) =
            unneeded.fold((0, 0), |(count, bytes), copy| (count + 1, bytes + u64::from(copy.entry.stored)));
        report.leftovers.unneeded_chunks += u64::from(count > 0);
        report.leftovers.unneeded_bytes += bytes;
        let is_needed = count < copies.len();
        report.chunks += u64::from(is_needed && copies.iter().any(|copy| copy.pack.content == Content::Data));
        Ok(())
    })?;
    // And those of which the index knows no copy.
    for (content, id) in losses.ranges.keys().filter(|(content, _)| *content == Content::Data) {
        report.chunks += u64::from(!losses.needed.has(*content, id)?);
    }
    Ok(())
}

/// Says for each damaged pack and chunk what is lost with it, and for each loss without a pack that its place is unknown.
fn attribute(
    shared: &Shared,
    view: &View,
    packs: &PackState,
    losses: Losses,
    report: &mut CheckReport,
) -> Result<()> {
    let mut by_pack: BTreeMap<PackId, Vec<LostRange>> = BTreeMap::new();
    let mut by_chunk: BTreeMap<(PackId, ChunkId), Vec<LostRange>> = BTreeMap::new();
    for ((content, id), ranges) in losses.ranges {
        let places: BTreeSet<PackId> = view.places(content, &id)?.iter().map(|place| place.pack).collect();
        if places.is_empty() {
            let problem = shared.not_indexed(content, id).to_string();
            let lost = merged(ranges);
            report.damage.push(Damage { object: None, pack: None, chunk: Some(id), problem, lost });
            continue;
        }
        for pack in places {
            match packs.bad_packs.contains_key(&pack) {
                true => by_pack.entry(pack).or_default().extend(ranges.iter().cloned()),
                false => by_chunk.entry((pack, id)).or_default().extend(ranges.iter().cloned()),
            }
        }
    }
    for (pack, problem) in &packs.bad_packs {
        let (object, lost) =
            (Some(pack_name(*pack)?.to_string()), merged(by_pack.remove(pack).unwrap_or_default()));
        report.damage.push(Damage { object, pack: Some(*pack), chunk: None, problem: problem.clone(), lost });
    }
    // Quick checks meet bad pages only when they read them; deep checks have listed every bad chunk already.
    let mut problems: BTreeMap<(PackId, ChunkId), String> = packs.bad_chunks.clone();
    for key in by_chunk.keys() {
        let read_error = || losses.problems.get(&key.1).cloned();
        let problem = || read_error().unwrap_or_else(|| "the chunk cannot be used in its place".to_owned());
        problems.entry(*key).or_insert_with(problem);
    }
    for ((pack, chunk), problem) in problems {
        let lost = merged(by_chunk.remove(&(pack, chunk)).unwrap_or_default());
        let (object, pack, chunk) = (Some(pack_name(pack)?.to_string()), Some(pack), Some(chunk));
        report.damage.push(Damage { object, pack, chunk, problem, lost });
    }
    for (pack, problem) in &packs.bad_frames {
        let object = Some(pack_name(*pack)?.to_string());
        let (pack, problem) = (Some(*pack), problem.clone());
        report.damage.push(Damage { object, pack, chunk: None, problem, lost: Vec::new() });
    }
    Ok(())
}

/// Joins ranges of the same disk that touch.
fn merged(mut ranges: Vec<LostRange>) -> Vec<LostRange> {
    ranges.sort_by(|a, b| {
        (&a.point, &a.disk, a.bytes.start, a.bytes.end).cmp(&(&b.point, &b.disk, b.bytes.start, b.bytes.end))
    });
    ranges.dedup_by(|next, last| {
        let touches =
            next.point == last.point && next.disk == last.disk && next.bytes.start <= last.bytes.end;
        if touches {
            last.bytes.end = last.bytes.end.max(next.bytes.end);
        }
        touches
    });
    ranges
}

/// A damage is reported; anything else, such as a store that fails, ends the check.
pub(super) fn damage_of(error: Error) -> Result<String> {
    match error.is_of_store() || error.kind() == ErrorKind::Internal {
        true => Err(error),
        false => Ok(with_sources(&error)),
    }
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A range of a disk that is lost.
pub(super) fn lost_range(
    point: PointId,
    machine: &crate::ids::MachineId,
    disk: &str,
    bytes: Range<u64>,
) -> LostRange {
    LostRange { point, machine: machine.clone(), disk: disk.to_owned(), bytes }
}
