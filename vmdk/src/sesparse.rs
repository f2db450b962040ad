//! SESparse extents: the snapshot deltas of VMFS 6. Read only: the formats of journal, free bitmap and reverse map are not
//! public (docs/vmdk.md, "SESparse").

use crate::backing::{Backing, FileId, Lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{Grains, Place};
use crate::policy::{Journal, Policy, Unmapped};
use crate::{SECTOR, Sectors};

pub(crate) const MAGIC: u64 = 0xCAFE_BABE;
const VERSION_2_1: u64 = 0x2_0000_0001;
const VOLATILE_MAGIC: u64 = 0xCAFE_CAFE;
const ENTRY: u64 = 8;
/// In the upper half of a directory entry: there is a table.
const ALLOCATED_TABLE: u64 = 0x1000_0000;
/// A disk of 62 TB, the largest that VMFS has, and what two powers of two more would be.
const MAX_CAPACITY: Sectors = 1 << 39;

pub(crate) struct SeSparse {
    capacity: Sectors,
    grain: Sectors,
    /// Sectors of one grain table.
    table: Sectors,
    directory: Sectors,
    tables: Sectors,
    tables_size: Sectors,
    grains: Sectors,
    unmapped: Unmapped,
}

impl SeSparse {
    pub(crate) fn open(backing: &Backing, file: FileId, policy: &Policy) -> Result<Self> {
        Self::read(backing, file, policy).map_err(|error| error.in_file(backing.name(file)))
    }

    fn read(backing: &Backing, file: FileId, policy: &Policy) -> Result<Self> {
        let mut sector = [0; SECTOR as usize];
        backing.read(file, &mut sector, 0)?;
        let word = |index: usize| word_of(&sector, index * 8);
        if word(0) != MAGIC {
            return Err(Error::new(ErrorKind::NotADisk, "no SESparse extent: the magic is another one"));
        }
        if word(1) != VERSION_2_1 {
            return Err(Error::unsupported(format!(
                "version {:#x} of the SESparse header; 2.1 is known",
                word(1)
            )));
        }
        if (5..10).chain(26..64).any(|index| word(index) != 0) {
            return Err(Error::unsupported(
                "flags or reserved fields of the SESparse header are set; none is known",
            ));
        }
        let this = Self {
            capacity: word(2),
            grain: word(3),
            table: word(4),
            directory: word(16),
            tables: word(18),
            tables_size: word(19),
            grains: word(24),
            unmapped: policy.unmapped,
        };
        this.validate(word(17), backing.size(file))?;
        check_volatile_header(backing, file, word(10), policy.journal)?;
        Ok(this)
    }

    fn validate(&self, directory_size: Sectors, file_size: u64) -> Result<()> {
        if self.capacity > MAX_CAPACITY {
            return Err(Error::malformed(format!(
                "a capacity of {} sectors is beyond every SESparse disk",
                self.capacity
            )));
        }
        if !self.grain.is_power_of_two() || self.grain > 1 << 14 {
            return Err(Error::malformed(format!("an SESparse grain of {} sectors; 8 is usual", self.grain)));
        }
        if self.table == 0 || self.table > 1 << 14 {
            return Err(Error::malformed(format!(
                "an SESparse grain table of {} sectors; 64 is usual",
                self.table
            )));
        }
        let needed = self.capacity.div_ceil(self.grain * self.entries());
        let entries = directory_size.saturating_mul(SECTOR / ENTRY);
        if entries < needed {
            let message = format!("its directory has {entries} entries where the capacity needs {needed}");
            return Err(Error::malformed(message));
        }
        let end = self.directory.checked_mul(SECTOR).and_then(|start| start.checked_add(needed * ENTRY));
        if self.directory == 0 || end.is_none_or(|end| end > file_size) {
            return Err(Error::malformed("its grain directory lies behind the end of the file"));
        }
        if self.tables > MAX_CAPACITY || self.tables_size > MAX_CAPACITY || self.grains > MAX_CAPACITY {
            return Err(Error::malformed("its header names regions beyond every file"));
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> Sectors {
        self.capacity
    }

    fn entries(&self) -> u64 {
        self.table * SECTOR / ENTRY
    }

    /// The byte where the table of a directory entry begins; `None` if there is none.
    fn table_start(&self, lookup: &mut Lookup<'_>, table: u64) -> Result<Option<u64>> {
        let entry = lookup.u64_at(self.directory * SECTOR + table * ENTRY)?;
        if entry == 0 {
            return Ok(None);
        }
        let index = entry & 0xFFFF_FFFF;
        let malformed = |what: &str| {
            Err(Error::malformed(format!("entry {table} of the directory ({entry:#x}) {what}"))
                .in_file(lookup.name()))
        };
        if entry >> 32 != ALLOCATED_TABLE {
            return malformed("has an unknown state");
        }
        if (index + 1) * self.table > self.tables_size {
            return malformed("names a table outside of the tables");
        }
        let start = (self.tables + index * self.table) * SECTOR;
        if start + self.table * SECTOR > lookup.file_size() {
            return malformed("names a table behind the end of the file");
        }
        Ok(Some(start))
    }

    fn place_of(&self, lookup: &Lookup<'_>, entry: u64, grain: u64) -> Result<Place> {
        let malformed = |what: &str| {
            let message = format!("the table entry of grain {grain} ({entry:#x}) {what}");
            Err(Error::malformed(message).in_file(lookup.name()))
        };
        match entry >> 60 {
            0 if entry == 0 => Ok(Place::Unallocated),
            0 => malformed("has no state but a grain"),
            1 => match self.unmapped {
                Unmapped::Zero => Ok(Place::Zero),
                Unmapped::Parent => Ok(Place::Unallocated),
                Unmapped::Refuse => {
                    let message = format!(
                        "grain {grain} was unmapped by the guest: most read zeros then, some the parent. Set Policy::unmapped to \
                         decide"
                    );
                    Err(Error::new(ErrorKind::Disputed, message).in_file(lookup.name()))
                }
            },
            2 => Ok(Place::Zero),
            3 => {
                let index = unscramble(entry);
                let guest = grain * self.grain;
                let needed = self.grain.min(self.capacity.saturating_sub(guest));
                let sector =
                    index.checked_mul(self.grain).and_then(|sectors| self.grains.checked_add(sectors));
                let end = sector.and_then(|sector| sector.checked_add(needed)?.checked_mul(SECTOR));
                match (sector, end) {
                    (Some(sector), Some(end)) if end <= lookup.file_size() => Ok(Place::At(sector * SECTOR)),
                    _ => malformed("leads behind the end of the file"),
                }
            }
            _ => malformed("has an unknown state"),
        }
    }
}

impl Grains for SeSparse {
    fn grain_bytes(&self) -> u64 {
        self.grain * SECTOR
    }

    fn entry(&self, lookup: &mut Lookup<'_>, grain: u64) -> Result<(Place, u64)> {
        let (table, index) = (grain / self.entries(), grain % self.entries());
        let Some(start) = self.table_start(lookup, table)? else {
            return Ok((Place::Unallocated, self.entries() - index));
        };
        let entry = lookup.u64_at(start + index * ENTRY)?;
        Ok((self.place_of(lookup, entry, grain)?, 1))
    }
}

/// The index of an allocated grain, whose twelve lowest bits stand above the others.
fn unscramble(entry: u64) -> u64 {
    ((entry & 0x0000_FFFF_FFFF_FFFF) << 12) | ((entry >> 48) & 0xFFF)
}

fn check_volatile_header(backing: &Backing, file: FileId, at: Sectors, journal: Journal) -> Result<()> {
    let Some(start) = at.checked_mul(SECTOR).filter(|_| at != 0) else {
        return Err(Error::malformed("its header names no place for the volatile header"));
    };
    let mut sector = [0; SECTOR as usize];
    backing.read(file, &mut sector, start)?;
    if word_of(&sector, 0) != VOLATILE_MAGIC {
        return Err(Error::malformed("the volatile header is none: its magic is another one"));
    }
    if word_of(&sector, 24) != 0 && journal == Journal::Refuse {
        let message = "its journal was not replayed: the machine's host was interrupted, and what the journal holds is missing in \
                       the tables. Power the machine on and off there, or set Policy::journal to read without it";
        return Err(Error::new(ErrorKind::Disputed, message));
    }
    Ok(())
}

fn word_of(bytes: &[u8; SECTOR as usize], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the fact sheet, measured with qemu-img.
    #[test]
    fn the_index_of_a_grain_is_put_together_again() {
        for (index, entry) in [
            (0, 0x3000_0000_0000_0000),
            (1, 0x3001_0000_0000_0000),
            (0xFFF, 0x3FFF_0000_0000_0000),
            (0x1000, 0x3000_0000_0000_0001),
            (0x1001, 0x3001_0000_0000_0001),
            (0x0012_3456, 0x3456_0000_0000_0123),
        ] {
            assert_eq!(unscramble(entry), index, "{entry:#x}");
        }
    }
}
