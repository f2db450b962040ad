//! What the index says at one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::merge::{Merge, Rows};
use super::sealed::SealedTable;
use super::table::{Row, Table};
use super::{IndexedPack, Place};
use crate::crypto::Content;
use crate::error::Result;
use crate::format::pack::PackEntry;
use crate::ids::{ChunkId, PackId};

/// What the index says at one moment. Clones share everything; what the index takes in later is not in them, so the number of a row
/// stays what it is.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(super) packs: Arc<Vec<IndexedPack>>,
    /// The largest first.
    pub(super) memory: Vec<Arc<Table>>,
    pub(super) sealed: Vec<Arc<SealedTable>>,
    /// A sealed table could not be read.
    is_spoilt: Arc<AtomicBool>,
}

/// A row: one copy of a chunk or page.
#[derive(Clone, Copy)]
pub(crate) struct Listed<'a> {
    /// Its number in the view, below [`View::len`].
    pub(crate) row: usize,
    pub(crate) pack: &'a IndexedPack,
    pub(crate) entry: PackEntry,
}

impl Listed<'_> {
    pub(crate) fn place(&self) -> Place {
        Place { pack: self.pack.pack, header: self.pack.header, entry: self.entry }
    }
}

impl View {
    pub(super) fn of_file(packs: Vec<IndexedPack>, table: SealedTable) -> Self {
        Self { packs: Arc::new(packs), sealed: vec![Arc::new(table)], ..Self::default() }
    }

    pub(crate) fn packs(&self) -> &[IndexedPack] {
        &self.packs
    }

    /// Rows, those that are there twice counted twice.
    pub(crate) fn len(&self) -> usize {
        self.rows_in_memory() + self.sealed.iter().map(|table| table.len()).sum::<usize>()
    }

    /// Whether the cache was found to be altered, so that the index has to be built anew.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::Relaxed)
    }

    /// All copies of a chunk or page.
    ///
    /// # Errors
    /// `Store` when the cache cannot be read. The index has to be built anew then, which loading it does.
    pub(crate) fn places(&self, content: Content, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        self.find(content, id, |listed| {
            let place = listed.place();
            if !places.contains(&place) {
                places.push(place);
            }
        })?;
        Ok(places)
    }

    /// Gives all copies of a chunk or page to `found`, some of them twice.
    pub(super) fn find(
        &self,
        content: Content,
        id: &ChunkId,
        mut found: impl FnMut(Listed<'_>),
    ) -> Result<()> {
        let mut first = 0;
        let mut take = |number: usize, row: &Row| {
            let pack = self.packs.get(row.pack as usize).filter(|pack| pack.content == content);
            if let Some(pack) = pack {
                found(Listed { row: number, pack, entry: row.entry() });
            }
        };
        for table in &self.memory {
            table.find(id).for_each(|(number, row)| take(first + number, row));
            first += table.rows().len();
        }
        for table in &self.sealed {
            table.find(id, |number, row| take(first + number, &row)).inspect_err(|_| self.spoil())?;
            first += table.len();
        }
        Ok(())
    }

    /// Every copy of every chunk and page, once each, in the order of their ids.
    ///
    /// # Errors
    /// As [`places`](Self::places); an error ends the walk.
    pub(crate) fn rows(&self) -> Result<impl Iterator<Item = Result<Listed<'_>>>> {
        let rows = self.numbered().inspect_err(|_| self.spoil())?;
        Ok(rows.filter_map(|row| match row {
            Ok((number, row)) => {
                let pack = self.packs.get(row.pack as usize);
                pack.map(|pack| Ok(Listed { row: number, pack, entry: row.entry() }))
            }
            Err(error) => {
                self.spoil();
                Some(Err(error))
            }
        }))
    }

    /// Gives all copies of each chunk or page at once to `visit`.
    ///
    /// # Errors
    /// As [`places`](Self::places), and those of `visit`; an error ends the walk.
    pub(crate) fn by_chunk(&self, mut visit: impl FnMut(&[Listed<'_>]) -> Result<()>) -> Result<()> {
        let mut copies: Vec<Listed<'_>> = Vec::new();
        for listed in self.rows()? {
            let listed = listed?;
            if copies.first().is_some_and(|first| first.entry.id != listed.entry.id) {
                visit(&copies)?;
                copies.clear();
            }
            copies.push(listed);
        }
        if copies.is_empty() { Ok(()) } else { visit(&copies) }
    }

    /// Splits packs into parts that have so many rows at most, or one pack that has more: so that the lists of a part fit into memory.
    ///
    /// # Errors
    /// As [`places`](Self::places).
    pub(crate) fn in_parts(&self, packs: Vec<PackId>, most: usize) -> Result<Vec<Vec<PackId>>> {
        if self.len() <= most {
            return Ok(vec![packs]);
        }
        let mut rows: HashMap<PackId, usize> = packs.iter().map(|pack| (*pack, 0)).collect();
        for listed in self.rows()? {
            rows.entry(listed?.pack.pack).and_modify(|rows| *rows += 1);
        }
        let (mut parts, mut sum): (Vec<Vec<PackId>>, usize) = (Vec::new(), 0);
        for pack in packs {
            let more = rows.get(&pack).copied().unwrap_or(0);
            sum += more;
            match parts.last_mut().filter(|_| sum <= most) {
                Some(part) => part.push(pack),
                None => {
                    parts.push(vec![pack]);
                    sum = more;
                }
            }
        }
        Ok(parts)
    }

    /// What is listed of some packs, as it lies in each, as far as it is `wanted`. Memory: 48 bytes for each row of these.
    ///
    /// # Errors
    /// As [`places`](Self::places).
    pub(crate) fn lists(
        &self,
        packs: &[PackId],
        wanted: impl Fn(usize) -> bool,
    ) -> Result<HashMap<PackId, Vec<PackEntry>>> {
        let mut lists: HashMap<PackId, Vec<PackEntry>> =
            packs.iter().map(|pack| (*pack, Vec::new())).collect();
        for listed in self.rows()? {
            let Listed { row, pack, entry } = listed?;
            if wanted(row) {
                lists.entry(pack.pack).and_modify(|list| list.push(entry));
            }
        }
        lists.values_mut().for_each(|list| list.sort_unstable_by_key(|entry| entry.offset));
        Ok(lists)
    }

    pub(super) fn rows_in_memory(&self) -> usize {
        self.memory.iter().map(|table| table.rows().len()).sum()
    }

    /// All rows in order.
    pub(super) fn merged(&self) -> Result<Rows<'_>> {
        Ok(Box::new(self.numbered()?.map(|row| Ok(row?.1))))
    }

    /// Those in memory in order.
    pub(super) fn rows_of_memory(&self) -> Result<Rows<'_>> {
        let merge = Merge::new(self.memory.iter().map(|table| table.source()))?;
        Ok(Box::new(merge.map(|row| Ok(row?.1))))
    }

    fn numbered(&self) -> Result<Merge<'_>> {
        let memory = self.memory.iter().map(|table| table.source());
        Merge::new(memory.chain(self.sealed.iter().map(|table| (table.len(), table.rows()))))
    }

    fn spoil(&self) {
        self.is_spoilt.store(true, Ordering::Relaxed);
    }
}
