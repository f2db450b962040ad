//! The error of the crate's Rust interface. What goes over the wire is a [`Fault`](crate::fault::Fault).

use std::error::Error as StdError;
use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that makes no sense, such as two machines of one name.
    InvalidArgument,
    /// There is no such machine, disk or snapshot.
    NotFound,
    /// The state of the machine forbids it, such as a guest write while it is powered off.
    InvalidState,
    /// The simulator's files cannot be read or written.
    Store,
    /// A socket or the certificate cannot be made.
    Network,
}

/// An error with what was being done, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, what: what.into(), source: Some(source.into()) }
    }

    pub(crate) fn store(what: impl Into<String>, source: sim_store::Error) -> Self {
        let kind = if source.is_invalid_argument() { ErrorKind::InvalidArgument } else { ErrorKind::Store };
        Self::caused(kind, what, source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
