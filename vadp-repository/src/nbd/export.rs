//! A disk as clients see it.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;

use super::blocks::BLOCK;
use super::overlay::Overlay;
use crate::error::Result;
use crate::read::{DiskReader, Extent, Piece};

/// A disk of a restore point to be served. All connections to it see the same bytes.
#[derive(Debug)]
pub struct Export {
    pub(super) content: Content,
}

pub(super) enum Content {
    ReadOnly(DiskReader),
    Writable(Overlay),
}

impl Export {
    /// The disk as it is. Clients can't write.
    pub fn read_only(disk: DiskReader) -> Self {
        Self { content: Content::ReadOnly(disk) }
    }

    /// The disk with an overlay: clients write, trim and zero as on a disk of their own, and read what they have written. The restore
    /// point never changes, and the overlay is gone when the export is dropped or the process ends, even by a kill.
    ///
    /// The overlay is a file without a name in `folder`. It takes 64 KiB for each such block that was written to, and holds what clients
    /// write without encryption. When the folder has no room left, writes fail with `ENOSPC`, and what was acknowledged stays.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Denied`](crate::ErrorKind::Denied), [`Full`](crate::ErrorKind::Full) (also where no file
    /// can have the size of the disk) or [`Store`](crate::ErrorKind::Store) when the file can't be made.
    pub fn with_overlay(disk: DiskReader, folder: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { content: Content::Writable(Overlay::new(disk, folder.as_ref())?) })
    }

    pub(super) fn disk(&self) -> &DiskReader {
        match &self.content {
            Content::ReadOnly(disk) => disk,
            Content::Writable(overlay) => overlay.disk(),
        }
    }

    /// The size of requests below which more is read or written than was asked for: a power of two.
    pub(super) fn preferred_size(&self) -> u32 {
        match &self.content {
            Content::ReadOnly(disk) => disk.chunk_size(),
            Content::Writable(_) => BLOCK as u32,
        }
    }

    pub(super) async fn read(&self, bytes: Range<u64>) -> Result<Vec<Piece>> {
        let mut pieces = match &self.content {
            Content::ReadOnly(disk) => {
                disk.pieces(bytes.start, bytes.end - bytes.start)?.try_collect::<Vec<_>>().await?
            }
            Content::Writable(overlay) => overlay.read(bytes).await?,
        };
        // A small piece would keep all of its chunk in memory for as long as the client takes.
        let small = self.disk().chunk_size() as usize / 4;
        for piece in &mut pieces {
            if let Piece::Data(data) = piece
                && data.len() < small
            {
                *data = Bytes::copy_from_slice(data);
            }
        }
        Ok(pieces)
    }

    /// The first extent of `within`.
    pub(super) async fn extent(&self, within: Range<u64>) -> Result<Extent> {
        match &self.content {
            Content::ReadOnly(disk) => disk.extent(within).await,
            Content::Writable(overlay) => overlay.extent(within).await,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly(disk) => f.debug_tuple("ReadOnly").field(disk).finish(),
            Self::Writable(overlay) => f.debug_tuple("Writable").field(overlay.disk()).finish(),
        }
    }
}
