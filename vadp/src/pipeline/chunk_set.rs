//! A set of chunks of a disk: one bit for each.

/// Chunk numbers below a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChunkSet {
    words: Vec<u64>,
    length: u64,
}

impl ChunkSet {
    /// Takes a chunk in. `chunk` is one of a disk, so that memory is bounded by the disk's size: 128 KiB for each TiB at 1 MiB chunks.
    pub(crate) fn insert(&mut self, chunk: u64) {
        let Ok(word) = usize::try_from(chunk / 64) else { return };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            let bit = 1 << (chunk % 64);
            self.length += u64::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    pub(crate) fn contains(&self, chunk: u64) -> bool {
        let word = usize::try_from(chunk / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|bits| bits & 1 << (chunk % 64) != 0)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_set() {
        let (mut set, mut oracle) = (ChunkSet::default(), std::collections::BTreeSet::new());
        for chunk in (0..5000_u64).map(|n| n * n % 1777) {
            set.insert(chunk);
            oracle.insert(chunk);
        }
        assert!((0..3000).all(|chunk| set.contains(chunk) == oracle.contains(&chunk)));
        assert_eq!(set.length(), oracle.len() as u64);
        assert!(!set.contains(u64::MAX));
    }
}
