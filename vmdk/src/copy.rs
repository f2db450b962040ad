//! Copying a whole disk into something else, with several threads: what `convert` and `flatten` are made of.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::disk::{Disk, Map, State, is_zero};
use crate::error::{Error, Result};
use crate::io::{ReadAt, WriteAt};

/// Bytes that one thread moves at once; a multiple of every usual grain.
const PIECE: u64 = 1 << 20;
/// Zeros of this length and alignment are left out.
const ZEROS: usize = 64 << 10;

/// What is copied.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A disk with its parents. What no link has is not read.
    Disk(&'a Disk),
    /// Bytes as they are.
    Raw(&'a dyn ReadAt),
}

/// How a copy is made.
#[derive(Clone, Copy)]
pub struct Copy<'a> {
    threads: usize,
    onto_zeros: bool,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl Default for Copy<'_> {
    fn default() -> Self {
        Self { threads: usual_threads(), onto_zeros: true, progress: None }
    }
}

impl<'a> Copy<'a> {
    /// Onto something that reads as zeros so far, with as many threads as there are processors, 16 at most.
    pub fn new() -> Self {
        Self::default()
    }

    /// The threads that read and write; each has a buffer of 1 MiB. At least one.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Whether the target may have something else than zeros, so that zeros have to be written as well.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.onto_zeros = !overwrite;
        self
    }

    /// Called with the bytes of the disk that were done with since the last call, written or left out, from any thread.
    #[must_use]
    pub fn progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Copies everything from the source to the same offsets of the target, and returns the bytes that were written. Whether they
    /// survive a loss of power is for the caller to ask of the target, by [`WriteAt::sync`].
    ///
    /// # Errors
    /// The first one that any thread met, of reading or writing; the others stop then, and the target is not complete.
    pub fn run(&self, source: Source<'_>, target: &dyn WriteAt) -> Result<u64> {
        let pieces = Mutex::new(Pieces::new(source, self.onto_zeros)?);
        std::thread::scope(|scope| {
            let started: Vec<_> =
                (1..self.threads).map(|_| scope.spawn(|| self.work(&pieces, source, target))).collect();
            let own = self.work(&pieces, source, target);
            started.into_iter().fold(own, |sum, thread| match (sum, thread.join()) {
                (Err(error), _) => Err(error),
                (Ok(sum), Ok(written)) => written.map(|written| sum + written),
                (Ok(_), Err(_)) => Err(Error::invalid(
                    "a thread that copied has panicked: a reader, writer or progress is broken",
                )),
            })
        })
    }

    fn work(&self, pieces: &Mutex<Pieces<'_>>, source: Source<'_>, target: &dyn WriteAt) -> Result<u64> {
        let mut buffer = Vec::new();
        let mut written = 0;
        loop {
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            let result = match next {
                Ok(None) => return Ok(written),
                Ok(Some(piece)) => self.copy_piece(&piece, source, target, &mut buffer),
                Err(error) => Err(error),
            };
            match result {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    pieces.lock().unwrap_or_else(PoisonError::into_inner).stop();
                    return Err(error);
                }
            }
        }
    }

    fn copy_piece(
        &self,
        piece: &Piece,
        source: Source<'_>,
        target: &dyn WriteAt,
        buffer: &mut Vec<u8>,
    ) -> Result<u64> {
        let Range { start, end } = piece.range;
        let mut written = 0;
        if piece.to_copy {
            buffer.resize((end - start) as usize, 0);
            match source {
                Source::Disk(_) if piece.is_zero => buffer.fill(0),
                Source::Disk(disk) => disk.read_exact_at(buffer, start)?,
                Source::Raw(raw) => raw.read_exact_at(buffer, start).map_err(|error| {
                    Error::io(format!("reading the source at byte {start} failed"), error)
                })?,
            }
            written = self.write(buffer, start, target)?;
        }
        if let Some(progress) = self.progress {
            progress(end - start);
        }
        Ok(written)
    }

    /// Writes what is not zero, in pieces that are as long as can be.
    fn write(&self, bytes: &[u8], start: u64, target: &dyn WriteAt) -> Result<u64> {
        let put = |range: Range<usize>| {
            let at = start + range.start as u64;
            let Some(part) = bytes.get(range).filter(|part| !part.is_empty()) else { return Ok(0) };
            let failed = |error| Error::io(format!("writing the target at byte {at} failed"), error);
            target.write_all_at(part, at).map_err(failed).map(|()| part.len() as u64)
        };
        if !self.onto_zeros {
            return put(0..bytes.len());
        }
        let (mut written, mut from, mut at) = (0, 0, 0);
        while at < bytes.len() {
            // Up to where the next 64 KiB of the disk begin.
            let length = (ZEROS - (start as usize).wrapping_add(at) % ZEROS).min(bytes.len() - at);
            if bytes.get(at..at + length).is_some_and(is_zero) {
                written += put(from..at)?;
                from = at + length;
            }
            at += length;
        }
        Ok(written + put(from..bytes.len())?)
    }
}

/// As many as there are processors, 16 at most.
pub(crate) fn usual_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(16)
}

/// A part of the disk, within one MiB of it.
struct Piece {
    range: Range<u64>,
    to_copy: bool,
    is_zero: bool,
}

/// Hands out the pieces of a disk, to whichever thread comes.
struct Pieces<'a> {
    map: Option<Map<'a>>,
    onto_zeros: bool,
    rest: Range<u64>,
    has_data: bool,
}

impl<'a> Pieces<'a> {
    fn new(source: Source<'a>, onto_zeros: bool) -> Result<Self> {
        Ok(match source {
            Source::Disk(disk) => {
                Self { map: Some(disk.map(0..disk.capacity())), onto_zeros, rest: 0..0, has_data: false }
            }
            Source::Raw(raw) => {
                let size =
                    raw.size().map_err(|error| Error::io("the size of the source can't be had", error))?;
                Self { map: None, onto_zeros, rest: 0..size, has_data: true }
            }
        })
    }

    fn next(&mut self) -> Result<Option<Piece>> {
        if self.rest.is_empty() {
            match self.map.as_mut().and_then(Iterator::next) {
                None => return Ok(None),
                Some(span) => {
                    let span = span?;
                    self.rest = span.offset..span.offset + span.length;
                    self.has_data = span.state == State::Data;
                }
            }
        }
        let start = self.rest.start;
        let to_copy = self.has_data || !self.onto_zeros;
        // What is left out needs no buffer.
        let end = if to_copy { ((start / PIECE + 1) * PIECE).min(self.rest.end) } else { self.rest.end };
        self.rest.start = end;
        Ok(Some(Piece { range: start..end, to_copy, is_zero: !self.has_data }))
    }

    fn stop(&mut self) {
        self.map = None;
        self.rest = 0..0;
    }
}
