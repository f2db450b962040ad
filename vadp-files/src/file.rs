//! The content of a file: extents of the volume, and what has to be unpacked.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::Device;
use crate::error::{Error, Result};

/// The most extents of a file: 160 MiB of them.
pub(crate) const MOST_EXTENTS: usize = 4 << 20;

/// The most nodes of trees that are visited for one answer: levels fall with each step, but a node could be named many times.
pub(crate) const MOST_NODES: u32 = 1 << 20;

/// Counts a node that is visited.
pub(crate) fn visit(left: &mut u32) -> Result<()> {
    *left = left.checked_sub(1).ok_or_else(|| Error::damaged("a tree of more nodes than any file needs"))?;
    Ok(())
}

/// The content of a regular file. May be read by several threads at once.
pub struct File {
    device: Device,
    size: u64,
    /// In rising order, none overlapping; what is between them is zero.
    extents: Vec<Extent>,
    /// The piece that was unpacked last, by its place in `extents`.
    unpacked: Mutex<Option<(usize, Arc<[u8]>)>>,
}

/// Bytes of a file that lie together.
pub(crate) struct Extent {
    /// Where they begin in the file.
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) place: Place,
}

/// Where the bytes of an extent are.
#[derive(Clone)]
pub(crate) enum Place {
    /// From this position of the volume on.
    Device(u64),
    /// Here.
    Memory(Arc<[u8]>),
    /// In something compressed, from this byte of its content on.
    Packed(Arc<dyn Packed>, usize),
}

/// Something compressed, small enough to be unpacked whole.
pub(crate) trait Packed: Send + Sync {
    /// All of its content. Fewer bytes than the extents want are an error of theirs.
    fn unpack(&self, device: &Device) -> Result<Vec<u8>>;
}

impl File {
    /// A file of these extents, in any order. What of them is behind `size` is cut off.
    pub(crate) fn new(device: Device, size: u64, mut extents: Vec<Extent>) -> Result<Self> {
        if !extents.is_sorted_by_key(|extent| extent.start) {
            extents.sort_by_key(|extent| extent.start);
        }
        let mut end = 0;
        for extent in &extents {
            let overlaps = extent.start < end;
            end = extent
                .start
                .checked_add(extent.length)
                .ok_or_else(|| Error::damaged("an extent without an end"))?;
            if overlaps {
                return Err(Error::damaged(format!(
                    "two extents have the byte {} of the file",
                    extent.start
                )));
            }
            if let Place::Device(at) = extent.place
                && at
                    .checked_add(extent.length.min(size.saturating_sub(extent.start)))
                    .is_none_or(|end| end > device.size())
            {
                return Err(Error::damaged("an extent lies behind the end of the volume"));
            }
        }
        extents.retain(|extent| extent.start < size && extent.length > 0);
        if let Some(last) = extents.last_mut() {
            last.length = last.length.min(size - last.start);
        }
        Ok(Self { device, size, extents, unpacked: Mutex::new(None) })
    }

    /// A file whose content is in memory.
    pub(crate) fn of_bytes(device: Device, bytes: Vec<u8>) -> Result<Self> {
        let length = bytes.len() as u64;
        Self::new(device, length, vec![Extent { start: 0, length, place: Place::Memory(bytes.into()) }])
    }

    /// Bytes of the content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer with the bytes from `offset` on; holes read as zeros.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless all of it is within the file;
    /// [`Damaged`](crate::ErrorKind::Damaged) when something compressed does not unpack to what it should; [`Io`](crate::ErrorKind::Io).
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let end =
            offset.checked_add(buffer.len() as u64).filter(|&end| end <= self.size).ok_or_else(|| {
                Error::invalid(format!("{} bytes at {offset} of a file of {} bytes", buffer.len(), self.size))
            })?;
        let mut at = offset;
        let mut index = self.extents.partition_point(|extent| extent.start + extent.length <= offset);
        let mut rest = buffer;
        while at < end {
            let extent = self.extents.get(index).filter(|extent| extent.start < end);
            // What is before the next extent is a hole.
            let start = extent.map_or(end, |extent| extent.start.max(at));
            let (hole, after) = split(rest, start - at)?;
            hole.fill(0);
            let Some(extent) = extent else { break };
            let stop = end.min(extent.start + extent.length);
            let (now, later) = split(after, stop - start)?;
            self.fill(now, index, extent, start - extent.start)?;
            rest = later;
            at = stop;
            index += 1;
        }
        Ok(())
    }

    fn fill(&self, buffer: &mut [u8], index: usize, extent: &Extent, skip: u64) -> Result<()> {
        let short = || Error::damaged("fewer bytes are stored than the file has");
        let from = match &extent.place {
            Place::Device(at) => return self.device.read(at + skip, buffer),
            Place::Memory(bytes) => {
                buffer.copy_from_slice(within(bytes, 0, skip, buffer.len()).ok_or_else(short)?);
                return Ok(());
            }
            Place::Packed(packed, from) => {
                let mut held = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                match &*held {
                    Some((which, bytes)) if *which == index => (bytes.clone(), *from),
                    _ => {
                        let bytes: Arc<[u8]> = packed.unpack(&self.device)?.into();
                        *held = Some((index, bytes.clone()));
                        (bytes, *from)
                    }
                }
            }
        };
        buffer.copy_from_slice(within(&from.0, from.1, skip, buffer.len()).ok_or_else(short)?);
        Ok(())
    }

    /// The first bytes at or behind `from` that are stored, as far as they go on; what is before them is a hole, which reads as zeros.
    /// `None` when all that follows is a hole.
    pub fn data(&self, from: u64) -> Option<Range<u64>> {
        let first = self.extents.partition_point(|extent| extent.start + extent.length <= from);
        let extents = self.extents.get(first..)?;
        let start = extents.first()?.start.max(from);
        let mut end = start;
        for extent in extents {
            if extent.start > end {
                break;
            }
            end = extent.start + extent.length;
        }
        Some(start..end)
    }

    /// Where the byte at `offset` is; `None` in a hole.
    pub(crate) fn place(&self, offset: u64) -> Option<Place> {
        let index = self.extents.partition_point(|extent| extent.start + extent.length <= offset);
        let extent = self.extents.get(index).filter(|extent| extent.start <= offset)?;
        match &extent.place {
            Place::Device(at) => Some(Place::Device(at + (offset - extent.start))),
            other => Some(other.clone()),
        }
    }

    /// A piece of content that is metadata of the file system: through the cache where it lies together.
    pub(crate) fn metadata(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let index = self.extents.partition_point(|extent| extent.start + extent.length <= offset);
        match self.extents.get(index) {
            Some(Extent { start, length: bytes, place: Place::Device(at) })
                if *start <= offset && offset + length as u64 <= start + bytes =>
            {
                self.device.block(at + (offset - start), length)
            }
            _ => {
                let mut bytes = vec![0; length];
                self.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
        }
    }

    /// All of the content.
    ///
    /// # Errors
    /// [`TooLarge`](crate::ErrorKind::TooLarge) when it is more than `limit` bytes; otherwise as [`read_exact_at`](Self::read_exact_at).
    pub fn read_all(&self, limit: usize) -> Result<Vec<u8>> {
        let size = crate::fields::in_memory(self.size, limit, "a file")?;
        let mut content = vec![0; size];
        self.read_exact_at(&mut content, 0)?;
        Ok(content)
    }
}

fn split(buffer: &mut [u8], at: u64) -> Result<(&mut [u8], &mut [u8])> {
    usize::try_from(at)
        .ok()
        .and_then(|at| buffer.split_at_mut_checked(at))
        .ok_or_else(|| Error::damaged("extents that do not make up the file"))
}

fn within(bytes: &[u8], from: usize, skip: u64, length: usize) -> Option<&[u8]> {
    let start = from.checked_add(usize::try_from(skip).ok()?)?;
    bytes.get(start..start.checked_add(length)?)
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("size", &self.size)
            .field("extents", &self.extents.len())
            .finish_non_exhaustive()
    }
}
