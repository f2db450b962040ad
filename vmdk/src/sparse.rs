//! Hosted sparse extents, `KDMV`: monolithicSparse, the parts of a split sparse disk, streamOptimized (docs/vmdk.md, "Hosted
//! sparse").

mod check;
pub(crate) mod header;
mod layout;
mod used;
mod write;

use std::collections::BTreeMap;
use std::sync::{Mutex, RwLock};

use crate::SECTOR;
use crate::backing::{Backing, FileId, Lookup};
use crate::cowd::disputed_entry;
use crate::error::{Error, Result};
use crate::extent::{Grains, Place};
use crate::policy::EntryOne;
use crate::stream::read_packed;
use header::{Flags, GD_AT_END, Header};

pub(crate) use layout::{DESCRIPTOR_SECTORS, SparseSpec, create};

/// The tables of one extent, and what has changed of them since the last flush.
pub(crate) struct Hosted {
    header: Header,
    entry_one: EntryOne,
    /// Table entries by grain that are not in the file yet: their grains have to get there first.
    pending: RwLock<BTreeMap<u64, u32>>,
    writer: Mutex<write::Writer>,
}

impl Hosted {
    pub(crate) fn open(backing: &Backing, file: FileId, entry_one: EntryOne) -> Result<Self> {
        let header = read_header(backing, file).map_err(|error| error.in_file(backing.name(file)))?;
        let next_free = backing.size(file).max(header.overhead.saturating_mul(SECTOR)).div_ceil(SECTOR);
        Ok(Self {
            writer: Mutex::new(write::Writer::new(next_free.next_multiple_of(header.grain))),
            header,
            entry_one,
            pending: RwLock::default(),
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Where the grain at this sector of the file is, if that can be.
    fn place_of(&self, lookup: &Lookup<'_>, sector: u32, grain: u64) -> Result<Place> {
        match u64::from(sector) {
            0 => Ok(Place::Unallocated),
            1 if self.header.flags.has(Flags::ZEROED_GRAINS) || self.entry_one == EntryOne::Zero => {
                Ok(Place::Zero)
            }
            1 => Err(disputed_entry(lookup, grain)),
            sector => {
                if !self.fits(sector, grain, lookup.file_size() / SECTOR) {
                    let message = format!(
                        "the grain of guest sector {} would be at sector {sector}, {}",
                        grain * self.header.grain,
                        match sector < self.header.overhead {
                            true => "among the tables",
                            false => "behind the end of the file: it was cut",
                        }
                    );
                    return Err(Error::malformed(message).in_file(lookup.name()));
                }
                Ok(match self.header.is_stream() {
                    true => Place::Packed { record: sector * SECTOR, skip: 0 },
                    false => Place::At(sector * SECTOR),
                })
            }
        }
    }

    /// Whether a grain can be at this sector of a file of so many.
    fn fits(&self, sector: u64, grain: u64, file_sectors: u64) -> bool {
        // A record of a stream is at least one sector; its own size is checked when it is read. And what of the last grain lies
        // behind the capacity need not be there.
        let needed = if self.header.is_stream() { 1 } else { self.header.grain_needs(grain) };
        sector >= self.header.overhead && sector + needed <= file_sectors
    }

    /// Inflates the grain whose record is at byte `record`. Also returns the sectors that the record takes.
    pub(crate) fn read_packed(
        &self,
        backing: &Backing,
        file: FileId,
        record: u64,
        grain: u64,
    ) -> Result<(Vec<u8>, u64)> {
        read_packed(&backing.reader(file)?, backing.size(file), record, grain, &self.header)
    }

    /// The byte where a grain table begins, of the directory at `directory`; `None` if there is none.
    fn table_start(&self, lookup: &mut Lookup<'_>, directory: u64, table: u64) -> Result<Option<u64>> {
        let sector = u64::from(lookup.u32_at(directory * SECTOR + table * 4)?);
        let end = (sector + self.header.table_sectors()) * SECTOR;
        match sector {
            0 => Ok(None),
            _ if end > lookup.file_size() => {
                let message = format!(
                    "grain table {table}, at sector {sector}, lies behind the end of the file: it was cut"
                );
                Err(Error::malformed(message).in_file(lookup.name()))
            }
            _ => Ok(Some(sector * SECTOR)),
        }
    }
}

impl Grains for Hosted {
    fn grain_bytes(&self) -> u64 {
        self.header.grain * SECTOR
    }

    fn entry(&self, lookup: &mut Lookup<'_>, grain: u64) -> Result<(Place, u64)> {
        let entries = u64::from(self.header.entries_per_table);
        let (table, index) = (grain / entries, grain % entries);
        let changed = {
            let pending = self.pending.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            pending.range(grain..grain + (entries - index)).next().map(|(&grain, &sector)| (grain, sector))
        };
        if let Some((_, sector)) = changed.filter(|(of, _)| *of == grain) {
            return Ok((self.place_of(lookup, sector, grain)?, 1));
        }
        let Some(start) = self.table_start(lookup, self.header.directory_offset, table)? else {
            let end = changed.map_or(grain + (entries - index), |(of, _)| of);
            return Ok((Place::Unallocated, end - grain));
        };
        let sector = lookup.u32_at(start + index * 4)?;
        Ok((self.place_of(lookup, sector, grain)?, 1))
    }
}

/// The header, and for a stream with its directory at the end, the footer.
fn read_header(backing: &Backing, file: FileId) -> Result<Header> {
    let mut sector = [0; SECTOR as usize];
    backing.read(file, &mut sector, 0)?;
    let mut header = Header::parse(&sector)?;
    let size = backing.size(file);
    if header.directory_offset == GD_AT_END {
        header = read_footer(backing, file, &header)?;
    }
    let redundant = Some(header.redundant_offset).filter(|_| header.flags.has(Flags::REDUNDANT));
    for directory in [Some(header.directory_offset), redundant].into_iter().flatten() {
        let end = directory.checked_mul(SECTOR).and_then(|start| start.checked_add(header.tables() * 4));
        if header.tables() > 0 && (directory == 0 || end.is_none_or(|end| end > size)) {
            return Err(Error::malformed(format!(
                "its grain directory, at sector {directory}, lies behind the end of the file: it was cut"
            )));
        }
    }
    if header.overhead.checked_mul(SECTOR).is_none_or(|bytes| bytes > size) {
        return Err(Error::malformed("the file ends within its own tables: it was cut"));
    }
    Ok(header)
}

/// Behind the footer there may be zeros: what a stream is carried in is filled up with them.
pub(crate) const TRAILING_ZEROS: u64 = 1 << 20;

fn read_footer(backing: &Backing, file: FileId, header: &Header) -> Result<Header> {
    let cut = || {
        Error::new(
            crate::ErrorKind::Unfinished,
            "it has no footer at its end: the stream was cut, or its writer has not finished it",
        )
    };
    let end = backing.size(file) / SECTOR;
    let mut sector = [0; SECTOR as usize];
    for back in 0..(TRAILING_ZEROS / SECTOR).min(end) {
        let at = end - 1 - back;
        backing.read(file, &mut sector, at * SECTOR)?;
        if sector.iter().all(|byte| *byte == 0) {
            continue;
        }
        // The end-of-stream marker is zeros, and has to be there: without it the end may be missing.
        if sector[..4] != header::MAGIC || back == 0 {
            return Err(cut());
        }
        let mut footer = Header::parse(&sector)?;
        if footer.directory_offset == GD_AT_END {
            return Err(Error::malformed("its footer does not say where the grain directory is"));
        }
        if !header.is_of_one_disk_with(&footer) {
            return Err(Error::malformed("its footer and its header are of two disks"));
        }
        // Where the descriptor is, is said by the header at the front.
        footer.descriptor_offset = header.descriptor_offset;
        footer.descriptor_size = header.descriptor_size;
        return Ok(footer);
    }
    Err(cut())
}
