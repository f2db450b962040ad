//! `vmdk-core`, a reader by others, on what is written here.
//!
//! It is not asked about children: in 0.8.4 what a delta does not have reads as zeros instead of as the parent, also where qemu
//! reads the parent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use vmdk::{Create, Folder, LocalFolder, StreamOptions, StreamWriter, Variant};

fn local(path: &Path) -> Arc<dyn Folder> {
    Arc::new(LocalFolder::new(path).unwrap())
}

fn theirs(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    second_opinion::VmdkReader::open_path(path).unwrap().read_to_end(&mut bytes).unwrap();
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
        }
        let options = StreamOptions::new(capacity);
        let mut writer = StreamWriter::new(File::create(folder.path().join("s.vmdk")).unwrap(), "s.vmdk", options).unwrap();
        writer.write_from(&expected, |offset| Ok((offset < capacity).then_some(offset..capacity))).unwrap();
        writer.finish().unwrap();
        prop_assert!(theirs(&folder.path().join("s.vmdk")) == expected, "a stream");
    }
}
