//! The one state of the process: what InitEx was told, and which handles are open.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sim_store::state::{FaultHit, FaultSet};

use crate::code::{self, Answer, Code};
use crate::connection::Connection;
use crate::disk::OpenDisk;
use crate::ffi::log;

/// The newest interface level that this library speaks.
const LEVEL: (u32, u32) = (8, 0);
/// The version that it says it is, unless its configuration has another.
pub(crate) const VERSION: &str = "8.0.3";
const BUILD: u32 = 23_950_268;

/// The running library.
pub(crate) struct Library {
    /// The kit's folder: `libDir` of InitEx.
    kit: Option<PathBuf>,
    connections: Handles<Connection>,
    disks: Handles<OpenDisk>,
    faults: Mutex<HashMap<PathBuf, Arc<FaultSet>>>,
}

/// Things by number. Numbers are never used twice, so a handle that was closed stays invalid.
struct Handles<T> {
    next: AtomicUsize,
    open: Mutex<HashMap<usize, Arc<T>>>,
}

static LIBRARY: Mutex<Option<Arc<Library>>> = Mutex::new(None);

/// Starts the library.
pub(crate) fn init(major: u32, minor: u32, kit: Option<&str>, config: Option<&str>) -> Answer<()> {
    let mut library = lock(&LIBRARY);
    if library.is_some() {
        log::warn("InitEx was called twice; once is all a process may");
        return Err(Code::OPERATION_ALREADY_IN_PROGRESS);
    }
    let settings = config.map_or(Ok(Settings::default()), Settings::load)?;
    code::set_upper_bits(settings.upper_bits);
    let version = settings.version.as_deref().unwrap_or(VERSION);
    log::line(&format!("VMware VixDiskLib ({version}) Release build-{BUILD}"));
    if (major, minor) > LEVEL {
        log::warn(&format!("the interface level {major}.{minor} is newer than {}.{}", LEVEL.0, LEVEL.1));
        return Err(Code::NOT_SUPPORTED);
    }
    let kit = kit.map(PathBuf::from);
    if !kit.as_ref().is_some_and(|kit| kit.is_dir()) {
        log::warn("libDir is not a folder: only local disks will work");
    }
    let started =
        Library { kit, connections: Handles::new(), disks: Handles::new(), faults: Mutex::default() };
    if let Some(kit) = &started.kit {
        started.faults_of(kit).suffer("InitEx", "")?.settle()?;
    }
    *library = Some(Arc::new(started));
    Ok(())
}

/// What the configuration file says to this library alone. All other keys are the real one's.
#[derive(Default)]
struct Settings {
    version: Option<String>,
    upper_bits: u32,
}

impl Settings {
    fn load(file: &str) -> Answer<Settings> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            log::warn(&format!("the configuration file {file} cannot be read: {error}"));
            Code::FILE_NOT_FOUND
        })?;
        let mut settings = Settings::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim() {
                "fakeVddk.version" => settings.version = Some(value.to_owned()),
                "fakeVddk.upperBits" => settings.upper_bits = value.parse().map_err(|_| Code::INVALID_ARG)?,
                _ => {}
            }
        }
        Ok(settings)
    }
}

/// Ends the library. Open handles become invalid.
pub(crate) fn exit() {
    lock(&LIBRARY).take();
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

    pub(crate) fn connection(&self, handle: usize) -> Answer<Arc<Connection>> {
        self.connections.get(handle).ok_or(Code::INVALID_CONNECTION)
    }

    pub(crate) fn take_connection(&self, handle: usize) -> Answer<Arc<Connection>> {
        self.connections.take(handle).ok_or(Code::INVALID_CONNECTION)
    }

    pub(crate) fn add_disk(&self, disk: OpenDisk) -> usize {
        self.disks.add(disk)
    }

    pub(crate) fn disk(&self, handle: usize) -> Answer<Arc<OpenDisk>> {
        self.disks.get(handle).ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn take_disk(&self, handle: usize) -> Answer<Arc<OpenDisk>> {
        self.disks.take(handle).ok_or(Code::INVALID_HANDLE)
    }

    /// The faults to play for a server (its data folder) or for local disks (the kit's folder). Counters are one for all
    /// connections of the process.
    pub(crate) fn faults_of(&self, folder: &Path) -> Faults {
        let mut faults = lock(&self.faults);
        let set = faults.entry(folder.to_owned()).or_insert_with(|| Arc::new(FaultSet::new(folder)));
        Faults(Some(Arc::clone(set)))
    }
}

/// The faults that apply to a connection and its disks.
#[derive(Clone)]
pub(crate) struct Faults(pub(crate) Option<Arc<FaultSet>>);

/// What a call has to suffer.
pub(crate) struct Suffering(Option<FaultHit>);

impl Faults {
    /// Counts a call; waits as long as a rule wants.
    pub(crate) fn suffer(&self, function: &str, object: &str) -> Answer<Suffering> {
        let Some(set) = &self.0 else { return Ok(Suffering(None)) };
        let hit = set.check(function, object).map_err(|error| {
            log::warn(&format!("the fault rules cannot be read: {error}"));
            Code::of(&error)
        })?;
        if let Some(hit) = &hit {
            std::thread::sleep(hit.delay);
            if hit.code != 0 {
                log::warn(&format!("{function} fails with {} by a fault rule", hit.code));
            }
        }
        Ok(Suffering(hit.filter(|hit| hit.code != 0)))
    }
}

impl Suffering {
    /// Whether half of the work shall be done before the failure.
    pub(crate) fn is_partial(&self) -> bool {
        self.0.is_some_and(|hit| hit.partial)
    }

    /// The failure, if there is to be one.
    pub(crate) fn settle(&self) -> Answer<()> {
        self.0.map_or(Ok(()), |hit| Err(Code(hit.code)))
    }
}

impl<T> Handles<T> {
    fn new() -> Handles<T> {
        // Far from null, and with gaps, so that handles look like the pointers they are passed as.
        Handles { next: AtomicUsize::new(0x1000), open: Mutex::default() }
    }

    fn add(&self, value: T) -> usize {
        let handle = self.next.fetch_add(0x10, Ordering::Relaxed);
        lock(&self.open).insert(handle, Arc::new(value));
        handle
    }

    fn get(&self, handle: usize) -> Option<Arc<T>> {
        lock(&self.open).get(&handle).cloned()
    }

    fn take(&self, handle: usize) -> Option<Arc<T>> {
        lock(&self.open).remove(&handle)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves the value whole at each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
