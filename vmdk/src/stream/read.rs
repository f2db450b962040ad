//! Reading a stream from its start to its end, once.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Decompress;

use super::record::{HEAD, Marker, check_size, inflate, parse_head};
use super::told::{After, Told, cut};
use crate::SECTOR;
use crate::descriptor::MAX_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::io::WriteAt;
use crate::sparse::TRAILING_ZEROS;
use crate::sparse::header::{GD_AT_END, Header};

/// Tables that stand before the grains are kept: 4 bytes for each grain, twice with their copy. Enough for 8 TiB.
const MOST_FRONT: u64 = 1 << 30;

/// Reads a streamOptimized disk that can't be sought in: a download, a pipe, a member of an OVA.
///
/// The end of the last grain is known to be the end only once [`next_grain`](Self::next_grain) has returned `None`: until then,
/// a stream that was cut looks like a shorter one. Every grain is compared with the tables, before or after it, so a grain that
/// is missing is an error, too.
///
/// Memory: one grain, and 4 bytes for each grain of a stream whose tables stand at its front, as qemu writes them; some bits for
/// each of one whose tables stand behind, as VMware does.
///
/// ```
/// # fn main() -> Result<(), vmdk::Error> {
/// use vmdk::{StreamOptions, StreamReader, StreamWriter};
///
/// let mut writer = StreamWriter::new(Vec::new(), "export.vmdk", StreamOptions::new(1 << 20))?;
/// writer.write_grain(65_536, &[7; 65_536])?;
/// let (bytes, _) = writer.finish()?;
///
/// let mut reader = StreamReader::new(bytes.as_slice())?;
/// assert_eq!(reader.capacity(), 1 << 20);
/// while let Some(grain) = reader.next_grain()? {
///     assert_eq!((grain.offset, grain.data), (65_536, [7; 65_536].as_slice()));
/// }
/// # Ok(())
/// # }
/// ```
pub struct StreamReader<R> {
    input: Counted<BufReader<R>>,
    header: Header,
    descriptor: Vec<u8>,
    told: Told,
    done: bool,
    failed: bool,
    packed: Vec<u8>,
    content: Vec<u8>,
    zlib: Decompress,
}

/// The bytes of the disk from `offset` on, both in bytes. The last grain of a disk may be shorter than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grain<'a> {
    /// Where on the disk it begins.
    pub offset: u64,
    /// What is there.
    pub data: &'a [u8],
}

/// A grain as it came.
struct Packed {
    sector: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl<R: Read> StreamReader<R> {
    /// Reads what is before the first grain.
    ///
    /// # Errors
    /// `NotADisk`, `Unfinished`, `Malformed`, `Unsupported` for what is no stream; `TooLarge` for one with more than 1 GiB of
    /// tables at its front; `Io` from the reader.
    pub fn new(reader: R) -> Result<Self> {
        let mut input = Counted { inner: BufReader::with_capacity(1 << 20, reader), position: 0 };
        let mut sector = [0; SECTOR as usize];
        input.fill(&mut sector)?;
        let header = Header::parse(&sector)?;
        if !header.is_stream() {
            return Err(Error::unsupported(
                "a sparse disk without compression can't be read from a pipe; use a file",
            ));
        }
        let front = header.overhead.checked_mul(SECTOR).filter(|front| *front >= SECTOR);
        let front =
            front.ok_or_else(|| Error::malformed("the header does not say where the grains begin"))?;
        if front > MOST_FRONT {
            let message = format!(
                "its tables take {front} bytes, which are too many to be kept; use a file instead of a pipe"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let mut bytes = sector.to_vec();
        input.append(&mut bytes, front - SECTOR)?;
        let range = header
            .descriptor_range()
            .filter(|range| range.end <= front && range.end - range.start <= MAX_BYTES as u64);
        let range = range.ok_or_else(|| Error::malformed("it has no descriptor before its grains"))?;
        let text = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let told = match header.directory_offset {
            GD_AT_END => Told::After(After::default()),
            _ => Told::ahead(&header, &bytes)?,
        };
        Ok(Self {
            input,
            header,
            descriptor: text,
            told,
            done: false,
            failed: false,
            packed: Vec::new(),
            content: Vec::new(),
            zlib: Decompress::new(true),
        })
    }

    /// The size of the disk in bytes.
    pub fn capacity(&self) -> u64 {
        self.header.capacity * SECTOR
    }

    /// The text of the descriptor, without the zeros behind it.
    pub fn descriptor_bytes(&self) -> &[u8] {
        &self.descriptor
    }

    /// The next grain, in the order of the stream: ascending from VMware and qemu. `None` at the end, when everything was there.
    /// What no grain has is zero.
    ///
    /// # Errors
    /// `Unfinished` where the stream was cut; `Malformed` where it contradicts itself; `Io` from the reader. After an error
    /// every further call fails.
    pub fn next_grain(&mut self) -> Result<Option<Grain<'_>>> {
        let mut packed = std::mem::take(&mut self.packed);
        let next = self.next_packed(&mut packed);
        self.packed = packed;
        let Some((sector, at)) = next? else { return Ok(None) };
        let grain = sector / self.header.grain;
        let result = inflate(&mut self.zlib, &self.packed, at, grain, &self.header, &mut self.content);
        self.failed |= result.is_err();
        result?;
        Ok(Some(Grain { offset: sector * SECTOR, data: &self.content }))
    }

    /// Writes all grains to their places in the target, which has to read as zeros where they are not. Inflates and writes with
    /// `threads` threads, beside the one that reads. Returns the bytes that were written.
    ///
    /// # Errors
    /// As [`next_grain`](Self::next_grain), and from the target. The target is not complete then.
    pub fn copy_to(&mut self, target: &dyn WriteAt, threads: usize) -> Result<u64> {
        let threads = threads.clamp(1, 64);
        let (sender, receiver) = sync_channel::<Packed>(threads * 4);
        // The workers own it, so that sending to it ends when all of them have.
        let receiver = Arc::new(Mutex::new(receiver));
        let failed = AtomicBool::new(false);
        let header = self.header.clone();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let (receiver, header, failed) = (Arc::clone(&receiver), &header, &failed);
                    scope.spawn(move || unpack(&receiver, header, target, failed))
                })
                .collect();
            drop(receiver);
            let mut sent = Ok(());
            while !failed.load(Ordering::Acquire) {
                let mut bytes = Vec::new();
                match self.next_packed(&mut bytes) {
                    Ok(None) => break,
                    // Without a receiver the workers have failed, and say why.
                    Ok(Some((sector, at))) => match sender.send(Packed { sector, at, bytes }) {
                        Ok(()) => {}
                        Err(_) => break,
                    },
                    Err(error) => {
                        sent = Err(error);
                        break;
                    }
                }
            }
            drop(sender);
            // What the workers did not take is lost, so the rest of the stream is worth nothing.
            self.failed |= failed.load(Ordering::Acquire);
            let mut written = 0;
            let mut first = sent;
            for worker in workers {
                match worker.join() {
                    Ok(Ok(bytes)) => written += bytes,
                    Ok(Err(error)) => first = first.and(Err(error)),
                    Err(_) => {
                        self.failed = true;
                        first = first.and(Err(Error::invalid("a thread has panicked: the target is broken")))
                    }
                }
            }
            first.map(|()| written)
        })
    }

    /// The next grain as it is, into `bytes`: its guest sector, and where its record begins.
    fn next_packed(&mut self, bytes: &mut Vec<u8>) -> Result<Option<(u64, u64)>> {
        if self.failed {
            // Not `None`, which would say that everything was there.
            return Err(Error::malformed("the stream has failed before; read it anew"));
        }
        if self.done {
            return Ok(None);
        }
        let next = self.read_record(bytes);
        self.done = matches!(next, Ok(None));
        self.failed = next.is_err();
        next
    }

    fn read_record(&mut self, bytes: &mut Vec<u8>) -> Result<Option<(u64, u64)>> {
        loop {
            let at = self.input.position;
            let mut sector = [0; SECTOR as usize];
            if !self.input.fill_or_end(&mut sector)? {
                // qemu's streams just end; others have a mark.
                return if matches!(self.told, Told::After(_)) {
                    Err(cut())
                } else {
                    self.told.end().map(|()| None)
                };
            }
            let (guest, size) = parse_head(&sector[..HEAD]);
            if size != 0 {
                self.read_grain(guest, size, at, &sector, bytes)?;
                return Ok(Some((guest, at)));
            }
            if self.read_marked(Marker::parse(&sector, at)?, at)? {
                return Ok(None);
            }
        }
    }

    fn read_grain(
        &mut self,
        guest: u64,
        size: u32,
        at: u64,
        sector: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        check_size(size, (self.header.grain * SECTOR) as usize, at)?;
        if guest >= self.header.capacity || !guest.is_multiple_of(self.header.grain) {
            return Err(Error::malformed(format!(
                "the record at byte {at} is of guest sector {guest}, where no grain begins"
            )));
        }
        let file_sector =
            u32::try_from(at / SECTOR).map_err(|_| Error::malformed("a stream of more than 2 TiB"))?;
        self.told.grain(&self.header, guest / self.header.grain, file_sector)?;
        let end = HEAD + size as usize;
        bytes.clear();
        bytes.extend_from_slice(sector.get(HEAD..end.min(SECTOR as usize)).unwrap_or_default());
        if end > SECTOR as usize {
            self.input.append(bytes, (end.next_multiple_of(SECTOR as usize) - SECTOR as usize) as u64)?;
        }
        bytes.truncate(size as usize);
        Ok(())
    }

    /// Reads what follows a marker. Whether that is the end.
    fn read_marked(&mut self, marker: Marker, at: u64) -> Result<bool> {
        let sectors = match marker {
            Marker::Table => self.header.table_sectors(),
            Marker::Directory => self.header.directory_sectors().max(1),
            Marker::Footer => 1,
            Marker::Progress => return Ok(false),
            Marker::EndOfStream => {
                self.told.end()?;
                self.input.rest_is_zero()?;
                return Ok(true);
            }
        };
        let mut bytes = Vec::new();
        self.input.append(&mut bytes, sectors * SECTOR)?;
        let sector = at / SECTOR + 1;
        // Tables at the front have said all of it already.
        let Told::After(after) = &mut self.told else { return Ok(false) };
        match marker {
            Marker::Table => {
                let sector =
                    u32::try_from(sector).map_err(|_| Error::malformed("a stream of more than 2 TiB"))?;
                after.table(&self.header, sector, &bytes)?;
            }
            Marker::Directory => after.directory(&self.header, sector, &bytes)?,
            _ => {
                let bytes = bytes.as_slice().try_into().map_err(|_| cut())?;
                after.footer(&self.header, &Header::parse(bytes)?)?;
            }
        }
        Ok(false)
    }
}

/// Inflates and writes grains until there are no more.
fn unpack(
    receiver: &Mutex<Receiver<Packed>>,
    header: &Header,
    target: &dyn WriteAt,
    failed: &AtomicBool,
) -> Result<u64> {
    let mut zlib = Decompress::new(true);
    let mut content = Vec::new();
    let mut written = 0;
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(packed) = next else { return Ok(written) };
        // The others are done with quickly, so that the reader does not wait for room.
        if failed.load(Ordering::Acquire) {
            continue;
        }
        let grain = packed.sector / header.grain;
        let result =
            inflate(&mut zlib, &packed.bytes, packed.at, grain, header, &mut content).and_then(|()| {
                let at = packed.sector * SECTOR;
                let failed = |error| Error::io(format!("writing the target at byte {at} failed"), error);
                target.write_all_at(&content, at).map_err(failed)
            });
        if let Err(error) = result {
            failed.store(true, Ordering::Release);
            return Err(error);
        }
        written += content.len() as u64;
    }
}

/// A reader that knows where it is, and for which an early end is a cut stream.
struct Counted<R> {
    inner: R,
    position: u64,
}

impl<R: Read> Counted<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.fill_or_end(buffer)? { Ok(()) } else { Err(cut()) }
    }

    /// Whether there was anything at all.
    fn fill_or_end(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(cut()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.position += filled as u64;
        Ok(true)
    }

    /// Appends exactly that many bytes. Memory is taken as they come, not as they are announced.
    fn append(&mut self, bytes: &mut Vec<u8>, count: u64) -> Result<()> {
        let read = (&mut self.inner).take(count).read_to_end(bytes).map_err(|error| self.failed(error))?;
        self.position += read as u64;
        if read as u64 == count { Ok(()) } else { Err(cut()) }
    }

    /// What carries a stream may fill it up with zeros, but not for ever.
    fn rest_is_zero(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let end = self.position + TRAILING_ZEROS;
        loop {
            if self.position > end {
                return Err(Error::malformed(format!(
                    "more than {TRAILING_ZEROS} zeros follow the end of the stream"
                )));
            }
            match self.inner.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) if buffer.iter().take(read).any(|byte| *byte != 0) => {
                    let message =
                        format!("something follows the end of the stream, at byte {}", self.position);
                    return Err(Error::malformed(message));
                }
                Ok(read) => self.position += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("reading the stream at byte {} failed", self.position), error)
    }
}
