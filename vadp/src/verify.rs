//! How much of what was written is read back, and the reading.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use vadp_repository::StoredDisk;

use crate::compare::{chunks_of_interest, current, matches, range_of};
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::pipeline::{ChunkSet, READ_AHEAD, windows};
use crate::progress::{Meter, Phase, Report};
use crate::transport::DiskSource;

/// Decides which chunks of a [sample](Verify::Sample) are read. It is the same in every run, so that one that is repeated looks at
/// the same chunks, and whoever doubts its result can look for themselves.
const SEED: u64 = 0x7661_6470_2d72_6561;

/// How much of what was written to a disk is read back from it, over a connection that did not write.
///
/// Each chunk is checked against its digest in the restore point before it is written, whatever the policy: what is read back
/// shows that it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Nothing. The result says so: no byte counts as verified.
    None,
    /// Some chunks, spread evenly over the disk and chosen by their number alone.
    Sample {
        /// How many of a hundred chunks, 0 to 100. More counts as 100.
        percent: u8,
    },
    /// What was written, and nothing else: what change tracking calls unchanged is taken for right.
    Written,
    /// Everything.
    #[default]
    Full,
}

impl Verify {
    /// Whether the chunk with this number is read back, if it was written. The answer is always the same.
    pub fn wants(self, chunk: u64) -> bool {
        match self {
            Self::None => false,
            Self::Sample { percent } => scattered(chunk) % 100 < u64::from(percent),
            Self::Written | Self::Full => true,
        }
    }
}

/// A number as good as any other that a chunk's number always leads to (the finaliser of SplitMix64).
fn scattered(chunk: u64) -> u64 {
    let mut mixed = chunk.wrapping_add(SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What reading back has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadBack {
    /// Bytes that are known to be right: those that were read, and those that the disk does not hold and that are zero in the
    /// restore point.
    pub(crate) verified: u64,
    /// See [`RestoredDisk::digest`](crate::RestoredDisk::digest).
    pub(crate) digest: Option<[u8; 32]>,
}

/// Reads the disk back, as far as the policy wants it, and compares it with the restore point. `written` has the chunks that were; without
/// it, all of them were. What the disk has behind the end that the restore point knows is not looked at.
pub(crate) async fn read_back(
    source: &dyn DiskSource,
    reader: &dyn StoredDisk,
    key: i32,
    policy: Verify,
    written: Option<&ChunkSet>,
    report: &Report<'_>,
) -> Result<ReadBack, Error> {
    if policy == Verify::None {
        return Ok(ReadBack { verified: 0, digest: None });
    }
    let (mut verified, mut meter) = (0, Meter::new());
    let total = reader.capacity();
    let mut digest = (policy == Verify::Full).then(|| ContentDigest::new(total, reader.chunk_size()));
    for window in windows(total) {
        let only = written.filter(|_| policy == Verify::Written);
        let (allocated, chunks) = match only {
            // They are read whatever the disk calls allocated.
            Some(written) => (Extents::from_iter([window]), among(written, window, reader.chunk_size())),
            None => chunks_of_interest(source, reader, window).await?,
        };
        let compared = futures::stream::iter(chunks).map(|chunk| {
            let allocated = &allocated;
            async move {
                let (range, there) = match policy.wants(chunk) {
                    true => current(source, reader, allocated, chunk).await?,
                    false => return Ok((chunk, range_of(reader, chunk)?, None, None)),
                };
                let is_right = matches(reader, chunk, there.as_ref()).await?;
                Ok::<_, Error>((chunk, range, Some(is_right), content_digest(policy, there).await?))
            }
        });
        let mut compared = compared.buffered(READ_AHEAD);
        // Between these chunks lie those that the disk does not hold and the restore point has as zeros.
        let mut right = if only.is_some() { 0 } else { window.length() };
        while let Some((chunk, range, is_right, content)) = compared.try_next().await? {
            match is_right {
                Some(true) if only.is_some() => right += range.length(),
                Some(true) => {}
                Some(false) => {
                    let context = format!(
                        "chunk {chunk} of disk {key} ({range:?}) does not read back as it was written: the disk is not restored"
                    );
                    return Err(Error::new(ErrorKind::Verification, context));
                }
                None => right = right.saturating_sub(range.length()),
            }
            if let (Some(digest), Some(content)) = (&mut digest, content) {
                digest.add(chunk, &content);
            }
            report.tell(meter.event(key, Phase::Verify, range.end(), total));
        }
        verified += right;
    }
    report.tell(meter.event(key, Phase::Verify, total, total));
    Ok(ReadBack { verified, digest: digest.map(ContentDigest::finish) })
}

/// The chunks of the set that are in a window.
fn among(written: &ChunkSet, window: ByteRange, chunk_size: u32) -> Vec<u64> {
    let size = u64::from(chunk_size);
    let here = window.start() / size..window.end().div_ceil(size);
    here.filter(|chunk| written.contains(*chunk)).collect()
}

/// Digest of a disk's content, whatever store it is from. Its form is public: see [`RestoredDisk::digest`](crate::RestoredDisk::digest).
struct ContentDigest(blake3::Hasher);

impl ContentDigest {
    fn new(capacity: u64, chunk_size: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&capacity.to_le_bytes()).update(&chunk_size.to_le_bytes());
        Self(hasher)
    }

    fn add(&mut self, chunk: u64, content: &blake3::Hash) {
        self.0.update(&chunk.to_le_bytes()).update(content.as_bytes());
    }

    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Digest of a chunk that has a byte other than zero, where one is wanted. It is made on a thread that may take its time.
async fn content_digest(policy: Verify, data: Option<Bytes>) -> Result<Option<blake3::Hash>, Error> {
    let (Verify::Full, Some(data)) = (policy, data) else { return Ok(None) };
    let made = tokio::task::spawn_blocking(move || {
        let is_zero = data.iter().all(|byte| *byte == 0);
        (!is_zero).then(|| blake3::hash(&data))
    });
    made.await.map_err(|e| Error::new(ErrorKind::Verification, "the thread of a digest ended").because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_it_is_asked_for_spread_out_and_the_same_each_time() {
        let sample = |percent| {
            let wanted = move |chunk: &u64| Verify::Sample { percent }.wants(*chunk);
            (0..100_000).filter(wanted).collect::<Vec<u64>>()
        };
        assert_eq!((sample(0).len(), sample(100).len(), sample(200).len()), (0, 100_000, 100_000));
        let ten = sample(10);
        assert_eq!(ten, sample(10));
        assert!((9_500..=10_500).contains(&ten.len()), "{}", ten.len());
        let widest = ten.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest < 200, "{widest} chunks in a row that nobody looks at");
        let half = sample(50);
        assert!(ten.iter().all(|chunk| half.binary_search(chunk).is_ok()), "more is more of the same");
        assert!(!Verify::None.wants(7) && Verify::Full.wants(7));
    }
}
