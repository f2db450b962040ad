//! Reading and writing: both families of calls, as futures and from many threads.

use std::future::Future;
use std::pin::pin;
use std::task::Context;

use futures::executor::block_on;
use futures::future::join_all;
use futures::task::noop_waker;
use vixdisklib::{AlignedBuf, ByteOffset, DiskType, ErrorKind, IoMode, OpenOptions, Sectors};

use super::folder::{Folder, HOSTED, SECTORS, pattern};

const MODES: [IoMode; 2] = [IoMode::Sync, IoMode::Async];

fn buffer(length: usize) -> AlignedBuf {
    AlignedBuf::zeroed(length).unwrap()
}

pub(crate) fn what_is_written_is_read() {
    for (number, disk_type) in HOSTED.into_iter().enumerate() {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", disk_type);
        for mode in MODES {
            let bytes = pattern(number as u8 + 1, 1 << 20);
            // Small requests, so that one transfer is many.
            let options = OpenOptions::read_write().io_mode(mode).max_request(64 << 10).queue_depth(3);
            let disk = folder.open(&path, options);
            disk.write(Sectors(11), &bytes).unwrap();
            disk.write_at(ByteOffset(4 << 20), &bytes).unwrap();
            disk.flush().unwrap();
            let mut back = vec![0xEE; bytes.len()];
            disk.read(Sectors(11), &mut back).unwrap();
            assert!(back == bytes, "{disk_type:?} {mode:?}");
            disk.close().unwrap();
            let content = folder.content(&path);
            assert!(content[..11 * 512].iter().all(|byte| *byte == 0));
            assert!(content[11 * 512..][..bytes.len()] == bytes && content[4 << 20..5 << 20] == bytes);
        }
    }
}

pub(crate) fn ends_and_odd_places() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    folder.write(&path, SECTORS - 9, &pattern(4, 9 * 512));
    let disk = folder.open(&path, OpenOptions::read_only());
    let mut odd = vec![0; 3001];
    disk.read_at(ByteOffset((SECTORS - 9) * 512 + 77), &mut odd).unwrap();
    assert_eq!(odd, pattern(4, 9 * 512)[77..][..3001]);
    let mut last = [0; 512];
    disk.read(Sectors(SECTORS - 1), &mut last).unwrap();
    assert_eq!(last, pattern(4, 9 * 512)[8 * 512..]);
}

pub(crate) fn bad_requests_do_not_reach_the_library() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let kind = |result: vixdisklib::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), None);
        error.kind()
    };
    for mode in MODES {
        let disk = folder.open(&path, OpenOptions::read_only().io_mode(mode));
        assert_eq!(kind(disk.read(Sectors(SECTORS - 1), &mut [0; 1024])), ErrorKind::OutOfRange);
        assert_eq!(kind(disk.read(Sectors(u64::MAX), &mut [0; 512])), ErrorKind::OutOfRange);
        assert_eq!(kind(disk.read_at(ByteOffset(u64::MAX - 3), &mut [0; 8])), ErrorKind::OutOfRange);
        assert_eq!(kind(disk.read(Sectors(0), &mut [0; 100])), ErrorKind::InvalidArgument);
        assert_eq!(kind(disk.write(Sectors(0), &[0; 512])), ErrorKind::ReadOnly);
        disk.read(Sectors(0), &mut []).unwrap();
        drop(disk);
        let disk = folder.open(&path, OpenOptions::read_write().io_mode(mode));
        assert_eq!(kind(disk.write_at(ByteOffset(1), &[0; 512])), ErrorKind::InvalidArgument);
        disk.write(Sectors(0), &[]).unwrap();
        assert!(block_on(disk.read_async(Sectors(0), buffer(0))).unwrap().is_empty());
    }
}

pub(crate) fn requests_run_together() {
    for mode in MODES {
        let folder = Folder::new();
        let path = folder.create("a.vmdk", DiskType::MonolithicFlat);
        let options = OpenOptions::read_write().io_mode(mode).queue_depth(3).max_request(8 << 10);
        let disk = folder.open(&path, options);
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
    }
}

pub(crate) fn futures_are_dropped_in_flight() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicFlat);
    let disk = folder.open(&path, OpenOptions::read_write().io_mode(IoMode::Async).queue_depth(8));
    for number in 0..8u64 {
        let mut bytes = buffer(1 << 20);
        bytes.fill(number as u8 + 1);
        let mut write = pin!(disk.write_async(Sectors(number << 11), bytes));
        // Pending or not, it was submitted, and is dropped here: the buffer stays with the library.
        drop(write.as_mut().poll(&mut Context::from_waker(&noop_waker())));
    }
    disk.close().unwrap();
    let content = folder.content(&path);
    for number in 0..8 {
        assert!(
            content[number << 20..(number + 1) << 20].iter().all(|byte| usize::from(*byte) == number + 1)
        );
    }
}

pub(crate) fn many_disks_work_side_by_side() {
    let folder = &Folder::new();
    std::thread::scope(|scope| {
        for number in 0..12_u64 {
            scope.spawn(move || {
                let path =
                    folder.create(&format!("disk{number}.vmdk"), HOSTED[number as usize % HOSTED.len()]);
                let options =
                    OpenOptions::read_write().io_mode(MODES[number as usize % 2]).max_request(16 << 10);
                let disk = folder.open(&path, options);
                let bytes = pattern(number as u8, 1 << 20);
                disk.write(Sectors(number), &bytes).unwrap();
                let mut back = vec![0; bytes.len()];
                disk.read(Sectors(number), &mut back).unwrap();
                assert!(back == bytes, "disk {number}");
                disk.close().unwrap();
            });
        }
    });
}

pub(crate) fn one_disk_serves_many_threads() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    let expected = &pattern(1, 1 << 20);
    folder.write(&path, 2048, expected);
    for mode in MODES {
        let disk = folder.open(&path, OpenOptions::read_only().io_mode(mode).queue_depth(2));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let disk = &disk;
                scope.spawn(move || {
                    for round in 0..50 {
                        let sector = 2048 + (thread * 50 + round) % 1024;
                        let mut buffer = [0; 1024];
                        disk.read(Sectors(sector), &mut buffer).unwrap();
                        let at = (sector as usize - 2048) * 512;
                        assert!(buffer == expected[at..at + 1024]);
                    }
                });
            }
        });
    }
}

/// The library answers 26000 to that; each handle stays with one family, whatever is called.
pub(crate) fn sync_and_async_are_never_mixed() {
    let folder = Folder::new();
    let path = folder.create("a.vmdk", DiskType::MonolithicSparse);
    for mode in MODES {
        let disk = folder.open(&path, OpenOptions::read_write().io_mode(mode));
        block_on(disk.write_async(Sectors(1), buffer(512))).unwrap();
        disk.read(Sectors(1), &mut [0; 512]).unwrap();
        disk.write_at(ByteOffset(512), &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.close().unwrap();
    }
}
