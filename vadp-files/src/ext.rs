//! ext2, ext3 and ext4, with the journal replayed in memory.
//!
//! Facts are from the kernel's documentation of ext4's data structures ("ext4 Data Structures and Algorithms").

mod directory;
mod inode;
mod journal;
mod map;
mod xattr;

use std::sync::Arc;

use vmdk::ReadAt;

use crate::checksum::crc32c;
use crate::device::{Device, Overlay};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::Fields;
use crate::file::File;
use crate::system::{Entry, FileSystem, Info, Kind, LONGEST_LINK, Node, NodeKind, Stat, Xattr};

const ROOT: u64 = 2;
const JOURNAL: u64 = 8;

mod incompat {
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const JOURNAL_DEVICE: u32 = 0x8;
    pub(super) const META_GROUPS: u32 = 0x10;
    pub(super) const WIDE: u32 = 0x80;
    pub(super) const CHECKSUM_SEED: u32 = 0x2000;
    pub(super) const ENCRYPTED_FILES: u32 = 0x10000;
    /// File types, extents, 64 bits, multiple mounts, flexible groups, attributes in inodes, large directories, inline data, case folding.
    pub(super) const KNOWN: u32 = 0x2
        | RECOVER
        | META_GROUPS
        | 0x40
        | WIDE
        | 0x100
        | 0x200
        | 0x400
        | CHECKSUM_SEED
        | 0x4000
        | 0x8000
        | ENCRYPTED_FILES
        | 0x20000;
}
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_CHECKSUMS: u32 = 0x400;

/// An open file system.
pub(crate) struct Ext {
    device: Device,
    info: Info,
    layout: Layout,
}

/// What the superblock says.
struct Layout {
    block_size: u64,
    blocks: u64,
    first_block: u64,
    blocks_per_group: u64,
    inodes: u64,
    inodes_per_group: u64,
    inode_size: usize,
    descriptor_size: u64,
    incompat: u32,
    ro_compat: u32,
    first_meta_group: u64,
    /// What all checksums of metadata begin with; `None` when there are none.
    seed: Option<u32>,
    journal: u64,
    label: String,
}

impl Ext {
    pub(crate) fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source)?;
        let layout = Layout::read(&device)?;
        let mut ext = Self::of(device, layout);
        if ext.layout.incompat & incompat::RECOVER != 0 {
            let patches = journal::replay(&ext)?;
            if !patches.is_empty() {
                let overlay = Overlay::new(ext.device.source().clone(), ext.layout.block_size, patches);
                let device = Device::new(Arc::new(overlay))?;
                // The superblock may be among what the journal changes.
                let layout = Layout::read(&device)?;
                ext = Self::of(device, layout);
            }
        }
        if ext.inode(ROOT)?.kind() != NodeKind::Folder {
            return Err(Error::damaged("the root of the file system is no folder"));
        }
        Ok(ext)
    }

    fn of(device: Device, layout: Layout) -> Self {
        let info = Info {
            kind: Kind::Ext,
            label: layout.label.clone(),
            root: Node(0, ROOT),
            ignores_case: false,
            has_owners: true,
            lacks: None,
        };
        Self { device, info, layout }
    }

    fn block_size(&self) -> u64 {
        self.layout.block_size
    }

    /// A block of metadata.
    fn block(&self, number: u64) -> Result<Vec<u8>> {
        if number == 0 || number >= self.layout.blocks {
            return Err(Error::damaged(format!(
                "block {number} is wanted, which the file system does not have"
            )));
        }
        self.device.block(number * self.block_size(), self.block_size() as usize)
    }

    /// The descriptor of a group.
    fn descriptor(&self, group: u64) -> Result<Vec<u8>> {
        let layout = &self.layout;
        let per_block = layout.block_size / layout.descriptor_size;
        let nth = group / per_block;
        let block = if layout.incompat & incompat::META_GROUPS == 0 || nth < layout.first_meta_group {
            layout.first_block + 1 + nth
        } else {
            let first = nth * per_block;
            (first.saturating_mul(layout.blocks_per_group))
                .saturating_add(layout.first_block + u64::from(layout.has_superblock(first)))
        };
        if block >= layout.blocks {
            return Err(Error::damaged(format!("group {group} is behind the end of the file system")));
        }
        let at = block * layout.block_size + group % per_block * layout.descriptor_size;
        let mut descriptor = self.device.block(at, layout.descriptor_size as usize)?;
        if let Some(seed) = layout.seed {
            let stored = descriptor.le16(0x1E)?;
            descriptor.get_mut(0x1E..0x20).unwrap_or_default().fill(0);
            let computed = crc32c(crc32c(seed, &(group as u32).to_le_bytes()), &descriptor);
            if computed as u16 != stored {
                return Err(Error::damaged(format!("the checksum of group {group} does not hold")));
            }
        }
        Ok(descriptor)
    }
}

impl Layout {
    fn read(device: &Device) -> Result<Self> {
        let sb = device.block(1024, 1024)?;
        if sb.le16(56)? != 0xEF53 {
            return Err(Error::damaged("no superblock of ext"));
        }
        let revision = sb.le32(76)?;
        let (incompat, ro_compat) = if revision == 0 { (0, 0) } else { (sb.le32(96)?, sb.le32(100)?) };
        if ro_compat & RO_CHECKSUMS != 0 && crc32c(!0, sb.part(0, 1020)?) != sb.le32(1020)? {
            return Err(Error::damaged("the checksum of the superblock does not hold"));
        }
        if incompat & incompat::JOURNAL_DEVICE != 0 {
            return Err(Error::unsupported("this is the journal of another file system"));
        }
        if incompat & !incompat::KNOWN != 0 {
            let unknown = incompat & !incompat::KNOWN;
            return Err(Error::unsupported(format!(
                "features of ext ({unknown:#x}) that this version does not know"
            )));
        }
        let shift = sb.le32(24)?;
        if shift > 6 {
            return Err(Error::damaged("a block size that ext cannot have"));
        }
        let block_size = 1024_u64 << shift;
        let wide = incompat & incompat::WIDE != 0;
        let seed = (ro_compat & RO_CHECKSUMS != 0).then_some(if incompat & incompat::CHECKSUM_SEED != 0 {
            sb.le32(624)?
        } else {
            crc32c(!0, sb.part(104, 16)?)
        });
        let layout = Self {
            block_size,
            blocks: u64::from(sb.le32(4)?) | if wide { u64::from(sb.le32(336)?) << 32 } else { 0 },
            first_block: sb.le32(20)?.into(),
            blocks_per_group: sb.le32(32)?.into(),
            inodes: sb.le32(0)?.into(),
            inodes_per_group: sb.le32(40)?.into(),
            inode_size: if revision == 0 { 128 } else { sb.le16(88)?.into() },
            descriptor_size: if wide { sb.le16(254)?.into() } else { 32 },
            incompat,
            ro_compat,
            first_meta_group: sb.le32(260)?.into(),
            seed,
            journal: sb.le32(224)?.into(),
            label: text(sb.part(120, 16)?),
        };
        let sane = layout.blocks_per_group > 0
            && layout.inodes_per_group > 0
            && (128..=block_size as usize).contains(&layout.inode_size)
            && layout.inode_size.is_power_of_two()
            && (32..=1024.min(block_size)).contains(&layout.descriptor_size)
            && layout.descriptor_size.is_power_of_two()
            && layout.first_block <= 1
            && layout.blocks.checked_mul(block_size).is_some();
        if !sane {
            return Err(Error::damaged("the superblock contradicts itself"));
        }
        if layout.blocks * block_size > device.size() {
            return Err(Error::damaged(format!(
                "the file system has {} bytes, its volume only {}",
                layout.blocks * block_size,
                device.size()
            )));
        }
        Ok(layout)
    }

    /// Whether the first block of a group is a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        let is_power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        self.ro_compat & RO_SPARSE_SUPER == 0 || group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
    }
}

/// A label: up to its first zero byte.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

impl FileSystem for Ext {
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
        inode.refuse_encrypted()?;
        if inode.size() > LONGEST_LINK {
            return Err(Error::damaged("a symbolic link that is too long"));
        }
        match inode.fast_link()? {
            Some(target) => Ok(target),
            None => map::content(self, &inode)?.read_all(LONGEST_LINK as usize),
        }
    }

    fn open(&self, file: Node) -> Result<File> {
        let inode = self.inode(file.1)?;
        if inode.kind() != NodeKind::File {
            return Err(Error::wrong_type("not a regular file"));
        }
        inode.refuse_encrypted()?;
        map::content(self, &inode)
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>> {
        let inode = self.inode(node.1)?;
        Ok(xattr::read(self, &inode)?.into_iter().filter_map(xattr::Attribute::into_visible).collect())
    }
}

/// That what is asked for needs a key.
fn encrypted() -> Error {
    Error::new(
        ErrorKind::Encrypted,
        "encrypted by the guest's file system (fscrypt); its key is not on the disk",
    )
}
