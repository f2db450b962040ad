//! Partition tables: which volumes a disk has.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use gptman::GPT;

use crate::code::{Answer, Code};
use crate::ffi::log;

const SECTOR: u64 = 512;
/// Logical partitions at most: a chain of them may lead back to its beginning.
const MAX_LOGICAL: usize = 128;
/// What GPTs have, and what is read at most.
const MAX_GPT_ENTRIES: u32 = 1024;

/// A volume of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Bytes of the disk.
    pub(crate) bytes: Range<u64>,
    pub(crate) kind: Kind,
    /// Whether files can be in it.
    pub(crate) mountable: bool,
}

/// What manages a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Basic,
    Gpt,
    Dynamic,
    Lvm,
}

/// The volumes of a disk of `length` bytes, in the order of its table.
pub(crate) fn read<T: Read + Seek>(disk: &mut T, length: u64) -> Answer<Vec<Partition>> {
    let unreadable = |what: &str| {
        log::warn(&format!("the partition table cannot be read: {what}"));
        Code::CANT_READ_PARTS
    };
    let table = sector(disk, 0).map_err(|_| unreadable("the first sector fails"))?;
    let entries = entries(&table).ok_or_else(|| unreadable("there is none"))?;
    let found = if entries.iter().any(|entry| entry.kind == 0xee) {
        gpt(disk, length).ok_or_else(|| unreadable("the GPT is damaged"))?
    } else {
        mbr(disk, &entries, length).ok_or_else(|| unreadable("a partition lies outside the disk"))?
    };
    if found.is_empty() {
        log::warn("the partition table is empty");
        return Err(Code::NO_MOUNTABLE_PARTITIONS);
    }
    Ok(found)
}

struct Entry {
    kind: u8,
    start: u64,
    sectors: u64,
}

impl Entry {
    fn is_container(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    /// The partition, when it lies on the disk.
    fn partition(&self, base: u64, length: u64) -> Option<Partition> {
        let start = (base + self.start) * SECTOR;
        let bytes = start..start + self.sectors * SECTOR;
        let (kind, mountable) = match self.kind {
            0x8e => (Kind::Lvm, false),
            0x42 => (Kind::Dynamic, false),
            0x82 => (Kind::Basic, false),
            _ => (Kind::Basic, true),
        };
        (bytes.end <= length && !bytes.is_empty()).then_some(Partition { bytes, kind, mountable })
    }
}

/// The used entries of a table; none without its signature.
fn entries(sector: &[u8; 512]) -> Option<Vec<Entry>> {
    let number = |at: &[u8]| at.try_into().map_or(0, u32::from_le_bytes);
    // A FAT or NTFS boot sector without any table has the signature too; its code there makes no sensible flags.
    let table = sector.get(446..510).filter(|_| sector.ends_with(&[0x55, 0xaa]))?;
    let entries = table.chunks_exact(16);
    if entries.clone().any(|entry| entry[0] & 0x7f != 0) {
        return None;
    }
    let entry = |entry: &[u8]| Entry {
        kind: entry[4],
        start: number(&entry[8..12]).into(),
        sectors: number(&entry[12..16]).into(),
    };
    Some(entries.map(entry).filter(|entry| entry.kind != 0 && entry.sectors != 0).collect())
}

fn mbr<T: Read + Seek>(disk: &mut T, entries: &[Entry], length: u64) -> Option<Vec<Partition>> {
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_container() {
            logical(disk, entry.start, length, &mut found)?;
        } else {
            found.push(entry.partition(0, length)?);
        }
    }
    Some(found)
}

/// The volumes in an extended partition: a chain of tables, each with one volume and the place of the next table.
fn logical<T: Read + Seek>(
    disk: &mut T,
    container: u64,
    length: u64,
    found: &mut Vec<Partition>,
) -> Option<()> {
    let mut at = container;
    for _ in 0..MAX_LOGICAL {
        let entries = entries(&sector(disk, at).ok()?)?;
        for entry in entries.iter().filter(|entry| !entry.is_container()) {
            found.push(entry.partition(at, length)?);
        }
        match entries.iter().find(|entry| entry.is_container()) {
            Some(next) => at = container + next.start,
            None => return Some(()),
        }
    }
    None
}

fn gpt<T: Read + Seek>(disk: &mut T, length: u64) -> Option<Vec<Partition>> {
    // "Linux LVM", "Linux swap" and "Windows LDM data", in the byte order of the table.
    const LVM: [u8; 16] =
        [0x79, 0xd3, 0xd6, 0xe6, 0x07, 0xf5, 0xc2, 0x44, 0xa2, 0x3c, 0x23, 0x8f, 0x2a, 0x3d, 0xf9, 0x28];
    const SWAP: [u8; 16] =
        [0x6d, 0xfd, 0x57, 0x06, 0xab, 0xa4, 0xc4, 0x43, 0x84, 0xe5, 0x09, 0x33, 0xc8, 0x4b, 0x4f, 0x4f];
    const LDM: [u8; 16] =
        [0xa0, 0x60, 0x9b, 0xaf, 0x31, 0x14, 0x62, 0x4f, 0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a, 0x69, 0xad];
    // The reader makes room for as many entries as the header says.
    let header = sector(disk, 1).ok()?;
    let count = u32::from_le_bytes(header.get(80..84)?.try_into().ok()?);
    let size = u32::from_le_bytes(header.get(84..88)?.try_into().ok()?);
    if count > MAX_GPT_ENTRIES || size > 4096 {
        return None;
    }
    let table = GPT::read_from(disk, SECTOR).ok()?;
    let mut found = Vec::new();
    for (_, entry) in table.iter().filter(|(_, entry)| entry.is_used()) {
        let start = entry.starting_lba.checked_mul(SECTOR)?;
        let end = entry.ending_lba.checked_add(1)?.checked_mul(SECTOR)?;
        if start >= end || end > length {
            return None;
        }
        let (kind, mountable) = match entry.partition_type_guid {
            LVM => (Kind::Lvm, false),
            LDM => (Kind::Dynamic, false),
            SWAP => (Kind::Gpt, false),
            _ => (Kind::Gpt, true),
        };
        found.push(Partition { bytes: start..end, kind, mountable });
    }
    Some(found)
}

fn sector<T: Read + Seek>(disk: &mut T, number: u64) -> std::io::Result<[u8; 512]> {
    let mut bytes = [0; 512];
    disk.seek(SeekFrom::Start(number * SECTOR))?;
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn disk(sectors: usize) -> Cursor<Vec<u8>> {
        Cursor::new(vec![0; sectors * 512])
    }

    /// Writes a table at a sector: kind, start, length.
    fn table(disk: &mut Cursor<Vec<u8>>, at: usize, entries: &[(u8, u32, u32)]) {
        let sector = &mut disk.get_mut()[at * 512..(at + 1) * 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (slot, (kind, start, length)) in sector[446..510].chunks_exact_mut(16).zip(entries) {
            slot[4] = *kind;
            slot[8..12].copy_from_slice(&start.to_le_bytes());
            slot[12..].copy_from_slice(&length.to_le_bytes());
        }
    }

    fn sectors(found: &[Partition]) -> Vec<(u64, u64, Kind, bool)> {
        let row = |p: &Partition| (p.bytes.start / 512, p.bytes.end / 512, p.kind, p.mountable);
        found.iter().map(row).collect()
    }

    /// A FAT partition, an extended one with two logical ones, swap, and LVM.
    fn mbr_image() -> Cursor<Vec<u8>> {
        let mut image = disk(1000);
        table(&mut image, 0, &[(0x0c, 10, 90), (0x05, 100, 500), (0x82, 600, 50), (0x8e, 700, 300)]);
        table(&mut image, 100, &[(0x83, 1, 99), (0x05, 200, 100)]);
        table(&mut image, 300, &[(0x06, 2, 50)]);
        image
    }

    /// A partition of basic data, and one of LVM.
    fn gpt_image() -> Cursor<Vec<u8>> {
        let mut image = disk(4096);
        GPT::write_protective_mbr_into(&mut image, 512).unwrap();
        let mut made = GPT::new_from(&mut image, 512, [7; 16]).unwrap();
        let guids = [
            [0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7],
            [0x79, 0xd3, 0xd6, 0xe6, 0x07, 0xf5, 0xc2, 0x44, 0xa2, 0x3c, 0x23, 0x8f, 0x2a, 0x3d, 0xf9, 0x28],
        ];
        for (number, guid) in guids.into_iter().enumerate() {
            let start = 100 + 100 * number as u64;
            made[number as u32 + 1] = gptman::GPTPartitionEntry {
                partition_type_guid: guid,
                unique_partition_guid: [number as u8 + 1; 16],
                starting_lba: start,
                ending_lba: start + 49,
                attribute_bits: 0,
                partition_name: "x".into(),
            };
        }
        made.write_into(&mut image).unwrap();
        image
    }

    #[test]
    fn primary_and_logical_partitions_are_found_in_order() {
        let mut image = mbr_image();
        let found = read(&mut image, 512_000).unwrap();
        assert_eq!(
            sectors(&found),
            [
                (10, 100, Kind::Basic, true),
                (101, 200, Kind::Basic, true),
                (302, 352, Kind::Basic, true),
                (600, 650, Kind::Basic, false),
                (700, 1000, Kind::Lvm, false)
            ]
        );
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let cases: [fn(&mut Cursor<Vec<u8>>); 6] = [
            |_| {},
            // Outside the disk; a chain without end; a chain that leads nowhere; a GPT that is not there.
            |image| table(image, 0, &[(0x0c, 10, 5000)]),
            |image| {
                table(image, 0, &[(0x05, 100, 500)]);
                table(image, 100, &[(0x05, 0, 500)]);
            },
            |image| table(image, 0, &[(0x05, u32::MAX, 500)]),
            |image| table(image, 0, &[(0xee, 1, 999)]),
            // A boot sector with code where the table would be.
            |image| {
                table(image, 0, &[(0x0c, 10, 50)]);
                image.get_mut()[446] = 0x33;
            },
        ];
        for (number, case) in cases.into_iter().enumerate() {
            let mut image = disk(1000);
            case(&mut image);
            assert_eq!(read(&mut image, 512_000), Err(Code::CANT_READ_PARTS), "case {number}");
        }
        let mut empty = disk(1000);
        table(&mut empty, 0, &[]);
        assert_eq!(read(&mut empty, 512_000), Err(Code::NO_MOUNTABLE_PARTITIONS));
        assert_eq!(read(&mut disk(0), 0), Err(Code::CANT_READ_PARTS));
    }

    #[test]
    fn gpt_partitions_keep_their_kinds_and_hostile_headers_end_early() {
        let mut image = gpt_image();
        let found = read(&mut image, 4096 * 512).unwrap();
        assert_eq!(sectors(&found), [(100, 150, Kind::Gpt, true), (200, 250, Kind::Lvm, false)]);
        image.get_mut()[512 + 80..512 + 84].fill(0xff);
        assert_eq!(read(&mut image, 4096 * 512), Err(Code::CANT_READ_PARTS));
    }

    /// util-linux has a reader of its own. It lists containers, which we do not, and logical partitions at the end.
    #[test]
    #[ignore = "needs partx, of util-linux"]
    fn partx_sees_the_same_partitions() {
        for image in [mbr_image(), gpt_image()] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), image.get_ref()).unwrap();
            let output = std::process::Command::new("partx")
                .args(["-o", "START,SECTORS,TYPE", "--show", "-g"])
                .arg(file.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut theirs: Vec<(u64, u64)> = rows
                .filter(|row| row[2] != "0x5")
                .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap()))
                .collect();
            let length = image.get_ref().len() as u64;
            let found = read(&mut image.clone(), length).unwrap();
            let mut ours: Vec<(u64, u64)> = found
                .iter()
                .map(|partition| {
                    (partition.bytes.start / 512, (partition.bytes.end - partition.bytes.start) / 512)
                })
                .collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            assert_eq!(ours, theirs);
            assert!(!ours.is_empty());
        }
    }
}
