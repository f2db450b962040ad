//! Changed areas through VDDK, as 9.0 has them.

use fake_vddk::Release;
use sim_store::state::FaultRule;
use sim_store::{Access, Disk, Scope, snapshot, tracking};
use vixdisklib::{ErrorKind, OpenOptions, SectorRange, Sectors};

use super::setup::is_at_least;
use super::world::{OFF, World};

fn ranges(pairs: &[(u64, u64)]) -> Vec<SectorRange> {
    pairs.iter().map(|&(start, end)| SectorRange::between(Sectors(start), Sectors(end)).unwrap()).collect()
}

/// The machine that is off, tracked in grains of so many bytes, with a snapshot's change id, and what was written after it.
fn tracked(granularity: Option<u64>, offsets: impl Iterator<Item = u64>) -> (World, String) {
    let world = World::new();
    let live = world.host_path("off");
    tracking::enable(&live, granularity).unwrap();
    let id = snapshot::create(&live).unwrap();
    let change_id = id.change_id.unwrap().to_string();
    // The snapshot is removed again: the disk has one file, and remembers what was written since.
    let top = Disk::open(&id.child, Access::ReadWrite, Scope::WholeChain).unwrap();
    for offset in offsets {
        top.write_at(offset, &[1; 512]).unwrap();
    }
    drop(top);
    snapshot::remove_link(&live, &[], &mut |_, _| {}).unwrap();
    (world, change_id)
}

#[test]
fn what_changed_since_an_id_is_told_in_full() {
    if !is_at_least(Release::V9_0) {
        return;
    }
    let (world, change_id) = tracked(None, [0, 3 << 20].into_iter());
    let areas = |id: &str| {
        let options = OpenOptions::read_only().changed_since(id);
        world.connect("vm-201").open(OFF, options).and_then(|disk| disk.changed_areas())
    };
    assert_eq!(areas(&change_id).unwrap(), ranges(&[(0, 128), (6144, 6272)]));
    let used = areas("*").unwrap();
    assert!(used.len() >= 2 && used.iter().any(|range| range.start() <= Sectors(2048)), "{used:?}");
    for wrong in ["", "52/1", "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81"] {
        let error = areas(wrong).unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(3), ErrorKind::InvalidArgument), "{wrong}");
    }
}

#[test]
fn without_a_change_id_the_library_is_not_asked() {
    let world = World::new();
    let error = world.open_off(OpenOptions::read_only()).changed_areas().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misuse, None));
    let options = OpenOptions::read_only().changed_since("*");
    let path = world.host_path("off");
    let local = super::folder::Folder::new();
    let opened = local.connection.open(path.to_str().unwrap(), options);
    if is_at_least(Release::V9_0) {
        assert_eq!(opened.unwrap().changed_areas().unwrap_err().code(), Some(3));
    } else {
        let error = opened.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None), "{error}");
        assert!(error.to_string().contains("VixDiskLib_OpenEx"), "{error}");
    }
}

#[test]
fn a_disk_of_many_areas_is_asked_in_windows() {
    if !is_at_least(Release::V9_0) {
        return;
    }
    // Every other sector of 3 MiB: 3,072 areas, and one answer has 2,000.
    let (world, id) = tracked(Some(512), (0..6144u64).step_by(2).map(|sector| sector * 512));
    let disk = world.connect("vm-201").open(OFF, OpenOptions::read_only().changed_since(&id)).unwrap();
    let areas = disk.changed_areas().unwrap();
    let expected: Vec<(u64, u64)> = (0..6144).step_by(2).map(|sector| (sector, sector + 1)).collect();
    assert!(areas == ranges(&expected), "{} areas", areas.len());
    world.faults(&[FaultRule {
        function: "QueryChangedAreas".to_owned(),
        nth: Some(2),
        code: 14011,
        ..FaultRule::default()
    }]);
    assert!(disk.changed_areas().unwrap_err().is_connection_lost());
}
