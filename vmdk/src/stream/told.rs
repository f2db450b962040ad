//! What a stream has told of its grains, twice: by records, and by tables. Both have to say the same, or bytes are missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::SECTOR;
use crate::error::{Error, ErrorKind, Result};
use crate::sparse::header::Header;

/// Grains without a table yet: 1 TiB of a disk whose tables all come at the end.
const MOST_OPEN: usize = 1 << 24;

/// The two ways in which tables come.
pub(super) enum Told {
    /// Before the grains: for each table where its grains will be, and 0 once they were there. Nothing for a table that is not.
    Ahead(Vec<Box<[u32]>>),
    /// After the grains.
    After(After),
}

#[derive(Default)]
pub(super) struct After {
    /// Grains that no table has named yet, by sector of the file.
    open: BTreeMap<u32, u64>,
    /// All grains that came, by table: a bit for each.
    seen: BTreeMap<u64, Box<[u64; 8]>>,
    /// Sectors of the tables, by number of the table.
    tables: BTreeMap<u64, u32>,
    /// Tables without a grain, of which nobody can say which they are until the directory names them.
    empty: BTreeSet<u32>,
    directory: Option<u64>,
    footer: bool,
}

impl Told {
    /// Reads the tables that stand before the grains, in the first sectors of the file.
    pub(super) fn ahead(header: &Header, front: &[u8]) -> Result<Self> {
        let word = |at: u64| {
            let at = usize::try_from(at).ok();
            let bytes =
                at.and_then(|at| front.get(at..at.checked_add(4)?)).and_then(|bytes| bytes.try_into().ok());
            bytes
                .map(u32::from_le_bytes)
                .ok_or_else(|| Error::malformed("a table lies behind the place of the tables"))
        };
        let entries = u64::from(header.entries_per_table);
        let grains = header.capacity.div_ceil(header.grain);
        let (mut tables, mut known) = (Vec::new(), BTreeSet::new());
        let start = header.directory_offset.checked_mul(SECTOR).filter(|start| *start < front.len() as u64);
        let start = start.ok_or_else(|| Error::malformed("the grain directory lies behind every file"))?;
        for table in 0..header.tables() {
            let sector = u64::from(word(start + table * 4)?);
            let count = entries.min(grains - table * entries);
            let places: Result<Box<[u32]>> = match sector {
                0 => Ok(Box::default()),
                // Also a bound on memory: a directory is small beside what it could name.
                _ if !known.insert(sector) => Err(Error::malformed("the directory has one table twice")),
                _ => (0..count).map(|index| word(sector * SECTOR + index * 4)).collect(),
            };
            tables.push(places?);
        }
        Ok(Self::Ahead(tables))
    }

    /// A grain's record begins at this sector of the file.
    pub(super) fn grain(&mut self, header: &Header, grain: u64, sector: u32) -> Result<()> {
        match self {
            Self::Ahead(tables) => {
                let entries = u64::from(header.entries_per_table);
                let table = tables.get_mut((grain / entries) as usize);
                let place = table.and_then(|table| table.get_mut((grain % entries) as usize));
                match place {
                    Some(place) if *place == sector => {
                        *place = 0;
                        Ok(())
                    }
                    _ => Err(Error::malformed(format!(
                        "grain {grain} is at sector {sector}, where the tables have none"
                    ))),
                }
            }
            Self::After(after) => after.grain(grain, sector),
        }
    }

    /// The stream is over: was that all of it?
    pub(super) fn end(&self) -> Result<()> {
        match self {
            Self::Ahead(tables) => match tables.iter().flatten().filter(|place| **place != 0).count() {
                0 => Ok(()),
                count => Err(Error::new(
                    ErrorKind::Unfinished,
                    format!("it ends before {count} grains that its tables have: the stream was cut"),
                )),
            },
            Self::After(after) if after.footer => Ok(()),
            Self::After(_) => Err(cut()),
        }
    }
}

impl After {
    fn grain(&mut self, grain: u64, sector: u32) -> Result<()> {
        let bits = self.seen.entry(grain / 512).or_default();
        let (word, bit) = ((grain % 512 / 64) as usize, 1 << (grain % 64));
        if bits[word] & bit != 0 {
            return Err(Error::malformed(format!("grain {grain} comes a second time, at sector {sector}")));
        }
        bits[word] |= bit;
        if self.open.len() >= MOST_OPEN {
            return Err(Error::unsupported(
                "a terabyte of grains without a table between; use a file instead of a pipe",
            ));
        }
        self.open.insert(sector, grain);
        Ok(())
    }

    /// A table, at this sector of the file.
    pub(super) fn table(&mut self, header: &Header, sector: u32, bytes: &[u8]) -> Result<()> {
        let entries = u64::from(header.entries_per_table);
        let mut number = None;
        for (index, entry) in (0..entries).zip(words(bytes)).filter(|(_, entry)| *entry != 0) {
            let grain = self.open.remove(&entry).filter(|grain| grain % entries == index);
            let table = grain.map(|grain| grain / entries);
            match (table, number) {
                (Some(table), None) => number = Some(table),
                (Some(table), Some(number)) if table == number => {}
                _ => {
                    let message = format!(
                        "the table at sector {sector} names a grain at {entry} that is none of its own"
                    );
                    return Err(Error::malformed(message));
                }
            }
        }
        match number {
            None => self.empty.insert(sector),
            Some(number) => self.tables.insert(number, sector).is_none(),
        }
        .then_some(())
        .ok_or_else(|| Error::malformed(format!("the table at sector {sector} comes a second time")))
    }

    /// The directory, at this sector of the file: every table is in it, and nothing else.
    pub(super) fn directory(&mut self, header: &Header, sector: u64, bytes: &[u8]) -> Result<()> {
        if let Some((_, grain)) = self.open.first_key_value() {
            return Err(Error::malformed(format!("grain {grain} is in no table")));
        }
        for (table, entry) in (0..header.tables()).zip(words(bytes)) {
            let known = self.tables.get(&table).copied();
            if known.map_or(entry != 0 && !self.empty.contains(&entry), |known| known != entry) {
                return Err(Error::malformed(format!(
                    "the directory has table {table} at {entry}, where it is not"
                )));
            }
        }
        if self.tables.last_key_value().is_some_and(|(table, _)| *table >= header.tables()) {
            return Err(Error::malformed("a table lies behind the end of the disk"));
        }
        self.directory = Some(sector);
        Ok(())
    }

    /// The footer: it names that directory.
    pub(super) fn footer(&mut self, header: &Header, footer: &Header) -> Result<()> {
        let same = header.is_of_one_disk_with(footer) && header.flags == footer.flags;
        if !same || self.directory != Some(footer.directory_offset) {
            return Err(Error::malformed("the footer does not belong to this stream"));
        }
        self.footer = true;
        Ok(())
    }
}

pub(super) fn cut() -> Error {
    Error::new(
        ErrorKind::Unfinished,
        "it ends before its end mark: the stream was cut, or its writer has not finished it",
    )
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
}
