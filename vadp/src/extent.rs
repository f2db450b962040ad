//! Byte ranges of a disk: half-open, sorted, without overlap. All range arithmetic of the crate is here.

use std::fmt;

/// A range of bytes, `start..end`, never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// `start..end`; `None` when that is empty or backwards.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// `length` bytes from `start`; `None` when that is empty or beyond `u64`.
    pub fn with_length(start: u64, length: u64) -> Option<Self> {
        Self::new(start, start.checked_add(length)?)
    }

    /// First byte.
    pub fn start(self) -> u64 {
        self.start
    }

    /// First byte behind the range.
    pub fn end(self) -> u64 {
        self.end
    }

    /// Number of bytes, at least one.
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// What both have in common.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A set of bytes: ranges in ascending order that neither overlap nor touch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extents(Vec<ByteRange>);

impl Extents {
    /// No bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes `0..length`.
    pub fn all(length: u64) -> Self {
        ByteRange::new(0, length).into_iter().collect()
    }

    /// The ranges.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.0
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        self.0.iter().map(|r| r.length()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are in either.
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// The bytes that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut out = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            out.extend(x.intersection(**y));
            if x.end <= y.end {
                a.next();
            } else {
                b.next();
            }
        }
        // Pieces of one set cannot touch unless they touched in both, and then they were one range.
        Self(out)
    }

    /// The bytes of the set within `range`.
    pub fn within(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let first = self.0.partition_point(|r| r.end <= range.start);
        self.0.iter().skip(first).map_while(move |r| r.intersection(range))
    }

    /// The bytes of `range` that are not in the set.
    pub fn gaps(&self, range: ByteRange) -> Vec<ByteRange> {
        let (mut at, mut gaps) = (range.start, Vec::new());
        for piece in self.within(range) {
            gaps.extend(ByteRange::new(at, piece.start));
            at = piece.end;
        }
        gaps.extend(ByteRange::new(at, range.end));
        gaps
    }

    /// Indexes of the chunks of `chunk_size` bytes that hold any byte of the set, ascending.
    ///
    /// `chunk_size` is at least 1.
    pub fn chunks(&self, chunk_size: u64) -> impl Iterator<Item = u64> + '_ {
        let chunk_size = chunk_size.max(1);
        let mut next = 0;
        self.0.iter().flat_map(move |r| {
            let first = (r.start / chunk_size).max(next);
            let end = (r.end - 1) / chunk_size + 1;
            next = end;
            first..end
        })
    }
}

impl FromIterator<ByteRange> for Extents {
    /// From ranges in any order, which may overlap.
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut ranges: Vec<ByteRange> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut out: Vec<ByteRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match out.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => out.push(range),
            }
        }
        Self(out)
    }
}

impl fmt::Debug for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sets() -> impl Strategy<Value = Extents> {
        prop::collection::vec((0_u64..200, 1_u64..40), 0..12)
            .prop_map(|v| v.into_iter().filter_map(|(s, l)| ByteRange::with_length(s, l)).collect())
    }

    fn bytes(set: &Extents) -> BTreeSet<u64> {
        set.ranges().iter().flat_map(|r| r.start()..r.end()).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bytes(a in sets(), b in sets(), size in 1_u64..50, from in 0_u64..100, len in 1_u64..100) {
            let (x, y) = (bytes(&a), bytes(&b));
            prop_assert_eq!(bytes(&a.union(&b)), x.union(&y).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(bytes(&a.intersection(&b)), x.intersection(&y).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(a.length(), x.len() as u64);
            prop_assert_eq!(a.chunks(size).collect::<Vec<_>>(), x.iter().map(|v| v / size).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
            let window = ByteRange::with_length(from, len).unwrap();
            let inside: BTreeSet<u64> = a.within(window).flat_map(|r| r.start()..r.end()).collect();
            prop_assert_eq!(inside, x.range(from..from + len).copied().collect::<BTreeSet<_>>());
            let outside: BTreeSet<u64> = a.gaps(window).iter().flat_map(|r| r.start()..r.end()).collect();
            prop_assert_eq!(outside, (from..from + len).filter(|at| !x.contains(at)).collect::<BTreeSet<_>>());
            for pair in a.union(&b).ranges().windows(2) {
                prop_assert!(pair[0].end() < pair[1].start());
            }
        }
    }
}
