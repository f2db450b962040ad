//! Records of the table of files: one or more for each file.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::fields::Fields;
use crate::file::File;
use crate::ntfs::Ntfs;
use crate::ntfs::attribute::{self, Attribute, kind};

const IN_USE: u16 = 0x1;
const FOLDER: u16 = 0x2;
/// Records of one file beside the first.
const MOST_EXTENSIONS: usize = 1 << 16;
const LARGEST_LIST: usize = 4 << 20;

/// A file: all attributes, wherever they are.
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) sequence: u16,
    pub(super) is_folder: bool,
    pub(super) attributes: Vec<Attribute>,
}

impl Record {
    /// The attribute of this kind and name; of one in several pieces the first.
    pub(super) fn find(&self, kind: u32, name: &[u16]) -> Option<&Attribute> {
        self.pieces(kind, name).find(|attribute| attribute.is_first())
    }

    pub(super) fn pieces(&self, kind: u32, name: &[u16]) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(move |attribute| attribute.kind == kind && attribute.name == name)
    }

    /// Number of its names, without the short ones that Windows makes for DOS.
    pub(super) fn names(&self) -> Result<u32> {
        let mut names = 0;
        for name in self.pieces(kind::NAME, &[]) {
            names += u32::from(name.resident()?.byte(65)? != 2);
        }
        Ok(names.max(1))
    }
}

impl Ntfs {
    pub(super) fn record(&self, number: u64) -> Result<Record> {
        self.read_record(number).map_err(|error| match error.kind() {
            ErrorKind::Damaged => Error::damaged(format!("record {number}: {error}")),
            _ => error,
        })
    }

    fn read_record(&self, number: u64) -> Result<Record> {
        let mut record = self.base(number)?;
        self.extend(&mut record)?;
        Ok(record)
    }

    /// The table of records begins at a known place, and its own record says where the rest of it is.
    pub(super) fn find_table(&self, cluster: u64) -> Result<File> {
        let at = cluster
            .checked_mul(self.cluster)
            .ok_or_else(|| Error::damaged("a table of files behind the volume's end"))?;
        let mut record = self.parse(0, self.device.block(at, self.record_size)?)?;
        // Its further records are in the part that the first one tells.
        let first = Self {
            table: attribute::beginning(self, &record)?,
            info: self.info.clone(),
            device: self.device.clone(),
            ..*self
        };
        first.extend(&mut record)?;
        attribute::content(self, &record, kind::DATA, &[])
    }

    fn base(&self, number: u64) -> Result<Record> {
        let at =
            number.checked_mul(self.record_size as u64).ok_or_else(|| Error::damaged("no such record"))?;
        if at.checked_add(self.record_size as u64).is_none_or(|end| end > self.table.size()) {
            return Err(Error::damaged("it is behind the end of the table"));
        }
        let bytes = self.table.metadata(at, self.record_size)?;
        self.parse(number, bytes)
    }

    fn parse(&self, number: u64, mut bytes: Vec<u8>) -> Result<Record> {
        fix_up(&mut bytes, b"FILE")?;
        let flags = bytes.le16(22)?;
        if flags & IN_USE == 0 {
            return Err(Error::damaged("it is named, but not in use"));
        }
        let used = (bytes.le32(24)? as usize).min(bytes.len());
        let mut attributes = Vec::new();
        let mut at = usize::from(bytes.le16(20)?);
        while at + 4 <= used && bytes.le32(at)? != u32::MAX {
            let length = bytes.le32(at + 4)? as usize;
            if length < 24 || !length.is_multiple_of(8) {
                return Err(Error::damaged("an attribute without a length"));
            }
            attributes.push(Attribute::parse(bytes.part(at, length)?)?);
            at += length;
        }
        Ok(Record { number, sequence: bytes.le16(16)?, is_folder: flags & FOLDER != 0, attributes })
    }

    /// Adds what does not fit into the first record; a list in it names the others.
    fn extend(&self, record: &mut Record) -> Result<()> {
        if record.find(kind::LIST, &[]).is_none() {
            return Ok(());
        }
        let list = attribute::content(self, record, kind::LIST, &[])?.read_all(LARGEST_LIST)?;
        let mut others = BTreeSet::new();
        let mut at = 0;
        while at + 26 <= list.len() {
            let length = usize::from(list.le16(at + 4)?);
            if length < 26 {
                return Err(Error::damaged("an entry of the list of attributes without a length"));
            }
            let other = list.le64(at + 16)? & 0xFFFF_FFFF_FFFF;
            if other != record.number {
                others.insert(other);
            }
            at += length;
        }
        if others.len() > MOST_EXTENSIONS {
            return Err(Error::too_large("a file of too many records"));
        }
        for other in others {
            let at =
                other.checked_mul(self.record_size as u64).ok_or_else(|| Error::damaged("no such record"))?;
            let bytes = self.table.metadata(at, self.record_size)?;
            if bytes.le64(32)? & 0xFFFF_FFFF_FFFF != record.number {
                return Err(Error::damaged(format!("its further record {other} belongs to another file")));
            }
            record.attributes.extend(self.parse(other, bytes)?.attributes);
        }
        Ok(())
    }
}

/// The last two bytes of each 512 say whether all of a record was written at once; what was there is kept at its beginning.
pub(super) fn fix_up(bytes: &mut [u8], magic: &[u8]) -> Result<()> {
    if bytes.part(0, 4)? != magic {
        return Err(Error::damaged("no record is there"));
    }
    let (at, count) = (usize::from(bytes.le16(4)?), usize::from(bytes.le16(6)?));
    if count == 0 || (count - 1) * 512 != bytes.len() {
        return Err(Error::damaged("a record that says how it is protected in a way that cannot be"));
    }
    let number = bytes.le16(at)?;
    for sector in 1..count {
        let end = sector * 512 - 2;
        let kept: [u8; 2] = bytes.array(at + sector * 2)?;
        if bytes.le16(end)? != number {
            return Err(Error::damaged("a record that was written only in part"));
        }
        if let Some(place) = bytes.get_mut(end..end + 2) {
            place.copy_from_slice(&kept);
        }
    }
    Ok(())
}
