//! Sorted rows in a file on this machine, sealed block by block. See docs/repository-format.md, "Index cache".

use std::fs::File;
use std::io::{BufWriter, Write};

use super::merge::Rows;
use super::table::{Fence, Row};
use crate::crypto::{NonceAt, SealKey, TAG_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ChunkId;

/// Rows of a block. A lookup reads and opens one block, so it is small.
const BLOCK_ROWS: usize = 8;
const BLOCK_BYTES: usize = BLOCK_ROWS * Row::BYTES + TAG_BYTES;
/// Where the first block is.
pub(super) const BLOCKS_AT: u64 = 64;
/// Blocks that are read at a time when all are read.
const READ_BLOCKS: usize = 2048;

/// Rows in a file. In memory are two bytes of each id, which tell where it may be, and a fence: 2.5 bytes a row.
pub(super) struct SealedTable {
    file: File,
    key: SealKey,
    fence: Fence,
    tags: Vec<u16>,
}

impl SealedTable {
    /// Writes at most `most` sorted rows behind the header of an empty file.
    pub(super) fn write(
        mut file: File,
        header: &[u8; BLOCKS_AT as usize],
        key: SealKey,
        rows: Rows<'_>,
        most: usize,
    ) -> Result<Self> {
        let (mut fence, mut tags) = (Fence::new(most), Vec::with_capacity(most));
        let mut to = BufWriter::with_capacity(1 << 20, &mut file);
        to.write_all(header).map_err(cannot_write)?;
        let (mut block, mut at) = (Vec::with_capacity(BLOCK_BYTES), BLOCKS_AT);
        for row in rows {
            let row = row?;
            fence.push(tags.len(), &row.id)?;
            tags.push(tag(&row.id));
            block.extend_from_slice(&row.to_bytes());
            if block.len() == BLOCK_ROWS * Row::BYTES {
                at += flush(&key, &mut to, &mut block, at)?;
            }
        }
        if !block.is_empty() {
            flush(&key, &mut to, &mut block, at)?;
        }
        to.flush().map_err(cannot_write)?;
        drop(to);
        fence.finish(tags.len())?;
        tags.shrink_to_fit();
        Ok(Self { file, key, fence, tags })
    }

    /// Takes over a file that was written before, and what was in memory then.
    pub(super) fn reopen(file: File, key: SealKey, fence: Fence, tags: Vec<u16>) -> Self {
        Self { file, key, fence, tags }
    }

    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    /// Where the blocks of so many rows end.
    pub(super) fn end_of(rows: usize) -> u64 {
        let (full, rest) = ((rows / BLOCK_ROWS) as u64, rows % BLOCK_ROWS);
        BLOCKS_AT
            + full * BLOCK_BYTES as u64
            + if rest == 0 { 0 } else { (rest * Row::BYTES + TAG_BYTES) as u64 }
    }

    pub(super) fn parts(&self) -> (&File, &SealKey, &Fence, &[u16]) {
        (&self.file, &self.key, &self.fence, &self.tags)
    }

    /// Gives all copies of a chunk to `found`, with the numbers of their rows.
    ///
    /// # Errors
    /// `Store` when a block cannot be read or was altered.
    pub(super) fn find(&self, id: &ChunkId, mut found: impl FnMut(usize, Row)) -> Result<()> {
        let (range, wanted) = (self.fence.range(id), tag(id));
        let mut block = [0; BLOCK_BYTES];
        let (mut loaded, mut plain) = (None, 0);
        for number in range.filter(|number| self.tags.get(*number) == Some(&wanted)) {
            let place = number / BLOCK_ROWS;
            if loaded != Some(place) {
                let length = self.block_bytes(place);
                let sealed = block.get_mut(..length).unwrap_or_default();
                plain = self.open(place, sealed)?;
                loaded = Some(place);
            }
            let rows = block.get(..plain).unwrap_or_default().as_chunks().0;
            let row = rows.get(number % BLOCK_ROWS).map(Row::from_bytes);
            if let Some(row) = row.filter(|row| row.id == *id) {
                found(number, row);
            }
        }
        Ok(())
    }

    /// All rows in order.
    pub(super) fn rows(&self) -> Rows<'_> {
        let blocks = self.len().div_ceil(BLOCK_ROWS);
        let pieces = (0..blocks).step_by(READ_BLOCKS).map(move |first| {
            let piece = self.read_blocks(first..blocks.min(first + READ_BLOCKS));
            match piece {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        });
        Box::new(pieces.flatten())
    }

    fn read_blocks(&self, blocks: std::ops::Range<usize>) -> Result<Vec<Row>> {
        let at = BLOCKS_AT + (blocks.start * BLOCK_BYTES) as u64;
        let length = blocks.clone().map(|place| self.block_bytes(place)).sum();
        let mut buffer = vec![0; length];
        read_exact_at(&self.file, &mut buffer, at).map_err(cannot_read)?;
        let mut rows = Vec::with_capacity(blocks.len() * BLOCK_ROWS);
        for (place, sealed) in blocks.zip(buffer.chunks_mut(BLOCK_BYTES)) {
            let plain = self.unseal(place, sealed)?;
            rows.extend(sealed.get(..plain).unwrap_or_default().as_chunks().0.iter().map(Row::from_bytes));
        }
        Ok(rows)
    }

    fn open(&self, place: usize, sealed: &mut [u8]) -> Result<usize> {
        read_exact_at(&self.file, sealed, BLOCKS_AT + (place * BLOCK_BYTES) as u64).map_err(cannot_read)?;
        self.unseal(place, sealed)
    }

    fn unseal(&self, place: usize, sealed: &mut [u8]) -> Result<usize> {
        let at = NonceAt::Offset(BLOCKS_AT + (place * BLOCK_BYTES) as u64);
        self.key.open_in_place(at, &[], sealed).ok_or_else(altered)
    }

    /// Sealed bytes of a block; the last one may be shorter.
    fn block_bytes(&self, place: usize) -> usize {
        self.len().saturating_sub(place * BLOCK_ROWS).min(BLOCK_ROWS) * Row::BYTES + TAG_BYTES
    }
}

/// Seals a block and writes it; gives the bytes it took.
fn flush(key: &SealKey, to: &mut impl Write, block: &mut Vec<u8>, at: u64) -> Result<u64> {
    key.seal_tail(NonceAt::Offset(at), &[], block, 0)?;
    to.write_all(block).map_err(cannot_write)?;
    let length = block.len() as u64;
    block.clear();
    Ok(length)
}

/// Bytes of the id behind those that the fence looks at.
fn tag(id: &ChunkId) -> u16 {
    let bytes = id.as_bytes();
    u16::from_le_bytes([bytes[8], bytes[9]])
}

pub(super) fn cannot_write(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, "the index cache cannot be written: check the folder and its free space")
        .with_source(source)
}

pub(super) fn cannot_read(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, "the index cache cannot be read: try again, it is built anew")
        .with_source(source)
}

/// What is wrong with a cache is never damage of the repository.
pub(super) fn altered() -> Error {
    Error::new(ErrorKind::Store, "the index cache was cut or altered: try again, it is built anew")
}

#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => (buffer, at) = (buffer.split_at_mut(read).1, at + read as u64),
        }
    }
    Ok(())
}
