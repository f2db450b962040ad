use std::fmt;

use crate::extent::{ByteRange, Extents};

/// One answer of `QueryChangedDiskAreas`: the changed areas within `start .. start + length`. All in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// First byte that the answer is about.
    pub start: i64,
    /// Number of bytes that the answer is about.
    pub length: i64,
    /// Start and length of each changed area.
    pub areas: Vec<(i64, i64)>,
}

/// The changed areas of a whole disk. It cannot be made of an incomplete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedMap {
    capacity: u64,
    changed: Extents,
}

impl ChangedMap {
    /// Size of the disk in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The changed bytes.
    pub fn changed(&self) -> &Extents {
        &self.changed
    }
}

/// Collects windows until they cover the disk.
#[derive(Debug)]
pub struct MapBuilder {
    capacity: u64,
    covered: u64,
    changed: Vec<ByteRange>,
    last_end: u64,
}

/// How a server's answer fails to be a proof. Nothing may be backed up by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoverageError {
    /// The window does not begin where the last one ended.
    Discontinuous {
        /// Where it had to begin.
        expected: u64,
        /// Where it begins.
        found: i64,
    },
    /// The window is empty or negative: the query would never end.
    Stalled {
        /// Where it stands.
        at: u64,
        /// The window's length.
        length: i64,
    },
    /// The window ends behind the disk.
    Overrun {
        /// Where it ends.
        end: u64,
        /// The disk's size.
        capacity: u64,
    },
    /// An area lies outside its window, is empty, or is not behind the one before.
    BadArea {
        /// The area's start.
        start: i64,
        /// The area's length.
        length: i64,
    },
    /// The windows end before the disk does.
    Incomplete {
        /// How far they reach.
        covered: u64,
        /// The disk's size.
        capacity: u64,
    },
}

impl MapBuilder {
    /// For a disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, covered: 0, changed: Vec::new(), last_end: 0 }
    }

    /// Where the next query has to start; `None` when the disk is covered. Asking at the capacity itself is an error for
    /// the server.
    pub fn next_offset(&self) -> Option<u64> {
        (self.covered < self.capacity).then_some(self.covered)
    }

    /// Takes the answer to the query at [`next_offset`](Self::next_offset).
    ///
    /// # Errors
    /// When the answer is not the exact continuation. An answer without areas is fine: nothing changed there, and it is
    /// not the end.
    pub fn add(&mut self, window: &Window) -> Result<(), CoverageError> {
        if u64::try_from(window.start) != Ok(self.covered) {
            return Err(CoverageError::Discontinuous { expected: self.covered, found: window.start });
        }
        let length = u64::try_from(window.length).ok().filter(|l| *l > 0);
        let stalled = CoverageError::Stalled { at: self.covered, length: window.length };
        let end = self.covered.checked_add(length.ok_or(stalled.clone())?).ok_or(stalled)?;
        if end > self.capacity {
            return Err(CoverageError::Overrun { end, capacity: self.capacity });
        }
        for &(start, length) in &window.areas {
            let bad = CoverageError::BadArea { start, length };
            let range = u64::try_from(start)
                .ok()
                .zip(u64::try_from(length).ok())
                .and_then(|(s, l)| ByteRange::with_length(s, l))
                .filter(|r| r.start() >= self.covered && r.start() >= self.last_end && r.end() <= end)
                .ok_or(bad)?;
            self.last_end = range.end();
            self.changed.push(range);
        }
        self.covered = end;
        Ok(())
    }

    /// The map, once the disk is covered.
    ///
    /// # Errors
    /// When it is not.
    pub fn finish(self) -> Result<ChangedMap, CoverageError> {
        if self.covered != self.capacity {
            return Err(CoverageError::Incomplete { covered: self.covered, capacity: self.capacity });
        }
        Ok(ChangedMap { capacity: self.capacity, changed: self.changed.into_iter().collect() })
    }
}

impl fmt::Display for CoverageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discontinuous { expected, found } => {
                write!(f, "the answer begins at byte {found}, and byte {expected} was asked for")
            }
            Self::Stalled { at, length } => {
                write!(f, "the answer at byte {at} covers {length} bytes: no progress")
            }
            Self::Overrun { end, capacity } => {
                write!(f, "the answer ends at byte {end}, behind the disk's {capacity} bytes")
            }
            Self::BadArea { start, length } => {
                write!(
                    f,
                    "the area at byte {start} with {length} bytes is outside its window or out of order"
                )
            }
            Self::Incomplete { covered, capacity } => {
                write!(f, "the answers cover {covered} of {capacity} bytes")
            }
        }
    }
}

impl std::error::Error for CoverageError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(start: i64, length: i64, areas: &[(i64, i64)]) -> Window {
        Window { start, length, areas: areas.to_vec() }
    }

    #[test]
    fn an_empty_window_is_not_the_end() {
        let mut map = MapBuilder::new(300);
        map.add(&window(0, 100, &[])).unwrap();
        assert_eq!(map.next_offset(), Some(100));
        map.add(&window(100, 200, &[(150, 10), (160, 5)])).unwrap();
        assert_eq!(map.next_offset(), None);
        assert_eq!(map.finish().unwrap().changed().length(), 15);
    }

    #[test]
    fn every_way_to_fall_short_is_an_error() {
        let add = |w: Window| MapBuilder::new(300).add(&w).unwrap_err();
        assert!(matches!(add(window(1, 10, &[])), CoverageError::Discontinuous { .. }));
        assert!(matches!(add(window(0, 0, &[])), CoverageError::Stalled { .. }));
        assert!(matches!(add(window(0, -1, &[])), CoverageError::Stalled { .. }));
        assert!(matches!(add(window(0, 301, &[])), CoverageError::Overrun { .. }));
        assert!(matches!(add(window(0, 100, &[(90, 20)])), CoverageError::BadArea { .. }));
        assert!(matches!(add(window(0, 100, &[(10, 0)])), CoverageError::BadArea { .. }));
        assert!(matches!(add(window(0, 100, &[(10, 20), (25, 5)])), CoverageError::BadArea { .. }));
        assert!(matches!(add(window(0, 100, &[(-1, 5)])), CoverageError::BadArea { .. }));
        let mut short = MapBuilder::new(300);
        short.add(&window(0, 299, &[])).unwrap();
        assert!(matches!(short.finish().unwrap_err(), CoverageError::Incomplete { covered: 299, .. }));
    }

    proptest! {
        /// Whatever a server answers, a finished map accounts for every byte of the disk, and nothing panics.
        #[test]
        fn a_finished_map_is_complete(answers in prop::collection::vec((any::<i64>(), any::<i64>(), prop::collection::vec((any::<i64>(), any::<i64>()), 0..4)), 0..6), capacity in any::<u64>()) {
            let mut map = MapBuilder::new(capacity);
            for (start, length, areas) in answers {
                let _ = map.add(&Window { start, length, areas });
            }
            let next = map.next_offset();
            match map.finish() {
                Ok(map) => prop_assert!(next.is_none() && map.changed().ranges().iter().all(|r| r.end() <= capacity)),
                Err(_) => prop_assert!(next.is_some()),
            }
        }
    }
}
