//! Identifiers: random names of objects, keyed digests of chunks, and the caller's name of a machine.

use std::fmt;

use crate::error::{Error, Result};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the 32 lower-case hexadecimal digits that `Display` prints.
            ///
            /// # Errors
            /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
            pub fn parse(text: &str) -> Result<Self> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

random_id! {
    /// Names a repository, for ever.
    RepositoryId
}
random_id! {
    /// Names a pack object.
    PackId
}
random_id! {
    /// Names a restore point.
    PointId
}
random_id! {
    /// Names an index object.
    IndexId
}
random_id! {
    /// Names a key slot.
    KeySlotId
}
random_id! {
    /// Names the lease of a pruner.
    LockId
}

/// Keyed BLAKE3-256 of a chunk's or page's bytes; all zero means "every byte is zero".
/// See docs/repository-format.md, "Chunks".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub(crate) [u8; 32]);

impl ChunkId {
    /// The id of a chunk whose bytes are all zero.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this stands for a chunk of zeros.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// The caller's lasting name of a machine: 1..=1,024 bytes of UTF-8, opaque to the repository, stored encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineId(String);

impl MachineId {
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when the name is empty or longer than 1,024 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "a machine's name has 1 to 1024 bytes, this one has {}",
                name.len()
            )));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a restore point in all repositories: the one for which it was made, and its name there. Copies keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The repository in which the point was made.
    pub repository: RepositoryId,
    /// The name that it has, or had, there.
    pub point: PointId,
}

/// Longest name of a machine or disk, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

fn parse_hex(text: &str) -> Result<[u8; 16]> {
    let error = || Error::invalid(format!("an id is 32 lower-case hexadecimal digits, not {text:?}"));
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return Err(error());
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = match pair {
            [high, low] => digit(*high).zip(digit(*low)).map(|(h, l)| h << 4 | l).ok_or_else(error)?,
            _ => return Err(error()),
        };
    }
    Ok(bytes)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
