//! The guest: patterns, the caching cursor, real file systems, imports and digests.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sim_store::guest::image::{Difference, ImagePlan, Manifest, mutate, populate, verify};
use sim_store::guest::writer::{self, Counter, Pattern, Work, Workload};
use sim_store::guest::{DiskCursor, expected_sector, write_pattern};
use sim_store::{Access, Disk, DiskSpec, ErrorKind, Extent, Scope, Sha256, snapshot, tracking};

const MIB: u64 = 1 << 20;

fn plan() -> ImagePlan {
    ImagePlan { seed: 7, files: 60, bytes_total: 3 * MIB, label: "guest".to_owned() }
}

fn populated(path: &Path) -> (Disk, Manifest) {
    let disk = Disk::create(path, &DiskSpec::thin(64 * MIB)).unwrap();
    let mut cursor = DiskCursor::new(&disk);
    let manifest = populate(&mut cursor, &plan()).unwrap();
    cursor.finish().unwrap();
    (disk, manifest)
}

#[test]
fn patterns_can_be_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(folder.path().join("vm.vmdk"), &DiskSpec::thin(MIB)).unwrap();
    write_pattern(&disk, 1024, 600 * 512, 1, 2).unwrap();
    let mut sector = [0; 512];
    for lba in [2, 3, 601] {
        disk.read_at(lba * 512, &mut sector).unwrap();
        assert_eq!(sector, expected_sector(1, disk.uuid().unwrap(), lba, 2));
    }
    disk.read_at(602 * 512, &mut sector).unwrap();
    assert_eq!(sector, [0; 512]);
    let uuid = disk.uuid().unwrap();
    let one = expected_sector(1, uuid, 2, 3);
    for other in
        [expected_sector(2, uuid, 2, 3), expected_sector(1, uuid, 3, 3), expected_sector(1, uuid, 2, 4)]
    {
        assert_ne!(one, other);
    }
    for (offset, length, kind) in [
        (1, 512, ErrorKind::InvalidArgument),
        (0, 100, ErrorKind::InvalidArgument),
        (MIB, 512, ErrorKind::OutOfRange),
        (512, u64::MAX - 511, ErrorKind::OutOfRange),
    ] {
        assert_eq!(write_pattern(&disk, offset, length, 0, 0).unwrap_err().kind(), kind);
    }
}

#[test]
fn a_cursor_is_a_file_and_keeps_a_thin_disk_thin() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::create(folder.path().join("vm.vmdk"), &DiskSpec::thin(MIB + 512)).unwrap();
    let mut cursor = DiskCursor::new(&disk);
    cursor.write_all(&[0; 300_000]).unwrap();
    cursor.write_back().unwrap();
    assert_eq!(disk.allocated(0, MIB).unwrap(), []);
    cursor.seek(SeekFrom::Start(65_530)).unwrap();
    cursor.write_all(b"across an edge").unwrap();
    cursor.seek(SeekFrom::End(-3)).unwrap();
    assert!(cursor.write_all(b"four").is_err(), "the disk ends there");
    let mut early = [1; 5];
    disk.read_at(65_530, &mut early).unwrap();
    assert_eq!(early, [0; 5], "nothing is written before it is asked for");
    cursor.write_back().unwrap();
    cursor.seek(SeekFrom::Start(65_530)).unwrap();
    let mut text = [0; 14];
    cursor.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"across an edge");
    disk.read_at(65_530, &mut text).unwrap();
    assert_eq!(&text, b"across an edge");
    // Zeros over data are real writes.
    cursor.seek(SeekFrom::Start(65_530)).unwrap();
    cursor.write_all(&[0; 14]).unwrap();
    cursor.finish().unwrap();
    disk.read_at(65_530, &mut text).unwrap();
    assert_eq!(text, [0; 14]);
}

#[test]
fn a_guest_disk_is_verified_file_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.vmdk");
    let (disk, manifest) = populated(&path);
    assert_eq!((manifest.files.len(), manifest.bytes_total()), (60, 3 * MIB));
    verify(&mut DiskCursor::new(&disk), &manifest).unwrap();
    // The host's file is an image that anyone can read.
    verify(&mut fs::File::open(folder.path().join("vm-flat.vmdk")).unwrap(), &manifest).unwrap();
    let allocated: u64 = disk.allocated(0, disk.capacity()).unwrap().iter().map(|extent| extent.length).sum();
    assert!(allocated < 6 * MIB, "{allocated}");
    let (twin, same) = populated(&folder.path().join("twin.vmdk"));
    assert_eq!(same, manifest);
    assert_eq!(twin.sha256().unwrap(), disk.sha256().unwrap());

    let mut wrong = manifest.clone();
    let mut paths = manifest.files.keys();
    let (gone, changed) = (paths.next().unwrap().clone(), paths.next().unwrap().clone());
    wrong.files.remove(&gone);
    wrong.files.get_mut(&changed).unwrap().size += 1;
    wrong.files.insert("zzz".to_owned(), manifest.files[&gone]);
    let differences = verify(&mut DiskCursor::new(&disk), &wrong).unwrap_err();
    assert_eq!(differences[0], Difference::Unexpected(gone));
    assert!(matches!(&differences[1], Difference::Changed { path, .. } if *path == changed));
    assert_eq!(differences[2], Difference::Missing("zzz".to_owned()));
    assert_eq!(differences.len(), 3);
}

#[test]
fn a_working_guest_changes_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.vmdk");
    let (disk, before) = populated(&path);
    drop(disk);
    tracking::enable(&path, None).unwrap();
    let taken = snapshot::create(&path).unwrap();
    let disk = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain).unwrap();
    let mut cursor = DiskCursor::new(&disk);
    let after = mutate(&mut cursor, &before, 99, MIB).unwrap();
    cursor.finish().unwrap();
    verify(&mut DiskCursor::new(&disk), &after).unwrap();
    verify(&mut DiskCursor::new(&disk), &before).unwrap_err();
    assert!(before.files.keys().any(|path| !after.files.contains_key(path)), "something is deleted");
    assert!(after.files.keys().any(|path| !before.files.contains_key(path)), "something is created");
    assert!(after.files.len() >= 30);
    let old = Disk::open(&path, Access::ReadOnly, Scope::WholeChain).unwrap();
    verify(&mut DiskCursor::new(&old), &before).unwrap();
    let since = taken.change_id.unwrap().to_string();
    let window = tracking::query(&taken.child, &since, 0, 2000).unwrap();
    let changed: u64 = window.extents.iter().map(|extent| extent.length).sum();
    assert!((MIB / 2..16 * MIB).contains(&changed), "{changed}");
    let error = mutate(&mut DiskCursor::new(&disk), &before, 5, MIB).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "the manifest is not of this state");
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let refused = |length: u64, plan: ImagePlan| {
        let error = populate(&mut Cursor::new(vec![0; length as usize]), &plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    };
    refused(0, plan());
    refused(MIB, plan());
    refused(64 * MIB, ImagePlan { bytes_total: 64 * MIB, ..plan() });
    refused(64 * MIB, ImagePlan { label: "far too long".to_owned(), ..plan() });
    refused(64 * MIB, ImagePlan { label: "ü".to_owned(), ..plan() });
}

#[test]
fn damage_is_reported_not_fatal() {
    let mut image = Cursor::new(vec![0; 64 * MIB as usize]);
    let manifest = populate(&mut image, &plan()).unwrap();
    verify(&mut image, &manifest).unwrap();
    let mut good = image.into_inner();
    let mut state = 1_u64;
    let mut found = 0;
    // Table, boot sector, tables of clusters, first folders and files.
    for region in [512..1024, 1024..17_408, MIB..MIB + 512, MIB + 16_384..MIB + 20_000, 2 * MIB..3 * MIB] {
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (region.start + (state >> 33) % (region.end - region.start)) as usize;
            let kept = good[at];
            good[at] ^= (state >> 20) as u8 | 1;
            found += u32::from(verify(&mut Cursor::new(&mut good), &manifest).is_err());
            good[at] = kept;
        }
    }
    assert!(found > 5, "{found}");
    // A boot sector whose numbers overflow in the file system's reader.
    let kept = good[MIB as usize + 16..MIB as usize + 40].to_vec();
    good[MIB as usize + 16..MIB as usize + 40].fill(0xff);
    let differences = verify(&mut Cursor::new(&mut good), &manifest).unwrap_err();
    assert!(matches!(differences.as_slice(), [Difference::Unreadable(_)]));
    let error = mutate(&mut Cursor::new(&mut good), &manifest, 1, 4096).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    good[MIB as usize + 16..MIB as usize + 40].copy_from_slice(&kept);
    verify(&mut Cursor::new(&mut good), &manifest).unwrap();
    let differences = verify(&mut Cursor::new(vec![0; 4096]), &manifest).unwrap_err();
    assert!(matches!(differences.as_slice(), [Difference::Unreadable(_)]));
}

#[test]
fn raw_images_are_imported_sparsely() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("disk.img");
    let file = fs::File::create_new(&raw).unwrap();
    file.set_len(40 * MIB + 100).unwrap();
    file.write_all_at(b"head", 0).unwrap();
    file.write_all_at(&vec![0; MIB as usize], 8 * MIB).unwrap();
    file.write_all_at(&[3; 70_000], 20 * MIB + 1).unwrap();
    file.write_all_at(b"tail", 40 * MIB + 96).unwrap();
    let path = folder.path().join("vm.vmdk");
    let disk = Disk::import_raw(&raw, &path).unwrap();
    assert_eq!(disk.capacity(), 40 * MIB + 512);
    let mut expected = fs::read(&raw).unwrap();
    expected.resize(40 * MIB as usize + 512, 0);
    let mut found = vec![1; expected.len()];
    disk.read_at(0, &mut found).unwrap();
    assert!(found == expected);
    assert_eq!(disk.sha256().unwrap(), Sha256::of(&expected));
    let allocated: u64 = disk.allocated(0, disk.capacity()).unwrap().iter().map(|extent| extent.length).sum();
    assert!(allocated < MIB, "{allocated}");
    let again = Disk::import_raw(&raw, &path).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    drop(disk);
    // The digest is that of the chain, whatever link holds the bytes.
    let top = snapshot::create(&path).unwrap().child;
    let disk = Disk::open(&top, Access::ReadWrite, Scope::WholeChain).unwrap();
    disk.write_at(5, b"x").unwrap();
    expected[5] = b'x';
    assert_eq!(disk.sha256().unwrap(), Sha256::of(&expected));

    fs::write(folder.path().join("empty"), b"").unwrap();
    let error = Disk::import_raw(&folder.path().join("empty"), &folder.path().join("e.vmdk")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = Disk::import_raw(&folder.path().join("none"), &folder.path().join("e.vmdk")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn digests_as_text() {
    let digest = Sha256::of(b"");
    let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest.to_string(), text);
    assert_eq!(text.parse::<Sha256>().unwrap(), digest);
    assert!("e3".parse::<Sha256>().is_err());
}

#[test]
fn a_guest_that_works_by_itself_can_be_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.vmdk");
    let disk = Disk::create(&path, &DiskSpec::thin(4 * MIB + 1536)).unwrap();
    drop(disk);
    tracking::enable(&path, None).unwrap();
    let workload = Workload { seed: 11, bytes: 64 << 10, ..Workload::default() };
    let mut counter = Counter { first: 1, tick: 0, span: 4 * MIB + 1536 };
    let run = |path: &Path, counter: &mut Counter, ticks: u64| {
        let disk = Disk::open(path, Access::ReadWrite, Scope::WholeChain).unwrap();
        for _ in 0..ticks {
            counter.tick += 1;
            workload.perform(&disk, counter).unwrap();
        }
    };
    run(&path, &mut counter, 9);
    let old = counter;
    let taken = snapshot::create(&path).unwrap();
    run(&taken.child, &mut counter, 7);
    for (path, counter) in [(&path, old), (&taken.child, counter)] {
        let disk = Disk::open(path, Access::ReadOnly, Scope::WholeChain).unwrap();
        assert_eq!(writer::counter(&disk).unwrap(), Some(counter));
        let (uuid, made) = (disk.uuid().unwrap(), workload.replay(disk.uuid().unwrap(), &counter));
        for lba in 8..disk.capacity() / 512 {
            let mut sector = [0; 512];
            disk.read_at(lba * 512, &mut sector).unwrap();
            let wanted = match made.get(&lba) {
                Some(Some(tick)) => expected_sector(workload.seed, uuid, lba, *tick),
                _ => [0; 512],
            };
            assert_eq!(sector, wanted, "{path:?}, sector {lba}");
        }
    }
    // Every kind of work changes something of its own.
    let all: Vec<_> = Pattern::ALL.into_iter().map(|pattern| one_tick(pattern, 5)).collect();
    for (at, areas) in all.iter().enumerate() {
        assert!(!areas.is_empty() && areas.iter().all(|(_, area)| area.offset >= 4096), "{at}");
        assert!(areas.iter().all(|(_, area)| area.offset % 512 == 0 && area.end() <= 4 * MIB));
    }
    let straddles = |area: &Extent| area.offset / 65_536 != (area.end() - 1) / 65_536;
    assert!(all[7].iter().filter(|(_, area)| area.end() < 4 * MIB).all(|(_, area)| straddles(area)));
}

fn one_tick(pattern: Pattern, tick: u64) -> Vec<(Work, Extent)> {
    let workload = Workload { patterns: vec![pattern], ..Workload::default() };
    workload.operations(sim_store::DiskUuid([3; 16]), 4 * MIB, tick)
}

#[test]
fn what_a_guest_discards_over_a_snapshot_is_zero_changed_and_not_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.vmdk");
    let disk = Disk::create(&path, &DiskSpec::thin(4 * MIB)).unwrap();
    disk.write_at(MIB, &vec![5; MIB as usize]).unwrap();
    drop(disk);
    tracking::enable(&path, None).unwrap();
    let taken = snapshot::create(&path).unwrap();
    let live = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain).unwrap();
    live.zero_at(MIB + 65_536, 4 * 65_536).unwrap();
    drop(live);
    let later = snapshot::create(&taken.child).unwrap();
    let seen = Disk::open(&later.frozen, Access::ReadOnly, Scope::WholeChain).unwrap();
    let mut bytes = vec![1; 4 * 65_536];
    seen.read_at(MIB + 65_536, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    let hole = Extent { offset: MIB + 65_536, length: 4 * 65_536 };
    let since = taken.change_id.unwrap().to_string();
    assert_eq!(tracking::query(&later.frozen, &since, 0, 2000).unwrap().extents, [hole]);
    let all = tracking::query(&later.frozen, "*", 0, 2000).unwrap().extents;
    assert!(all.iter().all(|area| area.end() <= hole.offset || area.offset >= hole.end()), "{all:?}");
    let frozen = tracking::query(&taken.frozen, "*", 0, 2000).unwrap().extents;
    assert_eq!(frozen, [Extent { offset: MIB, length: MIB }]);
}
