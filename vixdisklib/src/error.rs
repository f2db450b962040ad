//! The one error type of this crate.

mod gone;
mod table;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::ffi::Missing;

pub(crate) use gone::Gone;
pub use table::{CODES, CodeInfo, lookup};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in a way that a program can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The folder holds no VixDiskLib.
    LibraryNotFound,
    /// The library was found but cannot be loaded or started.
    LibraryUnusable,
    /// VDDK runs in this process already, from another folder or with other settings.
    LibraryInUse,
    /// This platform, library version, server or disk cannot do it.
    Unsupported,
    /// The caller passed something unacceptable.
    InvalidArgument,
    /// Sectors outside the disk.
    OutOfRange,
    /// The server, datastore or disk has no such thing.
    NotFound,
    /// The thing to be made exists.
    AlreadyExists,
    /// The server refused the login.
    Authentication,
    /// The account lacks a privilege.
    Permission,
    /// The host's licence lacks the storage interface.
    Licence,
    /// Someone else holds the disk.
    Locked,
    /// Something else is going on with the same object.
    Busy,
    /// The disk or handle takes no writes.
    ReadOnly,
    /// The server could not be reached, or the network failed before a connection stood.
    Network,
    /// An established connection or session is gone.
    ConnectionLost,
    /// The file could not be accessed; VDDK before 8.0.2 says this for many network failures.
    Access,
    /// Memory, slots or handles ran out, here or on the host.
    Exhausted,
    /// A file or datastore failed, or is full.
    Storage,
    /// The file is no virtual disk.
    NotADisk,
    /// The disk or its chain is damaged.
    Corrupt,
    /// The disk or machine is encrypted and the key is not at hand.
    Encrypted,
    /// Calls in an order, or of a sort, that the handle does not allow.
    Misuse,
    /// Access to the machine was prepared before and never ended.
    AccessDisabled,
    /// The disk was opened through another transport than the caller insisted on.
    TransportMismatch,
    /// A snapshot operation failed.
    Snapshot,
    /// A mount operation failed.
    Mount,
    /// The operation was cancelled.
    Cancelled,
    /// The handle was closed, or went with the worker process that had it.
    Closed,
    /// The process that VixDiskLib ran in died: it crashed, gave up, or was killed. This program is unharmed.
    WorkerDied,
    /// VixDiskLib did not answer in time, and the process that it ran in was ended for it.
    TimedOut,
    /// There is no program for a worker process, or none that fits this one.
    WorkerNotFound,
    /// An operation of this machine's own system failed.
    Io,
    /// Failed without a more telling code.
    Failed,
}

/// A failed operation: kind, operation, subject, VixDiskLib's code and text, and the log lines of that time.
///
/// `Display` prints this level and what to do about it; `{:#}` adds the log lines. The source, when there is one, is the
/// failure of the operating system underneath. No text in here holds a password or cookie that was given to this crate.
pub struct Error {
    // Boxed, because results travel through every call and errors are rare.
    inner: Box<Inner>,
}

#[derive(Default)]
struct Inner {
    operation: Cow<'static, str>,
    kind: Option<ErrorKind>,
    subject: Option<String>,
    raw: Option<u64>,
    text: Option<String>,
    advice: Option<Cow<'static, str>>,
    log_lines: Vec<String>,
    signal: Option<i32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind.unwrap_or(ErrorKind::Failed)
    }

    /// What was being done, such as `open the disk`.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.inner.operation
    }

    /// What it was done to, such as a disk's path, when there is such a thing.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner.subject.as_deref()
    }

    /// The whole result word of VixDiskLib. Its upper bits are undocumented; keep it for support, do not compare it.
    #[must_use]
    pub fn raw(&self) -> Option<u64> {
        self.inner.raw
    }

    /// The result code of VixDiskLib: the low 16 bits of [`raw`](Self::raw). See [`CODES`].
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.inner.raw.map(code_of)
    }

    /// VixDiskLib's own text for the result, or ours where the failure was found on this side.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.inner.text.as_deref()
    }

    /// Probable causes and what to check, where that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.inner.advice.as_deref()
    }

    /// Warnings and errors that VixDiskLib logged during the operation, oldest first, at most eight. The cause of many a
    /// vague code (above all the NFC server's reason) stands only there. Lines of operations that ran at the same time may
    /// be among them.
    #[must_use]
    pub fn log_lines(&self) -> &[String] {
        &self.inner.log_lines
    }

    /// The signal that ended the worker process, where one did: 11 for a segmentation fault, 6 for a library that gave up.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.inner.signal
    }

    /// Whether the same call may succeed later without anything being changed: a busy or exhausted host, a network that
    /// was not there.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Busy | ErrorKind::Exhausted | ErrorKind::Network)
    }

    /// Whether the connection is gone and everything opened over it must be opened again; also when it went with the process
    /// that VixDiskLib ran in.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        matches!(self.kind(), ErrorKind::ConnectionLost | ErrorKind::WorkerDied | ErrorKind::TimedOut)
    }

    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether someone else holds the disk.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.kind() == ErrorKind::Locked
    }

    /// Whether the server refused the login.
    #[must_use]
    pub fn is_authentication(&self) -> bool {
        self.kind() == ErrorKind::Authentication
    }

    /// Whether this library, server or disk lacks the function.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.kind() == ErrorKind::Unsupported
    }

    /// Whether the request went past the end of the disk.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.kind() == ErrorKind::OutOfRange
    }
}

impl Error {
    /// A failure found on this side of the boundary.
    #[doc(hidden)]
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, text: impl Into<String>) -> Error {
        Error {
            inner: Box::new(Inner {
                operation: Cow::Borrowed(operation),
                kind: Some(kind),
                text: Some(text.into()),
                ..Inner::default()
            }),
        }
    }

    /// A result word of VixDiskLib that means failure, with its text for it.
    pub(crate) fn from_vddk(operation: &'static str, raw: u64, text: Option<String>) -> Error {
        let code = code_of(raw);
        let advice = table::advice(code, operation).map(Cow::Borrowed);
        let kind = lookup(code).map_or(ErrorKind::Failed, |info| info.kind);
        Error {
            inner: Box::new(Inner {
                operation: Cow::Borrowed(operation),
                kind: Some(kind),
                raw: Some(raw),
                text,
                advice,
                ..Inner::default()
            }),
        }
    }

    pub(crate) fn missing(operation: &'static str, missing: Missing) -> Error {
        let info = missing.0.info();
        Error::new(
            ErrorKind::Unsupported,
            operation,
            format!("the loaded library does not export {}", info.name),
        )
        .with_advice(format!("use a VDDK release that has it (first seen: {:?})", info.since))
    }

    pub(crate) fn io(operation: &'static str, source: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, operation, "the operating system refused").with_source(source)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Error {
        self.inner.subject = Some(subject.into());
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<Cow<'static, str>>) -> Error {
        self.inner.advice = Some(advice.into());
        self
    }

    pub(crate) fn with_log_lines(mut self, lines: Vec<String>) -> Error {
        self.inner.log_lines = lines;
        self
    }

    pub(crate) fn with_signal(mut self, signal: Option<i32>) -> Error {
        self.inner.signal = signal;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.inner.source = Some(source.into());
        self
    }
}

/// The code proper of a result word.
pub(crate) fn code_of(raw: u64) -> u16 {
    u16::try_from(raw & 0xFFFF).unwrap_or(u16::MAX)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        write!(f, "could not {}", inner.operation)?;
        if let Some(subject) = &inner.subject {
            write!(f, " {subject}")?;
        }
        if let Some(raw) = inner.raw {
            let code = code_of(raw);
            match lookup(code) {
                Some(info) => write!(f, ": {} ({code}): {}", info.name, info.meaning)?,
                None => write!(f, ": VDDK code {code} (0x{raw:x})")?,
            }
            if let Some(text) = &inner.text {
                write!(f, " [{text}]")?;
            }
        } else if let Some(text) = &inner.text {
            write!(f, ": {text}")?;
        }
        if let Some(advice) = &inner.advice {
            write!(f, "; {advice}")?;
        }
        if f.alternate() {
            for line in &inner.log_lines {
                write!(f, "\n  log: {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("operation", &self.inner.operation)
            .field("subject", &self.inner.subject)
            .field("raw", &self.inner.raw.map(|raw| format!("0x{raw:x}")))
            .field("text", &self.inner.text)
            .field("advice", &self.inner.advice)
            .field("log_lines", &self.inner.log_lines)
            .field("signal", &self.inner.signal)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_low_half_and_the_text_says_what_to_do() {
        let error = Error::from_vddk("open the disk", 0x0001_0000_0000_000F, Some("locked".into()))
            .with_subject("[ds] a/a.vmdk")
            .with_log_lines(vec!["NfcFssrvr says no".into()]);
        assert_eq!((error.code(), error.kind()), (Some(15), ErrorKind::Locked));
        assert!(error.is_locked() && !error.is_retryable());
        let shown = error.to_string();
        assert!(
            shown.starts_with("could not open the disk [ds] a/a.vmdk: FILE_ALREADY_LOCKED (15)"),
            "{shown}"
        );
        assert!(shown.contains("power the machine off") && !shown.contains("Nfc"), "{shown}");
        assert!(format!("{error:#}").ends_with("log: NfcFssrvr says no"));
    }

    #[test]
    fn an_undocumented_code_keeps_its_number() {
        let error = Error::from_vddk("read", 3002, None);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Failed, Some(3002)));
        assert!(error.to_string().contains("VDDK code 3002"));
    }
}
