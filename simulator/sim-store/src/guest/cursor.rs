//! A disk as a stream with a write-back cache.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::{Disk, Error, Result};

/// Bytes of a cached block, and of a page: the unit in which a block is known to be dirty.
const BLOCK: u64 = 64 << 10;
const PAGE: u64 = 4 << 10;
const PAGES: u64 = BLOCK / PAGE;
/// Blocks kept: 32 MiB.
const MAX_BLOCKS: usize = 512;

/// Reads, writes and seeks in a disk like a file, through a cache of 32 MiB.
///
/// `Write::flush` does nothing: file systems call it after every few bytes. Call [`DiskCursor::finish`] (or
/// [`DiskCursor::write_back`]) to bring the writes to the disk and to learn whether that worked; a cursor that is
/// dropped without it discards them. Pages of zeros are not written where the disk has nothing allocated, so
/// formatting a thin disk leaves it thin.
#[derive(Debug)]
pub struct DiskCursor<'a> {
    disk: &'a Disk,
    position: u64,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// One bit a page, lowest first.
    dirty: u16,
}

impl<'a> DiskCursor<'a> {
    /// A cursor at the start of the disk.
    pub fn new(disk: &'a Disk) -> Self {
        Self { disk, position: 0, blocks: BTreeMap::new() }
    }

    /// Writes everything that is only in the cache to the disk.
    ///
    /// # Errors
    /// Those of [`Disk::write_at`]; what could not be written stays in the cache.
    pub fn write_back(&mut self) -> Result<()> {
        for (&number, block) in &mut self.blocks {
            let mut page = 0;
            while page < PAGES {
                if block.dirty >> page & 1 == 0 {
                    page += 1;
                    continue;
                }
                let first = page;
                let zero = is_zero(block.page(first));
                while page < PAGES && block.dirty >> page & 1 == 1 && is_zero(block.page(page)) == zero {
                    page += 1;
                }
                let offset = number * BLOCK + first * PAGE;
                let end = (page * PAGE).min(block.bytes.len() as u64);
                let bytes = &block.bytes[(first * PAGE) as usize..end as usize];
                if !zero || !self.disk.allocated(offset, bytes.len() as u64)?.is_empty() {
                    self.disk.write_at(offset, bytes)?;
                }
            }
            block.dirty = 0;
        }
        Ok(())
    }

    /// Writes back and ends.
    ///
    /// # Errors
    /// As for [`DiskCursor::write_back`].
    pub fn finish(mut self) -> Result<()> {
        self.write_back()
    }

    /// The block with this number; loaded from the disk unless it is about to be overwritten as a whole.
    fn block(&mut self, number: u64, overwritten: bool) -> Result<&mut Block> {
        if self.blocks.len() >= MAX_BLOCKS && !self.blocks.contains_key(&number) {
            self.write_back()?;
            self.blocks.clear();
        }
        match self.blocks.entry(number) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(slot) => {
                let offset = number * BLOCK;
                let mut bytes = vec![0; (self.disk.capacity() - offset).min(BLOCK) as usize];
                if !overwritten {
                    self.disk.read_at(offset, &mut bytes)?;
                }
                Ok(slot.insert(Block { bytes, dirty: 0 }))
            }
        }
    }

    /// How many of `wanted` bytes at the position lie in one block and on the disk.
    fn reach(&self, wanted: usize) -> usize {
        let in_block = BLOCK - self.position % BLOCK;
        let on_disk = self.disk.capacity().saturating_sub(self.position);
        usize::try_from(in_block.min(on_disk)).unwrap_or(usize::MAX).min(wanted)
    }
}

impl Block {
    fn page(&self, page: u64) -> &[u8] {
        let end = ((page + 1) * PAGE).min(self.bytes.len() as u64);
        &self.bytes[(page * PAGE).min(end) as usize..end as usize]
    }
}

impl Read for DiskCursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reach(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        let (number, inside) = (self.position / BLOCK, (self.position % BLOCK) as usize);
        let block = self.block(number, false).map_err(Error::into_io)?;
        buffer[..count].copy_from_slice(&block.bytes[inside..inside + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for DiskCursor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.reach(bytes.len());
        if count == 0 {
            return Ok(0);
        }
        let (number, inside) = (self.position / BLOCK, (self.position % BLOCK) as usize);
        let block = self.block(number, count as u64 == BLOCK).map_err(Error::into_io)?;
        block.bytes[inside..inside + count].copy_from_slice(&bytes[..count]);
        for page in inside / PAGE as usize..=(inside + count - 1) / PAGE as usize {
            block.dirty |= 1 << page;
        }
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for DiskCursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.disk.capacity().checked_add_signed(delta),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the start of the disk")
        })?;
        Ok(self.position)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
