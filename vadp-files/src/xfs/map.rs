//! Where the content of a fork is.

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::file::{Extent, File, MOST_EXTENTS, MOST_NODES, Place, visit};
use crate::xfs::inode::{Fork, Format, Inode};
use crate::xfs::{Header, Xfs};

/// Deeper than a tree of extents can be.
const DEEPEST: u16 = 16;

/// Blocks of a fork that lie together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Of the file.
    pub(super) block: u64,
    pub(super) count: u64,
    /// Byte of the volume.
    pub(super) at: u64,
    is_written: bool,
}

/// The content of a file.
pub(super) fn content(xfs: &Xfs, inode: &Inode) -> Result<File> {
    let fork = inode.data()?;
    let size = xfs.layout.block_size;
    let extents = runs(xfs, inode, fork)?.into_iter().filter(|run| run.is_written).map(|run| {
        let (start, length) = (run.block.checked_mul(size), run.count * size);
        let start = start.ok_or_else(|| Error::damaged("an extent behind the end of any file"))?;
        Ok(Extent { start, length, place: Place::Device(run.at) })
    });
    File::new(xfs.device.clone(), inode.size(), extents.collect::<Result<_>>()?)
}

/// The target of a symbolic link.
pub(super) fn link(xfs: &Xfs, inode: &Inode) -> Result<Vec<u8>> {
    let size = inode.size() as usize;
    let fork = inode.data()?;
    if fork.format == Format::Local {
        return Ok(fork.bytes.part(0, size)?.to_vec());
    }
    let mut target = Vec::new();
    for run in runs(xfs, inode, fork)? {
        let length = run.count * xfs.layout.block_size;
        let block = xfs.device.block(run.at, length.min(1 << 20) as usize)?;
        if !xfs.layout.is_v5 {
            target.extend(block);
            continue;
        }
        let header = Header { checksum: 12, place: 40, uuid: 16, owner: 32 };
        if block.part(0, 4)? != b"XSLM" || block.be32(4)? as usize != target.len() {
            return Err(Error::damaged("no symbolic link where the inode says"));
        }
        xfs.verify("a symbolic link", &block, run.at, inode.number, header)?;
        target.extend(block.part(56, block.be32(8)? as usize)?);
    }
    match target.len() >= size {
        true => target.truncate(size),
        false => return Err(Error::damaged("a symbolic link that ends too early")),
    }
    Ok(target)
}

/// The runs of a fork in rising order.
pub(super) fn runs(xfs: &Xfs, inode: &Inode, fork: Fork<'_>) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    match fork.format {
        Format::Extents => records(xfs, fork.bytes, fork.extents, &mut runs)?,
        Format::Tree => {
            let (level, count) = (fork.bytes.be16(0)?, fork.bytes.be16(2)?);
            if level == 0 || level > DEEPEST {
                return Err(Error::damaged("a tree of extents of a depth that it cannot have"));
            }
            let mut left = MOST_NODES;
            let pointers = 4 + (fork.bytes.len() - 4) / 16 * 8;
            for index in 0..usize::from(count) {
                node(xfs, inode, fork.bytes.be64(pointers + index * 8)?, level - 1, &mut runs, &mut left)?;
            }
            if runs.len() as u64 != fork.extents {
                return Err(Error::damaged("not as many extents as the inode says"));
            }
        }
        Format::Local | Format::Device => {
            return Err(Error::damaged("content that should be in extents is not"));
        }
    }
    Ok(runs)
}

fn node(xfs: &Xfs, inode: &Inode, block: u64, level: u16, runs: &mut Vec<Run>, left: &mut u32) -> Result<()> {
    visit(left)?;
    let place = xfs.at(block, 1)?;
    let bytes = xfs.device.block(place, xfs.layout.block_size as usize)?;
    let (magic, start): (&[u8], _) = if xfs.layout.is_v5 { (b"BMA3", 72) } else { (b"BMAP", 24) };
    // The level falls with each step, so no loop is possible.
    if bytes.part(0, 4)? != magic || bytes.be16(4)? != level {
        return Err(Error::damaged("a node of the tree of extents that is none"));
    }
    let header = Header { checksum: 64, place: 24, uuid: 40, owner: 56 };
    xfs.verify("a node of the tree of extents", &bytes, place, inode.number, header)?;
    let count = bytes.be16(6)?;
    if level == 0 {
        return records(xfs, bytes.part(start, bytes.len() - start)?, count.into(), runs);
    }
    let pointers = start + (bytes.len() - start) / 16 * 8;
    for index in 0..usize::from(count) {
        node(xfs, inode, bytes.be64(pointers + index * 8)?, level - 1, runs, left)?;
    }
    Ok(())
}

/// Extents of 128 bits: whether it was written, 54 bits of block of the file, 52 of block of the volume, 21 of count.
fn records(xfs: &Xfs, bytes: &[u8], count: u64, runs: &mut Vec<Run>) -> Result<()> {
    if count > (bytes.len() / 16) as u64 {
        return Err(Error::damaged("more extents than there is room for"));
    }
    if runs.len() + count as usize > MOST_EXTENTS {
        return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
    }
    for at in (0..).step_by(16).take(count as usize) {
        let (high, low) = (bytes.be64(at)?, bytes.be64(at + 8)?);
        let block = (high & !(1 << 63)) >> 9;
        let count = low & 0x1F_FFFF;
        let at = xfs.at((high & 0x1FF) << 43 | low >> 21, count)?;
        if runs.last().is_some_and(|last: &Run| last.block + last.count > block) {
            return Err(Error::damaged("extents that are not in order"));
        }
        runs.push(Run { block, count, at, is_written: high >> 63 == 0 });
    }
    Ok(())
}
