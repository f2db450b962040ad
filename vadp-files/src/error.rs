//! The one error type of this crate.

use std::{fmt, io};

/// What went wrong, in a form that a program can act on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes contradict their format: a checksum that does not hold, a field out of range, a loop. Check the volume in its
    /// guest, or take another restore point.
    Damaged,
    /// The format is known, but not this feature of it. What it holds is refused rather than read wrong.
    Unsupported,
    /// The volume, folder or file is encrypted; its bytes are of no use without a key.
    Encrypted,
    /// There is nothing of this name.
    NotFound,
    /// A folder was wanted, and this is none; or a file was, or a symbolic link.
    WrongType,
    /// The caller asked for something that cannot be, such as bytes behind the end of a file.
    InvalidInput,
    /// More entries, extents or levels than this crate is willing to hold in memory.
    TooLarge,
    /// What would have been written outside the target folder, or over something that is there.
    Refused,
    /// The storage below, or the target, failed. The source says how.
    Io,
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
    path: Option<String>,
    source: Option<io::Error>,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, context: context.into(), path: None, source: None }) }
    }

    pub(crate) fn damaged(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, context)
    }

    pub(crate) fn unsupported(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, context)
    }

    pub(crate) fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    pub(crate) fn too_large(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, context)
    }

    pub(crate) fn wrong_type(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::WrongType, context)
    }

    pub(crate) fn not_found(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    /// What the storage or the target said, while doing what `context` names ("reading 512 bytes at 0").
    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io, context);
        error.inner.source = Some(source);
        error
    }

    /// The same error with the file that it is about, unless one is named already.
    pub(crate) fn at_path(mut self, path: &[u8]) -> Self {
        self.inner.path.get_or_insert_with(|| String::from_utf8_lossy(path).into_owned());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The path within the volume that the error is about, if it is about one; bytes that are no UTF-8 are replaced.
    pub fn path(&self) -> Option<&str> {
        self.inner.path.as_deref()
    }

    /// Whether there is nothing of the name that was asked for.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.path {
            Some(path) => write!(f, "\"{}\": {}", path.escape_debug(), self.inner.context),
            None => f.write_str(&self.inner.context),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
