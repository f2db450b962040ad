//! Reading and writing.

use std::future::Future;
use std::sync::Arc;

use super::{Disk, OpenOptions};
use crate::engine::{Engine, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{AlignedBuf, Batch, CallError, Direction};
use crate::isolation::{Plain, Remote, Trouble};
use crate::log::{self, Mark};
use crate::permits::Permits;
use crate::units::{ByteOffset, SECTOR_BYTES, Sectors};
use crate::wait::block_on;
use crate::wire::Request;

const READ: &str = "read from";
const WRITE: &str = "write to";
const FLUSH: &str = "flush";

/// The way of a disk's bytes; shared with futures, which may outlive the disk.
pub(super) struct Way {
    engine: Engine,
    end: End,
    permits: Arc<Permits>,
    limit: usize,
    path: String,
}

/// Where it leads.
enum End {
    Here(Option<Arc<Queue>>),
    Apart(Remote),
}

impl Disk {
    /// Fills `buffer` with the sectors from `start` on, and waits for it. In process nothing is copied on the way: the library
    /// writes into `buffer`, unless the transport wants memory that is aligned otherwise. From a worker process the bytes are copied once; [`Disk::read_async`] with a [`Disk::buffer`]
    /// does without. Transfers larger than [`OpenOptions::max_request`](super::OpenOptions::max_request) are split.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] past the end of the disk, [`ErrorKind::InvalidArgument`] unless start and length are whole
    /// sectors of the disk, whose size [`DiskInfo`](super::DiskInfo) has, [`ErrorKind::WorkerDied`] and [`ErrorKind::TimedOut`] when that process ends meanwhile,
    /// [`ErrorKind::Closed`] when it has ended before; otherwise what the library reports. After an error the
    /// content of `buffer` is not to be relied on.
    pub fn read(&self, start: Sectors, buffer: &mut [u8]) -> Result<()> {
        self.check(READ, start, buffer.len())?;
        if !self.can_use(buffer.as_ptr()) {
            let mut own = self.aligned(READ, buffer.len())?;
            let length = own.len();
            for (at, part) in steps(start, length).zip(buffer.chunks_mut(length)) {
                self.read(at, &mut own[..part.len()])?;
                part.copy_from_slice(&own[..part.len()]);
            }
            return Ok(());
        }
        let mark = log::mark();
        self.way.read(start, buffer).map_err(|trouble| self.way.error(READ, trouble, mark))
    }

    /// Writes `buffer` to the sectors from `start` on, and waits for it.
    ///
    /// # Errors
    /// As for [`Disk::read`], and [`ErrorKind::ReadOnly`] when the disk was opened for reading.
    pub fn write(&self, start: Sectors, buffer: &[u8]) -> Result<()> {
        self.check_writable(WRITE)?;
        self.check(WRITE, start, buffer.len())?;
        if !self.can_use(buffer.as_ptr()) {
            let mut own = self.aligned(WRITE, buffer.len())?;
            let length = own.len();
            for (at, part) in steps(start, length).zip(buffer.chunks(length)) {
                own[..part.len()].copy_from_slice(part);
                self.write(at, &own[..part.len()])?;
            }
            return Ok(());
        }
        let mark = log::mark();
        self.way.write(start, buffer).map_err(|trouble| self.way.error(WRITE, trouble, mark))
    }

    /// Fills `buffer` with the bytes from `offset` on. Neither needs to be aligned: sectors at the ends that are wanted in
    /// part are read whole and cut.
    ///
    /// # Errors
    /// As for [`Disk::read`].
    pub fn read_at(&self, offset: ByteOffset, buffer: &mut [u8]) -> Result<()> {
        let unit = self.unit();
        let sector = unit as usize;
        let (mut at, mut rest) = (offset.0, buffer);
        while !rest.is_empty() {
            let skip = usize::try_from(at % unit).unwrap_or(0);
            let start = Sectors(at / unit * (unit / SECTOR_BYTES));
            let done = if skip == 0 && rest.len() >= sector {
                let whole = rest.len() / sector * sector;
                self.read(start, &mut rest[..whole])?;
                whole
            } else {
                let mut one = AlignedBuf::zeroed(sector).ok_or_else(|| self.no_memory(READ))?;
                self.read(start, &mut one)?;
                let part = rest.len().min(sector - skip);
                rest[..part].copy_from_slice(&one[skip..skip + part]);
                part
            };
            at = at.checked_add(done as u64).ok_or_else(|| self.out_of_range(READ, start, done))?;
            rest = &mut rest[done..];
        }
        Ok(())
    }

    /// Writes `buffer` at `offset`, a position in bytes. Both must be whole sectors: completing a sector by reading it first
    /// would lose what someone else writes in between.
    ///
    /// # Errors
    /// As for [`Disk::write`], and [`ErrorKind::InvalidArgument`] for an offset within a sector.
    pub fn write_at(&self, offset: ByteOffset, buffer: &[u8]) -> Result<()> {
        let start = Sectors::from_bytes(offset.0).ok_or_else(|| {
            let text = format!("byte {} is not the beginning of a sector", offset.0);
            Error::new(ErrorKind::InvalidArgument, WRITE, text).with_subject(self.path())
        })?;
        self.write(start, buffer)
    }

    /// Reads into a buffer that the request owns until it is done, and gives it back filled.
    ///
    /// The future does nothing before it is first polled, works on any runtime, and outlives the disk value without harm. It
    /// may be dropped at any time: the buffer stays with the library until the last byte has arrived. How many requests run
    /// at once is bounded by [`OpenOptions::queue_depth`](super::OpenOptions::queue_depth); they complete in any order.
    ///
    /// # Errors
    /// As for [`Disk::read`]; [`ErrorKind::Closed`] also when the disk was closed before the request was submitted.
    pub fn read_async(
        &self,
        start: Sectors,
        buffer: AlignedBuf,
    ) -> impl Future<Output = Result<AlignedBuf>> + Send + 'static + use<> {
        let checked = self.check(READ, start, buffer.len());
        transfer(Arc::clone(&self.way), READ, Direction::Read, start, buffer, checked)
    }

    /// Writes a buffer that the request owns until it is done, and gives it back. Otherwise like [`Disk::read_async`]; two
    /// writes to the same sectors must not be under way at once.
    ///
    /// # Errors
    /// As for [`Disk::write`].
    pub fn write_async(
        &self,
        start: Sectors,
        buffer: AlignedBuf,
    ) -> impl Future<Output = Result<AlignedBuf>> + Send + 'static + use<> {
        let checked = self.check_writable(WRITE).and_then(|()| self.check(WRITE, start, buffer.len()));
        transfer(Arc::clone(&self.way), WRITE, Direction::Write, start, buffer, checked)
    }

    /// Waits for what was submitted before, and brings it to stable storage.
    ///
    /// # Errors
    /// What the library reports.
    pub fn flush(&self) -> Result<()> {
        self.call(FLUSH, Request::Flush { disk: self.number })
    }

    /// A buffer of `length` bytes for [`Disk::read_async`] and [`Disk::write_async`] of this disk. From a disk in a worker
    /// process it lies in memory that both processes see, so that nothing is copied; it may hold bytes of earlier transfers.
    /// It may be used with any disk, and outlive this one.
    ///
    /// # Errors
    /// [`ErrorKind::Exhausted`] when there is no memory.
    pub fn buffer(&self, length: usize) -> Result<AlignedBuf> {
        let buffer = match &self.way.end {
            End::Apart(remote) if length > 0 => remote.buffer(length).ok(),
            _ => AlignedBuf::zeroed(length),
        };
        buffer.ok_or_else(|| {
            let text = format!("no memory for a buffer of {length} bytes");
            Error::new(ErrorKind::Exhausted, "make a buffer for", text).with_subject(self.path())
        })
    }

    pub(super) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if !self.options.is_read_only() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, operation, "the disk was opened for reading")
            .with_subject(self.path()))
    }

    /// The library leaves empty requests undefined and others it checks late: all of that is settled here.
    fn check(&self, operation: &'static str, start: Sectors, bytes: usize) -> Result<()> {
        let Some(count) = Sectors::from_bytes(bytes as u64) else {
            let text = format!("{bytes} bytes are not whole sectors");
            return Err(Error::new(ErrorKind::InvalidArgument, operation, text).with_subject(self.path()));
        };
        let unit = self.unit();
        if !(bytes as u64).is_multiple_of(unit) || !start.0.is_multiple_of(unit / SECTOR_BYTES) {
            let text = format!(
                "{bytes} bytes at sector {} are not whole sectors of {unit} bytes, as this disk has",
                start.0
            );
            return Err(Error::new(ErrorKind::InvalidArgument, operation, text).with_subject(self.path()));
        }
        match start.checked_add(count) {
            Some(end) if end <= self.capacity() => Ok(()),
            _ => Err(self.out_of_range(operation, start, bytes)),
        }
    }

    fn out_of_range(&self, operation: &'static str, start: Sectors, bytes: usize) -> Error {
        let text = format!("{bytes} bytes at sector {} do not fit into {}", start.0, self.capacity());
        Error::new(ErrorKind::OutOfRange, operation, text).with_subject(self.path())
    }

    /// Memory for as much of a transfer as the library gets at once.
    fn aligned(&self, operation: &'static str, bytes: usize) -> Result<AlignedBuf> {
        // Whole units, so that each part is one again.
        let unit = self.unit() as usize;
        let most = (self.options.request_limit() / unit).max(1) * unit;
        AlignedBuf::zeroed(bytes.min(most)).ok_or_else(|| self.no_memory(operation))
    }

    fn no_memory(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::Exhausted, operation, "no memory for a sector").with_subject(self.path())
    }
}

/// Where the parts of a transfer begin that is cut into `length` bytes each.
fn steps(start: Sectors, length: usize) -> impl Iterator<Item = Sectors> {
    let step = length as u64 / SECTOR_BYTES;
    (0..).map(move |index| Sectors(start.0.saturating_add(step.saturating_mul(index))))
}

impl Way {
    pub(super) fn new(engine: &Engine, disk: u64, path: &str, options: &OpenOptions) -> Way {
        let end = match engine {
            Engine::Here(executor) => End::Here(executor.queue(disk)),
            Engine::Apart(process) => End::Apart(Remote::new(Arc::clone(process), disk)),
        };
        Way {
            engine: engine.clone(),
            end,
            permits: Permits::new(options.depth()),
            limit: options.request_limit(),
            path: path.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Lets nothing through from here on. In process the queue sees to that when its disk closes.
    pub(super) fn close(&self) {
        if let End::Apart(remote) = &self.end {
            remote.close();
        }
    }

    /// Whether the library gets to see copies only.
    pub(super) fn copies(&self) -> bool {
        matches!(self.end, End::Apart(_))
    }

    fn read(&self, start: Sectors, buffer: &mut [u8]) -> std::result::Result<(), Trouble> {
        match &self.end {
            End::Here(queue) => {
                let submit = |batch: &Arc<Batch>| self.submit(queue.as_deref(), start, batch);
                let (submitted, failure) = Batch::lend_mut(start, buffer, submit);
                submitted.and(failure.map_or(Ok(()), |failure| Err(failure.into())))
            }
            End::Apart(remote) => block_on(remote.copied(self.bounds(), start, Plain::Read(buffer))),
        }
    }

    fn write(&self, start: Sectors, buffer: &[u8]) -> std::result::Result<(), Trouble> {
        match &self.end {
            End::Here(queue) => {
                let submit = |batch: &Arc<Batch>| self.submit(queue.as_deref(), start, batch);
                let (submitted, failure) = Batch::lend(start, buffer, submit);
                submitted.and(failure.map_or(Ok(()), |failure| Err(failure.into())))
            }
            End::Apart(remote) => block_on(remote.copied(self.bounds(), start, Plain::Write(buffer))),
        }
    }

    fn submit(
        &self,
        queue: Option<&Queue>,
        start: Sectors,
        batch: &Arc<Batch>,
    ) -> std::result::Result<(), Trouble> {
        while batch.has_more() {
            let permit = self.permits.acquire_blocking();
            if let Some(piece) = batch.next_piece(self.limit, permit) {
                let submitted = queue.ok_or_else(CallError::closed).and_then(|queue| queue.submit(piece));
                submitted.map_err(|error| Trouble { error, sector: start })?;
            }
        }
        Ok(())
    }

    /// Moves a buffer that the future owns.
    async fn run(
        &self,
        direction: Direction,
        start: Sectors,
        mut buffer: AlignedBuf,
    ) -> std::result::Result<AlignedBuf, Trouble> {
        let queue = match &self.end {
            End::Here(queue) => queue,
            End::Apart(remote) => {
                match buffer.region().filter(|_| remote.sees(&buffer)) {
                    Some(region) => {
                        remote.direct(self.bounds(), (direction, start), region, buffer.len()).await?;
                    }
                    None => {
                        let plain = match direction {
                            Direction::Read => Plain::Read(&mut buffer),
                            Direction::Write => Plain::Write(&buffer),
                        };
                        remote.copied(self.bounds(), start, plain).await?;
                    }
                }
                return Ok(buffer);
            }
        };
        let closed = || Trouble { error: CallError::closed(), sector: start };
        let (batch, receiver) = Batch::own(direction, start, buffer);
        while batch.has_more() {
            let permit = self.permits.acquire().await;
            if let Some(piece) = batch.next_piece(self.limit, permit) {
                let submitted =
                    queue.as_ref().ok_or_else(CallError::closed).and_then(|queue| queue.submit(piece));
                submitted.map_err(|error| Trouble { error, sector: start })?;
            }
        }
        drop(batch);
        let finished = receiver.await.map_err(|_| closed())?;
        match finished.failure {
            Some(failure) => Err(failure.into()),
            None => finished.buffer.ok_or_else(closed),
        }
    }

    /// How many requests may be under way, and how large they may be.
    fn bounds(&self) -> (&Arc<Permits>, usize) {
        (&self.permits, self.limit)
    }

    fn error(&self, operation: &'static str, trouble: Trouble, mark: Mark) -> Error {
        let subject = match &trouble.error {
            CallError::Gone(_) => self.path.clone(),
            _ => format!("{} at sector {}", self.path, trouble.sector.0),
        };
        self.engine.error(operation, trouble.error, mark).with_subject(subject)
    }
}

async fn transfer(
    way: Arc<Way>,
    operation: &'static str,
    direction: Direction,
    start: Sectors,
    buffer: AlignedBuf,
    checked: Result<()>,
) -> Result<AlignedBuf> {
    checked?;
    let mark = log::mark();
    let done = way.run(direction, start, buffer).await;
    done.map_err(|trouble| way.error(operation, trouble, mark))
}
