//! Which rows of an index are marked: one bit each, however many chunks there are.

use super::View;
use crate::crypto::Content;
use crate::error::Result;
use crate::ids::ChunkId;

/// Marks beside the rows of a view. Memory: an eighth of a byte for each row, 12.5 MB for a hundred million chunks.
#[derive(Default)]
pub(crate) struct Marks {
    view: View,
    bits: Vec<u64>,
}

impl Marks {
    /// No row of the view is marked.
    pub(crate) fn new(view: View) -> Self {
        Self { bits: vec![0; view.len().div_ceil(64)], view }
    }

    /// The view whose rows these are.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Marks all copies of a chunk or page; `false` when the view has none.
    ///
    /// # Errors
    /// As [`View::places`].
    pub(crate) fn mark(&mut self, content: Content, id: &ChunkId) -> Result<bool> {
        let (bits, mut is_listed) = (&mut self.bits, false);
        self.view.find(content, id, |listed| {
            let (word, bit) = place(listed.row);
            bits.get_mut(word).into_iter().for_each(|word| *word |= bit);
            is_listed = true;
        })?;
        Ok(is_listed)
    }

    /// Whether a copy of a chunk or page is marked.
    ///
    /// # Errors
    /// As [`View::places`].
    pub(crate) fn has(&self, content: Content, id: &ChunkId) -> Result<bool> {
        let mut is_marked = false;
        self.view.find(content, id, |listed| is_marked |= self.is_marked(listed.row))?;
        Ok(is_marked)
    }

    /// Whether a row is marked.
    pub(crate) fn is_marked(&self, row: usize) -> bool {
        let (word, bit) = place(row);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Takes the mark off a row.
    pub(crate) fn clear(&mut self, row: usize) {
        let (word, bit) = place(row);
        self.bits.get_mut(word).into_iter().for_each(|word| *word &= !bit);
    }
}

/// The word of a row, and its bit there.
fn place(row: usize) -> (usize, u64) {
    (row / 64, 1 << (row % 64))
}
