//! The one state of the process: what InitEx was told, and which handles are open.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::code::{self, Answer, Code};
use crate::connection::Connection;
use crate::disk::OpenDisk;
use crate::faults::{Faults, Place};
use crate::ffi::{log, memory};
use crate::release;
use crate::settings::Settings;
use crate::strict::{self, Rule};

const BUILD: u32 = 23_950_268;

/// The running library.
pub(crate) struct Library {
    /// The kit's folder: `libDir` of InitEx.
    kit: Option<PathBuf>,
    pub(crate) settings: Settings,
    /// The thread that started it.
    thread: ThreadId,
    connections: Handles<Connection>,
    disks: Handles<OpenDisk>,
    places: Mutex<HashMap<PathBuf, Arc<Place>>>,
}

/// Things by number. Numbers are never used twice, so a handle that was closed stays invalid.
struct Handles<T> {
    next: AtomicUsize,
    open: Mutex<HashMap<usize, Arc<Handle<T>>>>,
}

/// Something with a handle.
pub(crate) struct Handle<T> {
    value: T,
    /// The thread that made it.
    thread: ThreadId,
    /// Whether a call is using it.
    busy: AtomicBool,
}

/// The use of an open disk by one call.
pub(crate) struct InUse(Arc<Handle<OpenDisk>>);

/// The first number, and the distance from one to the next: far from null and with gaps, so that handles look like the
/// pointers they are passed as.
const FIRST: usize = 0x1000;
const STEP: usize = 0x10;

static LIBRARY: Mutex<Option<Arc<Library>>> = Mutex::new(None);
/// Whether this process has ever started it.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts the library.
pub(crate) fn init(major: u32, minor: u32, kit: Option<&str>, config: Option<&str>) -> Answer<()> {
    let mut library = lock(&LIBRARY);
    if STARTED.load(Ordering::Relaxed) {
        strict::broken(Rule::InitOnce, "InitEx was called once more");
    }
    if library.is_some() {
        return Err(Code::OPERATION_ALREADY_IN_PROGRESS);
    }
    let settings = config.map_or_else(|| Ok(Settings::default()), Settings::load)?;
    code::set_upper_bits(settings.upper_bits);
    let release = release::current();
    log::line(&format!("VMware VixDiskLib ({}) Release build-{BUILD}", release.version()));
    if (major, minor) > release.level() {
        let (newest, part) = release.level();
        log::warn(&format!("the interface level {major}.{minor} is newer than {newest}.{part}"));
        return Err(Code::NOT_SUPPORTED);
    }
    let kit = kit.map(PathBuf::from);
    if !kit.as_ref().is_some_and(|kit| kit.is_dir()) {
        log::warn("libDir is not a folder: only local disks will work");
    }
    let started = Library {
        kit,
        settings,
        thread: thread::current().id(),
        connections: Handles::new(),
        disks: Handles::new(),
        places: Mutex::default(),
    };
    if let Some(kit) = &started.kit {
        started.faults_of(kit).suffer("InitEx", "")?.settle()?;
    }
    STARTED.store(true, Ordering::Relaxed);
    strict::start(started.settings.strict);
    *library = Some(Arc::new(started));
    Ok(())
}

/// Ends the library. Open handles become invalid.
pub(crate) fn exit() {
    let Some(library) = lock(&LIBRARY).take() else { return };
    if library.thread != thread::current().id() {
        strict::broken(Rule::ExitThread, "Exit was called by another thread");
    }
    let mut left = memory::handed_out();
    left.extend(library.disks.count().map(|count| format!("{count} open disks")));
    left.extend(library.connections.count().map(|count| format!("{count} connections")));
    if !left.is_empty() {
        strict::broken(Rule::LeakAtExit, format_args!("Exit was called with {}", left.join(", ")));
    }
}

/// The running library.
pub(crate) fn current() -> Answer<Arc<Library>> {
    lock(&LIBRARY).clone().ok_or(Code::NOT_INITIALISED)
}

impl Library {
    pub(crate) fn kit(&self) -> Option<&Path> {
        self.kit.as_deref()
    }

    pub(crate) fn add_connection(&self, connection: Connection) -> usize {
        self.connections.add(connection)
    }

    pub(crate) fn connection(&self, handle: usize) -> Answer<Arc<Handle<Connection>>> {
        self.connections.get(handle).ok_or_else(|| self.no_connection(handle))
    }

    pub(crate) fn take_connection(&self, handle: usize) -> Answer<Arc<Handle<Connection>>> {
        let disks = lock(&self.disks.open);
        let open = disks.values().filter(|disk| disk.value.connection == handle).count();
        drop(disks);
        if open > 0 {
            strict::broken(
                Rule::DisksBeforeConnection,
                format_args!("Disconnect was called while {open} disks were open"),
            );
        }
        let connection = self.connections.take(handle).ok_or_else(|| self.no_connection(handle))?;
        if connection.thread != thread::current().id() {
            strict::broken(Rule::DisconnectThread, "Disconnect was called by another thread than ConnectEx");
        }
        Ok(connection)
    }

    fn no_connection(&self, handle: usize) -> Code {
        let what = self.connections.describe(handle);
        strict::broken(Rule::UseAfterDisconnect, format_args!("the connection {handle:#x} {what}"));
        Code::INVALID_CONNECTION
    }

    pub(crate) fn add_disk(&self, disk: OpenDisk) -> usize {
        self.disks.add(disk)
    }

    /// The disk, for the length of one call.
    pub(crate) fn disk(&self, handle: usize) -> Answer<InUse> {
        let disk = self.disks.get(handle).ok_or_else(|| self.no_disk(handle))?;
        Ok(InUse::begin(disk, handle))
    }

    /// The disk, whose handle is gone with this.
    pub(crate) fn take_disk(&self, handle: usize) -> Answer<InUse> {
        let disk = self.disks.take(handle).ok_or_else(|| self.no_disk(handle))?;
        if disk.thread != thread::current().id() {
            strict::broken(Rule::CloseThread, "Close was called by another thread than Open");
        }
        Ok(InUse::begin(disk, handle))
    }

    /// The disk was given up by its client without Close.
    pub(crate) fn forget_disk(&self, handle: usize) {
        self.disks.take(handle);
    }

    fn no_disk(&self, handle: usize) -> Code {
        let what = self.disks.describe(handle);
        strict::broken(Rule::UseAfterClose, format_args!("the disk {handle:#x} {what}"));
        Code::INVALID_HANDLE
    }

    /// The faults to play for a server (its data folder) or for local disks (the kit's folder). Counters are one for all
    /// connections of the process.
    pub(crate) fn faults_of(&self, folder: &Path) -> Faults {
        let mut places = lock(&self.places);
        let place = places.entry(folder.to_owned()).or_insert_with(|| Arc::new(Place::new(folder)));
        Faults::new(Some(Arc::clone(place)))
    }
}

impl InUse {
    fn begin(disk: Arc<Handle<OpenDisk>>, handle: usize) -> InUse {
        if disk.busy.swap(true, Ordering::AcqRel) {
            strict::broken(
                Rule::OneCallPerDisk,
                format_args!("the disk {handle:#x} was used by two calls at once"),
            );
        }
        InUse(disk)
    }

    /// The disk beyond this call, for a request that goes on.
    pub(crate) fn share(&self) -> Arc<Handle<OpenDisk>> {
        Arc::clone(&self.0)
    }
}

impl Deref for InUse {
    type Target = OpenDisk;

    fn deref(&self) -> &OpenDisk {
        &self.0.value
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Handles<T> {
    fn new() -> Handles<T> {
        Handles { next: AtomicUsize::new(FIRST), open: Mutex::default() }
    }

    fn add(&self, value: T) -> usize {
        let number = self.next.fetch_add(STEP, Ordering::Relaxed);
        let handle = Handle { value, thread: thread::current().id(), busy: AtomicBool::new(false) };
        lock(&self.open).insert(number, Arc::new(handle));
        number
    }

    fn get(&self, number: usize) -> Option<Arc<Handle<T>>> {
        lock(&self.open).get(&number).cloned()
    }

    fn take(&self, number: usize) -> Option<Arc<Handle<T>>> {
        lock(&self.open).remove(&number)
    }

    fn count(&self) -> Option<usize> {
        Some(lock(&self.open).len()).filter(|count| *count > 0)
    }

    /// Why a number is not one of these.
    fn describe(&self, number: usize) -> &'static str {
        let given = FIRST..self.next.load(Ordering::Relaxed);
        if given.contains(&number) && (number - FIRST).is_multiple_of(STEP) {
            "was given up before"
        } else {
            "was never given to the client"
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the value whole at each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
