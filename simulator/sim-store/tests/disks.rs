//! Disks and chains: content, errors, locks, snapshots, reverts, merges.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sim_store::snapshot::{self, Removal};
use sim_store::{
    Access, DeltaFormat, Descriptor, Disk, DiskSpec, DiskUuid, ErrorKind, Extent, LinkKind, Provisioning,
    Scope, delete, grow,
};

const FORMATS: [DeltaFormat; 2] = [DeltaFormat::VmfsSparse, DeltaFormat::SeSparse];
const MIB: u64 = 1 << 20;

fn base(folder: &Path, capacity: u64) -> PathBuf {
    let path = folder.join("vm.vmdk");
    Disk::create(&path, &DiskSpec::thin(capacity)).unwrap();
    path
}

fn rw(path: &Path) -> Disk {
    Disk::open(path, Access::ReadWrite, Scope::WholeChain).unwrap()
}

fn ro(path: &Path) -> Disk {
    Disk::open(path, Access::ReadOnly, Scope::WholeChain).unwrap()
}

fn byte_at(disk: &Disk, offset: u64) -> u8 {
    let mut byte = [0];
    disk.read_at(offset, &mut byte).unwrap();
    byte[0]
}

fn nothing(_: u64, _: u64) {}

#[test]
fn a_base_disk_is_what_esxi_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("übung.vmdk");
    let uuid: DiskUuid = "60 00 C2 93 7b a0 3a 9a-00 11 22 33 44 55 66 77".parse().unwrap();
    let spec = DiskSpec { uuid: Some(uuid), ..DiskSpec::thin(40 << 30) };
    drop(Disk::create(&path, &spec).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    for line in [
        "version=1",
        "parentCID=ffffffff",
        "createType=\"vmfs\"",
        "RW 83886080 VMFS \"übung-flat.vmdk\"",
        "ddb.adapterType = \"lsilogic\"",
        "ddb.geometry.cylinders = \"5221\"",
        "ddb.thinProvisioned = \"1\"",
        "ddb.uuid = \"60 00 C2 93 7b a0 3a 9a-00 11 22 33 44 55 66 77\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let descriptor = Descriptor::load(&path).unwrap();
    assert!(descriptor.ddb["longContentID"].ends_with(&format!("{:08x}", descriptor.cid.0)));
    assert_eq!(fs::metadata(folder.path().join("übung-flat.vmdk")).unwrap().len(), 40 << 30);
    let again = Disk::create(&path, &spec).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn content_id_changes_once_per_writing_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let cid = || Descriptor::load(&path).unwrap().cid;
    let first = cid();
    let disk = rw(&path);
    assert_eq!(cid(), first);
    disk.write_at(0, b"a").unwrap();
    let second = cid();
    assert_ne!(second, first);
    disk.write_at(0, b"b").unwrap();
    assert_eq!(cid(), second);
    drop(disk);
    rw(&path).zero_at(0, 1).unwrap();
    assert_ne!(cid(), second);
}

#[test]
fn one_writer_many_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let writer = rw(&path);
    let second = Disk::open(&path, Access::ReadWrite, Scope::WholeChain).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    assert_eq!(snapshot::create(&path).unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(delete(&path).unwrap_err().kind(), ErrorKind::Locked);
    let reader = ro(&path);
    writer.write_at(5, b"x").unwrap();
    assert_eq!(byte_at(&reader, 5), b'x');
    assert_eq!(reader.write_at(5, b"y").unwrap_err().kind(), ErrorKind::ReadOnly);
    drop(writer);
    rw(&path).write_at(5, b"z").unwrap();
    assert_eq!(byte_at(&reader, 5), b'z');
}

#[test]
fn ranges_outside_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = rw(&base(folder.path(), MIB + 512));
    let mut buffer = [0; 2];
    for offset in [MIB + 511, MIB + 512, u64::MAX, u64::MAX - 1] {
        assert_eq!(disk.read_at(offset, &mut buffer).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(disk.write_at(offset, &buffer).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(disk.zero_at(offset, 2).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(disk.allocated(offset, 2).unwrap_err().kind(), ErrorKind::OutOfRange);
    }
    disk.write_at(MIB + 510, &buffer).unwrap();
    for capacity in [0, 100, u64::MAX, (62 << 40) + 512] {
        let error = Disk::create(folder.path().join("x.vmdk"), &DiskSpec::thin(capacity)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn lost_bytes_are_never_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), 4 * MIB);
    let flat = folder.path().join("vm-flat.vmdk");
    fs::OpenOptions::new().write(true).open(&flat).unwrap().set_len(MIB).unwrap();
    let disk = rw(&path);
    assert_eq!(byte_at(&disk, MIB - 1), 0);
    let mut buffer = [0; 1024];
    assert_eq!(disk.read_at(MIB - 512, &mut buffer).unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(disk.write_at(3 * MIB, &buffer).unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(disk.zero_at(3 * MIB, 10).unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(disk.allocated(0, 4 * MIB).unwrap(), [Extent { offset: MIB, length: 3 * MIB }]);
    drop(disk);
    let child = snapshot::create(&path).unwrap().child;
    assert_eq!(ro(&child).read_at(2 * MIB, &mut buffer).unwrap_err().kind(), ErrorKind::Truncated);
}

#[test]
fn lost_bytes_of_a_child_are_never_zeros() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), 64 * MIB);
        let taken = snapshot::create_as(&path, format).unwrap();
        let writer = rw(&taken.child);
        writer.write_at(0, &vec![1; MIB as usize]).unwrap();
        writer.write_at(40 * MIB, &[2; 4096]).unwrap();
        let extent = writer.links()[0].extent.clone();
        let length = fs::metadata(&extent).unwrap().len();
        drop(writer);
        let reader = ro(&taken.child);
        let cut = |length| fs::OpenOptions::new().write(true).open(&extent).unwrap().set_len(length).unwrap();
        cut(length - 512);
        let mut buffer = [0; 4096];
        assert_eq!(reader.read_at(40 * MIB, &mut buffer).unwrap_err().kind(), ErrorKind::Truncated);
        let lost = [Extent { offset: 40 * MIB, length: 4096 }];
        assert_eq!(reader.allocated(2 * MIB, 62 * MIB).unwrap(), lost);
        for length in [length - 512, length / 2, 512, 0] {
            cut(length);
            let error = Disk::open(&taken.child, Access::ReadOnly, Scope::WholeChain).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Corrupt), "{length}: {error}");
        }
    }
}

#[test]
fn hostile_deltas_are_errors() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), 20 * MIB);
        let taken = snapshot::create_as(&path, format).unwrap();
        rw(&taken.child).write_at(0, &[1; 8192]).unwrap();
        let extent = ro(&taken.child).links()[0].extent.clone();
        let good = fs::read(&extent).unwrap();
        // Every word that says something, and some of those that do not.
        let says = |at: &usize| good[*at..at + 4] != [0; 4] || at.is_multiple_of(2036);
        for at in (0..good.len() - 8192).step_by(4).filter(says) {
            for word in [1_u32, 5, 0x7fff_ffff, u32::MAX] {
                let mut bytes = good.clone();
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                fs::write(&extent, &bytes).unwrap();
                let Ok(disk) = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain) else {
                    continue;
                };
                let mut buffer = [0; 16384];
                // Whatever comes of it is an error or some bytes, not a panic.
                let _ = disk.read_at(0, &mut buffer);
                let _ = disk.allocated(0, 20 * MIB);
                let _ = disk.write_at(4096, &buffer).and_then(|()| disk.zero_at(512, 16384));
            }
        }
    }
}

/// Before it had ESXi's formats, the simulator had one of its own in files of the same name.
#[test]
fn children_of_an_older_simulator_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let child = snapshot::create(&path).unwrap().child;
    let mut old = vec![0; MIB as usize + 4096 + 2];
    old[MIB as usize..][..12].copy_from_slice(b"SIMDELTA\x01\0\0\0");
    fs::write(folder.path().join("vm-000001-delta.vmdk"), old).unwrap();
    let error = Disk::open(&child, Access::ReadOnly, Scope::TopLink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("older simulator"), "{error}");
}

#[test]
fn a_chain_has_one_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let kind = |path: &Path| Descriptor::load(path).unwrap().kind;
    let first = snapshot::create(&path).unwrap().child;
    assert_eq!(kind(&first), LinkKind::Delta(DeltaFormat::VmfsSparse));
    let error = snapshot::create_as(&first, DeltaFormat::SeSparse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    snapshot::remove_link(&path, &[], &mut nothing).unwrap();

    let first = snapshot::create_as(&path, DeltaFormat::SeSparse).unwrap().child;
    assert!(folder.path().join("vm-000001-sesparse.vmdk").exists());
    let second = snapshot::create(&first).unwrap().child;
    assert_eq!(kind(&second), LinkKind::Delta(DeltaFormat::SeSparse));
    assert_eq!(ro(&second).links()[0].extent, folder.path().join("vm-000002-sesparse.vmdk"));
    // Also where a revert goes down to the base disk.
    let live = snapshot::revert(&second, &path, &[]).unwrap();
    assert_eq!(kind(&live), LinkKind::Delta(DeltaFormat::SeSparse));
    let text = fs::read_to_string(&live).unwrap();
    assert!(
        text.contains("createType=\"seSparse\"\n") && text.contains("RW 2048 SESPARSE \"vm-000003-sesparse")
    );
    // By hand, since nothing here makes such a chain.
    snapshot::create(&live).unwrap();
    let other = folder.path().join("other.vmdk");
    drop(Disk::create(&other, &DiskSpec::thin(MIB)).unwrap());
    let over = snapshot::create(&other).unwrap().child;
    let cid = format!("parentCID={:08x}", Descriptor::load(&live).unwrap().cid.0);
    let text = fs::read_to_string(&over).unwrap().replace("other.vmdk", "vm-000003.vmdk");
    let old = format!("parentCID={:08x}", Descriptor::load(&over).unwrap().parent_cid.0);
    fs::write(&over, text.replace(&old, &cid)).unwrap();
    let error = Disk::open(&over, Access::ReadOnly, Scope::WholeChain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ChainBroken);
    assert!(error.to_string().contains("mixes"), "{error}");
}

#[test]
fn two_tebibytes_need_sesparse() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = (3 << 40) + 512;
    let path = base(folder.path(), capacity);
    let error = snapshot::create_as(&path, DeltaFormat::VmfsSparse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let taken = snapshot::create(&path).unwrap();
    assert_eq!(Descriptor::load(&taken.child).unwrap().kind, LinkKind::Delta(DeltaFormat::SeSparse));
    let disk = rw(&taken.child);
    let marks = [0, (2 << 40) - 1, 2 << 40, capacity - 1];
    for (number, mark) in (1..).zip(marks) {
        disk.write_at(mark, &[number]).unwrap();
    }
    disk.zero_at(1 << 40, 1 << 40).unwrap();
    disk.write_at(marks[1], &[2]).unwrap();
    for (number, mark) in (1..).zip(marks) {
        assert_eq!(byte_at(&disk, mark), number);
    }
    let allocated = disk.allocated(0, capacity).unwrap();
    assert_eq!(allocated.iter().map(|extent| extent.length).sum::<u64>(), 3 * 4096 + 512);
    drop(disk);
    let blocks = fs::metadata(folder.path().join("vm-000001-sesparse.vmdk")).unwrap().blocks();
    assert!(blocks * 512 < MIB, "{blocks} blocks are not next to nothing");
    snapshot::remove_link(&path, &[], &mut nothing).unwrap();
    assert_eq!(byte_at(&ro(&path), capacity - 1), 4);

    let path = folder.path().join("just.vmdk");
    drop(Disk::create(&path, &DiskSpec::thin((2 << 40) - 512)).unwrap());
    let child = snapshot::create(&path).unwrap().child;
    assert_eq!(Descriptor::load(&child).unwrap().kind, LinkKind::Delta(DeltaFormat::VmfsSparse));
    let disk = rw(&child);
    disk.write_at((2 << 40) - 513, b"z").unwrap();
    assert_eq!(byte_at(&ro(&child), (2 << 40) - 513), b'z');
}

/// Guests discard all that is free. Where the parents have nothing, that takes no room.
#[test]
fn zeros_over_nothing_are_not_held() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), 64 << 30);
        rw(&path).write_at(MIB, &[1; 8192]).unwrap();
        let child = snapshot::create_as(&path, format).unwrap().child;
        let disk = rw(&child);
        disk.zero_at(0, 64 << 30).unwrap();
        assert_eq!(byte_at(&disk, MIB), 0);
        assert_eq!(disk.allocated(0, 64 << 30).unwrap(), []);
        let blocks = fs::metadata(&disk.links()[0].extent).unwrap().blocks();
        assert!(blocks * 512 < MIB, "{format:?}: {blocks} blocks");
        assert_eq!(byte_at(&ro(&path), MIB), 1);
    }
}

#[test]
fn allocation_follows_writes_and_discards() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), 64 * MIB);
        let disk = rw(&path);
        assert_eq!(disk.allocated(0, 64 * MIB).unwrap(), []);
        disk.write_at(8 * MIB, &vec![1; MIB as usize]).unwrap();
        disk.write_at(32 * MIB, &vec![1; MIB as usize]).unwrap();
        disk.zero_at(32 * MIB, MIB).unwrap();
        let written = Extent { offset: 8 * MIB, length: MIB };
        assert_eq!(disk.allocated(0, 64 * MIB).unwrap(), [written]);
        drop(disk);
        let top = snapshot::create_as(&path, format).unwrap().child;
        let disk = rw(&top);
        assert_eq!(disk.allocated(0, 64 * MIB).unwrap(), [written]);
        disk.zero_at(8 * MIB, MIB / 2).unwrap();
        disk.write_at(40 * MIB, b"x").unwrap();
        assert_eq!(byte_at(&disk, 8 * MIB), 0);
        assert_eq!(byte_at(&disk, 8 * MIB + MIB / 2), 1);
        let found = disk.allocated(0, 64 * MIB).unwrap();
        assert_eq!(found[0], Extent { offset: 8 * MIB + MIB / 2, length: MIB / 2 });
        assert_eq!(found.len(), 2);
        let only = Disk::open(&top, Access::ReadOnly, Scope::TopLink).unwrap();
        assert_eq!(only.allocated(0, 64 * MIB).unwrap(), &found[1..]);
        assert_eq!(byte_at(&only, 8 * MIB + MIB / 2), 0);
        // What the child itself had, too, and what is written there again.
        disk.write_at(48 * MIB, &vec![1; MIB as usize]).unwrap();
        disk.zero_at(48 * MIB - 512, 2 * MIB).unwrap();
        assert_eq!(disk.allocated(41 * MIB, 23 * MIB).unwrap(), []);
        disk.write_at(48 * MIB + 8192, &[3; 4096]).unwrap();
        let again = [Extent { offset: 48 * MIB + 8192, length: 4096 }];
        assert_eq!(disk.allocated(41 * MIB, 23 * MIB).unwrap(), again);
    }
    let folder = tempfile::tempdir().unwrap();
    let eager = DiskSpec { provisioning: Provisioning::EagerThick, ..DiskSpec::thin(MIB) };
    let path = folder.path().join("eager.vmdk");
    let disk = Disk::create(&path, &eager).unwrap();
    assert_eq!(disk.allocated(512, 1024).unwrap(), [Extent { offset: 512, length: 1024 }]);
    assert_eq!(ro(&path).provisioning(), Provisioning::EagerThick);
}

#[test]
fn partial_grains_are_filled_from_the_parent() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), MIB + 512);
        rw(&path).write_at(0, &vec![7; MIB as usize + 512]).unwrap();
        let top = snapshot::create_as(&path, format).unwrap().child;
        let disk = Disk::open(&top, Access::ReadWrite, Scope::TopLink).unwrap();
        disk.write_at(65_530, &[9; 12]).unwrap();
        disk.zero_at(MIB + 511, 1).unwrap();
        let disk = ro(&top);
        let mut all = vec![0; MIB as usize + 512];
        disk.read_at(0, &mut all).unwrap();
        let mut expected = vec![7; MIB as usize + 512];
        expected[65_530..65_542].fill(9);
        expected[MIB as usize + 511] = 0;
        assert!(all == expected);
    }
}

#[test]
fn top_link_without_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let top = snapshot::create(&path).unwrap().child;
    fs::remove_file(&path).unwrap();
    let whole = Disk::open(&top, Access::ReadOnly, Scope::WholeChain).unwrap_err();
    assert_eq!(whole.kind(), ErrorKind::ChainBroken);
    let disk = Disk::open(&top, Access::ReadWrite, Scope::TopLink).unwrap();
    disk.write_at(0, &[5; 65_536]).unwrap();
    assert_eq!(byte_at(&disk, 65_535), 5);
    assert_eq!(disk.write_at(65_536, &[5; 10]).unwrap_err().kind(), ErrorKind::ChainBroken);
}

#[test]
fn broken_chains_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let first = snapshot::create(&path).unwrap().child;
    let second = snapshot::create(&first).unwrap().child;
    let refused = |why: &str| {
        let error = Disk::open(&second, Access::ReadOnly, Scope::WholeChain).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChainBroken, "{why}");
    };
    let good = fs::read_to_string(&first).unwrap();
    fs::write(&first, good.replace("RW 2048", "RW 1024")).unwrap();
    refused("the middle link's capacity is wrong");
    fs::write(&first, good.replace("\"vm.vmdk\"", "\"vm-000002.vmdk\"")).unwrap();
    refused("the links form a loop");
    fs::write(&first, good.replace("\"vm.vmdk\"", "\"../vm.vmdk\"")).unwrap();
    refused("the parent is outside the folder");
    fs::write(&first, &good).unwrap();
    ro(&second);
    rw(&path).write_at(0, b"changed").unwrap();
    refused("the base was written under its children");
    // A revert makes a child over the base as it is now.
    let top = snapshot::revert(&second, &path, &[]).unwrap();
    assert_eq!(byte_at(&ro(&top), 0), b'c');
    assert!(!second.exists() && !first.exists());
}

#[test]
fn numbers_go_on_above_the_highest() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    fs::write(folder.path().join("vm-000007-delta.vmdk"), b"litter").unwrap();
    fs::write(folder.path().join("other-000099.vmdk"), b"of another disk").unwrap();
    let first = snapshot::create(&path).unwrap();
    assert_eq!(first.frozen, path);
    assert_eq!(first.child, folder.path().join("vm-000008.vmdk"));
    assert_eq!(snapshot::create(&path).unwrap_err().kind(), ErrorKind::InUse);
    let second = snapshot::create(&first.child).unwrap();
    assert_eq!(second.child, folder.path().join("vm-000009.vmdk"));
}

#[test]
fn removing_the_only_snapshot_leaves_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), 4 * MIB);
    rw(&path).write_at(0, b"old old").unwrap();
    rw(&path).write_at(MIB, b"gone").unwrap();
    let taken = snapshot::create(&path).unwrap();
    let top = rw(&taken.child);
    top.write_at(0, b"new").unwrap();
    top.zero_at(MIB, 65_536).unwrap();
    assert_eq!(snapshot::remove_link(&path, &[], &mut nothing).unwrap_err().kind(), ErrorKind::Locked);
    drop(top);
    let content_id = ro(&taken.child).metadata("longContentID").unwrap();
    let reader = ro(&taken.child);
    let mut steps = Vec::new();
    let removal = snapshot::remove_link(&path, &[], &mut |done, total| steps.push((done, total))).unwrap();
    assert_eq!(removal, Removal::Merged { child: taken.child.clone(), survivor: path.clone() });
    assert_eq!(steps.last(), Some(&(4 * MIB, 4 * MIB)));
    // Who had the chain open still reads it.
    assert_eq!(byte_at(&reader, 0), b'n');
    assert_eq!(reader.metadata("longContentID").unwrap(), content_id);
    assert!(!taken.child.exists() && !folder.path().join("vm-000001-delta.vmdk").exists());
    let disk = ro(&path);
    let mut text = [0; 7];
    disk.read_at(0, &mut text).unwrap();
    assert_eq!(&text, b"new old");
    assert_eq!(byte_at(&disk, MIB), 0);
    assert_eq!(disk.metadata("longContentID").unwrap(), content_id);
    assert_eq!(disk.allocated(MIB, 65_536).unwrap(), []);
    assert_eq!(snapshot::remove_link(&path, &[], &mut nothing).unwrap_err().kind(), ErrorKind::InUse);
}

#[test]
fn a_tree_of_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let s1 = base(folder.path(), MIB);
    rw(&s1).write_at(0, b"1").unwrap();
    let s2 = snapshot::create(&s1).unwrap().child;
    rw(&s2).write_at(0, b"2").unwrap();
    let top = snapshot::create(&s2).unwrap().child;
    rw(&top).write_at(0, b"x").unwrap();
    let owned = [s1.clone(), s2.clone()];
    let live = snapshot::revert(&top, &s1, &owned).unwrap();
    assert!(!top.exists());
    assert_eq!(byte_at(&ro(&live), 0), b'1');
    rw(&live).write_at(0, b"3").unwrap();
    // The first snapshot's link has two children: the second snapshot's and the live one.
    assert_eq!(snapshot::remove_link(&s1, &[], &mut nothing).unwrap(), Removal::Shared);
    assert!(!snapshot::needs_consolidation(&live, &owned[1..]).unwrap());
    assert_eq!(snapshot::consolidate(&live, &owned[1..], &mut nothing).unwrap(), []);
    assert_eq!((byte_at(&ro(&s2), 0), byte_at(&ro(&live), 0)), (b'2', b'3'));
    // Without the second snapshot the first link has one child, which is merged into it.
    assert_eq!(snapshot::remove_link(&s2, &[], &mut nothing).unwrap(), Removal::Deleted);
    assert!(snapshot::needs_consolidation(&live, &[]).unwrap());
    let merged = snapshot::consolidate(&live, &[], &mut nothing).unwrap();
    assert_eq!(merged, [Removal::Merged { child: live, survivor: s1.clone() }]);
    assert_eq!(byte_at(&ro(&s1), 0), b'3');
}

#[test]
fn merging_in_the_middle_keeps_an_open_writer_right() {
    let folder = tempfile::tempdir().unwrap();
    let s1 = base(folder.path(), MIB);
    rw(&s1).write_at(0, b"1").unwrap();
    let s2 = snapshot::create(&s1).unwrap().child;
    rw(&s2).write_at(1, b"2").unwrap();
    let live = snapshot::create(&s2).unwrap().child;
    let writer = rw(&live);
    let merged = snapshot::remove_link(&s1, &[], &mut nothing).unwrap();
    assert_eq!(merged, Removal::Merged { child: s2.clone(), survivor: s1.clone() });
    assert!(!s2.exists());
    writer.write_at(2, b"3").unwrap();
    for disk in [writer, ro(&live)] {
        let mut text = [0; 3];
        disk.read_at(0, &mut text).unwrap();
        assert_eq!(&text, b"123");
    }
    assert_eq!(Descriptor::load(&live).unwrap().parent_hint.as_deref(), Some("vm.vmdk"));
}

#[test]
fn a_merge_that_died_between_renames_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let s1 = base(folder.path(), MIB);
    let s2 = snapshot::create(&s1).unwrap().child;
    rw(&s2).write_at(0, b"2").unwrap();
    let live = snapshot::create(&s2).unwrap().child;
    // As if killed after the parent took over the content id, before anything else was renamed.
    rw(&s1).write_at(0, b"2").unwrap();
    let cid = |path: &Path| Descriptor::load(path).unwrap().cid.0;
    let text = fs::read_to_string(&s1).unwrap();
    fs::write(&s1, text.replace(&format!("{:08x}", cid(&s1)), &format!("{:08x}", cid(&s2)))).unwrap();
    assert_eq!((byte_at(&ro(&live), 0), byte_at(&ro(&s2), 0)), (b'2', b'2'));
    assert!(snapshot::needs_consolidation(&live, &[]).unwrap());
    snapshot::remove_link(&s1, &[], &mut nothing).unwrap();
    assert_eq!(byte_at(&ro(&live), 0), b'2');
    assert!(!s2.exists() && !snapshot::needs_consolidation(&live, std::slice::from_ref(&s1)).unwrap());
}

#[test]
fn a_merge_that_died_lets_the_guest_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path(), MIB);
    let live = snapshot::create(&base).unwrap().child;
    rw(&live).write_at(0, b"2").unwrap();
    rw(&base).write_at(0, b"2").unwrap();
    let cid = |path: &Path| Descriptor::load(path).unwrap().cid.0;
    let text = fs::read_to_string(&base).unwrap();
    fs::write(&base, text.replace(&format!("{:08x}", cid(&base)), &format!("{:08x}", cid(&live)))).unwrap();
    // As if the server had started again after the kill: it knows the child as the live disk.
    rw(&live).write_at(1, b"3").unwrap();
    let over = snapshot::create(&live).unwrap().child;
    rw(&over).write_at(2, b"4").unwrap();
    let owned = [live.clone()];
    let merged = snapshot::consolidate(&over, &owned, &mut nothing).unwrap();
    assert_eq!(merged, [Removal::Merged { child: live, survivor: base }]);
    let mut text = [0; 3];
    ro(&over).read_at(0, &mut text).unwrap();
    assert_eq!(&text, b"234");
}

#[test]
fn metadata_is_read_through_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    let top = snapshot::create(&path).unwrap().child;
    let disk = rw(&top);
    assert_eq!(disk.metadata("adapterType").unwrap(), "lsilogic");
    assert_eq!(disk.metadata("nothing").unwrap_err().kind(), ErrorKind::NotFound);
    disk.set_metadata("adapterType", "ide").unwrap();
    disk.set_metadata("toolsVersion", "2147483647").unwrap();
    assert_eq!(disk.metadata("adapterType").unwrap(), "ide");
    assert!(disk.metadata_keys().unwrap().contains(&"toolsVersion".to_owned()));
    for (key, value) in [("", "x"), ("a b", "x"), ("a=b", "x"), ("a", "x\ny"), ("a", "\"")] {
        assert_eq!(disk.set_metadata(key, value).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    drop(disk);
    assert_eq!(ro(&top).set_metadata("a", "b").unwrap_err().kind(), ErrorKind::ReadOnly);
    let base = ro(&path);
    assert_eq!(base.metadata("adapterType").unwrap(), "lsilogic");
    assert_eq!(ro(&top).uuid().unwrap(), base.uuid().unwrap());
}

#[test]
fn growing_and_deleting() {
    let folder = tempfile::tempdir().unwrap();
    let path = base(folder.path(), MIB);
    rw(&path).write_at(0, b"kept").unwrap();
    for wrong in [MIB, 512, MIB + 1] {
        assert_eq!(grow(&path, wrong).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    grow(&path, 2 * MIB).unwrap();
    let disk = ro(&path);
    assert_eq!((disk.capacity(), byte_at(&disk, 0), byte_at(&disk, 2 * MIB - 1)), (2 * MIB, b'k', 0));
    let top = snapshot::create(&path).unwrap().child;
    assert_eq!(grow(&path, 4 * MIB).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(grow(&top, 4 * MIB).unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(delete(&path).unwrap_err().kind(), ErrorKind::InUse);
    delete(&top).unwrap();
    delete(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_tebibyte_costs_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = 1 << 40;
    let path = base(folder.path(), capacity);
    sim_store::tracking::enable(&path, None).unwrap();
    rw(&path).write_at(capacity / 2, b"middle").unwrap();
    let taken = snapshot::create(&path).unwrap();
    rw(&taken.child).write_at(capacity - 1, b"z").unwrap();
    let disk = ro(&taken.child);
    assert_eq!((byte_at(&disk, capacity / 2), byte_at(&disk, capacity - 1)), (b'm', b'z'));
    assert_eq!(disk.allocated(0, capacity).unwrap().len(), 2);
    let id = taken.change_id.unwrap().to_string();
    let window = sim_store::tracking::query(&taken.child, &id, 0, 10).unwrap();
    assert_eq!((window.length, window.extents.len()), (capacity, 1));
    snapshot::remove_link(&path, &[], &mut nothing).unwrap();
    assert_eq!(byte_at(&ro(&path), capacity - 1), b'z');
}

#[test]
fn long_runs_of_grains_are_told_apart() {
    const GRAIN: u64 = 64 << 10;
    let mut held = [false; 300];
    // Runs of lengths that end in every bit of a byte, over more than one byte.
    let mut grain = 0;
    for length in 1..24 {
        grain += length;
        held[grain - length / 2..grain].fill(true);
    }
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = base(folder.path(), 300 * GRAIN);
        rw(&path).write_at(0, &vec![1; 300 * GRAIN as usize]).unwrap();
        let top = snapshot::create_as(&path, format).unwrap().child;
        let disk = rw(&top);
        for grain in (0..300).filter(|grain| held[*grain]) {
            disk.zero_at(grain as u64 * GRAIN, GRAIN).unwrap();
        }
        for (grain, &held) in held.iter().enumerate() {
            assert_eq!(byte_at(&disk, grain as u64 * GRAIN), u8::from(!held), "grain {grain}");
        }
        for start in [0, 1, 100] {
            let mut expected: Vec<Extent> = Vec::new();
            for grain in (start..300).filter(|grain| !held[*grain]) {
                let extent = Extent { offset: grain as u64 * GRAIN, length: GRAIN };
                match expected.last_mut() {
                    Some(last) if last.end() == extent.offset => last.length += GRAIN,
                    _ => expected.push(extent),
                }
            }
            let from = start as u64 * GRAIN;
            assert_eq!(disk.allocated(from, 300 * GRAIN - from).unwrap(), expected);
            let mut bytes = vec![9; (300 * GRAIN - from) as usize];
            disk.read_at(from, &mut bytes).unwrap();
            for (index, part) in bytes.chunks_exact(GRAIN as usize).enumerate() {
                assert!(part.iter().all(|&byte| byte == u8::from(!held[start + index])));
            }
        }
    }
}
