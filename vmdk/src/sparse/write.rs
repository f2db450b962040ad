//! Writing to a hosted sparse extent, so that whatever was flushed survives the end of the process or of power.
//!
//! A grain is written behind the end of the file, and stays unknown until a flush: that syncs the grains, then writes the tables,
//! the redundant ones first, and syncs again. So no table ever leads to a grain that is not there, at whatever write it ends.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::Hosted;
use super::header::Flags;
use crate::SECTOR;
use crate::backing::{Backing, FileId};
use crate::error::{Error, ErrorKind, Result};

/// Entries that are kept for the next flush: 4 GiB of new grains.
const MOST_PENDING: usize = 1 << 16;
const UNCLEAN_AT: u64 = 72;

#[derive(Debug)]
pub(crate) struct Writer {
    /// The first sector behind all grains and tables.
    next_free: u64,
    marked_unclean: bool,
}

impl Writer {
    pub(crate) fn new(next_free: u64) -> Self {
        Self { next_free, marked_unclean: false }
    }
}

impl Hosted {
    /// Whether this extent can be written to, and if not, why.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.header.is_stream() {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "a streamOptimized disk can't be changed; convert it first",
            ));
        }
        if self.header.version > 2 {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "a sparse extent of version 3 that is not compressed has its changes tracked by its product; convert it first",
            ));
        }
        Ok(())
    }

    /// Gives a grain this content, of a whole grain. It must have no place in the file yet, and the file be marked as unclean.
    pub(crate) fn allocate(&self, backing: &Backing, file: FileId, grain: u64, content: &[u8]) -> Result<()> {
        let sector = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let sector = writer.next_free;
            // A table entry is a 32-bit sector number.
            if sector + self.header.grain > u64::from(u32::MAX) {
                return Err(too_large(backing.name(file)));
            }
            writer.next_free = sector + self.header.grain;
            sector as u32
        };
        backing.write(file, content, u64::from(sector) * SECTOR)?;
        self.enter(backing, file, grain, sector)
    }

    /// Whether a grain can be made zero without writing zeros.
    pub(crate) fn can_zero(&self) -> bool {
        self.header.flags.has(Flags::ZEROED_GRAINS)
    }

    /// Makes a whole grain zero. One that it had in the file is lost to the file.
    pub(crate) fn zero(&self, backing: &Backing, file: FileId, grain: u64) -> Result<()> {
        self.mark_unclean(backing, file)?;
        self.enter(backing, file, grain, 1)
    }

    /// Writes down that the file is being written to, before anything is. Also before a write to a grain that is there.
    pub(crate) fn mark_unclean(&self, backing: &Backing, file: FileId) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !writer.marked_unclean {
            backing.write(file, &[1], UNCLEAN_AT)?;
            backing.sync(file)?;
            writer.marked_unclean = true;
        }
        Ok(())
    }

    pub(super) fn enter(&self, backing: &Backing, file: FileId, grain: u64, sector: u32) -> Result<()> {
        let count = {
            let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
            pending.insert(grain, sector);
            pending.len()
        };
        if count >= MOST_PENDING { self.flush(backing, file) } else { Ok(()) }
    }

    /// Makes all that was written until now survive a loss of power. After an error it may be tried again.
    pub(crate) fn flush(&self, backing: &Backing, file: FileId) -> Result<()> {
        // Held all the time, so that two flushes do not make one table twice.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = self.pending.read().unwrap_or_else(PoisonError::into_inner).clone();
        // After the entries were taken, so that it holds for the grains of all of them.
        backing.sync(file)?;
        if entries.is_empty() {
            return Ok(());
        }
        if self.header.flags.has(Flags::REDUNDANT) {
            self.write_entries(backing, file, &mut writer, self.header.redundant_offset, &entries)?;
            backing.sync(file)?;
        }
        self.write_entries(backing, file, &mut writer, self.header.directory_offset, &entries)?;
        backing.sync(file)?;
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|grain, sector| entries.get(grain) != Some(sector));
        Ok(())
    }

    /// Takes back the note that the file is being written to. After a flush, at the end.
    pub(crate) fn mark_clean(&self, backing: &Backing, file: FileId) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.marked_unclean {
            backing.write(file, &[0], UNCLEAN_AT)?;
            backing.sync(file)?;
            writer.marked_unclean = false;
        }
        Ok(())
    }

    /// Writes entries into the tables of one directory; makes the tables that are missing.
    fn write_entries(
        &self,
        backing: &Backing,
        file: FileId,
        writer: &mut Writer,
        directory: u64,
        entries: &BTreeMap<u64, u32>,
    ) -> Result<()> {
        let per_table = u64::from(self.header.entries_per_table);
        let mut rest = entries.iter().peekable();
        while let Some(first) = rest.peek().map(|(grain, _)| **grain) {
            let table = first / per_table;
            let start = self.table_start(&mut backing.lookup(file), directory, table)?;
            let mut bytes = vec![0; (self.header.table_sectors() * SECTOR) as usize];
            if let Some(start) = start {
                backing.read(file, &mut bytes, start)?;
            }
            while let Some((&grain, &sector)) = rest.next_if(|(grain, _)| **grain / per_table == table) {
                let at = (grain % per_table) as usize * 4;
                bytes[at..at + 4].copy_from_slice(&sector.to_le_bytes());
            }
            match start {
                Some(start) => backing.write(file, &bytes, start)?,
                None => self.append_table(backing, file, writer, directory, table, &bytes)?,
            }
        }
        Ok(())
    }

    fn append_table(
        &self,
        backing: &Backing,
        file: FileId,
        writer: &mut Writer,
        directory: u64,
        table: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let sector = writer.next_free;
        if sector + self.header.table_sectors() > u64::from(u32::MAX) {
            return Err(too_large(backing.name(file)));
        }
        writer.next_free = (sector + self.header.table_sectors()).next_multiple_of(self.header.grain);
        backing.write(file, bytes, sector * SECTOR)?;
        backing.sync(file)?;
        backing.write(file, &(sector as u32).to_le_bytes(), directory * SECTOR + table * 4)
    }
}

fn too_large(name: &str) -> Error {
    let message = "a sparse extent can't be larger than 2 TiB: its tables have no numbers for more. Split the disk, or write a flat one";
    Error::new(ErrorKind::TooLarge, message).in_file(name)
}
