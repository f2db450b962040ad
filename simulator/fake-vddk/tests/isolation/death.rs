//! Workers that die and hang, in the middle of things.

use std::future::Future;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use vixdisklib::{AlignedBuf, ConnectParams, ErrorKind, IoMode, Library, OpenOptions, Sectors, TimeLimits};

use super::stage::{Stage, connect, handles, is_stopped, pattern, runs, signal, wait_until};

/// Stops the worker, so that whatever is asked of it stays under way. On a busy machine a signal takes effect only after a while.
fn stopped(library: &Library) -> u32 {
    let worker = library.worker_id().unwrap();
    signal(worker, "STOP");
    wait_until("the worker stands still", || is_stopped(worker));
    worker
}

#[test]
fn a_worker_that_is_killed_in_the_middle_of_a_read_is_an_error_and_replaced() {
    let stage = Stage::new();
    let library = stage.library();
    let path = stage.disk(&library);
    for mode in [IoMode::Sync, IoMode::Async] {
        let connection = connect(&library);
        let disk = connection.open(&path, OpenOptions::read_only().io_mode(mode)).unwrap();
        let worker = stopped(&library);
        let mut bytes = vec![0; 4 << 20];
        let error = std::thread::scope(|scope| {
            let reading = scope.spawn(|| disk.read(Sectors(0), &mut bytes));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!reading.is_finished());
            signal(worker, "KILL");
            reading.join().unwrap().unwrap_err()
        });
        assert_eq!((error.kind(), error.signal(), error.code()), (ErrorKind::WorkerDied, Some(9), None));
        assert!(error.is_connection_lost());
        assert_eq!(error.subject(), Some(path.as_str()));
        let shown = error.to_string();
        assert!(shown.contains(&worker.to_string()) && shown.contains("connect and open again"), "{shown}");
        assert!(!error.log_lines().is_empty());
        // What it had is closed; what went on before is still said.
        let error = disk.read(Sectors(0), &mut [0; 512]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("signal 9"), "{error}");
        assert_eq!(disk.close().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(connection.open(&path, OpenOptions::read_only()).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(connection.close().unwrap_err().kind(), ErrorKind::Closed);
        // The library goes on.
        let disk = stage.open(&library, OpenOptions::read_only());
        assert_ne!(library.worker_id(), Some(worker));
        disk.read(Sectors(0), &mut bytes).unwrap();
        assert!(bytes == pattern()[..4 << 20]);
    }
}

#[test]
fn a_segmentation_fault_is_told_apart_from_an_abort() {
    let stage = Stage::new();
    let library = stage.library();
    for (name, number, word) in [("SEGV", 11, "segmentation fault"), ("ABRT", 6, "gave up")] {
        let disk = stage.open(&library, OpenOptions::read_only());
        if name == "SEGV" {
            // Rust's own handler looks for stack overflows, and lets everything else pass from the first time on: a real fault
            // comes again at once, one that was sent does not.
            let worker = library.worker_id().unwrap();
            signal(worker, name);
            wait_until("its handler is gone", || !handles(worker, number));
            disk.read(Sectors(0), &mut [0; 512]).unwrap();
        }
        let worker = stopped(&library);
        let mut read = pin!(disk.read_async(Sectors(0), disk.buffer(1 << 20).unwrap()));
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        signal(worker, name);
        signal(worker, "CONT");
        let error = block_on(read).unwrap_err();
        assert_eq!((error.kind(), error.signal()), (ErrorKind::WorkerDied, Some(number)));
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_worker_that_hangs_is_killed_in_time() {
    let stage = Stage::new();
    stage.disk(&stage.library());
    let second = Some(Duration::from_secs(1));
    let limits = TimeLimits::none().io(second).control(Some(Duration::from_secs(60)));
    let library = Library::open(stage.options().time_limits(limits)).unwrap();
    let disk = stage.open(&library, OpenOptions::read_only().queue_depth(2).max_request(64 << 10));
    let worker = stopped(&library);
    let began = Instant::now();
    let error = disk.read(Sectors(0), &mut vec![0; 1 << 20]).unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::TimedOut, Some(9)));
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&took), "{took:?}");
    let shown = error.to_string();
    assert!(shown.contains("Read within 1 s") && shown.contains("time_limits"), "{shown}");
    wait_until("the worker is gone", || !runs(worker));
    drop(disk);
    stage.open(&library, OpenOptions::read_only()).read(Sectors(0), &mut [0; 512]).unwrap();
}

#[test]
fn a_connect_that_hangs_is_ended_too() {
    let stage = Stage::new();
    let limits = TimeLimits::none().control(Some(Duration::from_secs(5)));
    let library = Library::open(stage.options().time_limits(limits)).unwrap();
    stopped(&library);
    let error = library.connect(&ConnectParams::local(), vixdisklib::ConnectOptions::new()).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::TimedOut, "connect to"));
    connect(&library);
}

#[test]
fn after_a_crash_the_machine_can_be_cleaned_up() {
    let stage = Stage::new();
    let library = stage.library();
    let worker = library.worker_id().unwrap();
    signal(worker, "KILL");
    wait_until("the death is known", || stage_is_new(&library, worker) || library.statistics().is_empty());
    let report = library.cleanup(&ConnectParams::local()).unwrap();
    assert_eq!((report.cleaned, report.remaining), (0, 0));
    assert_ne!(library.worker_id(), Some(worker));
}

fn stage_is_new(library: &Library, worker: u32) -> bool {
    library.worker_id() != Some(worker)
}

#[test]
fn futures_that_are_dropped_in_flight_leave_the_worker_and_its_memory_in_order() {
    let stage = Stage::new();
    let library = stage.library();
    for mode in [IoMode::Sync, IoMode::Async] {
        let disk = stage.open(&library, OpenOptions::read_write().io_mode(mode).queue_depth(3));
        let expected = pattern();
        let worker = stopped(&library);
        for number in 0..3u64 {
            let mut read = pin!(disk.read_async(Sectors(number), disk.buffer(1 << 20).unwrap()));
            assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // Memory of reads under way is not given to anybody else.
        let mut other = disk.buffer(1 << 20).unwrap();
        other.fill(0xEE);
        signal(worker, "CONT");
        disk.flush().unwrap();
        assert!(other.iter().all(|byte| *byte == 0xEE));
        for number in 0..6u64 {
            let read = block_on(disk.read_async(Sectors(number * 8), disk.buffer(1 << 20).unwrap())).unwrap();
            assert!(*read == expected[number as usize * 4096..][..1 << 20]);
        }
        disk.close().unwrap();
    }
    assert!(runs(library.worker_id().unwrap()));
}

#[test]
fn a_worker_ends_with_its_library() {
    let stage = Stage::new();
    let library = stage.library();
    let worker = library.worker_id().unwrap();
    let disk = stage.open(&library, OpenOptions::read_only());
    drop(library);
    // Disks keep it.
    disk.read(Sectors(0), &mut [0; 512]).unwrap();
    let kept = block_on(disk.read_async(Sectors(0), disk.buffer(4096).unwrap())).unwrap();
    disk.close().unwrap();
    wait_until("the worker has ended", || !runs(worker));
    // Memory outlives it.
    assert!(kept[..] == pattern()[..4096]);
    drop(kept);
    let plain = AlignedBuf::zeroed(512).unwrap();
    assert_eq!(plain.len(), 512);
}

/// What the test below runs as another process.
#[test]
fn a_program_that_is_killed() {
    let Some(file) = std::env::var_os("ISOLATION_TEST_FILE") else { return };
    let stage = Stage::new();
    let library = stage.library();
    let _disk = stage.open(&library, OpenOptions::read_only());
    let partial = std::path::PathBuf::from(&file).with_extension("partial");
    let root = stage.root.keep();
    std::fs::write(&partial, format!("{} {}", library.worker_id().unwrap(), root.display())).unwrap();
    std::fs::rename(partial, file).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn no_worker_outlives_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker");
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["death::a_program_that_is_killed", "--exact", "--nocapture"])
        .env("ISOLATION_TEST_FILE", &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the program has a worker", || std::fs::metadata(&file).is_ok_and(|file| file.len() > 0));
    let told = std::fs::read_to_string(&file).unwrap();
    let (worker, root) = told.split_once(' ').unwrap();
    let worker = worker.parse().unwrap();
    assert!(runs(worker));
    // Not even one that hangs.
    signal(worker, "STOP");
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until("the worker has ended", || !runs(worker));
    std::fs::remove_dir_all(root).unwrap();
}
