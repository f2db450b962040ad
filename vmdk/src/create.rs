//! Making new disks and new children of disks.

use std::sync::Arc;

use crate::SECTOR;
use crate::Sectors;
use crate::descriptor::{Cid, CreateType, Descriptor, ExtentLine};
use crate::disk::{Disk, OpenOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::folder::Folder;
use crate::geometry::{AdapterType, Geometry};
use crate::name::{flat_name, split_name};
use crate::sparse::{self, SparseSpec};

/// The forms that a disk can be made in. streamOptimized is not among them: it is written in one go, by a
/// [`StreamWriter`](crate::StreamWriter).
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// One file, which grows as it is written to. For Workstation and Fusion; ESXi wants it converted.
    MonolithicSparse,
    /// A descriptor, and files that grow, for 2 GB of the disk each.
    SplitSparse,
    /// A descriptor, and a file of the disk's size.
    MonolithicFlat,
    /// A descriptor, and files of 2 GB.
    SplitFlat,
    /// What ESXi has on its datastores, thick: a descriptor, and a file of the disk's size. Whether its blocks are zeroed ahead
    /// (eager) is a matter of VMFS, not of these files.
    Vmfs,
    /// The same, marked as thin.
    VmfsThin,
}

/// VMware's full part of a split disk, 2047 MiB.
pub const SPLIT_SECTORS: Sectors = 4_192_256;

/// A disk to be made.
///
/// ```
/// # fn main() -> Result<(), vmdk::Error> {
/// # use std::sync::Arc;
/// # use vmdk::{Folder, MemoryFolder};
/// use vmdk::{AdapterType, Create, Variant};
///
/// # let folder: Arc<dyn Folder> = Arc::new(MemoryFolder::new());
/// let disk = Create::new(Variant::SplitSparse, 5 << 30).adapter(AdapterType::Ide).create(&folder, "x.vmdk")?;
/// assert_eq!(disk.links()[0].descriptor().extents().len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Create {
    variant: Variant,
    capacity: u64,
    adapter: AdapterType,
    grain: Sectors,
    zeroed_grains: bool,
    split: Sectors,
    parent: Option<(Cid, String)>,
}

impl Create {
    /// A disk of `capacity` bytes, which is a multiple of 512 (zero will do), for an LSI Logic adapter.
    pub fn new(variant: Variant, capacity: u64) -> Self {
        Self {
            variant,
            capacity,
            adapter: AdapterType::LsiLogic,
            grain: 128,
            zeroed_grains: false,
            split: SPLIT_SECTORS,
            parent: None,
        }
    }

    /// The adapter, which decides on the geometry, too.
    #[must_use]
    pub fn adapter(mut self, adapter: AdapterType) -> Self {
        self.adapter = adapter;
        self
    }

    /// The sectors of a grain of a sparse disk: a power of two from 8 to 128, which is what it is unless told.
    #[must_use]
    pub fn grain(mut self, sectors: Sectors) -> Self {
        self.grain = sectors;
        self
    }

    /// Whether a sparse disk can record grains as zero (version 2 of its header). Not all readers know of it; without it, zeros
    /// are written.
    #[must_use]
    pub fn zeroed_grains(mut self, zeroed: bool) -> Self {
        self.zeroed_grains = zeroed;
        self
    }

    /// The sectors of a full part of a split disk: [`SPLIT_SECTORS`] unless told. qemu makes parts of 4,194,304.
    #[must_use]
    pub fn split(mut self, sectors: Sectors) -> Self {
        self.split = sectors;
        self
    }

    /// Makes the files and opens the disk for writing. It reads as zeros. The file that makes it a disk is made last.
    ///
    /// # Errors
    /// `InvalidInput` for a capacity, grain or part that can't be; `AlreadyExists` if any of its files is there, which is then
    /// left as it is; `TooLarge` for a sparse file of more than it can address; `Io` from the storage. What was made until then
    /// is removed again.
    pub fn create(&self, folder: &Arc<dyn Folder>, name: &str) -> Result<Disk> {
        self.make(folder, name)?;
        OpenOptions::new().writable(true).without_parents(self.parent.is_some()).open(folder, name)
    }

    fn make(&self, folder: &Arc<dyn Folder>, name: &str) -> Result<()> {
        if !self.capacity.is_multiple_of(SECTOR) {
            return Err(Error::invalid(format!(
                "a capacity of {} bytes; it has to be a multiple of {SECTOR}",
                self.capacity
            )));
        }
        let sectors = self.capacity / SECTOR;
        let is_split = matches!(self.variant, Variant::SplitSparse | Variant::SplitFlat);
        let fits =
            self.split.is_multiple_of(self.grain.max(1)) && sectors.div_ceil(self.split.max(1)) <= MOST_PARTS;
        if is_split && (self.split == 0 || !fits) {
            return Err(Error::invalid(format!(
                "parts of {} sectors; they have to be multiples of the grain, and at most {MOST_PARTS}",
                self.split
            )));
        }
        let mut made = Vec::new();
        let result = self.make_files(folder, name, sectors, &mut made);
        if result.is_err() {
            for file in made {
                // The error that stopped it is the one to tell.
                let _ = folder.remove(&file);
            }
        }
        result
    }

    fn make_files(
        &self,
        folder: &Arc<dyn Folder>,
        name: &str,
        sectors: Sectors,
        made: &mut Vec<String>,
    ) -> Result<()> {
        // Names in a descriptor are relative to where that is.
        let base = name.rsplit('/').next().unwrap_or(name);
        let directory = &name[..name.len() - base.len()];
        if self.variant == Variant::MonolithicSparse {
            let text = self
                .descriptor(CreateType::MonolithicSparse, vec![ExtentLine::sparse(sectors, base)])?
                .to_bytes();
            return self.make_file(folder, name, made, |file| {
                sparse::create(file, &self.spec(sectors, Some(&text)))
            });
        }
        let (create_type, lines) = match self.variant {
            Variant::MonolithicSparse => return Ok(()),
            Variant::MonolithicFlat => {
                (CreateType::MonolithicFlat, vec![ExtentLine::flat(sectors, flat_name(base), 0)])
            }
            Variant::Vmfs | Variant::VmfsThin => {
                (CreateType::Vmfs, vec![ExtentLine::vmfs(sectors, flat_name(base))])
            }
            Variant::SplitSparse => {
                let line = |(number, length)| ExtentLine::sparse(length, split_name(base, number, false));
                (CreateType::TwoGbMaxExtentSparse, self.parts(sectors).map(line).collect())
            }
            Variant::SplitFlat => {
                let line = |(number, length)| ExtentLine::flat(length, split_name(base, number, true), 0);
                (CreateType::TwoGbMaxExtentFlat, self.parts(sectors).map(line).collect())
            }
        };
        for line in &lines {
            let file = format!("{directory}{}", line.file.as_deref().unwrap_or_default());
            match self.variant {
                Variant::SplitSparse => {
                    self.make_file(folder, &file, made, |file| {
                        sparse::create(file, &self.spec(line.sectors, None))
                    })?;
                }
                _ => self.make_file(folder, &file, made, |file| {
                    file.set_size(line.sectors * SECTOR)
                        .map_err(|error| Error::io("making room for the data failed", error))
                })?,
            }
        }
        let text = self.descriptor(create_type, lines)?.to_bytes();
        self.make_file(folder, name, made, |file| {
            file.write_all_at(&text, 0).map_err(|error| Error::io("writing the descriptor failed", error))
        })
    }

    fn make_file(
        &self,
        folder: &Arc<dyn Folder>,
        name: &str,
        made: &mut Vec<String>,
        fill: impl FnOnce(&dyn crate::io::WriteAt) -> Result<()>,
    ) -> Result<()> {
        let file = folder.create(name).map_err(|error| Error::io("it can't be made", error).in_file(name))?;
        made.push(name.to_owned());
        fill(&file).map_err(|error| error.in_file(name))?;
        file.sync().map_err(|error| Error::io("syncing it failed", error).in_file(name))
    }

    /// Number and sectors of each part. A disk without content has one as well: a descriptor without extents is none.
    fn parts(&self, sectors: Sectors) -> impl Iterator<Item = (u32, Sectors)> + use<> {
        let full = self.split;
        let count = sectors.div_ceil(full).max(1);
        (0..count).map(move |part| (part as u32 + 1, full.min(sectors - part * full)))
    }

    fn spec<'a>(&self, capacity: Sectors, descriptor: Option<&'a [u8]>) -> SparseSpec<'a> {
        SparseSpec { capacity, grain: self.grain, zeroed_grains: self.zeroed_grains, descriptor }
    }

    fn descriptor(&self, create_type: CreateType, extents: Vec<ExtentLine>) -> Result<Descriptor> {
        let mut descriptor = Descriptor::new(create_type, Cid::NONE.random_but(), extents);
        if let Some((cid, hint)) = &self.parent {
            descriptor.set_parent(Some((*cid, hint)))?;
        }
        descriptor.set_adapter(self.adapter);
        descriptor.set_geometry(Geometry::of(self.capacity / SECTOR, self.adapter));
        if self.variant == Variant::VmfsThin {
            descriptor.set_ddb("thinProvisioned", "1")?;
        }
        Ok(descriptor)
    }
}

/// Some 128 TB in parts of 2 GB: more files than that is a slip.
const MOST_PARTS: u64 = 1 << 16;

/// Makes a child of a disk, as a snapshot does: a sparse disk of the same capacity that holds what is written from now on. It is
/// opened for writing, with its parents. The parent must not be changed any more.
///
/// # Errors
/// Those of opening the parent; `AlreadyExists` if the child is there.
pub fn create_child(folder: &Arc<dyn Folder>, parent: &str, child: &str) -> Result<Disk> {
    create_child_as(folder, parent, child, Variant::MonolithicSparse)
}

/// Makes a child like [`create_child`], of this form: monolithicSparse or split sparse.
///
/// # Errors
/// As [`create_child`], and `InvalidInput` for a form that can't leave anything to a parent.
pub fn create_child_as(
    folder: &Arc<dyn Folder>,
    parent: &str,
    child: &str,
    variant: Variant,
) -> Result<Disk> {
    if !matches!(variant, Variant::MonolithicSparse | Variant::SplitSparse) {
        return Err(Error::invalid("only a sparse disk can be a child"));
    }
    let opened = Disk::open(folder, parent)?;
    let top = opened.links().first().ok_or_else(|| Error::invalid("a chain without links"))?;
    let mut create = Create::new(variant, opened.capacity());
    create.adapter = top.descriptor().adapter().unwrap_or(AdapterType::LsiLogic);
    // So that zeros can be told from what the parent has without being stored.
    create.zeroed_grains = true;
    create.parent = Some((top.descriptor().cid(), hint(child, parent)?));
    create.make(folder, child)?;
    OpenOptions::new().writable(true).open(folder, child)
}

/// The way from the child's directory to the parent.
fn hint(child: &str, parent: &str) -> Result<String> {
    let (mut from, mut to) = (child.split('/').peekable(), parent.split('/').peekable());
    if parent.contains(['"', '\r', '\n', '\0']) || child == parent {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "the name of the parent can't stand in a descriptor",
        )
        .in_file(parent));
    }
    while from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let up = from.count().saturating_sub(1);
    Ok("../".repeat(up) + &to.collect::<Vec<_>>().join("/"))
}
