//! One extent of a disk: where each of its bytes is.

use crate::backing::{Backing, FileId, Lookup};
use crate::cowd::Cowd;
use crate::error::Result;
use crate::sesparse::SeSparse;
use crate::sparse::Hosted;

/// Where a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not in this link: the parent has it, and without a parent it is zero.
    Unallocated,
    /// Zero, whatever the parent has.
    Zero,
    /// In the file, at this byte.
    At(u64),
    /// In the compressed grain whose record is at `record`, `skip` bytes after the grain's start.
    Packed { record: u64, skip: u64 },
}

/// Bytes that are in one place, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) place: Place,
    pub(crate) length: u64,
}

pub(crate) struct Extent {
    /// Where it begins on the disk, in bytes.
    pub(crate) start: u64,
    /// In bytes, above zero.
    pub(crate) length: u64,
    pub(crate) writable: bool,
    pub(crate) layout: Layout,
}

pub(crate) enum Layout {
    /// No file: zeros.
    Zero,
    /// The bytes as they are, from `offset` bytes on.
    Flat {
        file: FileId,
        offset: u64,
    },
    /// Grains that a directory and tables lead to.
    Hosted {
        file: FileId,
        grains: Box<Hosted>,
    },
    Cowd {
        file: FileId,
        grains: Cowd,
    },
    SeSparse {
        file: FileId,
        grains: SeSparse,
    },
}

/// What the tables of a sparse format say. Grains are counted from the start of the extent.
pub(crate) trait Grains {
    fn grain_bytes(&self) -> u64;

    /// Where a grain is, and for how many grains the answer holds if it is the same for a whole table.
    fn entry(&self, lookup: &mut Lookup<'_>, grain: u64) -> Result<(Place, u64)>;
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.length
    }

    pub(crate) fn file(&self) -> Option<FileId> {
        match self.layout {
            Layout::Zero => None,
            Layout::Flat { file, .. }
            | Layout::Hosted { file, .. }
            | Layout::Cowd { file, .. }
            | Layout::SeSparse { file, .. } => Some(file),
        }
    }

    /// The run that begins at `offset` (bytes from the start of the extent), `limit` bytes of it at most.
    pub(crate) fn locate(&self, backing: &Backing, offset: u64, limit: u64) -> Result<Run> {
        let limit = limit.min(self.length.saturating_sub(offset));
        match &self.layout {
            Layout::Zero => Ok(Run { place: Place::Zero, length: limit }),
            Layout::Flat { offset: start, .. } => Ok(Run { place: Place::At(start + offset), length: limit }),
            Layout::Hosted { file, grains } => walk(&**grains, &mut backing.lookup(*file), offset, limit),
            Layout::Cowd { file, grains } => walk(grains, &mut backing.lookup(*file), offset, limit),
            Layout::SeSparse { file, grains } => walk(grains, &mut backing.lookup(*file), offset, limit),
        }
    }
}

/// Grains that follow one another in the file, or are all absent, are one run.
fn walk(grains: &impl Grains, lookup: &mut Lookup<'_>, offset: u64, limit: u64) -> Result<Run> {
    let grain_bytes = grains.grain_bytes();
    let (index, skip) = (offset / grain_bytes, offset % grain_bytes);
    let (first, count) = grains.entry(lookup, index)?;
    let place = match first {
        Place::At(position) => Place::At(position + skip),
        Place::Packed { record, .. } => Place::Packed { record, skip },
        other => other,
    };
    let mut length = count.saturating_mul(grain_bytes) - skip;
    while length < limit {
        let (next, count) = grains.entry(lookup, (offset + length) / grain_bytes)?;
        let goes_on = match (place, next) {
            (Place::At(start), Place::At(position)) => start + length == position,
            (Place::Unallocated, Place::Unallocated) | (Place::Zero, Place::Zero) => true,
            _ => false,
        };
        if !goes_on {
            break;
        }
        length = length.saturating_add(count.saturating_mul(grain_bytes));
    }
    Ok(Run { place, length: length.min(limit) })
}
