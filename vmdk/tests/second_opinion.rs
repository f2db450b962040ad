//! Readers by others, on what is written here: `vmdk-core`, and `imago`, which knows flat disks alone.
//!
//! `vmdk-core` is not asked about children: in 0.8.4 what a delta does not have reads as zeros instead of as the parent, also where qemu
//! reads the parent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/disks.rs"]
mod disks;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use disks::local;
use imago::FormatDriverBuilder;
use proptest::prelude::*;
use vmdk::{Create, StreamOptions, StreamWriter, Variant};

fn theirs(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    second_opinion::VmdkReader::open_path(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// It refuses two keys of ESXi's, so they are left out for it.
fn imagos(path: &Path, capacity: usize) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let known =
        text.lines().filter(|line| !line.starts_with("encoding=") && !line.starts_with("isNativeSnapshot="));
    fs::write(path, known.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let disk = imago::vmdk::Vmdk::<imago::file::File>::builder_path(path)
        .open(imago::PermissiveImplicitOpenGate::default())
        .unwrap();
    let disk = imago::FormatAccess::new(disk);
    assert_eq!(disk.size() as usize, capacity);
    let mut bytes = vec![0xEE; capacity];
    disk.read(bytes.as_mut_slice(), 0).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_written_is_read_alike(
        sectors in 1_u64..2000,
        writes in prop::collection::vec((0_u64..1_000_000, 1..100_000_usize, 1..=255_u8), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let capacity = sectors * 512;
        let mut expected = vec![0; capacity as usize];
        for (offset, length, byte) in &writes {
            let start = (*offset % capacity) as usize;
            let end = expected.len().min(start + length);
            expected[start..end].fill(*byte);
        }
        for variant in [Variant::MonolithicSparse, Variant::SplitSparse, Variant::MonolithicFlat, Variant::SplitFlat] {
            let name = format!("{variant:?}.vmdk");
            let disk = Create::new(variant, capacity).split(1024).create(&local(folder.path()), &name).unwrap();
            disk.write_all_at(&expected, 0).unwrap();
            disk.close().unwrap();
            prop_assert!(theirs(&folder.path().join(&name)) == expected, "{}", name);
            if matches!(variant, Variant::MonolithicFlat | Variant::SplitFlat) {
                prop_assert!(imagos(&folder.path().join(&name), expected.len()) == expected, "imago, {}", name);
            }
        }
        let options = StreamOptions::new(capacity);
        let mut writer = StreamWriter::new(File::create(folder.path().join("s.vmdk")).unwrap(), "s.vmdk", options).unwrap();
        writer.write_from(&expected, |offset| Ok((offset < capacity).then_some(offset..capacity))).unwrap();
        writer.finish().unwrap();
        prop_assert!(theirs(&folder.path().join("s.vmdk")) == expected, "a stream");
    }
}
