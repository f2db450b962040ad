//! NTFS 3.0 and 3.1.
//!
//! Facts are from the documentation of the Linux-NTFS project and from Microsoft's "[MS-FSCC]: File System Control Codes" (reparse points,
//! attributes) and "[MS-XCA]: Xpress Compression Algorithm" (LZNT1).

mod attribute;
mod index;
mod lznt1;
mod record;
mod reparse;

use std::sync::Arc;

use vmdk::ReadAt;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::fields::{Fields, units, utf16};
use crate::file::File;
use crate::ntfs::attribute::{Attribute, kind};
use crate::ntfs::record::Record;
use crate::system::{Entry, FileSystem, Info, Kind, LONGEST_LINK, Node, NodeKind, Stat, Time, Xattr};

/// The record of the root folder, and of the volume's label.
const ROOT: u64 = 5;
const VOLUME: u64 = 3;
/// Records below are those of the file system itself.
const FIRST_OF_USERS: u64 = 16;
/// The most bytes of a stream that an extended attribute of Linux can hold.
const LARGEST_STREAM: u64 = 64 << 10;
const READ_ONLY: u32 = 0x1;

/// An open file system.
pub(crate) struct Ntfs {
    device: Device,
    info: Info,
    /// Bytes of a cluster.
    cluster: u64,
    clusters: u64,
    record_size: usize,
    /// The table of all records; it is a file itself.
    table: File,
}

impl Ntfs {
    pub(crate) fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source)?;
        let boot = device.block(0, 512)?;
        if boot.part(3, 8)? != b"NTFS    " {
            return Err(Error::damaged("the first sector is not one of NTFS"));
        }
        let sector = u64::from(boot.le16(11)?);
        // Large clusters are said by the power of two, as a negative number.
        let per_cluster = match boot.byte(13)? {
            count @ 1..=128 => u64::from(count),
            shift @ 0xF4.. => 1 << (256 - u32::from(shift)),
            _ => 0,
        };
        let cluster = sector * per_cluster;
        let record_size = match boot.byte(64)? as i8 {
            count @ 1.. => cluster * count as u64,
            shift @ -16..=-1 => 1 << -shift,
            _ => 0,
        };
        let sane = (256..=4096).contains(&sector)
            && cluster.is_power_of_two()
            && (512..=2 << 20).contains(&cluster)
            && record_size.is_power_of_two()
            && (512..=65536).contains(&record_size);
        if !sane {
            return Err(Error::damaged("the first sector of the NTFS contradicts itself"));
        }
        let sectors = boot.le64(40)?;
        let clusters = sectors.checked_mul(sector).map(|bytes| bytes / cluster);
        let clusters = clusters.filter(|&clusters| clusters * cluster <= device.size());
        let clusters = clusters.ok_or_else(|| Error::damaged("the volume is smaller than its NTFS"))?;
        let info = Info {
            kind: Kind::Ntfs,
            label: String::new(),
            root: Node(0, ROOT),
            ignores_case: true,
            has_owners: false,
            lacks: None,
        };
        let table = File::new(device.clone(), 0, Vec::new())?;
        let mut ntfs = Self { device, info, cluster, clusters, record_size: record_size as usize, table };
        ntfs.table = ntfs.find_table(boot.le64(48)?)?;
        let volume = ntfs.record(VOLUME)?;
        if let Some(name) = volume.find(kind::VOLUME_NAME, &[]) {
            ntfs.info.label = String::from_utf8_lossy(&utf16(units(name.resident()?))).into_owned();
        }
        let root = ntfs.record(ROOT)?;
        ntfs.info.root = Node(root.sequence.into(), ROOT);
        if !root.is_folder {
            return Err(Error::damaged("the root of the file system is no folder"));
        }
        Ok(ntfs)
    }

    /// The record of a node, if it is still that of the node.
    fn node(&self, node: Node) -> Result<Record> {
        let record = self.record(node.1)?;
        match node.0 == u64::from(record.sequence) {
            true => Ok(record),
            false => {
                Err(Error::damaged(format!("record {} belongs to another file than the folder says", node.1)))
            }
        }
    }

    /// The content without a name.
    fn data<'a>(&self, record: &'a Record) -> Option<&'a Attribute> {
        record.find(kind::DATA, &[])
    }

    fn kind(&self, record: &Record) -> Result<NodeKind> {
        if reparse::link(record)?.is_some() {
            return Ok(NodeKind::Link);
        }
        if record.is_folder {
            return Ok(NodeKind::Folder);
        }
        Ok(NodeKind::File)
    }
}

/// Hundreds of nanoseconds since 1601.
fn time(stored: u64) -> Time {
    let seconds = (stored / 10_000_000) as i64 - 11_644_473_600;
    Time::new(seconds, (stored % 10_000_000) as u32 * 100)
}

impl FileSystem for Ntfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn stat(&self, node: Node) -> Result<Stat> {
        let record = self.node(node)?;
        let standard =
            record.find(kind::STANDARD, &[]).ok_or_else(|| Error::damaged("a file without its times"))?;
        let standard = standard.resident()?;
        let attributes = standard.le32(32)?;
        let kind = self.kind(&record)?;
        let size = match kind {
            NodeKind::Link => reparse::link(&record)?.map_or(0, |target| target.len() as u64),
            _ => self.data(&record).map_or(0, Attribute::size),
        };
        let mode = if kind == NodeKind::Folder { 0o755 } else { 0o644 };
        // For folders the bit means something else.
        let is_read_only = kind == NodeKind::File && attributes & READ_ONLY != 0;
        Ok(Stat {
            kind,
            size,
            mode: if is_read_only { mode & !0o222 } else { mode },
            uid: 0,
            gid: 0,
            links: record.names()?,
            modified: time(standard.le64(8)?),
            accessed: time(standard.le64(24)?),
            changed: time(standard.le64(16)?),
            created: Some(time(standard.le64(0)?)),
            attributes: Some(attributes),
        })
    }

    fn list(&self, folder: Node) -> Result<Vec<Entry>> {
        let record = self.node(folder)?;
        if !record.is_folder {
            return Err(Error::wrong_type("not a folder"));
        }
        index::list(self, &record)
    }

    fn read_link(&self, link: Node) -> Result<Vec<u8>> {
        let target =
            reparse::link(&self.node(link)?)?.ok_or_else(|| Error::wrong_type("not a symbolic link"))?;
        match target.len() as u64 <= LONGEST_LINK {
            true => Ok(target),
            false => Err(Error::damaged("a symbolic link that is too long")),
        }
    }

    fn open(&self, file: Node) -> Result<File> {
        let record = self.node(file)?;
        if self.kind(&record)? != NodeKind::File {
            return Err(Error::wrong_type("not a regular file"));
        }
        reparse::refuse(&record)?;
        match self.data(&record) {
            Some(_) => attribute::content(self, &record, kind::DATA, &[]),
            None => File::new(self.device.clone(), 0, Vec::new()),
        }
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>> {
        let record = self.node(node)?;
        let mut found = Vec::new();
        for stream in
            record.attributes.iter().filter(|attribute| attribute.kind == kind::DATA && attribute.is_first())
        {
            if stream.name.is_empty() {
                continue;
            }
            let name = utf16(stream.name.iter().copied());
            if stream.size() > LARGEST_STREAM {
                let name = String::from_utf8_lossy(&name).into_owned();
                let size = stream.size();
                return Err(Error::too_large(format!(
                    "a stream \"{name}\" of {size} bytes, which no attribute can hold"
                )));
            }
            let value = attribute::content(self, &record, kind::DATA, &stream.name)?
                .read_all(LARGEST_STREAM as usize)?;
            found.push(Xattr { name: [b"user.", name.as_slice()].concat(), value });
        }
        Ok(found)
    }
}
