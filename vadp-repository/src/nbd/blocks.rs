//! Which blocks of an overlay are written, and which are zero.

use std::ops::Range;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 64 * 1024;
/// Blocks that a byte says the state of, two bits each.
const PER_BYTE: u64 = 4;
/// Blocks of a page: a gigabyte of disk in 4 KiB.
const PER_PAGE: u64 = 4096 * PER_BYTE;

/// Where the bytes of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As in the restore point.
    Base,
    /// In the overlay's file.
    Written,
    /// Nowhere: all are zero.
    Zero,
}

/// The states of all blocks of a disk. Takes 16 bytes for each GiB, and 4 KiB for each GiB that something was written to.
pub(super) struct Blocks {
    pages: Vec<Option<Box<[u8; 4096]>>>,
}

impl Blocks {
    /// All blocks of a disk of so many bytes, as in the restore point.
    pub(super) fn new(capacity: u64) -> Self {
        let pages = capacity.div_ceil(BLOCK * PER_PAGE);
        Self { pages: (0..pages).map(|_| None).collect() }
    }

    fn get(&self, block: u64) -> State {
        let (page, byte, shift) = place(block);
        let bits = match self.pages.get(page) {
            Some(Some(page)) => page.get(byte).map_or(0, |byte| (byte >> shift) & 3),
            _ => 0,
        };
        match bits {
            0 => State::Base,
            1 => State::Written,
            _ => State::Zero,
        }
    }

    /// The state of the first block, and the first block of another state or the end.
    pub(super) fn run(&self, blocks: Range<u64>) -> (State, u64) {
        let state = self.get(blocks.start);
        let mut next = blocks.start + 1;
        while next < blocks.end {
            let page = place(next).0;
            if next.is_multiple_of(PER_PAGE)
                && state == State::Base
                && self.pages.get(page).is_some_and(Option::is_none)
            {
                next += PER_PAGE;
            } else if self.get(next) == state {
                next += 1;
            } else {
                break;
            }
        }
        (state, next.min(blocks.end))
    }

    pub(super) fn set(&mut self, blocks: Range<u64>, state: State) {
        let bits = match state {
            State::Base => 0,
            State::Written => 1,
            State::Zero => 2,
        };
        for block in blocks {
            let (page, byte, shift) = place(block);
            let Some(page) = self.pages.get_mut(page) else { return };
            let page = page.get_or_insert_with(|| Box::new([0; 4096]));
            if let Some(byte) = page.get_mut(byte) {
                *byte = (*byte & !(3 << shift)) | (bits << shift);
            }
        }
    }
}

/// Page, byte in it, and bit of a block.
fn place(block: u64) -> (usize, usize, u64) {
    let within = block % PER_PAGE;
    ((block / PER_PAGE) as usize, (within / PER_BYTE) as usize, within % PER_BYTE * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_runs_across_pages() {
        let mut blocks = Blocks::new(3 * PER_PAGE * BLOCK);
        let end = 3 * PER_PAGE;
        assert_eq!(blocks.run(5..end), (State::Base, end));
        blocks.set(PER_PAGE - 2..PER_PAGE + 3, State::Written);
        blocks.set(end - 1..end, State::Zero);
        assert_eq!(blocks.run(0..end), (State::Base, PER_PAGE - 2));
        assert_eq!(blocks.run(PER_PAGE - 1..end), (State::Written, PER_PAGE + 3));
        assert_eq!(blocks.run(PER_PAGE - 1..PER_PAGE), (State::Written, PER_PAGE));
        assert_eq!(blocks.run(PER_PAGE + 3..end), (State::Base, end - 1));
        assert_eq!(blocks.run(end - 1..end), (State::Zero, end));
        blocks.set(PER_PAGE..PER_PAGE + 1, State::Base);
        assert_eq!(blocks.run(PER_PAGE - 2..end), (State::Written, PER_PAGE));
    }
}
