//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, coarse enough to map to a SOAP fault or to a VixDiskLib code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file, disk or key that was asked for does not exist.
    NotFound,
    /// A file that was to be made exists already.
    AlreadyExists,
    /// Another opener, perhaps in another process, holds the disk for writing.
    Locked,
    /// A write through a handle that was opened read-only.
    ReadOnly,
    /// A byte range that is not inside the disk's capacity.
    OutOfRange,
    /// A data file is shorter than its disk: bytes that should be there are gone.
    Truncated,
    /// A file's content is not what this crate writes.
    Corrupt,
    /// A link's parent is missing, has other content than the child was made over, or loops.
    ChainBroken,
    /// The operation would break disks that are built on top of this one.
    InUse,
    /// An argument makes no sense; the caller is at fault.
    InvalidArgument,
    /// A datastore path that cannot be parsed or that leads out of its datastore.
    BadPath,
    /// Change tracking is off for this link.
    TrackingOff,
    /// The change tracking file is missing or damaged.
    TrackingBroken,
    /// The change id belongs to another life of the disk (another uuid, or a number not yet reached).
    ForeignChangeId,
    /// User name, password or cookie are wrong.
    Denied,
    /// The host's file system is full, or a datastore is by its limit.
    NoSpace,
    /// Any other failure of the host file system; see the source.
    Io,
}

/// An error with its kind, the file or disk it concerns, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    path: Option<PathBuf>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The kind, for decisions by a program.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file or disk concerned, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether a vSphere server reports this as `FileFault`, after which a backup must be a full one.
    ///
    /// Source of the rule: part 4.2 of the simulator's specification (foreign uuid, tracking off, broken file).
    pub fn is_file_fault(&self) -> bool {
        matches!(self.kind, ErrorKind::TrackingOff | ErrorKind::TrackingBroken | ErrorKind::ForeignChangeId)
    }

    /// Whether a vSphere server reports this as `InvalidArgument`.
    pub fn is_invalid_argument(&self) -> bool {
        matches!(self.kind, ErrorKind::InvalidArgument | ErrorKind::OutOfRange | ErrorKind::BadPath)
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), path: None, source: None }
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ErrorKind::NoSpace
            }
            io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
            _ => ErrorKind::Io,
        };
        Self::new(kind, what).because(source)
    }

    pub(crate) fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The error as an `io::Error`, for traits of the standard library that allow no other.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::OutOfRange | ErrorKind::InvalidArgument => io::ErrorKind::InvalidInput,
            ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::ReadOnly | ErrorKind::Denied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(path) = &self.path {
            write!(f, " ({})", path.display())?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
