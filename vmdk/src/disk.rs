//! A disk with all of its parents, as one thing that can be read, mapped and written.

mod map;
mod open;
mod write;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::SECTOR;
use crate::backing::{Backing, FileId};
use crate::descriptor::{Cid, Descriptor};
use crate::error::{Error, Result};
use crate::extent::{Extent, Layout, Place};
use crate::folder::Folder;
use crate::io::ReadAt;

pub use map::{Map, Span, State};
pub use open::OpenOptions;
pub(crate) use write::is_zero;

/// A disk: the link that was opened, its parent, the parent's parent, down to the base.
///
/// It can be read by several threads at once. One that was opened for writing takes changes into the top link alone; several
/// threads may write, one at a time gets on. Positions and lengths are bytes, and need not be aligned.
///
/// ```
/// # fn main() -> Result<(), vmdk::Error> {
/// use std::sync::Arc;
/// use vmdk::{Create, Disk, Folder, MemoryFolder, Variant};
///
/// let folder: Arc<dyn Folder> = Arc::new(MemoryFolder::new());
/// let base = Create::new(Variant::MonolithicSparse, 10 << 20).create(&folder, "base.vmdk")?;
/// base.write_all_at(b"first", 4096)?;
/// base.close()?;
///
/// let child = vmdk::create_child(&folder, "base.vmdk", "base-000001.vmdk")?;
/// child.write_all_at(b"second", 8192)?;
/// child.close()?;
///
/// let disk = Disk::open(&folder, "base-000001.vmdk")?;
/// let mut bytes = [0; 5];
/// disk.read_exact_at(&mut bytes, 4096)?;
/// assert_eq!(&bytes, b"first");
/// assert_eq!(disk.links().len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Disk {
    backing: Backing,
    /// From the top down.
    links: Vec<Link>,
    capacity: u64,
    writing: Option<Mutex<write::Writing>>,
}

/// One link of a chain: a descriptor and the extents that it names.
pub struct Link {
    name: String,
    descriptor: Descriptor,
    /// The content id that the first change will give it.
    next_cid: Cid,
    /// Where the descriptor is within a file that holds data as well.
    embedded: Option<Embedded>,
    pub(crate) extents: Vec<Extent>,
}

struct Embedded {
    file: FileId,
    range: std::ops::Range<u64>,
}

impl Disk {
    /// Opens a disk and its parents for reading. `name` is that of the descriptor, or of a file that holds its own.
    ///
    /// # Errors
    /// See [`OpenOptions::open`].
    pub fn open(folder: &Arc<dyn Folder>, name: &str) -> Result<Self> {
        OpenOptions::new().open(folder, name)
    }

    /// Opens a local disk and its parents for reading. All of their files have to be within the folder of this one.
    ///
    /// # Errors
    /// See [`OpenOptions::open`].
    pub fn open_path(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open_path(path)
    }

    /// The size in bytes that a guest sees.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The links, the top one first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Fills the buffer with the disk's content from `offset` on. What no link has reads as zeros.
    ///
    /// # Errors
    /// `InvalidInput` behind the end of the disk; `Malformed` where tables or files contradict one another; `Disputed` as
    /// [`Policy`](crate::Policy) says; `Io` from the storage.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.check_range(offset, buffer.len() as u64)?;
        self.read_from(0, buffer, offset)
    }

    /// What the disk's bytes are and where they come from, span by span, from `range.start` on. The end is cut to the capacity.
    pub fn map(&self, range: std::ops::Range<u64>) -> Map<'_> {
        Map::new(self, range)
    }

    /// The first bytes from `offset` on that are stored and not known to be zero, as
    /// [`StreamWriter::write_from`](crate::StreamWriter::write_from) asks for them. `None` if there are none.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn next_data(&self, offset: u64) -> Result<Option<std::ops::Range<u64>>> {
        // Not further than a while: each call begins anew.
        let mut offset = offset;
        while offset < self.capacity {
            let end = self.capacity.min(offset.saturating_add(NEXT_DATA));
            for span in self.map(offset..end) {
                let span = span?;
                if span.state == State::Data {
                    return Ok(Some(span.offset..span.offset + span.length));
                }
            }
            offset = end;
        }
        Ok(None)
    }

    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.capacity => Ok(()),
            _ => Err(Error::invalid(format!(
                "{length} bytes at {offset} reach behind the end of the disk, which has {} bytes",
                self.capacity
            ))),
        }
    }

    /// Reads what the links from `depth` on have.
    fn read_from(&self, depth: usize, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        let Some(link) = self.links.get(depth) else {
            buffer.fill(0);
            return Ok(());
        };
        while !buffer.is_empty() {
            let extent = link.extent_at(offset)?;
            let run = extent.locate(&self.backing, offset - extent.start, buffer.len() as u64)?;
            let (piece, rest) = buffer.split_at_mut(run.length as usize);
            match run.place {
                Place::Zero => piece.fill(0),
                Place::Unallocated => self.read_from(depth + 1, piece, offset)?,
                Place::At(position) => match extent.file() {
                    Some(file) => self.backing.read(file, piece, position)?,
                    None => piece.fill(0),
                },
                Place::Packed { record, skip } => self.read_grain(extent, record, skip, offset, piece)?,
            }
            offset += run.length;
            buffer = rest;
        }
        Ok(())
    }

    /// Reads a part of a compressed grain, which is kept for the parts that will follow.
    fn read_grain(
        &self,
        extent: &Extent,
        record: u64,
        skip: u64,
        offset: u64,
        piece: &mut [u8],
    ) -> Result<()> {
        let Layout::Hosted { file, grains } = &extent.layout else {
            return Err(Error::malformed("only a hosted sparse extent has compressed grains"));
        };
        let grain = (offset - extent.start) / (grains.header().grain * SECTOR);
        let load = || {
            let read = grains.read_packed(&self.backing, *file, record, grain);
            read.map(|(content, _)| Arc::from(content))
                .map_err(|error| error.in_file(self.backing.name(*file)))
        };
        let content = match piece.len() as u64 == grains.header().grain_needs(grain) * SECTOR {
            // Nothing is left that a later read could want.
            true => load()?,
            false => self.backing.grains.get_or_load(record / SECTOR + ((*file as u64) << 40), load)?,
        };
        let from = content.get(skip as usize..).and_then(|rest| rest.get(..piece.len()));
        piece.copy_from_slice(from.ok_or_else(|| Error::malformed("a compressed grain is too short"))?);
        Ok(())
    }
}

/// With the errors of this crate as `InvalidData` and the like; the [`Error`] is within.
impl ReadAt for Disk {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.capacity) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Disk::read_exact_at(self, buffer, offset)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.capacity)
    }
}

impl Link {
    /// The name of the file that holds the descriptor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the descriptor says.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Whether the descriptor is within the file that holds the data.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The extent of a byte of the disk.
    fn extent_at(&self, offset: u64) -> Result<&Extent> {
        let index = self.extents.partition_point(|extent| extent.end() <= offset);
        self.extents.get(index).ok_or_else(|| Error::malformed("an extent is missing").in_file(&self.name))
    }
}

/// How far [`Disk::next_data`] looks at once.
const NEXT_DATA: u64 = 64 << 20;
