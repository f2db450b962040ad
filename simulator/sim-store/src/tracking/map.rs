//! The change tracking file: a header and one number a grain.
//!
//! ```text
//! 0      magic "SIMCTK01", u32 version, u32 sequence, u64 granularity, u64 capacity, uuid (16 bytes)
//! 4096   u32 for each grain: the sequence in force when the grain was last written; 0 = not since tracking began
//! ```
//! Little-endian. The file is sparse: untouched grains cost no space.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{ChangeId, map_path};
use crate::extent::Collector;
use crate::link::Link;
use crate::{Error, ErrorKind, Result, files};

const HEADER: u64 = 4096;
const MAGIC: &[u8; 8] = b"SIMCTK01";
const VERSION: u32 = 1;
/// Map bytes handled at once.
const CHUNK: u64 = 256 << 10;

pub(crate) struct Map {
    file: File,
    path: PathBuf,
    capacity: u64,
    granularity: u64,
    id: ChangeId,
}

impl Map {
    pub(crate) fn create(
        path: &Path,
        capacity: u64,
        granularity: u64,
        uuid: [u8; 16],
        sequence: u32,
    ) -> Result<()> {
        if !granularity.is_power_of_two() || !(512..=1 << 40).contains(&granularity) {
            let what =
                format!("the tracking granularity {granularity} is no power of two of 512 bytes or more");
            return Err(Error::new(ErrorKind::InvalidArgument, what));
        }
        let file = files::create_sparse(path, length(capacity, granularity))?;
        write_header(&file, capacity, granularity, ChangeId { uuid, sequence })
            .map_err(|source| Error::io("the change tracking file cannot be written", source).at(path))
    }

    /// Opens a link's map, for marking if `write`.
    pub(crate) fn open_for(link: &Link, write: bool) -> Result<Self> {
        let path = map_path(link)?;
        let broken = |what: &str| {
            Error::new(
                ErrorKind::TrackingBroken,
                format!("{what}; make a full backup and restart change tracking"),
            )
            .at(&path)
        };
        let file = files::open(&path, write)
            .map_err(|e| broken("the change tracking file cannot be opened").because(e))?;
        let mut bytes = [0; 48];
        file.read_exact_at(&mut bytes, 0)
            .map_err(|source| broken("the change tracking file has no header").because(source))?;
        let field =
            |at: usize| bytes[at..at + 8].iter().rev().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
        let (sequence, granularity) = ((field(8) >> 32) as u32, field(16));
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[32..]);
        let sane = bytes.starts_with(MAGIC)
            && field(8) as u32 == VERSION
            && sequence > 0
            && granularity.is_power_of_two()
            && (512..=1 << 40).contains(&granularity)
            && field(24) == link.descriptor.capacity();
        if !sane {
            return Err(broken("the change tracking file's header is damaged"));
        }
        let capacity = link.descriptor.capacity();
        let size = file
            .metadata()
            .map_err(|source| broken("the change tracking file cannot be examined").because(source))?
            .len();
        if size != length(capacity, granularity) {
            return Err(broken("the change tracking file has the wrong size"));
        }
        Ok(Self { file, path, capacity, granularity, id: ChangeId { uuid, sequence } })
    }

    pub(crate) fn granularity(&self) -> u64 {
        self.granularity
    }

    pub(crate) fn change_id(&self) -> ChangeId {
        self.id
    }

    /// Notes a write of `offset..offset + length`; called before the data is written.
    pub(crate) fn mark(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        let (first, last) = (offset / self.granularity, (offset + length - 1) / self.granularity);
        let mut grain = first;
        while grain <= last {
            let count = (last - grain + 1).min(CHUNK / 4);
            let numbers = self.id.sequence.to_le_bytes().repeat(count as usize);
            self.file.write_all_at(&numbers, HEADER + grain * 4).map_err(|source| {
                Error::io("the change tracking file cannot be written", source).at(&self.path)
            })?;
            grain += count;
        }
        Ok(())
    }

    /// Hands the grains from byte `start` on with a number above `sequence` to the collector.
    pub(crate) fn changed_since(&self, sequence: u32, start: u64, collector: &mut Collector) -> Result<()> {
        let first = HEADER + start / self.granularity * 4;
        let end = length(self.capacity, self.granularity);
        let mut visit = |from: u64, to: u64| -> Result<ControlFlow<()>> {
            // Holes may begin inside a number only if the file was damaged; align outward all the same.
            let mut at = HEADER.max(from / 4 * 4);
            while at < to {
                let count = (to.next_multiple_of(4).min(end) - at).min(CHUNK);
                let mut bytes = vec![0; count as usize];
                self.file.read_exact_at(&mut bytes, at).map_err(|source| {
                    Error::new(
                        ErrorKind::TrackingBroken,
                        "the change tracking file cannot be read; make a full backup",
                    )
                    .at(&self.path)
                    .because(source)
                })?;
                for (index, number) in bytes.as_chunks::<4>().0.iter().enumerate() {
                    if u32::from_le_bytes(*number) > sequence {
                        let grain = (at - HEADER) / 4 + index as u64;
                        let from = grain * self.granularity;
                        if collector.push(from, from + self.granularity).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                at += count;
            }
            Ok(ControlFlow::Continue(()))
        };
        let _: ControlFlow<()> = files::data_ranges(&self.file, first, end, &mut visit)?;
        Ok(())
    }

    /// The id that a child's map begins with.
    pub(crate) fn next_id(&self) -> Result<ChangeId> {
        let sequence = self.id.sequence.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::TrackingBroken, "the tracking's numbers are used up; restart tracking")
                .at(&self.path)
        })?;
        Ok(ChangeId { sequence, ..self.id })
    }

    /// Copies the map to a new file under another id; holes stay holes. The header comes last: before it, the file is
    /// no map.
    pub(crate) fn copy_to(&self, path: &Path, id: ChangeId) -> Result<()> {
        let failed = |source| Error::io("the change tracking file cannot be copied", source).at(path);
        let end = length(self.capacity, self.granularity);
        let copy = files::create_sparse(path, end)?;
        let mut visit = |from: u64, to: u64| {
            files::copy_range(&self.file, &copy, from, to - from).map_err(failed)?;
            Ok(ControlFlow::Continue(()))
        };
        let _: ControlFlow<()> = files::data_ranges(&self.file, HEADER, end, &mut visit)?;
        write_header(&copy, self.capacity, self.granularity, id).map_err(failed)
    }
}

fn write_header(file: &File, capacity: u64, granularity: u64, id: ChangeId) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&id.sequence.to_le_bytes());
    bytes.extend_from_slice(&granularity.to_le_bytes());
    bytes.extend_from_slice(&capacity.to_le_bytes());
    bytes.extend_from_slice(&id.uuid);
    file.write_all_at(&bytes, 0)
}

fn length(capacity: u64, granularity: u64) -> u64 {
    HEADER + capacity.div_ceil(granularity) * 4
}
