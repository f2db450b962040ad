//! Open disks.

mod blocks;
mod changes;
mod info;
mod io;
mod management;
mod metadata;
mod options;
mod worker;

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::connection::{Connection, c_string};
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{CallError, RawDisk, bindings};
use crate::library::Library;
use crate::log;
use crate::transport::TransportMode;
use crate::units::{SECTOR_BYTES, Sectors};

pub use blocks::AllocatedBlocks;
pub use info::{Adapter, DiskInfo, Geometry};
pub use options::{Compression, IoMode, OpenOptions};

use worker::Worker;

/// An open virtual disk.
///
/// All calls on the handle are made by one worker thread, in the order in which they were submitted; this value only hands
/// them over, so it is `Send` and `Sync` and its methods take `&self`. Opening and closing happen on the control thread.
///
/// Dropping a disk finishes what is under way, closes, and logs a failure; [`Disk::close`] reports it instead. Both block,
/// so asynchronous programs do it on a thread that may wait.
pub struct Disk {
    worker: Worker,
    info: DiskInfo,
    transport: TransportMode,
    options: OpenOptions,
    /// Whether allocation can be asked for; found out once.
    allocation: OnceLock<bool>,
    library: Arc<Library>,
    local: bool,
}

impl Disk {
    pub(crate) fn open(connection: &Connection, path: &str, options: OpenOptions) -> Result<Disk> {
        const OPERATION: &str = "open the disk";
        let fail_here = |kind, text: &str| Error::new(kind, OPERATION, text).with_subject(path);
        if !options.is_read_only() && connection.options().is_read_only() {
            return Err(fail_here(ErrorKind::InvalidArgument, "the connection allows reading only"));
        }
        connection.check_path(OPERATION, path)?;
        if connection.is_local() && options.is_compressed() {
            return Err(fail_here(
                ErrorKind::InvalidArgument,
                "only disks read over the network are compressed",
            ));
        }
        let c_path = c_string(OPERATION, path)?;
        let change_id = options.change_id().map(|id| c_string(OPERATION, id)).transpose()?;
        let library = Arc::clone(connection.library());
        let api = library.api();
        let raw_connection = Arc::clone(connection.raw());
        let flags = options.flags();
        let has_sector_sizes = library.version().has_sector_sizes();
        let mark = log::mark();
        let opened = control::run(move || -> std::result::Result<_, CallError> {
            let mut raw = RawDisk::open(raw_connection, &c_path, flags, change_id.as_deref())?;
            let described = raw.transport_mode().and_then(|mode| Ok((mode, raw.info(has_sector_sizes)?)));
            match described {
                Ok((mode, info)) => Ok((raw, mode, info)),
                Err(error) => {
                    raw.close()?;
                    Err(error)
                }
            }
        })?;
        let (raw, mode, info) = opened.map_err(|error| {
            let error = api.error(OPERATION, error, mark).with_subject(path);
            if error.code() == Some(bindings::VDDK_E_FAIL as u16) && library.version().major < 7 {
                let usual = error.advice().unwrap_or_default().to_owned();
                return error.with_advice(format!(
                    "{usual}; with VDDK before 7.0 it may be nothing else: use a newer one"
                ));
            }
            error
        })?;
        let transport = TransportMode::from_name(&mode.unwrap_or_default());
        let worker = Worker::start(raw, api, path, &options)?;
        let allocation = OnceLock::new();
        let local = connection.is_local();
        let disk =
            Disk { worker, info: DiskInfo::from_raw(info), transport, options, allocation, library, local };
        if !connection.options().accepts(&disk.transport) {
            let asked: Vec<&str> =
                connection.options().asked_transports().iter().map(TransportMode::as_str).collect();
            let text = format!("the library took {}, not {}", disk.transport, asked.join(" or "));
            return Err(fail_here(ErrorKind::TransportMismatch, &text).with_log_lines(log::since(mark)));
        }
        if disk.transport == TransportMode::San && !disk.options.is_read_only() && disk.info.links > 1 {
            let text = "over SAN a disk that has parents cannot be written";
            return Err(fail_here(ErrorKind::Unsupported, text)
                .with_advice("name network transports with ConnectOptions::transports"));
        }
        tracing::debug!(path, transport = %disk.transport, capacity = %disk.info.capacity, "disk opened");
        Ok(disk)
    }

    /// What kind of disk this is; read once, when it was opened.
    #[must_use]
    pub fn info(&self) -> &DiskInfo {
        &self.info
    }

    /// The disk's size in sectors of 512 bytes.
    #[must_use]
    pub fn capacity(&self) -> Sectors {
        self.info.capacity
    }

    /// The transport that the library took.
    #[must_use]
    pub fn transport_mode(&self) -> &TransportMode {
        &self.transport
    }

    /// What a request must be a multiple of, in bytes: the size of the disk's sectors, as far as it makes sense.
    fn unit(&self) -> u64 {
        let bytes = self.info.logical_sector_bytes.map_or(SECTOR_BYTES, u64::from);
        if bytes.is_power_of_two() && (SECTOR_BYTES..=SECTOR_BYTES << 10).contains(&bytes) {
            bytes
        } else {
            SECTOR_BYTES
        }
    }

    /// Whether the library gets by with memory at this address: past caches it wants whole sectors of memory, too.
    fn can_use(&self, memory: *const u8) -> bool {
        let direct = self.options.is_unbuffered()
            || matches!(self.transport, TransportMode::San | TransportMode::HotAdd);
        !direct || memory.addr().is_multiple_of(SECTOR_BYTES as usize)
    }

    /// How the disk was opened.
    #[must_use]
    pub fn options(&self) -> &OpenOptions {
        &self.options
    }

    /// Finishes what is under way, asynchronous requests whose futures were dropped included, and closes the disk.
    ///
    /// Futures of this disk that were not polled yet end with [`ErrorKind::Closed`].
    ///
    /// # Errors
    /// What the library reports about waiting and closing. The handle is gone all the same.
    pub fn close(self) -> Result<()> {
        self.worker.close()
    }

    /// The library it belongs to.
    #[must_use]
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.worker.path())
            .field("transport", &self.transport)
            .field("info", &self.info)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
