//! The map of a disk: which chunk id is where. Pages are loaded when they are needed.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crypto::Content;
use crate::error::{Error, Result};
use crate::format::page::{MapPage, PAGE_SLOTS};
use crate::geometry::{Geometry, page_and_slot};
use crate::ids::{ChunkId, PointId};
use crate::read::disk::Extent;
use crate::repository::Shared;

/// Pages that a map keeps in memory, 32 KiB each.
const CACHED_PAGES: usize = 16;

/// The map of one disk of a restore point. Memory: 32 bytes for each GiB of disk (at 1 MiB chunks), and at most 512 KiB of pages.
/// Clones are cheap and share both.
#[derive(Clone)]
pub struct DiskMap {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    point: PointId,
    disk: String,
    geometry: Geometry,
    pages: Vec<ChunkId>,
    cache: Mutex<VecDeque<(u32, Arc<MapPage>)>>,
}

/// What a map says about a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapEntry {
    /// All bytes are zero.
    Zero,
    /// The chunk has this id.
    Data(ChunkId),
}

impl DiskMap {
    pub(crate) fn new(
        shared: Arc<Shared>,
        point: PointId,
        disk: String,
        geometry: Geometry,
        pages: Vec<ChunkId>,
    ) -> Self {
        let cache = Mutex::default();
        Self { inner: Arc::new(Inner { shared, point, disk, geometry, pages, cache }) }
    }

    /// Bytes of the disk.
    pub fn capacity(&self) -> u64 {
        self.geometry().capacity()
    }

    /// Bytes of a chunk; the last chunk may be shorter.
    pub fn chunk_size(&self) -> u32 {
        self.geometry().chunk_size()
    }

    /// Chunks of the disk, zero chunks included.
    pub fn chunk_count(&self) -> u64 {
        self.geometry().chunks()
    }

    /// The restore point that the map belongs to.
    pub fn point(&self) -> PointId {
        self.inner.point
    }

    /// The entry of a chunk.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end; [`Damaged`](crate::ErrorKind::Damaged) or
    /// [`Store`](crate::ErrorKind::Store) when the page cannot be had.
    pub async fn entry(&self, chunk: u64) -> Result<MapEntry> {
        self.geometry().bytes_of(chunk)?;
        let (page, slot) = page_and_slot(chunk);
        let id = self.page(page).await?.map_or(ChunkId::ZERO, |page| page.get(slot));
        Ok(match id.is_zero() {
            true => MapEntry::Zero,
            false => MapEntry::Data(id),
        })
    }

    /// See [`DiskReader::extent`](crate::DiskReader::extent).
    pub(crate) async fn extent(&self, within: Range<u64>) -> Result<Extent> {
        let Range { start, end } = within;
        if start >= end || end > self.capacity() {
            let capacity = self.capacity();
            return Err(Error::invalid(format!(
                "bytes {start}..{end} are not some of the disk's {capacity} bytes"
            )));
        }
        let size = u64::from(self.chunk_size());
        let chunks = end.div_ceil(size);
        let mut chunk = start / size;
        let is_zero = matches!(self.entry(chunk).await?, MapEntry::Zero);
        while chunk < chunks {
            let (number, from) = page_and_slot(chunk);
            let first = u64::from(number) * PAGE_SLOTS as u64;
            let slots = chunks.saturating_sub(first).min(PAGE_SLOTS as u64) as usize;
            let other = match self.page(number).await? {
                Some(page) => (from..slots).find(|&slot| page.get(slot).is_zero() != is_zero),
                None if is_zero => None,
                None => Some(from),
            };
            match other {
                Some(slot) => {
                    chunk = first + slot as u64;
                    break;
                }
                None => chunk = first + slots as u64,
            }
        }
        Ok(Extent { bytes: start..(chunk * size).min(end), is_zero })
    }

    /// Walks over the chunks that hold data, in rising order.
    pub fn allocated_chunks(&self) -> AllocatedChunks {
        AllocatedChunks { map: self.clone(), next: 0 }
    }

    /// The chunks of a range of them that hold data, in rising order, 8 bytes each.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub(crate) async fn data_in(&self, range: Range<u64>) -> Result<Vec<u64>> {
        let end = range.end.min(self.chunk_count());
        let (mut next, mut chunks) = (range.start, Vec::new());
        while next < end {
            let (number, from) = page_and_slot(next);
            let first = u64::from(number) * PAGE_SLOTS as u64;
            let within = (end - first).min(PAGE_SLOTS as u64) as usize;
            if let Some(page) = self.page(number).await? {
                let data = (from..within).filter(|&slot| !page.get(slot).is_zero());
                chunks.extend(data.map(|slot| first + slot as u64));
            }
            next = first + PAGE_SLOTS as u64;
        }
        Ok(chunks)
    }

    /// The chunks whose bytes differ between two maps of the same repository, in rising order. Where one disk is shorter, the missing
    /// bytes count as zeros. Pages that are the same in both are not read.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for maps of two repositories, otherwise as [`entry`](Self::entry).
    pub async fn diff(&self, other: &DiskMap) -> Result<Vec<u64>> {
        if self.shared().config.repository != other.shared().config.repository {
            return Err(Error::invalid(
                "maps of two repositories cannot be compared: their chunk ids have other keys",
            ));
        }
        let mut differing = Vec::new();
        for number in 0..self.geometry().pages().max(other.geometry().pages()) {
            if self.page_id(number) == other.page_id(number) {
                continue;
            }
            let (mine, theirs) = (self.page(number).await?, other.page(number).await?);
            let id = |page: &Option<Arc<MapPage>>, slot| {
                page.as_ref().map_or(ChunkId::ZERO, |page| page.get(slot))
            };
            let first = u64::from(number) * PAGE_SLOTS as u64;
            let slots = (0..PAGE_SLOTS).filter(|&slot| id(&mine, slot) != id(&theirs, slot));
            differing.extend(slots.map(|slot| first + slot as u64));
        }
        Ok(differing)
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.inner.geometry
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn disk(&self) -> &str {
        &self.inner.disk
    }

    /// The id of a page; zero beyond the end.
    pub(crate) fn page_id(&self, page: u32) -> ChunkId {
        self.inner.pages.get(page as usize).copied().unwrap_or(ChunkId::ZERO)
    }

    /// A page; `None` when it is all zero or beyond the end.
    pub(crate) async fn page(&self, number: u32) -> Result<Option<Arc<MapPage>>> {
        let id = self.page_id(number);
        if id.is_zero() {
            return Ok(None);
        }
        let cached =
            self.cache().iter().find(|(cached, _)| *cached == number).map(|(_, page)| Arc::clone(page));
        if cached.is_some() {
            return Ok(cached);
        }
        let geometry = self.geometry();
        let page = self
            .shared()
            .fetch(Content::Page, id)
            .await
            .and_then(|bytes| parse_page(geometry, number, &bytes).map_err(|error| error.at_chunk(id)))
            .map_err(|error| error.at_disk(self.disk(), geometry.bytes_of_page(number)))?;
        let page = Arc::new(page);
        let mut cache = self.cache();
        cache.push_back((number, Arc::clone(&page)));
        if cache.len() > CACHED_PAGES {
            cache.pop_front();
        }
        Ok(Some(page))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, VecDeque<(u32, Arc<MapPage>)>> {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DiskMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskMap")
            .field("point", &self.inner.point)
            .field("disk", &self.inner.disk)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// A walk over the chunks of a disk that hold data.
#[derive(Debug)]
pub struct AllocatedChunks {
    map: DiskMap,
    next: u64,
}

impl AllocatedChunks {
    /// The next chunk index; `None` at the end.
    ///
    /// # Errors
    /// As [`DiskMap::entry`]. The walk stays where it was.
    pub async fn next(&mut self) -> Result<Option<u64>> {
        while self.next < self.map.chunk_count() {
            let (number, from) = page_and_slot(self.next);
            let first = u64::from(number) * PAGE_SLOTS as u64;
            let page = self.map.page(number).await?;
            let slot = page.and_then(|page| (from..PAGE_SLOTS).find(|&slot| !page.get(slot).is_zero()));
            self.next = first + slot.map_or(PAGE_SLOTS as u64, |slot| slot as u64 + 1);
            if let Some(slot) = slot {
                return Ok(Some(first + slot as u64));
            }
        }
        Ok(None)
    }

    /// All remaining chunk indexes, 8 bytes each.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<u64>> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

/// Reads the bytes of a page of a disk.
pub(crate) fn parse_page(geometry: Geometry, number: u32, bytes: &[u8]) -> Result<MapPage> {
    let page = MapPage::parse(bytes)?;
    match page.ids().iter().skip(geometry.slots_of(number)).all(ChunkId::is_zero) {
        true => Ok(page),
        false => Err(Error::damaged("a map page names chunks beyond the end of its disk")),
    }
}
