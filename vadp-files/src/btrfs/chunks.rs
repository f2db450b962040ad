//! Chunks: where logical addresses are on the devices.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use vmdk::ReadAt;

use crate::error::{Error, Result};
use crate::fields::Fields;

const RAID_0: u64 = 0x8;
const RAID_10: u64 = 0x40;
const RAID_5_6: u64 = 0x80 | 0x100;
const MOST_CHUNKS: usize = 4 << 20;

/// The space of logical addresses.
#[derive(Clone)]
pub(super) struct Chunks {
    devices: Arc<Vec<(u64, Arc<dyn ReadAt>)>>,
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Clone)]
struct Chunk {
    length: u64,
    /// Bytes on one stripe before those on the next.
    stripe: u64,
    /// Device and place of each stripe that has bytes of its own, copies left out.
    places: Vec<(u64, u64)>,
}

impl Chunks {
    pub(super) fn new(devices: Vec<(u64, Arc<dyn ReadAt>)>) -> Self {
        Self { devices: Arc::new(devices), chunks: BTreeMap::new() }
    }

    /// Adds a chunk of this address; returns the bytes of its item.
    pub(super) fn push(&mut self, start: u64, item: &[u8]) -> Result<usize> {
        let (length, stripe, kind) = (item.le64(0)?, item.le64(16)?, item.le64(24)?);
        let count = usize::from(item.le16(44)?);
        let copies = usize::from(item.le16(46)?).max(1);
        if kind & RAID_5_6 != 0 {
            return Err(Error::unsupported("btrfs over RAID 5 or 6"));
        }
        let mut places = Vec::new();
        for at in (48..).step_by(32).take(count) {
            places.push((item.le64(at)?, item.le64(at + 8)?));
        }
        // In RAID 10 neighbours are copies of each other; in all others but RAID 0 every stripe is.
        let step = match kind & (RAID_0 | RAID_10) {
            0 => count,
            RAID_0 => 1,
            _ => copies,
        };
        let places: Vec<_> = places.into_iter().step_by(step.max(1)).collect();
        let is_sane = !places.is_empty()
            && stripe.is_power_of_two()
            && length > 0
            && start.checked_add(length).is_some()
            && places.iter().all(|(_, place)| place.checked_add(length).is_some());
        if !is_sane {
            return Err(Error::damaged("a chunk that contradicts itself"));
        }
        if self.chunks.len() >= MOST_CHUNKS {
            return Err(Error::too_large("more than four million chunks"));
        }
        self.chunks.insert(start, Chunk { length, stripe, places });
        Ok(48 + count * 32)
    }
}

impl ReadAt for Chunks {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let found =
                self.chunks.range(..=at).next_back().filter(|(start, chunk)| at < *start + chunk.length);
            let Some((start, chunk)) = found else {
                // Between chunks there is nothing; a line of the cache may reach over it.
                let next = self.chunks.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
                let length = (next - at).min(rest.len() as u64) as usize;
                let (now, later) = rest.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidData)?;
                now.fill(0);
                rest = later;
                at += length as u64;
                continue;
            };
            let within = at - start;
            let (number, skip) = (within / chunk.stripe, within % chunk.stripe);
            let count = chunk.places.len() as u64;
            let run = if count == 1 {
                chunk.length - within
            } else {
                (chunk.stripe - skip).min(chunk.length - within)
            };
            let (number, skip) = if count == 1 { (0, within) } else { (number, skip) };
            let (device, place) =
                chunk.places.get((number % count) as usize).ok_or(io::ErrorKind::InvalidData)?;
            let (_, device) =
                self.devices.iter().find(|(own, _)| own == device).ok_or(io::ErrorKind::NotFound)?;
            let length = run.min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidData)?;
            device.read_exact_at(now, place + number / count * chunk.stripe + skip)?;
            rest = later;
            at += length as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.chunks.last_key_value().map_or(0, |(start, chunk)| start + chunk.length))
    }
}
