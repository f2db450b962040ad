//! SHA-256 digests of files and whole disks.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::{Disk, Error, ErrorKind, Result, hex};

/// Bytes read or hashed at once.
const CHUNK: usize = 1 << 20;

/// A SHA-256 digest; 64 hex digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl Disk {
    /// The digest of all bytes of the disk, first to last. Unallocated areas are not read; their zeros are hashed,
    /// so the time still grows with the capacity.
    ///
    /// # Errors
    /// `Truncated`, `Io`.
    pub fn sha256(&self) -> Result<Sha256> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        self.visit_allocated(&mut |from, to| {
            hasher.update_zeros(from - at);
            at = from;
            while at < to {
                let count = (to - at).min(CHUNK as u64);
                let bytes = &mut buffer[..count as usize];
                self.read_at(at, bytes)?;
                hasher.update(bytes);
                at += count;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        hasher.update_zeros(self.capacity() - at);
        Ok(hasher.finish())
    }
}

/// A digest in the making.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Sha256(digest)
    }

    fn update_zeros(&mut self, mut length: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while length > 0 {
            let count = length.min(ZEROS.len() as u64);
            self.update(&ZEROS[..count as usize]);
            length -= count;
        }
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        hex::decode(text)?.try_into().map(Self).map_err(|_| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("{text:?} is not a SHA-256 digest of 64 hex digits"),
            )
        })
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}
