//! Futures: together, dropped in flight, outliving their disk.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::{join_all, poll_fn};
use futures::task::noop_waker;
use sim_store::state::FaultRule;
use vixdisklib::{AlignedBuf, ErrorKind, IoMode, OpenOptions, Sectors};

use super::world::{World, pattern};

fn buffer(length: usize) -> AlignedBuf {
    AlignedBuf::zeroed(length).unwrap()
}

fn slow(function: &str, milliseconds: u64) -> FaultRule {
    FaultRule { function: function.to_owned(), delay_ms: Some(milliseconds), ..FaultRule::default() }
}

#[test]
fn many_requests_run_together_in_either_mode() {
    for mode in [IoMode::Sync, IoMode::Async] {
        let world = World::new();
        let disk =
            world.open_off(OpenOptions::read_write().io_mode(mode).queue_depth(3).max_request(8 << 10));
        let writes = (0..20u64).map(|number| {
            let mut bytes = buffer(20 << 10);
            bytes.copy_from_slice(&pattern(number as u8, 20 << 10));
            disk.write_async(Sectors(number * 40), bytes)
        });
        for written in block_on(join_all(writes)) {
            assert_eq!(written.unwrap().len(), 20 << 10);
        }
        let reads = (0..20u64).map(|number| disk.read_async(Sectors(number * 40), buffer(20 << 10)));
        for (number, read) in block_on(join_all(reads)).into_iter().enumerate() {
            assert!(*read.unwrap() == pattern(number as u8, 20 << 10), "{mode:?} {number}");
        }
        disk.close().unwrap();
        assert!(world.stored("off", 20 << 10, 20 << 10) == pattern(1, 20 << 10));
    }
}

#[test]
fn a_read_that_fails_says_where() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only().io_mode(IoMode::Async));
    world.faults(&[FaultRule {
        function: "ReadAsync".to_owned(),
        nth: Some(2),
        code: 2,
        ..FaultRule::default()
    }]);
    let reads = [Sectors(0), Sectors(8)].map(|start| disk.read_async(start, buffer(4096)));
    let results = block_on(join_all(reads));
    results[0].as_ref().unwrap();
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.code(), error.kind()), (Some(2), ErrorKind::Exhausted));
    assert_eq!(error.subject(), Some("[ds] off/off.vmdk at sector 8"));
    assert!(error.text().is_some_and(|text| text.contains("out of memory")), "{error:?}");
}

#[test]
fn futures_dropped_in_flight_do_no_harm_and_close_waits_for_them() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_write().io_mode(IoMode::Async).queue_depth(4));
    world.faults(&[slow("WriteAsync", 100)]);
    let waker = noop_waker();
    let started = Instant::now();
    for number in 0..4u64 {
        let mut bytes = buffer(512);
        bytes.fill(number as u8 + 1);
        let mut write = pin!(disk.write_async(Sectors(number), bytes));
        assert!(write.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Dropped here: the request is with the library, and keeps its buffer.
    }
    disk.close().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400), "close did not wait");
    let stored = world.stored("off", 0, 4 * 512);
    assert!(
        (0..4)
            .all(|number| stored[number * 512..][..512].iter().all(|byte| usize::from(*byte) == number + 1))
    );
}

#[test]
fn a_disk_dropped_with_requests_under_way_waits_too() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only().io_mode(IoMode::Async));
    world.faults(&[slow("ReadAsync", 50)]);
    let mut read = Box::pin(disk.read_async(Sectors(2048), buffer(512)));
    assert!(read.as_mut().poll(&mut Context::from_waker(&noop_waker())).is_pending());
    drop(disk);
    // It was submitted before the disk went, so it has its bytes.
    assert!(*block_on(read).unwrap() == pattern(1, 512));
}

#[test]
fn a_future_that_starts_after_the_disk_is_closed_says_so() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only().io_mode(IoMode::Async));
    let late = disk.read_async(Sectors(0), buffer(512));
    disk.close().unwrap();
    assert_eq!(block_on(late).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn requests_beyond_the_queue_depth_wait_their_turn() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only().io_mode(IoMode::Async).queue_depth(1));
    world.faults(&[slow("ReadAsync", 60)]);
    let mut first = pin!(disk.read_async(Sectors(0), buffer(512)));
    let mut second = pin!(disk.read_async(Sectors(1), buffer(512)));
    let finished_second = block_on(poll_fn(|context| {
        let one = first.as_mut().poll(context).is_ready();
        let two = second.as_mut().poll(context).is_ready();
        if one { Poll::Ready(two) } else { Poll::Pending }
    }));
    assert!(!finished_second);
    block_on(second).unwrap();
}

#[test]
fn bad_requests_fail_when_they_are_polled() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only().io_mode(IoMode::Async));
    let error = block_on(disk.read_async(disk.capacity(), buffer(512))).unwrap_err();
    assert!(error.is_out_of_range());
    assert_eq!(block_on(disk.write_async(Sectors(0), buffer(512))).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(
        block_on(disk.read_async(Sectors(0), buffer(100))).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert!(block_on(disk.read_async(Sectors(0), buffer(0))).unwrap().is_empty());
}
