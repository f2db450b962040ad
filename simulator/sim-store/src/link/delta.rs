//! The data of a child link: the grains that were written since its parent was frozen, in one of ESXi's two formats.
//!
//! ```text
//! directory       table: 4096 entries      grains, in the order of their first write
//! [ . | t | . ] -> [ . | g | 0 | g ] -----> [ data ][ data ] ...
//!   no table: all of its grains are the parent's         vmfsSparse (cowd):  u32 entries, grains of 512 bytes
//!                                                        SESparse:           u64 entries, grains of 4 KiB
//! ```
//! A write goes in this order: data behind everything that is in use, the header's word of how far that is, table
//! entries, directory entry. So whoever reads meanwhile, or after the writer was killed, finds every entry leading to
//! data. A grain keeps its place as long as the file lives: were it given to other bytes, a reader that had just
//! looked up its entry would read those. Tables are read from the file at every use, since another process may be
//! the writer; entries are aligned words, which a host copies whole.

mod cowd;
mod sesparse;
mod write;

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::descriptor::DeltaFormat;
use crate::{Error, ErrorKind, Result, files};

/// Entries of a table, in both formats.
const ENTRIES: u64 = 4096;
/// Directory entries read at once.
const DIRECTORY_CHUNK: u64 = 16 << 10;

/// Where the bytes of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not in this link.
    Parent,
    /// Held as zeros, without data.
    Zero,
    /// Held, from this byte of the file on.
    Data(u64),
}

/// What the two formats do differently. Entries are their numbers, positions are bytes of the file.
trait Format: Send + Sync {
    /// Bytes of a grain, the unit of copy-on-write.
    fn grain(&self) -> u64;
    /// Bytes of an entry of the directory, and of a table.
    fn entry(&self) -> u64;
    /// Where the directory begins.
    fn directory(&self) -> u64;
    /// Where the table of a directory entry other than 0 begins; `None` for an entry that this crate does not write.
    fn table(&self, entry: u64) -> Option<u64>;
    /// What a table entry means; `None` as above.
    fn place(&self, entry: u64) -> Option<Place>;
    /// The entry of a grain with data; `None` if the format cannot count so far.
    fn data_entry(&self, position: u64) -> Option<u64>;
    /// The entry of a grain of zeros, if the format has one.
    fn zero_entry(&self) -> Option<u64>;
    /// Hands out a table: its directory entry and where it begins. `free` is where unused space begins.
    fn claim_table(&self, file: &File, free: u64) -> Result<(u64, u64)>;
    /// Where the data of grains from guest byte `guest` on may go, if unused space begins at `free`.
    fn data_start(&self, free: u64, guest: u64) -> u64;
    /// Notes in the header that the file is in use up to `end`.
    fn note_end(&self, file: &File, end: u64) -> std::io::Result<()>;
}

pub(crate) struct Delta {
    file: File,
    path: PathBuf,
    capacity: u64,
    format: Box<dyn Format>,
}

/// Supplies the parent's bytes from a guest offset on.
pub(crate) type Below<'a> = &'a dyn Fn(u64, &mut [u8]) -> Result<()>;

impl Delta {
    /// Makes an empty delta file for a disk of `capacity` bytes.
    pub(crate) fn create(path: &Path, capacity: u64, format: DeltaFormat) -> Result<()> {
        let (length, headers) = match format {
            DeltaFormat::VmfsSparse => cowd::empty(capacity)?,
            DeltaFormat::SeSparse => sesparse::empty(capacity),
        };
        let file = files::create_sparse(path, length)?;
        file.write_all_at(&headers, 0).map_err(|source| {
            // The write's failure is the one to report; a leftover file blocks only this name.
            let _ = files::remove(path);
            Error::io("a delta file cannot be written", source).at(path)
        })
    }

    pub(crate) fn open(file: File, path: PathBuf, capacity: u64, format: DeltaFormat) -> Result<Self> {
        let opened: Result<(Box<dyn Format>, u64)> = match format {
            DeltaFormat::VmfsSparse => cowd::open(&file, capacity),
            DeltaFormat::SeSparse => sesparse::open(&file, capacity),
        };
        let (format, end) = opened.map_err(|error| error.at(&path))?;
        let delta = Self { file, path, capacity, format };
        // Asked for after the header was read, so that a writer can only have made it longer.
        if delta.length()? < end {
            let what = "the delta file is shorter than its header says; restore the file";
            return Err(Error::new(ErrorKind::Truncated, what).at(delta.path));
        }
        Ok(delta)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Calls `visit` with the runs of `start..end`, ascending, each as long as its bytes are in one place.
    pub(crate) fn runs(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, u64, Place) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let (grain, reach) = (self.format.grain(), self.reach());
        let mut run: Option<(u64, u64, Place)> = None;
        let mut push = |from: u64, to: u64, place: Place| {
            if let Some((first, last, before)) = &mut run {
                let joins = match (*before, place) {
                    (Place::Data(at), Place::Data(next)) => at + (*last - *first) == next,
                    (before, place) => before == place,
                };
                if joins {
                    *last = to;
                    return Ok(ControlFlow::Continue(()));
                }
            }
            match run.replace((from, to, place)) {
                Some((from, to, place)) => visit(from, to, place),
                None => Ok(ControlFlow::Continue(())),
            }
        };
        let mut at = start;
        while at < end {
            let first = at / reach;
            let count = ((end - 1) / reach + 1 - first).min(DIRECTORY_CHUNK);
            let directory = self.entries(self.format.directory() + first * self.format.entry(), count)?;
            for (number, entry) in (first..).zip(directory) {
                let to = ((number + 1) * reach).min(end);
                if entry == 0 {
                    if push(at, to, Place::Parent)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    at = to;
                    continue;
                }
                let places = self.places(self.table(entry)?, at / grain, (to - 1) / grain)?;
                for place in places {
                    let next = ((at / grain + 1) * grain).min(to);
                    let place = match place {
                        Place::Data(position) => Place::Data(position + at % grain),
                        other => other,
                    };
                    if push(at, next, place)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    at = next;
                }
            }
        }
        match run {
            Some((from, to, place)) => visit(from, to, place),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Reads bytes that [`Delta::runs`] found at a position.
    pub(crate) fn read_data(&self, position: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, position)
            .map_err(|source| Error::io("the delta's data cannot be read in full", source).at(&self.path))
    }

    /// Visits what of the guest's `start..end`, found at `position`, the host's file system has data for: holes were
    /// zeroed. Bytes past the end of a truncated file count as data, so that a reader comes by and fails.
    pub(crate) fn data_ranges(
        &self,
        start: u64,
        end: u64,
        position: u64,
        visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let stop = position + (end - start);
        if self.length()? < stop {
            return visit(start, end);
        }
        files::data_ranges(&self.file, position, stop, &mut |from, to| {
            visit(start + (from - position), start + (to - position))
        })
    }

    /// Bytes of the disk that one table covers.
    fn reach(&self) -> u64 {
        ENTRIES * self.format.grain()
    }

    fn table(&self, entry: u64) -> Result<u64> {
        self.format.table(entry).ok_or_else(|| self.corrupt("directory", entry))
    }

    fn place(&self, entry: u64) -> Result<Place> {
        self.format.place(entry).ok_or_else(|| self.corrupt("table", entry))
    }

    fn places(&self, table: u64, first: u64, last: u64) -> Result<Vec<Place>> {
        let entries = self.entries(table + first % ENTRIES * self.format.entry(), last - first + 1)?;
        entries.into_iter().map(|entry| self.place(entry)).collect()
    }

    fn corrupt(&self, kind: &str, entry: u64) -> Error {
        let what = format!("the delta's {kind} entry {entry:#x} leads nowhere");
        Error::new(ErrorKind::Corrupt, what).at(&self.path)
    }

    fn entries(&self, position: u64, count: u64) -> Result<Vec<u64>> {
        let size = self.format.entry() as usize;
        let mut bytes = vec![0; count as usize * size];
        self.file
            .read_exact_at(&mut bytes, position)
            .map_err(|source| Error::io("the delta's tables cannot be read", source).at(&self.path))?;
        Ok(bytes.chunks_exact(size).map(word).collect())
    }

    fn length(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|source| Error::io("a data file cannot be examined", source).at(&self.path))?
            .len())
    }
}

/// A little-endian number of at most 8 bytes.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// A header that is no delta's of this format.
fn unknown_header(what: &str) -> Error {
    let what = format!(
        "{what}: it is damaged, or from an older simulator, whose snapshots cannot be used any more; begin with a new data folder"
    );
    Error::new(ErrorKind::Corrupt, what)
}
