//! Which pack holds a chunk. See docs/repository-format.md, "Index" and "Index cache".
//!
//! Entries are sorted by chunk id, in memory (49 bytes each) or, with a cache, in a file (2.5 bytes each in memory). A pack takes
//! about 130 bytes.

mod cache;
mod merge;
mod sealed;
mod table;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use cache::IndexCache;
use merge::{Merge, Rows};
use sealed::SealedTable;
use table::{Row, Table};

use crate::crypto::Content;
use crate::error::Result;
use crate::format::header::ObjectHeader;
use crate::format::index::IndexObject;
use crate::format::pack::{PackEntry, PackRecord};
use crate::ids::{ChunkId, IndexId, PackId};

/// A table in memory is merged with a new one when it has less than so many times its rows: so there are only ever a few.
const GROWTH: usize = 4;
/// Of the rows of the cache file, this part may be in memory beside it before the file is written anew.
const REST: usize = 16;

/// Where one copy of a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    pub(crate) header: ObjectHeader,
    pub(crate) entry: PackEntry,
}

/// A pack that the index names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexedPack {
    pub(crate) pack: PackId,
    pub(crate) header: ObjectHeader,
    pub(crate) content: Content,
    /// Size of the object in bytes.
    pub(crate) size: u64,
}

/// All index objects together.
#[derive(Default)]
pub(crate) struct Index {
    objects: HashSet<IndexId>,
    damaged: BTreeMap<IndexId, String>,
    packs: Vec<IndexedPack>,
    pack_numbers: HashMap<PackId, u32>,
    /// Rows that are not in order yet. Nothing finds them before they are settled.
    pending: Vec<Row>,
    /// The largest first.
    memory: Vec<Table>,
    sealed: Vec<SealedTable>,
    /// The only sealed table is the cache file.
    is_stored: bool,
    cache: Option<Arc<IndexCache>>,
    /// A sealed table could not be read.
    is_spoilt: AtomicBool,
}

impl Index {
    /// An empty index, which goes into the cache when it gets large.
    pub(crate) fn new(cache: Option<Arc<IndexCache>>) -> Self {
        Self { cache, ..Self::default() }
    }

    /// What the cache holds, or an empty index. Whether it is what the store says, the caller has to find out.
    pub(crate) fn from_cache(cache: Option<Arc<IndexCache>>) -> Self {
        let Some(cached) = cache.as_ref().and_then(|cache| cache.load()) else { return Self::new(cache) };
        let numbers = cached.packs.iter().zip(0..).map(|(pack, number)| (pack.pack, number)).collect();
        Self {
            objects: cached.objects,
            packs: cached.packs,
            pack_numbers: numbers,
            sealed: vec![cached.table],
            is_stored: true,
            ..Self::new(cache)
        }
    }

    pub(crate) fn has_object(&self, id: &IndexId) -> bool {
        self.objects.contains(id)
    }

    /// Index objects that are in here, or were left out on purpose.
    pub(crate) fn objects(&self) -> &HashSet<IndexId> {
        &self.objects
    }

    /// Index objects that cannot be used, and why.
    pub(crate) fn damaged(&self) -> &BTreeMap<IndexId, String> {
        &self.damaged
    }

    /// Whether the cache was found to be altered, so that the index has to be built anew.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::Relaxed)
    }

    /// Adds what an index object says.
    pub(crate) fn add(&mut self, id: IndexId, object: &IndexObject) -> Result<()> {
        self.push(id, Ok(object))?;
        self.settle()
    }

    /// Takes in what an index object says, or that it cannot be used. It is found after [`settle`](Self::settle): so many objects are
    /// sorted only once.
    pub(crate) fn push(&mut self, id: IndexId, object: Result<&IndexObject, &String>) -> Result<()> {
        self.objects.insert(id);
        let object = match object {
            Ok(object) => object,
            Err(why) => {
                self.damaged.insert(id, why.clone());
                return Ok(());
            }
        };
        object.packs.iter().try_for_each(|pack| self.push_pack(pack))?;
        match self.cache.as_ref().is_some_and(|cache| self.pending.len() >= cache.most_in_memory) {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Notes an index object that another one has replaced, so that it is not loaded.
    pub(crate) fn skip(&mut self, id: IndexId) {
        self.objects.insert(id);
    }

    /// Sorts what was taken in.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut table = Table::from_unsorted(std::mem::take(&mut self.pending))?;
        while let Some(last) = self.memory.pop_if(|last| last.rows().len() < GROWTH * table.rows().len()) {
            let most = last.rows().len() + table.rows().len();
            let mut rows = Vec::with_capacity(most);
            for row in Merge::new([in_memory(&last), in_memory(&table)])? {
                rows.push(row?);
            }
            table = Table::from_sorted(rows)?;
        }
        self.memory.push(table);
        match &self.cache {
            Some(cache) if self.rows_in_memory() >= cache.most_in_memory => {
                let run = cache.spill(merged(&self.memory, &[])?, self.rows_in_memory());
                self.replace_memory(run);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Writes the cache file, if there is to be one and it has changed enough.
    pub(crate) fn store(&mut self) -> Result<()> {
        let Some(cache) = &self.cache else { return Ok(()) };
        let (sealed, memory) =
            (self.sealed.iter().map(SealedTable::len).sum::<usize>(), self.rows_in_memory());
        let is_good_enough = match self.is_stored {
            true => memory <= cache.small + sealed / REST,
            false => sealed + memory <= cache.small,
        };
        // Damaged objects are looked at anew each time: they may be whole on the next reading.
        if is_good_enough || !self.damaged.is_empty() {
            return Ok(());
        }
        let rows = merged(&self.memory, &self.sealed)?;
        match cache.store(&self.objects, &self.packs, rows, sealed + memory) {
            Ok(table) => {
                (self.sealed, self.is_stored) = (vec![table], true);
                self.memory.clear();
            }
            // A cache that cannot be written is a slow one, not a failure.
            Err(error) => tracing::warn!(%error, "the index is not cached"),
        }
        Ok(())
    }

    /// All copies of a chunk or page.
    ///
    /// # Errors
    /// `Store` when the cache cannot be read. The index has to be built anew then, which loading it does.
    pub(crate) fn places(&self, content: Content, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        let mut found = |row: &Row| {
            let Some(pack) = self.packs.get(row.pack as usize).filter(|pack| pack.content == content) else {
                return;
            };
            let place = Place { pack: pack.pack, header: pack.header, entry: row.entry() };
            if !places.contains(&place) {
                places.push(place);
            }
        };
        for table in &self.sealed {
            table.find(id, |row| found(&row)).inspect_err(|_| self.spoil())?;
        }
        self.memory.iter().flat_map(|table| table.find(id)).for_each(found);
        Ok(places)
    }

    pub(crate) fn packs(&self) -> &[IndexedPack] {
        &self.packs
    }

    /// Every copy of every chunk and page, in the order of their ids.
    ///
    /// # Errors
    /// As [`places`](Self::places); an error ends the walk.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Result<(&IndexedPack, PackEntry)>>> {
        let rows = merged(&self.memory, &self.sealed).inspect_err(|_| self.spoil())?;
        Ok(rows.filter_map(|row| match row {
            Ok(row) => self.packs.get(row.pack as usize).map(|pack| Ok((pack, row.entry()))),
            Err(error) => {
                self.spoil();
                Some(Err(error))
            }
        }))
    }

    fn push_pack(&mut self, record: &PackRecord) -> Result<()> {
        let content = record.content()?;
        let next = crate::format::bytes::u32_of(self.packs.len())?;
        let number = *self.pack_numbers.entry(record.pack).or_insert(next);
        if number == next {
            let PackRecord { pack, header, size, .. } = *record;
            self.packs.push(IndexedPack { pack, header, content, size });
        }
        self.pending.extend(record.entries.iter().map(|entry| Row::new(number, entry)));
        Ok(())
    }

    fn rows_in_memory(&self) -> usize {
        self.memory.iter().map(|table| table.rows().len()).sum()
    }

    /// Lets a file take the place of the tables in memory, unless it could not be written.
    fn replace_memory(&mut self, table: Result<SealedTable>) {
        match table {
            Ok(table) => {
                self.sealed.push(table);
                self.is_stored = false;
                self.memory.clear();
            }
            Err(error) => {
                tracing::warn!(%error, "the index stays in memory");
                self.cache = None;
            }
        }
    }

    fn spoil(&self) {
        self.is_spoilt.store(true, Ordering::Relaxed);
    }
}

fn in_memory(table: &Table) -> Rows<'_> {
    Box::new(table.rows().iter().map(|row| Ok(*row)))
}

fn merged<'a>(memory: &'a [Table], sealed: &'a [SealedTable]) -> Result<Rows<'a>> {
    let sources = memory.iter().map(in_memory).chain(sealed.iter().map(SealedTable::rows));
    Ok(Box::new(Merge::new(sources)?))
}

#[cfg(test)]
mod tests;
