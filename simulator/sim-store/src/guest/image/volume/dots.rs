//! Puts the first two entries of new folders right.
//!
//! fatfs 0.3 gives the entries "." and ".." long names, and lets ".." of a top-level folder name the root's cluster
//! instead of 0. Guests do not mind, but `fsck.fat` reports each folder as damaged; a restored disk shall pass it.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0f;
const FOLDER: u8 = 0x10;
const DELETED: u8 = 0xe5;
/// Clusters from here on mean the end of a chain, or a bad cluster.
const END: u32 = 0x0fff_fff7;

/// Where things are on a FAT32 volume, in bytes from its start.
struct Layout {
    table: u64,
    data: u64,
    cluster: u64,
    root: u32,
}

/// Walks all folders of an unmounted volume and rewrites the first entries of those that fatfs made.
pub(super) fn tidy<T: Read + Write + Seek>(volume: &mut T) -> io::Result<()> {
    let layout = layout(volume)?;
    let mut open = vec![layout.root];
    let mut seen = BTreeSet::new();
    while let Some(folder) = open.pop() {
        if !seen.insert(folder) {
            continue;
        }
        let mut cluster = folder;
        let mut steps = 0;
        while (2..END).contains(&cluster) {
            let at = layout.data + u64::from(cluster - 2) * layout.cluster;
            let mut entries = vec![0; layout.cluster as usize];
            volume.seek(SeekFrom::Start(at))?;
            volume.read_exact(&mut entries)?;
            if cluster == folder && shorten(&mut entries, layout.root) {
                volume.seek(SeekFrom::Start(at))?;
                volume.write_all(&entries[..4 * ENTRY])?;
            }
            for entry in entries.chunks_exact(ENTRY) {
                if entry[11] & LONG_NAME != LONG_NAME
                    && entry[11] & FOLDER != 0
                    && !matches!(entry[0], DELETED | b'.')
                {
                    open.push(first_cluster(entry));
                }
            }
            let mut next = [0; 4];
            volume.seek(SeekFrom::Start(layout.table + u64::from(cluster) * 4))?;
            volume.read_exact(&mut next)?;
            cluster = u32::from_le_bytes(next) & 0x0fff_ffff;
            steps += 1;
            if steps > 1 << 16 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a folder has no end"));
            }
        }
    }
    Ok(())
}

/// `[long "."]["."][long ".."][".."]` becomes `["."][".."][deleted][deleted]`.
fn shorten(entries: &mut [u8], root: u32) -> bool {
    let is = |at: usize, name: &[u8]| entries[at * ENTRY..].starts_with(name);
    let long = |at: usize| entries[at * ENTRY + 11] == LONG_NAME;
    if !(long(0) && is(1, b".          ") && long(2) && is(3, b"..         ")) {
        return false;
    }
    entries.copy_within(ENTRY..2 * ENTRY, 0);
    entries.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
    if first_cluster(&entries[ENTRY..]) == root {
        entries[ENTRY + 20..ENTRY + 22].fill(0);
        entries[ENTRY + 26..ENTRY + 28].fill(0);
    }
    entries[2 * ENTRY] = DELETED;
    entries[3 * ENTRY] = DELETED;
    true
}

fn first_cluster(entry: &[u8]) -> u32 {
    u32::from(entry[20]) << 16 | u32::from(entry[21]) << 24 | u32::from(entry[26]) | u32::from(entry[27]) << 8
}

fn layout<T: Read + Seek>(volume: &mut T) -> io::Result<Layout> {
    let mut boot = [0; 512];
    volume.seek(SeekFrom::Start(0))?;
    volume.read_exact(&mut boot)?;
    let word = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let (sector, reserved) = (word(11), word(14));
    let cluster = u64::from(boot[13]) * sector;
    if sector < 512 || cluster < 4 * ENTRY as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the boot sector is not one of FAT32"));
    }
    let table = reserved * sector;
    let data = table + u64::from(boot[16]) * long(36) * sector;
    Ok(Layout { table, data, cluster, root: long(44) as u32 })
}
