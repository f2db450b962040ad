//! Trees: nodes that lead to nodes, leaves of items in the order of their keys.

use std::sync::{Arc, Mutex, PoisonError};

use crate::btrfs::Btrfs;
use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::file::{MOST_NODES, visit};

/// Bytes before the items of a node.
const HEADER: usize = 101;
const HIGHEST: u8 = 8;
/// Nodes that are kept: 4 MiB of the usual ones.
const KEPT: u64 = 256;

/// Nodes by address and level.
pub(super) type Nodes = Mutex<Vec<Option<(u64, u8, Arc<[u8]>)>>>;

pub(super) fn no_nodes() -> Nodes {
    Mutex::new(vec![None; KEPT as usize])
}

/// What an item is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    /// The first that an item of this object and kind can have.
    pub(super) fn first(object: u64, kind: u8) -> Self {
        Self { object, kind, offset: 0 }
    }

    /// The last.
    pub(super) fn last(object: u64, kind: u8) -> Self {
        Self { object, kind, offset: u64::MAX }
    }

    fn read(bytes: &[u8], at: usize) -> Result<Self> {
        Ok(Self { object: bytes.le64(at)?, kind: bytes.byte(at + 8)?, offset: bytes.le64(at + 9)? })
    }
}

impl Btrfs {
    /// Hands out the items from `first` to `last`, in order.
    pub(super) fn items(
        &self,
        root: u64,
        level: u8,
        first: Key,
        last: Key,
        each: &mut dyn FnMut(Key, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.descend((root, level), first, last, &mut { MOST_NODES }, each)
    }

    fn descend(
        &self,
        (root, level): (u64, u8),
        first: Key,
        last: Key,
        left: &mut u32,
        each: &mut dyn FnMut(Key, &[u8]) -> Result<()>,
    ) -> Result<()> {
        visit(left)?;
        if level >= HIGHEST {
            return Err(Error::damaged("a tree that is higher than it can be"));
        }
        let node = self.node(root, level)?;
        let count = node.le32(96)? as usize;
        if level > 0 {
            for at in (HEADER..).step_by(33).take(count) {
                // All below has keys from this one up to the next.
                let next =
                    if at + 33 < HEADER + count * 33 { Some(Key::read(&node, at + 33)?) } else { None };
                if Key::read(&node, at)? <= last && next.is_none_or(|next| next > first) {
                    // The level falls with each step, so no loop is possible.
                    self.descend((node.le64(at + 17)?, level - 1), first, last, left, each)?;
                }
            }
            return Ok(());
        }
        for at in (HEADER..).step_by(25).take(count) {
            let key = Key::read(&node, at)?;
            if (first..=last).contains(&key) {
                let (offset, size) = (node.le32(at + 17)? as usize, node.le32(at + 21)? as usize);
                each(key, node.part(HEADER.saturating_add(offset), size)?)?;
            }
        }
        Ok(())
    }

    /// A node, verified. Those read lately are kept: every answer begins at the same few.
    fn node(&self, at: u64, level: u8) -> Result<Arc<[u8]>> {
        let slot = (at / self.layout.sector_size as u64 % KEPT) as usize;
        if let Some(Some((own, own_level, node))) =
            self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(slot)
            && (*own, *own_level) == (at, level)
        {
            return Ok(node.clone());
        }
        let node: Arc<[u8]> = self.read_node(at, level)?.into();
        if let Some(place) = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(slot) {
            *place = Some((at, level, node.clone()));
        }
        Ok(node)
    }

    fn read_node(&self, at: u64, level: u8) -> Result<Vec<u8>> {
        let node = self.device.block(at, self.layout.node_size)?;
        let bad = |why: &str| Err(Error::damaged(format!("a node of a tree at {at}: {why}")));
        if !crc32c(!0, node.part(32, node.len() - 32)?) != node.le32(0)? {
            return bad("its checksum does not hold");
        }
        if node.part(32, 16)? != self.layout.uuid || node.le64(48)? != at || node.byte(100)? != level {
            return bad("it belongs elsewhere");
        }
        let size = if level == 0 { 25 } else { 33 };
        if (node.le32(96)? as usize).checked_mul(size).is_none_or(|size| size > node.len() - HEADER) {
            return bad("it has more items than it has room for");
        }
        Ok(node)
    }
}
