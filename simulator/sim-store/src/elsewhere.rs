//! Links that are made in other folders: children of linked clones, and copies of single links when disks move.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::chain::{Chain, MAX_LINKS};
use crate::descriptor::{Descriptor, LinkKind, Provisioning};
use crate::files::{self, FolderLock};
use crate::link::Link;
use crate::space::{NEW_FILE, Space};
use crate::{DiskUuid, Error, ErrorKind, Result, crash, sharing, snapshot, tracking, volumes};

/// Bytes copied at once.
const PIECE: u64 = 1 << 20;

/// What a copy of a link shall be.
#[derive(Debug, Clone, Copy)]
pub struct Copy<'a> {
    /// The link under it: the original's own parent, or another with the same content.
    pub parent: Option<&'a Path>,
    /// Another uuid than the original's.
    pub uuid: Option<DiskUuid>,
    /// It goes on with the changes that the original has tracked, so that change ids stay valid. Without, it is not tracked.
    pub tracked: bool,
}

/// Puts a new, empty child over `parent`, a link that nobody writes any more, in any folder of the server's datastores.
/// It is not tracked.
///
/// # Errors
/// `AlreadyExists`; `InvalidArgument` if the chain is at [`MAX_LINKS`]; `BadPath` if the parent is on no datastore that is
/// known by its uuid; those of opening the chain; `NoSpace`, `Io`.
pub fn create_child(parent: &Path, child: &Path, uuid: DiskUuid) -> Result<()> {
    let chain = Chain::open(parent, false, false)?;
    if chain.links().len() >= MAX_LINKS {
        let what = format!("the disk's chain has {MAX_LINKS} links already");
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(parent));
    }
    let hint = hint(parent, child)?;
    let held = FolderLock::exclusive(files::folder_of(child))?;
    check_absent(child)?;
    let format =
        snapshot::delta_format(&chain).unwrap_or_else(|| snapshot::usual_format(&chain.top().descriptor));
    snapshot::add_child(chain.top(), &hint, child, format, Some(uuid), &held, tracking::none)
}

/// Copies one link with its content id, over another parent if it has one. `progress(done, total)` in bytes is called as
/// data is copied, and may break the copying off. What was begun of a copy that fails or is broken off is the
/// caller's to remove. Nobody may write the original meanwhile.
///
/// # Errors
/// `AlreadyExists`; `InvalidArgument` for a base with a parent or a child without; `ChainBroken` if the parent is not like
/// the original's; `NoSpace`, `Io`.
pub fn copy_link(
    from: &Path,
    to: &Path,
    copy: Copy<'_>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let link = Link::open(from, false)?;
    let mut descriptor = link.descriptor.clone();
    if copy.parent.is_some() == (descriptor.kind == LinkKind::Flat) {
        let what = "a child is copied over a parent, and a base over none";
        return Err(Error::new(ErrorKind::InvalidArgument, what).at(from));
    }
    if let Some(parent) = copy.parent {
        descriptor.parent_hint = Some(hint(parent, to)?);
        descriptor.parent_cid = Descriptor::load(parent)?.cid;
    }
    let extent = link.descriptor.extent_file.as_str();
    let suffix = extent.rfind('-').map_or("-flat.vmdk", |at| &extent[at..]);
    descriptor.extent_file = format!("{}{suffix}", crate::disk::stem(to)?);
    if let Some(uuid) = copy.uuid {
        descriptor.ddb.insert("uuid".to_owned(), uuid.to_string());
    }
    check_absent(to)?;
    if copy_data(&link, &files::sibling(to, &descriptor.extent_file), to, progress)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    descriptor.change_track = None;
    if copy.tracked {
        descriptor.change_track = tracking::copy_to(&link, to)?;
    }
    let held = FolderLock::exclusive(files::folder_of(to))?;
    check_absent(to)?;
    descriptor.store(to, &held)?;
    drop(held);
    Chain::open(to, false, false).map(|_| ControlFlow::Continue(()))
}

fn copy_data(
    link: &Link,
    extent: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let unreadable = |source| Error::io("a data file cannot be read", source).at(&link.path);
    let length = link.file().metadata().map_err(unreadable)?.len();
    let space = Space::of(to)?;
    // Such a disk has its space from the beginning.
    let whole = link.descriptor.kind == LinkKind::Flat && link.descriptor.provisioning != Provisioning::Thin;
    if let Some(space) = &space {
        space.claim(if whole { link.descriptor.capacity() } else { NEW_FILE })?;
    }
    let target = files::create_sparse(extent, length)?;
    let mut buffer = vec![0; PIECE as usize];
    let copied = files::data_ranges(link.file(), 0, length, &mut |from, end| {
        let mut at = from;
        while at < end {
            let piece = &mut buffer[..(end - at).min(PIECE) as usize];
            if let Some(space) = space.as_ref().filter(|_| !whole) {
                space.claim(piece.len() as u64)?;
            }
            link.file().read_exact_at(piece, at).map_err(unreadable)?;
            target
                .write_all_at(piece, at)
                .map_err(|source| Error::io("a data file cannot be written", source).at(extent))?;
            at += piece.len() as u64;
            if progress(at, length).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    crash::point();
    copied
}

/// How a link names its parent. A parent in another folder learns of the child first.
fn hint(parent: &Path, child: &Path) -> Result<String> {
    if files::folder_of(parent) == files::folder_of(child) {
        return files::file_name(parent).map(str::to_owned);
    }
    let name = volumes::name_of(parent)?;
    sharing::add(parent, child)?;
    Ok(name)
}

fn check_absent(path: &Path) -> Result<()> {
    match path.exists() {
        true => Err(Error::new(ErrorKind::AlreadyExists, "a file of that name exists already").at(path)),
        false => Ok(()),
    }
}
