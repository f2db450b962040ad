//! Folders: a tree of entries sorted by name.

use crate::error::{Error, Result};
use crate::fields::{Fields, units, utf16};
use crate::file::File;
use crate::ntfs::attribute::{content, kind};
use crate::ntfs::record::{Record, fix_up};
use crate::ntfs::{FIRST_OF_USERS, Ntfs};
use crate::system::{Entry, MOST_ENTRIES, Node, NodeKind};

/// `$I30`, the index of names.
const NAMES: &[u16] = &[0x24, 0x49, 0x33, 0x30];
const LEADS_DOWN: u16 = 0x1;
const LAST: u16 = 0x2;
/// Deeper than a tree of that many entries gets.
const DEEPEST: u32 = 16;
const FOLDER: u32 = 0x1000_0000;
const REPARSE: u32 = 0x400;
/// A name of eight and three characters beside a longer one.
const FOR_DOS: u8 = 2;

pub(super) fn list(ntfs: &Ntfs, record: &Record) -> Result<Vec<Entry>> {
    let root =
        record.find(kind::INDEX_ROOT, NAMES).ok_or_else(|| Error::damaged("a folder without an index"))?;
    let root = root.resident()?;
    let block_size = root.le32(8)? as usize;
    if !block_size.is_power_of_two() || !(512..=1 << 20).contains(&block_size) {
        return Err(Error::damaged("an index with blocks of a size that they cannot have"));
    }
    let blocks = match record.find(kind::INDEX, NAMES) {
        Some(_) => Some(content(ntfs, record, kind::INDEX, NAMES)?),
        None => None,
    };
    // Blocks are numbered by clusters, or by sectors if they are smaller than a cluster.
    let unit = if block_size as u64 >= ntfs.cluster { ntfs.cluster } else { 512 };
    let left = blocks.as_ref().map_or(0, |blocks| blocks.size() / block_size as u64);
    let mut walk = Walk { blocks, block_size, unit, left, entries: Vec::new() };
    walk.node(root.get(16..).unwrap_or_default(), 0)?;
    Ok(walk.entries)
}

struct Walk {
    blocks: Option<File>,
    block_size: usize,
    unit: u64,
    /// Blocks that may still be visited: each is at one place of the tree.
    left: u64,
    entries: Vec<Entry>,
}

impl Walk {
    /// The entries of a node, from its header on.
    fn node(&mut self, node: &[u8], depth: u32) -> Result<()> {
        let mut at = node.le32(0)? as usize;
        let end = (node.le32(4)? as usize).min(node.len());
        loop {
            let length = usize::from(node.le16(at + 8)?);
            let flags = node.le16(at + 12)?;
            if length < 16 || at + length > end {
                return Err(Error::damaged("an entry of an index that does not fit into its block"));
            }
            let entry = node.part(at, length)?;
            if flags & LEADS_DOWN != 0 {
                self.block(entry.le64(length - 8)?, depth + 1)?;
            }
            if flags & LAST != 0 {
                return Ok(());
            }
            self.entry(entry)?;
            at += length;
        }
    }

    fn block(&mut self, number: u64, depth: u32) -> Result<()> {
        let blocks = self
            .blocks
            .as_ref()
            .ok_or_else(|| Error::damaged("an index leads to blocks that it does not have"))?;
        if depth > DEEPEST || self.left == 0 {
            return Err(Error::damaged("an index that leads back to itself"));
        }
        self.left -= 1;
        let at = number
            .checked_mul(self.unit)
            .filter(|at| at.checked_add(self.block_size as u64).is_some_and(|end| end <= blocks.size()));
        let at = at.ok_or_else(|| Error::damaged("an index leads behind its end"))?;
        let mut bytes = blocks.metadata(at, self.block_size)?;
        fix_up(&mut bytes, b"INDX")?;
        if bytes.le64(16)? != number {
            return Err(Error::damaged("a block of an index that belongs elsewhere"));
        }
        self.node(bytes.get(24..).unwrap_or_default(), depth)
    }

    fn entry(&mut self, entry: &[u8]) -> Result<()> {
        let reference = entry.le64(0)?;
        let (number, sequence) = (reference & 0xFFFF_FFFF_FFFF, reference >> 48);
        let name = entry.part(16, entry.le16(10)?.into())?;
        if name.byte(65)? == FOR_DOS || number < FIRST_OF_USERS {
            return Ok(());
        }
        if self.entries.len() >= MOST_ENTRIES {
            return Err(Error::too_large(format!("a folder of more than {MOST_ENTRIES} entries")));
        }
        let attributes = name.le32(56)?;
        // What a reparse point is stands in its record.
        let kind = match attributes {
            attributes if attributes & REPARSE != 0 => None,
            attributes if attributes & FOLDER != 0 => Some(NodeKind::Folder),
            _ => Some(NodeKind::File),
        };
        let text = utf16(units(name.part(66, usize::from(name.byte(64)?) * 2)?));
        self.entries.push(Entry { name: text, node: Node(sequence, number), kind });
        Ok(())
    }
}
