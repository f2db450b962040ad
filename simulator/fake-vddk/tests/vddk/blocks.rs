//! Allocated blocks: alignment, tail, windows, and those who cannot tell.

use fake_vddk::Release;
use sim_store::state::FaultRule;
use sim_store::{Disk, DiskSpec};
use vixdisklib::{ConnectOptions, ConnectParams, OpenOptions, SectorRange, Sectors};

use super::setup::is_at_least;
use super::world::{FROZEN, World, library};

fn range(start: u64, end: u64) -> SectorRange {
    SectorRange::between(Sectors(start), Sectors(end)).unwrap()
}

/// Before 6.7 there is nothing to ask: everything counts as allocated.
fn can_be_asked() -> bool {
    is_at_least(Release::V6_7)
}

#[test]
fn a_release_that_cannot_be_asked_makes_everything_allocated() {
    if can_be_asked() {
        return;
    }
    let world = World::new();
    let answer = world.open_off(OpenOptions::read_only()).allocated_blocks(range(5, 5000)).unwrap();
    assert_eq!((answer.known, answer.ranges), (false, vec![range(5, 5000)]));
}

#[test]
fn row_7_8_queries_are_aligned_and_the_tail_always_counts() {
    if !can_be_asked() {
        return;
    }
    let world = World::new();
    let disk = world.connect_to_snapshot().open(FROZEN, OpenOptions::read_only()).unwrap();
    let end = disk.capacity().0;
    let tail = range(end / 128 * 128, end);
    let answer = disk.allocated_blocks(range(0, end)).unwrap();
    assert!(answer.known);
    assert_eq!(answer.ranges, [range(2048, 4096), tail]);
    // Ranges that no chunk fits are cut to what was asked.
    assert_eq!(disk.allocated_blocks(range(2001, 2100)).unwrap().ranges, [range(2048, 2100)]);
    assert_eq!(disk.allocated_blocks(range(10, 20)).unwrap().ranges, []);
    assert_eq!(disk.allocated_blocks(range(end - 2, end)).unwrap().ranges, [range(end - 2, end)]);
    assert_eq!(disk.allocated_blocks(range(7, 7)).unwrap().ranges, []);
    assert!(disk.allocated_blocks(range(0, end + 1)).unwrap_err().is_out_of_range());
}

#[test]
fn row_7_8_large_disks_are_asked_in_windows() {
    if !can_be_asked() {
        return;
    }
    let world = World::new();
    let path = world.data.path().join("big.vmdk");
    let disk = Disk::create(&path, &DiskSpec::thin(100 << 30)).unwrap();
    // The second lies on the border of two windows of 32 GiB.
    for offset in [1 << 20, (32 << 30) - (64 << 10), 99 << 30] {
        disk.write_at(offset, &vec![1; 128 << 10]).unwrap();
    }
    drop(disk);
    let connection = library().connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    let disk = connection.open(path.to_str().unwrap(), OpenOptions::read_only()).unwrap();
    let answer = disk.allocated_blocks(range(0, disk.capacity().0)).unwrap();
    let found: Vec<_> =
        answer.ranges.iter().map(|range| (range.start().0 * 512, range.length().0 * 512)).collect();
    assert_eq!(found, [(1 << 20, 128 << 10), ((32 << 30) - (64 << 10), 128 << 10), (99 << 30, 128 << 10)]);
}

#[test]
fn row_7_8_a_host_that_cannot_tell_makes_everything_allocated() {
    let world = World::new();
    world.faults(&[FaultRule {
        function: "QueryAllocatedBlocks".to_owned(),
        code: 6,
        ..FaultRule::default()
    }]);
    let disk = world.open_off(OpenOptions::read_only());
    let answer = disk.allocated_blocks(range(5, 5000)).unwrap();
    assert!(!answer.known);
    assert_eq!(answer.ranges, [range(5, 5000)]);
    // It was found out once: a host that could tell later is not asked again.
    world.faults(&[]);
    assert!(!disk.allocated_blocks(range(5, 5000)).unwrap().known);
}

#[test]
fn a_query_that_fails_after_the_probe_is_an_error() {
    if !can_be_asked() {
        return;
    }
    let world = World::new();
    let rule = FaultRule {
        function: "QueryAllocatedBlocks".to_owned(),
        nth: Some(2),
        code: 14011,
        ..FaultRule::default()
    };
    world.faults(&[rule]);
    let disk = world.open_off(OpenOptions::read_only());
    assert!(disk.allocated_blocks(range(0, 1280)).unwrap_err().is_connection_lost());
}

#[test]
fn row_7_8_an_empty_answer_is_freed_like_any_other() {
    if !can_be_asked() {
        return;
    }
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only());
    let answer = disk.allocated_blocks(range(0, 128)).unwrap();
    assert_eq!((answer.known, answer.ranges), (true, Vec::new()));
    // Calls of other tests are counted as well, and some of them are under way: one moment without is enough.
    let all_came_back = || {
        let statistics = library().statistics();
        let row = |name: &str| statistics.iter().find(|row| row.name == name).copied().unwrap();
        let asked = row("VixDiskLib_QueryAllocatedBlocks");
        asked.calls - asked.failures == row("VixDiskLib_FreeBlockList").calls
    };
    let mut tries = (0..500).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        all_came_back()
    });
    assert!(tries.any(|all| all));
}
