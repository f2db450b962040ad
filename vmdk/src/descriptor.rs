//! The text that makes files a disk: what it is, where its sectors are, and who its parent is.
//!
//! docs/vmdk.md ("The descriptor") draws it and names the source of each rule. A [`Descriptor`] keeps the lines that
//! it was read from, so that what is not changed comes out byte for byte: comments, order, line ends, and keys that
//! nobody here knows.

mod cid;
mod create_type;
mod edit;
mod encoding;
mod extent_line;
mod line;
mod parse;
mod refusal;

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::geometry::{AdapterType, Geometry};
use crate::{SECTOR, Sectors};
pub use cid::Cid;
pub use create_type::CreateType;
use encoding::Encoding;
pub use extent_line::{Access, ExtentKind, ExtentLine};
use line::{Entry, Line};
pub(crate) use parse::MAX_BYTES;

/// A disk descriptor: its lines, and what they mean.
///
/// Setters change one line each, or insert it where VMware has it. None of them writes what would not read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    lines: Vec<Line>,
    encoding: Encoding,
    version: u32,
    cid: Cid,
    parent_cid: Cid,
    create_type: CreateType,
    extents: Vec<ExtentLine>,
}

impl Descriptor {
    /// Reads a descriptor, which ends at the first NUL or with the bytes.
    ///
    /// It has the line `# Disk DescriptorFile`, or `version=` as its first option. Case and blanks do not matter, nor
    /// does the order; LF and CRLF end lines; a byte order mark is skipped. Text is decoded from UTF-8, windows-1252
    /// or ISO-8859-1, as `encoding` says, and of other encodings if it is ASCII. Bounds: 10 MiB, 131,072 lines of
    /// 1 MiB, 65,536 extents, 1,024 bytes a file name.
    ///
    /// # Errors
    /// `NotADisk` for anything that is no descriptor. `Malformed`, with the number of the line, for one that breaks
    /// these rules, has no extent, `CID` or `createType`, has a line that looks like an extent and is none, or has a
    /// key twice that means something here. `Unsupported` for a file name in another encoding.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        parse::parse(bytes)
    }

    /// A new descriptor in UTF-8, as ESXi lays it out, without a parent and with an empty disk data base.
    ///
    /// What belongs into the data base is for the caller to set: [`set_adapter`](Self::set_adapter),
    /// [`set_geometry`](Self::set_geometry), and `virtualHWVersion` by [`set_ddb`](Self::set_ddb). The extents have to
    /// pass [`ExtentLine::check`]; one that does not is written with `_` in the place of what cannot be written.
    pub fn new(create_type: CreateType, cid: Cid, extents: Vec<ExtentLine>) -> Self {
        edit::new(create_type, cid, extents)
    }

    /// The text, without a NUL at its end. A descriptor that was read and not changed gives the bytes it was read from,
    /// up to the first NUL.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.raw).copied().collect()
    }

    /// The version: 1; 2 of a disk that Workstation encrypted; 3 while changes are tracked; 4 on vSAN. It is not the
    /// version of the sparse header. A descriptor without one has 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The name of the encoding, if one is given: of the header, else of the disk data base.
    pub fn encoding(&self) -> Option<&str> {
        self.value("encoding").or_else(|| self.value("ddb.encoding"))
    }

    /// The content id.
    pub fn cid(&self) -> Cid {
        self.cid
    }

    /// The content id that the parent had when this disk was made; None without a parent (`ffffffff`).
    pub fn parent_cid(&self) -> Option<Cid> {
        Some(self.parent_cid).filter(|cid| *cid != Cid::NONE)
    }

    /// Whether the snapshot was made by the storage (`isNativeSnapshot="yes"`).
    pub fn is_native_snapshot(&self) -> bool {
        self.value("isNativeSnapshot").is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    /// How the disk's files are laid out.
    pub fn create_type(&self) -> &CreateType {
        &self.create_type
    }

    /// Where the parent's descriptor was when this disk was made: a hint, and untrusted.
    /// [`name::resolve`](crate::name::resolve) follows it.
    pub fn parent_hint(&self) -> Option<&str> {
        self.value("parentFileNameHint").filter(|hint| !hint.is_empty())
    }

    /// The file that tracks changes.
    pub fn change_track_path(&self) -> Option<&str> {
        self.value("changeTrackPath").filter(|path| !path.is_empty())
    }

    /// The extents in the order of the disk: at least one.
    pub fn extents(&self) -> &[ExtentLine] {
        &self.extents
    }

    /// The size of the disk in sectors: the sum of all extents, whatever their access and type.
    ///
    /// # Errors
    /// `Malformed` above 1 EiB.
    pub fn capacity(&self) -> Result<Sectors> {
        const MOST: Sectors = (1 << 60) / SECTOR;
        let sum = self.extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors));
        sum.filter(|sum| *sum <= MOST).ok_or_else(|| {
            Error::malformed("the extents are more than 1 EiB together; correct the sizes in the descriptor")
        })
    }

    /// The value of a key of the disk data base; the key is given without `ddb.`, in any case.
    pub fn ddb(&self, key: &str) -> Option<&str> {
        let mut entries = self.entries();
        entries
            .find(|entry| entry.ddb_key().is_some_and(|own| own.eq_ignore_ascii_case(key)))
            .map(|entry| entry.value.as_str())
    }

    /// The keys of the disk data base in the text's order, without `ddb.`
    pub fn ddb_keys(&self) -> impl Iterator<Item = &str> {
        self.entries().filter_map(Entry::ddb_key)
    }

    /// The controller that the disk was made for. None if it is not given, as in children, or not known.
    pub fn adapter(&self) -> Option<AdapterType> {
        self.ddb("adapterType")?.parse().ok()
    }

    /// The geometry. None if it is not given completely, as in children.
    pub fn geometry(&self) -> Option<Geometry> {
        Some(Geometry {
            cylinders: self.ddb_number("geometry.cylinders")?,
            heads: self.ddb_number("geometry.heads")?,
            sectors: self.ddb_number("geometry.sectors")?,
        })
    }

    /// The geometry that the BIOS shows, where it is another one.
    pub fn bios_geometry(&self) -> Option<Geometry> {
        Some(Geometry {
            cylinders: self.ddb_number("geometry.biosCylinders")?,
            heads: self.ddb_number("geometry.biosHeads")?,
            sectors: self.ddb_number("geometry.biosSectors")?,
        })
    }

    /// The disk's uuid as VMware writes it: sixteen bytes in hexadecimal, with blanks, and `-` in the middle.
    pub fn uuid(&self) -> Option<&str> {
        self.ddb("uuid")
    }

    /// The long content id: 32 hexadecimal digits, of which the last eight are the CID.
    pub fn long_content_id(&self) -> Option<&str> {
        self.ddb("longContentID")
    }

    /// The virtual hardware version that the disk needs.
    pub fn hardware_version(&self) -> Option<u32> {
        self.ddb_number("virtualHWVersion")
    }

    /// Whether the disk is thin. Whether a thick one was zeroed eagerly is not in the text.
    pub fn is_thin(&self) -> bool {
        self.ddb("thinProvisioned").is_some_and(|value| value == "1")
    }

    fn ddb_number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.ddb(key)?.parse().ok()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(Line::entry)
    }

    /// The value of a key, given as it is written, with `ddb.`
    fn value(&self, key: &str) -> Option<&str> {
        self.entries().find(|entry| entry.is(key)).map(|entry| entry.value.as_str())
    }
}
