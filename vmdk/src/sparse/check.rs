//! Checking the tables of a hosted sparse extent, and mending them from their copy.

use super::Hosted;
use super::header::{Flags, GD_AT_END};
use super::used::Used;
use crate::SECTOR;
use crate::backing::{Backing, FileId};
use crate::check::{Findings, Problem};
use crate::error::Result;

/// One directory's tables, as the file has them.
struct Copy {
    directory: u64,
    table: Vec<u8>,
    /// The sector of the table, if there is one within the file.
    start: Option<u64>,
    /// Where the directory says that it is.
    outside: Option<u64>,
}

impl Hosted {
    /// Compares the tables with the file, with their copy and with one another.
    pub(crate) fn check(&self, backing: &Backing, file: FileId, deep: bool) -> Result<Findings> {
        let header = &self.header;
        let mut findings = Findings::default();
        let mut used = Used::default();
        let file_sectors = backing.size(file) / SECTOR;
        if header.unclean {
            findings.add(Problem::Unclean);
        }
        let mut tables = Copy::of(header.directory_offset);
        let redundant = header.flags.has(Flags::REDUNDANT) && header.redundant_offset != GD_AT_END;
        let mut copy = redundant.then(|| Copy::of(header.redundant_offset));
        let entries = u64::from(header.entries_per_table);
        let grains = header.capacity.div_ceil(header.grain);
        for table in 0..header.tables() {
            for copy in [Some(&mut tables), copy.as_mut()].into_iter().flatten() {
                copy.read(self, backing, file, table)?;
                if let Some(sector) = copy.outside {
                    findings.add(Problem::TableOutside { table, sector });
                } else if let Some(sector) = copy.start.filter(|sector| *sector >= header.overhead) {
                    used.mark(sector, header.table_sectors());
                }
            }
            let (first, last) = (table * entries, grains.min((table + 1) * entries));
            for grain in first..last {
                let index = (grain - first) as usize;
                let entry = tables.entry(index);
                let other = copy.as_ref().filter(|copy| copy.outside.is_none()).map(|copy| copy.entry(index));
                self.compare(grain, entry, other, tables.outside.is_some(), file_sectors, &mut findings);
                if self.is_good(entry, grain, file_sectors) && entry > 1 {
                    findings.grains += 1;
                    let sector = u64::from(entry);
                    let sectors = match header.is_stream() {
                        true if deep => self.check_record(backing, file, grain, sector, &mut findings),
                        true => 1,
                        false => header.grain.min(file_sectors - sector),
                    };
                    if !used.mark(sector, sectors) {
                        findings.add(Problem::GrainShared { grain, sector });
                    }
                }
            }
        }
        let leaked = file_sectors.saturating_sub(header.overhead).saturating_sub(used.count());
        // A stream has markers between its grains.
        if leaked > 0 && !header.is_stream() {
            findings.add(Problem::Leaked { sectors: leaked });
        }
        Ok(findings)
    }

    /// Writes the entries that were found to be right into the tables and their copy. Returns how many problems that mended.
    pub(crate) fn repair(&self, backing: &Backing, file: FileId, findings: &Findings) -> Result<u64> {
        if findings.right.is_empty() && !self.header.unclean {
            return Ok(0);
        }
        self.mark_unclean(backing, file)?;
        for (grain, sector) in &findings.right {
            self.enter(backing, file, *grain, *sector)?;
        }
        self.flush(backing, file)?;
        let mended = findings.right.len() as u64;
        // The mark stays as long as something is wrong that a later, better tool may mend.
        if findings.losses > 0 {
            return Ok(mended);
        }
        self.mark_clean(backing, file)?;
        Ok(mended + u64::from(self.header.unclean))
    }

    fn compare(
        &self,
        grain: u64,
        entry: u32,
        other: Option<u32>,
        no_table: bool,
        file_sectors: u64,
        findings: &mut Findings,
    ) {
        let (good, other_good) = (
            self.is_good(entry, grain, file_sectors),
            other.is_some_and(|other| self.is_good(other, grain, file_sectors)),
        );
        match other {
            // In a file that was not closed a write has ended between the two, and readers go by the first.
            Some(other) if other_good && good && other != entry && !self.header.unclean => {
                findings.add(Problem::CopyDiffers { grain })
            }
            Some(other) if other_good && !good => {
                findings.add(Problem::OnlyInCopy { grain });
                if !no_table {
                    findings.right.push((grain, other));
                }
            }
            Some(other) if good && other != entry => {
                findings.add(Problem::CopyLacks { grain });
                findings.right.push((grain, entry));
            }
            _ if entry == 1 && !good => findings.add(Problem::EntryOne { grain }),
            _ if entry != 0 && !good => findings.add(Problem::GrainOutside { grain, sector: entry.into() }),
            _ => {}
        }
    }

    /// Whether an entry says something that can be: not that there is nothing.
    fn is_good(&self, entry: u32, grain: u64, file_sectors: u64) -> bool {
        match u64::from(entry) {
            0 => false,
            1 => self.header.flags.has(Flags::ZEROED_GRAINS),
            sector => self.fits(sector, grain, file_sectors),
        }
    }

    /// Inflates a grain; returns the sectors that its record takes.
    fn check_record(
        &self,
        backing: &Backing,
        file: FileId,
        grain: u64,
        sector: u64,
        findings: &mut Findings,
    ) -> u64 {
        match self.read_packed(backing, file, sector * SECTOR, grain) {
            Ok((_, sectors)) => sectors,
            Err(error) => {
                findings.add(Problem::BadRecord { grain, what: error.to_string() });
                1
            }
        }
    }
}

impl Copy {
    fn of(directory: u64) -> Self {
        Self { directory, table: Vec::new(), start: None, outside: None }
    }

    fn read(&mut self, hosted: &Hosted, backing: &Backing, file: FileId, table: u64) -> Result<()> {
        (self.start, self.outside) = (None, None);
        self.table.clear();
        let sector = u64::from(backing.lookup(file).u32_at(self.directory * SECTOR + table * 4)?);
        if sector == 0 {
            return Ok(());
        }
        if (sector + hosted.header.table_sectors()) * SECTOR > backing.size(file) {
            self.outside = Some(sector);
            return Ok(());
        }
        self.start = Some(sector);
        self.table.resize((hosted.header.table_sectors() * SECTOR) as usize, 0);
        backing.read(file, &mut self.table, sector * SECTOR)
    }

    /// 0 where there is no table.
    fn entry(&self, index: usize) -> u32 {
        let bytes = self.table.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }
}
