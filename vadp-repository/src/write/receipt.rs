//! What a backup keeps outside the repository, so that it can go on after a crash: which chunk of a disk has which id.
//!
//! ```text
//! "VADPRCPT" | repository 16 | capacity 8 | chunk size 4 | { chunk 8 | id 32 } .. | BLAKE3 of all before 32
//! ```
//!
//! Numbers are little-endian. The digest finds damage; who may write the file in which it lies is trusted, as with the journal.

use bytes::Bytes;

use crate::geometry::Geometry;
use crate::ids::ChunkId;
use crate::repository::Shared;

const MAGIC: &[u8; 8] = b"VADPRCPT";
const DIGEST_BYTES: usize = 32;
const ENTRY_BYTES: usize = 40;

/// A receipt that is being written.
pub(super) struct Receipt(Vec<u8>);

impl Receipt {
    pub(super) fn new(shared: &Shared, geometry: Geometry) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(shared.config.repository.as_bytes());
        bytes.extend_from_slice(&geometry.capacity().to_le_bytes());
        bytes.extend_from_slice(&geometry.chunk_size().to_le_bytes());
        Self(bytes)
    }

    pub(super) fn add(&mut self, chunk: u64, id: ChunkId) {
        self.0.extend_from_slice(&chunk.to_le_bytes());
        self.0.extend_from_slice(id.as_bytes());
    }

    pub(super) fn finish(mut self) -> Bytes {
        let digest = blake3::hash(&self.0);
        self.0.extend_from_slice(digest.as_bytes());
        self.0.into()
    }

    /// The chunks with their ids; none when it is damaged, or of another repository or another disk.
    pub(super) fn parse(receipt: &[u8], shared: &Shared, geometry: Geometry) -> Vec<(u64, ChunkId)> {
        let parse = || {
            let (body, digest) = receipt.split_at_checked(receipt.len().checked_sub(DIGEST_BYTES)?)?;
            let entries = body.strip_prefix(Self::new(shared, geometry).0.as_slice())?;
            if blake3::hash(body).as_bytes() != digest || entries.len() % ENTRY_BYTES != 0 {
                return None;
            }
            let entry = |entry: &[u8]| {
                let (chunk, id) = entry.split_first_chunk::<8>()?;
                Some((u64::from_le_bytes(*chunk), ChunkId(id.try_into().ok()?)))
            };
            entries.chunks_exact(ENTRY_BYTES).map(entry).collect()
        };
        parse().unwrap_or_default()
    }
}
