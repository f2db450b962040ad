//! How large the repository is, and what deduplication and compression save.

use std::collections::BTreeSet;

use crate::crypto::Content;
use crate::error::Result;
use crate::repository::{INDEX, PACKS, POINTS, Repository, load};

/// Sizes of a repository at one moment, in bytes unless said otherwise.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Number of restore points.
    pub points: u64,
    /// Number of machines that have points.
    pub machines: u64,
    /// Capacities of all disks of all points: what full, uncompressed images would take.
    pub logical_bytes: u64,
    /// Number of different chunks with data.
    pub chunks: u64,
    /// Their plain bytes.
    pub chunk_bytes: u64,
    /// What they take in packs, compressed and sealed, extra copies included.
    pub stored_bytes: u64,
    /// Number of different map pages.
    pub pages: u64,
    /// What they take in packs.
    pub page_stored_bytes: u64,
    /// Number of packs in the store.
    pub packs: u64,
    /// Sizes of the packs.
    pub pack_bytes: u64,
    /// Number of index objects.
    pub index_objects: u64,
    /// Sizes of the index objects.
    pub index_bytes: u64,
    /// Sizes of the points.
    pub point_bytes: u64,
}

impl Statistics {
    /// All that the repository takes, but for config and key slots.
    pub fn total_bytes(&self) -> u64 {
        self.pack_bytes.saturating_add(self.index_bytes).saturating_add(self.point_bytes)
    }
}

impl Repository {
    /// Counts. Lists the store and reads the heads of all points.
    ///
    /// # Errors
    /// As [`points`](Self::points).
    pub async fn statistics(&self) -> Result<Statistics> {
        load::refresh(&self.shared).await?;
        let mut statistics = Statistics::default();
        let points = self.points(None).await?;
        statistics.points = points.len() as u64;
        statistics.machines = points.iter().map(|point| &point.machine).collect::<BTreeSet<_>>().len() as u64;
        let capacities = points.iter().flat_map(|point| &point.disks).map(|disk| disk.capacity_bytes);
        statistics.logical_bytes = capacities.fold(0, u64::saturating_add);
        (statistics.packs, statistics.pack_bytes) = self.count(PACKS).await?;
        (statistics.index_objects, statistics.index_bytes) = self.count(INDEX).await?;
        (_, statistics.point_bytes) = self.count(POINTS).await?;
        let mut last = None;
        for entry in self.shared.index().entries()? {
            let (pack, entry) = entry?;
            let is_first = last.replace(entry.id) != Some(entry.id);
            match pack.content {
                Content::Data => {
                    statistics.chunks += u64::from(is_first);
                    statistics.chunk_bytes += if is_first { u64::from(entry.plain) } else { 0 };
                    statistics.stored_bytes += u64::from(entry.stored);
                }
                Content::Page => {
                    statistics.pages += u64::from(is_first);
                    statistics.page_stored_bytes += u64::from(entry.stored);
                }
            }
        }
        Ok(statistics)
    }

    /// Number and bytes of the objects in a folder.
    async fn count(&self, folder: &str) -> Result<(u64, u64)> {
        let objects = self.shared.store.list(folder).await?;
        Ok((objects.len() as u64, objects.iter().fold(0, |sum, object| sum.saturating_add(object.size))))
    }
}
