//! Writing one disk of a restore point.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use super::point::{DiskSlots, FinishedDisk};
use super::receipt::Receipt;
use super::run::{Run, Stored};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::format::page::{MapPage, PAGE_SLOTS};
use crate::geometry::{Geometry, page_and_slot};
use crate::ids::ChunkId;
use crate::read::DiskMap;
use crate::repository::closed;
use crate::summary::DiskSummary;

/// Parent pages that are read at a time.
const READ_AHEAD: usize = 8;

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
/// Dropping it before [`finish`](Self::finish) has returned makes the commit of its point impossible. Memory: 33 KiB for each
/// page (1,024 chunks) in which a chunk was put.
pub struct DiskWriter {
    run: Arc<Run>,
    slots: Arc<DiskSlots>,
    number: usize,
    spec: DiskSpec,
    geometry: Geometry,
    parent: Option<DiskMap>,
    edits: BTreeMap<u32, PageEdit>,
    tasks: JoinSet<Result<(u64, Stored)>>,
    summary: DiskSummary,
    finished: bool,
}

/// What was put into a page.
struct PageEdit {
    page: MapPage,
    put: [u64; PAGE_SLOTS / 64],
    /// Which of them stand in a receipt.
    receipted: [u64; PAGE_SLOTS / 64],
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
        let (edits, tasks, summary) = (BTreeMap::new(), JoinSet::new(), DiskSummary::default());
        Self { run, slots, number, spec, geometry, parent, edits, tasks, summary, finished: false }
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
        self.mark(chunk)?;
        // Chunks have at most 4 MiB, and the budget is never smaller.
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.run.shared.in_flight);
        let permit = budget.acquire_many_owned(permits).await.map_err(closed)?;
        self.summary.read_chunks += 1;
        self.summary.read_bytes += length as u64;
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
        self.summary.zero_chunks += 1;
        self.summary.zero_bytes += length as u64;
        Ok(())
    }

    /// Stores the chunks on their way, and gives a proof of what was put since the last receipt, which [`resume`](Self::resume) takes: 40
    /// bytes a chunk. It holds keyed digests and no content.
    ///
    /// # Errors
    /// Those of storing, which are final for the point.
    pub async fn receipt(&mut self) -> Result<Bytes> {
        while let Some(done) = self.tasks.join_next().await {
            self.note(done)?;
        }
        self.run.checkpoint().await.inspect_err(|error| self.run.fail(error.to_string()))?;
        let mut receipt = Receipt::new(&self.run.shared, self.geometry);
        for (page, edit) in &mut self.edits {
            let first = u64::from(*page) * PAGE_SLOTS as u64;
            for slot in edit.take_unreceipted() {
                receipt.add(first + slot as u64, edit.page.get(slot));
            }
        }
        Ok(receipt.finish())
    }

    /// Puts what a receipt proves, as far as the repository still has it, and gives the chunks, which stay out of the counters of
    /// what was read. A receipt that is damaged, or of another repository or size of disk, proves nothing.
    pub fn resume(&mut self, receipt: &[u8]) -> Vec<u64> {
        let mut resumed = Vec::new();
        for (chunk, id) in Receipt::parse(receipt, &self.run.shared, self.geometry) {
            let Ok(length) = self.geometry.len_of(chunk) else { continue };
            let stored = || self.run.reuse(Content::Data, id).is_ok_and(|p| p.entry.plain as usize == length);
            if !(id.is_zero() || stored()) || self.mark(chunk).is_err() {
                continue;
            }
            let (page, slot) = page_and_slot(chunk);
            if let Some(edit) = self.edits.get_mut(&page) {
                edit.page.set(slot, id);
            }
            let summary = &mut self.summary;
            let (chunks, bytes) = match id.is_zero() {
                true => (&mut summary.zero_chunks, &mut summary.zero_bytes),
                false => (&mut summary.dedup_chunks, &mut summary.dedup_bytes),
            };
            (*chunks, *bytes) = (*chunks + 1, *bytes + length as u64);
            resumed.push(chunk);
        }
        resumed
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
        let edits = std::mem::take(&mut self.edits);
        let pages = self.store_pages(edits).await?;
        let (capacity, counters) = (self.geometry.capacity(), self.summary.to_counters());
        let parent = self.parent.as_ref().map(DiskMap::point);
        self.slots.fill(self.number, FinishedDisk { capacity, parent, counters, pages });
        self.finished = true;
        Ok(self.summary)
    }

    fn mark(&mut self, chunk: u64) -> Result<()> {
        let (page, slot) = page_and_slot(chunk);
        let edit = self.edits.entry(page).or_insert_with(PageEdit::new);
        match edit.mark(slot) {
            true => Ok(()),
            false => Err(Error::invalid(format!("chunk {chunk} of disk {:?} was put twice", self.spec.key))),
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
                return Ok(());
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
        let (page, slot) = page_and_slot(chunk);
        if let Some(edit) = self.edits.get_mut(&page) {
            edit.page.set(slot, id);
        }
        Ok(())
    }

    /// Gives the ids of all pages of the disk.
    async fn store_pages(&mut self, mut edits: BTreeMap<u32, PageEdit>) -> Result<Vec<ChunkId>> {
        let mut pages = vec![ChunkId::ZERO; self.geometry.pages() as usize];
        let parent = self.parent.clone();
        let (parent, run, geometry) = (parent.as_ref(), &self.run, self.geometry);
        // Every page is looked at, also those without edits: a chunk that the parent names and the repository lost must not be
        // handed on from point to point.
        let inputs = (0..geometry.pages()).map(|number| (number, edits.remove(&number)));
        let inputs = inputs.filter(|(number, edit)| {
            edit.is_some() || parent.is_some_and(|parent| !parent.page_id(*number).is_zero())
        });
        let merged = futures::stream::iter(inputs).map(|(number, edit)| async move {
            let (page, inherited) = merge(run, geometry, parent, number, edit).await?;
            Ok::<_, Error>((number, page, inherited))
        });
        let mut merged = merged.buffered(READ_AHEAD);
        while let Some((number, page, inherited)) = merged.try_next().await? {
            self.summary.inherited_chunks += inherited;
            let id = match page {
                Merged::Zero => ChunkId::ZERO,
                Merged::Unchanged(id) => id,
                Merged::Changed(page) => match run.store(Content::Page, page.to_bytes().into()).await? {
                    Stored::Zero => ChunkId::ZERO,
                    Stored::Known(id) | Stored::New(id, _) => id,
                },
            };
            if let Some(place) = pages.get_mut(number as usize) {
                *place = id;
            }
        }
        Ok(pages)
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

impl PageEdit {
    fn new() -> Self {
        Self { page: MapPage::zero(), put: [0; PAGE_SLOTS / 64], receipted: [0; PAGE_SLOTS / 64] }
    }

    /// Marks a slot as put; `false` when it was before.
    fn mark(&mut self, slot: usize) -> bool {
        let (word, bit) = (&mut self.put[slot / 64], 1_u64 << (slot % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The slots that were put and stand in no receipt; now they do.
    fn take_unreceipted(&mut self) -> Vec<usize> {
        let slots = (0..PAGE_SLOTS).filter(|&slot| {
            let word = self.put[slot / 64] & !self.receipted[slot / 64];
            word & 1 << (slot % 64) != 0
        });
        let slots = slots.collect();
        self.receipted = self.put;
        slots
    }

    fn has(&self, slot: usize) -> bool {
        self.put[slot / 64] & 1 << (slot % 64) != 0
    }
}

enum Merged {
    Zero,
    Unchanged(ChunkId),
    Changed(MapPage),
}

/// Lays what was put over the parent's page. Every chunk taken from the parent is looked up in the index.
async fn merge(
    run: &Run,
    geometry: Geometry,
    parent: Option<&DiskMap>,
    number: u32,
    edit: Option<PageEdit>,
) -> Result<(Merged, u64)> {
    let base = match parent {
        Some(parent) => parent.page(number).await?,
        None => None,
    };
    let mut merged = edit.as_ref().map_or_else(MapPage::zero, |edit| edit.page.clone());
    let mut inherited = 0;
    if let (Some(parent), Some(base)) = (parent, &base) {
        for slot in (0..PAGE_SLOTS).filter(|&slot| !edit.as_ref().is_some_and(|edit| edit.has(slot))) {
            let id = base.get(slot);
            if id.is_zero() {
                continue;
            }
            let chunk = u64::from(number) * PAGE_SLOTS as u64 + slot as u64;
            let at_disk = |error: Error| match parent.geometry().bytes_of(chunk) {
                Ok(range) => error.at_disk(parent.disk(), range),
                Err(_) => error,
            };
            let place = run.reuse(Content::Data, id).map_err(at_disk)?;
            if place.entry.plain as usize != geometry.len_of(chunk)? {
                return Err(Error::invalid(format!(
                    "chunk {chunk} was the shorter last chunk of the parent: the disk has grown, so it must be put"
                )));
            }
            merged.set(slot, id);
            inherited += 1;
        }
        if **base == merged {
            let id = parent.page_id(number);
            run.reuse(Content::Page, id)
                .map_err(|error| error.at_disk(parent.disk(), geometry.bytes_of_page(number)))?;
            return Ok((Merged::Unchanged(id), inherited));
        }
    }
    Ok((if merged.is_zero() { Merged::Zero } else { Merged::Changed(merged) }, inherited))
}
