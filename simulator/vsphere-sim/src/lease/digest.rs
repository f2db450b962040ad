//! Digests of what passes through a transfer, for the manifest.

use aws_lc_rs::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// Both digests of the same bytes, as the client may ask for either afterwards.
pub(super) struct Digests {
    sha1: Context,
    sha256: Context,
    size: u64,
}

/// What was carried of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    /// In hex digits.
    pub(super) sha1: String,
    /// In hex digits.
    pub(super) sha256: String,
    /// Bytes on the wire.
    pub(super) size: u64,
    /// For a disk: bytes of it that have content.
    pub(super) populated: Option<u64>,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self { sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY), sha256: Context::new(&SHA256), size: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn finish(self, populated: Option<u64>) -> Carried {
        Carried {
            sha1: hex(&self.sha1.finish()),
            sha256: hex(&self.sha256.finish()),
            size: self.size,
            populated,
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
