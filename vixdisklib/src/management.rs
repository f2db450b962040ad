//! Making, cloning, growing, checking, renaming and deleting disks that nobody has open.
//!
//! All of these run on the control thread. The library's documentation gives no thread rule for them, but each opens and
//! closes disks inside, and opening and closing from different threads fails or hangs. The price is that a long clone keeps
//! other disks from being opened and closed until it is done; reading and writing open ones goes on.

use std::ffi::CString;
use std::path::Path;

use crate::connection::{Connection, c_string};
use crate::create::CreateSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::library::Library;
use crate::log;
use crate::units::Sectors;
use crate::wire::Request;

const CREATE: &str = "create the disk";
const CLONE: &str = "clone the disk to";
const GROW: &str = "grow the disk";
const UNLINK: &str = "delete the disk";
const CHECK: &str = "check the disk";
const RENAME: &str = "rename the disk";

impl Connection {
    /// Makes a disk on this machine; it reads as zeros. `progress` hears percentages, on the calling thread; one may come
    /// several times. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] over a connection to a server, and for types that cannot be made
    /// ([`DiskType::StreamOptimized`](crate::DiskType::StreamOptimized) comes from [`Connection::clone_disk`] alone);
    /// [`ErrorKind::ReadOnly`] over a read-only connection; [`ErrorKind::AlreadyExists`]; otherwise what the library reports.
    pub fn create(&self, path: &str, spec: &CreateSpec, progress: impl FnMut(u8)) -> Result<()> {
        self.check_changeable(CREATE, path)?;
        self.check_local(CREATE, path)?;
        let spec = spec.raw(CREATE, self.library().version()).map_err(|error| error.with_subject(path))?;
        self.manage(CREATE, path, progress, |connection, path| Request::Create { connection, path, spec })
    }

    /// Copies the disk `from_path` of the connection `from`, with all of its parents' content, to `path` of this one.
    ///
    /// Either side may be a server or this machine. On a server the disk must exist, and `spec` is ignored; here it says what
    /// the copy becomes, its capacity being that of the source. `progress` hears percentages, on the calling thread. Blocks,
    /// for as long as all bytes need; it cannot be stopped.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] unless `overwrite`; [`ErrorKind::ReadOnly`] to a read-only connection;
    /// [`ErrorKind::InvalidArgument`] for connections of two libraries; otherwise what the library reports.
    pub fn clone_disk(
        &self,
        path: &str,
        from: &Connection,
        from_path: &str,
        spec: &CreateSpec,
        overwrite: bool,
        progress: impl FnMut(u8),
    ) -> Result<()> {
        self.check_changeable(CLONE, path)?;
        from.check_path(CLONE, from_path)?;
        let spec = spec.raw(CLONE, self.library().version()).map_err(|error| error.with_subject(path))?;
        let from_path = c_string(CLONE, from_path)?;
        if !self.session().engine().is_same(from.session().engine()) {
            let text =
                "the two connections belong to different libraries, or one of them to a worker that is gone";
            return Err(Error::new(ErrorKind::InvalidArgument, CLONE, text).with_subject(path));
        }
        let from = from.session().number();
        self.manage(CLONE, path, progress, |connection, path| Request::Clone {
            connection,
            path,
            from,
            from_path,
            spec,
            overwrite,
        })
    }

    /// Makes a disk on this machine larger. It must not be open, nor have children. `update_geometry` lets cylinders, heads
    /// and sectors follow, which old guests see. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] over a connection to a server, [`ErrorKind::ReadOnly`] over a read-only one; otherwise what
    /// the library reports: [`ErrorKind::Locked`] while it is open, [`ErrorKind::InvalidArgument`] for less than it has.
    pub fn grow(
        &self,
        path: &str,
        capacity: Sectors,
        update_geometry: bool,
        progress: impl FnMut(u8),
    ) -> Result<()> {
        self.check_changeable(GROW, path)?;
        self.check_local(GROW, path)?;
        self.manage(GROW, path, progress, |connection, path| Request::Grow {
            connection,
            path,
            sectors: capacity.0,
            update_geometry,
        })
    }

    /// Deletes a disk on this machine with all files that hold its data; its parents stay. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] over a connection to a server, [`ErrorKind::ReadOnly`] over a read-only one; otherwise what
    /// the library reports.
    pub fn unlink(&self, path: &str) -> Result<()> {
        self.check_changeable(UNLINK, path)?;
        self.check_local(UNLINK, path)?;
        self.manage(UNLINK, path, |_| {}, |connection, path| Request::Unlink { connection, path })
    }

    /// Looks for damage in the tables of a disk on this machine, and with `repair` mends what can be mended. The disk must
    /// not be open. Success means that the check was carried out, not that nothing was found: the library tells what it
    /// found in its log alone. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] over a connection to a server, [`ErrorKind::ReadOnly`] for repairing over a read-only one;
    /// otherwise what the library reports.
    pub fn check_repair(&self, path: &str, repair: bool) -> Result<()> {
        if repair {
            self.check_changeable(CHECK, path)?;
        }
        self.check_local(CHECK, path)?;
        self.manage(CHECK, path, |_| {}, |connection, path| Request::CheckRepair { connection, path, repair })
    }

    fn check_changeable(&self, operation: &'static str, path: &str) -> Result<()> {
        self.check_path(operation, path)?;
        if self.options().is_read_only() {
            let text = "the connection allows reading only";
            return Err(Error::new(ErrorKind::ReadOnly, operation, text)
                .with_subject(path)
                .with_advice("connect without ConnectOptions::read_only"));
        }
        Ok(())
    }

    /// Makes a call; this thread hears of its progress.
    fn manage(
        &self,
        operation: &'static str,
        path: &str,
        hear: impl FnMut(u8),
        request: impl FnOnce(u64, CString) -> Request,
    ) -> Result<()> {
        let request = request(self.session().number(), c_string(operation, path)?);
        let engine = self.session().engine();
        let mark = log::mark();
        engine
            .call_reporting(request, hear)
            .map_err(|error| engine.error(operation, error, mark).with_subject(path))
    }
}

impl Library {
    /// Gives a disk on this machine another name, together with the files that hold its data. It must not be open; children
    /// lose their parent. Both are absolute paths. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a relative path; otherwise what the library reports.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        for path in [from, to] {
            check_absolute(RENAME, path)?;
        }
        let request = Request::Rename { from: c_string(RENAME, from)?, to: c_string(RENAME, to)? };
        let engine = self.engine()?;
        let mark = log::mark();
        engine.call(request).map_err(|error| engine.error(RENAME, error, mark).with_subject(from))
    }
}

/// VixDiskLib takes relative paths for what they are to whichever folder the process is in; they are refused.
pub(crate) fn check_absolute(operation: &'static str, path: &str) -> Result<()> {
    if Path::new(path).is_absolute() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        operation,
        "the path of a disk on this machine must be absolute",
    )
    .with_subject(path))
}
