//! Snapshots as far as disks go: new child links, reverting, and merging links away.
//!
//! A snapshot owns the link that was on top when it was taken; the guest goes on in a new child. All functions
//! take descriptors of links; which snapshot owns which link is the caller's to know.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::chain::{Chain, MAX_LINKS};
use crate::descriptor::{Cid, DeltaFormat, Descriptor, LinkKind, Provisioning};
use crate::files::{self, FolderLock};
use crate::link::delta::{Delta, Place};
use crate::link::{Link, LinkData};
use crate::space::{NEW_FILE, Space};
use crate::tracking::{self, ChangeId};
use crate::{DiskUuid, Error, ErrorKind, Result, sharing};

/// The outcome of [`create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The frozen link, which the snapshot owns: the former top.
    pub frozen: PathBuf,
    /// The new top.
    pub child: PathBuf,
    /// The change id of the frozen link; `None` while tracking is off or broken.
    pub change_id: Option<ChangeId>,
}

/// The outcome of [`remove_link`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The link's only child was merged into it: whoever used `child` must use `survivor` from now on.
    Merged {
        /// The path that is gone.
        child: PathBuf,
        /// The path that has the child's content now.
        survivor: PathBuf,
    },
    /// Nothing was built over the link, and it is gone.
    Deleted,
    /// Several links are built over this one, so it stays; [`consolidate`] may merge it later.
    Shared,
}

/// Freezes the top link and puts a new, empty child over it, numbered one above the highest number in use. Its
/// format is that of the chain's children, and for a first one seSparse for disks of 2 TiB or more, else vmfsSparse.
///
/// # Errors
/// `Locked` if the top is open for writing; `InUse` if it is no top; `InvalidArgument` if the chain is at
/// [`MAX_LINKS`]; those of opening the chain.
pub fn create(top: &Path) -> Result<NewLink> {
    create_over(top, None)
}

/// Like [`create`], with a child of a format that the caller chooses. A virtual file system of version 6 has
/// seSparse alone.
///
/// # Errors
/// Those of [`create`]; `InvalidArgument` if the chain has children of the other format, or if the disk is too
/// large for vmfsSparse.
pub fn create_as(top: &Path, format: DeltaFormat) -> Result<NewLink> {
    create_over(top, Some(format))
}

fn create_over(top: &Path, wish: Option<DeltaFormat>) -> Result<NewLink> {
    let chain = Chain::open(top, true, false)?;
    if chain.links().len() >= MAX_LINKS {
        let what = format!("the disk's chain has {MAX_LINKS} links already; remove snapshots first");
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(top));
    }
    let parent = chain.top();
    let present = delta_format(&chain);
    if let (Some(wish), Some(present)) = (wish, present)
        && wish != present
    {
        let what = "the disk has children of the other format already; the two do not mix in a chain";
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(top));
    }
    let format = present.or(wish).unwrap_or_else(|| usual_format(&parent.descriptor));
    let held = FolderLock::exclusive(files::folder_of(top))?;
    if !children(top)?.is_empty() {
        return Err(
            Error::new(ErrorKind::InUse, "a snapshot is taken of the top link, and this is none").at(top)
        );
    }
    let change_id = tracking::map::Map::open_for(parent, false).ok().map(|map| map.change_id());
    let child = next_child_path(&chain)?;
    let hint = files::file_name(&parent.path)?;
    add_child(parent, hint, &child, format, None, &held, tracking::continue_in_child)?;
    Ok(NewLink { frozen: top.to_owned(), child, change_id })
}

/// The new top that [`create`] or [`branch`] would make for the disk now.
///
/// # Errors
/// Those of opening the chain and of listing its folder.
pub fn next_child(top: &Path) -> Result<PathBuf> {
    next_child_path(&Chain::open(top, false, false)?)
}

/// Drops the current top link and puts a new, empty child over `target`, a snapshot's frozen link. Where the
/// target is tracked, the child's tracking starts under a new uuid. Links that only the dropped top needed go
/// too, unless they are in `owned` (all links that snapshots own) or are base disks.
///
/// # Errors
/// `Locked` if the current top is open for writing; `InvalidArgument` if it is the target itself or no top.
pub fn revert(current_top: &Path, target: &Path, owned: &[PathBuf]) -> Result<PathBuf> {
    let top = Link::open(current_top, true)?;
    let chain = Chain::open(target, false, false)?;
    let held = FolderLock::exclusive(files::folder_of(target))?;
    if current_top == target || !children(current_top)?.is_empty() {
        let what = "only a top link that is not the snapshot's own can be dropped by a revert";
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(current_top));
    }
    let child = next_child_path(&chain)?;
    let format = match top.descriptor.kind {
        LinkKind::Delta(format) => delta_format(&chain).unwrap_or(format),
        LinkKind::Flat => usual_format(&top.descriptor),
    };
    let hint = files::file_name(target)?;
    add_child(chain.top(), hint, &child, format, None, &held, tracking::restart_in_child)?;
    drop_with_orphans(top, owned, &held)?;
    Ok(child)
}

/// Puts a new, empty child over `target`, a snapshot's frozen link, beside whatever else is built over it. Where the
/// target is tracked, the child's tracking starts under a new uuid.
///
/// # Errors
/// Those of opening the chain; `Io`, `NoSpace`.
pub fn branch(target: &Path) -> Result<PathBuf> {
    let chain = Chain::open(target, false, false)?;
    let held = FolderLock::exclusive(files::folder_of(target))?;
    let child = next_child_path(&chain)?;
    let format = delta_format(&chain).unwrap_or_else(|| usual_format(&chain.top().descriptor));
    let hint = files::file_name(target)?;
    add_child(chain.top(), hint, &child, format, None, &held, tracking::restart_in_child)?;
    Ok(child)
}

/// Removes a link which no snapshot owns any more. `owned` are the links that snapshots still own; where the link
/// had nothing over it, links below that only it needed go too. `progress(done, total)` in bytes is called as data
/// moves.
///
/// The bytes of every disk that can be opened stay the same. If it fails or is killed midway, calling it again
/// finishes the work.
///
/// # Errors
/// `Locked` if the link, or the child that would be merged into it, is open for writing; `InUse` for a base disk
/// without children.
pub fn remove_link(path: &Path, owned: &[PathBuf], progress: &mut dyn FnMut(u64, u64)) -> Result<Removal> {
    let link = Link::open(path, true)?;
    let over = {
        let held = FolderLock::exclusive(files::folder_of(path))?;
        let over = children(path)?;
        if over.is_empty() {
            if link.descriptor.kind == LinkKind::Flat {
                return Err(
                    Error::new(ErrorKind::InUse, "the base of a disk is no snapshot's to remove").at(path)
                );
            }
            drop_with_orphans(link, owned, &held)?;
            return Ok(Removal::Deleted);
        }
        over
    };
    let Some(child) = mergeable(path, &link.descriptor, over)? else {
        return Ok(Removal::Shared);
    };
    merge(&link, &child, progress)?;
    Ok(Removal::Merged { child, survivor: path.to_owned() })
}

/// Removes a link which no snapshot owns any more if nothing is built over it, with the links below that only it needed.
/// Answers whether it did. Unlike [`remove_link`] it merges nothing; such a link would be found by nobody later.
///
/// # Errors
/// As for [`remove_link`].
pub fn drop_unused(path: &Path, owned: &[PathBuf]) -> Result<bool> {
    let link = Link::open(path, true)?;
    let held = FolderLock::exclusive(files::folder_of(path))?;
    if link.descriptor.kind == LinkKind::Flat || !children(path)?.is_empty() {
        return Ok(false);
    }
    drop_with_orphans(link, owned, &held)?;
    Ok(true)
}

/// Merges away every link below `top`, or below another of the disk's links in `owned`, that is not in `owned` and has
/// a single child, and finishes what a merge that died had begun. Answers what was merged, in order; the last survivor
/// that `top` turned into, if any, is found by following them.
///
/// # Errors
/// As for [`remove_link`]; what was merged before stays merged.
pub fn consolidate(
    top: &Path,
    owned: &[PathBuf],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Removal>> {
    let mut merged = Vec::new();
    for path in unowned(top, owned)? {
        // One of the merges before may have been that of this link into its parent.
        if !path.exists() {
            continue;
        }
        match remove_link(&path, owned, progress)? {
            Removal::Shared => {}
            removal => merged.push(removal),
        }
    }
    Ok(merged)
}

/// Finishes the merges below `top` that died when the content had moved already, and nothing else: until then, only this
/// crate can read the disk. Answers what was merged, in order.
///
/// # Errors
/// As for [`remove_link`].
pub fn finish_merges(top: &Path, owned: &[PathBuf]) -> Result<Vec<Removal>> {
    let mut merged = Vec::new();
    for path in unowned(top, owned)? {
        if path.exists() && begun(&path, &Descriptor::load(&path)?, &children(&path)?).is_some() {
            merged.push(remove_link(&path, owned, &mut |_, _| {})?);
        }
    }
    Ok(merged)
}

/// Whether there is anything to do for [`consolidate`].
///
/// # Errors
/// Those of opening the chain.
pub fn needs_consolidation(top: &Path, owned: &[PathBuf]) -> Result<bool> {
    for path in unowned(top, owned)? {
        if mergeable(&path, &Descriptor::load(&path)?, children(&path)?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The links of a disk that something is built over and that are not in `owned`, which may have links of other disks.
/// What is in another folder than the disk is another's.
fn unowned(top: &Path, owned: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let paths = |chain: &Chain| chain.links().iter().map(|link| link.path.clone()).collect::<Vec<_>>();
    let live = paths(&Chain::open(top, false, false)?);
    let mut found: Vec<PathBuf> = live[1..].to_vec();
    for path in owned.iter().filter(|path| !live.contains(path)) {
        // A chain that is broken is for whoever opens it to complain about; there is nothing to merge in it.
        if let Ok(chain) = Chain::open(path, false, false)
            && paths(&chain).last() == live.last()
        {
            found.extend(paths(&chain).into_iter().filter(|path| !live.contains(path)));
        }
    }
    let mut seen = HashSet::new();
    let folder = files::folder_of(top);
    found.retain(|path| {
        files::folder_of(path) == folder && !owned.contains(path) && seen.insert(path.clone())
    });
    Ok(found)
}

/// Which of the links over this one can be merged into it: the only one, or one with which that was begun. It is in the
/// same folder, and links of other folders stand on neither: they have to find their parent where it is and as it is.
fn mergeable(path: &Path, link: &Descriptor, over: Vec<PathBuf>) -> Result<Option<PathBuf>> {
    if let Some(child) = begun(path, link, &over) {
        return Ok(Some(child.clone()));
    }
    let [child] = over.as_slice() else { return Ok(None) };
    let is_near = files::folder_of(child) == files::folder_of(path);
    Ok((is_near && sharing::children(child)?.is_empty()).then(|| child.clone()))
}

/// The link whose content this one has taken over, in a merge that died before the links over that one were told.
fn begun<'c>(path: &Path, link: &Descriptor, over: &'c [PathBuf]) -> Option<&'c PathBuf> {
    let mut near = over.iter().filter(|child| files::folder_of(child) == files::folder_of(path));
    near.find(|child| Descriptor::load(child).is_ok_and(|descriptor| descriptor.cid == link.cid))
}

/// The descriptors that name `path` as their parent, those of the same folder first.
pub(crate) fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let name = files::file_name(path)?;
    let folder = files::folder_of(path);
    let unreadable = |source| Error::io("the disk's folder cannot be listed", source).at(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_candidate = entry.file_name().to_str().is_some_and(is_descriptor_name);
        if !is_candidate {
            continue;
        }
        let candidate = files::sibling(path, &entry.file_name().to_string_lossy());
        // A broken or vanished descriptor is nobody's child: no chain can be opened through it.
        if let Ok(descriptor) = Descriptor::load(&candidate)
            && descriptor.parent_hint.as_deref() == Some(name)
        {
            found.push(candidate);
        }
    }
    found.sort();
    found.extend(sharing::children(path)?);
    Ok(found)
}

/// Removes the link's files, the descriptor first: without it the rest is litter, with it and no data it is a lie.
pub(crate) fn remove_files(link: &Link, _held: &FolderLock) -> Result<()> {
    files::remove(&link.path)?;
    files::remove(&files::sibling(&link.path, &link.descriptor.extent_file))?;
    files::remove(&sharing::list_of(&link.path))?;
    match &link.descriptor.change_track {
        Some(name) => files::remove(&files::sibling(&link.path, name)),
        None => Ok(()),
    }
}

/// Removes a link that has no children, then each parent that is left without children and that no snapshot owns,
/// down to the base, which stays, or to what is in another folder.
fn drop_with_orphans(link: Link, owned: &[PathBuf], held: &FolderLock) -> Result<()> {
    let mut doomed = link;
    loop {
        let parent = doomed.descriptor.parent_in_folder(&doomed.path);
        remove_files(&doomed, held)?;
        match parent {
            Some(parent) if !owned.contains(&parent) && children(&parent)?.is_empty() => {
                doomed = Link::open(&parent, true)?;
                if doomed.descriptor.kind == LinkKind::Flat {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
}

/// Copies what the child holds into its parent, then makes the parent take the child's place.
///
/// While data moves, the child and all above it read the same as before: what is copied is what the child hides.
fn merge(parent: &Link, child_path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let child = Link::open(child_path, true)?;
    let LinkData::Delta(delta) = &child.data else {
        return Err(
            Error::new(ErrorKind::Corrupt, "a link with a parent has a base disk's data").at(child_path)
        );
    };
    // The chain below would be needed where a run of the child ends inside a grain of the parent. Both have the same
    // grains, and only the last one of a disk is short: there the run covers all that exists.
    let unreachable = |_: u64, _: &mut [u8]| {
        Err(Error::new(ErrorKind::Corrupt, "a merge met a grain that is held in part").at(child_path))
    };
    let zero = |at: u64, count: u64| match &parent.data {
        LinkData::Flat(flat) => flat.zero(at, count),
        LinkData::Delta(below) => below.zero(at, count, &unreachable),
    };
    let space = Space::of(&parent.path)?;
    let write = |at: u64, bytes: &[u8]| {
        if let Some(space) = &space {
            parent.claim(space, at, at + bytes.len() as u64)?;
        }
        match &parent.data {
            LinkData::Flat(flat) => flat.write(at, bytes),
            LinkData::Delta(below) => below.write(at, bytes, &unreachable),
        }
    };
    let capacity = child.descriptor.capacity();
    let mut buffer = vec![0; 1 << 20];
    let mut told = 0;
    let _: ControlFlow<()> = delta.runs(0, capacity, &mut |from, to, place| {
        match place {
            Place::Parent => {}
            Place::Zero => zero(from, to - from)?,
            Place::Data(position) => {
                let mut at = from;
                while at < to {
                    let count = (to - at).min(buffer.len() as u64);
                    let bytes = &mut buffer[..count as usize];
                    delta.read_data(position + (at - from), bytes)?;
                    if bytes.iter().all(|&byte| byte == 0) {
                        zero(at, count)?;
                    } else {
                        write(at, bytes)?;
                    }
                    at += count;
                }
            }
        }
        // Runs can be as short as a sector.
        if to == capacity || to - told >= capacity / 128 {
            progress(to, capacity);
            told = to;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let held = FolderLock::exclusive(files::folder_of(child_path))?;
    let grandchildren = children(child_path)?;
    // From here on the parent has the child's content id, and the chain can be opened whatever was done of the rest:
    // by way of the child, since `chain::open_parent` knows this state, or past it. All of it can be done again.
    let mut descriptor = Descriptor::load(&parent.path)?;
    descriptor.adopt_content(&child.descriptor);
    tracking::adopt(&mut descriptor, &parent.path, &child)?;
    descriptor.store(&parent.path, &held)?;
    let name = files::file_name(&parent.path)?;
    for path in grandchildren {
        let mut grandchild = Descriptor::load(&path)?;
        grandchild.parent_hint = Some(name.to_owned());
        grandchild.store(&path, &held)?;
    }
    remove_files(&child, &held)
}

/// The format of a chain's children, if it has any.
pub(crate) fn delta_format(chain: &Chain) -> Option<DeltaFormat> {
    chain.links().iter().find_map(|link| match link.descriptor.kind {
        LinkKind::Delta(format) => Some(format),
        LinkKind::Flat => None,
    })
}

pub(crate) fn usual_format(disk: &Descriptor) -> DeltaFormat {
    if disk.capacity() < DeltaFormat::LARGE { DeltaFormat::VmfsSparse } else { DeltaFormat::SeSparse }
}

/// Makes an empty child link over `parent`, which it names as `hint`, tracked as `track` decides.
pub(crate) fn add_child(
    parent: &Link,
    hint: &str,
    child: &Path,
    format: DeltaFormat,
    uuid: Option<DiskUuid>,
    held: &FolderLock,
    track: fn(&Link, &Path) -> Result<Option<String>>,
) -> Result<()> {
    let mut descriptor = Descriptor {
        cid: Cid::NO_PARENT,
        parent_cid: parent.descriptor.cid,
        parent_hint: Some(hint.to_owned()),
        change_track: None,
        kind: LinkKind::Delta(format),
        sectors: parent.descriptor.sectors,
        extent_file: format!("{}{}", crate::disk::stem(child)?, format.suffix()),
        provisioning: Provisioning::Thin,
        ddb: Default::default(),
        other: Vec::new(),
    };
    descriptor.ddb.extend(uuid.map(|uuid| ("uuid".to_owned(), uuid.to_string())));
    descriptor.renew_content()?;
    // The data and the change map, each with what it has at first.
    crate::disk::claim(child, 2 * NEW_FILE)?;
    let extent = files::sibling(child, &descriptor.extent_file);
    Delta::create(&extent, descriptor.capacity(), format)?;
    let made = track(parent, child).and_then(|map| {
        descriptor.change_track = map;
        descriptor.store(child, held)
    });
    if made.is_err() {
        // Without a descriptor they are nobody's. The first failure is the one to report.
        for litter in [Some(extent), descriptor.change_track.map(|map| files::sibling(child, &map))] {
            if let Some(Err(error)) = litter.map(|path| files::remove(&path)) {
                tracing::warn!(%error, "a file of a link that was not made is left behind");
            }
        }
    }
    made
}

/// `vm-00000N.vmdk` beside the lowest link `vm.vmdk` of the disk's folder, N one above the highest that any file there uses.
fn next_child_path(chain: &Chain) -> Result<PathBuf> {
    let top = &chain.top().path;
    let folder = files::folder_of(top);
    let near =
        chain.links().iter().map(|link| &link.path).take_while(|path| files::folder_of(path) == folder);
    let base = near.last().unwrap_or(top);
    let stem = crate::disk::stem(base)?;
    let unreadable = |source| Error::io("the disk's folder cannot be listed", source).at(folder);
    let mut highest = 0;
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".vmdk"))
            .and_then(|rest| rest.split('-').next())
            .filter(|digits| digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u32>().ok());
        highest = highest.max(number.unwrap_or(0));
    }
    let next = highest.checked_add(1).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "the numbers of child disks are used up").at(base)
    })?;
    Ok(files::sibling(base, &format!("{stem}-{next:06}.vmdk")))
}

/// Data files share the suffix of descriptors; reading them all to find out would be slow.
pub(crate) fn is_descriptor_name(name: &str) -> bool {
    name.ends_with(".vmdk")
        && !name.starts_with('.')
        && !["-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk", "-ctk.vmdk"]
            .iter()
            .any(|data| name.ends_with(data))
}
