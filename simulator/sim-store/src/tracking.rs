//! Changed block tracking: which grains were written since a moment.
//!
//! Each tracked link has a file that maps every grain to the sequence number in force when the grain was last
//! written. Taking a snapshot ([`crate::snapshot::create`]) leaves the frozen link with its map as it is, which
//! makes it the snapshot's own, and gives the new child a copy with the number counted up by one. Hence a write
//! after the snapshot can never hide a write before it.

pub(crate) mod map;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use crate::chain::Chain;
use crate::descriptor::{Descriptor, fill_random};
use crate::extent::Collector;
use crate::files;
use crate::link::Link;
use crate::{Error, ErrorKind, Extent, Result, hex};
use map::Map;

/// Extents in one answer of [`query`] when the caller has no wish of its own; vSphere answers about this many.
pub const DEFAULT_MAX_EXTENTS: usize = 2000;

/// Names a moment in a disk's life: a uuid that lasts as long as tracking is unbroken, and a sequence number.
///
/// Text form: `52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChangeId {
    /// The tracking's uuid.
    pub uuid: [u8; 16],
    /// The sequence number, 1 or more.
    pub sequence: u32,
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", hex::spaced(&self.uuid), self.sequence)
    }
}

impl FromStr for ChangeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("{text:?} is not a change id; pass \"*\" or one from a snapshot"),
            )
        };
        let (uuid, sequence) = text.split_once('/').ok_or_else(malformed)?;
        if sequence.is_empty() || !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let uuid = hex::parse_spaced(uuid).map_err(|_| malformed())?;
        let sequence = sequence.parse().map_err(|_| malformed())?;
        Ok(Self { uuid, sequence })
    }
}

/// One answer of [`query`]: what changed in `start .. start + length`, and nothing about any byte outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// First byte that the answer covers: the start that was asked for.
    pub start: u64,
    /// Bytes covered, never zero; less than the rest of the disk only if the extents did not fit one answer.
    pub length: u64,
    /// The changed areas: ascending, apart from each other, inside the window.
    pub extents: Vec<Extent>,
}

/// The default size of a grain for a disk: 64 KiB, doubled until the map has at most 2 Mi entries.
pub fn default_granularity(capacity: u64) -> u64 {
    let mut granularity = 64 << 10;
    while capacity.div_ceil(granularity) > 2 << 20 {
        granularity *= 2;
    }
    granularity
}

/// Switches tracking on for a live top link. `granularity` in bytes, a power of two of 512 or more;
/// [`default_granularity`] if absent. A link that is tracked already stays as it is, unless its file is broken:
/// then tracking starts anew under another uuid.
///
/// # Errors
/// `Locked` while someone has the link open for writing; `InvalidArgument` for a bad granularity.
pub fn enable(top: &Path, granularity: Option<u64>) -> Result<()> {
    let link = Link::open(top, true)?;
    if Map::open_for(&link, true).is_ok() {
        return Ok(());
    }
    let capacity = link.descriptor.capacity();
    let granularity = granularity.unwrap_or_else(|| default_granularity(capacity));
    let name = map_name(top)?;
    let path = files::sibling(top, &name);
    files::remove(&path)?;
    Map::create(&path, capacity, granularity, new_uuid()?, 1)?;
    Descriptor::update(top, |descriptor| {
        descriptor.change_track = Some(name);
        Ok(())
    })?;
    Ok(())
}

/// Switches tracking off for a link. Older links keep what they have.
///
/// # Errors
/// `Locked` while someone has the link open for writing.
pub fn disable(top: &Path) -> Result<()> {
    let link = Link::open(top, true)?;
    let Some(name) = link.descriptor.change_track.clone() else {
        return Ok(());
    };
    Descriptor::update(top, |descriptor| {
        descriptor.change_track = None;
        Ok(())
    })?;
    files::remove(&files::sibling(top, &name))
}

/// Gives the tracking of a live top link a new uuid, so that every change id handed out before is refused.
///
/// A server does so whenever it cannot vouch for the map any more: crash of the guest's host, replaced disk, clone,
/// move. Reverting and growing do it by themselves.
///
/// # Errors
/// `TrackingOff` if the link is not tracked, `Locked` while someone has it open for writing.
pub fn renew(top: &Path) -> Result<()> {
    let link = Link::open(top, true)?;
    let path = map_path(&link)?;
    let granularity = granularity(&link);
    files::remove(&path)?;
    start_anew(&path, &link, granularity)
}

/// Gives a disk that was copied from another the other's tracking, so that change ids of the other go on to be answered:
/// for a move that keeps them. What may have been written to the copy beyond the copying is not in its map.
///
/// # Errors
/// `Locked` while someone has the copy open for writing; `TrackingOff`, `TrackingBroken` if the original has no map.
pub fn carry_over(from: &Path, to: &Path) -> Result<()> {
    let (original, copy) = (Link::open(from, false)?, Link::open(to, true)?);
    let map = Map::open_for(&original, false)?;
    let name = map_name(&copy.path)?;
    let path = files::sibling(to, &name);
    files::remove(&path)?;
    map.copy_to(&path, map.change_id())?;
    Descriptor::update(to, |descriptor| {
        descriptor.change_track = Some(name);
        Ok(())
    })?;
    Ok(())
}

/// The change id of a link: for a snapshot's frozen link the id that the snapshot carries, for the live top the
/// moment "now". `None` if the link is not tracked or its map is broken.
///
/// # Errors
/// Those of reading the descriptor.
pub fn change_id(link: &Path) -> Result<Option<ChangeId>> {
    let link = Link::open(link, false)?;
    Ok(Map::open_for(&link, false).ok().map(|map| map.change_id()))
}

/// The areas of a link that changed since `since`, or with `"*"` its allocated areas, from byte `start` on and in
/// at most `max_extents` extents. Areas are whole grains, cut at `start` and at the capacity. Two equal ids give
/// an empty list. Works while others write; takes no lock.
///
/// # Errors
/// - `InvalidArgument`: malformed id, `start` at or past the capacity, `max_extents` of zero;
/// - `TrackingOff`, `TrackingBroken`, `ForeignChangeId`: see [`Error::is_file_fault`].
pub fn query(link: &Path, since: &str, start: u64, max_extents: usize) -> Result<Window> {
    let since = if since == "*" { None } else { Some(since.parse::<ChangeId>()?) };
    if max_extents == 0 {
        return Err(Error::new(ErrorKind::InvalidArgument, "an answer must be allowed at least one extent"));
    }
    let chain = Chain::open(link, false, false)?;
    let top = chain.top();
    let capacity = top.descriptor.capacity();
    if start >= capacity {
        let what = format!("the start {start} is not inside the disk's {capacity} bytes");
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(link));
    }
    let map = Map::open_for(top, false)?;
    let mut collector = Collector::new(Extent::between(start, capacity), map.granularity(), max_extents);
    match since {
        None => {
            let mut visit = |from, to| Ok(collector.push(from, to));
            let _: ControlFlow<()> = chain.allocated(start, capacity, &mut visit)?;
        }
        Some(id) => {
            let now = map.change_id();
            if id.uuid != now.uuid || id.sequence > now.sequence || id.sequence == 0 {
                let what = format!("the change id {id} is not of this disk's tracking; make a full backup");
                return Err(Error::new(ErrorKind::ForeignChangeId, what).at(link));
            }
            map.changed_since(id.sequence, start, &mut collector)?;
        }
    }
    let (extents, cut) = collector.finish();
    let end = match extents.last() {
        Some(last) if cut => last.end(),
        _ => capacity,
    };
    Ok(Window { start, length: end - start, extents })
}

/// Gives a new child link its map: a copy of the parent's, one number further; a fresh one if the parent's is
/// broken; none if the parent is not tracked. Answers the file's name for the child's descriptor.
pub(crate) fn continue_in_child(parent: &Link, child: &Path) -> Result<Option<String>> {
    if parent.descriptor.change_track.is_none() {
        return Ok(None);
    }
    let name = map_name(child)?;
    let path = files::sibling(child, &name);
    files::remove(&path)?;
    match Map::open_for(parent, false) {
        Ok(map) => map.copy_to(&path, map.next_id()?)?,
        Err(error) => {
            tracing::warn!(%error, "change tracking of the parent is broken: the child starts anew");
            start_anew(&path, parent, granularity(parent))?;
        }
    }
    Ok(Some(name))
}

/// Gives a new child link an empty map under a new uuid, of the parent's granularity, if its parent is tracked.
pub(crate) fn restart_in_child(parent: &Link, child: &Path) -> Result<Option<String>> {
    if parent.descriptor.change_track.is_none() {
        return Ok(None);
    }
    let name = map_name(child)?;
    let path = files::sibling(child, &name);
    files::remove(&path)?;
    start_anew(&path, parent, granularity(parent))?;
    Ok(Some(name))
}

/// Gives `parent`, into which `child` was merged, a copy of the child's map. The caller stores the descriptor, and
/// removes the child after that: killed at any point, the child has its map as long as it is there.
pub(crate) fn adopt(parent: &mut Descriptor, parent_path: &Path, child: &Link) -> Result<()> {
    if let Some(old) = parent.change_track.take() {
        files::remove(&files::sibling(parent_path, &old))?;
    }
    if child.descriptor.change_track.is_none() {
        return Ok(());
    }
    let name = map_name(parent_path)?;
    let path = files::sibling(parent_path, &name);
    files::remove(&path)?;
    match Map::open_for(child, false) {
        Ok(map) => map.copy_to(&path, map.change_id())?,
        // A missing map is a broken one, as the child's was; queries say so.
        Err(error) => tracing::warn!(%error, "the change tracking of a merged link is broken, and stays so"),
    }
    parent.change_track = Some(name);
    Ok(())
}

/// Gives the copy of a link a copy of its map, if it has one that can be opened. Answers the name for the descriptor.
pub(crate) fn copy_to(original: &Link, copy: &Path) -> Result<Option<String>> {
    let Ok(map) = Map::open_for(original, false) else { return Ok(None) };
    let name = map_name(copy)?;
    map.copy_to(&files::sibling(copy, &name), map.change_id())?;
    Ok(Some(name))
}

/// A new link is tracked when somebody asks for it.
pub(crate) fn none(_parent: &Link, _child: &Path) -> Result<Option<String>> {
    Ok(None)
}

/// Removes a map that cannot be opened before a write goes unrecorded. Were it only out of reach for a moment, it
/// would not know of the write, and a later query would leave it out.
pub(crate) fn give_up(link: &Link) -> Result<()> {
    files::remove(&map_path(link)?)
}

/// Replaces a map after the disk grew: another capacity, hence another uuid.
pub(crate) fn restart_grown(link: &Path, descriptor: &Descriptor) -> Result<()> {
    let Some(name) = &descriptor.change_track else {
        return Ok(());
    };
    let path = files::sibling(link, name);
    files::remove(&path)?;
    let capacity = descriptor.capacity();
    Map::create(&path, capacity, default_granularity(capacity), new_uuid()?, 1)
}

/// That of a link's map; the default if it has none that can be opened.
fn granularity(link: &Link) -> u64 {
    let usual = |_| default_granularity(link.descriptor.capacity());
    Map::open_for(link, false).map_or_else(usual, |map| map.granularity())
}

fn start_anew(path: &Path, link: &Link, granularity: u64) -> Result<()> {
    Map::create(path, link.descriptor.capacity(), granularity, new_uuid()?, 1)
}

fn map_path(link: &Link) -> Result<std::path::PathBuf> {
    match &link.descriptor.change_track {
        Some(name) => Ok(files::sibling(&link.path, name)),
        None => {
            let what = "change tracking is off for this disk; switch it on and take a new snapshot";
            Err(Error::new(ErrorKind::TrackingOff, what).at(&link.path))
        }
    }
}

fn map_name(link: &Path) -> Result<String> {
    Ok(format!("{}-ctk.vmdk", crate::disk::stem(link)?))
}

fn new_uuid() -> Result<[u8; 16]> {
    let mut uuid = [0; 16];
    fill_random(&mut uuid)?;
    Ok(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_ids_are_strict() {
        let text = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81";
        let id: ChangeId = text.parse().unwrap();
        assert_eq!((id.sequence, id.to_string()), (81, text.to_owned()));
        for bad in [
            "",
            "/",
            "x/81",
            "52 de/81",
            &text.replace("/81", ""),
            &text.replace("81", "+81"),
            &text.replace("81", "-1"),
            &text.replace("81", "99999999999"),
        ] {
            assert_eq!(bad.parse::<ChangeId>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn the_map_stays_small() {
        assert_eq!(default_granularity(1 << 30), 64 << 10);
        assert_eq!(default_granularity(1 << 40), 512 << 10);
        assert!((62_u64 << 40).div_ceil(default_granularity(62 << 40)) <= 2 << 20);
    }
}
