//! XFS, versions 4 and 5, with the log of version 5 replayed in memory.
//!
//! Facts are from "XFS Algorithms & Data Structures", 3rd edition.

mod attributes;
mod directory;
mod inode;
mod log;
mod map;
mod replay;

use std::sync::Arc;

use vmdk::ReadAt;

use crate::checksum::crc32c;
use crate::device::{Device, Overlay};
use crate::error::{Error, Result};
use crate::ext::text;
use crate::fields::Fields;
use crate::file::File;
use crate::system::{Entry, FileSystem, Info, Kind, LONGEST_LINK, Node, NodeKind, Stat, Xattr};

mod incompat {
    pub(super) const FILE_TYPES: u32 = 0x1;
    pub(super) const OTHER_UUID: u32 = 0x4;
    pub(super) const NEEDS_REPAIR: u32 = 0x10;
    /// File types, sparse inodes, a UUID of its own for metadata, long times, large counters, exchanged ranges, parent pointers.
    pub(super) const KNOWN: u32 = 0x1 | 0x2 | OTHER_UUID | 0x8 | NEEDS_REPAIR | 0x20 | 0x40 | 0x80;
}

/// An open file system.
pub(crate) struct Xfs {
    device: Device,
    info: Info,
    layout: Layout,
}

/// What the superblock says.
struct Layout {
    block_size: u64,
    blocks: u64,
    root: u64,
    /// Blocks of an allocation group, and the bits that number them.
    group_blocks: u64,
    group_blocks_bits: u32,
    groups: u64,
    inode_size: usize,
    /// Bits that number the inodes of a block.
    inodes_bits: u32,
    folder_block: usize,
    has_types: bool,
    /// Version 5: structures say who they are and have checksums.
    is_v5: bool,
    /// What those of version 5 name as their file system.
    uuid: [u8; 16],
    log_start: u64,
    log_blocks: u64,
    label: String,
}

impl Xfs {
    pub(crate) fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source)?;
        let xfs = Self::of(device)?;
        let patches = replay::replay(&xfs)?;
        let xfs = if patches.is_empty() {
            xfs
        } else {
            let overlay = Overlay::new(xfs.device.source().clone(), 512, patches);
            Self::of(Device::new(Arc::new(overlay))?)?
        };
        if xfs.inode(xfs.layout.root)?.kind() != NodeKind::Folder {
            return Err(Error::damaged("the root of the file system is no folder"));
        }
        Ok(xfs)
    }

    fn of(device: Device) -> Result<Self> {
        let layout = Layout::read(&device)?;
        let info = Info {
            kind: Kind::Xfs,
            label: layout.label.clone(),
            root: Node(0, layout.root),
            ignores_case: false,
            has_owners: true,
            lacks: None,
        };
        Ok(Self { device, info, layout })
    }

    /// Where blocks are on the volume: their numbers have the group in the upper bits.
    fn at(&self, block: u64, count: u64) -> Result<u64> {
        let layout = &self.layout;
        let group = block >> layout.group_blocks_bits;
        let within = block & ((1 << layout.group_blocks_bits) - 1);
        let first = group.checked_mul(layout.group_blocks).and_then(|first| first.checked_add(within));
        match first {
            Some(first)
                if group < layout.groups
                    && within + count <= layout.group_blocks
                    && first + count <= layout.blocks =>
            {
                Ok(first * layout.block_size)
            }
            _ => Err(Error::damaged(format!("block {block} is wanted, which the file system does not have"))),
        }
    }

    /// Checks what a structure of version 5 says of itself: checksum, place, owner, file system.
    fn verify(&self, what: &str, bytes: &[u8], place: u64, owner: u64, header: Header) -> Result<()> {
        if !self.layout.is_v5 {
            return Ok(());
        }
        let bad = |why: &str| Err(Error::damaged(format!("{what} at byte {place}: {why}")));
        if !holds(bytes, header.checksum)? {
            return bad("its checksum does not hold");
        }
        if bytes.be64(header.place)? != place / 512 || bytes.be64(header.owner)? != owner {
            return bad("it belongs elsewhere");
        }
        match bytes.part(header.uuid, 16)? == self.layout.uuid {
            true => Ok(()),
            false => bad("it is of another file system"),
        }
    }
}

/// Where a structure of version 5 says who it is.
struct Header {
    checksum: usize,
    place: usize,
    uuid: usize,
    owner: usize,
}

/// Whether the checksum at `at` is that of the rest, with zeros in its own place.
fn holds(bytes: &[u8], at: usize) -> Result<bool> {
    Ok(checksum(bytes, at)? == bytes.le32(at)?)
}

fn checksum(bytes: &[u8], at: usize) -> Result<u32> {
    let before = crc32c(!0, bytes.part(0, at)?);
    let zeros = crc32c(before, &[0; 4]);
    Ok(!crc32c(zeros, bytes.get(at + 4..).unwrap_or_default()))
}

impl Layout {
    fn read(device: &Device) -> Result<Self> {
        let first = device.block(0, 512)?;
        if first.part(0, 4)? != b"XFSB" {
            return Err(Error::damaged("no superblock of XFS"));
        }
        let version = first.be16(100)? & 0xF;
        let sector = usize::from(first.be16(102)?);
        let is_v5 = version == 5;
        if !(4..=5).contains(&version) {
            return Err(Error::unsupported(format!("XFS of version {version}")));
        }
        if !sector.is_power_of_two() || !(512..=32768).contains(&sector) {
            return Err(Error::damaged("sectors of a size that XFS cannot have"));
        }
        let sb = device.block(0, sector)?;
        if is_v5 && !holds(&sb, 224)? {
            return Err(Error::damaged("the checksum of the superblock does not hold"));
        }
        let incompat = if is_v5 { sb.be32(216)? } else { 0 };
        if incompat & !incompat::KNOWN != 0 {
            let unknown = incompat & !incompat::KNOWN;
            return Err(Error::unsupported(format!(
                "features of XFS ({unknown:#x}) that this version does not know"
            )));
        }
        if incompat & incompat::NEEDS_REPAIR != 0 {
            return Err(Error::damaged("the file system says that it needs a repair (xfs_repair)"));
        }
        let uuid_at = if incompat & incompat::OTHER_UUID != 0 { 248 } else { 32 };
        let has_types = if is_v5 { incompat & incompat::FILE_TYPES != 0 } else { sb.be32(200)? & 0x200 != 0 };
        let block_size = u64::from(sb.be32(4)?);
        let folder_bits = u32::from(sb.byte(192)?);
        let layout = Self {
            block_size,
            blocks: sb.be64(8)?,
            root: sb.be64(56)?,
            group_blocks: sb.be32(84)?.into(),
            group_blocks_bits: sb.byte(124)?.into(),
            groups: sb.be32(88)?.into(),
            inode_size: sb.be16(104)?.into(),
            inodes_bits: sb.byte(123)?.into(),
            folder_block: (block_size as usize).checked_shl(folder_bits).unwrap_or(usize::MAX),
            has_types,
            is_v5,
            uuid: sb.array(uuid_at)?,
            log_start: sb.be64(48)?,
            log_blocks: sb.be32(96)?.into(),
            label: text(sb.part(108, 12)?),
        };
        let sane = layout.block_size.is_power_of_two()
            && (512..=65536).contains(&layout.block_size)
            && layout.inode_size.is_power_of_two()
            && (256..=2048).contains(&layout.inode_size)
            && layout.inode_size << layout.inodes_bits.min(16) == layout.block_size as usize
            && (1..32).contains(&layout.group_blocks_bits)
            && layout.group_blocks <= 1 << layout.group_blocks_bits
            && folder_bits <= 8
            && layout.folder_block <= 65536
            && layout.groups > 0
            && layout.blocks.checked_mul(layout.block_size).is_some_and(|size| size <= device.size());
        match sane {
            true => Ok(layout),
            false => Err(Error::damaged("the superblock contradicts itself, or its volume is smaller")),
        }
    }
}

impl FileSystem for Xfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn stat(&self, node: Node) -> Result<Stat> {
        self.inode(node.1)?.stat()
    }

    fn list(&self, folder: Node) -> Result<Vec<Entry>> {
        directory::list(self, &self.inode(folder.1)?)
    }

    fn read_link(&self, link: Node) -> Result<Vec<u8>> {
        let inode = self.inode(link.1)?;
        if inode.kind() != NodeKind::Link {
            return Err(Error::wrong_type("not a symbolic link"));
        }
        if inode.size() > LONGEST_LINK {
            return Err(Error::damaged("a symbolic link that is too long"));
        }
        map::link(self, &inode)
    }

    fn open(&self, file: Node) -> Result<File> {
        let inode = self.inode(file.1)?;
        if inode.kind() != NodeKind::File {
            return Err(Error::wrong_type("not a regular file"));
        }
        map::content(self, &inode)
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>> {
        attributes::read(self, &self.inode(node.1)?)
    }
}
