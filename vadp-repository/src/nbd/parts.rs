//! Bytes from several places that are written as one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::read::Piece;

const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

/// A reply: heads and pieces of chunks, none of them copied, none of them empty.
#[derive(Default)]
pub(super) struct Parts {
    parts: VecDeque<Bytes>,
    remaining: usize,
}

impl Parts {
    pub(super) fn of(head: Bytes) -> Self {
        let mut parts = Self::default();
        parts.push(head);
        parts
    }

    pub(super) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.remaining += part.len();
            self.parts.push_back(part);
        }
    }

    pub(super) fn with_all(mut self, pieces: Vec<Piece>) -> Self {
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => self.push(bytes),
                Piece::Zero(mut length) => {
                    while length > 0 {
                        let part = ZEROS.slice(..ZEROS.len().min(length as usize));
                        length -= part.len() as u64;
                        self.push(part);
                    }
                }
            }
        }
        self
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.parts).map(|(slice, part)| *slice = IoSlice::new(part));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining = self.remaining.saturating_sub(count);
        while count > 0 {
            let Some(first) = self.parts.front_mut() else { return };
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.parts.pop_front();
        }
    }
}
