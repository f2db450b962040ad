//! Which parts of a disk changed since a change id (VDDK 9.0 and later).

use super::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::RawChanges;
use crate::units::{SectorRange, Sectors};
use crate::wire::Request;

const OPERATION: &str = "ask for the changed areas of";

impl Disk {
    /// All areas that changed since the change id that the disk was opened with: ascending and apart from each other. With
    /// the id `*`, all that is in use.
    ///
    /// The library answers in windows. The list exists only when they covered the disk from its first sector to its last, in
    /// order: a smaller map would be taken for "nothing else changed".
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when the disk was opened without
    /// [`OpenOptions::changed_since`](super::OpenOptions::changed_since); what the library reports, as for an id that is not of
    /// this disk; [`ErrorKind::Failed`] when its answers make no sense or no progress.
    pub fn changed_areas(&self) -> Result<Vec<SectorRange>> {
        if self.options.change_id().is_none() {
            let text = "it was opened without a change id";
            return Err(Error::new(ErrorKind::Misuse, OPERATION, text)
                .with_subject(self.path())
                .with_advice("open it with OpenOptions::changed_since"));
        }
        let mut cover = Cover { capacity: self.capacity().0, position: 0, areas: Vec::new() };
        while cover.position < cover.capacity {
            let start = cover.position;
            let request = Request::ChangedAreas { disk: self.number, start };
            let window: RawChanges = self.call(OPERATION, request)?;
            cover
                .add(&window)
                .map_err(|text| Error::new(ErrorKind::Failed, OPERATION, text).with_subject(self.path()))?;
        }
        Ok(cover.areas)
    }
}

/// The windows so far. Each must begin where the last one ended.
struct Cover {
    capacity: u64,
    position: u64,
    areas: Vec<SectorRange>,
}

impl Cover {
    fn add(&mut self, window: &RawChanges) -> std::result::Result<(), String> {
        let end = window.start.checked_add(window.length).filter(|end| *end <= self.capacity);
        let Some(end) = end.filter(|_| window.start == self.position && window.length > 0) else {
            return Err(format!(
                "asked from sector {} on it answered for {} sectors at {}, of a disk of {}",
                self.position, window.length, window.start, self.capacity
            ));
        };
        let mut within = self.position;
        for area in &window.areas {
            let range = SectorRange::new(Sectors(area.offset), Sectors(area.length))
                .filter(|range| range.start().0 >= within && range.end().0 <= end && !range.is_empty())
                .ok_or_else(|| {
                    format!(
                        "{} changed sectors at {} are not between {within} and {end}, where they have to be",
                        area.length, area.offset
                    )
                })?;
            within = range.end().0;
            let joined = self
                .areas
                .last()
                .filter(|last| last.end() == range.start())
                .and_then(|last| SectorRange::between(last.start(), range.end()));
            match joined {
                Some(joined) => {
                    self.areas.pop();
                    self.areas.push(joined);
                }
                None => self.areas.push(range),
            }
        }
        self.position = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::bindings::VddkBlock;

    fn window(start: u64, length: u64, areas: &[(u64, u64)]) -> RawChanges {
        let areas = areas.iter().map(|&(offset, length)| VddkBlock { offset, length }).collect();
        RawChanges { start, length, areas }
    }

    fn cover() -> Cover {
        Cover { capacity: 100, position: 0, areas: Vec::new() }
    }

    #[test]
    fn windows_that_cover_the_disk_give_joined_areas() {
        let mut cover = cover();
        cover.add(&window(0, 40, &[(0, 8), (32, 8)])).unwrap();
        cover.add(&window(40, 20, &[(40, 4)])).unwrap();
        cover.add(&window(60, 40, &[])).unwrap();
        let areas: Vec<_> = cover.areas.iter().map(|area| (area.start().0, area.end().0)).collect();
        assert_eq!((cover.position, areas), (100, vec![(0, 8), (32, 44)]));
    }

    #[test]
    fn answers_without_progress_or_sense_are_refused() {
        for wrong in [
            window(0, 0, &[]),
            window(8, 8, &[]),
            window(0, 101, &[]),
            window(0, u64::MAX, &[]),
            window(0, 50, &[(40, 20)]),
            window(0, 50, &[(8, 8), (0, 8)]),
            window(0, 50, &[(8, 8), (12, 8)]),
            window(0, 50, &[(8, 0)]),
            window(0, 50, &[(u64::MAX, 2)]),
        ] {
            assert!(cover().add(&wrong).is_err());
        }
    }
}
