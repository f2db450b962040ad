//! For this crate's own tests, benchmarks and fuzz targets: objects made with given keys, salts and ids, and the bare parsers.
//! No part of the public interface; it may change at any time.

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::codec::Encoding;
use crate::crypto::{Content, Keyring};
use crate::error::Result;
use crate::format::bytes::{ByteReader, u32_of};
use crate::format::config::Config;
use crate::format::export;
use crate::format::header::{ObjectHeader, ObjectKind};
use crate::format::index::IndexObject;
use crate::format::key_slot::{KeySlot, SlotKind, Stretch};
use crate::format::pack::{Encoded, PackBuilder, PackEntry, PackRecord, parse_entries, parse_pack};
use crate::format::page::MapPage;
use crate::format::point::{self, DiskBody, DiskHead, PointBody, PointHead, SealedPoint};
use crate::ids::{ChunkId, IndexId, KeySlotId, MachineId, PackId, PointId, RepositoryId};

/// A grace period that nobody may use: for tests of several processes, which cannot wait.
pub fn with_any_grace(options: crate::PruneOptions, grace: std::time::Duration) -> crate::PruneOptions {
    options.with_any_grace(grace)
}

/// The id of a chunk that is nowhere: for an index of any size.
pub fn made_up_chunk(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Whether the index of an open repository, as it is in this process, names a pack that holds the chunk.
///
/// # Errors
/// As reading the index.
pub fn is_indexed(repository: &crate::Repository, chunk: [u8; 32]) -> Result<bool> {
    Ok(!repository.shared.index().places(Content::Data, &ChunkId(chunk))?.is_empty())
}

/// Everything random about a repository, given.
#[derive(Clone, Copy)]
pub struct Fixed {
    /// Repository id.
    pub repository: [u8; 16],
    /// Identity secret of the keyring.
    pub identity: [u8; 32],
    /// Key of epoch 1.
    pub epoch_key: [u8; 32],
    /// Salt of each object.
    pub salt: [u8; 32],
    /// Id of each object.
    pub object: [u8; 16],
}

/// A pack, with what an index object needs to know of it.
pub struct FixedPack {
    /// The bytes of the object.
    pub object: Vec<u8>,
    /// The ids of its chunks.
    pub chunks: Vec<[u8; 32]>,
    record: PackRecord,
}

impl Fixed {
    /// A config.
    pub fn config(&self, chunk_size: u32, created: i64) -> Vec<u8> {
        let repository = RepositoryId::from_bytes(self.repository);
        Config { repository, chunk_size, created, writable: true }.to_bytes(&self.keyring().digests())
    }

    /// A key slot for a raw key, or for a password at low cost.
    pub fn key_slot(&self, key: Result<[u8; 32], &str>, created: i64) -> Result<Vec<u8>> {
        let cost = Stretch { memory_kib: 64, passes: 1, lanes: 1 };
        let (kind, key) = match key {
            Ok(key) => (SlotKind::RawKey, key),
            Err(password) => (SlotKind::Password(cost), *cost.key(password.as_bytes(), &self.salt)?),
        };
        let (repository, slot) =
            (RepositoryId::from_bytes(self.repository), KeySlotId::from_bytes(self.object));
        KeySlot::new(repository, slot, created, self.salt, kind).seal(&key, &self.keyring())
    }

    /// A pack of data or pages. Chunks are written raw, or as the zstd frames that are given with them.
    pub fn pack(&self, pages: bool, chunks: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<FixedPack> {
        let (kind, content) = match pages {
            true => (ObjectKind::PagePack, Content::Page),
            false => (ObjectKind::DataPack, Content::Data),
        };
        let keyring = self.keyring();
        let mut pack =
            PackBuilder::new(PackId::from_bytes(self.object), self.header(kind), &keyring, Vec::new())?;
        let mut ids = Vec::new();
        for (plain, frame) in chunks {
            let id = keyring.digests().id(content, plain);
            let (encoding, bytes) = match frame {
                Some(frame) => (Encoding::Zstd, frame),
                None => (Encoding::Raw, plain),
            };
            let bytes = Bytes::copy_from_slice(bytes);
            pack.append(&Encoded { id, plain: u32_of(plain.len())?, encoding, bytes })?;
            ids.push(*id.as_bytes());
        }
        let (record, object) = pack.finish()?;
        Ok(FixedPack { object, chunks: ids, record })
    }

    /// A map page with these chunks in its first slots.
    pub fn page(&self, chunks: &[[u8; 32]]) -> Vec<u8> {
        let mut page = MapPage::zero();
        chunks.iter().enumerate().for_each(|(slot, id)| page.set(slot, ChunkId(*id)));
        page.to_bytes()
    }

    /// An index object.
    pub fn index(&self, packs: &[FixedPack]) -> Result<Vec<u8>> {
        let packs = packs.iter().map(|pack| pack.record.clone()).collect();
        let object = IndexObject { supersedes: Vec::new(), packs };
        object.seal(IndexId::from_bytes(self.object), &self.header(ObjectKind::Index), &self.keyring())
    }

    /// An index object of chunks that are nowhere, 64 in a pack.
    pub fn made_up_index(&self, chunks: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let packs = chunks.clone().step_by(64).map(|first| {
            let entries = (first..chunks.end.min(first + 64)).map(|number| {
                let offset = 64 + (1 << 20) * (number - first) as u32;
                let (id, stored, plain) = (ChunkId(made_up_chunk(number)), 1 << 19, 1 << 20);
                PackEntry { id, offset, stored, plain, encoding: Encoding::Zstd }
            });
            let pack = PackId::from_bytes(u128::from(first).to_be_bytes());
            let header = self.header(ObjectKind::DataPack);
            PackRecord { pack, header, size: 64 << 20, entries: entries.collect() }
        });
        let object = IndexObject { supersedes: Vec::new(), packs: packs.collect() };
        object.seal(IndexId::from_bytes(self.object), &self.header(ObjectKind::Index), &self.keyring())
    }

    /// A point of one disk, with metadata "point" and "disk", a tag and counters 1 to 10.
    pub fn point(
        &self,
        machine: &str,
        created: i64,
        key: &str,
        capacity: u64,
        pages: &[[u8; 32]],
    ) -> Result<Vec<u8>> {
        let counters = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let disk = DiskHead { key: key.to_owned(), capacity, parent: None, counters };
        let tags = [("tag".to_owned(), "value".to_owned())].into();
        let head =
            PointHead { machine: MachineId::new(machine)?, created, tags, disks: vec![disk], origin: None };
        let pages = pages.iter().copied().map(ChunkId).collect();
        let disk = DiskBody { metadata: Bytes::from_static(b"disk"), pages };
        let body = PointBody { metadata: Bytes::from_static(b"point"), disks: vec![disk] };
        let header = self.header(ObjectKind::Point);
        point::seal(PointId::from_bytes(self.object), &header, &self.keyring(), &head, &body)
    }

    /// Parses bytes as one kind of object or body, as a reader would. For hostile input.
    pub fn parse(&self, what: Parse, bytes: &[u8]) -> Result<()> {
        let repository = RepositoryId::from_bytes(self.repository);
        match what {
            Parse::Config => Config::parse(bytes).map(drop),
            Parse::KeySlot => KeySlot::parse(bytes).map(drop),
            Parse::Keyring => Keyring::parse(bytes).map(drop),
            Parse::Pack => {
                parse_pack(PackId::from_bytes(self.object), repository, &self.keyring(), bytes).map(drop)
            }
            Parse::Entries => {
                let mut reader = ByteReader::new(bytes);
                parse_entries(&mut reader)?;
                reader.finish()
            }
            Parse::Page => MapPage::parse(bytes).map(drop),
            Parse::Index => IndexObject::open(
                IndexId::from_bytes(self.object),
                repository,
                &self.keyring(),
                bytes.to_vec(),
            )
            .map(drop),
            Parse::IndexBody => IndexObject::parse_body(repository, bytes).map(drop),
            Parse::Point => {
                let sealed = SealedPoint::parse(PointId::from_bytes(self.object), repository, bytes)?;
                let head = sealed.open_head(&self.keyring())?;
                sealed.open_body(&self.keyring(), &head, 1 << 20).map(drop)
            }
            Parse::PointHead => PointHead::parse(bytes).map(drop),
            Parse::PointBody => {
                let disk =
                    DiskHead { key: "d".to_owned(), capacity: 1 << 40, parent: None, counters: [0; 10] };
                let (machine, tags) = (MachineId::new("m")?, Default::default());
                let head = PointHead { machine, created: 0, tags, disks: vec![disk], origin: None };
                PointBody::parse(bytes, &head, 1 << 20).map(drop)
            }
            Parse::ExportPrefix => export::parse_prefix(bytes).map(drop),
            Parse::ExportHead => export::Record::parse(export::HEAD, bytes).map(drop),
            Parse::ExportChunk => export::Record::parse(export::CHUNK, bytes).map(drop),
            Parse::Frame => {
                let (bytes, buffers) = (Bytes::copy_from_slice(bytes), Buffers::default());
                crate::codec::decode(Encoding::Zstd, bytes, 1 << 20, &buffers).map(drop)
            }
        }
    }

    fn header(&self, kind: ObjectKind) -> ObjectHeader {
        ObjectHeader {
            kind,
            epoch: 1,
            repository: RepositoryId::from_bytes(self.repository),
            salt: self.salt,
        }
    }

    fn keyring(&self) -> Keyring {
        Keyring::new(self.identity, self.epoch_key)
    }
}

impl Parse {
    /// All there are. The order is that of the first bytes in fuzz/corpus/repository_object: add at the end.
    pub const ALL: [Self; 15] = [
        Self::Config,
        Self::KeySlot,
        Self::Keyring,
        Self::Pack,
        Self::Entries,
        Self::Page,
        Self::Index,
        Self::IndexBody,
        Self::Point,
        Self::PointHead,
        Self::PointBody,
        Self::Frame,
        Self::ExportPrefix,
        Self::ExportHead,
        Self::ExportChunk,
    ];
}

/// What [`Fixed::parse`] takes bytes for.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    Config,
    KeySlot,
    Keyring,
    Pack,
    Entries,
    Page,
    Index,
    IndexBody,
    Point,
    PointHead,
    PointBody,
    Frame,
    ExportPrefix,
    ExportHead,
    ExportChunk,
}
