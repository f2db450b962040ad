//! Disks that are made, written, chained and read, compared with a plain vector of bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/campaign.rs"]
mod campaign;
#[path = "files/disks.rs"]
mod disks;

use disks::{content, folder};
use proptest::prelude::*;
use vmdk::{Create, Disk, ErrorKind, OpenOptions, State, Variant};

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, length: usize, byte: u8 },
    Zero { offset: u64, length: usize },
    Flush,
    Reopen,
    Child,
}

fn variants() -> impl Strategy<Value = Variant> {
    prop::sample::select(vec![
        Variant::MonolithicSparse,
        Variant::SplitSparse,
        Variant::MonolithicFlat,
        Variant::SplitFlat,
        Variant::Vmfs,
        Variant::VmfsThin,
    ])
}

fn changes(capacity: u64) -> impl Strategy<Value = Vec<Change>> {
    let range = move || {
        (0..capacity, 0..200_000_usize)
            .prop_map(move |(offset, length)| (offset, length.min((capacity - offset) as usize)))
    };
    let change = prop_oneof![
        6 => (range(), any::<u8>()).prop_map(|((offset, length), byte)| Change::Write { offset, length, byte }),
        2 => range().prop_map(|(offset, length)| Change::Zero { offset, length }),
        1 => Just(Change::Flush),
        1 => Just(Change::Reopen),
        1 => Just(Change::Child),
    ];
    prop::collection::vec(change, 1..24)
}

proptest! {
    #![proptest_config(campaign::slice(96))]

    /// Whatever is done to a disk, also through children and after opening it again, it reads as bytes in memory would.
    #[test]
    fn a_disk_reads_as_it_was_written(
        variant in variants(),
        sectors in 1_u64..3000,
        grain in prop::sample::select(vec![8_u64, 16, 128]),
        zeroed in any::<bool>(),
        seed in changes(3000 * 512),
    ) {
        let (memory, folder) = folder();
        let capacity = sectors * 512;
        let mut name = "disk.vmdk".to_owned();
        let create = Create::new(variant, capacity).grain(grain).zeroed_grains(zeroed).split(1024);
        let mut disk = create.create(&folder, &name).unwrap();
        let mut expected = vec![0; capacity as usize];
        let mut children = 0;
        for change in seed {
            match change {
                Change::Write { offset, length, byte } => {
                    let offset = offset.min(capacity);
                    let length = length.min((capacity - offset) as usize);
                    // Not all bytes are the same, so that a shift shows.
                    let bytes: Vec<u8> = (0..length).map(|at| byte.wrapping_add((at / 100) as u8)).collect();
                    disk.write_all_at(&bytes, offset).unwrap();
                    expected[offset as usize..][..length].copy_from_slice(&bytes);
                }
                Change::Zero { offset, length } => {
                    let offset = offset.min(capacity);
                    let length = length.min((capacity - offset) as usize);
                    disk.write_zeroes(offset, length as u64).unwrap();
                    expected[offset as usize..][..length].fill(0);
                }
                Change::Flush => disk.flush().unwrap(),
                Change::Reopen => {
                    disk.close().unwrap();
                    disk = OpenOptions::new().writable(true).open(&folder, &name).unwrap();
                }
                Change::Child => {
                    disk.close().unwrap();
                    children += 1;
                    let child = format!("disk-{children:06}.vmdk");
                    disk = vmdk::create_child(&folder, &name, &child).unwrap();
                    name = child;
                }
            }
        }
        prop_assert!(content(&disk) == expected, "before it is closed");
        disk.close().unwrap();
        let disk = Disk::open(&folder, &name).unwrap();
        prop_assert_eq!(disk.links().len(), children + 1);
        prop_assert!(content(&disk) == expected, "after it was opened again");

        // The map has no gaps, and what it calls zero or unallocated is zero.
        let mut end = 0;
        let mut last = None;
        for span in disk.map(0..capacity) {
            let span = span.unwrap();
            prop_assert_eq!(span.offset, end);
            prop_assert!(span.length > 0);
            prop_assert!(last != Some((span.state, span.link)), "neighbours of one kind are one span");
            last = Some((span.state, span.link));
            end += span.length;
            if span.state != State::Data {
                prop_assert!(expected[span.offset as usize..end as usize].iter().all(|byte| *byte == 0));
            }
        }
        prop_assert_eq!(end, capacity);
        let report = vmdk::check(&folder, &name, &OpenOptions::new(), true).unwrap();
        prop_assert!(report.findings.iter().all(|finding| matches!(finding.problem, vmdk::Problem::Leaked { .. })), "{:?}", report);
        prop_assert!(!memory.names().is_empty());
        drop(disk);

        // Committed down to the base, it is still the same disk.
        for number in (0..children).rev() {
            let child = format!("disk-{:06}.vmdk", number + 1);
            vmdk::commit(&folder, &child).unwrap();
            prop_assert!(content(&Disk::open(&folder, &child).unwrap()) == expected, "the child that was committed");
            let parent = if number == 0 { "disk.vmdk".to_owned() } else { format!("disk-{number:06}.vmdk") };
            prop_assert!(content(&Disk::open(&folder, &parent).unwrap()) == expected, "its parent");
        }
    }
}

#[test]
fn a_parent_that_was_changed_is_refused() {
    let (_, folder) = folder();
    Create::new(Variant::MonolithicFlat, 1 << 20).create(&folder, "base.vmdk").unwrap().close().unwrap();
    vmdk::create_child(&folder, "base.vmdk", "base-000001.vmdk").unwrap().close().unwrap();
    Disk::open(&folder, "base-000001.vmdk").unwrap();
    // To open it for writing changes nothing yet.
    OpenOptions::new().writable(true).open(&folder, "base.vmdk").unwrap().close().unwrap();
    Disk::open(&folder, "base-000001.vmdk").unwrap();
    let base = OpenOptions::new().writable(true).open(&folder, "base.vmdk").unwrap();
    base.write_all_at(b"changed", 0).unwrap();
    base.close().unwrap();
    let error = Disk::open(&folder, "base-000001.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ParentModified, "{error}");
    // Without its parent it can still be looked at.
    OpenOptions::new().without_parents(true).open(&folder, "base-000001.vmdk").unwrap();
}

#[test]
fn each_opening_that_writes_has_one_new_content_id() {
    let (_, folder) = folder();
    Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap().close().unwrap();
    let cid = || Disk::open(&folder, "x.vmdk").unwrap().links()[0].descriptor().cid();
    let first = cid();
    let disk = OpenOptions::new().writable(true).open(&folder, "x.vmdk").unwrap();
    assert_eq!(cid(), first, "opening changes nothing");
    disk.write_all_at(&[1], 0).unwrap();
    let second = cid();
    assert_ne!(second, first);
    disk.write_all_at(&[2], 0).unwrap();
    disk.close().unwrap();
    assert_eq!(cid(), second);
}

#[test]
fn a_disk_opened_for_reading_takes_no_writes() {
    let (_, folder) = folder();
    Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap().close().unwrap();
    let disk = Disk::open(&folder, "x.vmdk").unwrap();
    assert_eq!(disk.write_all_at(&[1], 0).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.write_zeroes(0, 1).unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn behind_the_end_there_is_nothing() {
    let (_, folder) = folder();
    let disk = Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap();
    for (offset, length) in [(1 << 20, 1), ((1 << 20) - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 8)] {
        let mut buffer = vec![0; length];
        assert_eq!(disk.read_exact_at(&mut buffer, offset).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(disk.write_all_at(&buffer, offset).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    disk.read_exact_at(&mut [], 1 << 20).unwrap();
    assert_eq!(disk.map(1 << 20..u64::MAX).count(), 0);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let (memory, folder) = folder();
    for variant in [Variant::MonolithicSparse, Variant::MonolithicFlat, Variant::SplitSparse] {
        for taken in ["x.vmdk", "x-flat.vmdk", "x-s002.vmdk"] {
            memory.insert(taken, *b"precious");
            let result = Create::new(variant, 3 << 20).split(4096).create(&folder, "x.vmdk");
            match result {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                    assert_eq!(memory.names(), [taken], "what was made is removed again");
                }
                Ok(disk) => disk.close().unwrap(),
            }
            assert_eq!(memory.content(taken).unwrap(), b"precious");
            for name in memory.names() {
                folder.remove(&name).unwrap();
            }
        }
    }
}

#[test]
fn capacities_that_cannot_be_are_refused() {
    let (memory, folder) = folder();
    for create in [
        Create::new(Variant::MonolithicSparse, 513),
        Create::new(Variant::MonolithicSparse, 512).grain(7),
        Create::new(Variant::MonolithicSparse, 512).grain(1 << 20),
        Create::new(Variant::SplitFlat, 512).split(0),
        Create::new(Variant::SplitFlat, 1 << 62),
        Create::new(Variant::MonolithicSparse, 1 << 62),
    ] {
        let error = create.create(&folder, "x.vmdk").err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::TooLarge), "{error}");
        assert!(memory.names().is_empty());
    }
}

/// A disk of no sectors is a disk.
#[test]
fn an_empty_disk_opens() {
    let (_, folder) = folder();
    for (number, variant) in
        [Variant::MonolithicSparse, Variant::SplitSparse, Variant::MonolithicFlat, Variant::SplitFlat]
            .into_iter()
            .enumerate()
    {
        let name = format!("x{number}.vmdk");
        let disk = Create::new(variant, 0).create(&folder, &name).unwrap();
        disk.write_all_at(&[], 0).unwrap();
        disk.close().unwrap();
        assert_eq!(Disk::open(&folder, &name).unwrap().map(0..10).count(), 0);
    }
}

#[test]
fn children_find_their_parents_in_other_directories_and_beside_them() {
    let (memory, folder) = folder();
    let base = Create::new(Variant::MonolithicFlat, 1 << 20).create(&folder, "templates/base.vmdk").unwrap();
    base.write_all_at(b"base", 0).unwrap();
    base.close().unwrap();
    vmdk::create_child(&folder, "templates/base.vmdk", "clones/a/clone.vmdk").unwrap().close().unwrap();
    let clone = Disk::open(&folder, "clones/a/clone.vmdk").unwrap();
    assert_eq!(clone.links()[0].descriptor().parent_hint(), Some("../../templates/base.vmdk"));
    assert_eq!(&content(&clone)[..4], b"base");
    drop(clone);

    // Both were copied into one folder, without a change to the hint.
    for name in ["templates/base.vmdk", "templates/base-flat.vmdk", "clones/a/clone.vmdk"] {
        let here = name.rsplit('/').next().unwrap();
        memory.insert(here, memory.content(name).unwrap());
        folder.remove(name).unwrap();
    }
    assert_eq!(&content(&Disk::open(&folder, "clone.vmdk").unwrap())[..4], b"base");
    folder.remove("base.vmdk").unwrap();
    let error = Disk::open(&folder, "clone.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutsideFolder, "{error}");
}

/// What qemu and others do not compare: a child that is larger than its parent.
#[test]
fn links_of_two_capacities_are_refused() {
    let (memory, folder) = folder();
    Create::new(Variant::MonolithicFlat, 1 << 20).create(&folder, "base.vmdk").unwrap().close().unwrap();
    vmdk::create_child(&folder, "base.vmdk", "child.vmdk").unwrap().close().unwrap();
    let text = String::from_utf8(memory.content("base.vmdk").unwrap()).unwrap();
    memory.insert("base.vmdk", text.replace("RW 2048 FLAT", "RW 1024 FLAT"));
    let error = Disk::open(&folder, "child.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::CapacityDiffers, "{error}");
}

/// What stands in the text is changed while the disk is open, before and after it was written to, and lost by neither.
#[test]
fn the_descriptor_of_an_open_disk_is_edited() {
    for variant in [Variant::MonolithicSparse, Variant::SplitFlat] {
        let (_, folder) = folder();
        let mut disk = Create::new(variant, 1 << 20).create(&folder, "a.vmdk").unwrap();
        let first = disk.links()[0].descriptor().cid();
        disk.edit_descriptor(|descriptor| descriptor.set_ddb("before", "1")).unwrap();
        disk.write_all_at(b"text", 512).unwrap();
        disk.edit_descriptor(|descriptor| descriptor.set_ddb("after", "2")).unwrap();
        let renewed = disk.links()[0].descriptor().cid();
        assert_ne!(renewed, first);
        disk.write_all_at(b"more", 1024).unwrap();
        let refused = disk.edit_descriptor(|descriptor| {
            descriptor.set_ddb("lost", "3")?;
            descriptor.set_ddb("no key", "")
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        disk.close().unwrap();
        let mut disk = Disk::open(&folder, "a.vmdk").unwrap();
        let descriptor = disk.links()[0].descriptor().clone();
        assert_eq!((descriptor.ddb("before"), descriptor.ddb("after")), (Some("1"), Some("2")));
        assert_eq!((descriptor.ddb("lost"), descriptor.cid()), (None, renewed));
        assert_eq!(&content(&disk)[512..516], b"text");
        let error = disk.edit_descriptor(|_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        // Not written to again, so the next write renews the id once more.
        let mut disk = OpenOptions::new().writable(true).open(&folder, "a.vmdk").unwrap();
        disk.edit_descriptor(|descriptor| descriptor.set_ddb("again", "4")).unwrap();
        disk.write_all_at(b"last", 0).unwrap();
        disk.close().unwrap();
        let descriptor = Disk::open(&folder, "a.vmdk").unwrap().links()[0].descriptor().clone();
        assert_eq!(descriptor.ddb("again"), Some("4"));
        assert_ne!(descriptor.cid(), renewed);
    }
}

#[test]
fn a_child_is_split_or_in_one_file_and_nothing_else() {
    let (memory, folder) = folder();
    let base = Create::new(Variant::MonolithicSparse, 3 << 30).create(&folder, "a.vmdk").unwrap();
    base.write_all_at(b"base", 0).unwrap();
    base.close().unwrap();
    let child = vmdk::create_child_as(&folder, "a.vmdk", "b.vmdk", Variant::SplitSparse).unwrap();
    child.write_all_at(b"child", 2 << 30).unwrap();
    child.close().unwrap();
    let child = Disk::open(&folder, "b.vmdk").unwrap();
    let mut bytes = [0; 5];
    child.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes[..4], b"base");
    child.read_exact_at(&mut bytes, 2 << 30).unwrap();
    assert_eq!(&bytes, b"child");
    assert!(memory.content("b-s002.vmdk").is_some());
    let error = vmdk::create_child_as(&folder, "a.vmdk", "c.vmdk", Variant::VmfsThin).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
