//! Restore points, see docs/repository-format.md, "Point".

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::crypto::{Keyring, NonceAt};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bytes::{ByteReader, ByteWriter, u32_of};
use crate::format::header::{ObjectHeader, ObjectKind};
use crate::format::page::PAGE_SLOTS;
use crate::ids::{ChunkId, MAX_NAME_BYTES, MachineId, Origin, PointId, RepositoryId};

/// Largest point that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Header and lengths: where the sealed head begins.
pub(crate) const HEAD_AT: usize = ObjectHeader::BYTES + 8;
/// Most disks in a point.
pub(crate) const MAX_DISKS: usize = 4096;

/// The extension of a head that says of what the point is a copy.
const ORIGIN: u16 = 1;

const DISK_HEAD_BYTES: usize = 4 + 8 + 16 + 10 * 8;

/// What a listing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PointHead {
    pub(crate) machine: MachineId,
    /// Microseconds since 1970.
    pub(crate) created: i64,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) disks: Vec<DiskHead>,
    /// Of what a copy is one.
    pub(crate) origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskHead {
    pub(crate) key: String,
    pub(crate) capacity: u64,
    pub(crate) parent: Option<PointId>,
    pub(crate) counters: [u64; 10],
}

/// What a restore needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PointBody {
    pub(crate) metadata: Bytes,
    pub(crate) disks: Vec<DiskBody>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskBody {
    pub(crate) metadata: Bytes,
    pub(crate) pages: Vec<ChunkId>,
}

/// Pages of a disk.
pub(crate) fn page_count(capacity: u64, chunk_size: u32) -> u64 {
    capacity.div_ceil(u64::from(chunk_size)).div_ceil(PAGE_SLOTS as u64)
}

/// The bytes of a point.
pub(crate) fn seal(
    point: PointId,
    header: &ObjectHeader,
    keyring: &Keyring,
    head: &PointHead,
    body: &PointBody,
) -> Result<Vec<u8>> {
    let (head, body) = (head.to_bytes()?, body.to_bytes()?);
    let key = keyring.object_key(header, point.as_bytes())?;
    let tag = crate::crypto::TAG_BYTES;
    let lengths = Lengths { head: u32_of(head.len() + tag)?, body: u32_of(body.len() + tag)? };
    let aad = lengths.aad(header.repository, point);
    let mut object = ByteWriter::with_capacity(HEAD_AT + head.len() + body.len() + 2 * tag);
    object.array(&header.to_bytes());
    object.u32(lengths.head);
    object.u32(lengths.body);
    object.array(&key.seal(NonceAt::First, &aad, &head)?);
    object.array(&key.seal(NonceAt::Second, &aad, &body)?);
    match object.as_slice().len() as u64 <= MAX_BYTES {
        true => Ok(object.into_vec()),
        false => Err(Error::invalid(
            "the maps and metadata of the point exceed 256 MiB: split the machine's disks",
        )),
    }
}

/// The two parts of a point object, still sealed. Only as much as the caller has read.
pub(crate) struct SealedPoint<'a> {
    point: PointId,
    header: ObjectHeader,
    lengths: Lengths,
    rest: &'a [u8],
}

impl<'a> SealedPoint<'a> {
    /// Reads header and lengths from the beginning of an object.
    pub(crate) fn parse(point: PointId, repository: RepositoryId, object: &'a [u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(object);
        let header = ObjectHeader::parse_kind(&mut bytes, repository, ObjectKind::Point)?;
        let lengths = Lengths { head: bytes.u32()?, body: bytes.u32()? };
        let rest = bytes.take(bytes.remaining())?;
        Ok(Self { point, header, lengths, rest })
    }

    /// Bytes from the beginning of the object to the end of the head.
    pub(crate) fn head_end(&self) -> u64 {
        HEAD_AT as u64 + u64::from(self.lengths.head)
    }

    pub(crate) fn open_head(&self, keyring: &Keyring) -> Result<PointHead> {
        let sealed = self.rest.get(..self.lengths.head as usize).ok_or_else(cut)?;
        PointHead::parse(&self.open(keyring, NonceAt::First, sealed)?)
    }

    pub(crate) fn open_body(
        &self,
        keyring: &Keyring,
        head: &PointHead,
        chunk_size: u32,
    ) -> Result<PointBody> {
        let sealed = self.rest.get(self.lengths.head as usize..).ok_or_else(cut)?;
        if sealed.len() != self.lengths.body as usize {
            return Err(cut());
        }
        PointBody::parse(&self.open(keyring, NonceAt::Second, sealed)?, head, chunk_size)
    }

    fn open(&self, keyring: &Keyring, at: NonceAt, sealed: &[u8]) -> Result<Vec<u8>> {
        let key = keyring.object_key(&self.header, self.point.as_bytes())?;
        let aad = self.lengths.aad(self.header.repository, self.point);
        key.open(at, &aad, sealed)
            .ok_or_else(|| Error::damaged("the restore point was altered: the seal does not open"))
    }
}

fn cut() -> Error {
    Error::damaged("the restore point was cut short or has bytes too many")
}

#[derive(Debug, Clone, Copy)]
struct Lengths {
    head: u32,
    body: u32,
}

impl Lengths {
    fn aad(self, repository: RepositoryId, point: PointId) -> [u8; 40] {
        let mut aad = [0; 40];
        aad[..16].copy_from_slice(repository.as_bytes());
        aad[16..32].copy_from_slice(point.as_bytes());
        aad[32..36].copy_from_slice(&self.head.to_le_bytes());
        aad[36..].copy_from_slice(&self.body.to_le_bytes());
        aad
    }
}

impl PointHead {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = ByteWriter::with_capacity(256 + self.disks.len() * (DISK_HEAD_BYTES + 64));
        bytes.text(self.machine.as_str())?;
        bytes.i64(self.created);
        bytes.count(self.tags.len())?;
        for (key, value) in &self.tags {
            bytes.text(key)?;
            bytes.text(value)?;
        }
        bytes.count(self.disks.len())?;
        for disk in &self.disks {
            bytes.text(&disk.key)?;
            bytes.u64(disk.capacity);
            bytes.array(disk.parent.unwrap_or(PointId::from_bytes([0; 16])).as_bytes());
            disk.counters.iter().for_each(|counter| bytes.u64(*counter));
        }
        bytes.u32(u32::from(self.origin.is_some()));
        if let Some(Origin { repository, point }) = self.origin {
            bytes.u16(ORIGIN);
            bytes.u8(0);
            bytes.blob(&[*repository.as_bytes(), *point.as_bytes()].concat())?;
        }
        Ok(bytes.into_vec())
    }

    pub(crate) fn parse(plain: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(plain);
        let machine = MachineId::new(bytes.text()?)
            .map_err(|e| Error::damaged("bad name of a machine").with_source(e))?;
        let created = bytes.i64()?;
        let tags = parse_tags(&mut bytes)?;
        let count = bytes.u32()?;
        let count = bytes.expect_at_least(count, DISK_HEAD_BYTES)?;
        if count > MAX_DISKS {
            return Err(Error::damaged(format!("a point of {count} disks")));
        }
        let disks = (0..count).map(|_| parse_disk(&mut bytes)).collect::<Result<Vec<_>>>()?;
        let keys: BTreeSet<_> = disks.iter().map(|disk| &disk.key).collect();
        if keys.len() != disks.len() {
            return Err(Error::damaged("two disks of the point have the same key"));
        }
        let mut origin = None;
        for _ in 0..bytes.u32()? {
            let (tag, flags, value) = (bytes.u16()?, bytes.u8()?, bytes.blob()?);
            if tag == ORIGIN {
                if origin.replace(parse_origin(value)?).is_some() {
                    return Err(Error::damaged("the point says twice of what it is a copy"));
                }
            } else if flags & 1 != 0 {
                return Err(Error::new(
                    ErrorKind::UnsupportedFormat,
                    format!(
                        "the restore point needs extension {tag}, which this program lacks: use a newer program"
                    ),
                ));
            }
        }
        bytes.finish()?;
        Ok(Self { machine, created, tags, disks, origin })
    }
}

fn parse_tags(bytes: &mut ByteReader<'_>) -> Result<BTreeMap<String, String>> {
    let count = bytes.u32()?;
    let count = bytes.expect_at_least(count, 8)?;
    let mut tags = BTreeMap::new();
    for _ in 0..count {
        let (key, value) = (bytes.text()?, bytes.text()?);
        if tags.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(Error::damaged("the tags of the point are not in order"));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

fn parse_origin(value: &[u8]) -> Result<Origin> {
    let mut bytes = ByteReader::new(value);
    let repository = RepositoryId::from_bytes(bytes.array()?);
    let point = PointId::from_bytes(bytes.array()?);
    bytes.finish()?;
    Ok(Origin { repository, point })
}

fn parse_disk(bytes: &mut ByteReader<'_>) -> Result<DiskHead> {
    let key = bytes.text()?;
    let capacity = bytes.u64()?;
    if key.is_empty() || key.len() > MAX_NAME_BYTES || capacity == 0 {
        return Err(Error::damaged("a disk of the point has no proper key or no capacity"));
    }
    let parent: [u8; 16] = bytes.array()?;
    let parent = (parent != [0; 16]).then(|| PointId::from_bytes(parent));
    let mut counters = [0; 10];
    for counter in &mut counters {
        *counter = bytes.u64()?;
    }
    Ok(DiskHead { key, capacity, parent, counters })
}

impl PointBody {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let pages: usize =
            self.disks.iter().map(|disk| disk.pages.len() * 32 + disk.metadata.len() + 8).sum();
        let mut bytes = ByteWriter::with_capacity(4 + self.metadata.len() + pages);
        bytes.blob(&self.metadata)?;
        for disk in &self.disks {
            bytes.blob(&disk.metadata)?;
            bytes.count(disk.pages.len())?;
            disk.pages.iter().for_each(|page| bytes.array(page.as_bytes()));
        }
        Ok(bytes.into_vec())
    }

    pub(crate) fn parse(plain: &[u8], head: &PointHead, chunk_size: u32) -> Result<Self> {
        let mut bytes = ByteReader::new(plain);
        let metadata = Bytes::copy_from_slice(bytes.blob()?);
        let mut disks = Vec::with_capacity(head.disks.len());
        for disk in &head.disks {
            let metadata = Bytes::copy_from_slice(bytes.blob()?);
            let count = bytes.u32()?;
            if u64::from(count) != page_count(disk.capacity, chunk_size) {
                return Err(Error::damaged(format!(
                    "a map of {count} pages does not fit a disk of {} bytes",
                    disk.capacity
                )));
            }
            let count = bytes.expect_at_least(count, 32)?;
            let pages = (0..count).map(|_| bytes.array().map(ChunkId)).collect::<Result<_>>()?;
            disks.push(DiskBody { metadata, pages });
        }
        bytes.finish()?;
        Ok(Self { metadata, disks })
    }
}
