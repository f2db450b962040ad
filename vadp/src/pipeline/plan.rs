//! What is to be read for each chunk of a window: the plan that costs least.

use super::chunk_range;
use crate::extent::{ByteRange, Extents};

/// What a request costs beside its bytes, in bytes: a round trip takes as long as so many more.
const REQUEST: u64 = 32 << 10;

/// Changed areas are rounded to whole blocks of this many bytes, which every library can read.
const BLOCK: u64 = 4096;

/// How the bytes of a chunk are come by. All ranges are within the chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// All of them are zero now.
    Zero,
    /// These are read, and the others are zero.
    Whole(Vec<ByteRange>),
    /// These are read, and these are zero now; the others are as in the parent.
    Merge { read: Vec<ByteRange>, zero: Vec<ByteRange> },
}

impl Job {
    /// Bytes that are read of the source.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Zero => 0,
            Self::Whole(read) | Self::Merge { read, .. } => read.iter().map(|piece| piece.length()).sum(),
        }
    }
}

/// What is known of a window of a disk.
pub(super) struct WindowPlan {
    pub(super) chunk_size: u64,
    pub(super) capacity: u64,
    pub(super) allocated: Extents,
    /// The changed bytes; `None` when all that is allocated is to be copied.
    pub(super) changed: Option<Extents>,
    /// The chunks in which the parent holds data, in rising order; `None` when there is nothing to merge with.
    pub(super) base: Option<Vec<u64>>,
    /// What a byte of the parent costs, in percent of one of the source.
    pub(super) percent: u32,
}

impl WindowPlan {
    /// The chunks that have to be put, in rising order, each with its job.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (u64, Job)> + Send + '_ {
        // A full backup has no parent: what is not allocated is absent, and absent is zero. In an incremental one it has to
        // be said, since the parent may hold something else.
        let chunks = self.changed.as_ref().unwrap_or(&self.allocated).chunks(self.chunk_size);
        chunks.filter_map(|chunk| {
            let range = chunk_range(chunk, self.chunk_size, self.capacity)?;
            Some((chunk, self.job(chunk, range)))
        })
    }

    fn job(&self, chunk: u64, range: ByteRange) -> Job {
        let whole: Vec<ByteRange> = self.allocated.within(range).collect();
        if whole.is_empty() {
            return Job::Zero;
        }
        let (Some(changed), Some(base)) = (&self.changed, &self.base) else { return Job::Whole(whole) };
        let aligned = changed.within(range).filter_map(|area| {
            let end = area.end().div_ceil(BLOCK).saturating_mul(BLOCK);
            ByteRange::new(area.start() / BLOCK * BLOCK, end)?.intersection(range)
        });
        let changed: Extents = aligned.collect();
        let read: Vec<ByteRange> =
            changed.ranges().iter().flat_map(|area| self.allocated.within(*area)).collect();
        let parent = match base.binary_search(&chunk) {
            Ok(_) => range.length().saturating_mul(self.percent.into()) / 100 + REQUEST,
            Err(_) => 0,
        };
        if cost(&read).saturating_add(parent) >= cost(&whole) {
            return Job::Whole(whole);
        }
        let zero = changed.ranges().iter().flat_map(|area| self.allocated.gaps(*area)).collect();
        Job::Merge { read, zero }
    }
}

fn cost(pieces: &[ByteRange]) -> u64 {
    pieces.iter().map(|piece| piece.length() + REQUEST).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: u64 = 1 << 20;

    fn set(ranges: &[(u64, u64)]) -> Extents {
        ranges.iter().filter_map(|(start, length)| ByteRange::with_length(*start, *length)).collect()
    }

    fn job(allocated: &[(u64, u64)], changed: &[(u64, u64)], base: &[u64], percent: u32) -> Job {
        let (allocated, changed) = (set(allocated), set(changed));
        let (chunk_size, capacity, base) = (CHUNK, 8 * CHUNK, Some(base.to_vec()));
        let plan = WindowPlan { chunk_size, capacity, allocated, changed: Some(changed), base, percent };
        let mut jobs = plan.jobs().collect::<Vec<_>>();
        assert_eq!((jobs.len(), jobs[0].0), (1, 0));
        jobs.remove(0).1
    }

    #[test]
    fn the_cheaper_plan_is_taken() {
        let all = [(0, CHUNK)];
        let whole = Job::Whole(vec![ByteRange::new(0, CHUNK).unwrap()]);
        let merged =
            |pieces: &[(u64, u64)]| Job::Merge { read: set(pieces).ranges().to_vec(), zero: Vec::new() };
        // A small change is merged, a large one or many are not, nor is anything where the parent costs as much as the disk.
        assert_eq!(job(&all, &[(8192, 4096)], &[0], 25), merged(&[(8192, 4096)]));
        assert_eq!(job(&all, &[(0, 900 << 10)], &[0], 25), whole);
        let many: Vec<(u64, u64)> = (0..40).map(|n| ((n * 20) << 10, 4096)).collect();
        assert_eq!(job(&all, &many, &[0], 25), whole);
        assert_eq!(job(&all, &[(8192, 4096)], &[0], 100), whole);
        // Where the parent has nothing but zeros, it costs nothing.
        assert_eq!(job(&all, &[(8192, 4096)], &[], 1000), merged(&[(8192, 4096)]));
        // Areas that are not whole blocks are rounded.
        assert_eq!(job(&all, &[(8200, 8)], &[0], 25), merged(&[(8192, 4096)]));
        assert_eq!(job(&[(3 * CHUNK, 1)], &[(8192, 8)], &[0], 25), Job::Zero);
        // What has changed and is not allocated any more is zero.
        let trimmed = job(&[(0, 8192), (16384, CHUNK - 16384)], &[(4096, 16384)], &[0], 10);
        let Job::Merge { read, zero } = trimmed else { panic!("{trimmed:?}") };
        assert_eq!(read, set(&[(4096, 4096), (16384, 4096)]).ranges());
        assert_eq!(zero, set(&[(8192, 8192)]).ranges());
    }

    fn blocks() -> impl Strategy<Value = Extents> {
        prop::collection::vec((0_u64..64, 1_u64..24), 0..8).prop_map(|v| {
            v.into_iter().filter_map(|(s, l)| ByteRange::with_length(s * BLOCK, l * BLOCK)).collect()
        })
    }

    proptest! {
        /// Whatever is allocated and has changed: laid over the parent, the job gives the disk. Bytes stand for blocks; the oracle knows nothing
        /// of extents.
        #[test]
        fn every_job_gives_the_disk_as_it_is(allocated in blocks(), changed in blocks(), parent in prop::collection::vec(any::<u8>(), 96), now in prop::collection::vec(any::<u8>(), 96), percent in 0_u32..100) {
            let holds = |set: &Extents, block: u64| set.ranges().iter().any(|r| r.start() / BLOCK <= block && block < r.end() / BLOCK);
            let (size, blocks) = (16 * BLOCK, 96);
            // The disk: what has not changed is as in the parent, and what is not allocated is zero. So there both have to agree.
            let parent: Vec<u8> = (0..blocks).map(|b| if !holds(&changed, b) && !holds(&allocated, b) { 0 } else { parent[b as usize] }).collect();
            let disk: Vec<u8> = (0..blocks).map(|b| match (holds(&allocated, b), holds(&changed, b)) {
                (false, _) => 0,
                (true, true) => now[b as usize],
                (true, false) => parent[b as usize],
            }).collect();
            let base = (0..6).filter(|chunk| parent[*chunk as usize * 16..][..16].iter().any(|b| *b != 0)).collect();
            let plan = WindowPlan { chunk_size: size, capacity: blocks * BLOCK, allocated, changed: Some(changed.clone()), base: Some(base), percent };
            let mut backup = parent.clone();
            for (chunk, job) in plan.jobs() {
                let at = chunk as usize * 16;
                let mut write = |pieces: &[ByteRange], from: Option<&[u8]>| for piece in pieces {
                    for block in piece.start() / BLOCK..piece.end() / BLOCK {
                        backup[block as usize] = from.map_or(0, |from| from[block as usize]);
                    }
                };
                match job {
                    Job::Zero => backup[at..at + 16].fill(0),
                    Job::Whole(read) => { write(&[ByteRange::new(chunk * size, (chunk + 1) * size).unwrap()], None); write(&read, Some(&disk)); }
                    Job::Merge { read, zero } => { write(&zero, None); write(&read, Some(&disk)); }
                }
            }
            prop_assert_eq!(backup, disk);
        }
    }
}
