//! What a file system is read from: bytes at positions, checked, with a cache for metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use vmdk::ReadAt;

use crate::error::{Error, Result};

/// Bytes of a line of the cache. Inodes and entries of a folder lie together, so more is read than was asked for.
const LINE: u64 = 32 << 10;
/// Lines of the cache: 8 MiB for each open volume.
const LINES: u64 = 256;
/// The largest piece of metadata that is read at once; the largest block of any of the formats is 64 KiB, but for NTFS's index
/// records and clusters of up to 2 MiB.
const LARGEST: usize = 4 << 20;

/// The number of a line and its bytes.
type Line = (u64, Arc<[u8]>);

/// The bytes of a volume. Clones share the cache.
#[derive(Clone)]
pub(crate) struct Device {
    source: Arc<dyn ReadAt>,
    size: u64,
    lines: Arc<Mutex<Vec<Option<Line>>>>,
}

impl Device {
    pub(crate) fn new(source: Arc<dyn ReadAt>) -> Result<Self> {
        let size = source.size().map_err(|error| Error::io("cannot tell the size of the volume", error))?;
        Ok(Self { source, size, lines: Arc::new(Mutex::new(vec![None; LINES as usize])) })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn source(&self) -> &Arc<dyn ReadAt> {
        &self.source
    }

    /// Fills the buffer, past the cache: for the content of files.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let length = buffer.len();
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(Error::damaged(format!(
                "{length} bytes at {offset} are wanted, behind the end of the volume"
            )));
        }
        self.source
            .read_exact_at(buffer, offset)
            .map_err(|error| Error::io(format!("cannot read {length} bytes at {offset}"), error))
    }

    /// Metadata, through the cache.
    pub(crate) fn block(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length > LARGEST {
            return Err(Error::too_large(format!("a structure of {length} bytes")));
        }
        let end = offset.checked_add(length as u64).filter(|&end| end <= self.size).ok_or_else(|| {
            Error::damaged(format!("a structure of {length} bytes at {offset}, behind the end of the volume"))
        })?;
        let mut block = Vec::with_capacity(length);
        let mut at = offset;
        while at < end {
            let line = at / LINE;
            let bytes = self.line(line)?;
            let from = (at - line * LINE) as usize;
            let to = (end - line * LINE).min(bytes.len() as u64) as usize;
            block.extend_from_slice(bytes.get(from..to).unwrap_or_default());
            at = (line + 1) * LINE;
        }
        Ok(block)
    }

    fn line(&self, number: u64) -> Result<Arc<[u8]>> {
        let slot = (number % LINES) as usize;
        if let Some(Some((held, bytes))) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(slot)
            && *held == number
        {
            return Ok(bytes.clone());
        }
        let start = number * LINE;
        let mut bytes = vec![0; LINE.min(self.size.saturating_sub(start)) as usize];
        self.read(start, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(place) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get_mut(slot) {
            *place = Some((number, bytes.clone()));
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What stands for a unit of the volume.
pub(crate) enum Patch {
    /// The unit at this position of the volume, with its first bytes replaced.
    Moved(u64, Option<[u8; 4]>),
    /// These bytes.
    Bytes(Box<[u8]>),
}

/// A volume as it is once its journal is replayed; nothing is written.
pub(crate) struct Overlay {
    inner: Arc<dyn ReadAt>,
    /// Bytes of a unit.
    unit: u64,
    patches: BTreeMap<u64, Patch>,
}

impl Overlay {
    pub(crate) fn new(inner: Arc<dyn ReadAt>, unit: u64, patches: BTreeMap<u64, Patch>) -> Self {
        Self { inner, unit, patches }
    }
}

impl ReadAt for Overlay {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for (number, patch) in self.patches.range(offset / self.unit..end.div_ceil(self.unit)) {
            let start = number * self.unit;
            let (from, to) = (offset.max(start), end.min(start + self.unit));
            let within = (from - start) as usize..(to - start) as usize;
            let Some(target) = buffer.get_mut((from - offset) as usize..(to - offset) as usize) else {
                continue;
            };
            match patch {
                Patch::Bytes(bytes) => {
                    let bytes = bytes.get(within).ok_or(io::ErrorKind::InvalidData)?;
                    target.copy_from_slice(bytes);
                }
                Patch::Moved(place, first) => {
                    self.inner.read_exact_at(target, place + within.start as u64)?;
                    let replaced = first.iter().flatten().enumerate().skip(within.start);
                    for (byte, (_, new)) in target.iter_mut().zip(replaced) {
                        *byte = *new;
                    }
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}
