//! Contents of disks, by chance.

use std::fmt;

use proptest::prelude::*;

/// The bytes of a disk. Nobody wants to read all of them when a test fails.
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Holes, text and noise, at positions that fit no grain; `most` parts of up to 250 KB each.
pub fn contents(most: usize) -> impl Strategy<Value = Content> {
    let part = (0..3_u8, 1..500_usize, any::<u32>());
    prop::collection::vec(part, 0..most).prop_map(|parts| {
        let mut bytes = Vec::new();
        for (kind, sectors, seed) in parts {
            let mut state = u64::from(seed) | 1;
            bytes.extend((0..sectors * 512).map(|at| match kind {
                0 => 0,
                1 => (at / 700) as u8,
                _ => {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                }
            }));
        }
        Content(bytes)
    })
}
