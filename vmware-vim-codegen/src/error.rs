//! The one error type of this crate.

use std::fmt;
use std::path::PathBuf;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the input could not be turned into a model, or the output not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// A file is not well-formed XML, or not a WSDL of the expected form.
    Wsdl,
    /// The XML schema is refused by the schema reader, or misses an include.
    Schema,
    /// The schema is valid but uses a construct no vSphere schema has; the generator would have to learn it.
    Unsupported,
    /// A name is used but defined nowhere.
    Dangling,
    /// A name is defined twice.
    Duplicate,
    /// A type is its own ancestor.
    Cycle,
    /// The sidecar is not JSON of the expected form.
    Sidecar,
    /// The sidecar and the WSDL contradict each other.
    Contradiction,
    /// The API versions are not a total order, or a `since` names an unknown version.
    Versions,
    /// A file that was not generated is in the way of a generated one.
    NotOurs,
    /// `--check` found generated files that differ from what the input gives.
    Stale,
}

/// An error with the place it was found at. `Display` prints this level only; follow [`std::error::Error::source`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    file: Option<PathBuf>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// The category, for code that decides by it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, file: None, message: message.into(), source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names the file, unless a deeper level has already done so.
    pub(crate) fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file.get_or_insert_with(|| file.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
