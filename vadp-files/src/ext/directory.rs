//! Folders: all blocks in turn, whether there is an index or not.

use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::ext::inode::{INDEXED, INLINE, Inode};
use crate::ext::{Ext, map};
use crate::fields::Fields;
use crate::system::{Entry, MOST_ENTRIES, Node, NodeKind};

pub(super) fn list(ext: &Ext, inode: &Inode) -> Result<Vec<Entry>> {
    if inode.kind() != NodeKind::Folder {
        return Err(Error::wrong_type("not a folder"));
    }
    inode.refuse_encrypted()?;
    let content = map::content(ext, inode)?;
    let mut entries = Vec::new();
    if inode.has(INLINE) {
        // In place of `.` and `..` stands the folder above; what is in the attributes goes on behind.
        let bytes = content.read_all(1 << 16)?;
        let (first, rest) = bytes.split_at_checked(60).unwrap_or((&bytes, &[]));
        block(ext, first.get(4..).unwrap_or_default(), &mut entries)?;
        block(ext, rest, &mut entries)?;
        return Ok(entries);
    }
    let size = ext.block_size();
    if !content.size().is_multiple_of(size) {
        return Err(Error::damaged("a folder that is no whole number of blocks"));
    }
    let mut bytes = vec![0; size as usize];
    for number in 0..content.size() / size {
        // The first block of an index holds `.`, `..` and hashes; no other entry.
        if number == 0 && inode.has(INDEXED) {
            continue;
        }
        content.read_exact_at(&mut bytes, number * size)?;
        let is_index =
            inode.has(INDEXED) && bytes.le32(0)? == 0 && length(ext, bytes.le16(4)?) == size as usize;
        if is_index {
            continue;
        }
        verify(inode, &bytes)?;
        block(ext, &bytes, &mut entries)?;
    }
    Ok(entries)
}

/// Bytes of an entry; those of 64 KiB do not fit into the field.
fn length(ext: &Ext, field: u16) -> usize {
    match field {
        0 | 0xFFFF if ext.block_size() == 1 << 16 => 1 << 16,
        field => field.into(),
    }
}

fn block(ext: &Ext, bytes: &[u8], entries: &mut Vec<Entry>) -> Result<()> {
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let inode = bytes.le32(at)?;
        let size = length(ext, bytes.le16(at + 4)?);
        let name_length = usize::from(bytes.byte(at + 6)?);
        if size < 8 || !size.is_multiple_of(4) || at + size > bytes.len() || name_length + 8 > size {
            return Err(Error::damaged("an entry of a folder that does not fit into its block"));
        }
        let name = bytes.part(at + 8, name_length)?;
        if inode != 0 && name != b"." && name != b".." {
            if entries.len() >= MOST_ENTRIES {
                return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
            }
            let kind = match bytes.byte(at + 7)? {
                1 => Some(NodeKind::File),
                2 => Some(NodeKind::Folder),
                7 => Some(NodeKind::Link),
                3..=6 => Some(NodeKind::Special),
                _ => None,
            };
            entries.push(Entry { name: name.to_vec(), node: Node(0, inode.into()), kind });
        }
        at += size;
    }
    Ok(())
}

/// The last twelve bytes of a block are an entry without a name that holds the checksum.
fn verify(inode: &Inode, block: &[u8]) -> Result<()> {
    let Some(seed) = inode.seed else { return Ok(()) };
    let end = block.len().saturating_sub(12);
    match block.le32(end + 8)? == crc32c(seed, block.part(0, end)?) {
        true => Ok(()),
        false => Err(Error::damaged("the checksum of a block of a folder does not hold")),
    }
}
