use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OwnedSemaphorePermit;
use vadp_repository::{Chunk, StoredDisk};

use super::{Restore, RestoredDisk};
use crate::cbt::{Decision, Reason};
use crate::compare::{chunks_of_interest, current, matches, range_of};
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::machine::DiskConfig;
use crate::pipeline::{Engine, READ_AHEAD, Scope, windows};
use crate::progress::{Event, Meter, Phase, Report};
use crate::transport::{DiskSink, DiskSource};
use crate::verify::{ReadBack, read_back};

/// The restore of one disk.
pub(super) struct Work<'a> {
    pub(super) restore: &'a Restore<'a>,
    pub(super) engine: &'a Engine,
    pub(super) reader: &'a dyn StoredDisk,
    pub(super) current: DiskConfig,
    pub(super) decision: Decision,
    pub(super) scope: Scope,
    pub(super) report: &'a Report<'a>,
}

/// What is to be written of a chunk.
struct Job {
    range: ByteRange,
    pieces: Vec<(u64, Bytes)>,
    /// Its part of the budget, until it is written.
    _in_memory: OwnedSemaphorePermit,
}

impl Work<'_> {
    /// Brings the disk back, and reads it back. When that fails, the other disks of the run are given up too.
    pub(super) async fn run(mut self) -> Result<RestoredDisk, Error> {
        let done = self.restore().await;
        if done.is_err() {
            self.engine.stop();
        }
        done
    }

    async fn restore(&mut self) -> Result<RestoredDisk, Error> {
        let key = self.current.key;
        let mut written = self.write().await?;
        let mut back = self.read_back().await;
        // The changes that were told were not all of them: something reached the disk that its host has not seen.
        if let (Scope::Changed(_), Err(error)) = (&self.scope, &back)
            && error.kind() == ErrorKind::Verification
        {
            tracing::warn!(disk = %self.current.label, %error, "the disk is compared as a whole");
            (self.decision, self.scope) = (Decision::Full(Reason::Distrusted), Scope::Allocated);
            written += self.write().await?;
            back = self.read_back().await;
        }
        let ReadBack { verified, digest } = back?;
        self.report.tell(Event::DiskDone { key });
        let (capacity, decision) = (self.reader.capacity(), self.decision.clone());
        let skipped = capacity.saturating_sub(written);
        Ok(RestoredDisk { key, capacity, decision, written, skipped, verified, digest })
    }

    /// Writes what has to be, and closes the disk. Returns the number of bytes.
    async fn write(&self) -> Result<u64, Error> {
        let path = &self.current.file_name;
        let sink = self.restore.transport.open_sink(self.restore.vm, path).await?;
        let done = self.engine.unless_stopped(Box::pin(self.write_to(&*sink))).await;
        let closed = (sink as Box<dyn DiskSource>).close().await;
        let written = done?;
        closed?;
        Ok(written)
    }

    /// Over another connection: what comes cannot be out of a buffer of the one that wrote.
    async fn read_back(&self) -> Result<ReadBack, Error> {
        let path = &self.current.file_name;
        let source = self.restore.transport.open_for_verification(self.restore.vm, path).await?;
        let key = self.current.key;
        let back = Box::pin(read_back(&*source, self.reader, key, self.restore.verify, self.report));
        let back = self.engine.unless_stopped(back).await;
        let closed = source.close().await;
        let back = back?;
        closed?;
        Ok(back)
    }

    async fn write_to(&self, sink: &dyn DiskSink) -> Result<u64, Error> {
        let (key, total) = (self.current.key, self.reader.capacity());
        if sink.capacity() != self.current.capacity {
            let (path, found, known) = (&self.current.file_name, sink.capacity(), self.current.capacity);
            let context = format!("{path} has {known} bytes, and the transport sees {found}");
            return Err(Error::new(ErrorKind::ShortRead, context));
        }
        self.report.tell(Event::DiskOpened { key, capacity: total });
        let (mut written, mut reached, mut meter) = (0, 0, Meter::new());
        for window in windows(total) {
            let (allocated, chunks) = self.plan(sink, window).await?;
            let jobs = chunks.into_iter().map(|chunk| self.job(sink, &allocated, chunk));
            let mut jobs = futures::stream::iter(jobs).buffer_unordered(READ_AHEAD);
            while let Some(Job { range, pieces, _in_memory }) = jobs.try_next().await? {
                for (offset, data) in pieces {
                    written += data.len() as u64;
                    sink.write(offset, data).await?;
                }
                reached = reached.max(range.end());
                self.report.tell(meter.event(key, Phase::Write, reached, total));
            }
        }
        sink.flush().await?;
        self.report.tell(meter.event(key, Phase::Write, total, total));
        Ok(written)
    }

    /// The chunks of a window that may have to be written, and what the disk holds of it.
    async fn plan(&self, sink: &dyn DiskSink, window: ByteRange) -> Result<(Extents, Vec<u64>), Error> {
        match &self.scope {
            Scope::Allocated => chunks_of_interest(sink, self.reader, window).await,
            Scope::Changed(changed) => {
                let here: Extents = changed.within(window).collect();
                let chunks = here.chunks(u64::from(self.reader.chunk_size())).collect();
                Ok((here, chunks))
            }
        }
    }

    /// What is to be written of a chunk: of changes that are known, these, unread; otherwise all of it, if it differs.
    async fn job(&self, sink: &dyn DiskSink, extents: &Extents, chunk: u64) -> Result<Job, Error> {
        let range = range_of(self.reader, chunk)?;
        let _in_memory = self.engine.hold(range.length()).await?;
        let pieces: Vec<ByteRange> = match &self.scope {
            Scope::Changed(_) => extents.within(range).collect(),
            Scope::Allocated => {
                let (_, there) = current(sink, self.reader, extents, chunk).await?;
                match matches(self.reader, chunk, there.as_ref()).await? {
                    true => Vec::new(),
                    false => vec![range],
                }
            }
        };
        if pieces.is_empty() {
            return Ok(Job { range, pieces: Vec::new(), _in_memory });
        }
        let wanted = self.reader.read_chunk(chunk).await;
        let context = || format!("reading chunk {chunk} of the restore point");
        let wanted = wanted.map_err(|e| Error::repository(context(), e))?;
        let bytes_of = |piece: ByteRange| -> Option<(u64, Bytes)> {
            let from = usize::try_from(piece.start() - range.start()).ok()?;
            let length = usize::try_from(piece.length()).ok()?;
            let bytes = match &wanted {
                // Zeroes, since nothing proves that what is not allocated below the snapshot reads as such.
                Chunk::Zero => Bytes::from(vec![0; length]),
                Chunk::Data(data) if from.checked_add(length)? <= data.len() => {
                    data.slice(from..from + length)
                }
                Chunk::Data(_) => return None,
            };
            Some((piece.start(), bytes))
        };
        let pieces: Option<Vec<_>> = pieces.into_iter().map(bytes_of).collect();
        let pieces = pieces.ok_or_else(|| Error::new(ErrorKind::RestorePoint, context()))?;
        Ok(Job { range, pieces, _in_memory })
    }
}
