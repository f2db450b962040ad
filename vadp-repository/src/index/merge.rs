//! Sorted rows out of several places as one sorted sequence.

use super::table::Row;
use crate::error::Result;

/// Rows in order.
pub(super) type Rows<'a> = Box<dyn Iterator<Item = Result<Row>> + Send + 'a>;

/// Merges sorted sequences. A row that is in several of them comes once.
pub(super) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    last: Option<Row>,
}

struct Source<'a> {
    next: Row,
    rest: Rows<'a>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(sources: impl IntoIterator<Item = Rows<'a>>) -> Result<Self> {
        let mut merge = Self { sources: Vec::new(), last: None };
        for mut rest in sources {
            if let Some(next) = rest.next().transpose()? {
                merge.sources.push(Source { next, rest });
            }
        }
        Ok(merge)
    }

    /// The least of the next rows. There are only ever a few sources, so that looking at all of them is fast.
    fn take_least(&mut self) -> Result<Option<Row>> {
        let least = (0..self.sources.len()).min_by_key(|&number| self.sources[number].next);
        let Some(number) = least else { return Ok(None) };
        let source = &mut self.sources[number];
        let row = source.next;
        match source.rest.next().transpose()? {
            Some(next) => source.next = next,
            None => _ = self.sources.swap_remove(number),
        }
        Ok(Some(row))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        loop {
            let row = match self.take_least() {
                Ok(row) => row?,
                Err(error) => {
                    self.sources.clear();
                    return Some(Err(error));
                }
            };
            if self.last != Some(row) {
                self.last = Some(row);
                return Some(Ok(row));
            }
        }
    }
}
