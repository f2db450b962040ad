//! VixDiskLib in this process: what carries out requests, here and in a worker process alike.

use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::thread::{DiskThread, Queue};
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{self, Api, CallError, ParamsBlock, RawConnection, RawDisk, Symbol, bindings};
use crate::log;
use crate::params::ConnectParams;
use crate::progress::Reporter;
use crate::version::Version;
use crate::wire::{Answer, Request, Row, Started};

/// The interface level this crate declares: every library from 6.5 to 9.x accepts it, and newer functions stay callable.
const API_LEVEL: (u32, u32) = (6, 5);

/// Two threads that ask about two disks crosswise would each wait for the thread that the other one holds.
static ONE_PAIR_AT_A_TIME: Mutex<()> = Mutex::new(());

type Called<T> = std::result::Result<T, CallError>;

/// The running library, its connections and its open disks, each under a number.
pub(crate) struct Executor {
    api: &'static Api,
    version: Version,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<RawConnection>>>,
    disks: Mutex<HashMap<u64, Arc<OpenDisk>>>,
}

struct OpenDisk {
    thread: DiskThread,
    asynchronous: bool,
}

impl Executor {
    /// Loads and starts the library. Once in a process.
    pub(crate) fn start(directory: &Path, config: &Path) -> Result<(Executor, Started)> {
        const OPERATION: &str = "start VixDiskLib from";
        let loaded = ffi::load(directory)?;
        let api = loaded.api;
        let (c_directory, c_config) = (c_path(directory)?, c_path(config)?);
        let mark = log::mark();
        control::run(move || api.init(API_LEVEL, &c_directory, &c_config))?.map_err(|error| {
            error
                .tell(OPERATION, mark, |raw| api.error_text(raw))
                .with_subject(directory.display().to_string())
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
        tracing::debug!(%version, file = %loaded.file.display(), "VixDiskLib runs");
        let present = Symbol::ALL.iter().map(|symbol| api.has(*symbol)).collect();
        let executor = Executor {
            api,
            version,
            next: AtomicU64::new(1),
            connections: Mutex::default(),
            disks: Mutex::default(),
        };
        Ok((executor, Started { file: loaded.file, version, present }))
    }

    /// Carries out a request and waits for it, on whatever threads the library wants.
    pub(crate) fn run(&self, request: Request, reporter: Reporter) -> Called<Answer> {
        let api = self.api;
        match request {
            Request::TransportModes {} => Ok(Answer::Text { text: api.list_transport_modes()? }),
            Request::ErrorText { raw } => {
                Ok(Answer::Text { text: api.error_text(raw).map(|text| log::scrub_text(&text)) })
            }
            Request::Statistics {} => Ok(Answer::Statistics { rows: self.statistics() }),
            Request::Connect { params, read_only, snapshot, modes } => {
                let block = ParamsBlock::new(api, &params)?;
                let raw = control::call(move || {
                    RawConnection::connect(api, block, read_only, snapshot.as_deref(), modes.as_deref())
                })?;
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                lock(&self.connections).insert(number, Arc::new(raw));
                Ok(Answer::Number { number })
            }
            Request::Disconnect { connection } => {
                let raw = lock(&self.connections).remove(&connection).ok_or_else(CallError::closed)?;
                // Somebody else has a share in it (a disk set of VixMntapi): then it ends with that.
                let Some(raw) = Arc::into_inner(raw) else { return Ok(Answer::Flag { flag: false }) };
                control::call(move || raw.disconnect())?;
                Ok(Answer::Flag { flag: true })
            }
            Request::PrepareForAccess { params, identity } => {
                self.access(&params, identity, Api::prepare_for_access)
            }
            Request::EndAccess { params, identity } => self.access(&params, identity, Api::end_access),
            Request::Cleanup { params } => {
                let block = ParamsBlock::without_vm(api, &params)?;
                control::call(move || {
                    let (result, cleaned, remaining) = api.cleanup(&block);
                    let raw = match result {
                        Ok(()) => 0,
                        Err(CallError::Code(raw)) => raw,
                        Err(error) => return Err(error),
                    };
                    Ok(Answer::Cleaned { raw, cleaned, remaining })
                })
            }
            Request::Rename { from, to } => done(control::call(move || api.rename(&from, &to))),
            Request::Create { connection, path, spec } => {
                self.on_connection(connection, move |raw| raw.create(&path, &spec, &reporter))
            }
            Request::Clone { connection, path, from, from_path, spec, overwrite } => {
                let from = self.connection(from)?;
                self.on_connection(connection, move |raw| {
                    raw.clone_from(&path, &from, &from_path, &spec, &reporter, overwrite)
                })
            }
            Request::Grow { connection, path, sectors, update_geometry } => self
                .on_connection(connection, move |raw| raw.grow(&path, sectors, update_geometry, &reporter)),
            Request::Unlink { connection, path } => {
                self.on_connection(connection, move |raw| raw.unlink(&path))
            }
            Request::CheckRepair { connection, path, repair } => {
                self.on_connection(connection, move |raw| raw.check_repair(&path, repair))
            }
            Request::Open { connection, path, flags, change_id, asynchronous } => {
                self.open(connection, path, flags, change_id, asynchronous)
            }
            Request::Close { disk } => {
                let thread = self.remove(disk)?;
                done(thread.close())
            }
            Request::Flush { disk } => {
                let disk = self.disk(disk)?;
                let asynchronous = disk.asynchronous;
                done(disk.thread.call(move |raw| {
                    if asynchronous {
                        raw.wait()?;
                    }
                    raw.flush()
                }))
            }
            Request::Info { disk } => {
                let has_sector_sizes = self.version.has_sector_sizes();
                let info = self.disk(disk)?.thread.call(move |raw| raw.info(has_sector_sizes))?;
                Ok(Answer::Info { info })
            }
            Request::AllocatedBlocks { disk, start, count, chunk } => {
                let blocks =
                    self.disk(disk)?.thread.call(move |raw| raw.allocated_blocks(start, count, chunk))?;
                Ok(Answer::Blocks { blocks })
            }
            Request::ChangedAreas { disk, start } => {
                let window = self.disk(disk)?.thread.call(move |raw| raw.changed_areas(start))?;
                Ok(Answer::Changes { start: window.start, length: window.length, areas: window.areas })
            }
            Request::ReadMetadata { disk, key } => {
                let bytes = self.disk(disk)?.thread.call(move |raw| raw.read_metadata(&key))?;
                Ok(Answer::Bytes { bytes })
            }
            Request::WriteMetadata { disk, key, value } => {
                done(self.disk(disk)?.thread.call(move |raw| raw.write_metadata(&key, &value)))
            }
            Request::MetadataKeys { disk } => {
                let bytes = self.disk(disk)?.thread.call(RawDisk::metadata_keys)?;
                Ok(Answer::Bytes { bytes })
            }
            Request::CreateChild { disk, path, disk_type } => {
                done(self.disk(disk)?.thread.call(move |raw| raw.create_child(path, disk_type, reporter)))
            }
            Request::Shrink { disk } => done(self.disk(disk)?.thread.call(move |raw| raw.shrink(reporter))),
            Request::Defragment { disk } => {
                done(self.disk(disk)?.thread.call(move |raw| raw.defragment(reporter)))
            }
            Request::SpaceNeededForClone { disk, disk_type } => {
                let number =
                    self.disk(disk)?.thread.call(move |raw| raw.space_needed_for_clone(disk_type))?;
                Ok(Answer::Number { number })
            }
            Request::IsAttachPossible { disk, parent } => self.is_attach_possible(disk, parent),
            Request::Attach { disk, parent } => {
                let child = self.disk(disk)?;
                let parent = self.remove(parent)?.into_raw()?;
                done(child.thread.call(move |raw| raw.attach(parent)))
            }
        }
    }

    /// The way to a disk's thread, for what it reads and writes.
    pub(crate) fn queue(&self, disk: u64) -> Option<Arc<Queue>> {
        self.disk(disk).ok().map(|disk| Arc::clone(disk.thread.queue()))
    }

    /// The open connection of this number.
    pub(crate) fn connection(&self, number: u64) -> Called<Arc<RawConnection>> {
        lock(&self.connections).get(&number).cloned().ok_or_else(CallError::closed)
    }

    /// The library's functions.
    pub(crate) fn api(&self) -> &'static Api {
        self.api
    }

    fn open(
        &self,
        connection: u64,
        path: CString,
        flags: u32,
        change_id: Option<CString>,
        asynchronous: bool,
    ) -> Called<Answer> {
        let connection = self.connection(connection)?;
        let has_sector_sizes = self.version.has_sector_sizes();
        let (raw, mode, info) = control::call(move || {
            let mut raw = RawDisk::open(connection, &path, flags, change_id.as_deref())?;
            let described = raw.transport_mode().and_then(|mode| Ok((mode, raw.info(has_sector_sizes)?)));
            match described {
                Ok((mode, info)) => Ok((raw, mode, info)),
                Err(error) => {
                    raw.close()?;
                    Err(error)
                }
            }
        })?;
        let thread = DiskThread::start(raw, asynchronous)?;
        let disk = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.disks).insert(disk, Arc::new(OpenDisk { thread, asynchronous }));
        Ok(Answer::Opened { disk, mode, info })
    }

    fn access(
        &self,
        params: &ConnectParams,
        identity: CString,
        call: fn(&Api, &ParamsBlock, &std::ffi::CStr) -> Called<()>,
    ) -> Called<Answer> {
        let api = self.api;
        let block = ParamsBlock::new(api, params)?;
        done(control::call(move || call(api, &block, &identity)))
    }

    fn is_attach_possible(&self, child: u64, parent: u64) -> Called<Answer> {
        let (child, parent) = (self.disk(child)?, self.disk(parent)?);
        let _alone = lock(&ONE_PAIR_AT_A_TIME);
        // The parent's thread waits within its job, and that is what keeps the handle from being used meanwhile.
        let (lend, lent) = channel();
        let (give_back, given_back) = channel::<()>();
        let waiting = parent.thread.start_call(move |raw| {
            if lend.send(raw.handle()).is_ok() {
                // An error is the other end being dropped, which gives back as well.
                let _ = given_back.recv();
            }
        })?;
        let answer = match lent.recv() {
            Ok(handle) => child.thread.call(move |raw| raw.is_attach_possible(handle)),
            Err(_) => Err(CallError::closed()),
        };
        drop(give_back);
        waiting.recv().map_err(|_| CallError::closed())?;
        done(answer)
    }

    fn on_connection(
        &self,
        connection: u64,
        call: impl FnOnce(&RawConnection) -> Called<()> + Send + 'static,
    ) -> Called<Answer> {
        let raw = self.connection(connection)?;
        done(control::call(move || call(&raw)))
    }

    fn disk(&self, number: u64) -> Called<Arc<OpenDisk>> {
        lock(&self.disks).get(&number).cloned().ok_or_else(CallError::closed)
    }

    /// Takes a disk out. Whoever asks for that has no call under way on it.
    fn remove(&self, number: u64) -> Called<DiskThread> {
        let disk = lock(&self.disks).remove(&number).ok_or_else(CallError::closed)?;
        Arc::into_inner(disk).map(|disk| disk.thread).ok_or_else(|| {
            tracing::error!("a disk was closed while something was asked of it");
            CallError::Code(bindings::VDDK_E_FAIL.into())
        })
    }

    fn statistics(&self) -> Vec<Row> {
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let row = |(number, symbol): (usize, &Symbol)| {
            let (calls, failures, total, longest) = self.api.counted(*symbol);
            let symbol = u16::try_from(number).ok()?;
            (calls > 0).then(|| Row {
                symbol,
                calls,
                failures,
                total: nanoseconds(total),
                longest: nanoseconds(longest),
            })
        };
        Symbol::ALL.iter().enumerate().filter_map(row).collect()
    }
}

fn done(called: Called<()>) -> Called<Answer> {
    called.map(|()| Answer::Done {})
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Tables change in one step each.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "use the path", "it holds a zero byte").with_source(error)
    })
}
