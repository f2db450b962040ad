//! The one error type of this crate.

use std::fmt;
use std::ops::Range;

use crate::ids::{ChunkId, PackId};

/// What went wrong, in a form that a program can act on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The place holds no repository (there is no `config`).
    NotARepository,
    /// The place already holds a repository, or other objects that are not ours.
    AlreadyExists,
    /// No key slot opens with this secret.
    WrongKey,
    /// The object or repository was written in a format that this version cannot read or write.
    UnsupportedFormat,
    /// Stored bytes are missing, cut or altered. The message names the place.
    Damaged,
    /// No restore point, disk or object of this name exists.
    NotFound,
    /// The store (directory, bucket) failed an operation. Trying again may help.
    Store,
    /// The store refuses an operation: credentials, permissions, a read-only medium, an object lock. Trying again does not help.
    Denied,
    /// The store has no room left.
    Full,
    /// The caller asked for something that cannot be: an index past the end, a wrong length, a duplicate key.
    InvalidInput,
    /// Someone else (a prune) removed what this backup was about to build on. Running the backup again helps.
    Conflict,
    /// The restore point cannot be committed, because something on the way to it failed or was left unfinished.
    Incomplete,
    /// The caller's key provider failed.
    KeyProvider,
    /// The runtime, the random generator or a library failed in a way that no input explains.
    Internal,
}

/// Where in the repository, and where on a disk, damage was met. Fields are known or not, depending on how far a
/// reader came.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DamageLocation {
    /// The pack that holds (or should hold) the bytes.
    pub pack: Option<PackId>,
    /// The chunk or map page.
    pub chunk: Option<ChunkId>,
    /// The key of the disk that was being read.
    pub disk: Option<String>,
    /// The bytes of that disk that cannot be had, half open.
    pub disk_range: Option<Range<u64>>,
}

/// An error: kind, context and source. `Display` prints this level only; walk [`std::error::Error::source`] for the rest.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    context: String,
    location: DamageLocation,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. `context` is one sentence: what failed, and what to do. For implementors of
    /// [`ChunkStore`](crate::ChunkStore) and [`KeyProvider`](crate::KeyProvider).
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        let (context, location, source) = (context.into(), DamageLocation::default(), None);
        Self { inner: Box::new(Inner { kind, context, location, source }) }
    }

    /// The same error with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The place of the damage. All fields are `None` when the error is not about stored bytes.
    pub fn location(&self) -> &DamageLocation {
        &self.inner.location
    }

    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether stored bytes are missing, cut or altered.
    pub fn is_damage(&self) -> bool {
        self.kind() == ErrorKind::Damaged
    }

    /// Whether the store is to blame, so that nothing can be said of what it holds.
    pub(crate) fn is_of_store(&self) -> bool {
        matches!(self.kind(), ErrorKind::Store | ErrorKind::Denied | ErrorKind::Full)
    }

    pub(crate) fn damaged(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, context)
    }

    pub(crate) fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    pub(crate) fn at_pack(mut self, pack: PackId) -> Self {
        self.inner.location.pack.get_or_insert(pack);
        self
    }

    pub(crate) fn at_chunk(mut self, chunk: ChunkId) -> Self {
        self.inner.location.chunk.get_or_insert(chunk);
        self
    }

    pub(crate) fn at_disk(mut self, disk: &str, range: Range<u64>) -> Self {
        if self.inner.location.disk.is_none() {
            self.inner.location.disk = Some(disk.to_owned());
            self.inner.location.disk_range = Some(range);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.context)?;
        let at = &self.inner.location;
        if let Some(disk) = &at.disk {
            write!(f, "; disk \"{}\"", disk.escape_debug())?;
        }
        if let Some(range) = &at.disk_range {
            write!(f, " bytes {}..{}", range.start, range.end)?;
        }
        if let Some(chunk) = &at.chunk {
            write!(f, "; chunk {chunk}")?;
        }
        if let Some(pack) = &at.pack {
            write!(f, "; pack {pack}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
