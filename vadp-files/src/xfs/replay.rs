//! What the log would write, by sector.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::device::Patch;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::xfs::log::{Transaction, transactions};
use crate::xfs::{Xfs, checksum};

const SECTOR: usize = 512;
/// Bytes of a piece of a buffer that is logged or not.
const PIECE: usize = 128;
/// Sectors of one buffer: the largest folder block, and clusters of inodes.
const LARGEST: u64 = 256;

mod item {
    pub(super) const INODE: u16 = 0x123B;
    pub(super) const BUFFER: u16 = 0x123C;
    /// Intentions to change where a file is, and that they were carried out.
    pub(super) const REMAP: (u16, u16) = (0x1244, 0x1245);
    pub(super) const EXCHANGE: (u16, u16) = (0x1248, 0x1249);
    /// Freed extents, unlinked inodes, quotas, new inodes, reverse maps, reference counts, attributes, and their completions: they change nothing
    /// that is read here, or come with the buffers and inodes that do.
    pub(super) const WITHOUT_EFFECT: &[u16] = &[
        0x1236, 0x1237, 0x1238, 0x123D, 0x123E, 0x123F, 0x1240, 0x1241, 0x1242, 0x1243, 0x1246, 0x1247,
        0x124A, 0x124B, 0x124C, 0x124D, 0x124E, 0x124F,
    ];
}

mod buffer {
    pub(super) const INODES: u16 = 0x1;
    pub(super) const CANCELLED: u16 = 0x2;
    pub(super) const QUOTAS: u16 = 0x4 | 0x8 | 0x10;
}

/// What of an inode was logged.
mod logged {
    pub(super) const DATA_LOCAL: u32 = 0x2;
    pub(super) const DATA_EXTENTS: u32 = 0x4;
    pub(super) const DATA_ROOT: u32 = 0x8;
    pub(super) const ATTRIBUTES_LOCAL: u32 = 0x40;
    pub(super) const ATTRIBUTES_EXTENTS: u32 = 0x80;
    pub(super) const ATTRIBUTES_ROOT: u32 = 0x100;
}

/// The sectors that the log holds newer contents of; none when the file system was unmounted.
pub(super) fn replay(xfs: &Xfs) -> Result<BTreeMap<u64, Patch>> {
    let transactions = transactions(xfs)?;
    let mut replay = Replay { xfs, sectors: BTreeMap::new(), touched: HashSet::new() };
    // A buffer that was freed later on may hold something else by now: until then it must not be written.
    let mut cancelled: HashMap<(u64, u64), usize> = HashMap::new();
    for buffer in buffers(&transactions) {
        let buffer = buffer?;
        if buffer.flags & buffer::CANCELLED != 0 {
            *cancelled.entry(buffer.key()).or_default() += 1;
        }
    }
    let mut intended: HashSet<(u16, u64)> = HashSet::new();
    for transaction in &transactions {
        for item in &transaction.items {
            let Some(first) = item.first() else { continue };
            match first.le16(0)? {
                item::BUFFER => {
                    let buffer = Buffer::read(item)?;
                    let left = cancelled.get_mut(&buffer.key()).filter(|left| **left > 0);
                    match left {
                        Some(left) => *left -= usize::from(buffer.flags & buffer::CANCELLED != 0),
                        None => replay.buffer(&buffer, transaction.lsn)?,
                    }
                }
                item::INODE => replay.inode(item, transaction.lsn)?,
                kind if kind == item::REMAP.0 || kind == item::EXCHANGE.0 => {
                    intended.insert((kind, first.le64(8)?));
                }
                kind if kind == item::REMAP.1 || kind == item::EXCHANGE.1 => {
                    intended.remove(&(kind - 1, first.le64(8)?));
                }
                kind if item::WITHOUT_EFFECT.contains(&kind) => {}
                kind => {
                    return Err(Error::unsupported(format!(
                        "the log has an item ({kind:#x}) that this version does not know"
                    )));
                }
            }
        }
    }
    if !intended.is_empty() {
        return Err(Error::unsupported(
            "the log has moved only a part of a file; mount it once in its guest to have the rest moved",
        ));
    }
    replay.finish()
}

fn buffers(transactions: &[Transaction]) -> impl Iterator<Item = Result<Buffer<'_>>> {
    let items = transactions.iter().flat_map(|transaction| &transaction.items);
    let is_buffer =
        |item: &&Vec<Vec<u8>>| item.first().is_some_and(|first| first.le16(0).ok() == Some(item::BUFFER));
    items.filter(is_buffer).map(|item| Buffer::read(item))
}

/// Pieces of some sectors that lie together.
struct Buffer<'a> {
    flags: u16,
    sector: u64,
    sectors: u64,
    map: &'a [u8],
    pieces: &'a [Vec<u8>],
}

impl<'a> Buffer<'a> {
    fn read(item: &'a [Vec<u8>]) -> Result<Self> {
        let (first, pieces) =
            item.split_first().ok_or_else(|| Error::damaged("an item of the log without a region"))?;
        let map = (first.le32(16)? as usize)
            .checked_mul(4)
            .ok_or_else(|| Error::damaged("a buffer that is too large"))?;
        let map = if map > 0 { first.part(20, map.min(first.len().saturating_sub(20)))? } else { &[] };
        Ok(Self {
            flags: first.le16(4)?,
            sector: first.le64(8)?,
            sectors: first.le16(6)?.into(),
            map,
            pieces,
        })
    }

    fn key(&self) -> (u64, u64) {
        (self.sector, self.sectors)
    }

    fn is_logged(&self, piece: usize) -> bool {
        self.map.get(piece / 8).is_some_and(|byte| byte >> (piece % 8) & 1 == 1)
    }
}

struct Replay<'a> {
    xfs: &'a Xfs,
    sectors: BTreeMap<u64, Box<[u8]>>,
    /// Buffers whose checksums have to be made anew: sector and number of sectors.
    touched: HashSet<(u64, u64)>,
}

impl Replay<'_> {
    /// Some sectors as they are by now.
    fn read(&self, sector: u64, count: u64) -> Result<Vec<u8>> {
        if count == 0 || count > LARGEST {
            return Err(Error::damaged("the log has a buffer of a size that there is not"));
        }
        let at = sector
            .checked_mul(SECTOR as u64)
            .ok_or_else(|| Error::damaged("a buffer behind the end of the volume"))?;
        let mut bytes = vec![0; count as usize * SECTOR];
        self.xfs.device.read(at, &mut bytes)?;
        for (number, patch) in self.sectors.range(sector..sector + count) {
            let place = (number - sector) as usize * SECTOR;
            if let Some(target) = bytes.get_mut(place..place + SECTOR) {
                target.copy_from_slice(patch);
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, sector: u64, bytes: &[u8]) {
        for (number, bytes) in (sector..).zip(bytes.chunks_exact(SECTOR)) {
            self.sectors.insert(number, bytes.into());
        }
    }

    fn buffer(&mut self, buffer: &Buffer<'_>, lsn: u64) -> Result<()> {
        if buffer.flags & (buffer::INODES | buffer::CANCELLED | buffer::QUOTAS) != 0 {
            // Of inodes only the list of those that were unlinked while open is logged so.
            return Ok(());
        }
        let mut bytes = self.read(buffer.sector, buffer.sectors)?;
        if identity(&bytes).is_some_and(|identity| bytes.be64(identity.lsn).is_ok_and(|stored| stored >= lsn))
        {
            return Ok(());
        }
        let mut pieces = buffer.pieces.iter();
        let count = bytes.len() / PIECE;
        let mut piece = 0;
        while piece < count {
            if !buffer.is_logged(piece) {
                piece += 1;
                continue;
            }
            // Each region is a run of pieces, or the beginning of one.
            let region =
                pieces.next().ok_or_else(|| Error::damaged("a buffer of the log that is not all there"))?;
            let target = bytes.get_mut(piece * PIECE..).and_then(|rest| rest.get_mut(..region.len()));
            let target = target.filter(|_| !region.is_empty());
            target
                .ok_or_else(|| Error::damaged("a region of the log that is too long"))?
                .copy_from_slice(region);
            piece += region.len().div_ceil(PIECE);
        }
        if let Some(identity) = identity(&bytes)
            && let Some(place) = bytes.get_mut(identity.lsn..identity.lsn + 8)
        {
            place.copy_from_slice(&lsn.to_be_bytes());
        }
        self.write(buffer.sector, &bytes);
        self.touched.insert(buffer.key());
        Ok(())
    }

    fn inode(&mut self, item: &[Vec<u8>], lsn: u64) -> Result<()> {
        let [format, core, forks @ ..] = item else {
            return Err(Error::damaged("an inode of the log without its core"));
        };
        let (fields, number) = (format.le32(4)?, format.le64(16)?);
        let size = self.xfs.layout.inode_size;
        let place = self.xfs.inode_at(number)?;
        let (sector, within) = (place / SECTOR as u64, place as usize % SECTOR);
        let sectors = size.max(SECTOR) / SECTOR;
        let mut bytes = self.read(sector, sectors as u64)?;
        let inode =
            bytes.get_mut(within..within + size).ok_or_else(|| Error::damaged("an inode across sectors"))?;
        if inode.starts_with(b"IN") && inode.byte(4)? == 3 && inode.be64(112)? >= lsn {
            return Ok(());
        }
        let core = to_disk(core)?;
        let copy = |inode: &mut [u8], at: usize, bytes: &[u8]| {
            let target = inode.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
            target
                .map(|target| target.copy_from_slice(bytes))
                .ok_or_else(|| Error::damaged("a fork larger than its inode"))
        };
        copy(inode, 0, &core)?;
        copy(inode, 112, &lsn.to_be_bytes())?;
        let split = match inode.byte(82)? {
            0 => size,
            offset => 176 + usize::from(offset) * 8,
        };
        let mut forks = forks.iter();
        let kinds = [
            (logged::DATA_LOCAL | logged::DATA_EXTENTS, logged::DATA_ROOT, 176, split),
            (logged::ATTRIBUTES_LOCAL | logged::ATTRIBUTES_EXTENTS, logged::ATTRIBUTES_ROOT, split, size),
        ];
        for (plain, root, start, end) in kinds {
            if fields & (plain | root) == 0 {
                continue;
            }
            let Some(fork) = forks.next() else {
                return Err(Error::damaged("an inode of the log without its fork"));
            };
            let fork =
                if fields & root != 0 { tree_root(fork, end.saturating_sub(start))? } else { fork.clone() };
            if start + fork.len() > end.next_multiple_of(4) {
                return Err(Error::damaged("a fork larger than its room"));
            }
            copy(inode, start, &fork)?;
        }
        let sum = checksum(inode, 100)?;
        copy(inode, 100, &sum.to_le_bytes())?;
        self.write(sector, &bytes);
        Ok(())
    }

    /// Makes checksums anew, as the writer would have when it wrote the buffers.
    fn finish(mut self) -> Result<BTreeMap<u64, Patch>> {
        for (sector, sectors) in std::mem::take(&mut self.touched) {
            let mut bytes = self.read(sector, sectors)?;
            if let Some(identity) = identity(&bytes) {
                let sum = checksum(&bytes, identity.checksum)?.to_le_bytes();
                if let Some(place) = bytes.get_mut(identity.checksum..identity.checksum + 4) {
                    place.copy_from_slice(&sum);
                }
                self.write(sector, &bytes);
            }
        }
        Ok(self.sectors.into_iter().map(|(number, bytes)| (number, Patch::Bytes(bytes))).collect())
    }
}

/// Where a structure of version 5 has its checksum and the position of its last change in the log.
struct Identity {
    checksum: usize,
    lsn: usize,
}

/// By the magic numbers of what is read here.
fn identity(bytes: &[u8]) -> Option<Identity> {
    let at = |checksum, lsn| Some(Identity { checksum, lsn });
    match bytes.first_chunk::<4>()? {
        b"XFSB" => return at(224, 240),
        b"BMA3" => return at(64, 32),
        b"XDB3" | b"XDD3" => return at(4, 16),
        b"XSLM" | b"XARM" => return at(12, 48),
        _ => {}
    }
    match bytes.be16(8).ok()? {
        // Nodes, and leaves of attributes and of folders.
        0x3EBE | 0x3BEE | 0x3DF1 | 0x3DFF => at(12, 24),
        _ => None,
    }
}

/// The core of an inode, logged in the byte order of the machine, which is little-endian for all that a vSphere runs.
fn to_disk(core: &[u8]) -> Result<Vec<u8>> {
    if core.part(0, 2)? != b"NI" || core.len() < 176 || core.byte(4)? != 3 {
        return Err(Error::unsupported("an inode of the log of another version or byte order"));
    }
    let flags_2 = core.le64(120)?;
    let (long_times, large_counters) = (flags_2 & 0x8 != 0, flags_2 & 0x10 != 0);
    let mut disk = core.part(0, 176)?.to_vec();
    let mut swap = |at: usize, size: usize| {
        if let Some(field) = disk.get_mut(at..at + size) {
            field.reverse();
        }
    };
    for (at, size) in [
        (0, 2),
        (2, 2),
        (6, 2),
        (8, 4),
        (12, 4),
        (16, 4),
        (20, 2),
        (22, 2),
        (56, 8),
        (64, 8),
        (72, 4),
        (76, 4),
        (84, 4),
        (88, 2),
        (90, 2),
        (92, 4),
        (96, 4),
        (104, 8),
        (112, 8),
        (120, 8),
        (128, 4),
        (152, 8),
    ] {
        swap(at, size);
    }
    match large_counters {
        true => swap(24, 8),
        false => {
            swap(30, 2);
            swap(80, 2);
        }
    }
    for time in [32, 40, 48, 144] {
        match long_times {
            true => swap(time, 8),
            false => {
                swap(time, 4);
                swap(time + 4, 4);
            }
        }
    }
    Ok(disk)
}

/// The root of a tree of extents is logged as a block of its own would be, with room for as many entries as it needs; in the inode it has no
/// header, and room for as many as there is.
fn tree_root(logged: &[u8], room: usize) -> Result<Vec<u8>> {
    let (level, count) = (logged.part(4, 2)?, usize::from(logged.be16(6)?));
    let most = logged.len().saturating_sub(72) / 16;
    let most_there = room.saturating_sub(4) / 16;
    if count > most || count > most_there {
        return Err(Error::damaged("a root of a tree with more entries than it has room for"));
    }
    let mut root = vec![0; 4 + most_there * 16];
    let parts = [
        (0, level),
        (2, logged.part(6, 2)?),
        (4, logged.part(72, count * 8)?),
        (4 + most_there * 8, logged.part(72 + most * 8, count * 8)?),
    ];
    for (at, bytes) in parts {
        if let Some(target) = root.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }
    Ok(root)
}
