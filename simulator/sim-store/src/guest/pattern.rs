//! Sectors whose content can be computed again from what was asked for.

use super::random::Random;
use crate::descriptor::SECTOR;
use crate::{Disk, DiskUuid, Error, ErrorKind, Result};

/// Sectors written at once.
const BATCH: u64 = 512;

/// Fills whole sectors of a disk with [`expected_sector`]; `offset` and `length` in bytes, multiples of 512.
///
/// # Errors
/// `InvalidArgument` if the range is not made of whole sectors; those of [`Disk::write_at`].
pub fn write_pattern(disk: &Disk, offset: u64, length: u64, seed: u64, generation: u64) -> Result<()> {
    if !offset.is_multiple_of(SECTOR) || !length.is_multiple_of(SECTOR) {
        let what = format!("a pattern of {length} bytes at {offset} is not made of whole sectors");
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let uuid = disk.uuid()?;
    let end = offset.checked_add(length).filter(|end| *end <= disk.capacity()).ok_or_else(|| {
        Error::new(ErrorKind::OutOfRange, format!("a pattern of {length} bytes at {offset} leaves the disk"))
    })?;
    let mut sectors = Vec::with_capacity((BATCH * SECTOR) as usize);
    let mut at = offset;
    while at < end {
        let start = at;
        sectors.clear();
        while at < end && at - start < BATCH * SECTOR {
            sectors.extend_from_slice(&expected_sector(seed, uuid, at / SECTOR, generation));
            at += SECTOR;
        }
        disk.write_at(start, &sectors)?;
    }
    Ok(())
}

/// The content that [`write_pattern`] gives to sector `lba` of the disk with this uuid.
pub fn expected_sector(seed: u64, disk: DiskUuid, lba: u64, generation: u64) -> [u8; SECTOR as usize] {
    let uuid = u128::from_le_bytes(disk.0);
    let mut random = Random::keyed(seed, &[uuid as u64, (uuid >> 64) as u64, lba, generation]);
    let mut sector = [0; SECTOR as usize];
    random.fill(&mut sector);
    sector
}
