//! btrfs: one device or several, all subvolumes in one tree.
//!
//! Facts are from the project's documentation ("On-disk Format").

mod chunks;
mod content;
mod tree;

use std::sync::Arc;

use vmdk::ReadAt;

use crate::btrfs::chunks::Chunks;
use crate::btrfs::tree::{Key, Nodes, no_nodes};
use crate::checksum::crc32c;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ext::text;
use crate::fields::Fields;
use crate::file::File;
use crate::system::{
    Entry, FileSystem, Info, Kind, LONGEST_LINK, MOST_ENTRIES, MOST_XATTR_BYTES, Node, NodeKind, Stat, Time,
    Xattr,
};

/// Where the first superblock is, and its bytes.
const SUPERBLOCK: u64 = 0x1_0000;
const SUPERBLOCK_SIZE: usize = 4096;
/// The tree that all others are found in is given by the superblock; the top-level subvolume and the root folder of each have these numbers.
const TOP: u64 = 5;
const FIRST_INODE: u64 = 256;

/// Kinds of items.
mod item {
    pub(super) const INODE: u8 = 1;
    pub(super) const XATTR: u8 = 24;
    pub(super) const FOLDER_INDEX: u8 = 96;
    pub(super) const EXTENT: u8 = 108;
    pub(super) const ROOT: u8 = 132;
    pub(super) const CHUNK: u8 = 228;
}

mod incompat {
    pub(super) const OTHER_UUID: u64 = 0x400;
    /// Back references, default subvolume, mixed groups, LZO, zstd, large metadata, many links, RAID 5 and 6, skinny items, no items for
    /// holes, a UUID of its own for metadata, three and four copies.
    pub(super) const KNOWN: u64 =
        0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | OTHER_UUID | 0x800;
}

/// An open file system.
pub(crate) struct Btrfs {
    /// The space of logical addresses.
    device: Device,
    nodes: Nodes,
    info: Info,
    layout: Layout,
}

/// What the superblock says.
struct Layout {
    node_size: usize,
    sector_size: usize,
    root: u64,
    root_level: u8,
    chunk_root: u64,
    chunk_root_level: u8,
    has_log: bool,
    device: u64,
    devices: u64,
    /// What nodes name as their file system.
    uuid: [u8; 16],
    own_uuid: [u8; 16],
    label: String,
    system_chunks: Vec<u8>,
}

impl Layout {
    fn read(device: &Device) -> Result<Self> {
        let sb = device.block(SUPERBLOCK, SUPERBLOCK_SIZE)?;
        if sb.part(64, 8)? != b"_BHRfS_M" {
            return Err(Error::damaged("no superblock of btrfs"));
        }
        if sb.le16(196)? != 0 {
            return Err(Error::unsupported("checksums of btrfs other than CRC-32C"));
        }
        if !crc32c(!0, sb.part(32, SUPERBLOCK_SIZE - 32)?) != sb.le32(0)? {
            return Err(Error::damaged("the checksum of the superblock does not hold"));
        }
        let incompat = sb.le64(188)?;
        if incompat & !incompat::KNOWN != 0 {
            let unknown = incompat & !incompat::KNOWN;
            return Err(Error::unsupported(format!(
                "features of btrfs ({unknown:#x}) that this version does not know"
            )));
        }
        let (sector_size, node_size) = (sb.le32(144)? as usize, sb.le32(148)? as usize);
        let system = sb.le32(160)? as usize;
        let sane = sector_size.is_power_of_two()
            && (512..=65536).contains(&sector_size)
            && node_size.is_power_of_two()
            && (sector_size..=65536).contains(&node_size)
            && system <= 2048;
        if !sane {
            return Err(Error::damaged("the superblock contradicts itself"));
        }
        Ok(Self {
            node_size,
            sector_size,
            root: sb.le64(80)?,
            root_level: sb.byte(198)?,
            chunk_root: sb.le64(88)?,
            chunk_root_level: sb.byte(199)?,
            has_log: sb.le64(96)? != 0,
            device: sb.le64(201)?,
            devices: sb.le64(136)?,
            uuid: sb.array(if incompat & incompat::OTHER_UUID != 0 { 571 } else { 32 })?,
            own_uuid: sb.array(32)?,
            label: text(sb.part(299, 256)?),
            system_chunks: sb.part(811, system)?.to_vec(),
        })
    }
}

impl Btrfs {
    /// Opens the file system of `source`; its other devices are looked for among `others`.
    pub(crate) fn open(source: Arc<dyn ReadAt>, others: &[Arc<dyn ReadAt>]) -> Result<Self> {
        let layout = Layout::read(&Device::new(source.clone())?)?;
        let mut devices = vec![(layout.device, source)];
        for other in others {
            let Ok(found) = Layout::read(&Device::new(other.clone())?) else { continue };
            if found.own_uuid == layout.own_uuid && devices.iter().all(|(number, _)| *number != found.device)
            {
                devices.push((found.device, other.clone()));
            }
        }
        if (devices.len() as u64) < layout.devices {
            let (here, all) = (devices.len(), layout.devices);
            return Err(Error::not_found(format!(
                "the file system has {all} devices, and {here} of them are here"
            )));
        }
        // The tree of chunks says where logical addresses are; it is itself at such, which the superblock knows.
        let mut chunks = Chunks::new(devices);
        let mut at = 0;
        while at < layout.system_chunks.len() {
            let start = layout.system_chunks.le64(at + 9)?;
            at += 17 + chunks.push(start, layout.system_chunks.get(at + 17..).unwrap_or_default())?;
        }
        let info = Info {
            kind: Kind::Btrfs,
            label: layout.label.clone(),
            root: Node(TOP, FIRST_INODE),
            ignores_case: false,
            has_owners: true,
            lacks: layout.has_log.then(|| {
                "what was synced since the last commit, 30 s at most, is in a log that is not replayed"
                    .to_owned()
            }),
        };
        let mut btrfs =
            Self { device: Device::new(Arc::new(chunks.clone()))?, nodes: no_nodes(), info, layout };
        let (root, level) = (btrfs.layout.chunk_root, btrfs.layout.chunk_root_level);
        btrfs.items(
            root,
            level,
            Key::first(256, item::CHUNK),
            Key::last(256, item::CHUNK),
            &mut |key, bytes| chunks.push(key.offset, bytes).map(drop),
        )?;
        btrfs.device = Device::new(Arc::new(chunks))?;
        if btrfs.stat(btrfs.info.root)?.kind != NodeKind::Folder {
            return Err(Error::damaged("the root of the file system is no folder"));
        }
        Ok(btrfs)
    }

    /// Where the root of a subvolume is, and its level.
    fn subvolume(&self, number: u64) -> Result<(u64, u8)> {
        let mut found = None;
        let (root, level) = (self.layout.root, self.layout.root_level);
        self.items(
            root,
            level,
            Key::first(number, item::ROOT),
            Key::last(number, item::ROOT),
            &mut |_, bytes| {
                found = Some((bytes.le64(176)?, bytes.byte(238)?));
                Ok(())
            },
        )?;
        found.ok_or_else(|| Error::damaged(format!("there is no subvolume {number}")))
    }

    /// The items of a kind that a node has, in order.
    fn of_node(&self, node: Node, kind: u8, each: &mut dyn FnMut(Key, &[u8]) -> Result<()>) -> Result<()> {
        let (root, level) = self.subvolume(node.0)?;
        self.items(root, level, Key::first(node.1, kind), Key::last(node.1, kind), each)
    }
}

impl FileSystem for Btrfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn stat(&self, node: Node) -> Result<Stat> {
        let mut found = None;
        self.of_node(node, item::INODE, &mut |_, inode| {
            let time = |at: usize| Ok(Time::new(inode.le64(at)? as i64, inode.le32(at + 8)?));
            let mode = inode.le32(52)?;
            found = Some(Stat {
                kind: Stat::kind_of_mode(mode),
                size: inode.le64(16)?,
                mode: mode & 0o7777,
                uid: inode.le32(44)?,
                gid: inode.le32(48)?,
                links: inode.le32(40)?,
                modified: time(136)?,
                accessed: time(112)?,
                changed: time(124)?,
                created: Some(time(148)?),
                attributes: None,
            });
            Ok(())
        })?;
        found.ok_or_else(|| Error::damaged(format!("inode {} of subvolume {} is missing", node.1, node.0)))
    }

    fn list(&self, folder: Node) -> Result<Vec<Entry>> {
        if self.stat(folder)?.kind != NodeKind::Folder {
            return Err(Error::wrong_type("not a folder"));
        }
        let mut entries = Vec::new();
        self.of_node(folder, item::FOLDER_INDEX, &mut |_, entry| {
            if entries.len() >= MOST_ENTRIES {
                return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
            }
            let number = entry.le64(0)?;
            let node = match entry.byte(8)? {
                item::INODE => Node(folder.0, number),
                // Another subvolume; a place of one that a snapshot did not take along has no tree.
                item::ROOT if self.subvolume(number).is_ok() => Node(number, FIRST_INODE),
                item::ROOT => return Ok(()),
                _ => {
                    return Err(Error::damaged(
                        "an entry of a folder that names neither a file nor a subvolume",
                    ));
                }
            };
            let kind = match entry.byte(29)? {
                1 => Some(NodeKind::File),
                2 => Some(NodeKind::Folder),
                7 => Some(NodeKind::Link),
                3..=6 => Some(NodeKind::Special),
                _ => None,
            };
            let name = entry.part(30, entry.le16(27)?.into())?.to_vec();
            entries.push(Entry { name, node, kind });
            Ok(())
        })?;
        Ok(entries)
    }

    fn read_link(&self, link: Node) -> Result<Vec<u8>> {
        let stat = self.stat(link)?;
        match stat.kind {
            NodeKind::Link if stat.size <= LONGEST_LINK => {
                content::open(self, link, &stat)?.read_all(LONGEST_LINK as usize)
            }
            NodeKind::Link => Err(Error::damaged("a symbolic link that is too long")),
            _ => Err(Error::wrong_type("not a symbolic link")),
        }
    }

    fn open(&self, file: Node) -> Result<File> {
        let stat = self.stat(file)?;
        match stat.kind {
            NodeKind::File => content::open(self, file, &stat),
            _ => Err(Error::wrong_type("not a regular file")),
        }
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>> {
        let mut found = Vec::new();
        let mut total = 0;
        self.of_node(node, item::XATTR, &mut |_, bytes| {
            // Names of one hash share an item.
            let mut at = 0;
            while at < bytes.len() {
                let (value, name) = (usize::from(bytes.le16(at + 25)?), usize::from(bytes.le16(at + 27)?));
                let name_bytes = bytes.part(at + 30, name)?.to_vec();
                // Properties are said otherwise by Linux.
                if !name_bytes.starts_with(b"btrfs.") {
                    found
                        .push(Xattr { name: name_bytes, value: bytes.part(at + 30 + name, value)?.to_vec() });
                }
                at += 30 + name + value;
                total += name + value;
            }
            match total <= MOST_XATTR_BYTES {
                true => Ok(()),
                false => Err(Error::too_large("more than 16 MiB of attributes")),
            }
        })?;
        Ok(found)
    }
}
