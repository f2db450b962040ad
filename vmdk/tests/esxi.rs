//! Snapshots of ESXi: vmfsSparse and SESparse over a flat base, and chains of both kinds of links.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/campaign.rs"]
mod campaign;
#[path = "files/disks.rs"]
mod disks;
#[path = "files/esxi.rs"]
mod esxi_files;

use std::sync::Arc;

use disks::content;
use esxi_files::{Grain, cowd, descriptor, sesparse};
use proptest::prelude::*;
use vmdk::{
    Create, Disk, EntryOne, ErrorKind, Folder, Journal, MemoryFolder, OpenOptions, Policy, State, Unmapped,
    Variant,
};

/// A flat base whose every sector is told from the others.
fn base(sectors: u64) -> (MemoryFolder, Arc<dyn Folder>, Vec<u8>, String) {
    let memory = MemoryFolder::new();
    let folder: Arc<dyn Folder> = Arc::new(memory.clone());
    let content: Vec<u8> = (0..sectors).flat_map(|sector| [(sector % 251) as u8 + 1; 512]).collect();
    let disk = Create::new(Variant::Vmfs, sectors * 512).create(&folder, "vm.vmdk").unwrap();
    disk.write_all_at(&content, 0).unwrap();
    disk.close().unwrap();
    let cid = Disk::open(&folder, "vm.vmdk").unwrap().links()[0].descriptor().cid().to_string();
    (memory, folder, content, cid)
}

proptest! {
    #![proptest_config(campaign::slice(48))]

    #[test]
    fn a_vmfs_sparse_delta_is_read_over_its_base(
        sectors in 1_u64..9000,
        written in prop::collection::btree_map(0_u64..9000, any::<u8>(), 0..200),
    ) {
        let (memory, folder, mut expected, cid) = base(sectors);
        let grains: Vec<(u64, Vec<u8>)> =
            written.into_iter().filter(|(grain, _)| *grain < sectors).map(|(grain, byte)| (grain, vec![byte; 512])).collect();
        for (grain, bytes) in &grains {
            expected[*grain as usize * 512..][..512].copy_from_slice(bytes);
        }
        memory.insert("vm-000001-delta.vmdk", cowd(sectors as u32, &grains));
        memory.insert(
            "vm-000001.vmdk",
            descriptor("vmfsSparse", "VMFSSPARSE", sectors, "vm-000001-delta.vmdk", ("vm.vmdk", &cid)),
        );
        let disk = Disk::open(&folder, "vm-000001.vmdk").unwrap();
        prop_assert!(content(&disk) == expected);
        let own: u64 = disk.map(0..disk.capacity()).map(Result::unwrap).filter(|span| span.link == Some(0)).map(|span| span.length).sum();
        prop_assert_eq!(own, grains.len() as u64 * 512);
    }

    #[test]
    fn an_se_sparse_delta_is_read_over_its_base(
        sectors in 1_u64..36_000,
        written in prop::collection::btree_map(0_u64..8800, (0_u8..3, any::<u8>()), 0..60),
    ) {
        let (memory, folder, mut expected, cid) = base(sectors);
        let mut grains = Vec::new();
        for (grain, (state, byte)) in written {
            let start = grain as usize * 4096;
            if start >= expected.len() {
                continue;
            }
            let end = expected.len().min(start + 4096);
            expected[start..end].fill(if state == 0 { byte } else { 0 });
            grains.push((grain, match state {
                0 => Grain::Data(vec![byte; 4096]),
                1 => Grain::Zero,
                _ => Grain::Unmapped,
            }));
        }
        memory.insert("vm-000001-sesparse.vmdk", sesparse(sectors, &grains));
        memory.insert(
            "vm-000001.vmdk",
            descriptor("seSparse", "SESPARSE", sectors, "vm-000001-sesparse.vmdk", ("vm.vmdk", &cid)),
        );
        let has_unmapped = grains.iter().any(|(_, grain)| *grain == Grain::Unmapped);
        let strict = Disk::open(&folder, "vm-000001.vmdk").unwrap();
        let mut whole = vec![0; expected.len()];
        match strict.read_exact_at(&mut whole, 0) {
            Ok(()) => prop_assert!(!has_unmapped && whole == expected),
            Err(error) => prop_assert!(has_unmapped && error.kind() == ErrorKind::Disputed, "{}", error),
        }
        let mut policy = Policy::default();
        policy.unmapped = Unmapped::Zero;
        let disk = OpenOptions::new().policy(policy).open(&folder, "vm-000001.vmdk").unwrap();
        prop_assert!(content(&disk) == expected);
    }
}

/// One above the other, as on a disk that has both and a child of ours on top.
#[test]
fn links_of_all_kinds_make_one_disk() {
    let sectors = 40_000;
    let (memory, folder, mut expected, cid) = base(sectors);
    memory.insert(
        "vm-000001-delta.vmdk",
        cowd(sectors as u32, &[(7, vec![0xC0; 512]), (39_999, vec![0xC1; 512])]),
    );
    memory.insert(
        "vm-000001.vmdk",
        descriptor("vmfsSparse", "VMFSSPARSE", sectors, "vm-000001-delta.vmdk", ("vm.vmdk", &cid)),
    );
    let grains = [(1, Grain::Data(vec![0x5E; 4096])), (4097, Grain::Zero)];
    memory.insert("vm-000002-sesparse.vmdk", sesparse(sectors, &grains));
    let text = descriptor(
        "seSparse",
        "SESPARSE",
        sectors,
        "vm-000002-sesparse.vmdk",
        ("vm-000001.vmdk", "0a0b0c0d"),
    );
    memory.insert(
        "vm-000002.vmdk",
        text.replace("CID=0a0b0c0d\n", "CID=77777777\n").replace("parentCID=77777777", "parentCID=0a0b0c0d"),
    );
    let top = vmdk::create_child(&folder, "vm-000002.vmdk", "vm-000003.vmdk").unwrap();
    top.write_all_at(&[0xAA; 100], 9000).unwrap();
    top.close().unwrap();

    expected[7 * 512..8 * 512].fill(0xC0);
    expected[39_999 * 512..].fill(0xC1);
    expected[4096..8192].fill(0x5E);
    expected[4097 * 4096..4098 * 4096].fill(0);
    expected[9000..9100].fill(0xAA);
    let disk = Disk::open(&folder, "vm-000003.vmdk").unwrap();
    assert_eq!(disk.links().len(), 4);
    assert!(content(&disk) == expected);
    let links: Vec<_> =
        disk.map(0..16 * 4096).map(Result::unwrap).map(|span| (span.offset, span.state, span.link)).collect();
    assert_eq!(links[0], (0, State::Data, Some(0)), "the child's first grain was written to");
    let error = OpenOptions::new().writable(true).open(&folder, "vm-000002.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
}

#[test]
fn a_journal_that_was_not_replayed_is_refused_unless_told() {
    let (memory, folder, _, cid) = base(100);
    let mut file = sesparse(100, &[(1, Grain::Data(vec![9; 4096]))]);
    file[512 + 24] = 1;
    memory.insert("vm-000001-sesparse.vmdk", file);
    memory.insert(
        "vm-000001.vmdk",
        descriptor("seSparse", "SESPARSE", 100, "vm-000001-sesparse.vmdk", ("vm.vmdk", &cid)),
    );
    let error = Disk::open(&folder, "vm-000001.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Disputed, "{error}");
    let mut policy = Policy::default();
    policy.journal = Journal::Ignore;
    OpenOptions::new().policy(policy).open(&folder, "vm-000001.vmdk").unwrap();
}

#[test]
fn entry_one_of_a_cowd_table_is_refused_unless_told() {
    let (memory, folder, _, cid) = base(100);
    let mut file = cowd(100, &[(3, vec![9; 512])]);
    let table = 2048 + 512;
    file[table + 4 * 4..][..4].copy_from_slice(&1_u32.to_le_bytes());
    memory.insert("vm-000001-delta.vmdk", file);
    memory.insert(
        "vm-000001.vmdk",
        descriptor("vmfsSparse", "VMFSSPARSE", 100, "vm-000001-delta.vmdk", ("vm.vmdk", &cid)),
    );
    let mut sector = [1; 512];
    let disk = Disk::open(&folder, "vm-000001.vmdk").unwrap();
    disk.read_exact_at(&mut sector, 3 * 512).unwrap();
    assert_eq!(disk.read_exact_at(&mut sector, 4 * 512).unwrap_err().kind(), ErrorKind::Disputed);
    let mut policy = Policy::default();
    policy.entry_one = EntryOne::Zero;
    let disk = OpenOptions::new().policy(policy).open(&folder, "vm-000001.vmdk").unwrap();
    disk.read_exact_at(&mut sector, 4 * 512).unwrap();
    assert_eq!(sector, [0; 512]);
}

/// Cut anywhere, a delta either can't be opened or fails where the missing bytes are: it never reads as its parent.
#[test]
fn a_delta_that_was_cut_is_an_error_and_not_the_parent() {
    let sectors = 5000;
    let (memory, folder, _, cid) = base(sectors);
    let files = [
        ("vmfsSparse", "VMFSSPARSE", cowd(sectors as u32, &[(3, vec![9; 512]), (4500, vec![8; 512])])),
        (
            "seSparse",
            "SESPARSE",
            sesparse(sectors, &[(3, Grain::Data(vec![9; 4096])), (600, Grain::Data(vec![8; 4096]))]),
        ),
    ];
    for (create_type, extent_type, whole) in files {
        memory.insert("d.vmdk", descriptor(create_type, extent_type, sectors, "delta", ("vm.vmdk", &cid)));
        for length in (0..whole.len()).step_by(509) {
            memory.insert("delta", &whole[..length]);
            let Ok(disk) = Disk::open(&folder, "d.vmdk") else { continue };
            let mut all = vec![0; disk.capacity() as usize];
            assert!(disk.read_exact_at(&mut all, 0).is_err(), "{create_type} cut to {length} bytes was read");
        }
        memory.insert("delta", whole);
        content(&Disk::open(&folder, "d.vmdk").unwrap());
    }
}
