//! Panics of the program in places that are called from C, or that hold what C is using: none crosses into it, which would end this
//! process, and none leaves anything open. A process of its own, since what hears of events is there once in a process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};

use futures::executor::block_on;
use tempfile::TempDir;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use vixdisklib::{
    AlignedBuf, ConnectOptions, ConnectParams, Connection, CreateSpec, DiskType, ErrorKind, IoMode, Library,
    LibraryOptions, OpenOptions, Sectors,
};

static LISTENER_PANICS: AtomicBool = AtomicBool::new(false);
static LISTENER_PANICKED: AtomicUsize = AtomicUsize::new(0);

/// Hears the library's log lines, on whatever thread the library logs from.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "vixdisklib::vddk"
    }

    fn event(&self, _: &Event<'_>) {
        if LISTENER_PANICS.load(Ordering::Relaxed) {
            LISTENER_PANICKED.fetch_add(1, Ordering::Relaxed);
            panic!("a listener, on purpose");
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Panics when what it waits for has come.
struct PanickingWaker(AtomicUsize);

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a waker, on purpose");
    }
}

struct Stage {
    /// The calls that are counted are those of the whole process, so one test runs at a time.
    _turn: MutexGuard<'static, ()>,
    folder: TempDir,
    library: Arc<Library>,
    connection: Connection,
    path: String,
}

impl Stage {
    fn new() -> Stage {
        static TURN: Mutex<()> = Mutex::new(());
        static KIT: OnceLock<TempDir> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kit = KIT.get_or_init(|| {
            tracing::subscriber::set_global_default(Listener).unwrap();
            let kit = tempfile::tempdir().unwrap();
            fake_vddk::install(kit.path()).unwrap();
            kit
        });
        let library = Library::open(
            LibraryOptions::new(kit.path()).in_process().temp_directory(kit.path().join("tmp")),
        )
        .unwrap();
        let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.vmdk").to_str().unwrap().to_owned();
        connection.create(&path, &CreateSpec::new(DiskType::MonolithicFlat, Sectors(4096)), |_| {}).unwrap();
        Stage { _turn: turn, folder, library, connection, path }
    }

    fn open(&self, mode: IoMode) -> vixdisklib::Disk {
        // With one permit, a lost one would be noticed by the next request, which would wait for ever.
        let options = OpenOptions::read_write().io_mode(mode).queue_depth(1);
        self.connection.open(&self.path, options).unwrap()
    }

    /// Calls so far that went well.
    fn calls(&self, name: &str) -> u64 {
        let statistics = self.library.statistics();
        statistics.iter().find(|row| row.name == name).map_or(0, |row| row.calls - row.failures)
    }

    /// The end of a test: whatever was opened has been closed.
    fn assert_all_closed(&self) {
        assert_eq!(self.calls("VixDiskLib_Open"), self.calls("VixDiskLib_Close"));
    }
}

fn buffer() -> AlignedBuf {
    AlignedBuf::zeroed(1 << 20).unwrap()
}

#[test]
fn in_who_hears_the_log() {
    let stage = Stage::new();
    let disk = stage.open(IoMode::Async);
    LISTENER_PANICS.store(true, Ordering::Relaxed);
    let opened = stage.connection.open(&stage.path, OpenOptions::read_write());
    let made = stage.connection.open("/nowhere/none.vmdk", OpenOptions::read_only());
    LISTENER_PANICS.store(false, Ordering::Relaxed);
    assert!(LISTENER_PANICKED.load(Ordering::Relaxed) > 0, "the library logged nothing");
    // The answers are those of the library all the same, with the lines that nobody could hear.
    let error = opened.unwrap_err();
    assert!(error.is_locked() && !error.log_lines().is_empty(), "{error:#}");
    assert!(made.unwrap_err().is_not_found());
    disk.close().unwrap();
    stage.assert_all_closed();
}

#[test]
fn in_who_hears_of_progress() {
    let stage = Stage::new();
    let clone = stage.folder.path().join("b.vmdk").to_str().unwrap().to_owned();
    let spec = CreateSpec::new(DiskType::MonolithicSparse, Sectors(4096));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let connection = &stage.connection;
        connection
            .clone_disk(&clone, connection, &stage.path, &spec, false, |_| panic!("progress, on purpose"))
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "progress, on purpose");
    // It went on to its end below.
    assert_eq!(stage.connection.open(&clone, OpenOptions::read_only()).unwrap().capacity(), Sectors(4096));
    stage.assert_all_closed();
}

/// Asynchronously, the waker runs in the library's callback, on a thread of the library.
#[test]
fn in_who_is_woken_by_a_completion() {
    let stage = Stage::new();
    let disk = stage.open(IoMode::Async);
    until_it_panics(|waker| {
        let mut write = pin!(disk.write_async(Sectors(0), buffer()));
        let polled = write.as_mut().poll(&mut Context::from_waker(waker));
        disk.flush().unwrap();
        // What it waited for is there.
        if polled.is_pending() {
            block_on(write).unwrap();
        }
    });
    // The handle, its permit and its thread are as before.
    disk.read(Sectors(0), &mut [0; 512]).unwrap();
    block_on(disk.read_async(Sectors(0), buffer())).unwrap();
    disk.close().unwrap();
    stage.assert_all_closed();
}

/// Synchronously, it runs on the worker of the disk.
#[test]
fn in_the_worker_of_a_disk() {
    let stage = Stage::new();
    until_it_panics(|waker| {
        let disk = stage.open(IoMode::Sync);
        {
            let mut write = pin!(disk.write_async(Sectors(0), buffer()));
            drop(write.as_mut().poll(&mut Context::from_waker(waker)));
            // Either the worker lives on, or whoever uses the disk is told that it is gone; nobody waits for ever.
            if let Err(error) = disk.read(Sectors(0), &mut [0; 512]) {
                assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::Cancelled), "{error:#}");
            }
        }
        drop(disk.close());
        stage.assert_all_closed();
    });
    // Other disks are not concerned.
    let disk = stage.open(IoMode::Sync);
    disk.read(Sectors(0), &mut [0; 512]).unwrap();
    disk.close().unwrap();
}

/// A request that is over before it is waited for wakes nobody, so it may take a few.
fn until_it_panics(round: impl Fn(&Waker)) {
    let waker = Arc::new(PanickingWaker(AtomicUsize::new(0)));
    for _ in 0..100 {
        round(&Waker::from(Arc::clone(&waker)));
        if waker.0.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("nobody was woken");
}

#[test]
fn while_futures_are_in_flight() {
    let stage = Stage::new();
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = stage.open(mode);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let mut content = buffer();
            content.fill(9);
            let mut write = pin!(disk.write_async(Sectors(0), content));
            drop(write.as_mut().poll(&mut Context::from_waker(Waker::noop())));
            panic!("a task, on purpose");
        }));
        assert!(panic.is_err());
        // The future was dropped on the way; what it had submitted is carried out.
        let mut sector = [0; 512];
        disk.read(Sectors(2047), &mut sector).unwrap();
        assert_eq!(sector, [9; 512], "{mode:?}");
        disk.close().unwrap();
    }
    stage.assert_all_closed();
}

#[test]
fn while_disks_are_open() {
    let stage = Stage::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let disk = stage.open(IoMode::Async);
        disk.write(Sectors(0), &[1; 512]).unwrap();
        panic!("a caller, on purpose");
    }));
    assert!(panic.is_err());
    stage.assert_all_closed();
}
