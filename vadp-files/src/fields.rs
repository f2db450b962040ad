//! Fields of structures on disk. Whatever the structure says, reading behind its end is an error.

use crate::error::{Error, Result};

/// Numbers at positions of a structure, by byte order.
pub(crate) trait Fields {
    /// So many bytes from `at` on.
    fn part(&self, at: usize, length: usize) -> Result<&[u8]>;

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.part(at, N)?);
        Ok(array)
    }

    fn byte(&self, at: usize) -> Result<u8> {
        Ok(self.array::<1>(at)?[0])
    }

    fn le16(&self, at: usize) -> Result<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn le32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn le64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn be16(&self, at: usize) -> Result<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    fn be32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    fn be64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
}

impl Fields for [u8] {
    fn part(&self, at: usize, length: usize) -> Result<&[u8]> {
        let end = at.checked_add(length);
        end.and_then(|end| self.get(at..end)).ok_or_else(|| {
            let size = self.len();
            Error::damaged(format!(
                "{length} bytes at {at} of a structure of {size} bytes, which ends before"
            ))
        })
    }
}

/// A size in memory that came from a disk.
pub(crate) fn in_memory(size: u64, limit: usize, what: &str) -> Result<usize> {
    usize::try_from(size).ok().filter(|&size| size <= limit).ok_or_else(|| {
        Error::too_large(format!("{what} of {size} bytes; at most {limit} are read into memory"))
    })
}

/// The text of UTF-16 units, as UTF-8. A surrogate without its other half, which Windows allows in names, is written as the three
/// bytes that UTF-8 would have for it: so different names stay different.
pub(crate) fn utf16(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut text = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                text.extend([
                    0xE0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3F) as u8,
                    0x80 | (unit & 0x3F) as u8,
                ]);
            }
        }
    }
    text
}

/// Little-endian UTF-16 units; an odd byte at the end is left out.
pub(crate) fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair))
}
