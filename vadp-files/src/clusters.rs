//! What FAT and exFAT share: chains of clusters through a table, and dates of DOS.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::file::{Extent, MOST_EXTENTS, Place};
use crate::system::Time;

/// Where clusters are, and the table that chains them.
#[derive(Debug)]
pub(crate) struct Clusters {
    /// Bytes of a cluster.
    pub(crate) size: u64,
    /// Number of clusters; the first has the number 2.
    pub(crate) count: u64,
    /// Where the first cluster is on the volume.
    pub(crate) heap: u64,
    /// Where the table is on the volume.
    pub(crate) table: u64,
    /// Bits of an entry of the table: 12, 16, 28 or 32.
    pub(crate) bits: u32,
}

impl Clusters {
    /// Where a cluster is on the volume.
    fn at(&self, cluster: u64) -> Result<u64> {
        match (2..self.count + 2).contains(&cluster) {
            true => Ok(self.heap + (cluster - 2) * self.size),
            false => {
                Err(Error::damaged(format!("cluster {cluster} is wanted, which the volume does not have")))
            }
        }
    }

    /// The first `clusters` clusters of a chain, or all of them for `None`.
    pub(crate) fn chain(&self, device: &Device, first: u64, clusters: Option<u64>) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut entries = Entries { clusters: self, device, held: None };
        let mut cluster = first;
        // A chain that is longer than the volume is a loop.
        for number in 0..clusters.unwrap_or(u64::MAX) {
            if number >= self.count {
                return Err(Error::damaged("a chain of clusters that has no end"));
            }
            let at = self.at(cluster)?;
            match extents.last_mut() {
                Some(Extent { length, place: Place::Device(start), .. }) if *start + *length == at => {
                    *length += self.size
                }
                _ => extents.push(Extent {
                    start: number * self.size,
                    length: self.size,
                    place: Place::Device(at),
                }),
            }
            if extents.len() > MOST_EXTENTS {
                return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
            }
            if clusters.is_some_and(|clusters| number + 1 == clusters) {
                break;
            }
            match entries.next(cluster)? {
                Some(next) => cluster = next,
                None if clusters.is_some() => {
                    return Err(Error::damaged("a chain of clusters that ends too early"));
                }
                None => break,
            }
        }
        Ok(extents)
    }

    /// Clusters one behind the other, without a chain.
    pub(crate) fn run(&self, first: u64, clusters: u64) -> Result<Vec<Extent>> {
        let place = Place::Device(self.at(first)?);
        if clusters > self.count || first + clusters > self.count + 2 {
            return Err(Error::damaged("a run of clusters behind the end of the volume"));
        }
        Ok(vec![Extent { start: 0, length: clusters * self.size, place }])
    }
}

/// Entries of the table, read in pieces.
struct Entries<'a> {
    clusters: &'a Clusters,
    device: &'a Device,
    held: Option<(u64, Vec<u8>)>,
}

impl Entries<'_> {
    /// Bytes of a piece: a whole number of entries of 12 bits, too.
    const PIECE: u64 = 3 << 12;

    /// What follows a cluster; `None` at the end of its chain.
    fn next(&mut self, cluster: u64) -> Result<Option<u64>> {
        let bits = u64::from(if self.clusters.bits == 28 { 32 } else { self.clusters.bits });
        let at = cluster * bits / 8;
        let piece = at / Self::PIECE;
        if self.held.as_ref().is_none_or(|(held, _)| *held != piece) {
            let start = self.clusters.table + piece * Self::PIECE;
            let length = Self::PIECE.min(self.device.size().saturating_sub(start));
            self.held = Some((piece, self.device.block(start, length as usize)?));
        }
        let Some((_, bytes)) = &self.held else { return Ok(None) };
        let at = (at - piece * Self::PIECE) as usize;
        let (entry, end) = match self.clusters.bits {
            12 => {
                let pair = u64::from(bytes.le16(at)?);
                (if cluster.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 }, 0xFF7)
            }
            16 => (bytes.le16(at)?.into(), 0xFFF7),
            28 => (u64::from(bytes.le32(at)?) & 0x0FFF_FFFF, 0x0FFF_FFF7),
            _ => (bytes.le32(at)?.into(), 0xFFFF_FFF7),
        };
        match entry {
            entry if entry > end => Ok(None),
            entry if entry < 2 || entry == end => {
                Err(Error::damaged(format!("a chain leads to cluster {entry:#x}, which is none")))
            }
            entry => Ok(Some(entry)),
        }
    }
}

/// A date and a time of DOS, as if they were of UTC. Dates that do not exist are moved into the month.
pub(crate) fn time(date: u16, time: u16) -> Time {
    let (year, month, day) =
        (1980 + i64::from(date >> 9), i64::from(date >> 5 & 15).clamp(1, 12), i64::from(date & 31).max(1));
    // Days since 1970 by the calendar that begins its years in March.
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = i64::from(time >> 11) * 3600 + i64::from(time >> 5 & 63) * 60 + i64::from(time & 31) * 2;
    Time::new(days * 86_400 + seconds, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d ... +%s` says the same.
    #[test]
    fn dates_of_dos() {
        assert_eq!(time(0x0021, 0), Time::new(315_532_800, 0));
        assert_eq!(time((44 << 9) | (2 << 5) | 29, (23 << 11) | (59 << 5) | 29), Time::new(1_709_251_198, 0));
    }
}
