//! Where the content of an inode is: extents, block lists, inline.

use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::ext::inode::{EXTENTS, INLINE, Inode};
use crate::ext::{Ext, xattr};
use crate::fields::Fields;
use crate::file::{Extent, File, MOST_EXTENTS, MOST_NODES, Place, visit};

/// The content of a file, a folder or a link.
pub(super) fn content(ext: &Ext, inode: &Inode) -> Result<File> {
    let size = inode.size();
    if inode.has(INLINE) {
        let mut bytes = inode.map()?.to_vec();
        bytes.extend(xattr::inline_rest(ext, inode)?);
        // mke2fs marks files that are nothing but a hole so, too; Linux reads what is not there as zeros.
        let length = bytes.len() as u64;
        return File::new(
            ext.device.clone(),
            size,
            vec![Extent { start: 0, length, place: Place::Memory(bytes.into()) }],
        );
    }
    let mut runs = Runs { ext, extents: Vec::new(), size, left: MOST_NODES };
    if inode.has(EXTENTS) {
        runs.extents(inode, inode.map()?, None)?;
    } else {
        runs.lists(inode.map()?)?;
    }
    File::new(ext.device.clone(), size, runs.extents)
}

struct Runs<'a> {
    ext: &'a Ext,
    extents: Vec<Extent>,
    size: u64,
    /// Nodes that may still be visited.
    left: u32,
}

impl Runs<'_> {
    /// The entries of a node of the tree; `depth` is what the node above says of it.
    fn extents(&mut self, inode: &Inode, node: &[u8], depth: Option<u16>) -> Result<()> {
        let (magic, count, most, own_depth) = (node.le16(0)?, node.le16(2)?, node.le16(4)?, node.le16(6)?);
        visit(&mut self.left)?;
        // Depth falls with each level, so no loop is possible.
        if magic != 0xF30A || count > most || own_depth > 5 || depth.is_some_and(|depth| depth != own_depth) {
            return Err(Error::damaged("a node of the tree of extents that is none"));
        }
        for at in (12..).step_by(12).take(count.into()) {
            let entry = node.part(at, 12)?;
            let block = u64::from(entry.le32(0)?);
            if own_depth > 0 {
                let child = u64::from(entry.le32(4)?) | u64::from(entry.le16(8)?) << 32;
                let child = self.ext.block(child)?;
                verify(inode, &child)?;
                self.extents(inode, &child, Some(own_depth - 1))?;
                continue;
            }
            let length = entry.le16(4)?;
            let place = u64::from(entry.le32(8)?) | u64::from(entry.le16(6)?) << 32;
            // Longer ones are allocated, but were never written: they read as zeros.
            if length <= 0x8000 {
                self.push(block, place, length.into())?;
            }
        }
        Ok(())
    }

    /// The lists of ext2 and ext3: twelve blocks, then lists of blocks, lists of lists, lists of those.
    fn lists(&mut self, map: &[u8]) -> Result<()> {
        let mut block = 0;
        for slot in 0..12 {
            self.push(block, map.le32(slot * 4)?.into(), 1)?;
            block += 1;
        }
        for level in 1..=3_u32 {
            self.list(map.le32(44 + level as usize * 4)?.into(), level, &mut block)?;
        }
        Ok(())
    }

    fn list(&mut self, at: u64, level: u32, block: &mut u64) -> Result<()> {
        let per_list = self.ext.block_size() / 4;
        if *block * self.ext.block_size() >= self.size {
            return Ok(());
        }
        if level == 0 {
            self.push(*block, at, 1)?;
            *block += 1;
            return Ok(());
        }
        if at == 0 {
            *block += per_list.pow(level);
            return Ok(());
        }
        visit(&mut self.left)?;
        let list = self.ext.block(at)?;
        for entry in 0..per_list as usize {
            self.list(list.le32(entry * 4)?.into(), level - 1, block)?;
        }
        Ok(())
    }

    /// Blocks of the file from `block` on, at `place` on the volume; 0 is a hole.
    fn push(&mut self, block: u64, place: u64, count: u64) -> Result<()> {
        let size = self.ext.block_size();
        if place == 0 || count == 0 {
            return Ok(());
        }
        if place + count > self.ext.layout.blocks {
            return Err(Error::damaged("an extent behind the end of the file system"));
        }
        let (start, at, length) = (block * size, place * size, count * size);
        if let Some(last) = self.extents.last_mut()
            && let Place::Device(before) = last.place
            && last.start + last.length == start
            && before + last.length == at
        {
            last.length += length;
            return Ok(());
        }
        if self.extents.len() >= MOST_EXTENTS {
            return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
        }
        self.extents.push(Extent { start, length, place: Place::Device(at) });
        Ok(())
    }
}

/// The checksum of a block of extents is behind its last possible entry.
fn verify(inode: &Inode, block: &[u8]) -> Result<()> {
    let Some(seed) = inode.seed else { return Ok(()) };
    let end = 12 + usize::from(block.le16(4)?) * 12;
    match crc32c(seed, block.part(0, end)?) == block.le32(end)? {
        true => Ok(()),
        false => Err(Error::damaged("the checksum of a block of extents does not hold")),
    }
}
