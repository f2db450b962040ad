//! Extended attributes: in the inode, in a block, in inodes of their own.

use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::ext::inode::Inode;
use crate::ext::{Ext, map};
use crate::fields::{Fields, in_memory};
use crate::system::{MOST_XATTR_BYTES, NodeKind, Xattr};

const MAGIC: u32 = 0xEA02_0000;
/// Namespaces that stand for a whole name.
const ACCESS: u8 = 2;
const DEFAULT: u8 = 3;
const SYSTEM: u8 = 7;
const HEADER: usize = 32;

pub(super) struct Attribute {
    namespace: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

pub(super) fn read(ext: &Ext, inode: &Inode) -> Result<Vec<Attribute>> {
    let mut found = Vec::new();
    let extra = inode.extra()?;
    if let Some(body) = inode.bytes.get(128 + extra..).filter(|body| extra > 0 && body.len() >= 8)
        && body.le32(0)? == MAGIC
    {
        let body = body.part(4, body.len() - 4)?;
        entries(ext, body, body, &mut found)?;
    }
    let number = inode.xattr_block()?;
    if number != 0 {
        let mut block = ext.block(number)?;
        if block.le32(0)? != MAGIC || block.le32(8)? != 1 {
            return Err(Error::damaged("no block of attributes where the inode says"));
        }
        if let Some(seed) = ext.layout.seed {
            let stored = block.le32(16)?;
            block.get_mut(16..20).unwrap_or_default().fill(0);
            if crc32c(crc32c(seed, &number.to_le_bytes()), &block) != stored {
                return Err(Error::damaged("the checksum of the attributes does not hold"));
            }
        }
        entries(ext, block.part(HEADER, block.len() - HEADER)?, &block, &mut found)?;
    }
    Ok(found)
}

/// What of inline data has no place in the map of the inode.
pub(super) fn inline_rest(ext: &Ext, inode: &Inode) -> Result<Vec<u8>> {
    let is_data = |attribute: &Attribute| attribute.namespace == SYSTEM && attribute.name == b"data";
    Ok(read(ext, inode)?.into_iter().find(is_data).map(|attribute| attribute.value).unwrap_or_default())
}

/// The entries at the beginning of `list`, whose values are in `values`.
fn entries(ext: &Ext, list: &[u8], values: &[u8], found: &mut Vec<Attribute>) -> Result<()> {
    let mut at = 0;
    while list.len() - at >= 4 && list.le32(at)? != 0 {
        let (name_length, namespace) = (usize::from(list.byte(at)?), list.byte(at + 1)?);
        let (offset, inode) = (usize::from(list.le16(at + 2)?), u64::from(list.le32(at + 4)?));
        let size = in_memory(list.le32(at + 8)?.into(), MOST_XATTR_BYTES, "an attribute")?;
        let name = list.part(at + 16, name_length)?.to_vec();
        let value = if inode != 0 {
            let inode = ext.inode(inode)?;
            if inode.kind() != NodeKind::File || inode.size() != size as u64 {
                return Err(Error::damaged(
                    "the value of an attribute is not in the inode that it should be in",
                ));
            }
            map::content(ext, &inode)?.read_all(MOST_XATTR_BYTES)?
        } else {
            values.part(offset, size)?.to_vec()
        };
        found.push(Attribute { namespace, name, value });
        at += (16 + name_length).next_multiple_of(4);
        if at > list.len() {
            return Err(Error::damaged("attributes that do not fit into their place"));
        }
    }
    Ok(())
}

impl Attribute {
    /// As Linux hands it out; `None` for what it keeps to itself.
    pub(super) fn into_visible(self) -> Option<Xattr> {
        let prefix: &[u8] = match self.namespace {
            1 => b"user.",
            ACCESS | DEFAULT => {
                let name: &[u8] = match self.namespace {
                    ACCESS => b"system.posix_acl_access",
                    _ => b"system.posix_acl_default",
                };
                return Some(Xattr { name: name.to_vec(), value: acl(&self.value)? });
            }
            4 => b"trusted.",
            6 => b"security.",
            // Inline data and keys of encrypted folders.
            _ => return None,
        };
        Some(Xattr { name: [prefix, &self.name].concat(), value: self.value })
    }
}

/// Access control lists leave out the ids that have no meaning; those of the call have them.
fn acl(stored: &[u8]) -> Option<Vec<u8>> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    let mut rest = stored.get(4..)?;
    while let Some((entry, after)) = rest.split_first_chunk::<4>() {
        let named = matches!(u16::from_le_bytes([entry[0], entry[1]]), 0x02 | 0x08);
        value.extend(entry);
        rest = after;
        let id = if named { *rest.split_off(..4)?.first_chunk::<4>()? } else { [0xFF; 4] };
        value.extend(id);
    }
    Some(value)
}
