//! Inodes.

use crate::error::{Error, ErrorKind, Result};
use crate::fields::Fields;
use crate::system::{NodeKind, Stat, Time};
use crate::xfs::{Xfs, holds};

const REALTIME: u16 = 0x1;
const LONG_TIMES: u64 = 0x8;
const LARGE_COUNTERS: u64 = 0x10;

/// How a fork keeps its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Device,
    Local,
    Extents,
    Tree,
}

/// One of the two contents of an inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fork<'a> {
    pub(super) format: Format,
    pub(super) bytes: &'a [u8],
    /// Number of extents.
    pub(super) extents: u64,
}

pub(super) struct Inode {
    pub(super) number: u64,
    bytes: Vec<u8>,
    core: usize,
    flags_2: u64,
}

impl Xfs {
    pub(super) fn inode(&self, number: u64) -> Result<Inode> {
        self.read_inode(number).map_err(|error| match error.kind() {
            ErrorKind::Damaged => Error::damaged(format!("inode {number}: {error}")),
            _ => error,
        })
    }

    /// Where an inode is: its number is that of its block and its place there.
    pub(super) fn inode_at(&self, number: u64) -> Result<u64> {
        let layout = &self.layout;
        let index = number & ((1 << layout.inodes_bits) - 1);
        Ok(self.at(number >> layout.inodes_bits, 1)? + index * layout.inode_size as u64)
    }

    fn read_inode(&self, number: u64) -> Result<Inode> {
        let layout = &self.layout;
        let bytes = self.device.block(self.inode_at(number)?, layout.inode_size)?;
        let version = bytes.byte(4)?;
        if bytes.part(0, 2)? != b"IN" || !(1..=3).contains(&version) || (version == 3) != layout.is_v5 {
            return Err(Error::damaged("no inode is there"));
        }
        if version == 3 {
            if !holds(&bytes, 100)? {
                return Err(Error::damaged("its checksum does not hold"));
            }
            if bytes.be64(152)? != number || bytes.part(160, 16)? != layout.uuid {
                return Err(Error::damaged("it belongs elsewhere"));
            }
        }
        let (core, flags_2) = if version == 3 { (176, bytes.be64(120)?) } else { (100, 0) };
        if bytes.be16(2)? == 0 {
            return Err(Error::damaged("it is named, but not in use"));
        }
        if bytes.be64(56)? >= 1 << 63 {
            return Err(Error::damaged("larger than a file can be"));
        }
        Ok(Inode { number, bytes, core, flags_2 })
    }
}

impl Inode {
    fn mode(&self) -> u32 {
        self.bytes.be16(2).unwrap_or_default().into()
    }

    pub(super) fn kind(&self) -> NodeKind {
        Stat::kind_of_mode(self.mode())
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.be64(56).unwrap_or_default()
    }

    /// Content.
    pub(super) fn data(&self) -> Result<Fork<'_>> {
        if self.bytes.be16(90)? & REALTIME != 0 {
            return Err(Error::unsupported("its content is on the real-time device, which is not here"));
        }
        let end = match self.attribute_start()? {
            Some(start) => start,
            None => self.bytes.len(),
        };
        let large = self.flags_2 & LARGE_COUNTERS != 0;
        let extents = if large { self.bytes.be64(24)? } else { self.bytes.be32(76)?.into() };
        self.fork(self.bytes.byte(5)?, self.core, end, extents)
    }

    /// Extended attributes, if there are any.
    pub(super) fn attributes(&self) -> Result<Option<Fork<'_>>> {
        let Some(start) = self.attribute_start()? else { return Ok(None) };
        let large = self.flags_2 & LARGE_COUNTERS != 0;
        let extents = if large { self.bytes.be32(76)?.into() } else { self.bytes.be16(80)?.into() };
        self.fork(self.bytes.byte(83)?, start, self.bytes.len(), extents).map(Some)
    }

    fn attribute_start(&self) -> Result<Option<usize>> {
        let offset = usize::from(self.bytes.byte(82)?) * 8;
        match offset {
            0 => Ok(None),
            offset if self.core + offset < self.bytes.len() => Ok(Some(self.core + offset)),
            _ => Err(Error::damaged("its attributes are behind its end")),
        }
    }

    fn fork(&self, format: u8, start: usize, end: usize, extents: u64) -> Result<Fork<'_>> {
        let format = match format {
            0 => Format::Device,
            1 => Format::Local,
            2 => Format::Extents,
            3 => Format::Tree,
            _ => return Err(Error::damaged("content of a format that XFS does not have")),
        };
        Ok(Fork { format, bytes: self.bytes.part(start, end - start)?, extents })
    }

    fn time(&self, at: usize) -> Result<Time> {
        if self.flags_2 & LONG_TIMES != 0 {
            // Nanoseconds since the earliest time that 32 bits of seconds could tell.
            let stored = self.bytes.be64(at)?;
            let seconds = (stored / 1_000_000_000) as i64 - (1 << 31);
            return Ok(Time::new(seconds, (stored % 1_000_000_000) as u32));
        }
        Ok(Time::new(i64::from(self.bytes.be32(at)? as i32), self.bytes.be32(at + 4)?))
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        let links =
            if self.bytes.byte(4)? == 1 { self.bytes.be16(6)?.into() } else { self.bytes.be32(16)? };
        Ok(Stat {
            kind: self.kind(),
            size: self.size(),
            mode: self.mode() & 0o7777,
            uid: self.bytes.be32(8)?,
            gid: self.bytes.be32(12)?,
            links,
            modified: self.time(40)?,
            accessed: self.time(32)?,
            changed: self.time(48)?,
            created: if self.core == 176 { Some(self.time(144)?) } else { None },
            attributes: None,
        })
    }
}
