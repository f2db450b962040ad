//! Parsers under hostile bytes: an answer or an error, never a panic, and no memory for counts that the bytes only claim
//! (four billion entries would need more memory than a machine has, and end the test).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use vadp_repository::ErrorKind;
use vadp_repository::seam::{Fixed, FixedPack, Parse};

fn fixed() -> Fixed {
    Fixed { repository: [1; 16], identity: [2; 32], epoch_key: [3; 32], salt: [4; 32], object: [5; 16] }
}

fn pack() -> FixedPack {
    fixed().pack(false, &[(vec![7; 500], None), (vec![8; 600], None)]).unwrap()
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// The unsealed bodies, well formed, as the document describes them.
fn bodies() -> Vec<(Parse, Vec<u8>)> {
    let u32 = |value: u32| value.to_le_bytes().to_vec();
    let entry = [&[9; 32][..], &u32(64), &u32(116), &u32(100), &[0]].concat();
    let group = [&[5; 16][..], &pack().object[..64], &1_000_u64.to_le_bytes(), &u32(1), &entry].concat();
    let index = [u32(1), vec![6; 16], u32(2), group.clone(), group].concat();
    let disk = [&blob(b"disk")[..], &(1_u64 << 30).to_le_bytes(), &[0; 16], &[0; 80]].concat();
    let tags = [u32(1), blob(b"k"), blob(b"v")].concat();
    let extension = [&[1, 0, 0][..], &blob(b"later")].concat();
    let head = [blob(b"machine"), vec![0; 8], tags, u32(1), disk, u32(1), extension].concat();
    let body = [blob(b"metadata"), blob(b"of disk"), u32(1024), vec![3; 1024 * 32]].concat();
    let keyring = [vec![1; 32], u32(2), u32(1), vec![2; 32], u32(5), vec![3; 32]].concat();
    vec![
        (Parse::Entries, [u32(2), entry.clone(), entry].concat()),
        (Parse::IndexBody, index),
        (Parse::PointHead, head),
        (Parse::PointBody, body),
        (Parse::Keyring, keyring),
    ]
}

/// Whole objects, well formed.
fn objects() -> Vec<(Parse, Vec<u8>)> {
    let fixed = fixed();
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xe8, 0x02, 0x43, 0x1f, 0x00, 0x55];
    vec![
        (Parse::Config, fixed.config(1 << 20, 0)),
        (Parse::KeySlot, fixed.key_slot(Ok([1; 32]), 0).unwrap()),
        (Parse::Pack, pack().object),
        (Parse::Index, fixed.index(&[pack()]).unwrap()),
        (Parse::Point, fixed.point("m", 0, "d", 1 << 30, &[[1; 32]]).unwrap()),
        (Parse::Page, fixed.page(&[[1; 32]])),
        (Parse::Frame, frame.to_vec()),
    ]
}

/// That from which the fuzz target `repository_object` begins.
#[test]
fn the_corpus_is_what_the_formats_are() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/repository_object");
    for (what, bytes) in bodies().into_iter().chain(objects()) {
        let number = Parse::ALL.iter().position(|one| *one == what).unwrap();
        let path = format!("{folder}/{}", format!("{what:?}").to_lowercase());
        let seed = [&[number as u8][..], &bytes].concat();
        if std::env::var_os("WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &seed).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == seed, "{path} is old: WRITE_CORPUS=1 writes it");
    }
}

#[test]
fn what_the_other_tests_alter_is_well_formed() {
    for (what, bytes) in bodies().into_iter().chain(objects()) {
        match (what, fixed().parse(what, &bytes)) {
            // The frame is of 1,000 bytes, and the parser was told another length.
            (Parse::Frame, result) => assert!(result.unwrap_err().to_string().contains("1000 bytes")),
            (_, result) => result.unwrap_or_else(|error| panic!("{what:?}: {error}")),
        }
    }
}

#[test]
fn a_count_of_four_billion_is_refused_wherever_it_stands() {
    for (what, bytes) in bodies() {
        for at in 0..bytes.len().min(400) - 4 {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].fill(0xff);
            // Most places are no counts, and either answer is right; the point is to come back.
            drop(fixed().parse(what, &bytes));
        }
    }
    let mut claims = vec![0; 4];
    claims.fill(0xff);
    for what in [Parse::Entries, Parse::IndexBody, Parse::PointHead, Parse::PointBody] {
        assert_eq!(fixed().parse(what, &claims).unwrap_err().kind(), ErrorKind::Damaged, "{what:?}");
    }
}

#[test]
fn a_frame_that_claims_to_be_huge_is_refused() {
    // A zstd frame header with a content size of 2^40 bytes and an endless RLE block.
    let size = (1_u64 << 40).to_le_bytes();
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &size, &[0x02, 0x00, 0x10, 0x41].repeat(1000)].concat();
    assert_eq!(fixed().parse(Parse::Frame, &frame).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn every_shorter_form_of_an_object_is_refused() {
    for (what, bytes) in bodies().into_iter().chain(objects()) {
        for length in (0..bytes.len()).filter(|length| *length < 600 || bytes.len() - length < 200) {
            assert!(fixed().parse(what, &bytes[..length]).is_err(), "{what:?} cut to {length} bytes");
        }
        assert!(fixed().parse(what, &[&bytes[..], &[0]].concat()).is_err(), "{what:?} with a byte too many");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for what in Parse::ALL {
            drop(fixed().parse(what, &bytes));
        }
    }

    #[test]
    fn altered_objects_never_panic(
        which in 0..12_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut all = bodies();
        all.extend(objects());
        let (what, mut bytes) = all.swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len().min(700));
            bytes[at] = value;
        }
        drop(fixed().parse(what, &bytes));
    }
}
