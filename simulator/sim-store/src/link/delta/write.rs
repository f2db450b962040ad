//! Writing to a delta: the order of things that keeps readers and killed writers safe is told in `delta.rs`.

use std::os::unix::fs::FileExt;

use super::{Below, Delta, ENTRIES, Place};
use crate::{Error, ErrorKind, Result, files};

impl Delta {
    /// Writes; `below` supplies the parent's bytes of a grain that is only partly covered and not yet held.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8], below: Below<'_>) -> Result<()> {
        self.store(offset, offset + bytes.len() as u64, Some(bytes), below)
    }

    /// Makes a range read as zeros, whatever the parent holds there.
    pub(crate) fn zero(&self, offset: u64, length: u64, below: Below<'_>) -> Result<()> {
        let (grain, end) = (self.format.grain(), offset + length);
        let Some(entry) = self.format.zero_entry() else {
            return self.store(offset, end, None, below);
        };
        let first = offset.next_multiple_of(grain);
        let last = if end == self.capacity { end } else { end / grain * grain };
        if first >= last {
            return self.store(offset, end, None, below);
        }
        self.store(offset, first, None, below)?;
        let mut at = first;
        while at < last {
            let to = (at / self.reach() + 1).saturating_mul(self.reach()).min(last);
            self.zero_in_table(at, to, entry)?;
            at = to;
        }
        self.store(last, end, None, below)
    }

    /// Stores bytes, or zeros as data, in `start..end`.
    fn store(&self, start: u64, end: u64, bytes: Option<&[u8]>, below: Below<'_>) -> Result<()> {
        let mut at = start;
        while at < end {
            let to = (at / self.reach() + 1).saturating_mul(self.reach()).min(end);
            let part = bytes.map(|bytes| &bytes[(at - start) as usize..(to - start) as usize]);
            self.store_in_table(at, to, part, below)?;
            at = to;
        }
        Ok(())
    }

    /// Stores in the reach of one table: over grains that have a place at their places, else in new ones.
    fn store_in_table(&self, start: u64, end: u64, bytes: Option<&[u8]>, below: Below<'_>) -> Result<()> {
        let grain = self.format.grain();
        let mut table = self.open_table(start, end)?;
        let mut at = start;
        while at < end {
            let index = (at / grain - table.first) as usize;
            let place = table.places[index];
            let count = self.together(&table.places[index..]);
            let to = ((at / grain + count as u64) * grain).min(end);
            let part = bytes.map(|bytes| &bytes[(at - start) as usize..(to - start) as usize]);
            match (place, part) {
                (Place::Data(position), Some(bytes)) => self.put(position + at % grain, bytes)?,
                (Place::Data(position), None) => {
                    let hole = files::punch(&self.file, position + at % grain, to - at);
                    hole.map_err(|error| error.at(&self.path))?;
                }
                (Place::Zero, None) => {}
                (Place::Zero | Place::Parent, part) => {
                    let below = if place == Place::Parent { Some(below) } else { None };
                    let position = self.append(at, to, part, below)?;
                    for grain in 0..count as u64 {
                        table.entries[index + grain as usize] = self.data_entry(position, grain)?;
                    }
                    table.changed = true;
                }
            }
            at = to;
        }
        self.commit(&table)
    }

    /// Gives whole grains in the reach of one table the entry for zeros.
    fn zero_in_table(&self, start: u64, end: u64, entry: u64) -> Result<()> {
        let mut table = self.open_table(start, end)?;
        table.changed = table.places.iter().any(|place| *place != Place::Zero);
        table.entries.fill(entry);
        self.commit(&table)?;
        // The zeros count already; this gives the space back. A reader on its way to the data finds it or zeros.
        let mut at = 0;
        while let Some(place) = table.places.get(at) {
            let count = self.together(&table.places[at..]);
            if let Place::Data(position) = place {
                let hole = files::punch(&self.file, *position, count as u64 * self.format.grain());
                hole.map_err(|error| error.at(&self.path))?;
            }
            at += count;
        }
        Ok(())
    }

    /// How many of the grains, from the first on, are in one place.
    fn together(&self, places: &[Place]) -> usize {
        let first = places.first().copied();
        let alike = (0..).zip(places).take_while(|(number, other)| match first {
            Some(Place::Data(position)) => **other == Place::Data(position + number * self.format.grain()),
            first => Some(**other) == first,
        });
        alike.count()
    }

    /// Appends grains that hold `at..to` and what their edges need from below; answers where they begin.
    fn append(&self, at: u64, to: u64, bytes: Option<&[u8]>, below: Option<Below<'_>>) -> Result<u64> {
        let grain = self.format.grain();
        let (first, last) = (at / grain * grain, to.next_multiple_of(grain));
        let position = self.format.data_start(self.length()?, first);
        let end = position + (last - first);
        // What lies behind the end of the file reads as zeros, whoever was killed here before.
        self.file
            .set_len(end)
            .map_err(|source| Error::io("the delta file cannot be made longer", source).at(&self.path))?;
        if let Some(below) = below {
            for (from, until) in [(first, at), (to, last.min(self.capacity))] {
                if from < until {
                    let mut edge = vec![0; (until - from) as usize];
                    below(from, &mut edge)?;
                    self.put(position + (from - first), &edge)?;
                }
            }
        }
        if let Some(bytes) = bytes {
            self.put(position + (at - first), bytes)?;
        }
        Ok(position)
    }

    /// Reads, or hands out, the table that covers `start..end`.
    fn open_table(&self, start: u64, end: u64) -> Result<Table> {
        let (grain, number) = (self.format.grain(), start / self.reach());
        let (first, last) = (start / grain, (end - 1) / grain);
        let directory = self.format.directory() + number * self.format.entry();
        let count = (last - first + 1) as usize;
        if let Some(entry) = self.entries(directory, 1)?.pop().filter(|entry| *entry != 0) {
            let position = self.table(entry)?;
            let at = position + first % ENTRIES * self.format.entry();
            let entries = self.entries(at, count as u64)?;
            let places = entries.iter().map(|entry| self.place(*entry)).collect::<Result<_>>()?;
            return Ok(Table { first, places, entries, position, claimed: None, changed: false });
        }
        let claimed = self.format.claim_table(&self.file, self.length()?);
        let (entry, position) = claimed.map_err(|error| error.at(&self.path))?;
        Ok(Table {
            first,
            places: vec![Place::Parent; count],
            entries: vec![0; count],
            position,
            claimed: Some((directory, entry)),
            changed: false,
        })
    }

    /// Makes the entries of a table count. The data that they lead to is in the file.
    fn commit(&self, table: &Table) -> Result<()> {
        if !table.changed {
            return Ok(());
        }
        let failed = |source| Error::io("the delta's tables cannot be written", source).at(&self.path);
        self.format.note_end(&self.file, self.length()?).map_err(failed)?;
        let index = table.first % ENTRIES;
        match table.claimed {
            None => {
                let at = table.position + index * self.format.entry();
                self.file.write_all_at(&self.encode(&table.entries), at).map_err(failed)
            }
            Some((directory, entry)) => {
                // As a whole: a writer that was killed may have left another table's entries there.
                let mut all = vec![0; ENTRIES as usize];
                all[index as usize..index as usize + table.entries.len()].copy_from_slice(&table.entries);
                self.file.write_all_at(&self.encode(&all), table.position).map_err(failed)?;
                self.file.write_all_at(&self.encode(&[entry]), directory).map_err(failed)
            }
        }
    }

    fn put(&self, position: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, position)
            .map_err(|source| Error::io("the delta's data cannot be written", source).at(&self.path))
    }

    fn data_entry(&self, position: u64, grain: u64) -> Result<u64> {
        self.format.data_entry(position + grain * self.format.grain()).ok_or_else(|| {
            let what = "the delta file is as large as its format allows; remove the snapshot";
            Error::new(ErrorKind::NoSpace, what).at(&self.path)
        })
    }

    fn encode(&self, entries: &[u64]) -> Vec<u8> {
        let size = self.format.entry() as usize;
        entries.iter().flat_map(|entry| entry.to_le_bytes().into_iter().take(size)).collect()
    }
}

/// A part of a table that a write changes.
struct Table {
    /// The number of the first grain, counted over the whole disk.
    first: u64,
    places: Vec<Place>,
    entries: Vec<u64>,
    /// Where the table begins in the file.
    position: u64,
    /// For a table that no directory entry leads to yet: where that entry goes, and the entry.
    claimed: Option<(u64, u64)>,
    changed: bool,
}
