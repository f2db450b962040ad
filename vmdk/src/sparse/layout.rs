//! Making an empty hosted sparse file, in the layout that qemu and VMware have: header, descriptor, redundant directory and tables,
//! directory and tables, grains.

use super::header::{Flags, Header};
use crate::error::{Error, ErrorKind, Result};
use crate::io::WriteAt;
use crate::{SECTOR, Sectors};

/// Sectors of a descriptor area: what all writers reserve, and what qemu rewrites whatever the header says.
pub(crate) const DESCRIPTOR_SECTORS: u64 = 20;

/// What an extent is to be like.
pub(crate) struct SparseSpec<'a> {
    pub(crate) capacity: Sectors,
    pub(crate) grain: Sectors,
    /// Whether zeroed grains get entry 1 (version 2), or zeros are written (version 1).
    pub(crate) zeroed_grains: bool,
    /// The embedded descriptor; `None` for a part of a split disk, which has none.
    pub(crate) descriptor: Option<&'a [u8]>,
}

/// Fills an empty file. Both directories lead to tables that are there, so that later writes change nothing but entries.
pub(crate) fn create(file: &dyn WriteAt, spec: &SparseSpec<'_>) -> Result<()> {
    let header = header_of(spec)?;
    let io = |error| Error::io("writing the header and tables of a new sparse extent failed", error);
    let tables = header.tables();
    let table_sectors = header.table_sectors();
    // The tables are zeros, and need not be written: what is new in a file reads as zeros.
    file.set_size(header.overhead * SECTOR).map_err(io)?;
    for directory in [header.redundant_offset, header.directory_offset] {
        let first = directory + header.directory_sectors();
        let mut bytes = Vec::with_capacity(DIRECTORY_PART * 4);
        let mut at = directory * SECTOR;
        for table in 0..tables {
            bytes.extend_from_slice(&((first + table * table_sectors) as u32).to_le_bytes());
            if bytes.len() == DIRECTORY_PART * 4 || table + 1 == tables {
                file.write_all_at(&bytes, at).map_err(io)?;
                at += bytes.len() as u64;
                bytes.clear();
            }
        }
    }
    if let Some(descriptor) = spec.descriptor {
        file.write_all_at(descriptor, SECTOR).map_err(io)?;
    }
    // The magic last: a file that was left half made is none.
    file.write_all_at(&header.encode(), 0).map_err(io)
}

/// Entries of a directory that are written at once.
const DIRECTORY_PART: usize = 16 << 10;

fn header_of(spec: &SparseSpec<'_>) -> Result<Header> {
    if !spec.grain.is_power_of_two() || !(8..=128).contains(&spec.grain) {
        return Err(Error::invalid(format!(
            "a grain of {} sectors; powers of two from 8 to 128 can be made",
            spec.grain
        )));
    }
    let room = (DESCRIPTOR_SECTORS * SECTOR) as usize;
    // One zero has to follow: readers look for the end of the text.
    if let Some(text) = spec.descriptor.filter(|text| text.len() >= room) {
        return Err(Error::invalid(format!(
            "a descriptor of {} bytes; an embedded one has less than {room}",
            text.len()
        )));
    }
    let mut header = Header {
        version: if spec.zeroed_grains { 2 } else { 1 },
        flags: Flags(
            Flags::NEWLINES | Flags::REDUNDANT | if spec.zeroed_grains { Flags::ZEROED_GRAINS } else { 0 },
        ),
        capacity: spec.capacity,
        grain: spec.grain,
        // Split parts of qemu have an empty area, those of VMware none.
        descriptor_offset: if spec.descriptor.is_some() { 1 } else { 0 },
        descriptor_size: if spec.descriptor.is_some() { DESCRIPTOR_SECTORS } else { 0 },
        entries_per_table: 512,
        redundant_offset: 1 + if spec.descriptor.is_some() { DESCRIPTOR_SECTORS } else { 0 },
        directory_offset: 0,
        overhead: 0,
        unclean: false,
        compression: 0,
    };
    let copy =
        header.tables().checked_mul(header.table_sectors()).map(|tables| tables + header.directory_sectors());
    let end = copy.and_then(|copy| copy.checked_mul(2)).map(|copies| header.redundant_offset + copies);
    // Also the tables themselves have 32-bit sector numbers.
    let Some(end) = end.filter(|end| *end < u64::from(u32::MAX) / 2) else {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{} sectors are too many for one sparse extent", spec.capacity),
        ));
    };
    header.directory_offset = header.redundant_offset + (end - header.redundant_offset) / 2;
    header.overhead = end.next_multiple_of(spec.grain);
    Ok(header)
}
