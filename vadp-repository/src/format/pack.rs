//! Packs, see docs/repository-format.md, "Chunks" and "Pack".

use std::ops::Range;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::codec::Encoding;
use crate::crypto::{Content, Keyring, NonceAt, SealKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::format::bytes::{ByteReader, ByteWriter, u32_of};
use crate::format::config::CHUNK_SIZES;
use crate::format::header::{ObjectHeader, ObjectKind};
use crate::ids::{ChunkId, PackId, RepositoryId};

const FOOTER_MAGIC: &[u8; 8] = b"VADPPEND";
const FOOTER_BYTES: usize = 12;

/// Largest pack that is read, in bytes: what offsets in it can count.
pub(crate) const MAX_BYTES: u64 = u32::MAX as u64;

/// One chunk or page in a pack, as trailer and index list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackEntry {
    pub(crate) id: ChunkId,
    pub(crate) offset: u32,
    /// With the tag.
    pub(crate) stored: u32,
    pub(crate) plain: u32,
    pub(crate) encoding: Encoding,
}

impl PackEntry {
    pub(crate) const BYTES: usize = 45;

    pub(crate) fn write(&self, bytes: &mut ByteWriter) {
        bytes.array(self.id.as_bytes());
        bytes.u32(self.offset);
        bytes.u32(self.stored);
        bytes.u32(self.plain);
        bytes.u8(self.encoding.number());
    }

    pub(crate) fn parse(bytes: &mut ByteReader<'_>) -> Result<Self> {
        let entry = Self {
            id: ChunkId(bytes.array()?),
            offset: bytes.u32()?,
            stored: bytes.u32()?,
            plain: bytes.u32()?,
            encoding: Encoding::from_number(bytes.u8()?)?,
        };
        let encoded = (entry.stored as usize).checked_sub(TAG_BYTES);
        // Readers take memory by these lengths, so they are bounded here, where they enter.
        let lengths_are_sane = entry.plain > 0
            && entry.plain <= *CHUNK_SIZES.end()
            && match entry.encoding {
                Encoding::Raw => encoded == Some(entry.plain as usize),
                Encoding::Zstd => encoded.is_some_and(|encoded| encoded < entry.plain as usize),
            };
        match lengths_are_sane && !entry.id.is_zero() && entry.offset as usize >= ObjectHeader::BYTES {
            true => Ok(entry),
            false => Err(Error::damaged("the entry of a chunk has impossible lengths").at_chunk(entry.id)),
        }
    }

    /// First byte after the sealed chunk.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.stored)
    }

    fn aad(&self, repository: RepositoryId, pack: PackId) -> [u8; 81] {
        let mut aad = [0; 81];
        aad[..16].copy_from_slice(repository.as_bytes());
        aad[16..32].copy_from_slice(pack.as_bytes());
        aad[32..64].copy_from_slice(self.id.as_bytes());
        aad[64..72].copy_from_slice(&u64::from(self.offset).to_le_bytes());
        aad[72..76].copy_from_slice(&self.stored.to_le_bytes());
        aad[76..80].copy_from_slice(&self.plain.to_le_bytes());
        aad[80] = self.encoding.number();
        aad
    }
}

/// A pack as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackRecord {
    pub(crate) pack: PackId,
    pub(crate) header: ObjectHeader,
    /// Size of the object in bytes.
    pub(crate) size: u64,
    pub(crate) entries: Vec<PackEntry>,
}

impl PackRecord {
    pub(crate) fn content(&self) -> Result<Content> {
        content_of(&self.header)
    }
}

/// What a pack of this header holds.
pub(crate) fn content_of(header: &ObjectHeader) -> Result<Content> {
    match header.kind {
        ObjectKind::DataPack => Ok(Content::Data),
        ObjectKind::PagePack => Ok(Content::Page),
        other => Err(Error::damaged(format!("a {other:?} object where a pack belongs"))),
    }
}

/// Chunk bytes after encoding, before sealing.
pub(crate) struct Encoded {
    pub(crate) id: ChunkId,
    pub(crate) plain: u32,
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Bytes,
}

impl Encoded {
    /// Bytes that the chunk takes in a pack.
    pub(crate) fn stored_len(&self) -> usize {
        self.bytes.len() + TAG_BYTES
    }
}

/// A pack that is being filled.
pub(crate) struct PackBuilder {
    pack: PackId,
    header: ObjectHeader,
    key: SealKey,
    buffer: Vec<u8>,
    entries: Vec<PackEntry>,
}

impl PackBuilder {
    pub(crate) fn new(
        pack: PackId,
        header: ObjectHeader,
        keyring: &Keyring,
        mut buffer: Vec<u8>,
    ) -> Result<Self> {
        let key = keyring.object_key(&header, pack.as_bytes())?;
        buffer.clear();
        buffer.extend_from_slice(&header.to_bytes());
        Ok(Self { pack, header, key, buffer, entries: Vec::new() })
    }

    /// Bytes of the object so far, header included.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Seals a chunk into the pack; gives the bytes it took.
    pub(crate) fn append(&mut self, chunk: &Encoded) -> Result<u32> {
        let from = self.buffer.len();
        let stored = u32_of(chunk.stored_len())?;
        let (id, plain, encoding) = (chunk.id, chunk.plain, chunk.encoding);
        let entry = PackEntry { id, offset: u32_of(from)?, stored, plain, encoding };
        self.buffer.extend_from_slice(&chunk.bytes);
        let aad = entry.aad(self.header.repository, self.pack);
        self.key.seal_tail(NonceAt::Offset(u64::from(entry.offset)), &aad, &mut self.buffer, from)?;
        self.entries.push(entry);
        Ok(stored)
    }

    /// Adds trailer and footer; gives the object.
    pub(crate) fn finish(mut self) -> Result<(PackRecord, Vec<u8>)> {
        let mut trailer = ByteWriter::with_capacity(4 + self.entries.len() * PackEntry::BYTES);
        trailer.count(self.entries.len())?;
        self.entries.iter().for_each(|entry| entry.write(&mut trailer));
        let from = self.buffer.len();
        let aad = trailer_aad(self.header.repository, self.pack, from as u64);
        self.buffer.extend_from_slice(trailer.as_slice());
        self.key.seal_tail(NonceAt::First, &aad, &mut self.buffer, from)?;
        let length = u32_of(self.buffer.len() - from)?;
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(FOOTER_MAGIC);
        let record = PackRecord {
            pack: self.pack,
            header: self.header,
            size: u64::from(u32_of(self.buffer.len())?),
            entries: self.entries,
        };
        Ok((record, self.buffer))
    }
}

/// Opens the seal of one chunk. The bytes are still encoded, and their id is still to be verified.
pub(crate) fn open_chunk(
    pack: PackId,
    header: &ObjectHeader,
    keyring: &Keyring,
    entry: &PackEntry,
    sealed: &[u8],
    buffers: &Buffers,
) -> Result<Bytes> {
    let damaged = |what: String| Error::damaged(what).at_pack(pack).at_chunk(entry.id);
    if sealed.len() != entry.stored as usize {
        return Err(damaged(format!(
            "the pack ends early: {} of {} bytes of a chunk",
            sealed.len(),
            entry.stored
        )));
    }
    let key = keyring.object_key(header, pack.as_bytes())?;
    let aad = entry.aad(header.repository, pack);
    let mut encoded = buffers.take(sealed.len().saturating_sub(TAG_BYTES));
    match key.open_into(NonceAt::Offset(u64::from(entry.offset)), &aad, sealed, encoded.as_mut()) {
        true => Ok(encoded.freeze()),
        false => Err(damaged("stored bytes of a chunk were altered: the seal does not open".to_owned())),
    }
}

/// Reads header, trailer and footer of a whole pack.
pub(crate) fn parse_pack(
    pack: PackId,
    repository: RepositoryId,
    keyring: &Keyring,
    object: &[u8],
) -> Result<PackRecord> {
    let header = object.get(..ObjectHeader::BYTES).unwrap_or(object);
    let trailer = trailer_of(pack, object.len() as u64, object)?;
    let sealed = object.get(trailer.start as usize..trailer.end as usize).unwrap_or_default();
    parse_frame(pack, repository, keyring, header, trailer, sealed)
}

/// Where the sealed trailer of a pack of `size` bytes is. `tail` are the last bytes of the pack, so many as there are.
pub(crate) fn trailer_of(pack: PackId, size: u64, tail: &[u8]) -> Result<Range<u64>> {
    let damaged = |what: &str| Error::damaged(what).at_pack(pack);
    let footer = tail.len().checked_sub(FOOTER_BYTES).and_then(|at| tail.get(at..));
    let mut footer = ByteReader::new(footer.ok_or_else(|| damaged("the pack is too short for a footer"))?);
    let length = u64::from(footer.u32()?);
    if footer.take(FOOTER_MAGIC.len())? != FOOTER_MAGIC {
        return Err(damaged("the pack does not end with a footer: it was cut or altered"));
    }
    let end = size.saturating_sub(FOOTER_BYTES as u64);
    match end.checked_sub(length).filter(|&from| from >= ObjectHeader::BYTES as u64) {
        Some(from) => Ok(from..end),
        None => Err(damaged("the pack's trailer is longer than the pack")),
    }
}

/// Reads the header and the sealed trailer of a pack, which is at `trailer`.
pub(crate) fn parse_frame(
    pack: PackId,
    repository: RepositoryId,
    keyring: &Keyring,
    header: &[u8],
    trailer: Range<u64>,
    sealed: &[u8],
) -> Result<PackRecord> {
    let header = ObjectHeader::parse(&mut ByteReader::new(header), repository)?;
    content_of(&header)?;
    let damaged = |what: &str| Error::damaged(what).at_pack(pack);
    let key = keyring.object_key(&header, pack.as_bytes())?;
    let plain = key
        .open(NonceAt::First, &trailer_aad(repository, pack, trailer.start), sealed)
        .ok_or_else(|| damaged("the pack's trailer was altered: the seal does not open"))?;
    let mut bytes = ByteReader::new(&plain);
    let entries = parse_entries(&mut bytes)?;
    bytes.finish()?;
    let mut offset = ObjectHeader::BYTES as u64;
    for entry in &entries {
        if u64::from(entry.offset) != offset {
            return Err(damaged("the chunks of the pack are not back to back"));
        }
        offset = entry.end();
    }
    match offset == trailer.start {
        true => Ok(PackRecord { pack, header, size: trailer.end + FOOTER_BYTES as u64, entries }),
        false => Err(damaged("the chunks of the pack do not end where the trailer begins")),
    }
}

/// Reads a count and as many entries.
pub(crate) fn parse_entries(bytes: &mut ByteReader<'_>) -> Result<Vec<PackEntry>> {
    let count = bytes.u32()?;
    let count = bytes.expect_at_least(count, PackEntry::BYTES)?;
    (0..count).map(|_| PackEntry::parse(bytes)).collect()
}

fn trailer_aad(repository: RepositoryId, pack: PackId, offset: u64) -> [u8; 40] {
    let mut aad = [0; 40];
    aad[..16].copy_from_slice(repository.as_bytes());
    aad[16..32].copy_from_slice(pack.as_bytes());
    aad[32..].copy_from_slice(&offset.to_le_bytes());
    aad
}
