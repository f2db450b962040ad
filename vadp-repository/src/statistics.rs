//! How large the repository is, and what deduplication and compression save.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::crypto::Content;
use crate::error::Result;
use crate::index::Listed;
use crate::repository::{INDEX, PACKS, POINTS, Repository, load};
use crate::time;

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

/// What the backups of one day added, as far as their restore points are still there: all figures are what these points counted
/// when they were made. What points that were given up had added is in none of them, also where a later point still needs it.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayGrowth {
    /// The beginning of the day, in UTC.
    pub day: SystemTime,
    /// Number of restore points.
    pub points: u64,
    /// Capacities of their disks, in bytes.
    pub logical_bytes: u64,
    /// Plain bytes that were read for them.
    pub read_bytes: u64,
    /// Plain bytes that the repository did not have.
    pub new_bytes: u64,
    /// What these take in packs, compressed and sealed.
    pub stored_bytes: u64,
}

impl Repository {
    /// What each day's backups added, oldest first; days without a restore point are left out. Reads the heads of all points.
    ///
    /// # Errors
    /// As [`points`](Self::points).
    pub async fn growth(&self) -> Result<Vec<DayGrowth>> {
        let mut days = BTreeMap::new();
        for point in self.points(None).await? {
            let number = time::day(point.created);
            let day = days.entry(number).or_insert_with(|| DayGrowth {
                day: time::from_day(number),
                points: 0,
                logical_bytes: 0,
                read_bytes: 0,
                new_bytes: 0,
                stored_bytes: 0,
            });
            day.points += 1;
            for disk in &point.disks {
                // Counters come from the store, and whoever wrote them may have meant anything.
                let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
                add(&mut day.logical_bytes, disk.capacity_bytes);
                add(&mut day.read_bytes, disk.summary.read_bytes);
                add(&mut day.new_bytes, disk.summary.new_bytes);
                add(&mut day.stored_bytes, disk.summary.stored_bytes);
            }
        }
        Ok(days.into_values().collect())
    }

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
        for listed in self.shared.index().rows()? {
            let Listed { pack, entry, .. } = listed?;
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
