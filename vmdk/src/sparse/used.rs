//! Which sectors of a file are in use: one bit for each, in pages that are made when the first of their bits is set.

use std::collections::BTreeMap;

const PAGE_SECTORS: u64 = 32 << 10;

#[derive(Default)]
pub(super) struct Used {
    pages: BTreeMap<u64, Box<[u64; PAGE_SECTORS as usize / 64]>>,
    count: u64,
}

impl Used {
    /// Marks sectors, and says whether all of them were free.
    pub(super) fn mark(&mut self, start: u64, sectors: u64) -> bool {
        let mut free = true;
        for sector in start..start.saturating_add(sectors) {
            let page = self
                .pages
                .entry(sector / PAGE_SECTORS)
                .or_insert_with(|| Box::new([0; PAGE_SECTORS as usize / 64]));
            let within = (sector % PAGE_SECTORS) as usize;
            let bit = 1 << (within % 64);
            free &= page[within / 64] & bit == 0;
            self.count += u64::from(page[within / 64] & bit == 0);
            page[within / 64] |= bit;
        }
        free
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_twice_is_counted_once() {
        let mut used = Used::default();
        assert!(used.mark(PAGE_SECTORS - 3, 6));
        assert!(!used.mark(PAGE_SECTORS + 2, 4));
        assert!(used.mark(PAGE_SECTORS + 6, 1));
        assert_eq!(used.count(), 10);
    }
}
