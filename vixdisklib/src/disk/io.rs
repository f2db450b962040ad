//! Reading and writing.

use std::future::Future;
use std::sync::Arc;

use super::Disk;
use super::worker::Queue;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{AlignedBuf, Batch, CallError, Direction, Failure};
use crate::log::{self, Mark};
use crate::units::{ByteOffset, SECTOR_BYTES, Sectors};

const READ: &str = "read from";
const WRITE: &str = "write to";
const FLUSH: &str = "flush";

impl Disk {
    /// Fills `buffer` with the sectors from `start` on, and waits for it. Nothing is copied on the way: the library writes
    /// into `buffer`, unless the transport wants memory that is aligned otherwise. Transfers larger than [`OpenOptions::max_request`](super::OpenOptions::max_request) are split.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] past the end of the disk, [`ErrorKind::InvalidArgument`] unless start and length are whole
    /// sectors of the disk, whose size [`DiskInfo`](super::DiskInfo) has, [`ErrorKind::Closed`] when the worker is gone; otherwise what the library reports. After an error the
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
        let queue = self.worker.queue();
        let (submitted, failure) = Batch::lend_mut(start, buffer, |batch| submit_all(queue, READ, batch));
        submitted?;
        outcome(queue, READ, failure, mark)
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
        let queue = self.worker.queue();
        let (submitted, failure) = Batch::lend(start, buffer, |batch| submit_all(queue, WRITE, batch));
        submitted?;
        outcome(queue, WRITE, failure, mark)
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
            Error::new(ErrorKind::InvalidArgument, WRITE, text).with_subject(self.worker.path())
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
        transfer(Arc::clone(self.worker.queue()), READ, Direction::Read, start, buffer, checked)
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
        transfer(Arc::clone(self.worker.queue()), WRITE, Direction::Write, start, buffer, checked)
    }

    /// Waits for what was submitted before, and brings it to stable storage.
    ///
    /// # Errors
    /// What the library reports.
    pub fn flush(&self) -> Result<()> {
        let asynchronous = self.options.is_async();
        self.worker.call(FLUSH, move |raw| {
            if asynchronous {
                raw.wait()?;
            }
            raw.flush()
        })
    }

    pub(super) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if !self.options.is_read_only() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, operation, "the disk was opened for reading")
            .with_subject(self.worker.path()))
    }

    /// The library leaves empty requests undefined and others it checks late: all of that is settled here.
    fn check(&self, operation: &'static str, start: Sectors, bytes: usize) -> Result<()> {
        let Some(count) = Sectors::from_bytes(bytes as u64) else {
            let text = format!("{bytes} bytes are not whole sectors");
            return Err(
                Error::new(ErrorKind::InvalidArgument, operation, text).with_subject(self.worker.path())
            );
        };
        let unit = self.unit();
        if bytes as u64 % unit != 0 || start.0 % (unit / SECTOR_BYTES) != 0 {
            let text = format!(
                "{bytes} bytes at sector {} are not whole sectors of {unit} bytes, as this disk has",
                start.0
            );
            return Err(
                Error::new(ErrorKind::InvalidArgument, operation, text).with_subject(self.worker.path())
            );
        }
        match start.checked_add(count) {
            Some(end) if end <= self.capacity() => Ok(()),
            _ => Err(self.out_of_range(operation, start, bytes)),
        }
    }

    fn out_of_range(&self, operation: &'static str, start: Sectors, bytes: usize) -> Error {
        let text = format!("{bytes} bytes at sector {} do not fit into {}", start.0, self.capacity());
        Error::new(ErrorKind::OutOfRange, operation, text).with_subject(self.worker.path())
    }

    /// Memory for as much of a transfer as the library gets at once.
    fn aligned(&self, operation: &'static str, bytes: usize) -> Result<AlignedBuf> {
        // Whole units, so that each part is one again.
        let unit = self.unit() as usize;
        let most = (self.options.request_limit() / unit).max(1) * unit;
        AlignedBuf::zeroed(bytes.min(most)).ok_or_else(|| self.no_memory(operation))
    }

    fn no_memory(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::Exhausted, operation, "no memory for a sector").with_subject(self.worker.path())
    }
}

/// Where the parts of a transfer begin that is cut into `length` bytes each.
fn steps(start: Sectors, length: usize) -> impl Iterator<Item = Sectors> {
    let step = length as u64 / SECTOR_BYTES;
    (0..).map(move |index| Sectors(start.0.saturating_add(step.saturating_mul(index))))
}

fn submit_all(queue: &Queue, operation: &'static str, batch: &Arc<Batch>) -> Result<()> {
    while batch.has_more() {
        let permit = queue.permits.acquire_blocking();
        if let Some(piece) = batch.next_piece(queue.request_limit, permit) {
            queue.submit(operation, piece)?;
        }
    }
    Ok(())
}

async fn transfer(
    queue: Arc<Queue>,
    operation: &'static str,
    direction: Direction,
    start: Sectors,
    buffer: AlignedBuf,
    checked: Result<()>,
) -> Result<AlignedBuf> {
    checked?;
    let mark = log::mark();
    let (batch, receiver) = Batch::own(direction, start, buffer);
    while batch.has_more() {
        let permit = queue.permits.acquire().await;
        if let Some(piece) = batch.next_piece(queue.request_limit, permit) {
            queue.submit(operation, piece)?;
        }
    }
    drop(batch);
    let finished = receiver.await.map_err(|_| queue.closed(operation))?;
    outcome(&queue, operation, finished.failure, mark)?;
    finished.buffer.ok_or_else(|| queue.closed(operation))
}

fn outcome(queue: &Queue, operation: &'static str, failure: Option<Failure>, mark: Mark) -> Result<()> {
    let Some(failure) = failure else { return Ok(()) };
    let subject = format!("{} at sector {}", queue.path, failure.sector.0);
    Err(queue.api.error(operation, CallError::Code(failure.raw), mark).with_subject(subject))
}
