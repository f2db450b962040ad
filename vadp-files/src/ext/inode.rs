//! Inodes.

use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::ext::{Ext, encrypted};
use crate::fields::Fields;
use crate::system::{NodeKind, Stat, Time};

/// Extents, not block lists.
pub(super) const EXTENTS: u32 = 0x8_0000;
/// The content is in the inode and its attributes.
pub(super) const INLINE: u32 = 0x1000_0000;
/// The folder has an index of hashes.
pub(super) const INDEXED: u32 = 0x1000;
const ENCRYPTED: u32 = 0x800;
const COMPRESSED: u32 = 0x4;

pub(super) struct Inode {
    pub(super) bytes: Vec<u8>,
    /// What the checksums of its blocks begin with.
    pub(super) seed: Option<u32>,
    mode: u32,
    size: u64,
    pub(super) flags: u32,
}

impl Ext {
    pub(super) fn inode(&self, number: u64) -> Result<Inode> {
        self.read_inode(number).map_err(|error| match error.kind() {
            crate::ErrorKind::Damaged => Error::damaged(format!("inode {number}: {error}")),
            _ => error,
        })
    }

    fn read_inode(&self, number: u64) -> Result<Inode> {
        let layout = &self.layout;
        if number == 0 || number > layout.inodes {
            return Err(Error::damaged("the file system has no such inode"));
        }
        let (group, index) = ((number - 1) / layout.inodes_per_group, (number - 1) % layout.inodes_per_group);
        let descriptor = self.descriptor(group)?;
        let high = if layout.descriptor_size >= 64 { descriptor.le32(40)? } else { 0 };
        let table = u64::from(descriptor.le32(8)?) | u64::from(high) << 32;
        if table == 0 || table >= layout.blocks {
            return Err(Error::damaged("its table is behind the end of the file system"));
        }
        let at = table * layout.block_size + index * layout.inode_size as u64;
        let bytes = self.device.block(at, layout.inode_size)?;
        let generation = bytes.part(100, 4)?;
        let seed = layout.seed.map(|seed| crc32c(crc32c(seed, &(number as u32).to_le_bytes()), generation));
        if let Some(seed) = seed {
            verify(seed, &bytes)?;
        }
        let mode = u32::from(bytes.le16(0)?);
        if mode == 0 {
            return Err(Error::damaged("it is named, but not in use"));
        }
        let is_sized = matches!(Stat::kind_of_mode(mode), NodeKind::File | NodeKind::Folder);
        let high = if is_sized { bytes.le32(108)? } else { 0 };
        let size = u64::from(bytes.le32(4)?) | u64::from(high) << 32;
        if size >= 1 << 56 {
            return Err(Error::damaged("larger than a file can be"));
        }
        let flags = bytes.le32(32)?;
        Ok(Inode { seed, mode, size, flags, bytes })
    }
}

fn verify(seed: u32, bytes: &[u8]) -> Result<()> {
    let has_high = bytes.len() > 128 && bytes.le16(128)? >= 4;
    let mut plain = bytes.to_vec();
    plain.get_mut(124..126).unwrap_or_default().fill(0);
    let mut stored = u32::from(bytes.le16(124)?);
    if has_high {
        plain.get_mut(130..132).unwrap_or_default().fill(0);
        stored |= u32::from(bytes.le16(130)?) << 16;
    }
    let computed = crc32c(seed, &plain);
    match stored == if has_high { computed } else { computed & 0xFFFF } {
        true => Ok(()),
        false => Err(Error::damaged("its checksum does not hold")),
    }
}

impl Inode {
    pub(super) fn kind(&self) -> NodeKind {
        Stat::kind_of_mode(self.mode)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The 60 bytes that hold the root of the map, the target of a short link, or the beginning of inline data.
    pub(super) fn map(&self) -> Result<&[u8]> {
        self.bytes.part(40, 60)
    }

    pub(super) fn refuse_encrypted(&self) -> Result<()> {
        if self.has(ENCRYPTED) {
            return Err(encrypted());
        }
        if self.has(COMPRESSED) {
            return Err(Error::unsupported("compressed by a patch of ext2 (e2compr)"));
        }
        Ok(())
    }

    /// The target of a link that is short enough to be in the inode.
    pub(super) fn fast_link(&self) -> Result<Option<Vec<u8>>> {
        let is_fast = self.size < 60 && !self.has(EXTENTS) && !self.has(INLINE);
        if is_fast { Ok(Some(self.map()?.part(0, self.size as usize)?.to_vec())) } else { Ok(None) }
    }

    /// How much of what an inode may have behind its first 128 bytes this one has.
    pub(super) fn extra(&self) -> Result<usize> {
        if self.bytes.len() <= 128 {
            return Ok(0);
        }
        let extra = usize::from(self.bytes.le16(128)?);
        match extra % 4 == 0 && 128 + extra <= self.bytes.len() {
            true => Ok(extra),
            false => Err(Error::damaged("an inode with more fields than it has room for")),
        }
    }

    /// The block of its attributes, 0 for none.
    pub(super) fn xattr_block(&self) -> Result<u64> {
        Ok(u64::from(self.bytes.le32(104)?) | u64::from(self.bytes.le16(118)?) << 32)
    }

    fn time(&self, seconds_at: usize, extra_at: usize) -> Result<Time> {
        let seconds = i64::from(self.bytes.le32(seconds_at)? as i32);
        if extra_at + 4 > 128 + self.extra()? {
            return Ok(Time::new(seconds, 0));
        }
        let extra = self.bytes.le32(extra_at)?;
        Ok(Time::new(seconds + (i64::from(extra & 3) << 32), extra >> 2))
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        let bytes = &self.bytes;
        let created = if self.extra()? >= 148 - 128 { Some(self.time(144, 148)?) } else { None };
        Ok(Stat {
            kind: self.kind(),
            size: self.size,
            mode: self.mode & 0o7777,
            uid: u32::from(bytes.le16(2)?) | u32::from(bytes.le16(120)?) << 16,
            gid: u32::from(bytes.le16(24)?) | u32::from(bytes.le16(122)?) << 16,
            links: bytes.le16(26)?.into(),
            modified: self.time(16, 136)?,
            accessed: self.time(8, 140)?,
            changed: self.time(12, 132)?,
            created,
            attributes: None,
        })
    }
}
