//! Traps of section 7.7: reading and writing.

use std::future::Future;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use fake_vddk::Release;
use futures::executor::block_on;
use futures::future::join_all;
use futures::task::noop_waker;
use sim_store::state::{FaultEffect, FaultRule};
use vixdisklib::{AlignedBuf, ByteOffset, DiskType, ErrorKind, IoMode, OpenOptions, Sectors};

use super::folder::Folder;
use super::setup::{is_at_least, library};
use super::world::{World, pattern, rule};

fn buffer() -> AlignedBuf {
    AlignedBuf::zeroed(4096).unwrap()
}

fn asynchronous() -> OpenOptions {
    OpenOptions::read_only().io_mode(IoMode::Async).queue_depth(4)
}

#[test]
fn rows_7_7_4_and_7_completions_come_inline_from_threads_and_in_any_order() {
    for effect in [FaultEffect::Inline, FaultEffect::Threaded, FaultEffect::HoldBack] {
        for nth in [None, Some(1), Some(2)] {
            let world = World::new();
            let disk = world.open_off(asynchronous());
            world.faults(&[FaultRule { effect: Some(effect), nth, ..rule("ReadAsync") }]);
            let reads = (0..8).map(|number| disk.read_async(Sectors(2048 + 8 * number), buffer()));
            for (number, read) in block_on(join_all(reads)).into_iter().enumerate() {
                assert!(
                    *read.unwrap() == pattern(1, 8 * 4096)[number * 4096..][..4096],
                    "{effect:?} {nth:?}"
                );
            }
            disk.close().unwrap();
        }
    }
}

#[test]
fn row_7_7_4_a_later_request_may_be_done_first() {
    let world = World::new();
    let disk = world.open_off(asynchronous());
    world.faults(&[FaultRule { effect: Some(FaultEffect::HoldBack), nth: Some(1), ..rule("ReadAsync") }]);
    let mut first = pin!(disk.read_async(Sectors(2048), buffer()));
    let waker = noop_waker();
    let context = &mut Context::from_waker(&waker);
    assert!(first.as_mut().poll(context).is_pending());
    std::thread::sleep(Duration::from_millis(50));
    assert!(first.as_mut().poll(context).is_pending(), "it was not held back");
    block_on(disk.read_async(Sectors(2056), buffer())).unwrap();
    assert!(*block_on(first).unwrap() == pattern(1, 4096));
}

#[test]
fn row_7_7_5_what_was_not_queued_calls_nobody_back() {
    let world = World::new();
    let disk = world.open_off(asynchronous());
    world.faults(&[FaultRule {
        effect: Some(FaultEffect::Refuse),
        code: 2,
        nth: Some(2),
        ..rule("ReadAsync")
    }]);
    let reads = (0..3).map(|number| disk.read_async(Sectors(2048 + 8 * number), buffer()));
    let results = block_on(join_all(reads));
    assert_eq!(results[1].as_ref().unwrap_err().code(), Some(2));
    assert!(**results[0].as_ref().unwrap() == pattern(1, 4096));
    results[2].as_ref().unwrap();
    disk.close().unwrap();
}

#[test]
fn row_7_7_6_wait_comes_before_close_and_flush() {
    let world = World::new();
    let open = || world.open_off(OpenOptions::read_write().io_mode(IoMode::Async));
    let disk = open();
    world.faults(&[FaultRule { code: 14011, ..rule("Wait") }]);
    block_on(disk.write_async(Sectors(0), buffer())).unwrap();
    assert_eq!(disk.flush().unwrap_err().code(), Some(14011));
    assert_eq!(disk.close().unwrap_err().code(), Some(14011));
    // The handle was closed all the same: the disk is free.
    world.faults(&[]);
    open().close().unwrap();
    assert!(library().statistics().iter().any(|row| row.name == "VixDiskLib_Wait"));
}

#[test]
fn row_7_7_8_unbuffered_transfers_get_aligned_memory() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicFlat);
    let disk = folder.open(&path, OpenOptions::read_write().unbuffered(true).max_request(1024));
    let mut memory = pattern(7, 4096);
    let odd = memory.as_ptr().align_offset(512) + 1;
    let bytes = memory[odd..][..3 * 512].to_vec();
    disk.write(Sectors(3), &memory[odd..][..3 * 512]).unwrap();
    memory.fill(0);
    disk.read(Sectors(3), &mut memory[odd..][..3 * 512]).unwrap();
    assert!(memory[odd..][..3 * 512] == bytes);
    let mut part = [0; 100];
    disk.read_at(ByteOffset(3 * 512 + 77), &mut part).unwrap();
    assert!(part == bytes[77..177]);
}

#[test]
fn row_7_7_9_disks_with_sectors_of_4096_bytes() {
    let world = World::new();
    world.faults(&[FaultRule { sector_bytes: Some(4096), ..rule("Open") }]);
    let disk = world.open_off(OpenOptions::read_write());
    let known = is_at_least(Release::V7_0);
    assert_eq!(disk.info().logical_sector_bytes, known.then_some(4096));
    disk.read(Sectors(2048), &mut [0; 8192]).unwrap();
    for (start, length) in [(2049, 4096), (2048, 512), (2048, 4608)] {
        let error = disk.read(Sectors(start), &mut vec![0; length]).unwrap_err();
        // An older release does not tell, so that its own refusal is all there is.
        let code = if known { None } else { Some(3) };
        assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidArgument, code), "{start} {length}");
        assert!(disk.write(Sectors(start), &vec![0; length]).is_err());
    }
    if known {
        let mut odd = vec![0; 9001];
        disk.read_at(ByteOffset((1 << 20) + 5000), &mut odd).unwrap();
        assert!(odd == pattern(1, 16384)[5000..][..9001]);
    }
}
