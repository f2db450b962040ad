//! Partition tables: MBR with logical partitions, and GPT.

use crate::checksum::crc32;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fields::{Fields, units, utf16};

/// The most partitions of a disk; GPT has 128 by default.
const MOST: usize = 1024;

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// As Linux numbers it: from 1, logical ones from 5.
    pub(crate) number: u32,
    /// The first byte on the disk.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Its name, which only GPT has.
    pub(crate) name: String,
}

/// The partitions of a disk in the order of their numbers; `None` when it has no table.
///
/// The sector size of a disk is not known here: GPT says its own by where its header is; MBR counts in 512 bytes, unless only
/// `sector` 4096 makes its partitions begin within the disk.
pub(crate) fn partitions(device: &Device) -> Result<Option<Vec<Partition>>> {
    if device.size() < 1024 {
        return Ok(None);
    }
    let first = device.block(0, 512)?;
    if first.part(510, 2)? != [0x55, 0xAA] {
        return gpt(device);
    }
    if (0..4).any(|slot| first.get(446 + slot * 16 + 4) == Some(&0xEE)) {
        return match gpt(device)? {
            Some(found) => Ok(Some(found)),
            None => {
                Err(Error::damaged("the disk says that it has a GPT, and neither of the two copies is whole"))
            }
        };
    }
    mbr(device, &first)
}

/// An entry of an MBR or of an extended boot record: type, first sector, sectors.
fn entry(sector: &[u8], slot: usize) -> Result<(u8, u64, u64)> {
    let at = 446 + slot * 16;
    Ok((sector.byte(at + 4)?, sector.le32(at + 8)?.into(), sector.le32(at + 12)?.into()))
}

fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0F | 0x85)
}

fn mbr(device: &Device, first: &[u8]) -> Result<Option<Vec<Partition>>> {
    let entries = (0..4).map(|slot| entry(first, slot)).collect::<Result<Vec<_>>>()?;
    // A boot sector of a file system ends with the same two bytes. Its code and texts make no valid entries.
    let is_table = (0..4).all(|slot| matches!(first.get(446 + slot * 16), Some(0 | 0x80)))
        && entries.iter().all(|&(kind, start, size)| (kind == 0) == (size == 0) && (kind == 0 || start > 0))
        && entries.iter().any(|&(kind, ..)| kind != 0);
    if !is_table {
        return Ok(None);
    }
    let fits = |sector: u64| entries.iter().all(|&(_, start, size)| (start + size) * sector <= device.size());
    let sector = if !fits(512) || !first_fits(device, &entries)? && fits(4096) { 4096 } else { 512 };
    let mut found = Vec::new();
    for (number, &(kind, start, size)) in (1..).zip(&entries) {
        match kind {
            0 => {}
            kind if is_extended(kind) => {
                logical(device, start, sector, &mut found)?;
            }
            _ => push(device, &mut found, number, start * sector, size * sector)?,
        }
    }
    found.sort_by_key(|partition| partition.number);
    Ok(Some(found))
}

/// Whether 512 is the likelier sector size: an extended partition begins with a boot record.
fn first_fits(device: &Device, entries: &[(u8, u64, u64)]) -> Result<bool> {
    for &(kind, start, _) in entries {
        if is_extended(kind) {
            return Ok(device.block(start * 512, 512).is_ok_and(|sector| sector.ends_with(&[0x55, 0xAA])));
        }
    }
    Ok(true)
}

/// The chain of boot records of an extended partition: each has one partition, relative to itself, and the next record, relative to
/// the first.
fn logical(device: &Device, base: u64, sector_size: u64, found: &mut Vec<Partition>) -> Result<()> {
    let mut at = base;
    let mut number = 5;
    loop {
        let record = device.block(at * sector_size, 512)?;
        if !record.ends_with(&[0x55, 0xAA]) {
            return Err(Error::damaged(format!("no boot record of a logical partition at sector {at}")));
        }
        let (kind, start, size) = entry(&record, 0)?;
        if kind != 0 && size != 0 {
            push(device, found, number, (at + start) * sector_size, size * sector_size)?;
            number += 1;
        }
        let (kind, next, _) = entry(&record, 1)?;
        if !is_extended(kind) || next == 0 {
            return Ok(());
        }
        // They lead onwards, so that a chain has an end.
        if base + next <= at {
            return Err(Error::damaged("the logical partitions lead back"));
        }
        at = base + next;
    }
}

fn push(device: &Device, found: &mut Vec<Partition>, number: u32, start: u64, size: u64) -> Result<()> {
    if found.len() >= MOST {
        return Err(Error::too_large(format!("more than {MOST} partitions")));
    }
    if start >= device.size() {
        return Err(Error::damaged(format!("partition {number} begins behind the end of the disk")));
    }
    // A disk that was cut short still has the partition's beginning.
    let size = size.min(device.size() - start);
    found.push(Partition { number, start, size, name: String::new() });
    Ok(())
}

fn gpt(device: &Device) -> Result<Option<Vec<Partition>>> {
    let mut problem = None;
    for sector in [512, 4096] {
        // The second copy is in the last sector.
        let last = (device.size() / sector).saturating_sub(1) * sector;
        for at in [sector, last] {
            match gpt_at(device, at, sector) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => problem = Some(error),
            }
        }
    }
    problem.map_or(Ok(None), Err)
}

fn gpt_at(device: &Device, at: u64, sector: u64) -> Result<Option<Vec<Partition>>> {
    let Ok(mut header) = device.block(at, 512) else { return Ok(None) };
    if header.part(0, 8)? != b"EFI PART" {
        return Ok(None);
    }
    let length = header.le32(12)? as usize;
    let stored = header.le32(16)?;
    let (own, entries) = (header.le64(24)?, header.le64(72)?);
    let (count, size) = (header.le32(80)? as usize, header.le32(84)? as usize);
    let entries_stored = header.le32(88)?;
    header.get_mut(16..20).unwrap_or_default().fill(0);
    if !(92..=512).contains(&length) || !crc32(!0, header.part(0, length)?) != stored {
        return Err(Error::damaged("the checksum of the GPT's header does not hold"));
    }
    if own.checked_mul(sector) != Some(at) {
        return Ok(None);
    }
    if !(128..=4096).contains(&size) || count > MOST {
        return Err(Error::damaged(format!("a GPT of {count} entries of {size} bytes")));
    }
    let table =
        entries.checked_mul(sector).ok_or_else(|| Error::damaged("a GPT behind the end of the disk"))?;
    let table = device.block(table, count * size)?;
    if !crc32(!0, &table) != entries_stored {
        return Err(Error::damaged("the checksum of the GPT's entries does not hold"));
    }
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(table.chunks_exact(size)) {
        if entry.part(0, 16)?.iter().all(|&byte| byte == 0) {
            continue;
        }
        let (first, last) = (entry.le64(32)?, entry.le64(40)?);
        let bytes = (last.checked_sub(first).and_then(|sectors| sectors.checked_add(1)))
            .and_then(|sectors| Some((first.checked_mul(sector)?, sectors.checked_mul(sector)?)));
        let (start, bytes) =
            bytes.ok_or_else(|| Error::damaged(format!("partition {number} ends before it begins")))?;
        push(device, &mut found, number, start, bytes)?;
        if let Some(pushed) = found.last_mut() {
            let name = utf16(units(entry.part(56, 72)?).take_while(|&unit| unit != 0));
            pushed.name = String::from_utf8_lossy(&name).into_owned();
        }
    }
    Ok(Some(found))
}
