//! exFAT.
//!
//! Facts are from Microsoft's "exFAT file system specification".

use std::sync::Arc;

use vmdk::ReadAt;

use crate::clusters::{Clusters, time};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fat;
use crate::fields::{Fields, units, utf16};
use crate::file::{Extent, File, Place};
use crate::system::{Entry, FileSystem, Info, Kind, MOST_ENTRIES, Node, NodeKind, Stat, Time, Xattr};

/// The root has no entries that could be its name.
const ROOT: Node = Node(0, 0);
const LARGEST_FOLDER: u64 = 256 << 20;

mod entry {
    pub(super) const LABEL: u8 = 0x83;
    pub(super) const FILE: u8 = 0x85;
    pub(super) const STREAM: u8 = 0xC0;
    pub(super) const NAME: u8 = 0xC1;
}

/// An open file system.
pub(crate) struct ExFat {
    device: Device,
    info: Info,
    clusters: Clusters,
    root: u64,
}

/// What the second entry of a set says of the content.
struct Stream {
    first: u64,
    /// Bytes that were written; what is behind them reads as zeros.
    valid: u64,
    size: u64,
    is_run: bool,
}

impl ExFat {
    pub(crate) fn open(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source)?;
        let boot = device.block(0, 512)?;
        if boot.part(3, 8)? != b"EXFAT   " || boot.part(510, 2)? != [0x55, 0xAA] {
            return Err(Error::damaged("the first sector is not one of exFAT"));
        }
        let (sector_shift, cluster_shift) = (u32::from(boot.byte(108)?), u32::from(boot.byte(109)?));
        if !(9..=12).contains(&sector_shift) || sector_shift + cluster_shift > 25 {
            return Err(Error::damaged("sectors or clusters of a size that exFAT cannot have"));
        }
        check_boot_region(&device, 1 << sector_shift)?;
        let sector = 1_u64 << sector_shift;
        // The second table is of use only to a kind of exFAT that nobody makes.
        let (table, table_sectors) = (u64::from(boot.le32(80)?) * sector, u64::from(boot.le32(84)?));
        let clusters = Clusters {
            size: sector << cluster_shift,
            count: boot.le32(92)?.into(),
            heap: u64::from(boot.le32(88)?) * sector,
            table,
            bits: 32,
        };
        if clusters.heap + clusters.count * clusters.size > device.size()
            || (clusters.count + 2) * 4 > table_sectors * sector
        {
            return Err(Error::damaged("the volume is smaller than its exFAT"));
        }
        let info = Info {
            kind: Kind::ExFat,
            label: String::new(),
            root: ROOT,
            ignores_case: true,
            has_owners: false,
            lacks: None,
        };
        let mut exfat = Self { device, info, clusters, root: boot.le32(96)?.into() };
        exfat.info.label = exfat.label()?;
        Ok(exfat)
    }

    fn label(&self) -> Result<String> {
        let mut label = Vec::new();
        self.entries(ROOT, |_, bytes| {
            if bytes.byte(0)? == entry::LABEL {
                let length = usize::from(bytes.byte(1)?).min(11);
                label = utf16(units(bytes.part(2, length * 2)?));
            }
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&label).into_owned())
    }

    /// Where the bytes of a folder are.
    fn folder(&self, node: Node) -> Result<Vec<Extent>> {
        if node == ROOT {
            return self.clusters.chain(&self.device, self.root, None);
        }
        let (stat, stream) = self.node(node)?;
        if stat.kind != NodeKind::Folder {
            return Err(Error::wrong_type("not a folder"));
        }
        self.extents(&stream)
    }

    fn extents(&self, stream: &Stream) -> Result<Vec<Extent>> {
        let clusters = stream.size.div_ceil(self.clusters.size);
        match (clusters, stream.is_run) {
            (0, _) => Ok(Vec::new()),
            (_, true) => self.clusters.run(stream.first, clusters),
            (_, false) => self.clusters.chain(&self.device, stream.first, Some(clusters)),
        }
    }

    /// Each entry of a folder, with its place on the volume.
    fn entries(&self, folder: Node, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let extents = self.folder(folder)?;
        if extents.iter().map(|extent| extent.length).sum::<u64>() > LARGEST_FOLDER {
            return Err(Error::too_large("a folder of more than 256 MiB"));
        }
        for extent in &extents {
            let Place::Device(start) = extent.place else { continue };
            for at in (start..start + extent.length).step_by(32) {
                let bytes = self.device.block(at, 32)?;
                if bytes.byte(0)? == 0 {
                    return Ok(());
                }
                each(at, &bytes)?;
            }
        }
        Ok(())
    }

    /// What the first two entries of a node say.
    fn node(&self, node: Node) -> Result<(Stat, Stream)> {
        let file = self.device.block(node.0, 32)?;
        let stream = self.device.block(node.1, 32)?;
        if file.byte(0)? != entry::FILE || stream.byte(0)? != entry::STREAM {
            return Err(Error::damaged("no entries of a file where they should be"));
        }
        let stamp = |at: usize, offset_at: usize, hundredths: u32| -> Result<Time> {
            let stamp = file.le32(at)?;
            let mut moment = time((stamp >> 16) as u16, stamp as u16);
            // Quarters of an hour from UTC, in seven bits with a sign; without the eighth bit it is not known.
            let offset = file.byte(offset_at)?;
            if offset & 0x80 != 0 {
                moment.seconds -= i64::from((offset << 1) as i8 >> 1) * 900;
            }
            moment.seconds += i64::from(hundredths / 100);
            moment.nanoseconds = hundredths % 100 * 10_000_000;
            Ok(moment)
        };
        let created = stamp(8, 22, file.byte(20)?.min(199).into())?;
        let modified = stamp(12, 23, file.byte(21)?.min(199).into())?;
        let accessed = stamp(16, 24, 0)?;
        let attributes = file.le16(4)?;
        let size = stream.le64(24)?;
        let stream = Stream {
            first: stream.le32(20)?.into(),
            valid: stream.le64(8)?,
            size,
            is_run: stream.byte(1)? & 2 != 0,
        };
        if stream.valid > size || size > self.clusters.count * self.clusters.size {
            return Err(Error::damaged("a file larger than its volume"));
        }
        let mut stat = fat::stat((attributes & 0x3F) as u8, size, [modified, accessed], Some(created));
        stat.attributes = Some(attributes.into());
        Ok((stat, stream))
    }
}

/// The twelfth sector repeats a checksum of those before, but for three bytes that change in use.
fn check_boot_region(device: &Device, sector: usize) -> Result<()> {
    let region = device.block(0, sector * 12)?;
    let (checked, stored) = region.split_at_checked(sector * 11).unwrap_or_default();
    let mut sum = 0_u32;
    for (at, &byte) in checked.iter().enumerate() {
        if !matches!(at, 106 | 107 | 112) {
            sum = sum.rotate_right(1).wrapping_add(byte.into());
        }
    }
    match stored.le32(0)? == sum {
        true => Ok(()),
        false => Err(Error::damaged("the checksum of the boot region does not hold")),
    }
}

/// The entries of a file as they come.
struct Set {
    file: u64,
    stream: Option<u64>,
    attributes: u16,
    units: Vec<u16>,
    name_length: usize,
    /// Entries still to come.
    left: u8,
    stored: u16,
    sum: u16,
}

fn add(mut sum: u16, bytes: &[u8], skip: std::ops::Range<usize>) -> u16 {
    for (at, &byte) in bytes.iter().enumerate() {
        if !skip.contains(&at) {
            sum = sum.rotate_right(1).wrapping_add(byte.into());
        }
    }
    sum
}

impl FileSystem for ExFat {
    fn info(&self) -> &Info {
        &self.info
    }

    fn stat(&self, node: Node) -> Result<Stat> {
        match node {
            ROOT => Ok(fat::stat(0x10, 0, [Time::default(); 2], None)),
            node => Ok(self.node(node)?.0),
        }
    }

    fn list(&self, folder: Node) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut open: Option<Set> = None;
        self.entries(folder, |at, bytes| {
            let kind = bytes.byte(0)?;
            let Some(set) = &mut open else {
                if kind == entry::FILE {
                    open = Some(Set {
                        file: at,
                        stream: None,
                        attributes: bytes.le16(4)?,
                        units: Vec::new(),
                        name_length: 0,
                        left: bytes.byte(1)?,
                        stored: bytes.le16(2)?,
                        sum: add(0, bytes, 2..4),
                    });
                }
                return Ok(());
            };
            if kind & 0xC0 != 0xC0 || set.left == 0 {
                return Err(Error::damaged("the entries of a file are not all there"));
            }
            set.left -= 1;
            set.sum = add(set.sum, bytes, 0..0);
            match kind {
                entry::STREAM => {
                    set.stream = Some(at);
                    set.name_length = bytes.byte(3)?.into();
                }
                entry::NAME => set.units.extend(units(bytes.part(2, 30)?)),
                _ => {}
            }
            if set.left > 0 {
                return Ok(());
            }
            let Some(set) = open.take() else { return Ok(()) };
            let stream = set.stream.filter(|_| set.units.len() >= set.name_length && set.sum == set.stored);
            let stream =
                stream.ok_or_else(|| Error::damaged("the checksum of a file's entries does not hold"))?;
            if found.len() >= MOST_ENTRIES {
                return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
            }
            let kind = if set.attributes & 0x10 != 0 { NodeKind::Folder } else { NodeKind::File };
            let name = utf16(set.units.into_iter().take(set.name_length));
            found.push(Entry { name, node: Node(set.file, stream), kind: Some(kind) });
            Ok(())
        })?;
        match open {
            None => Ok(found),
            Some(_) => Err(Error::damaged("the entries of a file are not all there")),
        }
    }

    fn read_link(&self, _: Node) -> Result<Vec<u8>> {
        Err(Error::wrong_type("not a symbolic link"))
    }

    fn open(&self, file: Node) -> Result<File> {
        let (stat, stream) = match file {
            ROOT => return Err(Error::wrong_type("not a regular file")),
            file => self.node(file)?,
        };
        if stat.kind != NodeKind::File {
            return Err(Error::wrong_type("not a regular file"));
        }
        let mut extents = self.extents(&stream)?;
        extents.retain(|extent| extent.start < stream.valid);
        if let Some(last) = extents.last_mut() {
            last.length = last.length.min(stream.valid - last.start);
        }
        File::new(self.device.clone(), stream.size, extents)
    }

    fn xattrs(&self, _: Node) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }
}
