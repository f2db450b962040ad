//! The one error type of this crate.

use std::{fmt, io};

/// What went wrong, in a form that a program can act on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The file is none of the formats that this crate knows.
    NotADisk,
    /// A stream that its writer has not finished (magic `kdmv`), or that was cut.
    Unfinished,
    /// The file contradicts its format: a field out of range, a table that points nowhere, a loop of parents.
    Malformed,
    /// The format is known, but not this version, flag or combination of it.
    Unsupported,
    /// Public sources contradict each other on what these bytes mean, so they are refused rather than guessed at.
    Disputed,
    /// The data is not in a file: a vSAN or vVol object, named by a URI.
    RemoteExtent,
    /// The data is not in a file: a raw device mapping, whose data is on the LUN.
    DeviceMapping,
    /// The disk is encrypted; its sectors are not the guest's.
    Encrypted,
    /// A name in a descriptor leads out of the folder that was given.
    OutsideFolder,
    /// The parent that a descriptor names is nowhere to be found.
    ParentMissing,
    /// The parent was written to since the child was made (its CID is another one), so their data don't belong together.
    ParentModified,
    /// The links of a chain are not of one capacity.
    CapacityDiffers,
    /// The caller asked for bytes behind the end of the disk, or for something else that cannot be.
    InvalidInput,
    /// The disk was opened for reading, or its format can only be read.
    ReadOnly,
    /// The disk would outgrow what its format can address.
    TooLarge,
    /// There is no file of this name.
    NotFound,
    /// There is a file of this name already.
    AlreadyExists,
    /// The storage below failed. The source says how.
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
    file: Option<String>,
    source: Option<io::Error>,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, context: context.into(), file: None, source: None }) }
    }

    /// What the storage said, while doing what `context` names ("reading the grain directory").
    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::UnexpectedEof => ErrorKind::Malformed,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, context);
        error.inner.source = Some(source);
        error
    }

    pub(crate) fn malformed(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, context)
    }

    pub(crate) fn unsupported(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, context)
    }

    pub(crate) fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    /// The same error with the file that it is about, unless one is named already.
    pub(crate) fn in_file(mut self, name: &str) -> Self {
        self.inner.file.get_or_insert_with(|| name.to_owned());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The file that the error is about, as it was named to the [`Folder`](crate::Folder).
    pub fn file(&self) -> Option<&str> {
        self.inner.file.as_deref()
    }

    /// Whether the file that was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether the bytes themselves are at fault: cut, altered or never valid.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind(), ErrorKind::NotADisk | ErrorKind::Malformed | ErrorKind::Unfinished)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.file {
            Some(file) => write!(f, "\"{}\": {}", file.escape_debug(), self.inner.context),
            None => f.write_str(&self.inner.context),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// For [`ReadAt`](crate::ReadAt) on a disk, whose errors are those of the standard library.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ParentMissing => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Io => error.inner.source.as_ref().map_or(io::ErrorKind::Other, io::Error::kind),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
