//! vmfsSparse, magic `COWD`: the deltas of disks below 2 TiB on VMFS 5 and NFS.
//!
//! ```text
//! sector 0   magic, u32 each: version 1, flags 3, capacity, grain (sectors), directory (sector), its entries,
//!            next free sector; then names and generations of ESX 2 times, zero today
//! sector 4   directory: u32 sector of each table, 0 for none
//! behind     tables of 4096 u32 (sector of each grain, 0 for the parent's) among the grains
//! ```
//! Source: docs/vmdk.md, "Snapshots of ESXi". There is no entry for zeros that all readers agree on, so zeros are
//! data: holes of the host's file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{ENTRIES, Format, Place, unknown_header, word};
use crate::descriptor::SECTOR;
use crate::{Error, ErrorKind, Result};

const HEADER_SECTORS: u64 = 4;
const TABLE: u64 = ENTRIES * 4;
const FREE_SECTOR_AT: usize = 28;
/// The usual block of host file systems.
const HOST_BLOCK: u64 = 4096;

struct Cowd {
    /// First byte behind the directory.
    first: u64,
}

/// The length and the header of an empty file.
pub(super) fn empty(capacity: u64) -> Result<(u64, Vec<u8>)> {
    let header = header(capacity).ok_or_else(|| {
        let what = "vmfsSparse deltas are for disks below 2 TiB; this one needs seSparse";
        Error::new(ErrorKind::InvalidArgument, what)
    })?;
    Ok((directory_end(capacity), header.to_vec()))
}

/// Checks the header; answers how far the file is in use, too.
pub(super) fn open(file: &File, capacity: u64) -> Result<(Box<dyn Format>, u64)> {
    let mut found = [0; 32];
    file.read_exact_at(&mut found, 0)
        .map_err(|source| Error::io("the delta file's header cannot be read", source))?;
    let end = word(&found[FREE_SECTOR_AT..]) * SECTOR;
    let first = directory_end(capacity);
    let known = header(capacity).is_some_and(|known| known[..FREE_SECTOR_AT] == found[..FREE_SECTOR_AT]);
    if !known || end < first {
        return Err(unknown_header("the delta file has no COWD header that fits the disk"));
    }
    Ok((Box::new(Cowd { first }), end))
}

impl Format for Cowd {
    fn grain(&self) -> u64 {
        SECTOR
    }

    fn entry(&self) -> u64 {
        4
    }

    fn directory(&self) -> u64 {
        HEADER_SECTORS * SECTOR
    }

    fn table(&self, entry: u64) -> Option<u64> {
        Some(entry * SECTOR).filter(|position| *position >= self.first)
    }

    fn place(&self, entry: u64) -> Option<Place> {
        match entry {
            0 => Some(Place::Parent),
            sector => self.table(sector).map(Place::Data),
        }
    }

    fn data_entry(&self, position: u64) -> Option<u64> {
        Some(position / SECTOR).filter(|sector| *sector < u64::from(u32::MAX))
    }

    fn zero_entry(&self) -> Option<u64> {
        None
    }

    fn claim_table(&self, file: &File, free: u64) -> Result<(u64, u64)> {
        let position = free.next_multiple_of(SECTOR);
        let entry = self.data_entry(position + TABLE).map(|_| position / SECTOR).ok_or_else(|| {
            Error::new(ErrorKind::NoSpace, "the delta file is as large as its format allows")
        })?;
        file.set_len(position + TABLE)
            .map_err(|source| Error::io("the delta file cannot be made longer", source))?;
        Ok((entry, position))
    }

    /// The guest's blocks become blocks of the host's file, so that zeroing whole ones leaves holes.
    fn data_start(&self, free: u64, guest: u64) -> u64 {
        let start = free / HOST_BLOCK * HOST_BLOCK + guest % HOST_BLOCK;
        if start < free { start + HOST_BLOCK } else { start }
    }

    fn note_end(&self, file: &File, end: u64) -> std::io::Result<()> {
        let sector = u32::try_from(end.div_ceil(SECTOR)).unwrap_or(u32::MAX);
        file.write_all_at(&sector.to_le_bytes(), FREE_SECTOR_AT as u64)
    }
}

/// `None` for a capacity that the format cannot count.
fn header(capacity: u64) -> Option<[u8; 32]> {
    let sectors = u32::try_from(capacity / SECTOR).ok()?;
    let tables = capacity.div_ceil(ENTRIES * SECTOR);
    let words =
        [1, 3, sectors, 1, HEADER_SECTORS as u32, tables as u32, (directory_end(capacity) / SECTOR) as u32];
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(b"COWD");
    for (field, value) in bytes[4..].as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *field = value.to_le_bytes();
    }
    Some(bytes)
}

fn directory_end(capacity: u64) -> u64 {
    (HEADER_SECTORS * SECTOR + capacity.div_ceil(ENTRIES * SECTOR) * 4).next_multiple_of(SECTOR)
}
