//! Open disks.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use sim_store::SECTOR;

use crate::code::{Answer, Code};
use crate::content::Content;
use crate::ffi::log;
use crate::library::{Faults, Suffering, lock};
use crate::queue::{Job, Queue};

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
    faults: Faults,
    /// The family of calls that the first transfer used; the other one is refused from then on.
    mode: Mutex<Option<Mode>>,
    queue: OnceLock<Queue>,
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
}

impl OpenDisk {
    pub(crate) fn new(
        content: Content,
        path: String,
        transport: &'static str,
        connection: usize,
        tracked: Option<(PathBuf, String)>,
        faults: Faults,
    ) -> OpenDisk {
        let (mode, queue) = (Mutex::new(None), OnceLock::new());
        OpenDisk { content, path, transport, connection, tracked, faults, mode, queue }
    }

    /// Settles whether this family of calls may be used, and whether the sectors exist; gives the byte offset.
    pub(crate) fn admit(&self, mode: Mode, start: u64, count: u64) -> Answer<u64> {
        let mut settled = lock(&self.mode);
        if *settled.get_or_insert(mode) != mode {
            log::warn("synchronous and asynchronous transfers were mixed on one handle");
            return Err(Code::MIXED_MODE);
        }
        drop(settled);
        if count == 0 {
            return Err(Code::INVALID_ARG);
        }
        match start.checked_add(count) {
            Some(end) if end <= self.sectors() => Ok(start * SECTOR),
            _ => Err(Code::OUT_OF_RANGE),
        }
    }

    /// Reads; a fault rule for `function` may let it fail, perhaps after half of the bytes.
    pub(crate) fn read(&self, function: &str, offset: u64, buffer: &mut [u8]) -> Answer<()> {
        let suffering = self.suffer_transfer(function, "Read")?;
        let length = if suffering.is_partial() { buffer.len() / 2 } else { buffer.len() };
        if suffering.is_partial() || suffering.settle().is_ok() {
            self.content.read_at(offset, &mut buffer[..length])?;
        }
        suffering.settle()
    }

    /// Writes; otherwise like [`OpenDisk::read`].
    pub(crate) fn write(&self, function: &str, offset: u64, buffer: &[u8]) -> Answer<()> {
        let suffering = self.suffer_transfer(function, "Write")?;
        let length = if suffering.is_partial() { buffer.len() / 2 } else { buffer.len() };
        if suffering.is_partial() || suffering.settle().is_ok() {
            self.content.write_at(offset, &buffer[..length])?;
        }
        suffering.settle()
    }

    /// Hands a request to the thread of this disk.
    pub(crate) fn submit(&self, job: Job) -> Answer<()> {
        if self.queue.get().is_none() {
            // A second one, made by a client that races itself, ends at once.
            let _: Result<(), Queue> = self.queue.set(Queue::start()?);
        }
        self.queue.get().ok_or(Code::FAIL)?.submit(job)
    }

    pub(crate) fn wait(&self) -> Answer<()> {
        self.faults.suffer("Wait", &self.path)?.settle()?;
        self.drain();
        Ok(())
    }

    pub(crate) fn flush(&self) -> Answer<()> {
        self.faults.suffer("Flush", &self.path)?.settle()?;
        self.content.flush()
    }

    /// Before the handle goes: the real library wants no request under way here.
    pub(crate) fn close(&self) -> Answer<()> {
        let pending = self.queue.get().map_or(0, Queue::pending);
        if pending > 0 {
            log::warn(&format!("Close was called with {pending} requests under way; call Wait first"));
        }
        self.drain();
        self.content.close()?;
        self.faults.suffer("Close", &self.path)?.settle()
    }

    pub(crate) fn info(&self) -> Answer<Info> {
        self.faults.suffer("GetInfo", &self.path)?.settle()?;
        self.content.info()
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

    /// Rules for `Read` and `Write` mean transfers of either family, so that a rule need not know how its client reads;
    /// those for `ReadAsync` and `WriteAsync` mean that family alone, and come first.
    fn suffer_transfer(&self, function: &str, either: &str) -> Answer<Suffering> {
        let suffering = self.faults.suffer(function, &self.path)?;
        if function == either || suffering.settle().is_err() {
            return Ok(suffering);
        }
        self.faults.suffer(either, &self.path)
    }

    fn drain(&self) {
        if let Some(queue) = self.queue.get() {
            queue.wait();
        }
    }
}
