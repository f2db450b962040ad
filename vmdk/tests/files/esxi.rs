//! Snapshots as ESXi writes them, made by hand from the layouts in docs/vmdk.md: this crate only reads them.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;

/// What a grain of a delta is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grain {
    Data(Vec<u8>),
    Zero,
    Unmapped,
}

/// A vmfsSparse file: grains of one sector, tables in the order of their first write, the data after each.
pub fn cowd(sectors: u32, grains: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let tables = sectors.div_ceil(4096);
    let mut file = vec![0; 2048 + (tables as usize * 4).next_multiple_of(512)];
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    for (grain, content) in grains {
        let table = grain / 4096;
        let start = *places.entry(table).or_insert_with(|| {
            let start = file.len();
            file.resize(start + 16384, 0);
            file[2048 + table as usize * 4..][..4].copy_from_slice(&(start as u32 / 512).to_le_bytes());
            start
        });
        let sector = file.len() as u32 / 512;
        file.extend_from_slice(content);
        file.resize(sector as usize * 512 + 512, 0);
        file[start + (grain % 4096) as usize * 4..][..4].copy_from_slice(&sector.to_le_bytes());
    }
    let free = file.len() as u32 / 512;
    for (at, value) in [(4, 1), (8, 3), (12, sectors), (16, 1), (20, 4), (24, tables), (28, free)] {
        file[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    file[..4].copy_from_slice(b"COWD");
    file
}

/// An SESparse file: grains of 8 sectors. Tables are handed out from the last one on, so that index and place differ.
pub fn sesparse(sectors: u64, grains: &[(u64, Grain)]) -> Vec<u8> {
    const ALLOCATED: u64 = 3 << 60;
    let tables = sectors.div_ceil(8 * 4096).max(1);
    let (volatile, directory) = (1_u64, 8_u64);
    let directory_size = (tables * 8).div_ceil(512);
    let tables_at = (directory + directory_size).next_multiple_of(8);
    let grains_at = tables_at + tables * 64;
    let mut file = vec![0; grains_at as usize * 512];
    let put = |file: &mut Vec<u8>, at: u64, value: u64| {
        file[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
    };
    let mut places: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next = 0;
    for (grain, content) in grains {
        let table = grain / 4096;
        let used = places.len() as u64;
        let index = *places.entry(table).or_insert_with(|| tables - 1 - used);
        put(&mut file, directory * 512 + table * 8, 0x1000_0000 << 32 | index);
        let entry = match content {
            Grain::Zero => 2 << 60,
            Grain::Unmapped => 1 << 60 | 5,
            Grain::Data(bytes) => {
                file.extend_from_slice(bytes);
                let end = (grains_at + (next + 1) * 8) as usize * 512;
                file.resize(end, 0);
                next += 1;
                let index = next - 1;
                ALLOCATED | (index & 0xFFF) << 48 | index >> 12
            }
        };
        put(&mut file, (tables_at + index * 64) * 512 + grain % 4096 * 8, entry);
    }
    let header = [
        (0, 0xCAFE_BABE),
        (8, 0x2_0000_0001),
        (16, sectors),
        (24, 8),
        (32, 64),
        (80, volatile),
        (88, 1),
        (128, directory),
        (136, directory_size),
        (144, tables_at),
        (152, tables * 64),
        (192, grains_at),
        (200, next * 8),
    ];
    for (at, value) in header {
        put(&mut file, at, value);
    }
    put(&mut file, volatile * 512, 0xCAFE_CAFE);
    put(&mut file, volatile * 512 + 8, places.len() as u64);
    file
}

/// The descriptor of a delta over a parent.
pub fn descriptor(
    create_type: &str,
    extent_type: &str,
    sectors: u64,
    file: &str,
    parent: (&str, &str),
) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=0a0b0c0d\nparentCID={}\nisNativeSnapshot=\"no\"\n\
         createType=\"{create_type}\"\nparentFileNameHint=\"{}\"\n\n# Extent description\nRW {sectors} {extent_type} \"{file}\"\n\n\
         # The Disk Data Base \n#DDB\n\nddb.longContentID = \"0102030405060708090a0b0c0a0b0c0d\"\n",
        parent.1, parent.0
    )
}
