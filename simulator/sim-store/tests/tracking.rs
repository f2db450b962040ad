//! Change tracking: exact answers, windows, lives of change ids, errors.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use sim_store::tracking::{self, ChangeId, query};
use sim_store::{Access, Descriptor, Disk, DiskSpec, ErrorKind, Extent, Provisioning, Scope, grow, snapshot};

const GRAIN: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

fn tracked(folder: &Path, capacity: u64) -> PathBuf {
    let path = folder.join("vm.vmdk");
    Disk::create(&path, &DiskSpec::thin(capacity)).unwrap();
    tracking::enable(&path, None).unwrap();
    path
}

fn write(path: &Path, offset: u64, bytes: &[u8]) {
    Disk::open(path, Access::ReadWrite, Scope::WholeChain).unwrap().write_at(offset, bytes).unwrap();
}

fn grains(path: &Path, since: ChangeId) -> Vec<u64> {
    let window = query(path, &since.to_string(), 0, 1000).unwrap();
    window.extents.iter().flat_map(|extent| extent.offset / GRAIN..extent.end() / GRAIN).collect()
}

fn nothing(_: u64, _: u64) {}

/// The trap: a map of last writes alone forgets that a grain was also written before the snapshot.
#[test]
fn a_grain_written_before_and_after_a_snapshot_is_in_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let x = snapshot::create(&base).unwrap();
    write(&x.child, 3 * GRAIN, b"between X and S");
    let s = snapshot::create(&x.child).unwrap();
    write(&s.child, 3 * GRAIN, b"after S");
    write(&s.child, 5 * GRAIN, b"only after S");
    let (x_id, s_id) = (x.change_id.unwrap(), s.change_id.unwrap());
    assert_eq!(grains(&s.frozen, x_id), [3]);
    assert_eq!(grains(&s.child, x_id), [3, 5]);
    assert_eq!(grains(&s.child, s_id), [3, 5]);
    assert_eq!(grains(&s.frozen, s_id), [] as [u64; 0]);
    assert_eq!(tracking::change_id(&s.frozen).unwrap(), Some(s_id));
    assert_eq!((s_id.uuid, s_id.sequence), (x_id.uuid, x_id.sequence + 1));
}

#[test]
fn an_id_outlives_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let x = snapshot::create(&base).unwrap();
    write(&x.child, GRAIN, b"after X");
    snapshot::remove_link(&base, &[], &mut nothing).unwrap();
    assert_eq!(Descriptor::load(&base).unwrap().change_track.as_deref(), Some("vm-ctk.vmdk"));
    write(&base, 9 * GRAIN, b"after the removal");
    let s = snapshot::create(&base).unwrap();
    assert_eq!(grains(&s.frozen, x.change_id.unwrap()), [1, 9]);
    snapshot::remove_link(&base, &[], &mut nothing).unwrap();
    assert_eq!(grains(&base, s.change_id.unwrap()), [] as [u64; 0]);
}

#[test]
fn every_kind_of_write_counts() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    write(&base, 0, b"same");
    let x = snapshot::create(&base).unwrap();
    write(&x.child, 0, b"same");
    write(&x.child, 3 * GRAIN - 1, b"ab");
    let disk = Disk::open(&x.child, Access::ReadWrite, Scope::TopLink).unwrap();
    disk.zero_at(15 * GRAIN + 1, GRAIN - 1).unwrap();
    disk.write_at(7 * GRAIN, &[]).unwrap();
    disk.zero_at(8 * GRAIN, 0).unwrap();
    assert_eq!(grains(&x.child, x.change_id.unwrap()), [0, 2, 3, 15]);
}

#[test]
fn windows_cover_the_disk_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = 4 * MIB + 512;
    let base = tracked(folder.path(), capacity);
    let x = snapshot::create(&base).unwrap();
    for grain in [1, 3, 4, 10, 20, 64] {
        write(&x.child, grain * GRAIN, b"x");
    }
    let id = x.change_id.unwrap().to_string();
    let mut at = 0;
    let mut all = Vec::new();
    while at < capacity {
        let window = query(&x.child, &id, at, 2).unwrap();
        assert_eq!(window.start, at);
        assert!(window.length > 0 && window.extents.len() <= 2);
        assert!(
            window.extents.iter().all(|e| e.offset >= at && e.end() <= at + window.length && e.length > 0)
        );
        at += window.length;
        all.extend(window.extents);
    }
    assert_eq!(at, capacity);
    let whole = query(&x.child, &id, 0, 2000).unwrap();
    assert_eq!((whole.length, &whole.extents), (capacity, &all));
    assert_eq!(all.last(), Some(&Extent { offset: 4 * MIB, length: 512 }));
    // A start inside a grain cuts it; exactly as many extents as allowed reach the end of the disk.
    let window = query(&x.child, &id, GRAIN + 5, 5).unwrap();
    assert_eq!(window.extents[0], Extent { offset: GRAIN + 5, length: GRAIN - 5 });
    assert_eq!((window.start, window.length, window.extents.len()), (GRAIN + 5, capacity - GRAIN - 5, 5));
}

#[test]
fn star_means_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), 64 * MIB);
    write(&base, 10 * MIB + 1, b"x");
    let x = snapshot::create(&base).unwrap();
    write(&x.child, 20 * MIB, b"y");
    let star = |path: &Path| query(path, "*", 0, 2000).unwrap().extents;
    assert_eq!(star(&x.frozen), [Extent { offset: 10 * MIB, length: GRAIN }]);
    assert_eq!(star(&x.child).len(), 2);
    let cut = query(&x.child, "*", 0, 1).unwrap();
    assert_eq!((cut.length, cut.extents.len()), (10 * MIB + GRAIN, 1));

    let eager = folder.path().join("eager.vmdk");
    let spec = DiskSpec { provisioning: Provisioning::EagerThick, ..DiskSpec::thin(MIB) };
    drop(Disk::create(&eager, &spec).unwrap());
    tracking::enable(&eager, Some(4096)).unwrap();
    assert_eq!(star(&eager), [Extent { offset: 0, length: MIB }]);
}

#[test]
fn wrong_arguments_and_foreign_ids() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let x = snapshot::create(&base).unwrap();
    let later = snapshot::create(&x.child).unwrap().change_id.unwrap();
    let id = x.change_id.unwrap();
    let kind = |since: &str, start| query(&x.frozen, since, start, 10).unwrap_err().kind();
    assert_eq!(kind("nonsense", 0), ErrorKind::InvalidArgument);
    assert_eq!(kind("", 0), ErrorKind::InvalidArgument);
    assert_eq!(kind("*", MIB), ErrorKind::InvalidArgument);
    assert_eq!(kind(&id.to_string(), u64::MAX), ErrorKind::InvalidArgument);
    assert_eq!(query(&x.frozen, "*", 0, 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let foreign = ChangeId { uuid: [7; 16], ..id };
    for stranger in [foreign, later, ChangeId { sequence: 0, ..id }] {
        assert_eq!(kind(&stranger.to_string(), 0), ErrorKind::ForeignChangeId);
    }
    let untracked = folder.path().join("u.vmdk");
    drop(Disk::create(&untracked, &DiskSpec::thin(MIB)).unwrap());
    let error = query(&untracked, "*", 0, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TrackingOff);
    assert!(error.is_file_fault() && !error.is_invalid_argument());
    assert_eq!(snapshot::create(&untracked).unwrap().change_id, None);
    for granularity in [0, 1, 1000, 1 << 60] {
        let error = tracking::enable(&folder.path().join("u-000001.vmdk"), Some(granularity)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_new_uuid_whenever_the_map_cannot_be_vouched_for() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let uuid = |path: &Path| tracking::change_id(path).unwrap().map(|id| id.uuid);
    let first = uuid(&base);
    tracking::enable(&base, None).unwrap();
    assert_eq!(uuid(&base), first, "switching on what is on changes nothing");
    tracking::disable(&base).unwrap();
    assert_eq!(uuid(&base), None);
    assert_eq!(Descriptor::load(&base).unwrap().change_track, None);
    tracking::enable(&base, None).unwrap();
    let second = uuid(&base);
    assert_ne!(second, first);
    grow(&base, 2 * MIB).unwrap();
    let third = uuid(&base);
    assert_ne!(third, second);
    tracking::renew(&base).unwrap();
    let fourth = uuid(&base);
    assert_ne!(fourth, third);

    let taken = snapshot::create(&base).unwrap();
    assert_eq!(uuid(&taken.child), fourth);
    let old = taken.change_id.unwrap();
    let live = snapshot::revert(&taken.child, &base, std::slice::from_ref(&base)).unwrap();
    assert_ne!(uuid(&live), fourth);
    assert_eq!(query(&live, &old.to_string(), 0, 10).unwrap_err().kind(), ErrorKind::ForeignChangeId);
    assert_eq!(grains(&base, old), [] as [u64; 0], "the snapshot's own map is untouched");
}

#[test]
fn a_broken_map_is_refused_and_replaced_by_the_next_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let map = folder.path().join("vm-ctk.vmdk");
    let good = fs::read(&map).unwrap();
    let broken = |bytes: &[u8]| {
        fs::write(&map, bytes).unwrap();
        let error = query(&base, "*", 0, 10).unwrap_err();
        assert!(error.is_file_fault());
        assert_eq!(error.kind(), ErrorKind::TrackingBroken);
    };
    broken(&[]);
    broken(&good[..good.len() - 1]);
    let mut damaged = good.clone();
    damaged[0] ^= 1;
    broken(&damaged);
    let mut damaged = good;
    damaged[16] ^= 1;
    broken(&damaged);
    // Writing goes on; the next link starts a map of its own.
    write(&base, 0, b"unrecorded");
    assert!(!map.exists(), "a map that was only out of reach would not know of the write");
    let taken = snapshot::create(&base).unwrap();
    assert_eq!(taken.change_id, None);
    let next = snapshot::create(&taken.child).unwrap();
    write(&next.child, GRAIN, b"recorded");
    assert_eq!(grains(&next.child, next.change_id.unwrap()), [1]);
}

#[test]
fn tracking_cannot_change_under_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let base = tracked(folder.path(), MIB);
    let writer = Disk::open(&base, Access::ReadWrite, Scope::WholeChain).unwrap();
    for result in [tracking::enable(&base, None), tracking::disable(&base), tracking::renew(&base)] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Locked);
    }
    drop(writer);
    tracking::disable(&base).unwrap();
    assert_eq!(tracking::renew(&base).unwrap_err().kind(), ErrorKind::TrackingOff);
}
