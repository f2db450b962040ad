//! A small deterministic generator (SplitMix64): the same seed gives the same guest on every machine.

/// Not for secrets.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for a purpose: `parts` that differ anywhere give unrelated sequences.
    pub(crate) fn keyed(seed: u64, parts: &[u64]) -> Self {
        let mut state = Self(seed);
        for part in parts {
            state = Self(state.next() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        }
        Self(state.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`; 0 if the bound is 0. The bias is far below what anyone could notice here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = self.next().to_le_bytes();
        }
        let last = self.next().to_le_bytes();
        for (byte, random) in rest.iter_mut().zip(last) {
            *byte = random;
        }
    }
}
