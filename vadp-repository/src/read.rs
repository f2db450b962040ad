//! Reading: from a chunk id to verified bytes, see docs/repository-format.md, "Reading".

pub(crate) mod ahead;
mod disk;
mod list;
mod map;
mod point;
mod stream;

use std::sync::Arc;

use bytes::Bytes;

use crate::codec;
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::format::pack;
use crate::ids::ChunkId;
use crate::index::Place;
use crate::repository::{Shared, load, pack_name};

#[cfg(feature = "nbd")]
pub(crate) use disk::Piece;
pub use disk::{Chunk, DiskReader, Extent};
pub(crate) use list::point_ids;
pub use list::{DamagedPoint, PointInfo, PointListing, PointQuery};
pub use map::{AllocatedChunks, DiskMap, MapEntry};
pub(crate) use point::open_point;
pub use point::{PointDisk, RestorePoint};
pub use stream::DiskStream;

impl Shared {
    /// The verified bytes of a chunk or page that is not zero. When several packs hold it, any good copy will do.
    pub(crate) async fn fetch(self: &Arc<Self>, content: Content, id: ChunkId) -> Result<Bytes> {
        match self.fetch_indexed(content, id).await {
            // A prune may have moved the chunk since the index was loaded, or the cache of the index be of no use.
            Err(error) if error.is_damage() || self.beyond().is_some() || self.index().is_spoilt() => {
                let before = self.index().places(content, &id).ok();
                load::refresh(self).await?;
                let after = self.index().places(content, &id)?;
                match before.as_ref() == Some(&after) {
                    true => Err(error),
                    false => self.fetch_indexed(content, id).await,
                }
            }
            done => done,
        }
    }

    async fn fetch_indexed(self: &Arc<Self>, content: Content, id: ChunkId) -> Result<Bytes> {
        let places = self.index().places(content, &id)?;
        let mut first_error = None;
        for place in places {
            match self.fetch_at(content, place).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or_else(|| self.not_indexed(content, id)))
    }

    /// The error for a chunk that no usable index object names.
    pub(crate) fn not_indexed(&self, content: Content, id: ChunkId) -> Error {
        let what = match content {
            Content::Data => "a chunk",
            Content::Page => "a map page",
        };
        let damaged = self.index().damaged().len();
        let (kind, why) = match (self.beyond(), damaged) {
            // It may well be there, for others to read.
            (Some(kind), _) => {
                let why = "index objects are sealed with a newer key or written by a newer program: open the repository again";
                (kind, format!(" ({why})"))
            }
            (None, 0) => (ErrorKind::Damaged, String::new()),
            (None, damaged) => (ErrorKind::Damaged, format!(" ({damaged} index objects are damaged)")),
        };
        Error::new(kind, format!("{what} is missing: the index names no pack that holds it{why}"))
            .at_chunk(id)
    }

    async fn fetch_at(self: &Arc<Self>, content: Content, place: Place) -> Result<Bytes> {
        let Place { pack, entry, .. } = place;
        let range = u64::from(entry.offset)..entry.end();
        let sealed = self.store.get_range(&pack_name(pack)?, range).await.map_err(|error| {
            let error = match error.is_not_found() {
                true => Error::damaged("a pack is missing").with_source(error),
                false => error,
            };
            error.at_pack(pack).at_chunk(entry.id)
        })?;
        self.compute(move |shared| shared.verify(content, &place, &sealed)).await
    }

    /// Opens, decodes and verifies a sealed chunk.
    pub(crate) fn verify(&self, content: Content, place: &Place, sealed: &[u8]) -> Result<Bytes> {
        let Place { pack, header, entry } = place;
        let encoded = pack::open_chunk(*pack, header, &self.keyring(), entry, sealed, &self.buffers)?;
        let plain = codec::decode(entry.encoding, encoded, entry.plain as usize, &self.buffers)
            .map_err(|error| error.at_pack(*pack).at_chunk(entry.id))?;
        match self.digests.id(content, &plain) == entry.id {
            true => Ok(plain),
            false => Err(Error::damaged("the bytes of a chunk do not have its digest")
                .at_pack(*pack)
                .at_chunk(entry.id)),
        }
    }
}
