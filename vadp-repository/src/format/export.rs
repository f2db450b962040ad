//! A restore point as one file, see docs/repository-format.md, "Export".

use bytes::Bytes;

use crate::codec::Encoding;
use crate::crypto::{Keyring, NonceAt, SealKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::format::VERSION;
use crate::format::bytes::{ByteReader, ByteWriter, u32_of};
use crate::format::config::CHUNK_SIZES;
use crate::format::header::unsupported;
use crate::format::point::PointHead;
use crate::ids::RepositoryId;

const MAGIC: &[u8; 8] = b"VADPEXPO";
pub(crate) const HEAD: u8 = 1;
pub(crate) const CHUNK: u8 = 2;
const END: u8 = 3;
/// Largest sealed head, in bytes: 64 MiB of metadata, and what else a point's head may have.
const MAX_HEAD_BYTES: u32 = 80 << 20;
const CHUNK_FIELDS: usize = 4 + 8 + 1 + 4;

/// Magic, version and length of the key slot.
pub(crate) const PREFIX_BYTES: usize = 16;
/// Kind and length of a record.
pub(crate) const RECORD_HEAD_BYTES: usize = 5;

/// What comes before the key slot.
pub(crate) fn prefix(key_slot: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = ByteWriter::with_capacity(PREFIX_BYTES);
    bytes.array(MAGIC);
    bytes.u16(VERSION);
    bytes.zeros(2);
    bytes.count(key_slot.len())?;
    Ok(bytes.into_vec())
}

/// Reads the prefix; gives the length of the key slot, which is not yet bounded.
pub(crate) fn parse_prefix(prefix: &[u8]) -> Result<u32> {
    let mut bytes = ByteReader::new(prefix);
    if bytes.take(MAGIC.len()).ok() != Some(MAGIC) {
        return Err(Error::invalid("this is no exported restore point: it does not begin as one"));
    }
    let version = bytes.u16()?;
    if version != VERSION {
        return Err(unsupported(version));
    }
    bytes.zeros(2)?;
    let length = bytes.u32()?;
    bytes.finish()?;
    Ok(length)
}

/// What an export says before its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportHead {
    pub(crate) chunk_size: u32,
    /// Its origin is always given.
    pub(crate) point: PointHead,
    pub(crate) metadata: Bytes,
    /// In the order of the point's disks.
    pub(crate) disk_metadata: Vec<Bytes>,
}

/// A chunk of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportChunk {
    /// Which disk of the head.
    pub(crate) disk: u32,
    /// Index of the chunk on the disk.
    pub(crate) chunk: u64,
    pub(crate) encoding: Encoding,
    pub(crate) plain: u32,
    pub(crate) bytes: Bytes,
}

/// One step of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Head(ExportHead),
    Chunk(ExportChunk),
    /// With the number of chunks.
    End(u64),
}

/// Seals or opens the records of one file, in order.
pub(crate) struct Records {
    key: SealKey,
    file: RepositoryId,
    next: u64,
}

impl Records {
    /// `keyring` is of this file alone, so no two files share a key.
    pub(crate) fn new(keyring: &Keyring, file: RepositoryId) -> Result<Self> {
        Ok(Self { key: keyring.export_key()?, file, next: 0 })
    }

    /// The bytes of the next record.
    pub(crate) fn seal(&mut self, record: &Record) -> Result<Vec<u8>> {
        let mut plain = ByteWriter::with_capacity(64);
        let kind = match record {
            Record::Head(head) => {
                head.write(&mut plain)?;
                HEAD
            }
            Record::Chunk(chunk) => {
                plain.u32(chunk.disk);
                plain.u64(chunk.chunk);
                plain.u8(chunk.encoding.number());
                plain.u32(chunk.plain);
                plain.array(&chunk.bytes);
                CHUNK
            }
            Record::End(chunks) => {
                plain.u64(*chunks);
                END
            }
        };
        let length = u32_of(plain.as_slice().len() + TAG_BYTES)?;
        if length > most_bytes(kind) {
            return Err(Error::invalid("the metadata of the restore point do not fit into an export"));
        }
        let mut bytes = ByteWriter::with_capacity(RECORD_HEAD_BYTES + length as usize);
        bytes.u8(kind);
        bytes.u32(length);
        let aad = aad(self.file, kind, length);
        bytes.array(&self.key.seal(NonceAt::Record(self.next), &aad, plain.as_slice())?);
        self.next += 1;
        Ok(bytes.into_vec())
    }

    /// The length of what follows the beginning of a record. It is bounded by what a record of its kind can have.
    pub(crate) fn length(head: &[u8; RECORD_HEAD_BYTES]) -> Result<u32> {
        let [kind, length @ ..] = *head;
        let length = u32::from_le_bytes(length);
        match (TAG_BYTES as u32..=most_bytes(kind)).contains(&length) {
            true => Ok(length),
            false => Err(Error::damaged(format!(
                "the export is altered: a record of kind {kind} with {length} bytes"
            ))),
        }
    }

    /// Opens the next record.
    pub(crate) fn open(&mut self, head: &[u8; RECORD_HEAD_BYTES], sealed: &[u8]) -> Result<Record> {
        let [kind, ..] = *head;
        let aad = aad(self.file, kind, u32_of(sealed.len())?);
        let plain = self.key.open(NonceAt::Record(self.next), &aad, sealed);
        let plain = plain.ok_or_else(|| {
            Error::damaged(format!(
                "the export is altered or not in order: the seal of record {} does not open",
                self.next
            ))
        })?;
        self.next += 1;
        Record::parse(kind, &plain)
    }
}

impl Record {
    pub(crate) fn parse(kind: u8, plain: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(plain);
        let record = match kind {
            HEAD => Self::Head(ExportHead::parse(&mut bytes)?),
            CHUNK => {
                let (disk, chunk) = (bytes.u32()?, bytes.u64()?);
                let encoding = Encoding::from_number(bytes.u8()?)?;
                let plain = bytes.u32()?;
                if !(1..=*CHUNK_SIZES.end()).contains(&plain) {
                    return Err(Error::damaged(format!("the export has a chunk of {plain} bytes")));
                }
                let bytes = Bytes::copy_from_slice(bytes.take(bytes.remaining())?);
                return Ok(Self::Chunk(ExportChunk { disk, chunk, encoding, plain, bytes }));
            }
            END => Self::End(bytes.u64()?),
            other => return Err(Error::damaged(format!("the export has a record of unknown kind {other}"))),
        };
        bytes.finish()?;
        Ok(record)
    }
}

impl ExportHead {
    fn write(&self, bytes: &mut ByteWriter) -> Result<()> {
        bytes.u32(self.chunk_size);
        bytes.blob(&self.point.to_bytes()?)?;
        bytes.blob(&self.metadata)?;
        self.disk_metadata.iter().try_for_each(|metadata| bytes.blob(metadata))
    }

    fn parse(bytes: &mut ByteReader<'_>) -> Result<Self> {
        let chunk_size = bytes.u32()?;
        let point = PointHead::parse(bytes.blob()?)?;
        let metadata = Bytes::copy_from_slice(bytes.blob()?);
        let of_disks = point.disks.iter().map(|_| bytes.blob().map(Bytes::copy_from_slice));
        let disk_metadata = of_disks.collect::<Result<_>>()?;
        Ok(Self { chunk_size, point, metadata, disk_metadata })
    }
}

fn most_bytes(kind: u8) -> u32 {
    match kind {
        HEAD => MAX_HEAD_BYTES,
        CHUNK => *CHUNK_SIZES.end() + (CHUNK_FIELDS + TAG_BYTES) as u32,
        END => (8 + TAG_BYTES) as u32,
        _ => 0,
    }
}

fn aad(file: RepositoryId, kind: u8, length: u32) -> [u8; 21] {
    let mut aad = [0; 21];
    aad[..16].copy_from_slice(file.as_bytes());
    aad[16] = kind;
    aad[17..].copy_from_slice(&length.to_le_bytes());
    aad
}
