//! The only place where disk bytes move in bulk: chunk by chunk, by a plan, with a bounded number of bytes in flight.
//!
//! ```text
//!   plan of a window ─► fetch (budget, pace, source and parent) ×8 ─► sink: digest, compression, packs
//!        (chunk, job)          all disks of a run beside each other        └─ receipts: what need not be read again
//! ```

mod chunk_set;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vadp_repository::{Chunk, ChunkSink, StoredDisk};

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::flow::Flow;
use crate::progress::{Meter, Phase, Report};
use crate::throttle::Pace;
use crate::transport::DiskSource;

pub(crate) use chunk_set::ChunkSet;
use plan::{Job, WindowPlan};

/// Chunks of one disk that are being read at a time.
pub(crate) const READ_AHEAD: usize = 8;

/// Allocation is asked for in windows of this many bytes, so that a fragmented disk of any size takes little memory.
pub(crate) const WINDOW: u64 = 32 << 30;

/// What all disks of a run share.
pub(crate) struct Engine {
    /// Bytes that may be in memory yet.
    budget: Arc<Semaphore>,
    whole_budget: u64,
    pace: Option<Pace>,
    flow: Flow,
    cancel: CancelToken,
    /// Told when a disk has failed: the others need not go on.
    failed: CancelToken,
}

/// Which part of a disk is to be copied.
pub(crate) enum Scope {
    /// All that is allocated.
    Allocated,
    /// The chunks that hold any of these bytes.
    Changed(Extents),
}

/// The copying of one disk.
pub(crate) struct Copy<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) source: &'a dyn DiskSource,
    pub(crate) scope: &'a Scope,
    /// The disk in the restore point that the changes are counted from.
    pub(crate) parent: Option<&'a dyn StoredDisk>,
    pub(crate) chunk_size: u64,
    /// What the store has of an earlier run.
    pub(crate) resumed: &'a ChunkSet,
}

/// What a copy tells on its way.
pub(crate) struct Telling<'a> {
    pub(crate) key: i32,
    pub(crate) total: u64,
    pub(crate) report: &'a Report<'a>,
    /// Takes receipts of the store.
    pub(crate) keep: &'a (dyn Fn(&Bytes) -> Result<(), Error> + Send + Sync),
}

/// Bytes that are in memory, and the part of the budget that they take until nobody has them any more.
struct Held {
    data: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Engine {
    pub(crate) fn new(flow: Flow, cancel: CancelToken) -> Self {
        // A single acquisition is below 4 GiB, and so is a chunk.
        let whole_budget = flow.bytes_in_flight.min(Semaphore::MAX_PERMITS as u64);
        Self {
            budget: Arc::new(Semaphore::new(usize::try_from(whole_budget).unwrap_or(Semaphore::MAX_PERMITS))),
            whole_budget,
            pace: flow.throttle.clone().map(Pace::new),
            flow,
            cancel,
            failed: CancelToken::new(),
        }
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Gives up what all disks are doing.
    pub(crate) fn stop(&self) {
        self.failed.cancel();
    }

    /// Does the work, unless the run is stopped or has failed meanwhile.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.cancel.or(self.failed.or(work)).await
    }

    /// Waits until so many bytes may be in memory. What is larger than the whole budget takes all of it.
    pub(crate) async fn hold(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let permits = u32::try_from(bytes.min(self.whole_budget)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        held.map_err(|e| Error::new(ErrorKind::Cancelled, "the budget of the run is closed").because(e))
    }
}

impl Copy<'_> {
    /// Bytes that will be read of the source.
    pub(crate) async fn to_read(&self) -> Result<u64, Error> {
        let mut total = 0;
        for window in windows(self.source.capacity()) {
            let Some(plan) = self.plan(window).await? else { continue };
            let jobs = plan.jobs().filter(|(chunk, _)| !self.resumed.contains(*chunk));
            total += jobs.map(|(_, job)| job.bytes()).sum::<u64>();
        }
        Ok(total)
    }

    /// Copies the disk into the store. Returns the number of bytes that were read.
    ///
    /// # Errors
    /// When a read or a write fails: then nothing of the disk may be committed.
    pub(crate) async fn run(&self, sink: &mut dyn ChunkSink, told: &Telling<'_>) -> Result<u64, Error> {
        let &Telling { key, total, report, .. } = told;
        let (mut meter, mut copied, mut unreceipted) = (Meter::new(), 0, 0);
        let failed = |chunk| move |e| Error::repository(format!("storing chunk {chunk} of disk {key}"), e);
        for window in windows(self.source.capacity()) {
            let Some(plan) = self.plan(window).await? else { continue };
            let jobs = plan.jobs().filter(|(chunk, _)| !self.resumed.contains(*chunk));
            let reads = jobs.map(|(chunk, job)| self.fetch(chunk, job));
            let mut reads = futures::stream::iter(reads).buffer_unordered(READ_AHEAD);
            while let Some((chunk, data, read)) = reads.try_next().await? {
                match data {
                    Some(data) => {
                        unreceipted += data.len() as u64;
                        sink.put(chunk, data).await.map_err(failed(chunk))?;
                    }
                    None => sink.put_zero(chunk).map_err(failed(chunk))?,
                }
                copied += read;
                report.tell(meter.event(key, Phase::Backup, copied, total));
                if unreceipted >= self.engine.flow.receipt_every {
                    unreceipted = 0;
                    (told.keep)(&sink.receipt().await.map_err(failed(chunk))?)?;
                }
            }
        }
        Ok(copied)
    }

    /// What is to be done in a window; `None` when nothing is, and then nothing is asked of the disk.
    async fn plan(&self, window: ByteRange) -> Result<Option<WindowPlan>, Error> {
        let (size, capacity) = (self.chunk_size, self.source.capacity());
        let changed: Option<Extents> = match self.scope {
            Scope::Allocated => None,
            Scope::Changed(changed) => Some(changed.within(window).collect()),
        };
        if changed.as_ref().is_some_and(Extents::is_empty) {
            return Ok(None);
        }
        let allocated = self.source.allocated(window).await?;
        let base = match self.parent.filter(|_| changed.is_some()) {
            Some(parent) if u64::from(parent.chunk_size()) == size => {
                let here = window.start() / size..window.end().div_ceil(size);
                let base = parent.chunks(here).await;
                Some(base.map_err(|e| Error::repository("reading the map of the parent", e))?)
            }
            _ => None,
        };
        let percent = self.engine.flow.store_read_percent;
        Ok(Some(WindowPlan { chunk_size: size, capacity, allocated, changed, base, percent }))
    }

    /// The bytes of a chunk, or `None` when all of them are zero; and how many of them were read of the source.
    async fn fetch(&self, chunk: u64, job: Job) -> Result<(u64, Option<Bytes>, u64), Error> {
        let Some(range) = chunk_range(chunk, self.chunk_size, self.source.capacity()) else {
            return Err(Error::new(ErrorKind::ShortRead, format!("chunk {chunk} is behind the disk")));
        };
        if let Job::Zero = job {
            return Ok((chunk, None, 0));
        }
        let permit = self.engine.hold(range.length()).await?;
        let bytes = job.bytes();
        if let Some(pace) = &self.engine.pace {
            pace.pass(bytes).await;
        }
        let data = match job {
            Job::Zero => None,
            Job::Whole(pieces) => read_pieces(self.source, range, &pieces).await?.map(|(data, _)| data),
            Job::Merge { read, zero } => Some(self.merge(chunk, range, &read, &zero).await?),
        };
        Ok((chunk, data.map(|data| Bytes::from_owner(Held { data, _permit: permit })), bytes))
    }

    /// The parent's chunk, verified, with what has changed of it laid over.
    async fn merge(
        &self,
        chunk: u64,
        range: ByteRange,
        read: &[ByteRange],
        zero: &[ByteRange],
    ) -> Result<Bytes, Error> {
        let context = || format!("reading chunk {chunk} of the parent, of which a part has not changed");
        let parent = self.parent.ok_or_else(|| Error::new(ErrorKind::RestorePoint, context()))?;
        let before = parent.read_chunk(chunk).await.map_err(|e| Error::repository(context(), e))?;
        let length = usize_of(range.length())?;
        let mut merged = match before {
            Chunk::Zero => BytesMut::zeroed(length),
            Chunk::Data(data) if data.len() == length => BytesMut::from(data),
            Chunk::Data(_) => return Err(Error::new(ErrorKind::RestorePoint, context())),
        };
        for piece in zero {
            place(&mut merged, range, *piece)?.fill(0);
        }
        for piece in read {
            let data = read_exactly(self.source, *piece).await?;
            place(&mut merged, range, *piece)?.copy_from_slice(&data);
        }
        Ok(merged.freeze())
    }
}

/// Reads the given pieces of a range and fills the rest with zeros. `None` when there are no pieces. With the bytes comes
/// how many of them were read.
pub(crate) async fn read_pieces(
    source: &dyn DiskSource,
    range: ByteRange,
    pieces: &[ByteRange],
) -> Result<Option<(Bytes, u64)>, Error> {
    if pieces.is_empty() {
        return Ok(None);
    }
    if pieces == [range] {
        let data = read_exactly(source, range).await?;
        return Ok(Some((data, range.length())));
    }
    let mut chunk = BytesMut::zeroed(usize_of(range.length())?);
    let mut read = 0;
    for piece in pieces {
        let data = read_exactly(source, *piece).await?;
        place(&mut chunk, range, *piece)?.copy_from_slice(&data);
        read += piece.length();
    }
    Ok(Some((chunk.freeze(), read)))
}

/// Where the bytes of a piece are in those of its chunk.
fn place(chunk: &mut BytesMut, range: ByteRange, piece: ByteRange) -> Result<&mut [u8], Error> {
    let outside =
        || Error::new(ErrorKind::ShortRead, format!("{piece:?} is not a part of the chunk {range:?}"));
    let from = piece.start().checked_sub(range.start()).ok_or_else(outside)?;
    let (from, length) = (usize_of(from)?, usize_of(piece.length())?);
    chunk.get_mut(from..from.saturating_add(length)).ok_or_else(outside)
}

async fn read_exactly(source: &dyn DiskSource, range: ByteRange) -> Result<Bytes, Error> {
    let data = source.read(range).await?;
    if data.len() as u64 == range.length() {
        return Ok(data);
    }
    let context = format!(
        "{} bytes came where {} were asked for, at byte {}",
        data.len(),
        range.length(),
        range.start()
    );
    Err(Error::new(ErrorKind::ShortRead, context))
}

/// The windows of a disk.
pub(crate) fn windows(capacity: u64) -> impl Iterator<Item = ByteRange> + Send {
    (0..capacity.div_ceil(WINDOW))
        .filter_map(move |n| ByteRange::new(n * WINDOW, ((n + 1) * WINDOW).min(capacity)))
}

/// The bytes of a chunk; the last may be shorter.
pub(crate) fn chunk_range(chunk: u64, chunk_size: u64, capacity: u64) -> Option<ByteRange> {
    let start = chunk.checked_mul(chunk_size)?;
    ByteRange::new(start, start.saturating_add(chunk_size).min(capacity))
}

fn usize_of(length: u64) -> Result<usize, Error> {
    usize::try_from(length)
        .map_err(|e| Error::new(ErrorKind::ShortRead, "a chunk beyond the address space").because(e))
}
