//! Folders: within the inode, or in blocks that are read in turn, whatever index there is.

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::system::{Entry, MOST_ENTRIES, Node, NodeKind};
use crate::xfs::inode::{Format, Inode};
use crate::xfs::map::runs;
use crate::xfs::{Header, Xfs};

/// From this byte of a folder on there are indexes, not entries.
const ENTRIES_END: u64 = 32 << 30;

pub(super) fn list(xfs: &Xfs, inode: &Inode) -> Result<Vec<Entry>> {
    if inode.kind() != NodeKind::Folder {
        return Err(Error::wrong_type("not a folder"));
    }
    let fork = inode.data()?;
    let mut entries = Vec::new();
    if fork.format == Format::Local {
        short(xfs, fork.bytes.part(0, (inode.size() as usize).min(fork.bytes.len()))?, &mut entries)?;
        return Ok(entries);
    }
    let (size, folder_block) = (xfs.layout.block_size, xfs.layout.folder_block);
    // A block of a folder may be several of the file system, which need not lie together.
    let mut gathered = Vec::new();
    let mut place = 0;
    for run in runs(xfs, inode, fork)? {
        for index in 0..run.count {
            let block = run.block + index;
            if block >= ENTRIES_END / size {
                break;
            }
            if gathered.is_empty() {
                place = run.at + index * size;
            }
            gathered.extend(xfs.device.block(run.at + index * size, size as usize)?);
            if gathered.len() == folder_block {
                let is_first = (block + 1) * size == folder_block as u64;
                self::block(xfs, inode, &gathered, place, is_first, &mut entries)?;
                gathered.clear();
            }
        }
    }
    match gathered.is_empty() {
        true => Ok(entries),
        false => Err(Error::damaged("a folder that is no whole number of blocks")),
    }
}

fn push(xfs: &Xfs, entries: &mut Vec<Entry>, name: &[u8], inode: u64, kind: u8) -> Result<()> {
    if name == b"." || name == b".." {
        return Ok(());
    }
    if entries.len() >= MOST_ENTRIES {
        return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
    }
    let kind = match kind {
        _ if !xfs.layout.has_types => None,
        1 => Some(NodeKind::File),
        2 => Some(NodeKind::Folder),
        7 => Some(NodeKind::Link),
        3..=6 => Some(NodeKind::Special),
        _ => None,
    };
    entries.push(Entry { name: name.to_vec(), node: Node(0, inode), kind });
    Ok(())
}

/// A folder within its inode.
fn short(xfs: &Xfs, bytes: &[u8], entries: &mut Vec<Entry>) -> Result<()> {
    let count = bytes.byte(0)?;
    let wide = bytes.byte(1)? > 0;
    let number_size = if wide { 8 } else { 4 };
    let mut at = 2 + number_size;
    for _ in 0..count {
        let length = usize::from(bytes.byte(at)?);
        let name = bytes.part(at + 3, length)?;
        at += 3 + length;
        let kind = if xfs.layout.has_types { bytes.byte(at)? } else { 0 };
        at += usize::from(xfs.layout.has_types);
        let inode = if wide { bytes.be64(at)? } else { bytes.be32(at)?.into() };
        at += number_size;
        push(xfs, entries, name, inode, kind)?;
    }
    Ok(())
}

fn block(
    xfs: &Xfs,
    inode: &Inode,
    bytes: &[u8],
    place: u64,
    is_first: bool,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let magic = bytes.part(0, 4)?;
    let (is_whole, is_data) = match xfs.layout.is_v5 {
        true => (magic == b"XDB3", magic == b"XDD3"),
        false => (magic == b"XD2B", magic == b"XD2D"),
    };
    if !(is_data || is_whole && is_first) {
        return Err(Error::damaged("a block of a folder that is none"));
    }
    let header = Header { checksum: 4, place: 8, uuid: 24, owner: 40 };
    xfs.verify("a block of a folder", bytes, place, inode.number, header)?;
    // The index of a folder of one block is at its end.
    let end = match is_whole {
        true => {
            let tail = bytes.len() - 8;
            let index = (bytes.be32(tail)? as usize).checked_mul(8);
            let end = index.and_then(|index| tail.checked_sub(index));
            end.ok_or_else(|| Error::damaged("an index larger than its block"))?
        }
        false => bytes.len(),
    };
    let mut at = if xfs.layout.is_v5 { 64 } else { 16 };
    while at < end {
        if bytes.be16(at)? == 0xFFFF {
            let length = usize::from(bytes.be16(at + 2)?);
            if length == 0 || length % 8 != 0 {
                return Err(Error::damaged("free space of a folder without a length"));
            }
            at += length;
            continue;
        }
        let length = usize::from(bytes.byte(at + 8)?);
        let name = bytes.part(at + 9, length)?;
        let kind = if xfs.layout.has_types { bytes.byte(at + 9 + length)? } else { 0 };
        let size = (8 + 1 + length + usize::from(xfs.layout.has_types) + 2).next_multiple_of(8);
        if length == 0 || at + size > end || usize::from(bytes.be16(at + size - 2)?) != at {
            return Err(Error::damaged("an entry of a folder that does not fit into its block"));
        }
        push(xfs, entries, name, bytes.be64(at)?, kind)?;
        at += size;
    }
    Ok(())
}
