//! vmfsSparse extents, `COWD`: the snapshot deltas of ESX 3 to VMFS 5. Read only (docs/vmdk.md, "COWD").

use crate::backing::{Backing, FileId, Lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{Grains, Place};
use crate::policy::EntryOne;
use crate::{SECTOR, Sectors};

pub(crate) const MAGIC: [u8; 4] = *b"COWD";
const ENTRIES: u64 = 4096;
const TABLE_BYTES: u64 = ENTRIES * 4;

/// The header's fields that a reader needs; the names in it are not to be trusted, and not used.
pub(crate) struct Cowd {
    capacity: Sectors,
    grain: Sectors,
    directory: Sectors,
    entry_one: EntryOne,
}

impl Cowd {
    pub(crate) fn open(backing: &Backing, file: FileId, entry_one: EntryOne) -> Result<Self> {
        let mut header = [0; 36];
        backing.read(file, &mut header, 0)?;
        let in_file = |error: Error| error.in_file(backing.name(file));
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&header[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        if header[..4] != MAGIC {
            return Err(in_file(Error::new(
                ErrorKind::NotADisk,
                "no vmfsSparse extent: the magic is not \"COWD\"",
            )));
        }
        let (version, flags) = (word(4), word(8));
        if version != 1 || flags != 3 {
            return Err(in_file(Error::unsupported(format!(
                "version {version} with flags {flags} of the COWD header; version 1 with flags 3 is known"
            ))));
        }
        let this =
            Self { capacity: word(12).into(), grain: word(16).into(), directory: word(20).into(), entry_one };
        if !this.grain.is_power_of_two() || this.grain > 128 {
            return Err(in_file(Error::malformed(format!(
                "a COWD grain of {} sectors; 1 is usual",
                this.grain
            ))));
        }
        let entries = this.capacity.div_ceil(ENTRIES * this.grain);
        if u64::from(word(24)) < entries {
            return Err(in_file(Error::malformed(format!(
                "its directory has {} entries where {} sectors need {entries}",
                word(24),
                this.capacity
            ))));
        }
        let end = this.directory * SECTOR + entries * 4;
        if this.directory == 0 || end > backing.size(file) {
            return Err(in_file(Error::malformed(format!(
                "its grain directory ends at byte {end}, behind the end of the file"
            ))));
        }
        Ok(this)
    }

    pub(crate) fn capacity(&self) -> Sectors {
        self.capacity
    }
}

impl Grains for Cowd {
    fn grain_bytes(&self) -> u64 {
        self.grain * SECTOR
    }

    fn entry(&self, lookup: &mut Lookup<'_>, grain: u64) -> Result<(Place, u64)> {
        let (table, index) = (grain / ENTRIES, grain % ENTRIES);
        let at = u64::from(lookup.u32_at(self.directory * SECTOR + table * 4)?);
        if at == 0 {
            return Ok((Place::Unallocated, ENTRIES - index));
        }
        let start = at * SECTOR;
        if start + TABLE_BYTES > lookup.file_size() {
            let message = format!("grain table {table} at sector {at} lies behind the end of the file");
            return Err(Error::malformed(message).in_file(lookup.name()));
        }
        let place = match u64::from(lookup.u32_at(start + index * 4)?) {
            0 => Place::Unallocated,
            1 => match self.entry_one {
                EntryOne::Zero => Place::Zero,
                EntryOne::Refuse => return Err(disputed_entry(lookup, grain)),
            },
            sector => {
                let guest = grain * self.grain;
                // What of the last grain lies behind the capacity need not be there.
                let needed = self.grain.min(self.capacity.saturating_sub(guest));
                if (sector + needed) * SECTOR > lookup.file_size() {
                    let message = format!(
                        "the grain of guest sector {guest} lies behind the end of the file, at sector {sector}"
                    );
                    return Err(Error::malformed(message).in_file(lookup.name()));
                }
                Place::At(sector * SECTOR)
            }
        };
        Ok((place, 1))
    }
}

/// For hosted sparse files, too.
pub(crate) fn disputed_entry(lookup: &Lookup<'_>, grain: u64) -> Error {
    let message = format!(
        "grain {grain} has the table entry 1, and the file does not say that this means zeros: some read zeros, some the file's \
         second sector. Set Policy::entry_one to decide"
    );
    Error::new(ErrorKind::Disputed, message).in_file(lookup.name())
}
