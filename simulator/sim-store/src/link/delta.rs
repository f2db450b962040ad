//! The data of a child link: a sparse host file with the written grains at their guest offsets, followed by a
//! header and a bitmap that tells which grains the link holds.
//!
//! ```text
//! 0                    data, capacity rounded up to whole grains
//! data_end             header: magic, version, grain size, capacity (4096 bytes)
//! data_end + 4096      bitmap: one bit a grain, lowest bit first
//! ```
//! A bit is set after its grain's data is written, so a process that dies between the two loses only that write.
//! The bitmap is read from the file at every use: another process may be the writer.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result, files};

/// Bytes of a grain, the unit of copy-on-write.
pub(crate) const GRAIN: u64 = 64 << 10;
const HEADER: u64 = 4096;
const MAGIC: &[u8; 8] = b"SIMDELTA";
const VERSION: u32 = 1;
/// Bitmap bytes read at once: 32 KiB cover 16 GiB of disk.
const BITMAP_CHUNK: u64 = 32 << 10;

pub(crate) struct Delta {
    file: File,
    path: PathBuf,
    capacity: u64,
}

impl Delta {
    /// Makes an empty delta file for a disk of `capacity` bytes.
    pub(crate) fn create(path: &Path, capacity: u64) -> Result<()> {
        let file = files::create_sparse(path, total_length(capacity))?;
        file.write_all_at(&header(capacity), data_end(capacity)).map_err(|source| {
            // The write's failure is the one to report; a leftover file blocks only this name.
            let _ = files::remove(path);
            Error::io("a delta file cannot be written", source).at(path)
        })
    }

    pub(crate) fn open(file: File, path: PathBuf, capacity: u64) -> Result<Self> {
        let length = file
            .metadata()
            .map_err(|source| Error::io("a data file cannot be examined", source).at(&path))?
            .len();
        if length < total_length(capacity) {
            let what = "the delta file is shorter than its disk needs; restore the file";
            return Err(Error::new(ErrorKind::Truncated, what).at(path));
        }
        let mut found = [0; 28];
        file.read_exact_at(&mut found, data_end(capacity))
            .map_err(|source| Error::io("the delta file's header cannot be read", source).at(&path))?;
        if found != header(capacity) {
            let what = "the delta file's header is not one this version writes";
            return Err(Error::new(ErrorKind::Corrupt, what).at(path));
        }
        Ok(Self { file, path, capacity })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Calls `visit(start, end, held)` for each run of `start..end` in which the link holds all grains or none.
    pub(crate) fn runs(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, u64, bool) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if start >= end {
            return Ok(ControlFlow::Continue(()));
        }
        let last = (end - 1) / GRAIN;
        let mut run: Option<(u64, bool)> = None;
        let mut byte_at = start / GRAIN / 8;
        while byte_at <= last / 8 {
            let count = (last / 8 + 1 - byte_at).min(BITMAP_CHUNK);
            let bitmap = self.bitmap(byte_at, count as usize)?;
            for (index, &byte) in bitmap.iter().enumerate() {
                let first = (byte_at + index as u64) * 8;
                if let Some((_, held)) = run
                    && byte == if held { 0xff } else { 0 }
                {
                    continue;
                }
                for bit in 0..8 {
                    let grain = first + bit;
                    if grain < start / GRAIN || grain > last {
                        continue;
                    }
                    let held = byte >> bit & 1 == 1;
                    match run {
                        Some((_, state)) if state == held => {}
                        Some((from, state)) => {
                            if visit(from, grain * GRAIN, state)?.is_break() {
                                return Ok(ControlFlow::Break(()));
                            }
                            run = Some((grain * GRAIN, held));
                        }
                        None => run = Some((start, held)),
                    }
                }
            }
            byte_at += count;
        }
        match run {
            Some((from, held)) => visit(from, end, held),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Reads bytes of grains that the link holds.
    pub(crate) fn read_held(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| Error::io("the delta's data cannot be read in full", source).at(&self.path))
    }

    /// Writes; `below` supplies the parent's bytes of a grain that is only partly covered and not yet held.
    pub(crate) fn write(
        &self,
        offset: u64,
        bytes: &[u8],
        below: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let end = offset + bytes.len() as u64;
        self.fill_edges(offset, end, below)?;
        self.file
            .write_all_at(bytes, offset)
            .map_err(|source| Error::io("the delta's data cannot be written", source).at(&self.path))?;
        self.hold(offset, end)
    }

    /// Makes a range read as zeros, whatever the parent holds there.
    pub(crate) fn zero(
        &self,
        offset: u64,
        length: u64,
        below: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        self.fill_edges(offset, offset + length, below)?;
        files::punch(&self.file, offset, length).map_err(|error| error.at(&self.path))?;
        self.hold(offset, offset + length)
    }

    /// Copies the parent's bytes into the first and the last grain of a range, where the range covers only a part
    /// of them and the link does not hold them yet.
    fn fill_edges(&self, start: u64, end: u64, below: &dyn Fn(u64, &mut [u8]) -> Result<()>) -> Result<()> {
        let (first, last) = (start / GRAIN, (end - 1) / GRAIN);
        let edges = if first == last { &[first][..] } else { &[first, last][..] };
        for &grain in edges {
            let from = grain * GRAIN;
            let to = (from + GRAIN).min(self.capacity);
            let covered = start <= from && end >= to;
            if covered || self.bitmap(grain / 8, 1)?[0] >> (grain % 8) & 1 == 1 {
                continue;
            }
            let mut buffer = vec![0; (to - from) as usize];
            below(from, &mut buffer)?;
            if buffer.iter().all(|&byte| byte == 0) {
                // Not merely left alone: a writer that died may have left bytes here without setting the bit.
                files::punch(&self.file, from, to - from).map_err(|error| error.at(&self.path))?;
            } else {
                self.file.write_all_at(&buffer, from).map_err(|source| {
                    Error::io("the delta's data cannot be written", source).at(&self.path)
                })?;
            }
        }
        Ok(())
    }

    /// Sets the bits of all grains that `start..end` touches. The caller holds the writer's lock.
    fn hold(&self, start: u64, end: u64) -> Result<()> {
        let (first, last) = (start / GRAIN, (end - 1) / GRAIN);
        let mut bitmap = self.bitmap(first / 8, (last / 8 - first / 8 + 1) as usize)?;
        let before = bitmap.clone();
        for grain in first..=last {
            bitmap[(grain / 8 - first / 8) as usize] |= 1 << (grain % 8);
        }
        if bitmap == before {
            return Ok(());
        }
        self.file
            .write_all_at(&bitmap, data_end(self.capacity) + HEADER + first / 8)
            .map_err(|source| Error::io("the delta's bitmap cannot be written", source).at(&self.path))
    }

    fn bitmap(&self, first_byte: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file
            .read_exact_at(&mut bytes, data_end(self.capacity) + HEADER + first_byte)
            .map_err(|source| Error::io("the delta's bitmap cannot be read", source).at(&self.path))?;
        Ok(bytes)
    }
}

fn header(capacity: u64) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&GRAIN.to_le_bytes());
    bytes[20..].copy_from_slice(&capacity.to_le_bytes());
    bytes
}

/// Capacities are bounded by `MAX_CAPACITY`, so none of these sums can overflow.
fn data_end(capacity: u64) -> u64 {
    capacity.next_multiple_of(GRAIN)
}

fn total_length(capacity: u64) -> u64 {
    data_end(capacity) + HEADER + capacity.div_ceil(GRAIN).div_ceil(8)
}
