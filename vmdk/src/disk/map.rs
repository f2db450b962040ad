//! What a disk's bytes are, and which link has them.

use std::iter::FusedIterator;
use std::ops::Range;

use super::Disk;
use crate::error::Result;
use crate::extent::Place;

/// Bytes of a disk that have one state and one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// In bytes, above zero.
    pub length: u64,
    /// What is there.
    pub state: State,
    /// The link that says so, as an index into [`Disk::links`]: 0 is the top. `None` if no link does.
    pub link: Option<usize>,
}

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Stored bytes, which may be zeros.
    Data,
    /// Zeros that a link has recorded as such, whatever is in its parents.
    Zero,
    /// No link has it; it reads as zeros.
    Unallocated,
}

/// An iterator over the spans of a disk, in order and without gaps. After an error it ends. Each link's tables are read once.
pub struct Map<'a> {
    disk: &'a Disk,
    offset: u64,
    end: u64,
    /// What each link said last: from where to where, and what.
    runs: Vec<Option<(Range<u64>, Place)>>,
    next: Option<Span>,
}

impl<'a> Map<'a> {
    pub(super) fn new(disk: &'a Disk, range: Range<u64>) -> Self {
        let end = range.end.min(disk.capacity);
        Self { disk, offset: range.start, end, runs: vec![None; disk.links.len()], next: None }
    }

    fn read(&mut self) -> Result<Option<Span>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let mut limit = self.end - self.offset;
        let (mut state, mut link) = (State::Unallocated, None);
        for depth in 0..self.runs.len() {
            let (run, place) = self.run(depth)?;
            limit = limit.min(run.end - self.offset);
            state = match place {
                Place::Unallocated => continue,
                Place::Zero => State::Zero,
                Place::At(_) | Place::Packed { .. } => State::Data,
            };
            link = Some(depth);
            break;
        }
        let span = Span { offset: self.offset, length: limit, state, link };
        self.offset += limit;
        Ok(Some(span))
    }

    fn run(&mut self, depth: usize) -> Result<(Range<u64>, Place)> {
        if let Some(Some((range, place))) = self.runs.get(depth)
            && range.contains(&self.offset)
        {
            return Ok((range.clone(), *place));
        }
        let link = &self.disk.links[depth];
        let extent = link.extent_at(self.offset)?;
        let run = extent.locate(&self.disk.backing, self.offset - extent.start, self.end - self.offset)?;
        let range = self.offset..self.offset + run.length;
        self.runs[depth] = Some((range.clone(), run.place));
        Ok((range, run.place))
    }
}

impl Iterator for Map<'_> {
    type Item = Result<Span>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut span = self.next.take();
        loop {
            match (self.read(), &mut span) {
                (Ok(Some(more)), None) => span = Some(more),
                (Ok(Some(more)), Some(span)) if (more.state, more.link) == (span.state, span.link) => {
                    span.length += more.length;
                }
                (Ok(more), _) => {
                    self.next = more;
                    return span.map(Ok);
                }
                (Err(error), _) => {
                    // What came before the error is not worth more than knowing of it.
                    self.offset = self.end;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl FusedIterator for Map<'_> {}
