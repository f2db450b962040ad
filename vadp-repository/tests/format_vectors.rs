//! Pins the bytes of every object for given keys, salts and ids. When one of these fails, the format has changed: that
//! needs a new format version or feature bit, see docs/repository-format.md, "Versions".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use vadp_repository::seam::{Fixed, Parse};

fn fixed() -> Fixed {
    let bytes = |from: u8| std::array::from_fn(|at| from.wrapping_add(at as u8));
    Fixed {
        repository: std::array::from_fn(|at| at as u8),
        identity: bytes(0x20),
        epoch_key: bytes(0x40),
        salt: bytes(0x60),
        object: std::array::from_fn(|at| 0xa0 + at as u8),
    }
}

/// 100 bytes that count up; raw in a pack.
fn counting() -> Vec<u8> {
    (0..100).collect()
}

/// 1,000 bytes of one value, and a zstd frame of them that another compressor might make as well: a frame of one RLE block.
fn repeated() -> (Vec<u8>, Vec<u8>) {
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    // Single segment, two-byte content size of 1000 - 256, then a last block of type RLE and size 1000.
    let header = [0x60, 0xe8, 0x02];
    let block = (1000_u32 << 3 | 1 << 1 | 1).to_le_bytes();
    (vec![0x55; 1000], [&magic[..], &header, &block[..3], &[0x55]].concat())
}

fn pinned(name: &str, object: &[u8], length: usize, digest: &str) {
    let found = blake3::hash(object).to_hex();
    assert_eq!((object.len(), found.as_str()), (length, digest), "the bytes of {name} have changed");
}

#[test]
fn config() {
    let object = fixed().config(1 << 20, 1_700_000_000_123_456);
    let front = "5641445052455 04f 0100 0000 00000000 00000000 000102030405060708090a0b0c0d0e0f 00001000 01 01 0000 \
                 40222018240a0600";
    let hex: String = object.iter().take(52).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, front.replace(' ', ""));
    assert!(object[52..93].iter().all(|byte| *byte == 0));
    pinned("config", &object, 125, "23a1156f0e854fde69a74e965b2258ab4a2c400481691967389f116e72859c9d");
    fixed().parse(Parse::Config, &object).unwrap();
}

#[test]
fn key_slots() {
    let raw = fixed().key_slot(Ok([9; 32]), 1_700_000_000_123_456).unwrap();
    pinned(
        "a raw key slot",
        &raw,
        96 + 4 + 4 + 72 + 16,
        "d902f3f51a0bbea1dff6a965cf6645a3ceb066bec4a262c420160e8c4e34340e",
    );
    let password = fixed().key_slot(Err("correct horse"), 1_700_000_000_123_456).unwrap();
    pinned(
        "a password slot",
        &password,
        96 + 4 + 4 + 72 + 16,
        "08fe95c41d2ca1480e8aa430d72eb18a5e9764075593ae3f68f78bd99dad0be2",
    );
    for object in [raw, password] {
        fixed().parse(Parse::KeySlot, &object).unwrap();
    }
}

#[test]
fn packs_and_index() {
    let (plain, frame) = repeated();
    let data = fixed().pack(false, &[(counting(), None), (plain, Some(frame.clone()))]).unwrap();
    let length = 64 + (100 + 16) + (frame.len() + 16) + (4 + 2 * 45 + 16) + 12;
    pinned(
        "a data pack",
        &data.object,
        length,
        "516b9f7b2a73d8db15bba890a38e08c2cfe5f91013c8ab0291b7e1615539f3be",
    );
    let page = fixed().page(&data.chunks);
    let pages = fixed().pack(true, &[(page, None)]).unwrap();
    pinned(
        "a page pack",
        &pages.object,
        64 + (32768 + 16) + (4 + 45 + 16) + 12,
        "6ca87a9a26d02bc118b36e61e3263d0347aee6d956c3eafa21979754c8e22ebe",
    );
    for pack in [&data, &pages] {
        fixed().parse(Parse::Pack, &pack.object).unwrap();
    }
    let index = fixed().index(&[data, pages]).unwrap();
    pinned(
        "an index object",
        &index,
        64 + (4 + 4 + 2 * 92 + 3 * 45) + 16,
        "eae2bf5ed3a852fb2ccad1dcd9f88a686e66b31f647d6e7b01b2525806991df8",
    );
    fixed().parse(Parse::Index, &index).unwrap();
}

#[test]
fn point() {
    let object = fixed()
        .point("machine", 1_700_000_000_123_456, "disk-1", 3 << 30, &[[1; 32], [0; 32], [2; 32]])
        .unwrap();
    let head = (4 + 7) + 8 + (4 + (4 + 3) + (4 + 5)) + 4 + ((4 + 6) + 8 + 16 + 80) + 4;
    let body = (4 + 5) + (4 + 4) + 4 + 3 * 32;
    pinned(
        "a point",
        &object,
        64 + 8 + head + 16 + body + 16,
        "bff20f1dd8de62448697570b4ab99b34f098397a98aae001d93f1be4ba968a5b",
    );
    fixed().parse(Parse::Point, &object).unwrap();
}
