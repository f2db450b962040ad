//! Opening a disk: what the file is, its extents, and its parents one after the other.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{Disk, Embedded, Link, write};
use crate::SECTOR;
use crate::backing::{Backing, FileId};
use crate::cowd::{self, Cowd};
use crate::descriptor::{Access, Descriptor, ExtentKind, ExtentLine, MAX_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{Extent, Layout};
use crate::folder::{Folder, LocalFolder};
use crate::name::{Reference, resolve};
use crate::policy::Policy;
use crate::sesparse::{self, SeSparse};
use crate::sparse::{Hosted, header};

/// A chain of 32 links is what vSphere supports; more have been seen.
const MOST_LINKS: usize = 256;
const CHANGE_TRACKING_MAGIC: [u8; 4] = [0xA2, 0x72, 0x19, 0xF6];

/// How to open a disk.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    writable: bool,
    alone: bool,
    follow_outside: bool,
    table_memory: usize,
    policy: Policy,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            writable: false,
            alone: false,
            follow_outside: false,
            table_memory: 16 << 20,
            policy: Policy::default(),
        }
    }
}

impl OpenOptions {
    /// For reading, with all parents, within the folder, refusing what is disputed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the top link can be written to. Its parents never can: a child is worth nothing once its parent was changed.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Whether to leave out the parents: what this link does not have is then `Unallocated`, and reads as zeros.
    #[must_use]
    pub fn without_parents(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// Whether names of descriptors may lead out of the folder. [`LocalFolder`](crate::LocalFolder) has to be asked as well.
    #[must_use]
    pub fn follow_outside(mut self, follow: bool) -> Self {
        self.follow_outside = follow;
        self
    }

    /// The bytes of memory for cached tables of the whole chain; as many are spent on inflated grains. 16 MiB unless told.
    #[must_use]
    pub fn table_memory(mut self, bytes: usize) -> Self {
        self.table_memory = bytes;
        self
    }

    /// What to do about bytes of disputed meaning.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Opens the disk of this name and, unless told otherwise, its parents.
    ///
    /// # Errors
    /// `NotFound`, `NotADisk`, `Unfinished`, `Malformed` and `Unsupported` for the files; `Encrypted`, `DeviceMapping` and
    /// `RemoteExtent` for disks whose data is elsewhere or unreadable; `ParentMissing`, `ParentModified` and `CapacityDiffers`
    /// for chains whose links don't belong together; `OutsideFolder` for names that lead out; `ReadOnly` for formats that are
    /// only read, when writing was asked for.
    pub fn open(&self, folder: &Arc<dyn Folder>, name: &str) -> Result<Disk> {
        let mut backing = Backing::new(Arc::clone(folder), self.table_memory);
        let top = self.open_link(&mut backing, name, self.writable)?;
        let capacity = top.capacity();
        let mut links = vec![top];
        while let Some(link) = links.last()
            && let Some(parent_cid) = link.descriptor.parent_cid()
            && !self.alone
        {
            if links.len() >= MOST_LINKS {
                return Err(
                    Error::malformed(format!("a chain of more than {MOST_LINKS} links")).in_file(name)
                );
            }
            let parent = self.open_parent(&mut backing, &links)?;
            if parent.descriptor.cid() != parent_cid {
                let message = format!(
                    "\"{}\" was changed after this child was made from it: the child wants content {parent_cid}, the parent has {}. \
                     Restore the parent as it was",
                    parent.name,
                    parent.descriptor.cid()
                );
                return Err(Error::new(ErrorKind::ParentModified, message).in_file(&link.name));
            }
            if parent.capacity() != capacity {
                let message = format!(
                    "it has {capacity} bytes, and its parent \"{}\" {}",
                    parent.name,
                    parent.capacity()
                );
                return Err(Error::new(ErrorKind::CapacityDiffers, message).in_file(&link.name));
            }
            links.push(parent);
        }
        let writing = self.writable.then(|| Mutex::new(write::Writing::default()));
        Ok(Disk { backing, links, capacity, writing })
    }

    /// Opens a local disk. All of its files have to be within the folder of this one, unless
    /// [`follow_outside`](Self::follow_outside) was asked for.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_path(&self, path: impl AsRef<Path>) -> Result<Disk> {
        let (folder, name) = LocalFolder::of_file(path)?;
        let folder = if self.follow_outside { folder.danger_follow_outside() } else { folder };
        self.open(&(Arc::new(folder) as Arc<dyn Folder>), &name)
    }

    fn open_parent(&self, backing: &mut Backing, links: &[Link]) -> Result<Link> {
        let Some(child) = links.last() else { return Err(Error::invalid("a chain without links")) };
        let Some(hint) = child.descriptor.parent_hint() else {
            let message = "it has a parent, but no hint where that is (parentFileNameHint)";
            return Err(Error::new(ErrorKind::ParentMissing, message).in_file(&child.name));
        };
        let known: HashSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let (named, outside) = match resolve(&child.name, hint)? {
            Reference::Inside(name) => (Some(name), false),
            Reference::Outside(name) if self.follow_outside => (Some(name), true),
            Reference::Outside(_) => (None, true),
        };
        if let Some(name) = named.filter(|name| outside || !known.contains(name.as_str())) {
            match self.open_link(backing, &name, false) {
                // A chain that was copied to one folder still has the hints of the place it came from.
                Err(error) if error.is_not_found() && error.file() == Some(&name) => {}
                other => return other,
            }
        } else if !outside {
            let message = format!("its parents lead back to it, by \"{hint}\"");
            return Err(Error::malformed(message).in_file(&child.name));
        }
        let base = hint.rsplit(['/', '\\']).next().unwrap_or(hint);
        if let Reference::Inside(beside) = resolve(&child.name, base)?
            && !known.contains(beside.as_str())
        {
            match self.open_link(backing, &beside, false) {
                Err(error) if error.is_not_found() && error.file() == Some(&beside) => {}
                other => return other,
            }
        }
        let (kind, advice) = match outside && !self.follow_outside {
            true => (
                ErrorKind::OutsideFolder,
                "open the disk with follow_outside, or from a folder that holds both",
            ),
            false => (ErrorKind::ParentMissing, "put it there, or beside the child"),
        };
        Err(Error::new(kind, format!("its parent \"{hint}\" is not to be found: {advice}"))
            .in_file(&child.name))
    }

    fn open_link(&self, backing: &mut Backing, name: &str, writable: bool) -> Result<Link> {
        self.read_link(backing, name, writable).map_err(|error| error.in_file(name))
    }

    fn read_link(&self, backing: &mut Backing, name: &str, writable: bool) -> Result<Link> {
        let file = backing.open(name, writable)?;
        let size = backing.size(file);
        let mut magic = [0; 4];
        let length = size.min(4) as usize;
        backing.read(file, &mut magic[..length], 0)?;
        match magic {
            header::MAGIC | header::MAGIC_UNFINISHED => {
                return self.read_hosted(backing, file, name, writable);
            }
            cowd::MAGIC => return Err(is_data("the data of a vmfsSparse snapshot")),
            CHANGE_TRACKING_MAGIC => return Err(is_data("a change tracking file")),
            _ => {}
        }
        if magic == (sesparse::MAGIC as u32).to_le_bytes() {
            return Err(is_data("the data of an SESparse snapshot"));
        }
        if size > MAX_BYTES as u64 {
            let message = "no VMDK: it has no known magic and is too large for a descriptor. If it is the data of a flat disk, open \
                           that disk's descriptor";
            return Err(Error::new(ErrorKind::NotADisk, message));
        }
        let mut text = vec![0; size as usize];
        backing.read(file, &mut text, 0)?;
        let descriptor = Descriptor::parse(&text)?;
        refuse(&descriptor)?;
        // Bounds the sums below.
        descriptor.capacity()?;
        let mut extents = Vec::new();
        let mut start = 0;
        for line in descriptor.extents().iter().filter(|line| line.sectors > 0) {
            let length = line.sectors * SECTOR;
            extents.push(self.open_extent(backing, name, line, start, length, writable)?);
            start += length;
        }
        check_apart(&extents).map_err(|file| {
            let message = format!("two of its extents are the same bytes of \"{}\"", backing.name(file));
            Error::malformed(message)
        })?;
        Ok(Link::new(name, descriptor, None, extents))
    }

    /// A file that holds its own descriptor. What that calls the file does not matter: it goes stale when the file is renamed.
    fn read_hosted(&self, backing: &mut Backing, file: FileId, name: &str, writable: bool) -> Result<Link> {
        let grains = Hosted::open(backing, file, self.policy.entry_one)?;
        let Some(range) = grains.header().descriptor_range() else {
            return Err(is_data("one part of a split sparse disk"));
        };
        if range.end > backing.size(file) || range.end - range.start > MAX_BYTES as u64 {
            return Err(Error::malformed(
                "its descriptor reaches behind the end of the file, or is too large",
            ));
        }
        let mut text = vec![0; (range.end - range.start) as usize];
        backing.read(file, &mut text, range.start)?;
        if text.first().is_none_or(|byte| *byte == 0) {
            return Err(is_data("one part of a split sparse disk"));
        }
        let descriptor = Descriptor::parse(&text)?;
        refuse(&descriptor)?;
        let [line] = descriptor.extents() else {
            let count = descriptor.extents().len();
            return Err(Error::unsupported(format!(
                "a descriptor within a data file names {count} extents; 1 is known"
            )));
        };
        if line.kind != ExtentKind::Sparse {
            return Err(Error::malformed(format!("a sparse file describes itself as {:?}", line.kind)));
        }
        let extents = match descriptor.capacity()? {
            0 => Vec::new(),
            sectors => vec![hosted_extent(backing, file, grains, line, 0, sectors * SECTOR, writable)?],
        };
        Ok(Link::new(name, descriptor, Some(Embedded { file, range }), extents))
    }

    fn open_extent(
        &self,
        backing: &mut Backing,
        descriptor: &str,
        line: &ExtentLine,
        start: u64,
        length: u64,
        writable: bool,
    ) -> Result<Extent> {
        let writable = writable && line.access == Access::ReadWrite;
        if line.access == Access::NoAccess {
            return Err(Error::unsupported(
                "an extent without access (NOACCESS): what is in it can't be known",
            ));
        }
        if line.kind == ExtentKind::Zero {
            return Ok(Extent { start, length, writable: false, layout: Layout::Zero });
        }
        let reference = line.file.as_deref().ok_or_else(|| Error::malformed("an extent without a file"))?;
        let name = match resolve(descriptor, reference)? {
            Reference::Inside(name) => name,
            Reference::Outside(name) if self.follow_outside => name,
            Reference::Outside(name) => {
                let message = format!(
                    "its extent \"{name}\" is not in the folder of the disk; open it with follow_outside"
                );
                return Err(Error::new(ErrorKind::OutsideFolder, message));
            }
        };
        let file = backing.open(&name, writable)?;
        let layout = match line.kind {
            ExtentKind::Flat | ExtentKind::Vmfs => {
                let offset = line.offset.unwrap_or(0).checked_mul(SECTOR);
                let end = offset.and_then(|offset| offset.checked_add(length));
                match (offset, end) {
                    (Some(offset), Some(end)) if end <= backing.size(file) => Layout::Flat { file, offset },
                    _ => {
                        let message = format!(
                            "it has {} bytes, and the disk needs {length} of it from sector {} on: it was cut",
                            backing.size(file),
                            line.offset.unwrap_or(0)
                        );
                        return Err(Error::malformed(message).in_file(&name));
                    }
                }
            }
            ExtentKind::Sparse => {
                let grains = Hosted::open(backing, file, self.policy.entry_one)?;
                return hosted_extent(backing, file, grains, line, start, length, writable);
            }
            ExtentKind::VmfsSparse => {
                let grains = Cowd::open(backing, file, self.policy.entry_one)?;
                check_capacity(&name, grains.capacity(), line)?;
                check_read_only(&name, writable)?;
                Layout::Cowd { file, grains }
            }
            ExtentKind::SeSparse => {
                let grains = SeSparse::open(backing, file, &self.policy)?;
                check_capacity(&name, grains.capacity(), line)?;
                check_read_only(&name, writable)?;
                Layout::SeSparse { file, grains }
            }
            _ => return Err(Error::unsupported(format!("an extent of the type {}", line.kind))),
        };
        Ok(Extent { start, length, writable, layout })
    }
}

fn hosted_extent(
    backing: &Backing,
    file: FileId,
    grains: Hosted,
    line: &ExtentLine,
    start: u64,
    length: u64,
    writable: bool,
) -> Result<Extent> {
    let name = backing.name(file);
    check_capacity(name, grains.header().capacity, line)?;
    if writable {
        grains.check_writable().map_err(|error| error.in_file(name))?;
    }
    Ok(Extent { start, length, writable, layout: Layout::Hosted { file, grains: Box::new(grains) } })
}

/// Two places of a disk that are one place of a file: a write to one would change the other, and two writers of one sparse file
/// would overwrite each other's grains.
fn check_apart(extents: &[Extent]) -> std::result::Result<(), FileId> {
    let mut taken: Vec<(FileId, u64, u64)> = extents
        .iter()
        .filter_map(|extent| match extent.layout {
            Layout::Zero => None,
            Layout::Flat { file, offset } => Some((file, offset, offset.saturating_add(extent.length))),
            _ => extent.file().map(|file| (file, 0, u64::MAX)),
        })
        .collect();
    taken.sort_unstable();
    let overlap = taken.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2);
    overlap.map_or(Ok(()), |pair| Err(pair[0].0))
}

/// Some writers round the capacity of the header up; less than the line says can't be.
fn check_capacity(name: &str, capacity: u64, line: &ExtentLine) -> Result<()> {
    if capacity < line.sectors {
        let message = format!("it has {capacity} sectors, and the descriptor says {}", line.sectors);
        return Err(Error::malformed(message).in_file(name));
    }
    Ok(())
}

fn check_read_only(name: &str, writable: bool) -> Result<()> {
    if writable {
        let message = "snapshots of ESXi are only read; make a child of the disk, or convert it";
        return Err(Error::new(ErrorKind::ReadOnly, message).in_file(name));
    }
    Ok(())
}

fn refuse(descriptor: &Descriptor) -> Result<()> {
    descriptor.refusal().map_or(Ok(()), Err)
}

fn is_data(what: &str) -> Error {
    Error::new(
        ErrorKind::NotADisk,
        format!("this is {what}, not a disk; open the disk's descriptor, the .vmdk that names it"),
    )
}

impl Link {
    fn new(name: &str, descriptor: Descriptor, embedded: Option<Embedded>, extents: Vec<Extent>) -> Self {
        Self { name: name.to_owned(), next_cid: descriptor.cid().random_but(), descriptor, embedded, extents }
    }

    fn capacity(&self) -> u64 {
        self.extents.last().map_or(0, Extent::end)
    }
}
