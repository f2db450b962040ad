//! Sectors and bytes as types of their own, so that neither can stand in for the other.

use std::fmt;
use std::ops::{Add, Range};

/// Bytes in a sector. VixDiskLib counts in 512 bytes even on disks with larger sectors of their own.
pub const SECTOR_BYTES: u64 = 512;

/// A position on a disk, or an amount, in sectors of 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sectors(pub u64);

impl Sectors {
    /// None, or the beginning of the disk.
    pub const ZERO: Sectors = Sectors(0);

    /// The same in bytes; `None` when that does not fit into 64 bits.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        self.0.checked_mul(SECTOR_BYTES)
    }

    /// Whole sectors of so many bytes; `None` unless `bytes` is a multiple of 512.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Sectors> {
        bytes.is_multiple_of(SECTOR_BYTES).then_some(Sectors(bytes / SECTOR_BYTES))
    }

    /// `self + other`, unless that overflows.
    #[must_use]
    pub fn checked_add(self, other: Sectors) -> Option<Sectors> {
        self.0.checked_add(other.0).map(Sectors)
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sectors", self.0)
    }
}

/// A position on a disk in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteOffset(pub u64);

impl Add<u64> for ByteOffset {
    type Output = ByteOffset;

    /// Moves on by so many bytes, stopping at the largest position.
    fn add(self, bytes: u64) -> ByteOffset {
        ByteOffset(self.0.saturating_add(bytes))
    }
}

/// A half-open run of sectors: `start`, and `length` sectors from there. `start + length` fits into 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SectorRange {
    start: Sectors,
    length: Sectors,
}

impl SectorRange {
    /// The `length` sectors from `start` on; `None` when the end does not fit into 64 bits.
    #[must_use]
    pub fn new(start: Sectors, length: Sectors) -> Option<SectorRange> {
        start.checked_add(length).map(|_| SectorRange { start, length })
    }

    /// The run from `start` up to and without `end`; `None` when it would be negative.
    #[must_use]
    pub fn between(start: Sectors, end: Sectors) -> Option<SectorRange> {
        end.0.checked_sub(start.0).map(|length| SectorRange { start, length: Sectors(length) })
    }

    /// The first sector.
    #[must_use]
    pub fn start(&self) -> Sectors {
        self.start
    }

    /// How many sectors.
    #[must_use]
    pub fn length(&self) -> Sectors {
        self.length
    }

    /// The sector after the last one.
    #[must_use]
    pub fn end(&self) -> Sectors {
        Sectors(self.start.0.saturating_add(self.length.0))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length.0 == 0
    }

    /// The same in bytes; `None` when that does not fit into 64 bits.
    #[must_use]
    pub fn bytes(&self) -> Option<Range<u64>> {
        Some(self.start.bytes()?..self.end().bytes()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_refuse_what_does_not_fit() {
        assert_eq!(Sectors::from_bytes(1024), Some(Sectors(2)));
        assert_eq!(Sectors::from_bytes(1000), None);
        assert_eq!(Sectors(u64::MAX).bytes(), None);
        assert_eq!(SectorRange::new(Sectors(u64::MAX), Sectors(1)), None);
        assert_eq!(SectorRange::between(Sectors(2), Sectors(1)), None);
        assert_eq!(
            SectorRange::new(Sectors(2), Sectors(3)).and_then(|range| range.bytes()),
            Some(1024..2560)
        );
    }
}
