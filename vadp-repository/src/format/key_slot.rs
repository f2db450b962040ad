//! Key slots, see docs/repository-format.md, "Key slot".

use zeroize::Zeroizing;

use crate::crypto::{Keyring, NonceAt, SealKey};
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::format::header::unsupported;
use crate::ids::{KeySlotId, RepositoryId};

const MAGIC: &[u8; 8] = b"VADPKEYS";
const MAX_WRAPPED_BYTES: usize = 64 * 1024;

/// Largest key slot that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 256 * 1024;

/// How the key-encryption key of a slot is come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Password(Stretch),
    RawKey,
    /// The key-encryption key as the provider wrapped it.
    Provider(Vec<u8>),
}

/// Cost of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Stretch {
    /// The second recommendation of RFC 9106 section 4, with one lane, since the implementation has one thread.
    pub(crate) const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    const LARGEST: Self = Self { memory_kib: 1024 * 1024, passes: 64, lanes: 64 };

    /// The 32-byte key of a password. Takes the memory and time that the cost asks for.
    pub(crate) fn key(self, password: &[u8], salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>> {
        let failed = |source: argon2::Error| {
            // The library's error has no `std::error::Error` without its `std` feature.
            Error::new(
                ErrorKind::InvalidInput,
                format!("Argon2id refused the password or its parameters: {source}"),
            )
        };
        let params =
            argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(failed)?;
        let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon.hash_password_into(password, salt, &mut *key).map_err(failed)?;
        Ok(key)
    }
}

/// A parsed key slot.
#[derive(Debug, Clone)]
pub(crate) struct KeySlot {
    pub(crate) repository: RepositoryId,
    pub(crate) slot: KeySlotId,
    /// Microseconds since 1970.
    pub(crate) created: i64,
    pub(crate) salt: [u8; 32],
    pub(crate) kind: SlotKind,
    /// Empty until [`KeySlot::seal`].
    sealed: Vec<u8>,
}

impl KeySlot {
    pub(crate) fn new(
        repository: RepositoryId,
        slot: KeySlotId,
        created: i64,
        salt: [u8; 32],
        kind: SlotKind,
    ) -> Self {
        Self { repository, slot, created, salt, kind, sealed: Vec::new() }
    }

    /// Seals the keyring and gives the bytes of the object.
    pub(crate) fn seal(&self, key_encryption_key: &[u8; 32], keyring: &Keyring) -> Result<Vec<u8>> {
        let header = self.header()?;
        let sealed =
            slot_key(key_encryption_key, &header)?.seal(NonceAt::First, &header, &keyring.to_bytes())?;
        let mut bytes = ByteWriter::with_capacity(header.len() + 4 + sealed.len());
        bytes.array(&header);
        bytes.blob(&sealed)?;
        Ok(bytes.into_vec())
    }

    /// Opens the slot; `None` when the key is another one.
    pub(crate) fn open(&self, key_encryption_key: &[u8; 32]) -> Result<Option<Keyring>> {
        let header = self.header()?;
        let key = slot_key(key_encryption_key, &header)?;
        let plain = key.open(NonceAt::First, &header, &self.sealed).map(Zeroizing::new);
        plain.map(|plain| Keyring::parse(&plain)).transpose()
    }

    pub(crate) fn parse(object: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(object);
        if bytes.take(MAGIC.len())? != MAGIC {
            return Err(Error::damaged("the object does not begin as a key slot"));
        }
        let version = bytes.u16()?;
        if version != VERSION {
            return Err(unsupported(version));
        }
        let kind = bytes.u8()?;
        bytes.zeros(1)?;
        let repository = RepositoryId::from_bytes(bytes.array()?);
        let slot = KeySlotId::from_bytes(bytes.array()?);
        let created = bytes.i64()?;
        let salt = bytes.array()?;
        let stretch = Stretch { memory_kib: bytes.u32()?, passes: bytes.u32()?, lanes: bytes.u32()? };
        let wrapped = bytes.blob()?;
        if wrapped.len() > MAX_WRAPPED_BYTES {
            return Err(Error::damaged(format!("a wrapped key of {} bytes", wrapped.len())));
        }
        let kind = match kind {
            1 if stretch.exceeds(Stretch::LARGEST) => {
                return Err(Error::damaged(format!(
                    "the key slot asks for an absurd cost of Argon2id: {stretch:?}"
                )));
            }
            1 => SlotKind::Password(stretch),
            2 => SlotKind::RawKey,
            3 => SlotKind::Provider(wrapped.to_vec()),
            other => {
                return Err(Error::new(
                    ErrorKind::UnsupportedFormat,
                    format!("unknown kind {other} of key slot: use a newer program"),
                ));
            }
        };
        let sealed = bytes.blob()?.to_vec();
        bytes.finish()?;
        let parsed = Self { repository, slot, created, salt, kind, sealed };
        // The header is rebuilt for the associated data, so fields that the kind does not use must be as we write them.
        match object.starts_with(&parsed.header()?) {
            true => Ok(parsed),
            false => Err(Error::damaged("the key slot has values in unused fields")),
        }
    }

    fn header(&self) -> Result<Vec<u8>> {
        let none = Stretch { memory_kib: 0, passes: 0, lanes: 0 };
        let (kind, stretch, wrapped): (u8, Stretch, &[u8]) = match &self.kind {
            SlotKind::Password(stretch) => (1, *stretch, &[]),
            SlotKind::RawKey => (2, none, &[]),
            SlotKind::Provider(wrapped) => (3, none, wrapped),
        };
        if wrapped.len() > MAX_WRAPPED_BYTES {
            return Err(Error::new(
                ErrorKind::KeyProvider,
                format!(
                    "the key provider's wrapped key has {} bytes, at most {MAX_WRAPPED_BYTES} fit",
                    wrapped.len()
                ),
            ));
        }
        let mut bytes = ByteWriter::with_capacity(100 + wrapped.len());
        bytes.array(MAGIC);
        bytes.u16(VERSION);
        bytes.u8(kind);
        bytes.zeros(1);
        bytes.array(self.repository.as_bytes());
        bytes.array(self.slot.as_bytes());
        bytes.i64(self.created);
        bytes.array(&self.salt);
        bytes.u32(stretch.memory_kib);
        bytes.u32(stretch.passes);
        bytes.u32(stretch.lanes);
        bytes.blob(wrapped)?;
        Ok(bytes.into_vec())
    }
}

impl Stretch {
    fn exceeds(self, limit: Self) -> bool {
        self.memory_kib > limit.memory_kib || self.passes > limit.passes || self.lanes > limit.lanes
    }
}

fn slot_key(key_encryption_key: &[u8; 32], header: &[u8]) -> Result<SealKey> {
    let mut material = Zeroizing::new(Vec::with_capacity(32 + header.len()));
    material.extend_from_slice(key_encryption_key);
    material.extend_from_slice(header);
    SealKey::derive("vadp-repository v1 key slot", &material)
}
