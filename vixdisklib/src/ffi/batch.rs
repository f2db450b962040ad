//! One transfer of the caller: its memory, cut into the pieces that VixDiskLib is asked for.
//!
//! The memory is in foreign hands from the moment a piece is submitted until its completion. Every piece keeps the
//! batch alive, and the batch tells its owner only when the last piece is gone: that is the whole argument why borrowed
//! memory cannot be freed too early, and why a future may be dropped in flight.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::oneshot;

use super::aligned::AlignedBuf;
use super::bindings::VDDK_E_CANCELLED;
use super::shared::Mapping;
use crate::permits::Permit;
use crate::units::{SECTOR_BYTES, Sectors};

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The first piece that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) raw: u64,
    pub(crate) sector: Sectors,
}

/// What is left when all pieces are done.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The memory, if the batch owned it.
    pub(crate) buffer: Option<AlignedBuf>,
    pub(crate) failure: Option<Failure>,
}

/// The memory of one transfer and what became of its pieces.
pub(crate) struct Batch {
    direction: Direction,
    start: Sectors,
    memory: NonNull<u8>,
    length: usize,
    owned: Option<AlignedBuf>,
    /// Where in the memory the next piece begins. Pieces never overlap, because this only grows.
    cut: AtomicUsize,
    failure: Mutex<Option<Failure>>,
    done: Option<Done>,
}

enum Done {
    Thread(Sender<Finished>),
    Future(oneshot::Sender<Finished>),
}

/// A part of a batch that goes to VixDiskLib as one request; or, in a worker process, a whole request of its program.
pub(crate) struct Piece {
    memory: Memory,
    offset: usize,
    length: usize,
    /// Given back when the piece is done: it bounds how many are under way.
    _permit: Option<Permit>,
}

/// Whose memory a piece is of, and who hears of its end.
enum Memory {
    Batch(Arc<Batch>),
    Mapped {
        mapping: Arc<Mapping>,
        direction: Direction,
        start: Sectors,
        reply: Reply,
    },
    /// It has ended, and been told.
    Over,
}

/// Hears the result word of a piece of shared memory.
pub(crate) type Reply = Box<dyn FnOnce(u64) + Send>;

impl Batch {
    /// Reads into borrowed memory: runs `submit`, then waits until no piece is left, whatever `submit` did.
    pub(crate) fn lend_mut<R>(
        start: Sectors,
        memory: &mut [u8],
        submit: impl FnOnce(&Arc<Batch>) -> R,
    ) -> (R, Option<Failure>) {
        let length = memory.len();
        lend(Direction::Read, start, NonNull::from(memory).cast(), length, submit)
    }

    /// Writes from borrowed memory; otherwise like [`Batch::lend_mut`].
    pub(crate) fn lend<R>(
        start: Sectors,
        memory: &[u8],
        submit: impl FnOnce(&Arc<Batch>) -> R,
    ) -> (R, Option<Failure>) {
        // The pointer is only read through: the direction decides which function of the library gets it.
        lend(Direction::Write, start, NonNull::from(memory).cast(), memory.len(), submit)
    }

    /// Takes the memory over. It comes back through the receiver when the last piece and this value are gone.
    pub(crate) fn own(
        direction: Direction,
        start: Sectors,
        buffer: AlignedBuf,
    ) -> (Arc<Batch>, oneshot::Receiver<Finished>) {
        let (sender, receiver) = oneshot::channel();
        let memory = buffer.as_non_null();
        let length = buffer.len();
        let batch = Batch::new(direction, start, memory, length, Some(buffer), Done::Future(sender));
        (Arc::new(batch), receiver)
    }

    /// Cuts off the next piece, of at most `limit` bytes; `None` when all is cut.
    pub(crate) fn next_piece(self: &Arc<Self>, limit: usize, permit: Permit) -> Option<Piece> {
        let step = |cut: usize| (cut < self.length).then(|| cut.saturating_add(limit).min(self.length));
        let offset = self.cut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        let length = step(offset)? - offset;
        Some(Piece { memory: Memory::Batch(Arc::clone(self)), offset, length, _permit: Some(permit) })
    }

    /// Whether something is left to cut off.
    pub(crate) fn has_more(&self) -> bool {
        self.cut.load(Ordering::Relaxed) < self.length
    }

    fn new(
        direction: Direction,
        start: Sectors,
        memory: NonNull<u8>,
        length: usize,
        owned: Option<AlignedBuf>,
        done: Done,
    ) -> Batch {
        let cut = AtomicUsize::new(0);
        Batch { direction, start, memory, length, owned, cut, failure: Mutex::new(None), done: Some(done) }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let failure = *self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = Finished { buffer: self.owned.take(), failure };
        let delivered = match self.done.take() {
            Some(Done::Thread(sender)) => sender.send(finished).is_ok(),
            Some(Done::Future(sender)) => sender.send(finished).is_ok(),
            None => true,
        };
        if !delivered {
            tracing::trace!("a transfer ended after its future was dropped");
        }
    }
}

// SAFETY: the memory is either owned by the batch, or borrowed by `lend`, which outlives it and keeps others away from
// it. Which part of it is touched by whom is decided by `cut`, so no two pieces share a byte.
unsafe impl Send for Batch {}
// SAFETY: as above; all other fields are `Sync`.
unsafe impl Sync for Batch {}

impl Piece {
    /// A request over a part of shared memory; `None`, and no reply, unless that is whole sectors within the mapping.
    pub(crate) fn of_mapping(
        mapping: Arc<Mapping>,
        direction: Direction,
        start: Sectors,
        part: (u64, u64),
        reply: Reply,
    ) -> Option<Piece> {
        let (offset, length) = (usize::try_from(part.0).ok()?, usize::try_from(part.1).ok()?);
        let fits = offset.checked_add(length).is_some_and(|end| end <= mapping.length());
        let whole = Sectors::from_bytes(part.1).is_some_and(|count| count != Sectors::ZERO);
        let memory = Memory::Mapped { mapping, direction, start, reply };
        (fits && whole).then_some(Piece { memory, offset, length, _permit: None })
    }

    pub(crate) fn direction(&self) -> Direction {
        match &self.memory {
            Memory::Batch(batch) => batch.direction,
            Memory::Mapped { direction, .. } => *direction,
            Memory::Over => Direction::Read,
        }
    }

    pub(crate) fn sector(&self) -> Sectors {
        match &self.memory {
            Memory::Batch(batch) => Sectors(batch.start.0.saturating_add(self.offset as u64 / SECTOR_BYTES)),
            Memory::Mapped { start, .. } => *start,
            Memory::Over => Sectors::ZERO,
        }
    }

    pub(crate) fn count(&self) -> Sectors {
        Sectors(self.length as u64 / SECTOR_BYTES)
    }

    /// Where in memory the piece lies: valid for `count` sectors until the piece is dropped.
    pub(super) fn memory(&self) -> *mut u8 {
        let start = match &self.memory {
            Memory::Batch(batch) => batch.memory.as_ptr(),
            Memory::Mapped { mapping, .. } => mapping.start().as_ptr(),
            Memory::Over => return std::ptr::null_mut(),
        };
        // SAFETY: `next_piece` and `of_mapping` keep offset + length within the memory.
        unsafe { start.add(self.offset) }
    }

    /// Ends the piece with VixDiskLib's result. The first failure of a batch is the one that is reported.
    pub(crate) fn finish(mut self, raw: u64) {
        self.end(raw);
    }

    fn end(&mut self, raw: u64) {
        let sector = self.sector();
        match std::mem::replace(&mut self.memory, Memory::Over) {
            Memory::Batch(batch) if raw != 0 => {
                let mut failure = batch.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(Failure { raw, sector });
            }
            Memory::Mapped { mapping, reply, .. } => {
                // The program may take the memory back as soon as it hears.
                drop(mapping);
                reply(raw);
            }
            Memory::Batch(_) | Memory::Over => {}
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // A piece that was thrown away moved no bytes: it must not pass for a success.
        self.end(VDDK_E_CANCELLED.into());
    }
}

fn lend<R>(
    direction: Direction,
    start: Sectors,
    memory: NonNull<u8>,
    length: usize,
    submit: impl FnOnce(&Arc<Batch>) -> R,
) -> (R, Option<Failure>) {
    let (sender, receiver) = channel();
    // Declared before the batch and so dropped after it: when `submit` panics, unwinding waits here as well.
    let mut waiting = Waiting { receiver, over: false };
    let batch = Arc::new(Batch::new(direction, start, memory, length, None, Done::Thread(sender)));
    let submitted = submit(&batch);
    drop(batch);
    (submitted, waiting.wait())
}

/// Holds a borrow open until the batch is gone.
struct Waiting {
    receiver: Receiver<Finished>,
    over: bool,
}

impl Waiting {
    fn wait(&mut self) -> Option<Failure> {
        self.over = true;
        // An error would mean that the batch vanished without its `drop`, and then it holds no pointer either.
        self.receiver.recv().ok().and_then(|finished| finished.failure)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permits::Permits;

    #[test]
    fn pieces_tile_the_memory() {
        let permits = Permits::new(8);
        let mut memory = vec![0u8; 5 * 512];
        let (seen, failure) = Batch::lend_mut(Sectors(10), &mut memory, |batch| {
            let mut seen = Vec::new();
            while let Some(piece) = batch.next_piece(1024, permits.acquire_blocking()) {
                seen.push((piece.sector(), piece.count()));
                piece.finish(0);
            }
            seen
        });
        assert_eq!(seen, [(Sectors(10), Sectors(2)), (Sectors(12), Sectors(2)), (Sectors(14), Sectors(1))]);
        assert_eq!(failure, None);
    }

    #[test]
    fn the_first_failure_is_kept_and_the_owner_is_told_last() {
        let permits = Permits::new(8);
        let buffer = AlignedBuf::zeroed(1024).unwrap();
        let (batch, mut receiver) = Batch::own(Direction::Write, Sectors(0), buffer);
        let first = batch.next_piece(512, permits.acquire_blocking()).unwrap();
        let second = batch.next_piece(512, permits.acquire_blocking()).unwrap();
        drop(batch);
        second.finish(7);
        assert!(receiver.try_recv().unwrap().is_none());
        first.finish(9);
        let finished = receiver.try_recv().unwrap().unwrap();
        assert_eq!(finished.failure, Some(Failure { raw: 7, sector: Sectors(1) }));
        assert_eq!(finished.buffer.unwrap().len(), 1024);
    }

    #[test]
    fn a_piece_thrown_away_is_a_failure() {
        let permits = Permits::new(1);
        let mut memory = vec![0u8; 512];
        let ((), failure) = Batch::lend_mut(Sectors(3), &mut memory, |batch| {
            drop(batch.next_piece(512, permits.acquire_blocking()));
        });
        assert_eq!(failure, Some(Failure { raw: 10, sector: Sectors(3) }));
    }

    #[test]
    fn a_panic_in_submit_waits_for_the_pieces() {
        let permits = Permits::new(1);
        let mut memory = vec![0u8; 512];
        let (sender, receiver) = channel::<Piece>();
        let slow = std::thread::spawn(move || {
            let piece = receiver.recv().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(30));
            // SAFETY: the piece is alive, so its memory is valid.
            unsafe { piece.memory().write(5) };
            piece.finish(0);
        });
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Batch::lend_mut(Sectors(0), &mut memory, |batch| {
                sender.send(batch.next_piece(512, permits.acquire_blocking()).unwrap()).unwrap();
                panic!("on purpose");
            })
        }));
        assert!(panic.is_err());
        assert_eq!(memory[0], 5);
        slow.join().unwrap();
    }

    /// One order of events out of many; Miri tries several (`.ci/miri`).
    #[test]
    fn pieces_end_on_other_threads_whether_the_future_waits_or_is_dropped() {
        for waits in [true, false] {
            let permits = &Permits::new(2);
            let (batch, receiver) =
                Batch::own(Direction::Read, Sectors(0), AlignedBuf::zeroed(2048).unwrap());
            std::thread::scope(|scope| {
                while let Some(piece) = batch.next_piece(512, permits.acquire_blocking()) {
                    scope.spawn(move || {
                        // SAFETY: the piece is alive, so its 512 bytes are valid, and no other piece has them.
                        unsafe { piece.memory().write_bytes(7, 512) };
                        piece.finish(0);
                    });
                }
                drop(batch);
                if waits {
                    let finished = futures::executor::block_on(receiver).unwrap();
                    assert_eq!(finished.failure, None);
                    assert!(finished.buffer.unwrap().iter().all(|byte| *byte == 7));
                } else {
                    drop(receiver);
                }
            });
        }
    }
}
