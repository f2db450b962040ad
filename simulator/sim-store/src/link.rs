//! One link of a disk: its descriptor and its open data file.

pub(crate) mod delta;
pub(crate) mod flat;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::descriptor::{Descriptor, LinkKind, Provisioning};
use crate::space::Space;
use crate::{Result, files};
use delta::{Delta, Place};
use flat::Flat;

/// In such pieces the host's file system gives out space, in bytes.
const BLOCK: u64 = 4096;

/// An opened link.
pub(crate) struct Link {
    /// Path of the descriptor.
    pub(crate) path: PathBuf,
    /// The descriptor as it was when the link was opened.
    pub(crate) descriptor: Descriptor,
    pub(crate) data: LinkData,
}

pub(crate) enum LinkData {
    Flat(Flat),
    Delta(Delta),
}

impl Link {
    /// Opens the link's data file; takes the writer's lock if `write`.
    pub(crate) fn open(path: &Path, write: bool) -> Result<Self> {
        let descriptor = Descriptor::load(path)?;
        let extent = files::sibling(path, &descriptor.extent_file);
        let file = files::open(&extent, write)?;
        if write {
            files::lock_writer(&file, path)?;
        }
        let data = match descriptor.kind {
            LinkKind::Flat => {
                LinkData::Flat(Flat::new(file, extent, descriptor.capacity(), descriptor.provisioning))
            }
            LinkKind::Delta(format) => {
                LinkData::Delta(Delta::open(file, extent, descriptor.capacity(), format)?)
            }
        };
        Ok(Self { path: path.to_owned(), descriptor, data })
    }

    /// Sees that a datastore has room for what a write of `start..end` adds to the data file.
    pub(crate) fn claim(&self, space: &Space, start: u64, end: u64) -> Result<()> {
        let thick =
            self.descriptor.kind == LinkKind::Flat && self.descriptor.provisioning != Provisioning::Thin;
        if thick {
            // It has had its space from the beginning.
            return Ok(());
        }
        let (from, to) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK));
        space.claim_at_most(to - from, || {
            let mut present = 0;
            let mut visit = |from: u64, to: u64| {
                present += to - from;
                Ok(ControlFlow::Continue(()))
            };
            let to_end = to.min(self.descriptor.capacity());
            let _: ControlFlow<()> = match &self.data {
                LinkData::Flat(flat) => flat.allocated(from, to_end, &mut visit)?,
                LinkData::Delta(delta) => delta.runs(from, to_end, &mut |from, to, place| match place {
                    Place::Data(position) => delta.data_ranges(from, to, position, &mut visit),
                    Place::Parent | Place::Zero => Ok(ControlFlow::Continue(())),
                })?,
            };
            Ok((to - from).saturating_sub(present))
        })
    }

    pub(crate) fn file(&self) -> &File {
        match &self.data {
            LinkData::Flat(flat) => flat.file(),
            LinkData::Delta(delta) => delta.file(),
        }
    }
}
