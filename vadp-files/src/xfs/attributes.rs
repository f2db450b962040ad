//! Extended attributes: within the inode, or in leaves that lead from one to the next.

use crate::error::{Error, Result};
use crate::fields::{Fields, in_memory};
use crate::system::{MOST_XATTR_BYTES, Xattr};
use crate::xfs::inode::{Format, Inode};
use crate::xfs::map::{Run, runs};
use crate::xfs::{Header, Xfs};

const ROOT: u8 = 0x02;
const SECURE: u8 = 0x04;
const PARENT: u8 = 0x08;
const INCOMPLETE: u8 = 0x80;
const LOCAL: u8 = 0x01;
/// Blocks of a node on the way to the first leaf, and leaves of one inode: more than a node may have.
const MOST_BLOCKS: usize = 1 << 16;

pub(super) fn read(xfs: &Xfs, inode: &Inode) -> Result<Vec<Xattr>> {
    let Some(fork) = inode.attributes()? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    match fork.format {
        Format::Device => {}
        Format::Local => short(fork.bytes, &mut found)?,
        Format::Extents | Format::Tree => {
            let runs = runs(xfs, inode, fork)?;
            if !runs.is_empty() {
                Leaves { xfs, inode, runs }.read(&mut found)?;
            }
        }
    }
    Ok(found)
}

fn short(bytes: &[u8], found: &mut Vec<Xattr>) -> Result<()> {
    let mut at = 4;
    for _ in 0..bytes.byte(2)? {
        let (name, value) = (usize::from(bytes.byte(at)?), usize::from(bytes.byte(at + 1)?));
        let flags = bytes.byte(at + 2)?;
        at += 3;
        push(found, flags, bytes.part(at, name)?, bytes.part(at + name, value)?.to_vec());
        at += name + value;
    }
    Ok(())
}

/// Adds an attribute by its name in Linux.
fn push(found: &mut Vec<Xattr>, flags: u8, name: &[u8], value: Vec<u8>) {
    if flags & (PARENT | INCOMPLETE) != 0 {
        return;
    }
    let acl = match (flags & ROOT != 0, name) {
        (true, b"SGI_ACL_FILE") => Some(b"system.posix_acl_access".to_vec()),
        (true, b"SGI_ACL_DEFAULT") => Some(b"system.posix_acl_default".to_vec()),
        _ => None,
    };
    if let Some(name) = acl {
        if let Ok(value) = access_list(&value) {
            found.push(Xattr { name, value });
        }
        return;
    }
    let prefix: &[u8] = match flags {
        flags if flags & ROOT != 0 => b"trusted.",
        flags if flags & SECURE != 0 => b"security.",
        _ => b"user.",
    };
    found.push(Xattr { name: [prefix, name].concat(), value });
}

/// An access control list as the call hands it out.
fn access_list(stored: &[u8]) -> Result<Vec<u8>> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for at in (4..).step_by(12).take(stored.be32(0)?.min(1024) as usize) {
        let (tag, id, rights) = (stored.be32(at)?, stored.be32(at + 4)?, stored.be16(at + 8)?);
        // Only named users and groups have an id; Linux says -1 for the others.
        let id = if matches!(tag, 0x02 | 0x08) { id } else { u32::MAX };
        value.extend((tag as u16).to_le_bytes());
        value.extend(rights.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(value)
}

struct Leaves<'a> {
    xfs: &'a Xfs,
    inode: &'a Inode,
    runs: Vec<Run>,
}

impl Leaves<'_> {
    /// Where a block of the fork is on the volume.
    fn place(&self, block: u64) -> Result<u64> {
        let run = self.runs.iter().find(|run| (run.block..run.block + run.count).contains(&block));
        let run = run.ok_or_else(|| Error::damaged(format!("the attributes have no block {block}")))?;
        Ok(run.at + (block - run.block) * self.xfs.layout.block_size)
    }

    fn block(&self, block: u64) -> Result<Vec<u8>> {
        let place = self.place(block)?;
        let bytes = self.xfs.device.block(place, self.xfs.layout.block_size as usize)?;
        let header = Header { checksum: 12, place: 16, uuid: 32, owner: 48 };
        self.xfs.verify("a block of attributes", &bytes, place, self.inode.number, header)?;
        Ok(bytes)
    }

    fn read(&self, found: &mut Vec<Xattr>) -> Result<()> {
        let is_v5 = self.xfs.layout.is_v5;
        let (leaf, node) = if is_v5 { (0x3BEE, 0x3EBE) } else { (0xFBEE, 0xFEBE) };
        let mut block = self.block(0)?;
        let mut steps = 0;
        while block.be16(8)? == node {
            steps += 1;
            if steps > 8 {
                return Err(Error::damaged("a tree of attributes that is too deep"));
            }
            let first = if is_v5 { 64 } else { 16 };
            block = self.block(block.be32(first + 4)?.into())?;
        }
        let mut total = 0;
        loop {
            if block.be16(8)? != leaf {
                return Err(Error::damaged("a leaf of attributes that is none"));
            }
            self.leaf(&block, found, &mut total)?;
            let next = block.be32(0)?;
            steps += 1;
            match next {
                0 => return Ok(()),
                _ if steps > MOST_BLOCKS => {
                    return Err(Error::damaged("leaves of attributes that have no end"));
                }
                next => block = self.block(next.into())?,
            }
        }
    }

    fn leaf(&self, leaf: &[u8], found: &mut Vec<Xattr>, total: &mut usize) -> Result<()> {
        let (count_at, entries) = if self.xfs.layout.is_v5 { (56, 80) } else { (12, 32) };
        for entry in (entries..).step_by(8).take(leaf.be16(count_at)?.into()) {
            let (at, flags) = (usize::from(leaf.be16(entry + 4)?), leaf.byte(entry + 6)?);
            if flags & INCOMPLETE != 0 {
                continue;
            }
            let (name, value) = if flags & LOCAL != 0 {
                let (value, name) = (usize::from(leaf.be16(at)?), usize::from(leaf.byte(at + 2)?));
                (leaf.part(at + 3, name)?, leaf.part(at + 3 + name, value)?.to_vec())
            } else {
                let name = leaf.part(at + 9, usize::from(leaf.byte(at + 8)?))?;
                let size = in_memory(leaf.be32(at + 4)?.into(), MOST_XATTR_BYTES, "an attribute")?;
                (name, self.remote(leaf.be32(at)?.into(), size)?)
            };
            *total += name.len() + value.len();
            if *total > MOST_XATTR_BYTES {
                return Err(Error::too_large("more than 16 MiB of attributes"));
            }
            push(found, flags, name, value);
        }
        Ok(())
    }

    /// A value in blocks of its own.
    fn remote(&self, first: u64, size: usize) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        for block in first.. {
            if value.len() >= size {
                break;
            }
            let place = self.place(block)?;
            let bytes = self.xfs.device.block(place, self.xfs.layout.block_size as usize)?;
            if !self.xfs.layout.is_v5 {
                value.extend(bytes);
                continue;
            }
            let header = Header { checksum: 12, place: 40, uuid: 16, owner: 32 };
            if bytes.part(0, 4)? != b"XARM" || bytes.be32(4)? as usize != value.len() || bytes.be32(8)? == 0 {
                return Err(Error::damaged("no value of an attribute where it should be"));
            }
            self.xfs.verify("a value of an attribute", &bytes, place, self.inode.number, header)?;
            value.extend(bytes.part(56, bytes.be32(8)? as usize)?);
        }
        value.truncate(size);
        Ok(value)
    }
}
