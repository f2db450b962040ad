//! What happens inside of the machine: a real file system with real files, which change and are destroyed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use anyhow::Context;
use sim_store::Disk;
use sim_store::guest::image::{ImagePlan, Manifest, mutate, populate, verify};
use sim_store::guest::{DiskCursor, write_pattern};

/// Changes are counted in blocks of this size, as a file system makes them.
const BLOCK: u64 = 4096;

/// What a disk held at a moment.
#[derive(Clone)]
pub(crate) struct Content {
    /// Digest of every byte of the disk.
    pub(crate) sha256: String,
    /// The files, where the disk holds a file system that we made.
    pub(crate) files: Option<Manifest>,
}

/// Makes a partition table, a file system and some hundreds of files.
pub(crate) fn install(disk: &Disk, seed: u64, files: u32, bytes_total: u64) -> anyhow::Result<Manifest> {
    let mut cursor = DiskCursor::new(disk);
    let plan = ImagePlan { seed, files, bytes_total, label: format!("DATA{seed}") };
    let manifest = populate(&mut cursor, &plan).context("the guest's file system could not be made")?;
    cursor.finish()?;
    Ok(manifest)
}

/// A day of work: files are rewritten, extended, deleted and made. On a disk that is not ours, blocks are written all
/// over it. Returns the files after it.
pub(crate) fn work(
    disk: &Disk,
    files: Option<&Manifest>,
    seed: u64,
    bytes: u64,
) -> anyhow::Result<Option<Manifest>> {
    let Some(files) = files else {
        let pieces = 16.min(disk.capacity() / BLOCK).max(1);
        let piece = (bytes / pieces / BLOCK).max(1) * BLOCK;
        let step = disk.capacity() / pieces / BLOCK * BLOCK;
        for n in 0..pieces {
            let length = piece.min(disk.capacity() - n * step) / 512 * 512;
            write_pattern(disk, n * step, length, seed, 1)?;
        }
        return Ok(None);
    };
    let mut cursor = DiskCursor::new(disk);
    let after = mutate(&mut cursor, files, seed, bytes)?;
    cursor.finish()?;
    Ok(Some(after))
}

/// Ransomware: the first 64 MiB and a stripe in every 32 MiB are overwritten.
pub(crate) fn destroy(disk: &Disk, seed: u64) -> anyhow::Result<()> {
    let head = disk.capacity().min(64 << 20) / 512 * 512;
    write_pattern(disk, 0, head, seed, 99)?;
    let mut at = head;
    while at < disk.capacity() {
        let length = (disk.capacity() - at).min(1 << 20) / 512 * 512;
        write_pattern(disk, at, length, seed, 99)?;
        at += 32 << 20;
    }
    Ok(())
}

/// Reads the whole disk, and every file on it.
pub(crate) fn look(disk: &Disk, files: Option<&Manifest>) -> anyhow::Result<Content> {
    Ok(Content { sha256: disk.sha256()?.to_string(), files: files.cloned() })
}

/// How a disk differs from what it held at a moment.
pub(crate) fn differences(disk: &Disk, then: &Content) -> anyhow::Result<Vec<String>> {
    let mut out = Vec::new();
    let now = disk.sha256()?.to_string();
    if now != then.sha256 {
        out.push(format!("the disk has the digest {now}, and it was {}", then.sha256));
    }
    if let Some(files) = &then.files
        && let Err(found) = verify(&mut DiskCursor::new(disk), files)
    {
        out.extend(found.iter().map(ToString::to_string));
    }
    Ok(out)
}

/// Bytes in blocks of 64 KiB that hold anything: as sharp as VixDiskLib tells it.
pub(crate) fn allocated(disk: &Disk) -> anyhow::Result<u64> {
    const GRAIN: u64 = 64 << 10;
    let (mut total, mut counted) = (0, 0);
    for extent in disk.allocated(0, disk.capacity())? {
        let first = (extent.offset / GRAIN * GRAIN).max(counted);
        counted = ((extent.offset + extent.length).div_ceil(GRAIN) * GRAIN).min(disk.capacity());
        total += counted.saturating_sub(first);
    }
    Ok(total)
}

/// A hash of every block that holds anything.
pub(crate) fn blocks(disk: &Disk) -> anyhow::Result<BTreeMap<u64, u64>> {
    let mut out = BTreeMap::new();
    let mut buffer = vec![0; 1 << 20];
    for extent in disk.allocated(0, disk.capacity())? {
        let (mut at, end) = (extent.offset / BLOCK * BLOCK, extent.offset + extent.length);
        while at < end {
            let length = usize::try_from((end - at).min(buffer.len() as u64))?;
            disk.read_at(at, &mut buffer[..length])?;
            for (n, block) in buffer[..length].chunks(BLOCK as usize).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    let mut hasher = DefaultHasher::new();
                    hasher.write(block);
                    out.insert(at / BLOCK + n as u64, hasher.finish());
                }
            }
            at += length as u64;
        }
    }
    Ok(out)
}

/// Bytes in blocks that differ.
pub(crate) fn changed_bytes(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) -> u64 {
    let gone = before.keys().filter(|block| !after.contains_key(block)).count();
    let new = after.iter().filter(|(block, hash)| before.get(block) != Some(hash)).count();
    (gone + new) as u64 * BLOCK
}
