//! Connections: a login to a server for one virtual machine, or access to local files.

use std::ffi::CString;
use std::sync::Arc;

use crate::control;
use crate::disk::{Disk, OpenOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{CallError, ParamsBlock, RawConnection};
use crate::library::Library;
use crate::log;
use crate::management::check_absolute;
use crate::params::ConnectParams;
use crate::transport::{self, TransportMode};

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    read_only: bool,
    snapshot: Option<String>,
    transports: Vec<TransportMode>,
    insist: bool,
}

/// An open connection.
///
/// Disks opened over it keep it open; it ends with the last of them. `Send` and `Sync`: every call goes through the control
/// thread. Dropping it blocks while it disconnects.
pub struct Connection {
    library: Arc<Library>,
    raw: Arc<RawConnection>,
    options: ConnectOptions,
    place: String,
    local: bool,
}

impl ConnectOptions {
    /// A connection over which disks may be opened for writing, to the machine's present state, through whatever transport
    /// the library prefers.
    #[must_use]
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    /// Allows only read-only opens.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> ConnectOptions {
        self.read_only = read_only;
        self
    }

    /// The managed object id of the snapshot whose disks are meant, such as `snapshot-12`. Needed for the disks of a running
    /// machine, and for HotAdd and SAN in practice always.
    #[must_use]
    pub fn snapshot(mut self, moref: impl Into<String>) -> ConnectOptions {
        self.snapshot = Some(moref.into());
        self
    }

    /// The transports to try, in this order. Without them it is the library's own order, which begins with SAN where this machine
    /// sees the LUN; over connections that allow writing SAN is left out then, since it cannot write disks of chains and thin
    /// ones badly.
    #[must_use]
    pub fn transports(mut self, modes: impl IntoIterator<Item = TransportMode>) -> ConnectOptions {
        self.transports = modes.into_iter().collect();
        self
    }

    /// Whether opening a disk fails when the library took a transport that is not among the ones named: it may fall back to
    /// the network silently.
    #[must_use]
    pub fn insist_on_transports(mut self, insist: bool) -> ConnectOptions {
        self.insist = insist;
        self
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn is_of_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether `mode` is what the caller insisted on.
    pub(crate) fn accepts(&self, mode: &TransportMode) -> bool {
        !self.insist || self.transports.is_empty() || self.transports.contains(mode)
    }

    pub(crate) fn asked_transports(&self) -> &[TransportMode] {
        &self.transports
    }
}

impl Library {
    /// Connects. Blocks for as long as the login takes, up to seconds; the data connection is made only when a disk is opened.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`], [`ErrorKind::Network`], [`ErrorKind::NotFound`] and others by what the server says;
    /// [`ErrorKind::InvalidArgument`] for an unusable snapshot or transport name.
    pub fn connect(self: &Arc<Self>, params: &ConnectParams, options: ConnectOptions) -> Result<Connection> {
        const OPERATION: &str = "connect to";
        let place = params.place();
        params.check_version(OPERATION, self.version())?;
        if options.snapshot.is_some() && !params.names_machine() {
            let text = "a snapshot means something only for a virtual machine";
            return Err(Error::new(ErrorKind::InvalidArgument, OPERATION, text).with_subject(place));
        }
        let snapshot =
            options.snapshot.as_deref().map(|snapshot| c_string(OPERATION, snapshot)).transpose()?;
        let modes = match options.transports.as_slice() {
            // Left alone, a library that sees the LUN takes SAN even for writing, which works for few disks.
            [] if !options.read_only && !params.is_local() => self.modes_for_writing()?,
            [] => None,
            modes => Some(c_string(OPERATION, &transport::join(modes)?)?),
        };
        self.warn_of_unlisted(&options.transports);
        let api = self.api();
        let mark = log::mark();
        let fail = |error: CallError| api.error(OPERATION, error, mark).with_subject(place.clone());
        let block = ParamsBlock::new(api, params).map_err(fail)?;
        let read_only = options.read_only;
        let connected = control::run(move || {
            RawConnection::connect(api, block, read_only, snapshot.as_deref(), modes.as_deref())
        })?;
        let raw = Arc::new(connected.map_err(fail)?);
        Ok(Connection { library: Arc::clone(self), raw, options, place, local: params.is_local() })
    }

    /// All that the library offers, except SAN; nothing when it does not tell.
    fn modes_for_writing(&self) -> Result<Option<CString>> {
        let Ok(mut modes) = self.transport_modes() else { return Ok(None) };
        modes.retain(|mode| *mode != TransportMode::San);
        if modes.is_empty() { Ok(None) } else { c_string("connect to", &transport::join(&modes)?).map(Some) }
    }

    /// A list may name transports that only other machines have; but whoever wonders about the one taken should find out why.
    fn warn_of_unlisted(&self, wanted: &[TransportMode]) {
        let Ok(offered) = self.transport_modes() else { return };
        for mode in wanted.iter().filter(|mode| !offered.contains(mode)) {
            tracing::warn!(%mode, "this library does not offer a transport that was asked for");
        }
    }
}

impl Connection {
    /// Opens a disk: `[datastore] folder/name.vmdk` on a server, an absolute path on this machine. With a snapshot, the path
    /// is the one in the snapshot's configuration, not that of the machine's present disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Locked`], [`ErrorKind::Access`] and others by what the server says; a wrong
    /// thumbprint comes as [`ErrorKind::Failed`]; [`ErrorKind::TransportMismatch`] when another transport than the ones
    /// insisted on was taken; [`ErrorKind::InvalidArgument`] for writing over a read-only connection.
    pub fn open(&self, path: &str, options: OpenOptions) -> Result<Disk> {
        Disk::open(self, path, options)
    }

    /// Ends the connection and says how that went.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when disks are still open: the connection then ends with the last of them. Otherwise what the
    /// library reports; the connection is gone all the same.
    pub fn close(self) -> Result<()> {
        const OPERATION: &str = "close the connection to";
        let api = self.library.api();
        let Some(raw) = Arc::into_inner(self.raw) else {
            return Err(Error::new(ErrorKind::Misuse, OPERATION, "disks opened over it are still open")
                .with_subject(self.place)
                .with_advice("close the disks first; the connection ends with the last of them"));
        };
        let mark = log::mark();
        control::run(move || raw.disconnect())?
            .map_err(|error| api.error(OPERATION, error, mark).with_subject(self.place))
    }

    /// The library it belongs to.
    #[must_use]
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Whether it is for disks on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Refuses what the library does to disks on this machine alone.
    pub(crate) fn check_local(&self, operation: &'static str, path: &str) -> Result<()> {
        if self.local {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            operation,
            "VixDiskLib does this to disks on this machine only",
        )
        .with_subject(path)
        .with_advice(
            "on a server, make, change and delete disks through the vSphere API, then open or clone them",
        ))
    }

    pub(crate) fn check_path(&self, operation: &'static str, path: &str) -> Result<()> {
        if self.local { check_absolute(operation, path) } else { Ok(()) }
    }

    pub(crate) fn raw(&self) -> &Arc<RawConnection> {
        &self.raw
    }

    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.options
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A C string, or the reason why there is none.
pub(crate) fn c_string(operation: &'static str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, operation, format!("{text:?} holds a zero byte"))
            .with_source(error)
    })
}
