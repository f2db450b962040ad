//! Whether change tracking tells the truth: some of what it calls unchanged is read, and compared with the parent.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use vadp_repository::{Chunk, StoredDisk};

use super::ChangedMap;
use crate::compare::{chunks_of_interest, current, matches};
use crate::error::Error;
use crate::extent::{ByteRange, Extents};
use crate::pipeline::{READ_AHEAD, windows};
use crate::transport::DiskSource;

/// How much of what change tracking calls unchanged an incremental backup reads and compares with its parent.
///
/// Tracking has lied before, in releases of ESXi and under conditions that nobody saw (KB 2090639, KB 2136854). An audit
/// finds a lie with the chance that it looks there; over many runs it looks everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Nothing: tracking is believed.
    Off,
    /// So many chunks of each disk, at random, other ones in each run.
    Chunks(u32),
    /// Everything that is allocated, on the disk or in the parent: a full read, for once.
    All,
}

/// Parts of a disk in which [`Audit::Chunks`] looks for chunks: asking what is allocated costs time in each.
const PARTS: usize = 4;

/// What an audit saw.
#[derive(Debug, Default)]
pub(crate) struct Audited {
    /// Bytes that were compared.
    pub(crate) bytes: u64,
    /// A chunk that had changed, and was not told. The audit ends with the first.
    pub(crate) lie: Option<u64>,
}

impl Default for Audit {
    /// 16 chunks of each disk: with chunks of 1 MiB, a fraction of a second.
    fn default() -> Self {
        Self::Chunks(16)
    }
}

impl Audit {
    /// Whether a chunk of which a part has changed may be taken from the parent for the rest.
    pub(crate) fn trusts_parts(self) -> bool {
        self != Self::All
    }

    /// Compares a share of what is not in `changed` with `parent`. Of chunks in which something has changed that is the rest of them.
    ///
    /// # Errors
    /// When the disk or the parent's map cannot be read.
    pub(crate) async fn run(
        self,
        source: &dyn DiskSource,
        parent: &dyn StoredDisk,
        changed: &ChangedMap,
    ) -> Result<Audited, Error> {
        let mut seen = Audited::default();
        let mut random = Random::new();
        let mut parts: Vec<_> = windows(source.capacity()).collect();
        let each = match self {
            Self::Off | Self::Chunks(0) => return Ok(seen),
            Self::All => usize::MAX,
            Self::Chunks(wanted) => {
                random.choose(&mut parts, PARTS);
                usize::try_from(wanted).unwrap_or(usize::MAX).div_ceil(parts.len().max(1))
            }
        };
        let told: BTreeSet<u64> = changed.changed().chunks(u64::from(parent.chunk_size())).collect();
        for part in parts {
            let (allocated, mut chunks) = chunks_of_interest(source, parent, part).await?;
            // With `All` they are read whole and stored as they are.
            chunks.retain(|chunk| self.trusts_parts() || !told.contains(chunk));
            random.choose(&mut chunks, each);
            let compared = futures::stream::iter(chunks).map(|chunk| {
                let (allocated, told) = (&allocated, &told);
                async move {
                    let (range, now) = current(source, parent, allocated, chunk).await?;
                    let is_same = match told.contains(&chunk) {
                        true => rest_matches(parent, chunk, range, now.as_ref(), changed.changed()).await?,
                        false => matches(parent, chunk, now.as_ref()).await?,
                    };
                    Ok::<_, Error>((chunk, range, is_same))
                }
            });
            let mut compared = compared.buffered(READ_AHEAD);
            while let Some((chunk, range, is_same)) = compared.try_next().await? {
                seen.bytes += range.length();
                if !is_same {
                    seen.lie = Some(chunk);
                    return Ok(seen);
                }
            }
        }
        Ok(seen)
    }
}

/// Whether a chunk is as in the parent but for what has changed of it. `None` stands for zeros.
async fn rest_matches(
    parent: &dyn StoredDisk,
    chunk: u64,
    range: ByteRange,
    now: Option<&Bytes>,
    changed: &Extents,
) -> Result<bool, Error> {
    let before = parent.read_chunk(chunk).await;
    let before = before.map_err(|e| Error::repository(format!("reading chunk {chunk} of the parent"), e))?;
    let part = |bytes: &Bytes, piece: ByteRange| -> Option<Bytes> {
        let from = usize::try_from(piece.start() - range.start()).ok()?;
        let to = usize::try_from(piece.end() - range.start()).ok()?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    };
    let is_zero = |bytes: Option<Bytes>| bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    Ok(changed.gaps(range).into_iter().all(|piece| match (now, &before) {
        (None, Chunk::Zero) => true,
        (Some(now), Chunk::Zero) => is_zero(part(now, piece)),
        (None, Chunk::Data(before)) => is_zero(part(before, piece)),
        (Some(now), Chunk::Data(before)) => part(now, piece) == part(before, piece),
    }))
}

/// Enough randomness to look elsewhere in each run; nothing depends on nobody guessing it.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    /// Keeps at most `count` of them, at random, in their order.
    fn choose<T>(&mut self, all: &mut Vec<T>, count: usize) {
        let mut left = count;
        let mut rest = all.len();
        all.retain(|_| {
            let keep = left > 0 && self.below(rest) < left;
            rest -= 1;
            left -= usize::from(keep);
            keep
        });
    }

    fn below(&mut self, bound: usize) -> usize {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_of_the_right_size_and_reaches_everything() {
        let mut random = Random::new();
        let mut seen = BTreeSet::new();
        for _ in 0..2_000 {
            let mut all: Vec<u64> = (0..50).collect();
            random.choose(&mut all, 3);
            assert_eq!(all.len(), 3);
            assert!(all.is_sorted());
            seen.extend(all);
        }
        assert_eq!(seen.len(), 50);
        let mut few = vec![1, 2];
        random.choose(&mut few, usize::MAX);
        assert_eq!(few, [1, 2]);
        random.choose(&mut few, 0);
        assert!(few.is_empty());
    }
}
