//! VixMntapi itself: loaded and started once for the whole process, after VixDiskLib.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vixdisklib::sibling::{self, Link, Moment};
use vixdisklib::{Connection, Error, ErrorKind, Library, Result};

use crate::Access;
use crate::disk_set::DiskSet;
use crate::ffi::{self, Api, CallError, RawSet, Symbol};
use crate::preflight::{self, Requirement};

const START: &str = "start VixMntapi from";
const OPEN: &str = "open for mounting the disk";

/// The bit of the flags of an open call that refuses writes: VixMntapi takes those of VixDiskLib.
const OPEN_READ_ONLY: u32 = vixdisklib::ffi::bindings::VDDK_OPEN_READ_ONLY;

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    assume_ready: bool,
}

/// The loaded and running VixMntapi.
///
/// There is one for each process. It comes from the kit of the running VixDiskLib and gets the same configuration file; a line
/// of its own there is `vixMntapi.cfg.LogLevel`, for
/// [`LibraryOptions::config`](vixdisklib::LibraryOptions::config). It runs until [`MountApi::end`], or until the process
/// ends.
pub struct MountApi {
    library: Arc<Library>,
    api: &'static Api,
    file: PathBuf,
    gate: Mutex<Gate>,
}

/// What may be begun at the moment.
#[derive(Debug, Default)]
struct Gate {
    ended: bool,
    set_open: bool,
}

/// The one place for a disk set. Free again when dropped, which is after the set has closed.
pub(crate) struct Slot(Arc<MountApi>);

enum Life {
    NotStarted,
    Running(Arc<MountApi>),
    Ended,
}

static LIFE: Mutex<Life> = Mutex::new(Life::NotStarted);

impl MountOptions {
    /// Checks this machine first.
    #[must_use]
    pub fn new() -> MountOptions {
        MountOptions::default()
    }

    /// Begins without [`preflight`](crate::preflight()): for a kit that does not need what VMware's needs, such as the
    /// simulator's, or when the caller has looked himself. Whatever is missing then shows in the library's own codes.
    #[must_use]
    pub fn assume_ready(mut self, ready: bool) -> MountOptions {
        self.assume_ready = ready;
        self
    }
}

impl MountApi {
    /// Loads and starts the VixMntapi of `library`'s kit, or gives the one that runs already. The library must be one of this
    /// process: [`LibraryOptions::in_process`](vixdisklib::LibraryOptions::in_process).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when `library` runs in a worker process, and when this machine lacks something that mounting needs; the text names all of it and what
    /// to do. [`ErrorKind::LibraryNotFound`] and [`ErrorKind::LibraryUnusable`] when it cannot be loaded;
    /// [`ErrorKind::Misuse`] after [`MountApi::end`]; otherwise what the library reports.
    pub fn open(library: &Arc<Library>, options: MountOptions) -> Result<Arc<MountApi>> {
        let subject = || library.directory().display().to_string();
        let mut life = LIFE.lock().unwrap_or_else(PoisonError::into_inner);
        match &*life {
            Life::Running(running) => return Ok(Arc::clone(running)),
            Life::Ended => {
                return Err(Error::new(ErrorKind::Misuse, START, "it was ended in this process before")
                    .with_subject(subject())
                    .with_advice("VixMntapi can be started once in a process: use another process"));
            }
            Life::NotStarted => {}
        }
        sibling::check_in_process(START, library)?;
        if !options.assume_ready {
            refuse_if_missing(&preflight::preflight(), &subject())?;
        }
        let loaded = ffi::load(library.file())?;
        let directory = c_path(library.directory())?;
        let config = c_path(sibling::config_file(library))?;
        let started = MountApi {
            library: Arc::clone(library),
            api: loaded.api,
            file: loaded.file,
            gate: Mutex::default(),
        };
        started.call(START, &subject(), move || loaded.api.init(&directory, &config))?;
        tracing::debug!(file = %started.file.display(), "VixMntapi runs");
        let started = Arc::new(started);
        *life = Life::Running(Arc::clone(&started));
        Ok(started)
    }

    /// Opens a disk, so that its volumes can be seen and mounted. `paths` must hold exactly one: `[datastore]
    /// folder/name.vmdk` on a server, an absolute path on this machine. (The interface takes several for Windows' spanned
    /// volumes; on Linux it takes one.)
    ///
    /// The connection stays open until the set is closed, whatever is dropped first.
    ///
    /// # Errors
    /// Before the library is asked: [`ErrorKind::InvalidArgument`] for no path or several, an empty one, one with a zero
    /// byte, and for writing over a connection that is read-only or leads to a snapshot; [`ErrorKind::Busy`] while another
    /// set is open in this process; [`ErrorKind::Closed`] after [`MountApi::end`]. Otherwise what the library reports, above
    /// all 24002, 24005 and 24006, and 24014 when another program mounts on this machine.
    pub fn open_disks(
        self: &Arc<Self>,
        connection: &Connection,
        paths: &[&str],
        access: Access,
    ) -> Result<DiskSet> {
        let [path] = paths else {
            let text = format!("{} disks were named: a disk set has exactly one on Linux", paths.len());
            return Err(invalid(text).with_advice("mount several disks one after the other"));
        };
        let wrong = |text: &str| Err(invalid(text.to_owned()).with_subject(*path));
        if path.is_empty() {
            return wrong("the path is empty");
        }
        let Ok(name) = CString::new(*path) else { return wrong("the path holds a zero byte") };
        if !Arc::ptr_eq(connection.library(), &self.library) {
            return wrong("the connection belongs to another library");
        }
        let link = Link::of(OPEN, connection)?;
        let flags = match access {
            Access::ReadOnly => OPEN_READ_ONLY,
            Access::ReadWrite if link.is_of_snapshot() => {
                return wrong("the connection leads to a snapshot, whose disks are mounted read-only");
            }
            Access::ReadWrite if link.is_read_only() => return wrong("the connection is read-only"),
            Access::ReadWrite => 0,
        };
        let slot = self.take_slot(path)?;
        let api = self.api;
        let raw = self.call(OPEN, path, move || RawSet::open(api, link, slot, &name, flags))?;
        Ok(DiskSet::new(Arc::clone(self), Arc::new(raw), (*path).to_owned(), access))
    }

    /// The file that was loaded, with links resolved.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Every function of the interface, and whether this library has it.
    #[must_use]
    pub fn symbols(&self) -> Vec<(ffi::SymbolInfo, bool)> {
        Symbol::ALL.iter().map(|symbol| (symbol.info(), self.api.has(*symbol))).collect()
    }

    /// Ends VixMntapi for the rest of this process; [`MountApi::open`] is then refused. Few programs need it: the end of the
    /// process does as well.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] while a disk set is open, [`ErrorKind::Closed`] when it was ended before.
    pub fn end(&self) -> Result<()> {
        const OPERATION: &str = "end VixMntapi";
        let mut life = LIFE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gate = self.gate();
        if gate.ended {
            return Err(Error::new(ErrorKind::Closed, OPERATION, "it was ended before"));
        }
        if gate.set_open {
            return Err(Error::new(ErrorKind::Misuse, OPERATION, "a disk set is still open")
                .with_advice("drop or close it first, with its volumes"));
        }
        gate.ended = true;
        *life = Life::Ended;
        let api = self.api;
        // Nothing that a set needs waits for the gate on the control thread, so it may be held.
        self.call(OPERATION, "", move || api.exit())
    }

    /// Makes calls on the control thread; a failure gets the library's text and the log lines of the time.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        operation: &'static str,
        subject: &str,
        job: impl FnOnce() -> std::result::Result<R, CallError> + Send + 'static,
    ) -> Result<R> {
        let since = Moment::now();
        let error = match sibling::on_control_thread(job)? {
            Ok(result) => return Ok(result),
            Err(CallError::Code(raw)) => sibling::failure(&self.library, operation, raw, since),
            Err(CallError::Nonsense(what)) => Error::new(ErrorKind::Failed, operation, what)
                .with_advice("the library broke its interface: is it a VixMntapi of this kit?"),
            Err(CallError::Missing(missing)) => {
                let name = missing.0.info().name;
                Error::new(ErrorKind::Unsupported, operation, format!("the loaded library lacks {name}"))
                    .with_advice("use a newer VDDK kit")
            }
        };
        Err(if subject.is_empty() { error } else { error.with_subject(subject) })
    }

    fn take_slot(self: &Arc<Self>, path: &str) -> Result<Slot> {
        let mut gate = self.gate();
        if gate.ended {
            return Err(Error::new(ErrorKind::Closed, OPEN, "VixMntapi was ended").with_subject(path));
        }
        if gate.set_open {
            return Err(Error::new(ErrorKind::Busy, OPEN, "another disk set is open in this process")
                .with_subject(path)
                .with_advice(
                    "close it first, or use another process: one set at a time is what VixMntapi bears",
                ));
        }
        gate.set_open = true;
        Ok(Slot(Arc::clone(self)))
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Two flags, each set in one step.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.gate().set_open = false;
    }
}

impl std::fmt::Debug for MountApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountApi").field("file", &self.file).finish_non_exhaustive()
    }
}

fn refuse_if_missing(missing: &[Requirement], subject: &str) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = |of: fn(&Requirement) -> &'static str| missing.iter().map(of).collect::<Vec<_>>().join("; ");
    let text = format!("this machine cannot mount: {}", list(|requirement| requirement.what()));
    Err(Error::new(ErrorKind::Unsupported, START, text)
        .with_subject(subject)
        .with_advice(list(|requirement| requirement.remedy())))
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, OPEN, text)
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, START, "the path holds a zero byte").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_everything_that_is_missing() {
        refuse_if_missing(&[], "/kit").unwrap();
        let error = refuse_if_missing(&[Requirement::Root, Requirement::Umount], "/kit").unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Unsupported, Some("/kit")));
        let shown = error.to_string();
        for part in ["root", "umount", "util-linux"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
