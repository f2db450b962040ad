//! Writing a stream from its start to its end, once.

use std::io::Write;
use std::ops::Range;

use super::deflate::{Deflate, Job};
use super::record::Marker;
use crate::copy::usual_threads;
use crate::descriptor::{Cid, CreateType, Descriptor, ExtentLine};
use crate::disk::is_zero;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{AdapterType, Geometry};
use crate::io::ReadAt;
use crate::sparse::DESCRIPTOR_SECTORS;
use crate::sparse::header::{Flags, GD_AT_END, Header};
use crate::{SECTOR, Sectors};

/// How a stream is written.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    capacity: u64,
    adapter: AdapterType,
    level: u32,
    threads: usize,
}

impl StreamOptions {
    /// For a disk of `capacity` bytes, a multiple of 512: for an LSI Logic adapter, at zlib's level 6, with as many threads as
    /// there are processors, 16 at most.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, adapter: AdapterType::LsiLogic, level: 6, threads: usual_threads() }
    }

    /// The adapter that the descriptor names.
    #[must_use]
    pub fn adapter(mut self, adapter: AdapterType) -> Self {
        self.adapter = adapter;
        self
    }

    /// zlib's level, 0 to 9. 1 is about three times as fast as 6.
    #[must_use]
    pub fn level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// The threads that compress, beside the one that writes. With one, that does it all.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSummary {
    /// Grains that are not zero.
    pub grains: u64,
    /// The size of the stream in bytes.
    pub bytes: u64,
}

/// Writes a streamOptimized disk into anything, also into a pipe: grains of 64 KiB, each behind the other, their tables behind
/// them, as VMware's exports have it.
///
/// Until [`finish`](Self::finish) the stream has no end, and every reader refuses it.
pub struct StreamWriter<W> {
    output: W,
    header: Header,
    deflate: Deflate,
    /// Sectors that were written.
    position: Sectors,
    /// The first grain that may still come.
    next_grain: u64,
    /// The table that is being filled, and its entries.
    table: u64,
    entries: Vec<u32>,
    /// Sectors of the tables, as far as there are any.
    directory: Vec<u32>,
    grains: u64,
    failed: bool,
}

impl<W: Write> StreamWriter<W> {
    /// Writes what is before the first grain. `name` is what the descriptor calls the file, and plays no role after that.
    ///
    /// # Errors
    /// `InvalidInput` for a capacity or a name that can't be; `TooLarge` for more than 62 TiB; `Io` from the writer.
    pub fn new(mut output: W, name: &str, options: StreamOptions) -> Result<Self> {
        if !options.capacity.is_multiple_of(SECTOR) {
            return Err(Error::invalid(format!(
                "a capacity of {} bytes; it has to be a multiple of {SECTOR}",
                options.capacity
            )));
        }
        if options.capacity > MOST_CAPACITY {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("{} bytes are more than a disk of vSphere has", options.capacity),
            ));
        }
        let sectors = options.capacity / SECTOR;
        let extent = ExtentLine::sparse(sectors, name);
        extent.check()?;
        let mut descriptor =
            Descriptor::new(CreateType::StreamOptimized, Cid::NONE.random_but(), vec![extent]);
        descriptor.set_adapter(options.adapter);
        descriptor.set_geometry(Geometry::of(sectors, options.adapter));
        let header = header_of(sectors);
        let mut front = header.encode().to_vec();
        front.extend_from_slice(&descriptor.to_bytes());
        if front.len() as u64 >= (1 + DESCRIPTOR_SECTORS) * SECTOR {
            return Err(Error::invalid("the name makes the descriptor too long"));
        }
        front.resize((header.overhead * SECTOR) as usize, 0);
        output.write_all(&front).map_err(failed)?;
        Ok(Self {
            output,
            position: header.overhead,
            deflate: Deflate::new(options.level, options.threads),
            next_grain: 0,
            table: 0,
            entries: vec![0; header.entries_per_table as usize],
            directory: Vec::new(),
            grains: 0,
            failed: false,
            header,
        })
    }

    /// Writes the grain at `offset` bytes of the disk: 64 KiB, or what the disk has of its last one. Zeros are left out.
    ///
    /// # Errors
    /// `InvalidInput` for one that is not aligned, of another size, or before one that was written; `TooLarge` when the stream grows
    /// beyond 2 TiB; `Io` from the writer, after which the stream can't be finished.
    pub fn write_grain(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let grain_bytes = self.header.grain * SECTOR;
        let length = grain_bytes.min((self.header.capacity * SECTOR).saturating_sub(offset));
        let grain = offset / grain_bytes;
        if !offset.is_multiple_of(grain_bytes) || data.len() as u64 != length || length == 0 {
            return Err(Error::invalid(format!(
                "{} bytes at {offset}; grains of {grain_bytes} bytes are written, at their multiples",
                data.len()
            )));
        }
        if grain < self.next_grain {
            return Err(Error::invalid(format!(
                "grain {grain} comes too late: a stream is written in ascending order"
            )));
        }
        self.next_grain = grain + 1;
        if is_zero(data) {
            return Ok(());
        }
        let mut bytes = data.to_vec();
        // A whole one is what every reader has seen.
        bytes.resize(grain_bytes as usize, 0);
        let done = self.deflate.put(Job { sector: grain * self.header.grain, bytes });
        self.emit(done)
    }

    /// Writes everything that the source has. `next_data` names the next bytes from an offset on that are worth reading: the
    /// rest is taken to be zero. `None` when there are no more.
    ///
    /// # Errors
    /// `InvalidInput` if the source is smaller than the disk; as [`write_grain`](Self::write_grain), and from the source.
    pub fn write_from(
        &mut self,
        source: &dyn ReadAt,
        mut next_data: impl FnMut(u64) -> Result<Option<Range<u64>>>,
    ) -> Result<()> {
        let grain_bytes = self.header.grain * SECTOR;
        let capacity = self.header.capacity * SECTOR;
        let mut buffer = vec![0; grain_bytes as usize];
        let mut offset = 0;
        while offset < capacity {
            let Some(data) = next_data(offset)? else { break };
            if data.end <= offset {
                return Err(Error::invalid(format!(
                    "next_data names bytes up to {} from {offset} on",
                    data.end
                )));
            }
            let start = data.start.max(offset) / grain_bytes * grain_bytes;
            let end = data.end.min(capacity);
            offset = start.max(offset);
            while offset < end {
                let length = grain_bytes.min(capacity - offset) as usize;
                let reading = |error| Error::io(format!("reading the source at byte {offset} failed"), error);
                source.read_exact_at(&mut buffer[..length], offset).map_err(reading)?;
                self.write_grain(offset, &buffer[..length])?;
                offset += length as u64;
            }
            // The end of what has data may lie within a grain, which was read as a whole.
            offset = offset.max(end).next_multiple_of(grain_bytes);
        }
        Ok(())
    }

    /// Writes the last tables, the directory, the footer and the end.
    ///
    /// # Errors
    /// As [`write_grain`](Self::write_grain).
    pub fn finish(mut self) -> Result<(W, StreamSummary)> {
        let rest = self.deflate.finish();
        self.emit(rest)?;
        self.end_table()?;
        let mut directory: Vec<u8> = self.directory.iter().flat_map(|sector| sector.to_le_bytes()).collect();
        // Also a disk without a grain has one.
        let sectors = self.header.directory_sectors().max(1);
        directory.resize((sectors * SECTOR) as usize, 0);
        self.put(&Marker::Directory.encode(sectors))?;
        let footer = Header { directory_offset: self.position, ..self.header.clone() };
        self.put(&directory)?;
        self.put(&Marker::Footer.encode(1))?;
        self.put(&footer.encode())?;
        self.put(&Marker::EndOfStream.encode(0))?;
        self.output.flush().map_err(failed)?;
        Ok((self.output, StreamSummary { grains: self.grains, bytes: self.position * SECTOR }))
    }

    /// Writes records, which come in the order of the disk.
    fn emit(&mut self, records: Result<Vec<Job>>) -> Result<()> {
        if self.failed {
            return Err(Error::invalid("the stream has failed before, and can't be finished"));
        }
        let result =
            records.and_then(|records| records.iter().try_for_each(|record| self.emit_record(record)));
        self.failed = result.is_err();
        result
    }

    fn emit_record(&mut self, record: &Job) -> Result<()> {
        let span = self.header.table_span();
        let (table, index) = (record.sector / span, record.sector % span / self.header.grain);
        if table != self.table {
            self.end_table()?;
            self.table = table;
        }
        let entry = u32::try_from(self.position).map_err(|_| {
            Error::new(
                ErrorKind::TooLarge,
                "a stream can't be larger than 2 TiB: its tables have no numbers for more",
            )
        })?;
        if let Some(place) = self.entries.get_mut(index as usize) {
            *place = entry;
        }
        self.grains += 1;
        self.put(&record.bytes)
    }

    /// Writes the table of the grains so far, if there were any.
    fn end_table(&mut self) -> Result<()> {
        if self.entries.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        let mut bytes: Vec<u8> = self.entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        bytes.resize((self.header.table_sectors() * SECTOR) as usize, 0);
        self.put(&Marker::Table.encode(self.header.table_sectors()))?;
        let sector = u32::try_from(self.position)
            .map_err(|_| Error::new(ErrorKind::TooLarge, "a stream can't be larger than 2 TiB"))?;
        self.put(&bytes)?;
        self.directory.resize(self.table as usize, 0);
        self.directory.push(sector);
        self.entries.fill(0);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(failed)?;
        self.position += bytes.len() as u64 / SECTOR;
        Ok(())
    }
}

/// The largest disk of vSphere has 62 TB.
const MOST_CAPACITY: u64 = 64 << 40;

/// ESXi refuses streams whose header has a version below 3.
fn header_of(capacity: Sectors) -> Header {
    let mut header = Header {
        version: 3,
        flags: Flags(Flags::NEWLINES | Flags::COMPRESSED | Flags::MARKERS),
        capacity,
        grain: 128,
        descriptor_offset: 1,
        descriptor_size: DESCRIPTOR_SECTORS,
        entries_per_table: 512,
        redundant_offset: 0,
        directory_offset: GD_AT_END,
        overhead: 0,
        unclean: false,
        compression: 1,
    };
    header.overhead = (1 + DESCRIPTOR_SECTORS).next_multiple_of(header.grain);
    header
}

fn failed(error: std::io::Error) -> Error {
    Error::io("writing the stream failed", error)
}
