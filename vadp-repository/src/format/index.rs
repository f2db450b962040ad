//! Index objects, see docs/repository-format.md, "Index".

use crate::crypto::{Keyring, NonceAt};
use crate::error::{Error, Result};
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::format::header::{ObjectHeader, ObjectKind};
use crate::format::pack::{PackEntry, PackRecord, content_of, parse_entries};
use crate::ids::{IndexId, PackId, RepositoryId};

/// Largest index object that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 256 * 1024 * 1024;

const GROUP_BYTES: usize = 16 + ObjectHeader::BYTES + 8 + 4;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexObject {
    pub(crate) supersedes: Vec<IndexId>,
    pub(crate) packs: Vec<PackRecord>,
}

impl IndexObject {
    pub(crate) fn seal(&self, index: IndexId, header: &ObjectHeader, keyring: &Keyring) -> Result<Vec<u8>> {
        let entries: usize = self.packs.iter().map(|pack| pack.entries.len()).sum();
        let capacity =
            8 + 16 * self.supersedes.len() + GROUP_BYTES * self.packs.len() + PackEntry::BYTES * entries;
        let mut body = ByteWriter::with_capacity(capacity);
        body.count(self.supersedes.len())?;
        self.supersedes.iter().for_each(|id| body.array(id.as_bytes()));
        body.count(self.packs.len())?;
        for pack in &self.packs {
            body.array(pack.pack.as_bytes());
            body.array(&pack.header.to_bytes());
            body.u64(pack.size);
            body.count(pack.entries.len())?;
            pack.entries.iter().for_each(|entry| entry.write(&mut body));
        }
        let key = keyring.object_key(header, index.as_bytes())?;
        let sealed = key.seal(NonceAt::First, &aad(header.repository, index), body.as_slice())?;
        let mut object = ByteWriter::with_capacity(ObjectHeader::BYTES + sealed.len());
        object.array(&header.to_bytes());
        object.array(&sealed);
        Ok(object.into_vec())
    }

    pub(crate) fn open(
        index: IndexId,
        repository: RepositoryId,
        keyring: &Keyring,
        mut object: Vec<u8>,
    ) -> Result<Self> {
        let header = ObjectHeader::parse_kind(&mut ByteReader::new(&object), repository, ObjectKind::Index)?;
        let sealed = object.get_mut(ObjectHeader::BYTES..).unwrap_or_default();
        // In place, since a large index object is large.
        let length = keyring
            .object_key(&header, index.as_bytes())?
            .open_in_place(NonceAt::First, &aad(repository, index), sealed)
            .ok_or_else(|| Error::damaged("the index object was cut or altered: the seal does not open"))?;
        Self::parse_body(repository, sealed.get(..length).unwrap_or_default())
    }

    /// Reads an unsealed body.
    pub(crate) fn parse_body(repository: RepositoryId, body: &[u8]) -> Result<Self> {
        let mut bytes = ByteReader::new(body);
        let count = bytes.u32()?;
        let count = bytes.expect_at_least(count, 16)?;
        let supersedes = (0..count).map(|_| bytes.array().map(IndexId::from_bytes)).collect::<Result<_>>()?;
        let count = bytes.u32()?;
        let count = bytes.expect_at_least(count, GROUP_BYTES)?;
        let packs = (0..count).map(|_| parse_group(repository, &mut bytes)).collect::<Result<_>>()?;
        bytes.finish()?;
        Ok(Self { supersedes, packs })
    }
}

fn parse_group(repository: RepositoryId, bytes: &mut ByteReader<'_>) -> Result<PackRecord> {
    let pack = PackId::from_bytes(bytes.array()?);
    let header = ObjectHeader::parse(bytes, repository)?;
    content_of(&header)?;
    let size = bytes.u64()?;
    let entries = parse_entries(bytes)?;
    match entries.iter().all(|entry| entry.end() <= size) {
        true => Ok(PackRecord { pack, header, size, entries }),
        false => Err(Error::damaged("the index lists a chunk beyond the end of its pack").at_pack(pack)),
    }
}

fn aad(repository: RepositoryId, index: IndexId) -> [u8; 32] {
    let mut aad = [0; 32];
    aad[..16].copy_from_slice(repository.as_bytes());
    aad[16..].copy_from_slice(index.as_bytes());
    aad
}
