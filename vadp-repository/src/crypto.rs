//! Keys, seals and digests, see docs/repository-format.md, "Keys".

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::format::header::ObjectHeader;
use crate::ids::ChunkId;

/// Bytes that a seal adds.
pub(crate) const TAG_BYTES: usize = 16;

const MAX_EPOCHS: u32 = 1024;

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)
        .map_err(|source| Error::new(ErrorKind::Internal, "no random bytes to be had").with_source(source))?;
    Ok(bytes)
}

/// The secret of a repository.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Keyring {
    identity: [u8; 32],
    /// In rising order; never empty.
    epochs: Vec<Epoch>,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Epoch {
    number: u32,
    key: [u8; 32],
}

impl Keyring {
    /// The keyring of a new repository.
    pub(crate) fn new(identity: [u8; 32], first_epoch: [u8; 32]) -> Self {
        Self { identity, epochs: vec![Epoch { number: 1, key: first_epoch }] }
    }

    pub(crate) fn parse(plain: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(plain);
        let identity = bytes.array()?;
        let count = bytes.u32()?;
        if !(1..=MAX_EPOCHS).contains(&count) {
            return Err(Error::damaged(format!("a keyring with {count} epochs")));
        }
        bytes.expect_at_least(count, 36)?;
        let mut keyring = Self { identity, epochs: Vec::new() };
        for _ in 0..count {
            let epoch = Epoch { number: bytes.u32()?, key: bytes.array()? };
            if epoch.number <= keyring.newest().map_or(0, |newest| newest.number) {
                return Err(Error::damaged("a keyring whose epochs do not rise"));
            }
            keyring.epochs.push(epoch);
        }
        bytes.finish()?;
        Ok(keyring)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // The capacity is exact: growing would leave copies of the keys behind.
        let mut bytes = ByteWriter::with_capacity(36 + 36 * self.epochs.len());
        bytes.array(&self.identity);
        bytes.u32(u32::try_from(self.epochs.len()).unwrap_or(MAX_EPOCHS));
        for epoch in &self.epochs {
            bytes.u32(epoch.number);
            bytes.array(&epoch.key);
        }
        Zeroizing::new(bytes.into_vec())
    }

    /// The epoch with which new objects are sealed.
    pub(crate) fn current_epoch(&self) -> u32 {
        self.newest().map_or(1, |epoch| epoch.number)
    }

    /// The key of one object.
    pub(crate) fn object_key(&self, header: &ObjectHeader, object: &[u8; 16]) -> Result<SealKey> {
        let epoch = self.epochs.iter().find(|epoch| epoch.number == header.epoch).ok_or_else(|| {
            Error::new(
                ErrorKind::WrongKey,
                format!(
                    "the object was sealed in key epoch {}, which this key slot lacks: use a newer slot",
                    header.epoch
                ),
            )
        })?;
        let mut material = Zeroizing::new([0_u8; 32 + ObjectHeader::BYTES + 16]);
        let (key, rest) = material.split_at_mut(32);
        key.copy_from_slice(&epoch.key);
        let (place, rest) = rest.split_at_mut(ObjectHeader::BYTES);
        place.copy_from_slice(&header.to_bytes());
        rest.copy_from_slice(object);
        SealKey::derive("vadp-repository v1 object", &*material)
    }

    /// What the keys of the files in which this machine keeps the index are derived from.
    pub(crate) fn cache_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key("vadp-repository v1 index cache", &self.identity))
    }

    /// The keyed digests of this repository.
    pub(crate) fn digests(&self) -> Digests {
        Digests {
            chunk: blake3::derive_key("vadp-repository v1 chunk id", &self.identity),
            page: blake3::derive_key("vadp-repository v1 page id", &self.identity),
            config: blake3::derive_key("vadp-repository v1 config", &self.identity),
        }
    }

    fn newest(&self) -> Option<&Epoch> {
        self.epochs.last()
    }
}

/// Which of the two kinds of content-addressed bytes: their ids come from different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Content {
    /// A chunk of a disk.
    Data,
    /// A map page.
    Page,
}

/// Keys of the keyed digests.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Digests {
    chunk: [u8; 32],
    page: [u8; 32],
    config: [u8; 32],
}

impl Digests {
    pub(crate) fn id(&self, content: Content, plain: &[u8]) -> ChunkId {
        let key = match content {
            Content::Data => &self.chunk,
            Content::Page => &self.page,
        };
        ChunkId(*blake3::keyed_hash(key, plain).as_bytes())
    }

    pub(crate) fn config_tag(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.config, bytes)
    }
}

/// A place in the nonce space of one object key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceAt {
    /// A chunk or page, by its offset in the pack.
    Offset(u64),
    /// Trailer, index body, point head, keyring.
    First,
    /// Point body.
    Second,
}

impl NonceAt {
    fn bytes(self) -> [u8; 12] {
        let (domain, counter): (u32, u64) = match self {
            Self::Offset(offset) => (0, offset),
            Self::First => (1, 0),
            Self::Second => (1, 1),
        };
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&domain.to_be_bytes());
        bytes[4..].copy_from_slice(&counter.to_be_bytes());
        bytes
    }
}

/// AES-256-GCM under one derived key.
pub(crate) struct SealKey(LessSafeKey);

impl SealKey {
    pub(crate) fn derive(context: &str, material: &[u8]) -> Result<Self> {
        let key = Zeroizing::new(blake3::derive_key(context, material));
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|source| {
            Error::new(ErrorKind::Internal, "the cipher refused its key").with_source(source)
        })?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `buffer[from..]` in place and appends the tag.
    pub(crate) fn seal_tail(&self, at: NonceAt, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<()> {
        let nonce = Nonce::assume_unique_for_key(at.bytes());
        let tail = buffer.get_mut(from..).unwrap_or_default();
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), tail).map_err(|source| {
            Error::new(ErrorKind::Internal, "the cipher could not seal").with_source(source)
        })?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// The sealed form of `plain`.
    pub(crate) fn seal(&self, at: NonceAt, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(plain.len() + TAG_BYTES);
        buffer.extend_from_slice(plain);
        self.seal_tail(at, aad, &mut buffer, 0)?;
        Ok(buffer)
    }

    /// Opens a seal in place, and gives the length of what was sealed, which is at the beginning; `None` as for [`open`](Self::open).
    pub(crate) fn open_in_place(&self, at: NonceAt, aad: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(at.bytes());
        self.0.open_in_place(nonce, Aad::from(aad), sealed).ok().map(|plain| plain.len())
    }

    /// Opens a seal; `None` when the bytes, the associated data or the key are not those of the seal.
    pub(crate) fn open(&self, at: NonceAt, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
        let mut plain = vec![0; text.len()];
        let nonce = Nonce::assume_unique_for_key(at.bytes());
        self.0.open_separate_gather(nonce, Aad::from(aad), text, tag, &mut plain).ok()?;
        Some(plain)
    }
}
