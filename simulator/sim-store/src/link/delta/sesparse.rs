//! SESparse: the deltas of VMFS 6, and of disks of 2 TiB and more anywhere.
//!
//! ```text
//! sector 0     header: magic, version 2.1, capacity, and where everything else is (u64 each, in sectors)
//! sector 1     volatile header: magic, next free table, next transaction, whether the journal must be replayed
//! behind       journal, directory, all tables (64 sectors each, handed out in the order of their first use), grains
//! directory    u64: 0 for none, or 0x10000000 in the upper half and the number of the table in the lower
//! table        u64: 0 for the parent's, 2 << 60 for zeros, 3 << 60 and the scrambled number of the grain
//! ```
//! Source: docs/vmdk.md, "Snapshots of ESXi". How journal, free bitmap and reverse map look inside is not public: the
//! journal stays empty, the other two have no size. The state 1 << 60, "unmapped by the guest", is not written, since
//! readers do not agree on what it reads as.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use super::{ENTRIES, Format, Place, unknown_header, word};
use crate::descriptor::SECTOR;
use crate::{Error, ErrorKind, Result, files};

const MAGIC: u64 = 0xCAFE_BABE;
const VERSION: u64 = 0x2_0000_0001;
const VOLATILE_MAGIC: u64 = 0xCAFE_CAFE;
const GRAIN_SECTORS: u64 = 8;
const TABLE_SECTORS: u64 = 64;
const VOLATILE_HEADER: u64 = 1;
const JOURNAL_HEADER: u64 = 2;
const JOURNAL: u64 = 8;
const DIRECTORY: u64 = 16;
const GRAINS_SIZE_AT: usize = 200;
const FREE_TABLE_AT: u64 = VOLATILE_HEADER * SECTOR + 8;

const ALLOCATED_TABLE: u64 = 0x1000_0000 << 32;
const ZERO: u64 = 2 << 60;
const ALLOCATED: u64 = 3 << 60;

/// Regions in sectors.
struct Regions {
    directory_size: u64,
    tables: u64,
    table_count: u64,
    grains: u64,
}

struct SeSparse {
    regions: Regions,
}

/// The length and the headers of an empty file.
pub(super) fn empty(capacity: u64) -> (u64, Vec<u8>) {
    let regions = Regions::of(capacity);
    let mut headers = regions.header(capacity).to_vec();
    headers.extend_from_slice(&VOLATILE_MAGIC.to_le_bytes());
    (regions.grains * SECTOR, headers)
}

/// Checks the headers; answers how far the file is in use, too.
pub(super) fn open(file: &File, capacity: u64) -> Result<(Box<dyn Format>, u64)> {
    let mut found = [0; 2 * SECTOR as usize];
    file.read_exact_at(&mut found, 0)
        .map_err(|source| Error::io("the delta file's headers cannot be read", source))?;
    let (header, volatile) = found.split_at(SECTOR as usize);
    let regions = Regions::of(capacity);
    let grains_size = word(&header[GRAINS_SIZE_AT..GRAINS_SIZE_AT + 8]);
    let known = header[..GRAINS_SIZE_AT] == regions.header(capacity)[..GRAINS_SIZE_AT]
        && word(&volatile[..8]) == VOLATILE_MAGIC;
    let end = regions.grains.checked_add(grains_size).and_then(|sectors| sectors.checked_mul(SECTOR));
    match end {
        Some(end) if known => Ok((Box::new(SeSparse { regions }), end)),
        _ => Err(unknown_header("the delta file has no SESparse header that fits the disk")),
    }
}

impl Format for SeSparse {
    fn grain(&self) -> u64 {
        GRAIN_SECTORS * SECTOR
    }

    fn entry(&self) -> u64 {
        8
    }

    fn directory(&self) -> u64 {
        DIRECTORY * SECTOR
    }

    fn table(&self, entry: u64) -> Option<u64> {
        let number =
            entry.checked_sub(ALLOCATED_TABLE).filter(|number| *number < self.regions.table_count)?;
        Some((self.regions.tables + number * TABLE_SECTORS) * SECTOR)
    }

    fn place(&self, entry: u64) -> Option<Place> {
        match entry {
            0 => Some(Place::Parent),
            ZERO => Some(Place::Zero),
            entry if entry >> 60 == 3 => {
                let number = (entry & 0x0000_FFFF_FFFF_FFFF) << 12 | (entry >> 48 & 0xFFF);
                let sector = number.checked_mul(GRAIN_SECTORS)?.checked_add(self.regions.grains)?;
                // So that the end of any run of the disk can be added to it.
                sector.checked_mul(SECTOR).filter(|position| *position < 1 << 62).map(Place::Data)
            }
            _ => None,
        }
    }

    fn data_entry(&self, position: u64) -> Option<u64> {
        let number = position.checked_sub(self.regions.grains * SECTOR)? / self.grain();
        Some(ALLOCATED | (number & 0xFFF) << 48 | number >> 12)
    }

    fn zero_entry(&self) -> Option<u64> {
        Some(ZERO)
    }

    fn claim_table(&self, file: &File, _free: u64) -> Result<(u64, u64)> {
        // Not what the header says: a writer may have been killed between the header and the directory.
        let number = self.first_free_table(file)?;
        let entry = ALLOCATED_TABLE + number;
        let position = self.table(entry).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the delta's directory names more tables than the disk can have")
        })?;
        file.write_all_at(&(number + 1).to_le_bytes(), FREE_TABLE_AT)
            .map_err(|source| Error::io("the delta file's header cannot be written", source))?;
        Ok((entry, position))
    }

    fn data_start(&self, free: u64, _guest: u64) -> u64 {
        free.next_multiple_of(self.grain())
    }

    fn note_end(&self, file: &File, end: u64) -> std::io::Result<()> {
        let sectors = (end / SECTOR).saturating_sub(self.regions.grains);
        file.write_all_at(&sectors.to_le_bytes(), GRAINS_SIZE_AT as u64)
    }
}

impl SeSparse {
    fn first_free_table(&self, file: &File) -> Result<u64> {
        let mut free = 0;
        let (start, size) = (DIRECTORY * SECTOR, self.regions.directory_size * SECTOR);
        let _: ControlFlow<()> = files::data_ranges(file, start, start + size, &mut |from, to| {
            let (from, to) = (from / 8 * 8, to.next_multiple_of(8));
            let mut bytes = vec![0; (to - from) as usize];
            file.read_exact_at(&mut bytes, from)
                .map_err(|source| Error::io("the delta's directory cannot be read", source))?;
            for entry in bytes.chunks_exact(8).map(word).filter(|entry| *entry != 0) {
                free = free.max(entry.saturating_sub(ALLOCATED_TABLE) + 1);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(free)
    }
}

impl Regions {
    /// Capacities are bounded by `MAX_CAPACITY`, so none of these sums can overflow.
    fn of(capacity: u64) -> Self {
        let table_count = capacity.div_ceil(ENTRIES * GRAIN_SECTORS * SECTOR);
        let directory_size = (table_count * 8).div_ceil(SECTOR);
        let tables = (DIRECTORY + directory_size).next_multiple_of(GRAIN_SECTORS);
        Self { directory_size, tables, table_count, grains: tables + table_count * TABLE_SECTORS }
    }

    /// The header of an empty file.
    fn header(&self, capacity: u64) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        let fields = [
            (0, MAGIC),
            (8, VERSION),
            (16, capacity / SECTOR),
            (24, GRAIN_SECTORS),
            (32, TABLE_SECTORS),
            (80, VOLATILE_HEADER),
            (88, 1),
            (96, JOURNAL_HEADER),
            (104, 1),
            (112, JOURNAL),
            (120, DIRECTORY - JOURNAL),
            (128, DIRECTORY),
            (136, self.directory_size),
            (144, self.tables),
            (152, self.table_count * TABLE_SECTORS),
            // The free bitmap and the reverse map, each without size.
            (160, self.grains),
            (176, self.grains),
            (192, self.grains),
        ];
        for (at, value) in fields {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of docs/vmdk.md's reader, measured with qemu-img.
    #[test]
    fn numbers_of_grains_are_scrambled() {
        let format = SeSparse { regions: Regions::of(62 << 40) };
        for (number, entry) in [
            (0, 0x3000_0000_0000_0000),
            (1, 0x3001_0000_0000_0000),
            (0xFFF, 0x3FFF_0000_0000_0000),
            (0x1000, 0x3000_0000_0000_0001),
            (0x1001, 0x3001_0000_0000_0001),
            (0x0012_3456, 0x3456_0000_0000_0123),
        ] {
            let position = format.regions.grains * SECTOR + number * 4096;
            assert_eq!(format.data_entry(position), Some(entry));
            assert_eq!(format.place(entry), Some(Place::Data(position)));
        }
        for wrong in [1, 1 << 60, ZERO + 1, 4 << 60, u64::MAX, 0x3FFF_FFFF_FFFF_FFFF] {
            assert_eq!(format.place(wrong), None, "{wrong:#x}");
        }
    }
}
