//! Shared memory: used, reused, bounded.

use futures::executor::block_on;
use futures::future::join_all;
use vixdisklib::{AlignedBuf, ErrorKind, IoMode, LibraryOptions, OpenOptions, Sectors};

use super::stage::{Stage, pattern};

/// Bytes of shared memory that this process has mapped.
fn mapped() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.contains("memfd:vixdisklib"))
        .filter_map(|line| line.split_whitespace().next()?.split_once('-'))
        .map(|(start, end)| u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(start, 16).unwrap())
        .sum()
}

// One test: the maps are those of the whole process, and others would add to them.
#[test]
fn every_sort_of_buffer_serves_and_memory_is_reused() {
    let stage = Stage::new();
    let library = stage.library();
    let expected = pattern();
    for mode in [IoMode::Sync, IoMode::Async] {
        let options = OpenOptions::read_write().io_mode(mode).max_request(64 << 10).queue_depth(4);
        let disk = stage.open(&library, options);
        let mut whole = vec![0; expected.len()];
        disk.read(Sectors(0), &mut whole).unwrap();
        assert!(whole == expected);
        for buffer in [disk.buffer(3 << 20).unwrap(), AlignedBuf::zeroed(3 << 20).unwrap()] {
            let mut buffer = block_on(disk.read_async(Sectors(5), buffer)).unwrap();
            assert!(*buffer == expected[5 * 512..][..3 << 20]);
            buffer.reverse();
            let mut buffer = block_on(disk.write_async(Sectors(9), buffer)).unwrap();
            buffer.fill(0);
            let buffer = block_on(disk.read_async(Sectors(9), buffer)).unwrap();
            assert!(buffer.iter().rev().eq(expected[5 * 512..][..3 << 20].iter()));
            disk.write(Sectors(0), &expected).unwrap();
        }
        // A buffer of the one disk serves another, of another worker too.
        let other = Stage::new();
        let foreign = other.open(&other.library(), OpenOptions::read_only());
        let buffer = block_on(foreign.read_async(Sectors(8), disk.buffer(4096).unwrap())).unwrap();
        assert!(*buffer == expected[4096..8192]);
        let reads = (0..50u64).map(|number| disk.read_async(Sectors(number), disk.buffer(512).unwrap()));
        for (number, read) in block_on(join_all(reads)).into_iter().enumerate() {
            assert!(*read.unwrap() == expected[number * 512..][..512]);
        }
        assert_eq!(disk.buffer(0).unwrap().len(), 0);
        assert_eq!(disk.buffer(usize::MAX).unwrap_err().kind(), ErrorKind::Exhausted);
        disk.close().unwrap();
    }
    let disk =
        stage.open(&library, OpenOptions::read_only().max_request(1 << 20).max_bytes_in_flight(2 << 20));
    let mut whole = vec![0; expected.len()];
    disk.read(Sectors(0), &mut whole).unwrap();
    let before = mapped();
    for _ in 0..20 {
        disk.read(Sectors(0), &mut whole).unwrap();
        drop(disk.buffer(1 << 20).unwrap());
    }
    // Less when the other worker's has gone meanwhile.
    assert!(mapped() <= before);
    assert_ne!(stage.options(), LibraryOptions::new(stage.kit()));
}
