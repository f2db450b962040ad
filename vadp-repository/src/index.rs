//! Which pack holds a chunk. See docs/repository-format.md, "Index" and "Index cache".
//!
//! Rows, one for each copy of a chunk, are sorted by chunk id, in memory (49 bytes each) or, with a cache, in a file (2.5 bytes each in memory). A pack takes
//! about 130 bytes.

mod cache;
mod marks;
mod merge;
mod sealed;
mod table;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

pub(crate) use cache::IndexCache;
pub(crate) use marks::Marks;
use merge::Merge;
use sealed::SealedTable;
use table::{Row, Table};
pub(crate) use view::{Listed, View};

use crate::crypto::Content;
use crate::error::Result;
use crate::format::header::ObjectHeader;
use crate::format::index::IndexObject;
use crate::format::pack::{PackEntry, PackRecord};
use crate::ids::{IndexId, PackId};

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

/// All index objects together: a view that grows.
#[derive(Default)]
pub(crate) struct Index {
    objects: HashSet<IndexId>,
    damaged: BTreeMap<IndexId, String>,
    view: View,
    pack_numbers: HashMap<PackId, u32>,
    /// Rows that are not in order yet. Nothing finds them before they are settled.
    pending: Vec<Row>,
    /// The only sealed table is the cache file.
    is_stored: bool,
    cache: Option<Arc<IndexCache>>,
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
            view: View::of_file(cached.packs, cached.table),
            pack_numbers: numbers,
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

    /// What the index says now, and goes on to say whatever becomes of it: cheap, and none of it is copied.
    pub(crate) fn view(&self) -> View {
        self.view.clone()
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
        while let Some(last) = self.view.memory.pop_if(|last| last.rows().len() < GROWTH * table.rows().len())
        {
            let most = last.rows().len() + table.rows().len();
            let mut rows = Vec::with_capacity(most);
            for row in Merge::new([last.source(), table.source()])? {
                rows.push(row?.1);
            }
            table = Table::from_sorted(rows)?;
        }
        self.view.memory.push(Arc::new(table));
        match &self.cache {
            Some(cache) if self.rows_in_memory() >= cache.most_in_memory => {
                let run = cache.spill(self.view.rows_of_memory()?, self.rows_in_memory());
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
            (self.view.sealed.iter().map(|table| table.len()).sum::<usize>(), self.rows_in_memory());
        let is_good_enough = match self.is_stored {
            true => memory <= cache.small + sealed / REST,
            false => sealed + memory <= cache.small,
        };
        // Damaged objects are looked at anew each time: they may be whole on the next reading.
        if is_good_enough || !self.damaged.is_empty() {
            return Ok(());
        }
        let stored = cache.store(&self.objects, &self.view.packs, self.view.merged()?, sealed + memory);
        match stored {
            Ok(table) => {
                (self.view.sealed, self.is_stored) = (vec![Arc::new(table)], true);
                self.view.memory.clear();
            }
            // A cache that cannot be written is a slow one, not a failure.
            Err(error) => tracing::warn!(%error, "the index is not cached"),
        }
        Ok(())
    }

    fn push_pack(&mut self, record: &PackRecord) -> Result<()> {
        let content = record.content()?;
        let next = crate::format::bytes::u32_of(self.view.packs.len())?;
        let number = *self.pack_numbers.entry(record.pack).or_insert(next);
        if number == next {
            let PackRecord { pack, header, size, .. } = *record;
            Arc::make_mut(&mut self.view.packs).push(IndexedPack { pack, header, content, size });
        }
        self.pending.extend(record.entries.iter().map(|entry| Row::new(number, entry)));
        Ok(())
    }

    /// Lets a file take the place of the tables in memory, unless it could not be written.
    fn replace_memory(&mut self, table: Result<SealedTable>) {
        match table {
            Ok(table) => {
                self.view.sealed.push(Arc::new(table));
                self.is_stored = false;
                self.view.memory.clear();
            }
            Err(error) => {
                tracing::warn!(%error, "the index stays in memory");
                self.cache = None;
            }
        }
    }
}

impl Deref for Index {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

#[cfg(test)]
mod tests;
