//! The journal (jbd2): what its committed transactions would write, by block.

use std::collections::{BTreeMap, HashMap};

use crate::checksum::crc32c;
use crate::device::Patch;
use crate::error::{Error, Result};
use crate::ext::{Ext, JOURNAL, map};
use crate::fields::Fields;
use crate::file::{File, Place};

const MAGIC: u32 = 0xC03B_3998;

mod feature {
    pub(super) const WIDE: u32 = 0x2;
    pub(super) const CHECKSUMS_2: u32 = 0x8;
    pub(super) const CHECKSUMS_3: u32 = 0x10;
    pub(super) const FAST_COMMITS: u32 = 0x20;
    /// Revoked blocks, 64 bits, asynchronous commits, both kinds of checksums, fast commits.
    pub(super) const KNOWN: u32 = 0x1 | WIDE | 0x4 | CHECKSUMS_2 | CHECKSUMS_3 | FAST_COMMITS;
}

mod tag {
    pub(super) const ESCAPED: u32 = 1;
    pub(super) const SAME_UUID: u32 = 2;
    pub(super) const LAST: u32 = 8;
}

/// The blocks that the journal holds newer contents of.
pub(super) fn replay(ext: &Ext) -> Result<BTreeMap<u64, Patch>> {
    let number = ext.layout.journal;
    if number != JOURNAL {
        return Err(Error::unsupported("changes are in a journal on another device, which is not here"));
    }
    let file = map::content(ext, &ext.inode(number)?)?;
    Journal::open(ext, file)?.replay()
}

struct Journal<'a> {
    ext: &'a Ext,
    file: File,
    features: u32,
    seed: u32,
    /// Blocks of the ring: from `first` up to `end`.
    first: u64,
    end: u64,
    start: u64,
    sequence: u32,
}

/// A transaction that was committed.
struct Transaction {
    sequence: u32,
    /// Block of the file system, block of the journal, whether its first bytes had to be hidden.
    blocks: Vec<(u64, u64, bool)>,
    revoked: Vec<u64>,
}

impl<'a> Journal<'a> {
    fn open(ext: &'a Ext, file: File) -> Result<Self> {
        let size = ext.block_size();
        let mut sb = vec![0; 1024];
        file.read_exact_at(&mut sb, 0)?;
        let version = sb.be32(4)?;
        if sb.be32(0)? != MAGIC || !(3..=4).contains(&version) || u64::from(sb.be32(12)?) != size {
            return Err(Error::damaged("the journal has no superblock"));
        }
        let features = if version == 4 { sb.be32(40)? } else { 0 };
        if features & !feature::KNOWN != 0 {
            return Err(Error::unsupported(format!(
                "features of the journal ({features:#x}) that this version does not know"
            )));
        }
        if features & (feature::CHECKSUMS_2 | feature::CHECKSUMS_3) != 0 {
            let stored = sb.be32(252)?;
            let mut plain = sb.clone();
            plain.get_mut(252..256).unwrap_or_default().fill(0);
            if crc32c(!0, &plain) != stored {
                return Err(Error::damaged("the checksum of the journal's superblock does not hold"));
            }
        }
        let fast = match (features & feature::FAST_COMMITS != 0, u64::from(sb.be32(84)?)) {
            (false, _) => 0,
            (true, 0) => 256,
            (true, blocks) => blocks,
        };
        let blocks = u64::from(sb.be32(16)?);
        let (first, start) = (u64::from(sb.be32(20)?), u64::from(sb.be32(28)?));
        let end = blocks.saturating_sub(fast);
        if blocks * size > file.size() || first == 0 || first >= end || start >= end {
            return Err(Error::damaged("the journal's superblock contradicts itself"));
        }
        let seed = crc32c(!0, sb.part(48, 16)?);
        Ok(Self { ext, file, features, seed, first, end, start, sequence: sb.be32(24)? })
    }

    fn has(&self, features: u32) -> bool {
        self.features & features != 0
    }

    fn has_checksums(&self) -> bool {
        self.has(feature::CHECKSUMS_2 | feature::CHECKSUMS_3)
    }

    fn block(&self, number: u64) -> Result<Vec<u8>> {
        let size = self.ext.block_size();
        let mut block = vec![0; size as usize];
        self.file.read_exact_at(&mut block, number * size)?;
        Ok(block)
    }

    fn replay(&self) -> Result<BTreeMap<u64, Patch>> {
        let mut patches = BTreeMap::new();
        if self.start == 0 {
            return Ok(patches);
        }
        let (transactions, next) = self.transactions()?;
        self.refuse_fast_commits(next)?;
        // A block that a later transaction revoked has become something else; what earlier ones say of it must not be written.
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        for transaction in &transactions {
            for &block in &transaction.revoked {
                revoked.insert(block, transaction.sequence);
            }
        }
        for transaction in &transactions {
            for &(block, place, escaped) in &transaction.blocks {
                let is_revoked = revoked.get(&block).is_some_and(|&by| at_or_after(by, transaction.sequence));
                if !is_revoked {
                    let first = escaped.then_some(MAGIC.to_be_bytes());
                    patches.insert(block, Patch::Moved(self.on_volume(place)?, first));
                }
            }
        }
        Ok(patches)
    }

    /// Where a block of the journal is on the volume.
    fn on_volume(&self, block: u64) -> Result<u64> {
        match self.file.place(block * self.ext.block_size()) {
            Some(Place::Device(at)) => Ok(at),
            _ => Err(Error::damaged("the journal has holes")),
        }
    }

    /// The committed transactions in their order, and the number of the next one.
    fn transactions(&self) -> Result<(Vec<Transaction>, u32)> {
        let mut found = Vec::new();
        let mut sequence = self.sequence;
        let mut at = self.start;
        let mut current = Transaction { sequence, blocks: Vec::new(), revoked: Vec::new() };
        // The ring is walked around once at most.
        let mut left = self.end - self.first;
        while left > 0 {
            let block = self.block(at)?;
            if block.be32(0)? != MAGIC || block.be32(8)? != sequence {
                break;
            }
            let mut used = 1;
            match block.be32(4)? {
                1 => {
                    let tags = match self.tags(&block) {
                        Ok(tags) => tags,
                        // The beginning of a transaction that was not finished.
                        Err(_) => break,
                    };
                    let mut data = at;
                    for (target, escaped, checksum) in tags {
                        data = self.next(data);
                        used += 1;
                        current.blocks.push((target, data, escaped));
                        self.check_data(&mut current, sequence, data, checksum)?;
                    }
                }
                2 => {
                    if self.has_checksums() && !self.is_commit_whole(&block)? {
                        break;
                    }
                    sequence = sequence.wrapping_add(1);
                    let next = Transaction { sequence, blocks: Vec::new(), revoked: Vec::new() };
                    found.push(std::mem::replace(&mut current, next));
                }
                5 => match self.revoked(&block) {
                    Ok(blocks) => current.revoked.extend(blocks),
                    Err(_) => break,
                },
                _ => break,
            }
            if used > left {
                break;
            }
            left -= used;
            for _ in 0..used {
                at = self.next(at);
            }
        }
        // A block that does not have its checksum matters only if its transaction was committed.
        let spoilt =
            found.iter().flat_map(|transaction| &transaction.blocks).any(|&(target, ..)| target == SPOILT);
        match spoilt {
            true => Err(Error::damaged("a committed block of the journal does not have its checksum")),
            false => Ok((found, sequence)),
        }
    }

    fn next(&self, block: u64) -> u64 {
        if block + 1 >= self.end { self.first } else { block + 1 }
    }

    /// The blocks that a descriptor announces: target, whether it is escaped, checksum.
    fn tags(&self, block: &[u8]) -> Result<Vec<(u64, bool, u32)>> {
        self.check_tail(block)?;
        let wide = self.has(feature::WIDE);
        let (version_2, version_3) = (self.has(feature::CHECKSUMS_2), self.has(feature::CHECKSUMS_3));
        let size = match (version_3, version_2, wide) {
            (true, ..) => 16,
            (false, true, true) => 14,
            (false, true, false) => 10,
            (false, false, true) => 12,
            (false, false, false) => 8,
        };
        let end = block.len() - if self.has_checksums() { 4 } else { 0 };
        let mut tags = Vec::new();
        let mut at = 12;
        while at + size <= end {
            let low = u64::from(block.be32(at)?);
            let (flags, checksum) = match version_3 {
                true => (block.be32(at + 4)?, block.be32(at + 12)?),
                false => (block.be16(at + 6)?.into(), block.be16(at + 4)?.into()),
            };
            let high = if wide { u64::from(block.be32(at + 8)?) } else { 0 };
            let target = high << 32 | low;
            if target >= self.ext.layout.blocks {
                return Err(Error::damaged("the journal has a block behind the end of the file system"));
            }
            tags.push((target, flags & tag::ESCAPED != 0, checksum));
            at += size + if flags & tag::SAME_UUID == 0 { 16 } else { 0 };
            if flags & tag::LAST != 0 {
                break;
            }
        }
        Ok(tags)
    }

    fn revoked(&self, block: &[u8]) -> Result<Vec<u64>> {
        self.check_tail(block)?;
        let wide = self.has(feature::WIDE);
        let size = if wide { 8 } else { 4 };
        let used = (block.be32(12)? as usize).min(block.len());
        (16..used.saturating_sub(size - 1))
            .step_by(size)
            .map(|at| if wide { block.be64(at) } else { block.be32(at).map(u64::from) })
            .collect()
    }

    /// Descriptors and lists of revoked blocks end with their checksum.
    fn check_tail(&self, block: &[u8]) -> Result<()> {
        if !self.has_checksums() {
            return Ok(());
        }
        let end = block.len() - 4;
        let computed = crc32c(crc32c(self.seed, block.part(0, end)?), &[0; 4]);
        match computed == block.be32(end)? {
            true => Ok(()),
            false => Err(Error::damaged("the checksum of a block of the journal does not hold")),
        }
    }

    fn is_commit_whole(&self, block: &[u8]) -> Result<bool> {
        let mut plain = block.to_vec();
        plain.get_mut(16..20).unwrap_or_default().fill(0);
        Ok(crc32c(self.seed, &plain) == block.be32(16)?)
    }

    /// Marks the block just added when its content is not what was written.
    fn check_data(&self, current: &mut Transaction, sequence: u32, place: u64, stored: u32) -> Result<()> {
        if !self.has_checksums() {
            return Ok(());
        }
        let computed = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &self.block(place)?);
        let holds = match self.has(feature::CHECKSUMS_3) {
            true => computed == stored,
            false => computed & 0xFFFF == stored,
        };
        if !holds && let Some(last) = current.blocks.last_mut() {
            last.0 = SPOILT;
        }
        Ok(())
    }

    /// Fast commits say in words of their own what happened to files after the last transaction. Without them the file system would be
    /// older than it should be.
    fn refuse_fast_commits(&self, next: u32) -> Result<()> {
        if !self.has(feature::FAST_COMMITS) {
            return Ok(());
        }
        // Tag 9 is the head, which says for which transaction they are.
        let block = self.block(self.end)?;
        match block.le16(0)? == 9 && block.le32(8)? == next {
            true => Err(Error::unsupported(
                "the journal has fast commits; mount it once in its guest to have them written",
            )),
            false => Ok(()),
        }
    }
}

/// Stands for the target of a block that is not whole.
const SPOILT: u64 = u64::MAX;

/// Numbers of transactions wrap around.
fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 31
}
