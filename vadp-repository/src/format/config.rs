//! The object `config`, see docs/repository-format.md, "Config".

use crate::crypto::Digests;
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::format::header::unsupported;
use crate::ids::RepositoryId;

const MAGIC: &[u8; 8] = b"VADPREPO";
const TAGGED_BYTES: usize = 93;
const BLAKE3_KEYED: u8 = 1;
const AES_256_GCM: u8 = 1;

/// Smallest and largest chunk, in bytes.
pub(crate) const CHUNK_SIZES: std::ops::RangeInclusive<u32> = 256 * 1024..=4 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) repository: RepositoryId,
    pub(crate) chunk_size: u32,
    /// Microseconds since 1970.
    pub(crate) created: i64,
    /// Whether a version 1 writer may write here.
    pub(crate) writable: bool,
}

impl Config {
    /// Size of the object in bytes.
    pub(crate) const BYTES: usize = TAGGED_BYTES + 32;

    pub(crate) fn to_bytes(self, digests: &Digests) -> Vec<u8> {
        let mut bytes = ByteWriter::with_capacity(Self::BYTES);
        bytes.array(MAGIC);
        bytes.u16(VERSION);
        bytes.zeros(2 + 4 + 4);
        bytes.array(self.repository.as_bytes());
        bytes.u32(self.chunk_size);
        bytes.u8(BLAKE3_KEYED);
        bytes.u8(AES_256_GCM);
        bytes.zeros(2);
        bytes.i64(self.created);
        bytes.zeros(41);
        let tag = digests.config_tag(bytes.as_slice());
        bytes.array(tag.as_bytes());
        bytes.into_vec()
    }

    /// Reads what can be read without a key. Nothing of it is trusted before [`Config::verify`].
    pub(crate) fn parse(object: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(object);
        if bytes.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(Error::new(ErrorKind::NotARepository, "`config` is not that of a backup repository"));
        }
        let version = bytes.u16()?;
        if version != VERSION {
            return Err(unsupported(version));
        }
        bytes.zeros(2)?;
        let reader_features = bytes.u32()?;
        if reader_features != 0 {
            return Err(Error::new(
                ErrorKind::UnsupportedFormat,
                format!(
                    "the repository uses features {reader_features:#x}, which this program lacks: use a newer program"
                ),
            ));
        }
        let writable = bytes.u32()? == 0;
        let repository = RepositoryId::from_bytes(bytes.array()?);
        let chunk_size = bytes.u32()?;
        if !CHUNK_SIZES.contains(&chunk_size) || !chunk_size.is_power_of_two() {
            return Err(Error::damaged(format!("`config` says that chunks have {chunk_size} bytes")));
        }
        let algorithms = (bytes.u8()?, bytes.u8()?);
        if algorithms != (BLAKE3_KEYED, AES_256_GCM) {
            return Err(Error::new(
                ErrorKind::UnsupportedFormat,
                format!("the repository uses digest and cipher {algorithms:?}: use a newer program"),
            ));
        }
        bytes.zeros(2)?;
        let created = bytes.i64()?;
        bytes.zeros(41)?;
        bytes.take(32)?;
        bytes.finish()?;
        Ok(Self { repository, chunk_size, created, writable })
    }

    /// Checks the keyed hash of the object.
    pub(crate) fn verify(object: &[u8], digests: &Digests) -> Result<()> {
        let tagged = object.split_at_checked(TAGGED_BYTES);
        let is_ours = tagged.is_some_and(|(bytes, tag)| {
            // Comparing as `blake3::Hash` takes constant time.
            <[u8; 32]>::try_from(tag)
                .is_ok_and(|tag| digests.config_tag(bytes) == blake3::Hash::from_bytes(tag))
        });
        match is_ours {
            true => Ok(()),
            false => Err(Error::damaged("`config` was altered: its keyed hash does not fit")),
        }
    }
}
