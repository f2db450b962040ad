//! Memory of chunks, kept for the chunks that follow: to give a megabyte back to the system and to take it again costs more than to decipher it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes that are kept at most while nobody uses them.
const MOST_IDLE: usize = 32 << 20;
/// Sizes are multiples of this, so that buffers fit many chunks.
const STEP: usize = 256 << 10;

/// A store of buffers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer, which goes back when it, or all [`Bytes`] made from it, are dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of `length` bytes, with whatever they were before.
    pub(crate) fn take(&self, length: usize) -> Buffer {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |bytes: &Vec<u8>| bytes.len() >= length && bytes.len() / 4 <= length.max(STEP);
        let bytes = idle.iter().rposition(fits).map(|at| idle.swap_remove(at));
        drop(idle);
        let bytes = bytes.unwrap_or_else(|| vec![0; length.next_multiple_of(STEP)]);
        Buffer { bytes, length, home: self.clone() }
    }
}

impl Buffer {
    /// All of its bytes.
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        // No shorter than `length`.
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    /// Leaves out what is behind the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// The bytes, which nobody changes any more.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = idle.iter().map(Vec::len).sum();
        if held + self.bytes.len() <= MOST_IDLE {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_bytes_are_dropped() {
        let buffers = Buffers::default();
        let mut first = buffers.take(300_000);
        first.as_mut().fill(7);
        first.truncate(299_999);
        let bytes = first.freeze();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(buffers.take(300_000).as_ref(), vec![0; 300_000], "another one: the first is still held");
        assert_eq!(&part[..], [7; 10]);
        drop(part);
        assert_eq!(buffers.idle.lock().unwrap().len(), 2);
        assert_eq!(buffers.take(5 << 20).as_ref().len(), 5 << 20);
        drop([(); 20].map(|()| buffers.take(4 << 20)));
        assert!(buffers.idle.lock().unwrap().iter().map(Vec::len).sum::<usize>() <= MOST_IDLE);
    }
}
