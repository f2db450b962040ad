//! What the crate `vixmntapi` needs of this one: its calls go to a second library of the same kit, which works on this
//! crate's connections and must keep to this crate's thread. No part of the public interface, and free to change.

use std::path::Path;
use std::sync::Arc;

use crate::connection::Connection;
use crate::control;
use crate::engine::Executor;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::bindings::{VddkConnection, VddkLogCallback};
use crate::ffi::{self, CallError, RawConnection};
use crate::library::Library;
use crate::log;

/// A share in a connection: it stays open for as long as this lives.
pub struct Link {
    raw: Arc<RawConnection>,
    read_only: bool,
    of_snapshot: bool,
}

/// A moment in the stream of log lines.
#[derive(Debug, Clone, Copy)]
pub struct Moment(log::Mark);

impl Link {
    /// A share in `connection`, which must be one of this process.
    ///
    /// # Errors
    /// As for [`check_in_process`].
    pub fn of(operation: &'static str, connection: &Connection) -> Result<Link> {
        let options = connection.options();
        let executor = executor(operation, connection.library())?;
        let raw = executor
            .connection(connection.session().number())
            .map_err(|error| error.tell(operation, log::mark(), |_| None))?;
        Ok(Link { raw, read_only: options.is_read_only(), of_snapshot: options.is_of_snapshot() })
    }

    /// The library's name for the connection; good while this lives. Null is possible.
    #[must_use]
    pub fn handle(&self) -> VddkConnection {
        self.raw.handle()
    }

    /// Whether it was connected for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether it leads to a snapshot's disks.
    #[must_use]
    pub fn is_of_snapshot(&self) -> bool {
        self.of_snapshot
    }
}

impl Moment {
    /// The present one.
    #[must_use]
    pub fn now() -> Moment {
        Moment(log::mark())
    }
}

/// Refuses a library whose handles mean nothing in this process.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for one in a worker process.
pub fn check_in_process(operation: &'static str, library: &Library) -> Result<()> {
    executor(operation, library).map(|_| ())
}

fn executor<'a>(operation: &'static str, library: &'a Library) -> Result<&'a Arc<Executor>> {
    library.executor().ok_or_else(|| {
        let text = "VixDiskLib runs in a worker process, and this needs it in the same process";
        Error::new(ErrorKind::Unsupported, operation, text)
            .with_subject(library.directory().display().to_string())
            .with_advice("open the library with LibraryOptions::in_process")
    })
}

/// Runs `job` on the control thread, on which connections and disks are opened and closed, and waits for it.
///
/// # Errors
/// When there is no such thread.
pub fn on_control_thread<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    control::run(job)
}

/// Loads another library of the kit.
///
/// # Errors
/// [`LibraryUnusable`](crate::ErrorKind::LibraryUnusable) when the dynamic linker refuses it.
pub fn open_library(operation: &'static str, file: &Path) -> Result<libloading::Library> {
    ffi::open_library(operation, file)
}

/// Callbacks for ordinary lines, warnings and the end of the process.
#[must_use]
pub fn log_callbacks() -> [VddkLogCallback; 3] {
    ffi::log_callbacks()
}

/// The configuration file that `library` was started with.
#[must_use]
pub fn config_file(library: &Library) -> &Path {
    library.config_file()
}

/// The error for a result word, with the library's text for it and the log lines since `since`.
#[must_use]
pub fn failure(library: &Library, operation: &'static str, raw: u64, since: Moment) -> Error {
    let api = library.executor().map(|executor| executor.api());
    CallError::Code(raw).tell(operation, since.0, |raw| api.and_then(|api| api.error_text(raw)))
}
