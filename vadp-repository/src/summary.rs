//! What a backup of a disk did, in numbers.

/// Counters of one disk of a restore point. Bytes are plain bytes of the disk, except for `stored_bytes`.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskSummary {
    /// Chunks given to [`put`](crate::DiskWriter::put).
    pub read_chunks: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Chunks that the repository did not have.
    pub new_chunks: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// What the new chunks take in packs, compressed and sealed.
    pub stored_bytes: u64,
    /// Chunks that the repository already had.
    pub dedup_chunks: u64,
    /// Their bytes.
    pub dedup_bytes: u64,
    /// Chunks, read or declared, whose bytes are all zero.
    pub zero_chunks: u64,
    /// Their bytes.
    pub zero_bytes: u64,
    /// Chunks with data that were taken over from the parent unread.
    pub inherited_chunks: u64,
}

impl DiskSummary {
    pub(crate) fn to_counters(self) -> [u64; 10] {
        let Self {
            read_chunks,
            read_bytes,
            new_chunks,
            new_bytes,
            stored_bytes,
            dedup_chunks,
            dedup_bytes,
            zero_chunks,
            zero_bytes,
            inherited_chunks,
        } = self;
        [
            read_chunks,
            read_bytes,
            new_chunks,
            new_bytes,
            stored_bytes,
            dedup_chunks,
            dedup_bytes,
            zero_chunks,
            zero_bytes,
            inherited_chunks,
        ]
    }

    pub(crate) fn from_counters(counters: [u64; 10]) -> Self {
        let [
            read_chunks,
            read_bytes,
            new_chunks,
            new_bytes,
            stored_bytes,
            dedup_chunks,
            dedup_bytes,
            zero_chunks,
            zero_bytes,
            inherited_chunks,
        ] = counters;
        Self {
            read_chunks,
            read_bytes,
            new_chunks,
            new_bytes,
            stored_bytes,
            dedup_chunks,
            dedup_bytes,
            zero_chunks,
            zero_bytes,
            inherited_chunks,
        }
    }
}
