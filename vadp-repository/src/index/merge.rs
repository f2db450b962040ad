//! Sorted rows out of several places as one sorted sequence.

use super::table::Row;
use crate::error::Result;

/// Rows in order.
pub(super) type Rows<'a> = Box<dyn Iterator<Item = Result<Row>> + Send + 'a>;

/// Merges sorted sequences. A row that is in several of them comes once. With it comes its number, counted through all sources one after the
/// other; of a row that is in several, it is always the same one.
pub(super) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    last: Option<Row>,
}

struct Source<'a> {
    next: Row,
    number: usize,
    rest: Rows<'a>,
}

impl<'a> Merge<'a> {
    /// Takes sources, each with the number of its rows.
    pub(super) fn new(sources: impl IntoIterator<Item = (usize, Rows<'a>)>) -> Result<Self> {
        let mut merge = Self { sources: Vec::new(), last: None };
        let mut number = 0;
        for (rows, mut rest) in sources {
            if let Some(next) = rest.next().transpose()? {
                merge.sources.push(Source { next, number, rest });
            }
            number += rows;
        }
        Ok(merge)
    }

    /// The least of the next rows. There are only ever a few sources, so that looking at all of them is fast.
    fn take_least(&mut self) -> Result<Option<(usize, Row)>> {
        let least = (0..self.sources.len()).min_by_key(|&place| self.sources[place].next);
        let Some(place) = least else { return Ok(None) };
        let source = &mut self.sources[place];
        let row = (source.number, source.next);
        match source.rest.next().transpose()? {
            Some(next) => (source.number, source.next) = (source.number + 1, next),
            None => _ = self.sources.swap_remove(place),
        }
        Ok(Some(row))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<(usize, Row)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, row) = match self.take_least() {
                Ok(row) => row?,
                Err(error) => {
                    self.sources.clear();
                    return Some(Err(error));
                }
            };
            if self.last != Some(row) {
                self.last = Some(row);
                return Some(Ok((number, row)));
            }
        }
    }
}
