//! VixDiskLib itself: loaded and started, in a worker process or in this one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::config;
use crate::engine::{Engine, Executor};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{Symbol, SymbolInfo};
use crate::isolation::{self, Choice, Process, TimeLimits};
use crate::log;
use crate::transport::{self, TransportMode};
use crate::version::Version;
use crate::wire::{Request, Row, Started};

/// Which kit to load, how to set it up, and in which process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryOptions {
    directory: PathBuf,
    temp_directory: Option<PathBuf>,
    config: Vec<(String, String)>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    InProcess,
    Isolated { program: Choice, limits: TimeLimits },
}

/// The loaded and running VixDiskLib.
///
/// Opened with the same options it is the same value for the whole program. By default VixDiskLib runs in a worker process:
/// what crashes or hangs there ends the calls under way with [`ErrorKind::WorkerDied`] or [`ErrorKind::TimedOut`], and the
/// connections and disks that it had with [`ErrorKind::Closed`]; the next connect starts a new worker. A worker ends with the
/// last value that uses it.
///
/// With [`LibraryOptions::in_process`] it is loaded into this process: one, once, until the process ends, because VixDiskLib
/// can be started only once, and shutting it down is known to crash some programs, so this crate never does.
pub struct Library {
    options: LibraryOptions,
    config: PathBuf,
    started: Started,
    home: Home,
}

enum Home {
    Here(Arc<Executor>),
    /// The newest worker. Connections and disks hold the one that they live in.
    Apart(Mutex<Arc<Process>>),
}

/// One function of VixDiskLib, and whether the loaded library has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// The function: name, first release, required or not.
    pub symbol: SymbolInfo,
    /// Whether the loaded library exports it.
    pub present: bool,
}

/// How often one function was called, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStatistics {
    /// The exported name.
    pub name: &'static str,
    /// Calls so far.
    pub calls: u64,
    /// Calls that returned a failure.
    pub failures: u64,
    /// Time spent in all calls together.
    pub total: Duration,
    /// The longest call.
    pub longest: Duration,
}

/// All that run. One that is in this process stays; others go when nobody has them.
static RUNNING: Mutex<Running> = Mutex::new(Running { here: None, apart: Vec::new() });

struct Running {
    here: Option<Arc<Library>>,
    apart: Vec<Weak<Library>>,
}

impl LibraryOptions {
    /// The kit in `directory`: the folder `vmware-vix-disklib-distrib` of an unpacked VDDK, which contains `lib64`. It will run
    /// in a worker process, whose program is found as [`worker`](crate::worker) says.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> LibraryOptions {
        LibraryOptions {
            directory: directory.into(),
            temp_directory: None,
            config: Vec::new(),
            place: Place::Isolated { program: Choice::Any, limits: TimeLimits::new() },
        }
    }

    /// Loads VixDiskLib into this process. Calls take less time; its bundled OpenSSL and libstdc++ meet those of the program,
    /// what crashes it crashes the program, and nobody ends a call that hangs. `vixmntapi` needs it. Start it after the last
    /// `fork`.
    #[must_use]
    pub fn in_process(mut self) -> LibraryOptions {
        self.place = Place::InProcess;
        self
    }

    /// The program that becomes the worker process: `vddk-worker`, or one whose `main` begins with
    /// [`worker::serve_if_asked`](crate::worker::serve_if_asked). Without this it is looked for, as [`worker`](crate::worker)
    /// says.
    #[must_use]
    pub fn worker(self, program: impl Into<PathBuf>) -> LibraryOptions {
        self.with_program(Choice::Program(program.into()))
    }

    /// For test programs: this very program becomes the worker process, by running its test `name`, which calls
    /// [`worker::serve_if_asked`](crate::worker::serve_if_asked). `name` is the whole name, modules included.
    #[must_use]
    pub fn worker_test(self, name: impl Into<String>) -> LibraryOptions {
        self.with_program(Choice::Test(name.into()))
    }

    /// How long calls may take until the worker process counts as hung; [`TimeLimits::new`] unless set. Of no effect in
    /// process.
    #[must_use]
    pub fn time_limits(mut self, limits: TimeLimits) -> LibraryOptions {
        if let Place::Isolated { limits: present, .. } = &mut self.place {
            *present = limits;
        }
        self
    }

    fn with_program(mut self, program: Choice) -> LibraryOptions {
        let limits = match self.place {
            Place::Isolated { limits, .. } => limits,
            Place::InProcess => TimeLimits::new(),
        };
        self.place = Place::Isolated { program, limits };
        self
    }

    /// Where VixDiskLib keeps state and where this crate puts its configuration file. It should stay the same from run to
    /// run: after a crash, [`Library::cleanup`] finds there what has to be cleaned up. Made when missing. Without it, a
    /// folder of this user below the system's temporary folder is used.
    #[must_use]
    pub fn temp_directory(mut self, directory: impl Into<PathBuf>) -> LibraryOptions {
        self.temp_directory = Some(directory.into());
        self
    }

    /// Adds a line to the configuration, such as `vixDiskLib.transport.LogLevel`, `4`. Keys are not checked against a list:
    /// each release has its own.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> LibraryOptions {
        self.config.push((key.into(), value.into()));
        self
    }
}

impl Library {
    /// Loads and starts VixDiskLib, or gives the one that runs already with these options.
    ///
    /// Blocks for as long as the library needs to start. In process there is one; worker processes may run any number of kits
    /// side by side.
    ///
    /// # Errors
    /// [`ErrorKind::LibraryNotFound`] and [`ErrorKind::LibraryUnusable`] when it cannot be loaded or does not start,
    /// [`ErrorKind::WorkerNotFound`] when there is no program for a worker process, [`ErrorKind::WorkerDied`] and
    /// [`ErrorKind::TimedOut`] when it dies or hangs on the way,
    /// [`ErrorKind::LibraryInUse`] when it runs in this process from another folder or with other settings,
    /// [`ErrorKind::InvalidArgument`] for settings that make no configuration file, [`ErrorKind::Io`] when that file
    /// cannot be written, [`ErrorKind::Unsupported`] on anything but Linux on x86-64.
    pub fn open(options: LibraryOptions) -> Result<Arc<Library>> {
        config::check(&options.config)?;
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let options = options.canonical();
        if options.place == Place::InProcess {
            if let Some(library) = &running.here {
                return if library.options == options {
                    Ok(Arc::clone(library))
                } else {
                    Err(library.in_use(&options))
                };
            }
            let library = Arc::new(Library::start(options)?);
            running.here = Some(Arc::clone(&library));
            return Ok(library);
        }
        running.apart.retain(|library| library.strong_count() > 0);
        let same = |library: Arc<Library>| (library.options == options).then_some(library);
        if let Some(library) = running.apart.iter().filter_map(Weak::upgrade).find_map(same) {
            return Ok(library);
        }
        let library = Arc::new(Library::start(options)?);
        running.apart.push(Arc::downgrade(&library));
        Ok(library)
    }

    /// Whether it runs in a worker process.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        matches!(self.home, Home::Apart(_))
    }

    /// The process id of the present worker process; `None` in process. After a crash it is another one.
    #[must_use]
    pub fn worker_id(&self) -> Option<u32> {
        self.present().map(|process| process.id())
    }

    /// The folder that the library was loaded from, as given.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// The file that was loaded, with links resolved.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.started.file
    }

    /// The version: from the library's first log line, or else from the name of its file.
    #[must_use]
    pub fn version(&self) -> Version {
        self.started.version
    }

    /// Every function of the interface, and whether this library has it.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let capability =
            |(symbol, present): (&Symbol, &bool)| Capability { symbol: symbol.info(), present: *present };
        Symbol::ALL.iter().zip(&self.started.present).map(capability).collect()
    }

    /// The transports that this library offers on this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the library does not tell; what [`Library::open`] gives, when its worker process has to
    /// be started anew.
    pub fn transport_modes(&self) -> Result<Vec<TransportMode>> {
        let mark = log::mark();
        let engine = self.engine()?;
        let list: Option<String> = engine
            .call(Request::TransportModes {})
            .map_err(|error| engine.error("list the transport modes", error, mark))?;
        Ok(transport::split(&list.unwrap_or_default()))
    }

    /// The functions that were called so far, in the order of the interface. Of the present worker process, where there is
    /// one; nothing while that is dead.
    #[must_use]
    pub fn statistics(&self) -> Vec<CallStatistics> {
        let engine = match &self.home {
            Home::Here(executor) => Some(Engine::Here(Arc::clone(executor))),
            Home::Apart(_) => self.present().map(Engine::Apart),
        };
        let rows = engine.and_then(|engine| engine.call::<Vec<Row>>(Request::Statistics {}).ok());
        let told = |row: Row| {
            Some(CallStatistics {
                name: Symbol::ALL.get(usize::from(row.symbol))?.info().name,
                calls: row.calls,
                failures: row.failures,
                total: Duration::from_nanos(row.total),
                longest: Duration::from_nanos(row.longest),
            })
        };
        rows.into_iter().flatten().filter_map(told).collect()
    }

    /// The configuration file that the library was started with.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config
    }

    /// What carries out its requests, when that is in this process.
    pub(crate) fn executor(&self) -> Option<&Arc<Executor>> {
        match &self.home {
            Home::Here(executor) => Some(executor),
            Home::Apart(_) => None,
        }
    }

    /// What carries out requests; a worker process that is gone is replaced.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let process = match &self.home {
            Home::Here(executor) => return Ok(Engine::Here(Arc::clone(executor))),
            Home::Apart(process) => process,
        };
        let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
        if !process.is_alive() {
            let (new, started) = self.options.launch(&self.config)?;
            if (started.version, &started.present) != (self.started.version, &self.started.present) {
                let text = "the kit was replaced by another version while the library was in use";
                return Err(Error::new(ErrorKind::LibraryInUse, "start again VixDiskLib from", text)
                    .with_subject(self.options.directory.display().to_string())
                    .with_advice("give up this library with all its connections, and open it anew"));
            }
            tracing::info!(worker = new.id(), "VixDiskLib runs again, in a new worker process");
            *process = Arc::new(new);
        }
        Ok(Engine::Apart(Arc::clone(&process)))
    }

    fn present(&self) -> Option<Arc<Process>> {
        match &self.home {
            Home::Here(_) => None,
            Home::Apart(process) => Some(Arc::clone(&process.lock().unwrap_or_else(PoisonError::into_inner))),
        }
    }

    fn start(options: LibraryOptions) -> Result<Library> {
        let config = config::write(options.temp_directory.as_deref(), &options.config)?;
        if options.place == Place::InProcess {
            let (executor, started) = Executor::start(&options.directory, &config)?;
            warn_of_problems(started.version);
            return Ok(Library { options, config, started, home: Home::Here(Arc::new(executor)) });
        }
        let (process, started) = options.launch(&config)?;
        warn_of_problems(started.version);
        Ok(Library { options, config, started, home: Home::Apart(Mutex::new(Arc::new(process))) })
    }

    fn in_use(&self, wanted: &LibraryOptions) -> Error {
        let text = format!(
            "it runs in this process already, from {} {}",
            self.options.directory.display(),
            if self.options.directory == wanted.directory { "with other settings" } else { "" },
        );
        Error::new(ErrorKind::LibraryInUse, "start VixDiskLib from", text.trim_end())
            .with_subject(wanted.directory.display().to_string())
            .with_advice(
                "VixDiskLib can be started once in a process: open the other one without LibraryOptions::in_process",
            )
    }
}

impl LibraryOptions {
    /// So that two spellings of one folder count as the same.
    fn canonical(mut self) -> LibraryOptions {
        if let Ok(directory) = self.directory.canonicalize() {
            self.directory = directory;
        }
        self
    }

    fn launch(&self, config: &Path) -> Result<(Process, Started)> {
        let (program, limits) = match &self.place {
            Place::Isolated { program, limits } => (program, *limits),
            Place::InProcess => (&Choice::Any, TimeLimits::new()),
        };
        isolation::launch(program, &self.directory, config, limits)
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("file", &self.started.file)
            .field("version", &self.started.version)
            .field("worker", &self.worker_id())
            .finish_non_exhaustive()
    }
}

fn warn_of_problems(version: Version) {
    for problem in version.known_problems() {
        tracing::warn!(%version, problem, "this release of VDDK has a known problem");
    }
}
