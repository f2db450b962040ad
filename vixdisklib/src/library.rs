//! VixDiskLib itself: loaded and started once for the whole process.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config;
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{self, Api, Symbol, SymbolInfo};
use crate::log;
use crate::transport::{self, TransportMode};
use crate::version::Version;

/// The interface level this crate declares: every library from 6.5 to 9.x accepts it, and newer functions stay callable.
const API_LEVEL: (u32, u32) = (6, 5);

/// Which kit to load, and how to set it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryOptions {
    directory: PathBuf,
    temp_directory: Option<PathBuf>,
    config: Vec<(String, String)>,
}

/// The loaded and running VixDiskLib.
///
/// There is one for each process, and it runs until the process ends: VixDiskLib can be started only once, and shutting it
/// down is known to crash some programs, so this crate never does.
pub struct Library {
    api: &'static Api,
    options: LibraryOptions,
    file: PathBuf,
    config: PathBuf,
    version: Version,
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

static RUNNING: Mutex<Option<Arc<Library>>> = Mutex::new(None);

impl LibraryOptions {
    /// The kit in `directory`: the folder `vmware-vix-disklib-distrib` of an unpacked VDDK, which contains `lib64`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> LibraryOptions {
        LibraryOptions { directory: directory.into(), temp_directory: None, config: Vec::new() }
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
    /// Loads and starts VixDiskLib, or gives the one that runs already.
    ///
    /// Blocks for as long as the library needs to start. Threads that the program forks off later do not have it.
    ///
    /// # Errors
    /// [`ErrorKind::LibraryNotFound`] and [`ErrorKind::LibraryUnusable`] when it cannot be loaded or does not start,
    /// [`ErrorKind::LibraryInUse`] when it runs from another folder or with other settings,
    /// [`ErrorKind::InvalidArgument`] for settings that make no configuration file, [`ErrorKind::Io`] when that file
    /// cannot be written, [`ErrorKind::Unsupported`] on anything but Linux on x86-64.
    pub fn open(options: LibraryOptions) -> Result<Arc<Library>> {
        config::check(&options.config)?;
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let options = options.canonical();
        if let Some(library) = &*running {
            if library.options == options {
                return Ok(Arc::clone(library));
            }
            let text = format!(
                "it runs in this process already, from {} {}",
                library.options.directory.display(),
                if library.options.directory == options.directory { "with other settings" } else { "" },
            );
            return Err(Error::new(ErrorKind::LibraryInUse, "start VixDiskLib from", text.trim_end())
                .with_subject(options.directory.display().to_string())
                .with_advice(
                    "VixDiskLib can be started once in a process: use another process for the other one",
                ));
        }
        let library = Arc::new(Library::start(options)?);
        *running = Some(Arc::clone(&library));
        Ok(library)
    }

    /// The folder that the library was loaded from, as given.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// The file that was loaded, with links resolved.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The version: from the library's first log line, or else from the name of its file.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Every function of the interface, and whether this library has it.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let capability =
            |symbol: &Symbol| Capability { symbol: symbol.info(), present: self.api.has(*symbol) };
        Symbol::ALL.iter().map(capability).collect()
    }

    /// The transports that this library offers on this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the library does not tell.
    pub fn transport_modes(&self) -> Result<Vec<TransportMode>> {
        let mark = log::mark();
        let list = self.api.list_transport_modes();
        let list = list.map_err(|error| self.api.error("list the transport modes", error, mark))?;
        Ok(transport::split(&list.unwrap_or_default()))
    }

    /// The functions that were called so far, in the order of the interface.
    #[must_use]
    pub fn statistics(&self) -> Vec<CallStatistics> {
        let count = |symbol: &Symbol| {
            let (calls, failures, total, longest) = self.api.counted(*symbol);
            (calls > 0).then(|| CallStatistics { name: symbol.info().name, calls, failures, total, longest })
        };
        Symbol::ALL.iter().filter_map(count).collect()
    }

    /// The configuration file that the library was started with.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config
    }

    pub(crate) fn api(&self) -> &'static Api {
        self.api
    }

    fn start(options: LibraryOptions) -> Result<Library> {
        const OPERATION: &str = "start VixDiskLib from";
        let loaded = ffi::load(&options.directory)?;
        let api = loaded.api;
        let config = config::write(options.temp_directory.as_deref(), &options.config)?;
        let directory = c_path(&options.directory)?;
        let c_config = c_path(&config)?;
        let mark = log::mark();
        control::run(move || api.init(API_LEVEL, &directory, &c_config))?.map_err(|error| {
            api.error(OPERATION, error, mark).with_subject(options.directory.display().to_string())
        })?;
        let version = match log::banner().as_deref().and_then(Version::from_log_line) {
            Some(logged) => {
                if logged.major != loaded.version.major {
                    tracing::warn!(file = %loaded.file.display(), %logged, "VixDiskLib's file name and its version differ");
                }
                logged
            }
            None => loaded.version,
        };
        for problem in version.known_problems() {
            tracing::warn!(%version, problem, "this release of VDDK has a known problem");
        }
        tracing::debug!(%version, file = %loaded.file.display(), "VixDiskLib runs");
        Ok(Library { api, options, file: loaded.file, config, version })
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
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("file", &self.file)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "use the path", "it holds a zero byte").with_source(error)
    })
}
