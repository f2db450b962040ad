//! Open disks.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sim_store::SECTOR;
use sim_store::state::FaultEffect;

use crate::code::{Answer, Code};
use crate::content::Content;
use crate::faults::{Counted, Faults, Struck};
use crate::ffi::log;
use crate::hotadd::Attached;
use crate::library::lock;
use crate::queue::{Queue, Request};
use crate::strict::{self, Rule};
use crate::{release, transport};

/// An open disk.
pub(crate) struct OpenDisk {
    pub(crate) content: Content,
    /// The path as the client gave it.
    pub(crate) path: String,
    pub(crate) transport: &'static str,
    /// The connection that it was opened over.
    pub(crate) connection: usize,
    /// File and change id of a disk for which changed areas can be asked.
    pub(crate) tracked: Option<(PathBuf, String)>,
    aligned: bool,
    sector_bytes: u32,
    faults: Faults,
    /// The family of calls that the first transfer used; the other one is refused from then on.
    mode: Mutex<Option<Mode>>,
    /// Whether asynchronous requests were taken since the last Wait.
    unwaited: AtomicBool,
    queue: Queue,
    /// That this machine has it as a device of its own.
    attached: Mutex<Option<Attached>>,
    _counted: Counted,
}

/// A family of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Sync,
    Async,
}

/// What GetInfo tells.
pub(crate) struct Info {
    pub(crate) sectors: u64,
    pub(crate) adapter: u32,
    pub(crate) links: i32,
    pub(crate) geometry: [u32; 3],
    pub(crate) bios_geometry: [u32; 3],
    pub(crate) parent: Option<String>,
    pub(crate) uuid: Option<String>,
    /// Logical and physical.
    pub(crate) sector_bytes: u32,
}

/// How a disk was reached.
pub(crate) struct Way {
    pub(crate) transport: &'static str,
    /// Whether buffers must begin at a multiple of 512.
    pub(crate) aligned: bool,
    pub(crate) sector_bytes: u32,
    pub(crate) attached: Option<Attached>,
}

impl OpenDisk {
    pub(crate) fn new(
        content: Content,
        path: String,
        way: Way,
        connection: usize,
        tracked: Option<(PathBuf, String)>,
        faults: Faults,
    ) -> OpenDisk {
        let queue =
            Queue::new(transport::is_network(way.transport) && release::current().has_async_network());
        let counted = faults.count();
        OpenDisk {
            content,
            path,
            transport: way.transport,
            connection,
            tracked,
            aligned: way.aligned,
            sector_bytes: way.sector_bytes,
            faults,
            mode: Mutex::new(None),
            unwaited: AtomicBool::new(false),
            queue,
            attached: Mutex::new(way.attached),
            _counted: counted,
        }
    }

    /// Settles whether this family of calls may be used, and whether the sectors exist; gives the byte offset.
    pub(crate) fn admit(&self, mode: Mode, start: u64, count: u64) -> Answer<u64> {
        let mut settled = lock(&self.mode);
        if *settled.get_or_insert(mode) != mode {
            strict::broken(
                Rule::SyncOrAsync,
                format_args!("{mode:?} transfers began on a disk of the other kind"),
            );
            return Err(Code::MIXED_MODE);
        }
        drop(settled);
        if count == 0 {
            strict::broken(Rule::EmptyRequest, "a transfer of no sectors was asked for");
            return Err(Code::INVALID_ARG);
        }
        let unit = u64::from(self.sector_bytes) / SECTOR;
        if !start.is_multiple_of(unit) || !count.is_multiple_of(unit) {
            log::warn(&format!("transfers of this disk are multiples of {} bytes", self.sector_bytes));
            return Err(Code::INVALID_ARG);
        }
        match start.checked_add(count) {
            Some(end) if end <= self.sectors() => Ok(start * SECTOR),
            _ => Err(Code::OUT_OF_RANGE),
        }
    }

    /// Whether the memory of a transfer will do.
    pub(crate) fn admit_memory(&self, address: usize) -> Answer<()> {
        if !self.aligned || address.is_multiple_of(SECTOR as usize) {
            return Ok(());
        }
        strict::broken(Rule::BufferAlignment, format_args!("a buffer at {address:#x} was given"));
        Err(Code::INVALID_ARG)
    }

    /// Counts a transfer. Rules for `Read` and `Write` mean transfers of either family, so that a rule need not know how its
    /// client reads; those for `ReadAsync` and `WriteAsync` mean that family alone, and come first.
    pub(crate) fn strike(&self, function: &str, either: &str, bytes: usize) -> Answer<Struck> {
        let struck = self.faults.strike(function, &self.path, bytes as u64)?;
        if function == either || struck.has_rule() {
            return Ok(struck);
        }
        self.faults.strike(either, &self.path, bytes as u64)
    }

    /// Reads, as far as a rule lets it.
    pub(crate) fn read(&self, function: &str, struck: Struck, offset: u64, buffer: &mut [u8]) -> Answer<()> {
        let suffering = struck.suffer(&self.faults, function, buffer.len() as u64)?;
        let length = if suffering.is_partial() { buffer.len() / 2 } else { buffer.len() };
        if suffering.is_partial() || suffering.settle().is_ok() {
            self.content.read_at(offset, &mut buffer[..length])?;
        }
        suffering.settle()
    }

    /// Writes; otherwise like [`OpenDisk::read`].
    pub(crate) fn write(&self, function: &str, struck: Struck, offset: u64, buffer: &[u8]) -> Answer<()> {
        let suffering = struck.suffer(&self.faults, function, buffer.len() as u64)?;
        if self.transport == "san" && self.content.info()?.links > 1 {
            log::warn("disks of a chain cannot be written through SAN");
            return Err(Code::TYPE_NOT_SUPPORTED);
        }
        let length = if suffering.is_partial() { buffer.len() / 2 } else { buffer.len() };
        if suffering.is_partial() || suffering.settle().is_ok() {
            self.content.write_at(offset, &buffer[..length])?;
        }
        suffering.settle()
    }

    /// Takes an asynchronous request, or refuses it.
    pub(crate) fn submit(&self, request: Request, effect: Option<FaultEffect>) -> Answer<()> {
        self.unwaited.store(true, Ordering::Relaxed);
        self.queue.submit(request, effect)
    }

    pub(crate) fn wait(&self) -> Answer<()> {
        self.unwaited.store(false, Ordering::Relaxed);
        self.faults.suffer("Wait", &self.path)?.settle()?;
        self.queue.wait();
        Ok(())
    }

    pub(crate) fn flush(&self) -> Answer<()> {
        let pending = self.queue.pending();
        if pending > 0 {
            strict::broken(
                Rule::WaitBeforeFlush,
                format_args!("Flush was called with {pending} requests under way"),
            );
        }
        self.faults.suffer("Flush", &self.path)?.settle()?;
        self.content.flush()
    }

    /// Before the handle goes: the real library wants no request under way here.
    pub(crate) fn close(&self) -> Answer<()> {
        if self.unwaited.load(Ordering::Relaxed) {
            let pending = self.queue.pending();
            strict::broken(
                Rule::WaitBeforeClose,
                format_args!("Close was called without Wait, with {pending} requests under way"),
            );
        }
        self.queue.wait();
        // Taken off the proxy even if the rest fails.
        drop(lock(&self.attached).take());
        self.content.close()?;
        self.faults.suffer("Close", &self.path)?.settle()
    }

    pub(crate) fn info(&self) -> Answer<Info> {
        self.faults.suffer("GetInfo", &self.path)?.settle()?;
        Ok(Info { sector_bytes: self.sector_bytes, ..self.content.info()? })
    }

    pub(crate) fn metadata(&self, key: &str) -> Answer<String> {
        self.faults.suffer("ReadMetadata", &self.path)?.settle()?;
        self.content.metadata(key)
    }

    pub(crate) fn metadata_keys(&self) -> Answer<Vec<String>> {
        self.faults.suffer("GetMetadataKeys", &self.path)?.settle()?;
        self.content.metadata_keys()
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Answer<()> {
        self.faults.suffer("WriteMetadata", &self.path)?.settle()?;
        self.content.set_metadata(key, value)
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn sectors(&self) -> u64 {
        self.content.capacity() / SECTOR
    }
}
