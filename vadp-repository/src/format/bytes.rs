//! Little-endian reading and writing, see docs/repository-format.md, "Encoding".

use crate::error::{Error, Result};

/// Reads fields off untrusted bytes. Every length is compared with what is left before anything is allocated.
pub(crate) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.too_short(count))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.too_short(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn blob(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let bytes = self.blob()?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|source| Error::damaged("a text field is not UTF-8").with_source(source))
    }

    /// Reserved bytes, which must be zero.
    pub(crate) fn zeros(&mut self, count: usize) -> Result<()> {
        match self.take(count)?.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(Error::damaged("a reserved field is not zero")),
        }
    }

    /// Fails unless `count` items of at least `item_bytes` can follow, so that the caller may allocate for them.
    pub(crate) fn expect_at_least(&self, count: u32, item_bytes: usize) -> Result<usize> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        match count.checked_mul(item_bytes) {
            Some(needed) if needed <= self.rest.len() => Ok(count),
            _ => Err(Error::damaged(format!(
                "a count of {count} items does not fit into {} bytes",
                self.rest.len()
            ))),
        }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Fails when bytes are left over.
    pub(crate) fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Error::damaged(format!("{left} bytes too many"))),
        }
    }

    fn too_short(&self, wanted: usize) -> Error {
        Error::damaged(format!("{wanted} bytes expected, {} left", self.rest.len()))
    }
}

/// Writes fields.
pub(crate) struct ByteWriter {
    bytes: Vec<u8>,
}

impl ByteWriter {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(crate) fn array(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.array(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.array(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.array(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.array(&value.to_le_bytes());
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// A count of items or bytes.
    pub(crate) fn count(&mut self, count: usize) -> Result<()> {
        self.u32(u32_of(count)?);
        Ok(())
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len())?;
        self.array(bytes);
        Ok(())
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.blob(text.as_bytes())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// A count as the format stores it.
pub(crate) fn u32_of(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::invalid(format!("{count} is more than the format can count")))
}
