//! The text descriptor of a disk link, in the form ESXi writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, FolderLock};
use crate::{DiskUuid, Error, ErrorKind, Result, volumes};

/// Bytes of a sector, the unit of extent lines.
pub const SECTOR: u64 = 512;

/// Descriptors are small; anything larger is no descriptor.
const MAX_DESCRIPTOR: u64 = 1 << 20;
const PROVISIONING_KEY: &str = "simProvisioning";

/// The content id of a link: a random 32-bit number that changes with the link's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid(pub u32);

impl Cid {
    /// The parent content id of a link that has no parent.
    pub const NO_PARENT: Self = Self(0xffff_ffff);

    /// A fresh id; the two reserved values are never drawn.
    pub(crate) fn random() -> Result<Self> {
        loop {
            let mut bytes = [0; 4];
            fill_random(&mut bytes)?;
            let cid = u32::from_le_bytes(bytes);
            if cid < 0xffff_fffe {
                return Ok(Self(cid));
            }
        }
    }
}

/// How the space of a base disk is taken from its datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Provisioning {
    /// Space is taken by the first write to it.
    #[default]
    Thin,
    /// Space is reserved at once, but blocks count as allocated when first written.
    LazyThick,
    /// Space is reserved and zeroed at once: all of the disk counts as allocated.
    EagerThick,
}

impl Provisioning {
    fn as_text(self) -> &'static str {
        match self {
            Self::Thin => "thin",
            Self::LazyThick => "lazyZeroedThick",
            Self::EagerThick => "eagerZeroedThick",
        }
    }
}

/// The kind of a link's data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// A base disk: `-flat.vmdk`, every byte at its own offset.
    Flat,
    /// A child over a parent: only the grains that were written.
    Delta(DeltaFormat),
}

/// The format of a child's data file. The links of a chain have the same, as vSphere wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeltaFormat {
    /// `-delta.vmdk`, magic `COWD`, grains of a sector: disks below 2 TiB.
    VmfsSparse,
    /// `-sesparse.vmdk`, grains of 4 KiB: any disk, and what a disk of 2 TiB or more must have.
    SeSparse,
}

impl DeltaFormat {
    /// The smallest capacity in bytes that vmfsSparse cannot have: its sectors are counted in 32 bits.
    pub(crate) const LARGE: u64 = 2 << 40;

    /// The end of the data file's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::VmfsSparse => "-delta.vmdk",
            Self::SeSparse => "-sesparse.vmdk",
        }
    }
}

impl LinkKind {
    const ALL: [Self; 3] =
        [Self::Flat, Self::Delta(DeltaFormat::VmfsSparse), Self::Delta(DeltaFormat::SeSparse)];

    /// `createType`, and the type in the extent line.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Flat => ("vmfs", "VMFS"),
            Self::Delta(DeltaFormat::VmfsSparse) => ("vmfsSparse", "VMFSSPARSE"),
            Self::Delta(DeltaFormat::SeSparse) => ("seSparse", "SESPARSE"),
        }
    }
}

/// A parsed descriptor. What this crate has no use for is kept and written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The content id.
    pub cid: Cid,
    /// The content id which the parent had when this link was made over it.
    pub parent_cid: Cid,
    /// The parent's descriptor: a file name in the same folder, or `/vmfs/volumes/UUID/...` for one in another.
    pub parent_hint: Option<String>,
    /// The change tracking file, a file name in the same folder; absent while tracking is off.
    pub change_track: Option<String>,
    /// Whether the data file is a base disk's or a child's.
    pub kind: LinkKind,
    /// Capacity in sectors of 512 bytes.
    pub sectors: u64,
    /// The data file, a file name in the same folder.
    pub extent_file: String,
    /// Provisioning; meaningful for base disks only.
    pub provisioning: Provisioning,
    /// The disk data base: keys without their `ddb.` prefix.
    pub ddb: BTreeMap<String, String>,
    /// Header keys that are unknown here, in their order.
    pub other: Vec<(String, String)>,
}

impl Descriptor {
    /// Reads and parses a descriptor file.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, or `Io`.
    pub fn load(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path)
            .map_err(|source| Error::io("the disk's descriptor cannot be read", source).at(path))?;
        if !metadata.is_file() || metadata.len() > MAX_DESCRIPTOR {
            return Err(Error::new(ErrorKind::Corrupt, "this is not a disk descriptor").at(path));
        }
        let bytes = fs::read(path)
            .map_err(|source| Error::io("the disk's descriptor cannot be read", source).at(path))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(ErrorKind::Corrupt, "the disk descriptor is not text").at(path))?;
        Self::parse(&text).map_err(|error| error.at(path))
    }

    /// Parses descriptor text.
    ///
    /// # Errors
    /// `Corrupt`, with the offending line.
    pub fn parse(text: &str) -> Result<Self> {
        let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what);
        let mut headers = BTreeMap::new();
        let mut other = Vec::new();
        let mut ddb = BTreeMap::new();
        let mut extents = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ") {
                extents.push(line);
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
                .ok_or_else(|| corrupt(format!("the descriptor line {line:?} is not understood")))?;
            if let Some(key) = key.strip_prefix("ddb.") {
                ddb.insert(key.to_owned(), value.to_owned());
            } else if KNOWN_HEADERS.contains(&key) {
                headers.insert(key, value);
            } else {
                other.push((key.to_owned(), value.to_owned()));
            }
        }
        let required = |key: &str| {
            headers.get(key).copied().ok_or_else(|| corrupt(format!("the descriptor has no {key:?} line")))
        };
        if !matches!(required("version")?, "1" | "3") {
            return Err(corrupt("the descriptor's version is neither 1 nor 3".to_owned()));
        }
        let cid = |key: &str| {
            let value = required(key)?;
            u32::from_str_radix(value, 16)
                .map(Cid)
                .map_err(|_| corrupt(format!("{key}={value} is not a content id of hex digits")))
        };
        let create_type = required("createType")?;
        let kind = LinkKind::ALL
            .into_iter()
            .find(|kind| kind.names().0 == create_type)
            .ok_or_else(|| corrupt(format!("createType {create_type:?} is not one the simulator writes")))?;
        let [extent] = extents.as_slice() else {
            return Err(corrupt(format!("the descriptor has {} extent lines, not one", extents.len())));
        };
        let (sectors, extent_file) = parse_extent(extent, kind)?;
        let parent_hint = headers.get("parentFileNameHint").map(|hint| parent_name(hint)).transpose()?;
        let change_track = headers.get("changeTrackPath").map(|name| plain_name(name)).transpose()?;
        let provisioning = match headers.get(PROVISIONING_KEY).copied() {
            Some("eagerZeroedThick") => Provisioning::EagerThick,
            _ if ddb.get("thinProvisioned").is_some_and(|value| value == "1") => Provisioning::Thin,
            _ => Provisioning::LazyThick,
        };
        Ok(Self {
            cid: cid("CID")?,
            parent_cid: cid("parentCID")?,
            parent_hint,
            change_track,
            kind,
            sectors,
            extent_file,
            provisioning,
            ddb,
            other,
        })
    }

    /// The descriptor as text. `CID` comes before `parentCID`, since qemu finds the former by substring.
    pub fn render(&self) -> String {
        let mut text = String::from("# Disk DescriptorFile\n");
        // Writing to a String cannot fail.
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(arguments);
            text.push('\n');
        };
        // ESXi raises the version to 3 while a disk is tracked.
        line(format_args!("version={}", if self.change_track.is_some() { 3 } else { 1 }));
        line(format_args!("encoding=\"UTF-8\""));
        line(format_args!("CID={:08x}", self.cid.0));
        line(format_args!("parentCID={:08x}", self.parent_cid.0));
        let (create_type, extent_type) = self.kind.names();
        line(format_args!("createType=\"{create_type}\""));
        if let Some(hint) = &self.parent_hint {
            line(format_args!("parentFileNameHint=\"{hint}\""));
        }
        if self.kind == LinkKind::Flat {
            line(format_args!("{PROVISIONING_KEY}=\"{}\"", self.provisioning.as_text()));
        }
        for (key, value) in &self.other {
            line(format_args!("{key}=\"{value}\""));
        }
        line(format_args!("\n# Extent description"));
        line(format_args!("RW {} {extent_type} \"{}\"\n", self.sectors, self.extent_file));
        if let Some(name) = &self.change_track {
            line(format_args!("# Change Tracking File\nchangeTrackPath=\"{name}\"\n"));
        }
        line(format_args!("# The Disk Data Base\n#DDB\n"));
        for (key, value) in &self.ddb {
            line(format_args!("ddb.{key} = \"{value}\""));
        }
        text
    }

    /// The parent's descriptor on this machine, for a link whose own is at `path`.
    ///
    /// # Errors
    /// `NotFound` if it is on a datastore that the server does not have; `BadPath` if it leads out of its datastore.
    pub fn parent(&self, path: &Path) -> Result<Option<PathBuf>> {
        match &self.parent_hint {
            Some(hint) if volumes::is_absolute(hint) => volumes::resolve(path, hint).map(Some),
            Some(hint) => Ok(Some(files::sibling(path, hint))),
            None => Ok(None),
        }
    }

    /// The same, if the parent is in the folder of the link.
    pub fn parent_in_folder(&self, path: &Path) -> Option<PathBuf> {
        let hint = self.parent_hint.as_ref().filter(|hint| !volumes::is_absolute(hint))?;
        Some(files::sibling(path, hint))
    }

    /// Capacity in bytes.
    pub fn capacity(&self) -> u64 {
        // Bounded by `parse_extent` and by the check of new disks.
        self.sectors * SECTOR
    }

    /// Draws a new content id, and a long one that ends in it as every real descriptor does.
    pub(crate) fn renew_content(&mut self) -> Result<()> {
        self.cid = Cid::random()?;
        let mut bytes = [0; 12];
        fill_random(&mut bytes)?;
        let long = format!("{}{:08x}", crate::hex::encode(&bytes), self.cid.0);
        self.ddb.insert("longContentID".to_owned(), long);
        Ok(())
    }

    /// Takes over another link's content ids, because the content became that link's.
    pub(crate) fn adopt_content(&mut self, other: &Self) {
        self.cid = other.cid;
        if let Some(long) = other.ddb.get("longContentID") {
            self.ddb.insert("longContentID".to_owned(), long.clone());
        }
    }

    pub(crate) fn set_geometry(&mut self, sectors: u64) {
        self.sectors = sectors;
        let (heads, per_track) = match sectors {
            0..=0x20_0000 => (64, 32),
            0x20_0001..=0x40_0000 => (128, 32),
            _ => (255, 63),
        };
        let cylinders = (sectors / (heads * per_track)).max(1);
        for (key, value) in [("cylinders", cylinders), ("heads", heads), ("sectors", per_track)] {
            self.ddb.insert(format!("geometry.{key}"), value.to_string());
        }
    }

    /// The disk's uuid, if this link carries one.
    pub fn uuid(&self) -> Option<DiskUuid> {
        self.ddb.get("uuid").and_then(|text| text.parse().ok())
    }

    /// Writes the descriptor; the folder's exclusive lock keeps readers from seeing half a change of structure.
    pub(crate) fn store(&self, path: &Path, _held: &FolderLock) -> Result<()> {
        files::replace(path, self.render().as_bytes())
    }

    /// Reads, changes and writes a descriptor in one step with respect to other processes.
    pub(crate) fn update(path: &Path, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<Self> {
        let held = FolderLock::exclusive(files::folder_of(path))?;
        let mut descriptor = Self::load(path)?;
        change(&mut descriptor)?;
        descriptor.store(path, &held)?;
        Ok(descriptor)
    }
}

/// Fills a buffer with random bytes from the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|source| {
        Error::new(ErrorKind::Io, "the operating system gives no random numbers").because(source)
    })
}

const KNOWN_HEADERS: &[&str] = &[
    "version",
    "encoding",
    "CID",
    "parentCID",
    "createType",
    "parentFileNameHint",
    "changeTrackPath",
    PROVISIONING_KEY,
];

fn parse_extent(line: &str, kind: LinkKind) -> Result<(u64, String)> {
    let corrupt = || Error::new(ErrorKind::Corrupt, format!("the extent line {line:?} is not understood"));
    let mut words = line.splitn(4, ' ');
    let (Some("RW"), Some(sectors), Some(form), Some(name)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(corrupt());
    };
    let sectors: u64 = sectors.parse().map_err(|_| corrupt())?;
    if form != kind.names().1 || sectors == 0 || sectors > crate::disk::MAX_CAPACITY / SECTOR {
        return Err(corrupt());
    }
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).ok_or_else(corrupt)?;
    Ok((sectors, plain_name(name)?))
}

/// A parent may be in another folder of the server's datastores, and then is named as on a host.
fn parent_name(name: &str) -> Result<String> {
    if volumes::is_absolute(name) { Ok(name.to_owned()) } else { plain_name(name) }
}

/// File names in a descriptor come from outside: only names of the same folder are followed.
fn plain_name(name: &str) -> Result<String> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0', '"']) {
        return Err(Error::new(
            ErrorKind::BadPath,
            format!(
                "the descriptor refers to {name:?}; only plain file names of its own folder are followed"
            ),
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: &str = "# Disk DescriptorFile\r\nversion=1\nCID=fb183c20\nparentCID=0000abc\n\
        createType=\"vmfsSparse\"\nparentFileNameHint=\"vm.vmdk\"\nisNativeSnapshot=\"no\"\n\
        RW 4192256 VMFSSPARSE \"vm-000001-delta.vmdk\"\nddb.longContentID = \"00\"\n";

    #[test]
    fn keeps_what_it_does_not_know() {
        let descriptor = Descriptor::parse(CHILD).unwrap();
        assert_eq!((descriptor.cid, descriptor.parent_cid), (Cid(0xfb18_3c20), Cid(0xabc)));
        assert_eq!(descriptor.other, [("isNativeSnapshot".to_owned(), "no".to_owned())]);
        let text = descriptor.render();
        assert!(text.contains("parentCID=00000abc\n") && text.contains("isNativeSnapshot=\"no\""));
        assert_eq!(Descriptor::parse(&text).unwrap(), descriptor);
    }

    #[test]
    fn hostile_text_is_an_error() {
        for (from, to) in [
            ("vm.vmdk", "../vm.vmdk"),
            ("vm.vmdk", "/vmfs/volumes/../vm.vmdk"),
            ("vm.vmdk", "/etc/passwd"),
            ("vm-000001-delta.vmdk", "/etc/passwd"),
            ("4192256", "99999999999999999999"),
            ("4192256", "0"),
            ("RW ", "RDONLY "),
            ("VMFSSPARSE", "SPARSE"),
            ("VMFSSPARSE", "SESPARSE"),
            ("vmfsSparse", "vsanSparse"),
            ("version=1", "version=9"),
            ("CID=fb183c20", "CID=fb183c20ff"),
            ("createType=\"vmfsSparse\"", "createType"),
        ] {
            let text = CHILD.replacen(from, to, 1);
            assert_ne!(text, CHILD);
            assert!(Descriptor::parse(&text).is_err(), "{to}");
        }
    }
}
