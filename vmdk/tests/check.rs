//! What `check` finds in damaged sparse files, and what `repair` makes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::sync::Arc;

use vmdk::{
    Create, Disk, EntryOne, ErrorKind, Folder, MemoryFolder, OpenOptions, Policy, Problem, StreamOptions,
    StreamWriter, Variant,
};

const GRAIN: usize = 65_536;
/// Where the layout has them, for a disk with one table: see docs/vmdk.md.
const COPY_TABLE: usize = 22 * 512;
const TABLE: usize = 27 * 512;

/// A disk with four grains, and its bytes.
fn disk() -> (MemoryFolder, Arc<dyn Folder>, Vec<u8>) {
    let memory = MemoryFolder::new();
    let folder: Arc<dyn Folder> = Arc::new(memory.clone());
    let disk = Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap();
    for grain in 0..4 {
        disk.write_all_at(&[grain as u8 + 1; GRAIN], grain * GRAIN as u64).unwrap();
    }
    disk.close().unwrap();
    let bytes = memory.content("x.vmdk").unwrap();
    (memory, folder, bytes)
}

fn problems(folder: &Arc<dyn Folder>) -> Vec<Problem> {
    let report = vmdk::check(folder, "x.vmdk", &OpenOptions::new(), true).unwrap();
    assert_eq!(report.problems as usize, report.findings.len());
    report.findings.into_iter().map(|finding| finding.problem).collect()
}

fn entry(bytes: &[u8], table: usize, grain: usize) -> u32 {
    u32::from_le_bytes(bytes[table + grain * 4..][..4].try_into().unwrap())
}

fn set(bytes: &mut [u8], table: usize, grain: usize, value: u32) {
    bytes[table + grain * 4..][..4].copy_from_slice(&value.to_le_bytes());
}

fn byte_at(folder: &Arc<dyn Folder>, offset: u64) -> vmdk::Result<u8> {
    let mut byte = [0];
    Disk::open(folder, "x.vmdk")?.read_exact_at(&mut byte, offset).map(|()| byte[0])
}

#[test]
fn a_disk_that_was_closed_is_clean() {
    let (_, folder, bytes) = disk();
    assert_ne!(entry(&bytes, TABLE, 0), 0, "the tables are where this test takes them to be");
    assert_eq!(entry(&bytes, TABLE, 3), entry(&bytes, COPY_TABLE, 3));
    assert!(problems(&folder).is_empty());
    assert_eq!(vmdk::repair(&folder, "x.vmdk").unwrap().repaired, 0);
}

/// Others read a damaged first copy as zeros and never look at the second (docs/vmdk.md).
#[test]
fn what_only_the_copy_knows_is_found_and_repaired() {
    let (memory, folder, mut bytes) = disk();
    set(&mut bytes, TABLE, 1, 0);
    set(&mut bytes, TABLE, 2, 0x00FF_FFFF);
    set(&mut bytes, COPY_TABLE, 3, 5);
    memory.insert("x.vmdk", bytes);
    let expected = [
        Problem::OnlyInCopy { grain: 1 },
        Problem::OnlyInCopy { grain: 2 },
        Problem::CopyLacks { grain: 3 },
        Problem::Leaked { sectors: 256 },
    ];
    assert_eq!(problems(&folder), expected);
    assert_eq!(byte_at(&folder, 2 * GRAIN as u64).unwrap_err().kind(), ErrorKind::Malformed);
    let report = vmdk::repair(&folder, "x.vmdk").unwrap();
    assert_eq!(report.repaired, 3);
    assert!(problems(&folder).is_empty());
    for grain in 0..4 {
        assert_eq!(byte_at(&folder, grain * GRAIN as u64).unwrap(), grain as u8 + 1);
    }
}

/// A choice between two would be a guess.
#[test]
fn two_good_entries_are_told_and_left() {
    let (memory, folder, mut bytes) = disk();
    let (first, second) = (entry(&bytes, TABLE, 0), entry(&bytes, TABLE, 1));
    set(&mut bytes, COPY_TABLE, 0, second);
    memory.insert("x.vmdk", bytes.clone());
    assert_eq!(problems(&folder), [Problem::CopyDiffers { grain: 0 }]);
    assert_eq!(vmdk::repair(&folder, "x.vmdk").unwrap().repaired, 0);
    assert!(memory.content("x.vmdk").unwrap() == bytes);

    // A file that was not closed tells why: a write has ended between the two, and what is read is the first.
    let mut unclean = bytes.clone();
    unclean[72] = 1;
    memory.insert("x.vmdk", unclean);
    assert_eq!(problems(&folder), [Problem::Unclean, Problem::CopyLacks { grain: 0 }]);
    assert_eq!(vmdk::repair(&folder, "x.vmdk").unwrap().repaired, 2);
    assert!(problems(&folder).is_empty());
    assert_eq!(byte_at(&folder, 0).unwrap(), 1);

    // One sector for two grains: one of them is wrong.
    set(&mut bytes, TABLE, 1, first);
    set(&mut bytes, COPY_TABLE, 1, first);
    set(&mut bytes, COPY_TABLE, 0, first);
    memory.insert("x.vmdk", bytes.clone());
    let expected =
        [Problem::GrainShared { grain: 1, sector: first.into() }, Problem::Leaked { sectors: 128 }];
    assert_eq!(problems(&folder), expected);
    assert_eq!(vmdk::repair(&folder, "x.vmdk").unwrap().repaired, 0);
    assert!(memory.content("x.vmdk").unwrap() == bytes);
}

#[test]
fn lost_grains_and_tables_are_told() {
    let (memory, folder, mut bytes) = disk();
    for table in [TABLE, COPY_TABLE] {
        set(&mut bytes, table, 0, 9);
        set(&mut bytes, table, 1, 1);
    }
    memory.insert("x.vmdk", bytes.clone());
    let expected = [
        Problem::GrainOutside { grain: 0, sector: 9 },
        Problem::EntryOne { grain: 1 },
        Problem::Leaked { sectors: 256 },
    ];
    assert_eq!(problems(&folder), expected);
    assert_eq!(byte_at(&folder, GRAIN as u64).unwrap_err().kind(), ErrorKind::Disputed);
    let mut policy = Policy::default();
    policy.entry_one = EntryOne::Zero;
    let mut byte = [9];
    OpenOptions::new()
        .policy(policy)
        .open(&folder, "x.vmdk")
        .unwrap()
        .read_exact_at(&mut byte, GRAIN as u64)
        .unwrap();
    assert_eq!(byte, [0]);

    // The file was cut within its last grain.
    bytes.truncate(bytes.len() - 512);
    memory.insert("x.vmdk", bytes);
    assert!(problems(&folder).contains(&Problem::GrainOutside { grain: 3, sector: 128 + 3 * 128 }));
    assert_eq!(byte_at(&folder, 3 * GRAIN as u64).unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(byte_at(&folder, 2 * GRAIN as u64).unwrap(), 3, "the others can still be read");
}

#[test]
fn a_disk_that_was_not_closed_is_told_and_repaired() {
    let (_, folder, _) = disk();
    let disk = OpenOptions::new().writable(true).open(&folder, "x.vmdk").unwrap();
    disk.write_all_at(&[9], 0).unwrap();
    drop(disk);
    assert_eq!(problems(&folder), [Problem::Unclean]);
    assert_eq!(vmdk::repair(&folder, "x.vmdk").unwrap().repaired, 1);
    assert!(problems(&folder).is_empty());
    assert_eq!(byte_at(&folder, 0).unwrap(), 9, "what is dropped is flushed");
}

#[test]
fn damaged_grains_of_a_stream_are_told_when_all_are_read() {
    let memory = MemoryFolder::new();
    let folder: Arc<dyn Folder> = Arc::new(memory.clone());
    let mut writer = StreamWriter::new(Vec::new(), "x.vmdk", StreamOptions::new(1 << 20)).unwrap();
    for grain in 0..3 {
        writer.write_grain(grain * GRAIN as u64, &[grain as u8 + 1; GRAIN]).unwrap();
    }
    let (mut bytes, _) = writer.finish().unwrap();
    bytes[GRAIN + 20] ^= 0xFF;
    memory.insert("x.vmdk", bytes);
    assert!(matches!(problems(&folder).as_slice(), [Problem::BadRecord { grain: 0, .. }]));
    assert!(vmdk::check(&folder, "x.vmdk", &OpenOptions::new(), false).unwrap().is_clean());
    assert_eq!(vmdk::repair(&folder, "x.vmdk").err().unwrap().kind(), ErrorKind::ReadOnly);
}
