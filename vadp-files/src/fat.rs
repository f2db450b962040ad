//! FAT12, FAT16 and FAT32 with long names.
//!
//! Facts are from Microsoft's "FAT: General Overview of On-Disk Format" (1.03).

use std::sync::Arc;

use vmdk::ReadAt;

use crate::clusters::{Clusters, time};
use crate::detect::is_fat;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fields::{Fields, units, utf16};
use crate::file::{Extent, File, Place};
use crate::system::{Entry, FileSystem, Info, Kind, MOST_ENTRIES, Node, NodeKind, Stat, Time, Xattr};

/// The root has no entry that could be its name.
const ROOT: Node = Node(0, 0);
const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
/// What an entry of a long name has in place of attributes.
const LONG: u8 = 0x0F;
/// The most bytes of a folder: more than Windows makes, which stops at 2 MiB.
const LARGEST_FOLDER: u64 = 64 << 20;

/// An open file system.
pub(crate) struct Fat {
    device: Device,
    info: Info,
    clusters: Clusters,
    root: Root,
}

/// Where the root is.
enum Root {
    /// Here, of so many bytes.
    Fixed(u64, u64),
    /// In the chain that begins with this cluster.
    Chain(u64),
}

impl Fat {
    pub(crate) fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source)?;
        let boot = device.block(0, 512)?;
        if !is_fat(&boot) {
            return Err(Error::damaged("the first sector is not one of FAT"));
        }
        let sector = u64::from(boot.le16(11)?);
        let size = u64::from(boot.byte(13)?) * sector;
        let either = |short: u16, long: u32| if short != 0 { u64::from(short) } else { u64::from(long) };
        let sectors = either(boot.le16(19)?, boot.le32(32)?);
        let fat_sectors = either(boot.le16(22)?, boot.le32(36)?);
        let is_32 = boot.le16(22)? == 0;
        let root_bytes = u64::from(boot.le16(17)?) * 32;
        let reserved = u64::from(boot.le16(14)?) * sector;
        let tables = u64::from(boot.byte(16)?) * fat_sectors * sector;
        let root_at = reserved + tables;
        let heap = root_at + root_bytes.next_multiple_of(sector);
        let count = (sectors * sector)
            .checked_sub(heap)
            .map(|bytes| bytes / size)
            .filter(|&count| count > 0)
            .ok_or_else(|| Error::damaged("a FAT volume without room for clusters"))?;
        let bits = match count {
            _ if is_32 => 28,
            ..4085 => 12,
            _ => 16,
        };
        // With mirroring off, one of the tables is the one that counts.
        let active = match is_32 {
            true if boot.le16(40)? & 0x80 != 0 => u64::from(boot.le16(40)? & 0x0F),
            _ => 0,
        };
        if (count + 2) * if bits == 28 { 32 } else { bits } as u64 > fat_sectors * sector * 8 {
            return Err(Error::damaged("the table of the FAT is too small for its clusters"));
        }
        if active >= u64::from(boot.byte(16)?) {
            return Err(Error::damaged("the table that counts is one that the FAT does not have"));
        }
        let table = reserved + active * fat_sectors * sector;
        let root = if is_32 { Root::Chain(boot.le32(44)?.into()) } else { Root::Fixed(root_at, root_bytes) };
        let info = Info {
            kind: Kind::Fat,
            label: String::new(),
            root: ROOT,
            ignores_case: true,
            has_owners: false,
            lacks: None,
        };
        let mut fat = Self { device, info, clusters: Clusters { size, count, heap, table, bits }, root };
        fat.info.label = fat.label()?;
        Ok(fat)
    }

    /// The label is an entry of the root.
    fn label(&self) -> Result<String> {
        let mut label = String::new();
        self.entries(&self.folder(ROOT)?, |_, entry, _| {
            let attributes = entry.byte(11)?;
            if attributes & LABEL != 0 && attributes != LONG {
                label = oem(entry.part(0, 11)?).trim_end().to_owned();
            }
            Ok(())
        })?;
        Ok(label)
    }

    /// The 32 bytes of a node.
    fn entry(&self, node: Node) -> Result<Vec<u8>> {
        self.device.block(node.1, 32)
    }

    fn first_cluster(&self, entry: &[u8]) -> Result<u64> {
        let high = if self.clusters.bits == 28 { u64::from(entry.le16(20)?) } else { 0 };
        Ok(high << 16 | u64::from(entry.le16(26)?))
    }

    /// The content of a folder.
    fn folder(&self, node: Node) -> Result<Vec<Extent>> {
        let first = match (node == ROOT, &self.root) {
            (true, Root::Fixed(at, length)) => {
                return Ok(vec![Extent { start: 0, length: *length, place: Place::Device(*at) }]);
            }
            (true, Root::Chain(first)) => *first,
            (false, _) => {
                let entry = self.entry(node)?;
                if entry.byte(11)? & FOLDER == 0 {
                    return Err(Error::wrong_type("not a folder"));
                }
                self.first_cluster(&entry)?
            }
        };
        self.clusters.chain(&self.device, first, None)
    }

    /// Each entry that is in use, with its place on the volume and its long name.
    fn entries(
        &self,
        extents: &[Extent],
        mut each: impl FnMut(u64, &[u8], Option<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        if extents.iter().map(|extent| extent.length).sum::<u64>() > LARGEST_FOLDER {
            return Err(Error::too_large("a folder of more than 64 MiB"));
        }
        let mut long = LongName::default();
        for extent in extents {
            let Place::Device(start) = extent.place else { continue };
            for at in (start..start + extent.length).step_by(32) {
                let entry = self.entry(Node(0, at))?;
                match (entry.byte(0)?, entry.byte(11)?) {
                    (0, _) => return Ok(()),
                    (0xE5, _) => long = LongName::default(),
                    (order, attributes) if attributes & 0x3F == LONG => long.push(order, &entry)?,
                    _ => each(at, &entry, std::mem::take(&mut long).finish(&entry)?)?,
                }
            }
        }
        Ok(())
    }
}

impl FileSystem for Fat {
    fn info(&self) -> &Info {
        &self.info
    }

    fn stat(&self, node: Node) -> Result<Stat> {
        if node == ROOT {
            return Ok(stat(FOLDER, 0, [Time::default(); 2], None));
        }
        let entry = self.entry(node)?;
        let attributes = entry.byte(11)?;
        let mut created = time(entry.le16(16)?, entry.le16(14)?);
        let hundredths = u32::from(entry.byte(13)?.min(199));
        created.seconds += i64::from(hundredths / 100);
        created.nanoseconds = hundredths % 100 * 10_000_000;
        let created = (entry.le16(16)? != 0).then_some(created);
        let times = [time(entry.le16(24)?, entry.le16(22)?), time(entry.le16(18)?, 0)];
        Ok(stat(attributes, entry.le32(28)?.into(), times, created))
    }

    fn list(&self, folder: Node) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        self.entries(&self.folder(folder)?, |at, entry, long| {
            let attributes = entry.byte(11)?;
            if attributes & LABEL != 0
                || entry.part(0, 11)?.starts_with(b". ")
                || entry.part(0, 11)?.starts_with(b".. ")
            {
                return Ok(());
            }
            if found.len() >= MOST_ENTRIES {
                return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
            }
            let name = match long {
                Some(long) => long,
                None => short_name(entry)?,
            };
            found.push(Entry { name, node: Node(0, at), kind: Some(kind(attributes)) });
            Ok(())
        })?;
        Ok(found)
    }

    fn read_link(&self, _: Node) -> Result<Vec<u8>> {
        Err(Error::wrong_type("not a symbolic link"))
    }

    fn open(&self, file: Node) -> Result<File> {
        let entry = if file == ROOT { Vec::new() } else { self.entry(file)? };
        if entry.is_empty() || entry.byte(11)? & FOLDER != 0 {
            return Err(Error::wrong_type("not a regular file"));
        }
        let size = u64::from(entry.le32(28)?);
        let extents = match size {
            0 => Vec::new(),
            _ => {
                let clusters = size.div_ceil(self.clusters.size);
                self.clusters.chain(&self.device, self.first_cluster(&entry)?, Some(clusters))?
            }
        };
        File::new(self.device.clone(), size, extents)
    }

    fn xattrs(&self, _: Node) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }
}

fn kind(attributes: u8) -> NodeKind {
    if attributes & FOLDER != 0 { NodeKind::Folder } else { NodeKind::File }
}

/// Of attributes of DOS, for which Linux makes up modes in the same way.
pub(crate) fn stat(attributes: u8, size: u64, times: [Time; 2], created: Option<Time>) -> Stat {
    let [modified, accessed] = times;
    let kind = kind(attributes);
    let mode = if kind == NodeKind::Folder { 0o755 } else { 0o644 };
    let mode = if attributes & READ_ONLY != 0 { mode & !0o222 } else { mode };
    let attributes = Some(attributes.into());
    Stat {
        kind,
        size,
        mode,
        uid: 0,
        gid: 0,
        links: 1,
        modified,
        accessed,
        changed: modified,
        created,
        attributes,
    }
}

/// A long name as its pieces come, the last one first.
#[derive(Default)]
struct LongName {
    /// Its pieces in the order in which they came; empty when there is none, or when it is broken.
    pieces: Vec<[u16; 13]>,
    /// The number of the piece that comes next.
    next: u8,
    checksum: u8,
}

impl LongName {
    fn push(&mut self, order: u8, entry: &[u8]) -> Result<()> {
        let number = order & 0x3F;
        if order & 0x40 != 0 {
            *self = Self { pieces: Vec::new(), next: number, checksum: entry.byte(13)? };
        }
        if number == 0 || number > 20 || number != self.next || entry.byte(13)? != self.checksum {
            *self = Self::default();
            return Ok(());
        }
        let mut piece = [0; 13];
        let parts = [entry.part(1, 10)?, entry.part(14, 12)?, entry.part(28, 4)?];
        for (unit, stored) in piece.iter_mut().zip(parts.into_iter().flat_map(units)) {
            *unit = stored;
        }
        self.pieces.push(piece);
        self.next -= 1;
        Ok(())
    }

    /// The name, if it is whole and belongs to this entry.
    fn finish(self, entry: &[u8]) -> Result<Option<Vec<u8>>> {
        let sum = entry.part(0, 11)?.iter().fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        if self.pieces.is_empty() || self.next != 0 || sum != self.checksum {
            return Ok(None);
        }
        let name = utf16(self.pieces.into_iter().rev().flatten().take_while(|&unit| unit != 0));
        Ok((!name.is_empty()).then_some(name))
    }
}

/// The name of eight and three characters. Windows NT says by two bits that a part of it was written in lower case.
fn short_name(entry: &[u8]) -> Result<Vec<u8>> {
    let mut base: [u8; 8] = entry.array(0)?;
    let extension: [u8; 3] = entry.array(8)?;
    // The byte that marks a deleted entry is a letter in some code pages.
    if base[0] == 0x05 {
        base[0] = 0xE5;
    }
    let flags = entry.byte(12)?;
    let part = |bytes: &[u8], lower: bool| {
        let text = oem(bytes.trim_suffix_spaces());
        if lower { text.to_lowercase().into_bytes() } else { text.into_bytes() }
    };
    let mut name = part(&base, flags & 0x08 != 0);
    let extension = part(&extension, flags & 0x10 != 0);
    if !extension.is_empty() {
        name.push(b'.');
        name.extend(extension);
    }
    Ok(name)
}

trait TrimSpaces {
    fn trim_suffix_spaces(&self) -> &[u8];
}

impl TrimSpaces for [u8] {
    fn trim_suffix_spaces(&self) -> &[u8] {
        let end = self.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        self.get(..end).unwrap_or_default()
    }
}

/// Text in code page 437, which Linux assumes, too, and which agrees in the letters with what most of Europe had. Which one a short
/// name was written in is said nowhere; a long name, which every system of the last 30 years writes for such a name, needs none.
fn oem(bytes: &[u8]) -> String {
    const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
    let character = |byte: u8| match byte.checked_sub(128) {
        None => char::from(byte),
        Some(upper) => UPPER.chars().nth(upper.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    bytes.iter().copied().map(character).collect()
}
