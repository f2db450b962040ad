//! The first 64 bytes of packs, index objects and points, see docs/repository-format.md, "Object header".

use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::bytes::ByteReader;
use crate::ids::RepositoryId;

/// What kind of object a header begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ObjectKind {
    DataPack,
    PagePack,
    Index,
    Point,
}

impl ObjectKind {
    fn magic(self) -> (&'static [u8; 8], u8) {
        match self {
            Self::DataPack => (b"VADPPACK", 1),
            Self::PagePack => (b"VADPPACK", 2),
            Self::Index => (b"VADPINDX", 0),
            Self::Point => (b"VADPPOIN", 0),
        }
    }
}

/// The header of a sealed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectHeader {
    pub(crate) kind: ObjectKind,
    pub(crate) epoch: u32,
    pub(crate) repository: RepositoryId,
    pub(crate) salt: [u8; 32],
}

impl ObjectHeader {
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let (magic, kind) = self.kind.magic();
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(magic);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = kind;
        bytes[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..32].copy_from_slice(self.repository.as_bytes());
        bytes[32..].copy_from_slice(&self.salt);
        bytes
    }

    /// Reads a header of this repository.
    pub(crate) fn parse(reader: &mut ByteReader<'_>, repository: RepositoryId) -> Result<Self> {
        let magic: [u8; 8] = reader.array()?;
        let kinds = [ObjectKind::DataPack, ObjectKind::PagePack, ObjectKind::Index, ObjectKind::Point];
        if !kinds.iter().any(|kind| *kind.magic().0 == magic) {
            return Err(Error::damaged("the object does not begin as one of ours"));
        }
        let version = reader.u16()?;
        if version != VERSION {
            return Err(unsupported(version));
        }
        let number = reader.u8()?;
        let kind = kinds
            .into_iter()
            .find(|kind| kind.magic() == (&magic, number))
            .ok_or_else(|| Error::damaged(format!("unknown object kind {number}")))?;
        reader.zeros(1)?;
        let epoch = reader.u32()?;
        let found = RepositoryId::from_bytes(reader.array()?);
        if found != repository {
            return Err(Error::damaged(format!(
                "the object belongs to repository {found}, not to {repository}"
            )));
        }
        Ok(Self { kind, epoch, repository, salt: reader.array()? })
    }

    /// Reads a header that must be of one kind.
    pub(crate) fn parse_kind(
        reader: &mut ByteReader<'_>,
        repository: RepositoryId,
        kind: ObjectKind,
    ) -> Result<Self> {
        let header = Self::parse(reader, repository)?;
        match header.kind == kind {
            true => Ok(header),
            false => {
                Err(Error::damaged(format!("a {:?} object where a {kind:?} object belongs", header.kind)))
            }
        }
    }
}

/// The error for an object of another format version.
pub(crate) fn unsupported(version: u16) -> Error {
    Error::new(
        ErrorKind::UnsupportedFormat,
        format!(
            "written in format version {version}, this program knows version {VERSION}: use a newer program"
        ),
    )
}
