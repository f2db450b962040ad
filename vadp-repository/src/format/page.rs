//! Map pages, see docs/repository-format.md, "Map page".

use crate::error::{Error, Result};
use crate::ids::ChunkId;

/// Chunk ids in a page.
pub(crate) const PAGE_SLOTS: usize = 1024;

/// The chunk ids of 1,024 consecutive chunks of a disk.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MapPage {
    ids: Vec<ChunkId>,
}

impl MapPage {
    pub(crate) fn zero() -> Self {
        Self { ids: vec![ChunkId::ZERO; PAGE_SLOTS] }
    }

    /// The id in a slot below [`PAGE_SLOTS`]; zero beyond.
    pub(crate) fn get(&self, slot: usize) -> ChunkId {
        self.ids.get(slot).copied().unwrap_or(ChunkId::ZERO)
    }

    pub(crate) fn set(&mut self, slot: usize, id: ChunkId) {
        if let Some(place) = self.ids.get_mut(slot) {
            *place = id;
        }
    }

    pub(crate) fn ids(&self) -> &[ChunkId] {
        &self.ids
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.ids.iter().all(ChunkId::is_zero)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.ids.iter().flat_map(|id| *id.as_bytes()).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let (ids, rest) = bytes.as_chunks::<32>();
        match ids.len() == PAGE_SLOTS && rest.is_empty() {
            true => Ok(Self { ids: ids.iter().copied().map(ChunkId).collect() }),
            false => Err(Error::damaged(format!("a map page of {} bytes", bytes.len()))),
        }
    }
}
