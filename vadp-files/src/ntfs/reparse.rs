//! Reparse points: links, and files whose content is somewhere else or packed by a driver of its own.

use crate::error::{Error, Result};
use crate::fields::{Fields, units, utf16};
use crate::ntfs::attribute::kind;
use crate::ntfs::record::Record;

mod tag {
    pub(super) const MOUNT_POINT: u32 = 0xA000_0003;
    pub(super) const LINK: u32 = 0xA000_000C;
    /// A link of the Windows Subsystem for Linux.
    pub(super) const LINUX_LINK: u32 = 0xA000_001D;
    pub(super) const COMPACT: u32 = 0x8000_0017;
    pub(super) const DEDUPLICATED: u32 = 0x8000_0013;
}

fn point(record: &Record) -> Result<Option<&[u8]>> {
    record.find(kind::REPARSE, &[]).map(|point| point.resident()).transpose()
}

/// Where a record that is a link leads: with `/` between the parts, as Windows says it otherwise.
pub(super) fn link(record: &Record) -> Result<Option<Vec<u8>>> {
    let Some(point) = point(record)? else { return Ok(None) };
    let names = match point.le32(0)? {
        tag::LINK => 20,
        tag::MOUNT_POINT => 16,
        tag::LINUX_LINK => return Ok(Some(point.get(12..).unwrap_or_default().to_vec())),
        _ => return Ok(None),
    };
    let (at, length) = (usize::from(point.le16(8)?), usize::from(point.le16(10)?));
    let mut target = utf16(units(point.part(names + at, length)?));
    for byte in &mut target {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    // Absolute ones are those of the object manager.
    Ok(Some(target.strip_prefix(b"/??/").map(<[u8]>::to_vec).unwrap_or(target)))
}

/// Refuses content that is not, or not all, in the content of the record.
pub(super) fn refuse(record: &Record) -> Result<()> {
    let Some(point) = point(record)? else { return Ok(()) };
    Err(Error::unsupported(match point.le32(0)? {
        tag::COMPACT => "compressed by Windows (CompactOS, WOF), which this version cannot unpack".into(),
        tag::DEDUPLICATED => {
            "deduplicated by Windows Server; its content is in the chunk store of the volume".into()
        }
        tag => format!(
            "its content is handed out by a driver (reparse tag {tag:#x}) and need not be in the volume"
        ),
    }))
}
