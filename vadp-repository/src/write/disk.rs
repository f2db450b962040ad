//! Writing one disk of a restore point.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::pages::Pages;
use super::point::{DiskSlots, FinishedDisk};
use super::receipt::Receipt;
use super::run::{Run, Stored};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Geometry;
use crate::ids::ChunkId;
use crate::read::DiskMap;
use crate::repository::closed;
use crate::summary::DiskSummary;

/// Parent pages that are read at a time.
pub(super) const READ_AHEAD: usize = 8;

/// Chunks that a receipt has at most, so that a caller who wants none pays no more than 2.6 MB for that.
const MOST_IN_RECEIPT: usize = 1 << 16;

/// Which disk is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// The caller's lasting name of the disk: 1..=1,024 bytes, unique in the point.
    pub key: String,
    /// Bytes of the disk, at least 1.
    pub capacity_bytes: u64,
}

/// Writes one disk. Chunks may be put in any order, each at most once; what is not put is as in the parent, or zero without one.
///
/// Dropping it before [`finish`](Self::finish) has returned makes the commit of its point impossible. Memory: some MiB, and 200 bytes for each
/// page (1,024 chunks) in which a chunk was put, as long as chunks come in rising order, give or take a few thousand. Of those that come behind
/// the others each page takes 33 KiB.
pub struct DiskWriter {
    run: Arc<Run>,
    slots: Arc<DiskSlots>,
    number: usize,
    spec: DiskSpec,
    geometry: Geometry,
    parent: Option<DiskMap>,
    pages: Pages,
    /// What was put since the last receipt.
    unreceipted: Vec<(u64, ChunkId)>,
    tasks: JoinSet<Result<(u64, Stored)>>,
    summary: DiskSummary,
    finished: bool,
}

impl DiskWriter {
    pub(super) fn new(
        run: Arc<Run>,
        slots: Arc<DiskSlots>,
        number: usize,
        spec: DiskSpec,
        geometry: Geometry,
        parent: Option<DiskMap>,
    ) -> Self {
        let (pages, tasks, summary) = (Pages::default(), JoinSet::new(), DiskSummary::default());
        let unreceipted = Vec::new();
        Self {
            run,
            slots,
            number,
            spec,
            geometry,
            parent,
            pages,
            unreceipted,
            tasks,
            summary,
            finished: false,
        }
    }

    /// Bytes of a chunk; the last chunk may be shorter.
    pub fn chunk_size(&self) -> u32 {
        self.geometry.chunk_size()
    }

    /// Chunks of the disk.
    pub fn chunk_count(&self) -> u64 {
        self.geometry.chunks()
    }

    /// Gives the bytes of a whole chunk. Returns as soon as they are within the memory budget; work goes on in the background, and
    /// its errors come out of a later `put` or of `finish`.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) beyond the end, for a wrong length, or when the chunk was put before; the
    /// writer stays usable. Any other error is final for the point.
    pub async fn put(&mut self, chunk: u64, data: Bytes) -> Result<()> {
        let length = self.geometry.len_of(chunk)?;
        if data.len() != length {
            return Err(Error::invalid(format!(
                "chunk {chunk} has {length} bytes, {} were given",
                data.len()
            )));
        }
        while let Some(done) = self.tasks.try_join_next() {
            self.note(done)?;
        }
        self.close_pages().await?;
        // Chunks have at most 4 MiB, and the budget is never smaller.
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.run.shared.in_flight);
        let permit = budget.acquire_many_owned(permits).await.map_err(closed)?;
        self.mark(chunk)?;
        self.summary.read_chunks += 1;
        self.summary.read_bytes += length as u64;
        self.pages.begin(chunk);
        let run = Arc::clone(&self.run);
        self.tasks.spawn(async move {
            let _permit = permit;
            run.store(Content::Data, data).await.map(|stored| (chunk, stored))
        });
        Ok(())
    }

    /// Says that all bytes of a chunk are zero, without giving them.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) beyond the end or when the chunk was put before.
    pub fn put_zero(&mut self, chunk: u64) -> Result<()> {
        let length = self.geometry.len_of(chunk)?;
        self.mark(chunk)?;
        self.is_now(chunk, ChunkId::ZERO);
        self.summary.zero_chunks += 1;
        self.summary.zero_bytes += length as u64;
        Ok(())
    }

    /// Stores the chunks on their way, and gives a proof of what was put since the last receipt, which [`resume`](Self::resume) takes: 40
    /// bytes a chunk, and of the first 65,536 chunks alone. It holds keyed digests and no content. What was resumed stands in the receipt that it
    /// was resumed by.
    ///
    /// # Errors
    /// Those of storing, which are final for the point.
    pub async fn receipt(&mut self) -> Result<Bytes> {
        while let Some(done) = self.tasks.join_next().await {
            self.note(done)?;
        }
        self.run.checkpoint().await.inspect_err(|error| self.run.fail(error.to_string()))?;
        let mut receipt = Receipt::new(&self.run.shared, self.geometry);
        for (chunk, id) in self.unreceipted.drain(..) {
            receipt.add(chunk, id);
        }
        Ok(receipt.finish())
    }

    /// Puts what a receipt proves, as far as the repository still has it, and gives the chunks, which stay out of the counters of
    /// what was read. A receipt that is damaged, or of another repository or size of disk, proves nothing.
    ///
    /// # Errors
    /// Those of storing pages of the map, which are final for the point.
    pub async fn resume(&mut self, receipt: &[u8]) -> Result<Vec<u64>> {
        let mut resumed = Vec::new();
        for (chunk, id) in Receipt::parse(receipt, &self.run.shared, self.geometry) {
            let Ok(length) = self.geometry.len_of(chunk) else { continue };
            let stored = || self.run.reuse(Content::Data, id).is_ok_and(|p| p.entry.plain as usize == length);
            if !(id.is_zero() || stored()) || self.mark(chunk).is_err() {
                continue;
            }
            self.pages.set(chunk, id);
            let summary = &mut self.summary;
            let (chunks, bytes) = match id.is_zero() {
                true => (&mut summary.zero_chunks, &mut summary.zero_bytes),
                false => (&mut summary.dedup_chunks, &mut summary.dedup_bytes),
            };
            (*chunks, *bytes) = (*chunks + 1, *bytes + length as u64);
            resumed.push(chunk);
        }
        self.close_pages().await?;
        Ok(resumed)
    }

    /// Waits for the chunks on their way, and stores the map.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) when a chunk or page of the parent is missing; [`InvalidInput`](ErrorKind::InvalidInput) when the disk has
    /// grown and its formerly last, shorter chunk was not put; or what storing a chunk came to. Any error is final for the point.
    pub async fn finish(mut self) -> Result<DiskSummary> {
        while let Some(done) = self.tasks.join_next().await {
            self.note(done)?;
        }
        let pages = std::mem::take(&mut self.pages);
        let (pages, inherited) = pages.close_all(&self.run, self.geometry, self.parent.as_ref()).await?;
        self.summary.inherited_chunks = inherited;
        let (capacity, counters) = (self.geometry.capacity(), self.summary.to_counters());
        let parent = self.parent.as_ref().map(DiskMap::point);
        self.slots.fill(self.number, FinishedDisk { capacity, parent, counters, pages });
        self.finished = true;
        Ok(self.summary)
    }

    /// Stores pages that are complete, if too many are open.
    async fn close_pages(&mut self) -> Result<()> {
        let closed = self.pages.close_some(&self.run, self.geometry, self.parent.as_ref()).await;
        closed.inspect_err(|error| self.run.fail(error.to_string()))
    }

    fn mark(&mut self, chunk: u64) -> Result<()> {
        match self.pages.mark(chunk) {
            true => Ok(()),
            false => Err(Error::invalid(format!("chunk {chunk} of disk {:?} was put twice", self.spec.key))),
        }
    }

    /// Notes what a chunk that was marked is.
    fn is_now(&mut self, chunk: u64, id: ChunkId) {
        self.pages.set(chunk, id);
        if self.unreceipted.len() < MOST_IN_RECEIPT {
            self.unreceipted.push((chunk, id));
        }
    }

    fn note(&mut self, done: Result<Result<(u64, Stored)>, tokio::task::JoinError>) -> Result<()> {
        let (chunk, result) = done.map_err(|source| {
            Error::new(ErrorKind::Internal, "a background task was stopped before its end")
                .with_source(source)
        })??;
        let length = self.geometry.len_of(chunk)? as u64;
        let summary = &mut self.summary;
        let id = match result {
            Stored::Zero => {
                summary.zero_chunks += 1;
                summary.zero_bytes += length;
                ChunkId::ZERO
            }
            Stored::New(id, stored) => {
                summary.new_chunks += 1;
                summary.new_bytes += length;
                summary.stored_bytes += u64::from(stored);
                id
            }
            Stored::Known(id) => {
                summary.dedup_chunks += 1;
                summary.dedup_bytes += length;
                id
            }
        };
        self.pages.end(chunk);
        self.is_now(chunk, id);
        Ok(())
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.run.fail(format!("disk {:?} was not finished", self.spec.key));
        }
    }
}

impl fmt::Debug for DiskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWriter")
            .field("spec", &self.spec)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}
