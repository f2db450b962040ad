//! What a guest does between two backups.

use std::collections::BTreeSet;

use vsphere_sim::SimVm;

use crate::Failure;
use crate::image::{CHUNK, Chance, Image, Kind};

/// What a guest's file system writes at least.
const BLOCK: u64 = 4096;

/// Has the guest write.
pub type Change = fn(&SimVm, &Image, &mut Chance) -> Result<(), Failure>;

/// A hundredth of the disk, in runs of 64 KiB to 4 MiB: half text, half noise.
///
/// # Errors
/// When it cannot write.
pub fn runs(guest: &SimVm, image: &Image, chance: &mut Chance) -> Result<(), Failure> {
    let mut left = image.bytes() / 100;
    let mut writes = Vec::new();
    while left >= 64 << 10 {
        let length = ((64 << 10) << chance.below(7)).min(left / BLOCK * BLOCK);
        let at = chance.below((image.bytes() - length) / BLOCK) * BLOCK;
        let kind = if writes.len() % 2 == 0 { Kind::Text } else { Kind::Noise };
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&image.fresh(kind, chance.any()));
        }
        bytes.truncate(length as usize);
        writes.push((at, bytes));
        left -= length;
    }
    write(guest, &writes)
}

/// A hundredth of the disk, in blocks that are anywhere.
///
/// # Errors
/// When it cannot write.
pub fn scattered(guest: &SimVm, image: &Image, chance: &mut Chance) -> Result<(), Failure> {
    let blocks = image.bytes() / BLOCK;
    let mut places = BTreeSet::new();
    while (places.len() as u64) < blocks / 100 {
        places.insert(chance.below(blocks));
    }
    let bytes = image.fresh(Kind::Noise, chance.any());
    let piece = |block: u64| {
        let from = (block % (CHUNK as u64 - BLOCK)) as usize;
        bytes[from..from + BLOCK as usize].to_vec()
    };
    write(guest, &places.into_iter().map(|block| (block * BLOCK, piece(block))).collect::<Vec<_>>())
}

/// Has the guest write these bytes at these places of its first disk.
///
/// # Errors
/// When it cannot write.
pub fn write(guest: &SimVm, writes: &[(u64, Vec<u8>)]) -> Result<(), Failure> {
    let key = guest.disks()?.first().ok_or("the machine has a disk")?.key;
    let written = guest
        .with_live_disk(key, |disk| writes.iter().try_for_each(|(at, bytes)| disk.write_at(*at, bytes)))?;
    Ok(written?)
}
