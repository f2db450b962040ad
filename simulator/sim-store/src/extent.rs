//! Half-open byte ranges, and the collector that joins and rounds them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

/// A run of bytes of a disk: `offset .. offset + length`, both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes; extents handed out by this crate are never empty.
    pub length: u64,
}

impl Extent {
    /// The extent from `start` up to, not including, `end`.
    pub(crate) fn between(start: u64, end: u64) -> Self {
        Self { offset: start, length: end.saturating_sub(start) }
    }

    /// The first byte after the extent.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Collects ascending ranges: rounds each outward to a grain, clips it to a window, joins neighbours, and stops
/// when a further extent would be one too many.
pub(crate) struct Collector {
    window: Extent,
    grain: u64,
    limit: usize,
    extents: Vec<Extent>,
    stopped: bool,
}

impl Collector {
    pub(crate) fn new(window: Extent, grain: u64, limit: usize) -> Self {
        Self { window, grain: grain.max(1), limit, extents: Vec::new(), stopped: false }
    }

    /// Takes the range; answers `Break` when the limit was reached and this range did not fit any more.
    pub(crate) fn push(&mut self, start: u64, end: u64) -> ControlFlow<()> {
        let start = (start / self.grain * self.grain).max(self.window.offset);
        let end = end.checked_next_multiple_of(self.grain).unwrap_or(u64::MAX).min(self.window.end());
        if start >= end {
            return ControlFlow::Continue(());
        }
        if let Some(last) = self.extents.last_mut()
            && start <= last.end()
        {
            last.length = last.length.max(end - last.offset);
            return ControlFlow::Continue(());
        }
        if self.extents.len() == self.limit {
            self.stopped = true;
            return ControlFlow::Break(());
        }
        self.extents.push(Extent::between(start, end));
        ControlFlow::Continue(())
    }

    /// The extents, and whether the limit cut something off.
    pub(crate) fn finish(self) -> (Vec<Extent>, bool) {
        (self.extents, self.stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_joins_and_stops_at_the_limit() {
        let mut collector = Collector::new(Extent::between(10, 1000), 100, 2);
        assert!(collector.push(0, 5).is_continue());
        assert!(collector.push(150, 160).is_continue());
        assert!(collector.push(420, 430).is_continue());
        assert!(collector.push(950, 999).is_break());
        let (extents, stopped) = collector.finish();
        assert_eq!(extents, [Extent::between(10, 200), Extent::between(400, 500)]);
        assert!(stopped);
    }
}
