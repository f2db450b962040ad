//! The index in memory: which pack holds a chunk. See docs/repository-format.md, "Index".
//!
//! An entry takes 52 bytes, and with the slack of the hash table 61 to 121 bytes: about 60 to 120 MB for each
//! tebibyte of stored 1 MiB chunks. A pack takes about 130 bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::codec::Encoding;
use crate::crypto::Content;
use crate::error::Result;
use crate::format::header::ObjectHeader;
use crate::format::index::IndexObject;
use crate::format::pack::{PackEntry, PackRecord};
use crate::ids::{ChunkId, IndexId, PackId};

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
    chunks: HashMap<ChunkId, Spot, BuildHasherDefault<DigestHasher>>,
    /// Further copies of a chunk: two writers may have stored it at the same time.
    copies: HashMap<ChunkId, Vec<Spot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    pack: u32,
    offset: u32,
    stored: u32,
    plain: u32,
    encoding: Encoding,
}

impl Index {
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

    /// Adds what an index object says, or that it cannot be used.
    pub(crate) fn add(&mut self, id: IndexId, object: Result<&IndexObject, &String>) -> Result<()> {
        self.objects.insert(id);
        let object = match object {
            Ok(object) => object,
            Err(why) => {
                self.damaged.insert(id, why.clone());
                return Ok(());
            }
        };
        self.chunks.reserve(object.packs.iter().map(|pack| pack.entries.len()).sum());
        object.packs.iter().try_for_each(|pack| self.add_pack(pack))
    }

    /// Notes an index object that another one has replaced, so that it is not loaded.
    pub(crate) fn skip(&mut self, id: IndexId) {
        self.objects.insert(id);
    }

    /// All copies of a chunk or page.
    pub(crate) fn places(&self, content: Content, id: &ChunkId) -> impl Iterator<Item = Place> {
        let first = self.chunks.get(id);
        let copies = first.and_then(|_| self.copies.get(id)).map(Vec::as_slice).unwrap_or_default();
        first.into_iter().chain(copies).filter_map(move |spot| {
            let pack = self.packs.get(spot.pack as usize).filter(|pack| pack.content == content)?;
            let Spot { offset, stored, plain, encoding, .. } = *spot;
            let entry = PackEntry { id: *id, offset, stored, plain, encoding };
            Some(Place { pack: pack.pack, header: pack.header, entry })
        })
    }

    pub(crate) fn packs(&self) -> &[IndexedPack] {
        &self.packs
    }

    /// Every copy of every chunk and page.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&IndexedPack, PackEntry)> {
        let firsts = self.chunks.iter();
        let copies = self.copies.iter().flat_map(|(id, spots)| spots.iter().map(move |spot| (id, spot)));
        firsts.chain(copies).filter_map(|(id, spot)| {
            let Spot { offset, stored, plain, encoding, .. } = *spot;
            let entry = PackEntry { id: *id, offset, stored, plain, encoding };
            Some((self.packs.get(spot.pack as usize)?, entry))
        })
    }

    fn add_pack(&mut self, record: &PackRecord) -> Result<()> {
        let content = record.content()?;
        let next = crate::format::bytes::u32_of(self.packs.len())?;
        let number = *self.pack_numbers.entry(record.pack).or_insert(next);
        if number == next {
            let PackRecord { pack, header, size, .. } = *record;
            self.packs.push(IndexedPack { pack, header, content, size });
        }
        for entry in &record.entries {
            let PackEntry { id, offset, stored, plain, encoding } = *entry;
            let spot = Spot { pack: number, offset, stored, plain, encoding };
            let first = *self.chunks.entry(id).or_insert(spot);
            if first != spot {
                let copies = self.copies.entry(id).or_default();
                if !copies.contains(&spot) {
                    copies.push(spot);
                }
            }
        }
        Ok(())
    }
}

/// Chunk ids are keyed digests, so their first bytes are a hash that nobody outside can steer.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

/// A set of chunk ids.
pub(crate) type ChunkSet = HashSet<ChunkId, BuildHasherDefault<DigestHasher>>;

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}
