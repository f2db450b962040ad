//! A guest that works by itself, tick by tick, and whose work can be computed again by anybody.
//!
//! What it does in a tick follows from its workload, the disk and the number of the tick. How far it has come stands on
//! the disk: the first sector counts the ticks, so a disk that was reverted, or whose simulator was killed, goes on from
//! what it has. A snapshot of several disks is of one moment if their counters differ by one at most.
//!
//! ```text
//! sector 0   counter   "SIMTICK1", first tick, last tick, bytes in use, check
//! sector 1   marker    "SIMMARK1", the tick after which the guest was frozen for a snapshot, check
//! sector 8 and up      the work: `expected_sector` with the tick as its generation, or zeros
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pattern::write_pattern;
use super::random::Random;
use crate::descriptor::SECTOR;
use crate::{Disk, DiskUuid, Extent, Result};

/// The work begins behind the counter and the marker.
const AREA: u64 = 4096;
/// The unit of random work.
const PIECE: u64 = 4096;
/// Change maps have grains of this size, or of a multiple.
const GRAIN: u64 = 64 << 10;
const COUNTER: (u64, &[u8; 8]) = (0, b"SIMTICK1");
const MARKER: (u64, &[u8; 8]) = (SECTOR, b"SIMMARK1");

/// A kind of work. Each tick does some of each kind that its workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// One run after the other, over the whole disk and again from its beginning.
    Sequential,
    /// Pieces of 4 KiB anywhere.
    Random,
    /// Pieces of 4 KiB, again and again in the first sixteenth of the disk.
    HotSpot,
    /// A log in the last quarter of the disk, in odd numbers of sectors.
    Append,
    /// Gives space back: what is discarded reads as zeros and is not allocated.
    Discard,
    /// Writes zeros.
    ZeroFill,
    /// Reads and writes the same again: nothing differs, and it counts as changed all the same.
    Rewrite,
    /// Small writes across the edges of 64 KiB.
    Straddle,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sequential,
        Self::Random,
        Self::HotSpot,
        Self::Append,
        Self::Discard,
        Self::ZeroFill,
        Self::Rewrite,
        Self::Straddle,
    ];
}

/// What a guest does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Seed of places and contents.
    pub seed: u64,
    /// The kinds of work, in the order in which a tick does them.
    pub patterns: Vec<Pattern>,
    /// About how many bytes a tick works on, for each disk.
    pub bytes: u64,
}

impl Default for Workload {
    /// All kinds of work, on 256 KiB of each disk in a tick.
    fn default() -> Self {
        Self { seed: 0, patterns: Pattern::ALL.to_vec(), bytes: 256 << 10 }
    }
}

/// What is done with an area of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// It is filled with [`expected_sector`](super::expected_sector), the tick being the generation.
    Write,
    /// Zeros are written.
    Zero,
    /// It is discarded.
    Discard,
    /// What is there is written again.
    Rewrite,
}

/// How far the guest has come on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The first tick that worked on the disk.
    pub first: u64,
    /// The last one.
    pub tick: u64,
    /// Bytes of the disk, from its beginning, that the guest has in use: its capacity at the first tick.
    pub span: u64,
}

impl Workload {
    /// What the tick does on a disk, in this order. Areas are whole sectors.
    pub fn operations(&self, disk: DiskUuid, span: u64, tick: u64) -> Vec<(Work, Extent)> {
        let pieces = span.saturating_sub(AREA) / PIECE;
        if pieces == 0 {
            return Vec::new();
        }
        let share = (self.bytes / PIECE / (self.patterns.len() as u64).max(1)).clamp(1, pieces);
        let plan = Plan { span: span / SECTOR * SECTOR, pieces, share, tick };
        let uuid = u128::from_le_bytes(disk.0);
        let mut all = Vec::new();
        for (at, pattern) in (0..).zip(&self.patterns) {
            let key = [uuid as u64, (uuid >> 64) as u64, tick, at];
            plan.add(*pattern, &mut Random::keyed(self.seed, &key), &mut all);
        }
        all
    }

    /// What the guest has made of the sectors that it has worked on, by their numbers: the generation that they are of, or
    /// `None` for zeros. The counter and the marker are not among them.
    pub fn replay(&self, disk: DiskUuid, counter: &Counter) -> BTreeMap<u64, Option<u64>> {
        let mut sectors = BTreeMap::new();
        for tick in counter.first..=counter.tick {
            for (work, area) in self.operations(disk, counter.span, tick) {
                let made = match work {
                    Work::Write => Some(tick),
                    Work::Zero | Work::Discard => None,
                    Work::Rewrite => continue,
                };
                sectors.extend((area.offset / SECTOR..area.end() / SECTOR).map(|lba| (lba, made)));
            }
        }
        sectors
    }

    /// Does what the counter's last tick does, then writes the counter. A tick that failed can be done again.
    ///
    /// # Errors
    /// Those of [`Disk::write_at`]; `OutOfRange` if the disk became smaller than the counter says.
    pub fn perform(&self, disk: &Disk, counter: &Counter) -> Result<()> {
        let mut buffer = Vec::new();
        for (work, area) in self.operations(disk.uuid()?, counter.span, counter.tick) {
            match work {
                Work::Write => write_pattern(disk, area.offset, area.length, self.seed, counter.tick)?,
                Work::Discard => disk.zero_at(area.offset, area.length)?,
                Work::Zero | Work::Rewrite => {
                    buffer.clear();
                    buffer.resize(area.length as usize, 0);
                    if work == Work::Rewrite {
                        disk.read_at(area.offset, &mut buffer)?;
                    }
                    disk.write_at(area.offset, &buffer)?;
                }
            }
        }
        stamp(disk, COUNTER, [counter.first, counter.tick, counter.span])
    }
}

/// How far a guest has come on a disk. `None` if none has worked there, or only on what the disk is a copy of.
///
/// # Errors
/// Those of [`Disk::read_at`].
pub fn counter(disk: &Disk) -> Result<Option<Counter>> {
    let read = stamped(disk, COUNTER)?;
    Ok(read.map(|[first, tick, span]| Counter { first, tick, span }))
}

/// Notes on a disk that the guest was frozen after a tick.
///
/// # Errors
/// Those of [`Disk::write_at`].
pub fn mark(disk: &Disk, tick: u64) -> Result<()> {
    stamp(disk, MARKER, [tick, 0, 0])
}

/// The tick after which the guest of a disk was frozen last.
///
/// # Errors
/// Those of [`Disk::read_at`].
pub fn marker(disk: &Disk) -> Result<Option<u64>> {
    Ok(stamped(disk, MARKER)?.map(|[tick, _, _]| tick))
}

/// A tick on a disk.
struct Plan {
    /// Bytes in use, whole sectors.
    span: u64,
    /// Pieces behind the counter.
    pieces: u64,
    /// Pieces for each kind of work.
    share: u64,
    tick: u64,
}

impl Plan {
    fn add(&self, pattern: Pattern, random: &mut Random, all: &mut Vec<(Work, Extent)>) {
        let mut push = |work, offset: u64, length: u64| {
            let end = (offset + length).min(self.span);
            if offset < end {
                all.push((work, Extent { offset, length: end - offset }));
            }
        };
        let anywhere = |random: &mut Random, pieces: u64| AREA + random.below(pieces) * PIECE;
        match pattern {
            Pattern::Sequential => {
                let first = self.tick.wrapping_mul(self.share) % self.pieces;
                let here = self.share.min(self.pieces - first);
                push(Work::Write, AREA + first * PIECE, here * PIECE);
                push(Work::Write, AREA, (self.share - here) * PIECE);
            }
            Pattern::Random | Pattern::HotSpot => {
                let among = match pattern {
                    Pattern::Random => self.pieces,
                    _ => (self.pieces / 16).clamp(1, self.pieces),
                };
                for _ in 0..self.share {
                    push(Work::Write, anywhere(random, among), PIECE);
                }
            }
            Pattern::Append => {
                // An odd number, so that the log meets every position within a grain.
                let sectors = self.share * (PIECE / SECTOR) - 3;
                let log = (self.pieces / 4).max(1) * (PIECE / SECTOR);
                let first = self.tick.wrapping_mul(sectors) % log;
                let begin = AREA + self.pieces * PIECE - log * SECTOR;
                push(Work::Write, begin + first * SECTOR, sectors.min(log - first) * SECTOR);
            }
            Pattern::Discard => push(Work::Discard, anywhere(random, self.pieces), self.share * PIECE),
            Pattern::ZeroFill => push(Work::Zero, anywhere(random, self.pieces), self.share * PIECE),
            Pattern::Rewrite => push(Work::Rewrite, anywhere(random, self.pieces), self.share * PIECE),
            Pattern::Straddle => {
                for _ in 0..self.share {
                    let edge = (1 + random.below(self.span / GRAIN)) * GRAIN;
                    let (before, after) = (1 + random.below(7), 1 + random.below(7));
                    push(Work::Write, edge - before * SECTOR, (before + after) * SECTOR);
                }
            }
        }
    }
}

fn stamp(disk: &Disk, (offset, magic): (u64, &[u8; 8]), numbers: [u64; 3]) -> Result<()> {
    let mut sector = [0; SECTOR as usize];
    let words = [u64::from_le_bytes(*magic)].into_iter().chain(numbers).chain([check(disk, numbers)?]);
    for (place, word) in sector.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    disk.write_at(offset, &sector)
}

fn stamped(disk: &Disk, (offset, magic): (u64, &[u8; 8])) -> Result<Option<[u64; 3]>> {
    let mut bytes = [0; 40];
    disk.read_at(offset, &mut bytes)?;
    let [found, one, two, three, sum] = [0, 8, 16, 24, 32].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    });
    let numbers = [one, two, three];
    let good = found == u64::from_le_bytes(*magic) && sum == check(disk, numbers)?;
    Ok(good.then_some(numbers))
}

/// Of another disk the numbers are another's: a copy of a disk has a uuid of its own, and a guest that begins anew.
fn check(disk: &Disk, numbers: [u64; 3]) -> Result<u64> {
    let uuid = u128::from_le_bytes(disk.uuid()?.0);
    Ok(Random::keyed(uuid as u64 ^ (uuid >> 64) as u64, &numbers).next())
}
