//! One link of a disk: its descriptor and its open data file.

pub(crate) mod delta;
pub(crate) mod flat;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::descriptor::{Descriptor, LinkKind};
use crate::{Result, files};
use delta::Delta;
use flat::Flat;

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

    pub(crate) fn file(&self) -> &File {
        match &self.data {
            LinkData::Flat(flat) => flat.file(),
            LinkData::Delta(delta) => delta.file(),
        }
    }
}
