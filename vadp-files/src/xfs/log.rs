//! The log: records in a ring of sectors, cut into operations, which make up transactions.

use std::collections::HashMap;

use crate::checksum::crc32c;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::xfs::Xfs;

const SECTOR: u64 = 512;
const MAGIC: u32 = 0xFEED_BABE;
/// Bytes of a record that one header tells the first words of.
const COVERED: usize = 32 << 10;
/// The longest record.
const LONGEST: usize = 256 << 10;
/// The most bytes of transactions that are held at a time.
const MOST_BYTES: usize = 512 << 20;

mod flag {
    pub(super) const START: u8 = 0x01;
    pub(super) const COMMIT: u8 = 0x02;
    pub(super) const WAS_CONTINUED: u8 = 0x08;
    pub(super) const UNMOUNT: u8 = 0x20;
}

/// A transaction that was committed: its items, each of which is one or more regions.
pub(super) struct Transaction {
    /// Where in the log it began.
    pub(super) lsn: u64,
    pub(super) items: Vec<Vec<Vec<u8>>>,
}

/// A record that is whole.
struct Record {
    lsn: u64,
    tail: u64,
    operations: u32,
    /// Sectors with the headers.
    sectors: u64,
    body: Vec<u8>,
}

/// The committed transactions since what is on the volume for sure, in order.
pub(super) fn transactions(xfs: &Xfs) -> Result<Vec<Transaction>> {
    let sectors = xfs.layout.log_blocks * xfs.layout.block_size / SECTOR;
    if xfs.layout.log_start == 0 || sectors == 0 {
        return Err(Error::unsupported("its log is on another device, which is not here"));
    }
    let start = xfs.at(xfs.layout.log_start, xfs.layout.log_blocks)?;
    let log = Log { xfs, start, sectors };
    let Some(head) = log.head()? else { return Ok(Vec::new()) };
    if head.operations == 1 && head.body.byte(9)? & flag::UNMOUNT != 0 {
        return Ok(Vec::new());
    }
    if !xfs.layout.is_v5 {
        return Err(Error::unsupported(
            "the log of XFS version 4 has changes; mount it once in its guest to have them written",
        ));
    }
    log.replayable(&head)
}

struct Log<'a> {
    xfs: &'a Xfs,
    /// Byte of the volume.
    start: u64,
    sectors: u64,
}

/// The two halves of a position: how often the ring was gone around, and the sector.
fn cycle(lsn: u64) -> u64 {
    lsn >> 32
}

fn sector(lsn: u64) -> u64 {
    lsn & 0xFFFF_FFFF
}

impl Log<'_> {
    /// So many sectors, on from the beginning of the ring if need be.
    fn read(&self, sector: u64, count: u64) -> Result<Vec<u8>> {
        let first = count.min(self.sectors - sector);
        let mut bytes = vec![0; (count * SECTOR) as usize];
        let (before, after) = bytes.split_at_mut((first * SECTOR) as usize);
        self.xfs.device.read(self.start + sector * SECTOR, before)?;
        if !after.is_empty() {
            self.xfs.device.read(self.start, after)?;
        }
        Ok(bytes)
    }

    /// The record at a sector; `None` if no whole one of this file system is there.
    fn record(&self, at: u64) -> Result<Option<Record>> {
        let header = self.read(at, 1)?;
        let (length, size) = (header.be32(12)? as usize, header.be32(320)? as usize);
        let lsn = header.be64(16)?;
        let is_record = header.be32(0)? == MAGIC
            && matches!(header.be32(8)?, 1 | 2)
            && length <= LONGEST
            && sector(lsn) == at
            && cycle(lsn) == u64::from(header.be32(4)?);
        if !is_record {
            return Ok(None);
        }
        let headers = match header.be32(8)? {
            2 if size > COVERED && size <= LONGEST => size.div_ceil(COVERED),
            _ => 1,
        };
        let sectors = (headers + length.div_ceil(SECTOR as usize)) as u64;
        if sectors > self.sectors {
            return Ok(None);
        }
        let mut bytes = self.read(at, sectors)?;
        let mut body = bytes.split_off(headers * SECTOR as usize);
        if self.xfs.layout.is_v5
            && self.checksum(&bytes, headers, body.part(0, length)?)? != header.le32(32)?
        {
            return Ok(None);
        }
        // The first word of each sector says which cycle it is of; what was there is in the headers.
        for (index, sector) in body.chunks_mut(SECTOR as usize).enumerate() {
            let place = match index {
                ..64 => 44 + index * 4,
                _ => index / 64 * SECTOR as usize + 4 + index % 64 * 4,
            };
            let word = bytes.part(place, 4)?;
            sector.iter_mut().zip(word).for_each(|(byte, stored)| *byte = *stored);
        }
        body.truncate(length);
        Ok(Some(Record { lsn, tail: header.be64(24)?, operations: header.be32(40)?, sectors, body }))
    }

    fn checksum(&self, headers: &[u8], count: usize, body: &[u8]) -> Result<u32> {
        let mut crc = crc32c(!0, headers.part(0, 32)?);
        crc = crc32c(crc, &[0; 4]);
        crc = crc32c(crc, headers.part(36, 328 - 36)?);
        for extended in 1..count {
            crc = crc32c(crc, headers.part(extended * SECTOR as usize, 260)?);
        }
        Ok(!crc32c(crc, body))
    }

    /// Which cycle a sector is of.
    fn cycle_of(&self, at: u64) -> Result<u32> {
        let bytes = self.xfs.device.block(self.start + at * SECTOR, 8)?;
        match bytes.be32(0)? == MAGIC {
            true => bytes.be32(4),
            false => bytes.be32(0),
        }
    }

    /// The last whole record; `None` for a log that nothing was ever written to.
    fn head(&self) -> Result<Option<Record>> {
        let first = self.cycle_of(0)?;
        // Cycles fall by one where the writer is.
        let (mut low, mut high) = (0, self.sectors);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.cycle_of(middle)? == first { low = middle } else { high = middle }
        }
        // Several records are written at once, so there may be holes before; and what was torn may be behind.
        let window = (16 * LONGEST as u64 / SECTOR).min(self.sectors);
        let mut newest: Option<Record> = None;
        for back in 0..window {
            let at = (high + self.sectors - 1 - back) % self.sectors;
            let bytes = self.xfs.device.block(self.start + at * SECTOR, 4)?;
            if bytes.be32(0)? != MAGIC {
                continue;
            }
            if let Some(record) = self.record(at)?
                && newest.as_ref().is_none_or(|newest| newest.lsn < record.lsn)
            {
                newest = Some(record);
                break;
            }
        }
        Ok(newest)
    }

    /// The transactions of the records from the tail on.
    fn replayable(&self, head: &Record) -> Result<Vec<Transaction>> {
        let mut at = sector(head.tail);
        let mut expected = cycle(head.tail);
        if at >= self.sectors || head.tail > head.lsn || cycle(head.lsn) - expected > 1 {
            return Err(Error::damaged("the log's tail is not within it"));
        }
        let mut open: HashMap<u32, Open> = HashMap::new();
        let mut done = Vec::new();
        let mut held = 0;
        let mut passed = 0;
        loop {
            let record = self.record(at)?.filter(|record| cycle(record.lsn) == expected);
            let Some(record) = record else {
                if at == sector(head.tail) && expected == cycle(head.tail) {
                    return Err(Error::damaged("the log has no record where its tail is"));
                }
                // What follows was not yet all written when the machine stopped: as if it had not been.
                break;
            };
            held += record.body.len();
            if held > MOST_BYTES {
                return Err(Error::too_large("more than 512 MiB of changes in the log"));
            }
            self.operations(&record, &mut open, &mut done)?;
            if record.lsn >= head.lsn {
                break;
            }
            passed += record.sectors;
            at += record.sectors;
            if at >= self.sectors {
                at -= self.sectors;
                expected += 1;
            }
            if passed > self.sectors {
                return Err(Error::damaged("the log goes around more than once"));
            }
        }
        Ok(done)
    }

    fn operations(
        &self,
        record: &Record,
        open: &mut HashMap<u32, Open>,
        done: &mut Vec<Transaction>,
    ) -> Result<()> {
        let body = record.body.as_slice();
        let mut at = 0;
        for _ in 0..record.operations {
            let (id, length, flags) = (body.be32(at)?, body.be32(at + 4)? as usize, body.byte(at + 9)?);
            let payload = body.part(at + 12, length)?;
            at += 12 + length;
            if flags & flag::START != 0 {
                open.insert(id, Open { lsn: record.lsn, regions: Vec::new() });
            }
            if flags & flag::COMMIT != 0 {
                if let Some(open) = open.remove(&id) {
                    done.push(open.commit()?);
                }
                continue;
            }
            // One that began before the tail: it was written already.
            let Some(open) = open.get_mut(&id).filter(|_| !payload.is_empty()) else { continue };
            match open.regions.last_mut() {
                Some(last) if flags & flag::WAS_CONTINUED != 0 => last.extend_from_slice(payload),
                _ => open.regions.push(payload.to_vec()),
            }
        }
        Ok(())
    }
}

/// A transaction whose end has not come yet.
struct Open {
    lsn: u64,
    regions: Vec<Vec<u8>>,
}

impl Open {
    /// The first region is a header of the transaction. The first of each item says how many follow.
    fn commit(self) -> Result<Transaction> {
        let mut regions = self.regions.into_iter().peekable();
        if regions.peek().is_some_and(|first| first.starts_with(b"NART")) {
            regions.next();
        }
        let mut items = Vec::new();
        while let Some(first) = regions.next() {
            let count = first.le16(2)?.max(1);
            let mut item = vec![first];
            for _ in 1..count {
                item.push(
                    regions
                        .next()
                        .ok_or_else(|| Error::damaged("an item of the log that is not all there"))?,
                );
            }
            items.push(item);
        }
        Ok(Transaction { lsn: self.lsn, items })
    }
}
