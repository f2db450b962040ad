//! Sorted rows in memory, and how a row is found by the first bits of its id.

use std::ops::Range;
use std::thread;

use super::merge::Rows;
use crate::codec::Encoding;
use crate::error::{Error, Result};
use crate::format::pack::PackEntry;
use crate::ids::ChunkId;

/// One copy of a chunk. Rows sort by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) id: ChunkId,
    /// Number of its pack in the index.
    pub(super) pack: u32,
    offset: u32,
    stored: u32,
    /// Plain length, which has at most 23 bits; the highest bit says that it is compressed.
    plain: u32,
}

const COMPRESSED: u32 = 1 << 31;

impl Row {
    pub(super) const BYTES: usize = 48;

    pub(super) fn new(pack: u32, entry: &PackEntry) -> Self {
        let PackEntry { id, offset, stored, plain, encoding } = *entry;
        let flag = match encoding {
            Encoding::Raw => 0,
            Encoding::Zstd => COMPRESSED,
        };
        Self { id, pack, offset, stored, plain: plain | flag }
    }

    pub(super) fn entry(&self) -> PackEntry {
        let Self { id, offset, stored, plain, .. } = *self;
        let encoding = if plain & COMPRESSED == 0 { Encoding::Raw } else { Encoding::Zstd };
        PackEntry { id, offset, stored, plain: plain & !COMPRESSED, encoding }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(self.id.as_bytes());
        let fields = [self.pack, self.offset, self.stored, self.plain];
        for (place, field) in bytes[32..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        let field = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { id: ChunkId(id), pack: field(32), offset: field(36), stored: field(40), plain: field(44) }
    }
}

/// The first bits of an id as a number. Ids are keyed digests, so they are spread evenly, and nobody outside can steer them.
fn prefix(id: &ChunkId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Says for the first bits of an id between which rows it is: half a byte for each row.
#[derive(Debug, Default)]
pub(super) struct Fence {
    bits: u32,
    /// The first row of each bucket, and the number of rows.
    starts: Vec<u32>,
}

impl Fence {
    /// Rows of a bucket on average.
    const BUCKET: usize = 8;

    /// A fence for at most `rows` rows, which are to be given in order.
    pub(super) fn new(rows: usize) -> Self {
        let bits = (rows / Self::BUCKET).max(1).ilog2();
        Self { bits, starts: Vec::with_capacity((1 << bits) + 1) }
    }

    /// Notes that row number `row` has this id.
    pub(super) fn push(&mut self, row: usize, id: &ChunkId) -> Result<()> {
        let row = u32::try_from(row).map_err(|_| Error::invalid("the index has more than 2^32 entries"))?;
        let bucket = self.bucket(id);
        while self.starts.len() <= bucket {
            self.starts.push(row);
        }
        Ok(())
    }

    /// Ends the fence behind the last row.
    pub(super) fn finish(&mut self, rows: usize) -> Result<()> {
        let rows = u32::try_from(rows).map_err(|_| Error::invalid("the index has more than 2^32 entries"))?;
        self.starts.resize((1 << self.bits) + 1, rows);
        Ok(())
    }

    /// The rows among which all of this id are.
    pub(super) fn range(&self, id: &ChunkId) -> Range<usize> {
        let bucket = self.bucket(id);
        let at = |bucket: usize| self.starts.get(bucket).map_or(0, |row| *row as usize);
        at(bucket)..at(bucket + 1)
    }

    pub(super) fn parts(&self) -> (u32, &[u32]) {
        (self.bits, &self.starts)
    }

    /// Takes over what [`parts`](Self::parts) gave; `None` when it cannot be of so many rows.
    pub(super) fn from_parts(bits: u32, starts: Vec<u32>, rows: usize) -> Option<Self> {
        let fits =
            bits < 32 && starts.len() == (1 << bits) + 1 && starts.last().map(|n| *n as usize) == Some(rows);
        (fits && starts.is_sorted()).then_some(Self { bits, starts })
    }

    fn bucket(&self, id: &ChunkId) -> usize {
        // A shift by all 64 bits is no shift.
        prefix(id).checked_shr(64 - self.bits).unwrap_or(0) as usize
    }
}

/// Rows that one thread sorts.
const SORTED_ALONE: usize = 1 << 16;

fn sort(rows: &mut [Row], threads: usize) {
    let order = |a: &Row, b: &Row| prefix(&a.id).cmp(&prefix(&b.id)).then_with(|| a.cmp(b));
    if threads < 2 || rows.len() < SORTED_ALONE {
        return rows.sort_unstable_by(order);
    }
    let middle = rows.len() / 2;
    rows.select_nth_unstable_by(middle, order);
    let (low, high) = rows.split_at_mut(middle);
    thread::scope(|scope| {
        scope.spawn(|| sort(low, threads / 2));
        sort(high, threads - threads / 2);
    });
}

/// Sorted rows in memory, some 49 bytes each.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    fence: Fence,
}

impl Table {
    /// Sorts rows; those that are there twice are kept once.
    pub(super) fn from_unsorted(mut rows: Vec<Row>) -> Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        sort(&mut rows, threads);
        rows.dedup();
        Self::from_sorted(rows)
    }

    /// Takes over rows that are sorted.
    pub(super) fn from_sorted(mut rows: Vec<Row>) -> Result<Self> {
        rows.shrink_to_fit();
        let mut fence = Fence::new(rows.len());
        rows.iter().enumerate().try_for_each(|(number, row)| fence.push(number, &row.id))?;
        fence.finish(rows.len())?;
        Ok(Self { rows, fence })
    }

    /// All copies of a chunk, with the numbers of their rows.
    pub(super) fn find(&self, id: &ChunkId) -> impl Iterator<Item = (usize, &Row)> {
        let range = self.fence.range(id);
        let rows = self.rows.get(range.clone()).unwrap_or_default();
        range.zip(rows).filter(move |(_, row)| row.id == *id)
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows in order, and how many they are, for a merge.
    pub(super) fn source(&self) -> (usize, Rows<'_>) {
        (self.rows.len(), Box::new(self.rows.iter().map(|row| Ok(*row))))
    }
}
