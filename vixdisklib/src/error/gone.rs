//! Why nothing can be asked of a handle any more, and how errors get from one process into another.

use super::{Error, ErrorKind, lookup};
use crate::wire::Refusal;

/// The kinds of errors that starting the library may give; the place of each is its number on the wire.
const START_KINDS: [ErrorKind; 5] = [
    ErrorKind::LibraryNotFound,
    ErrorKind::LibraryUnusable,
    ErrorKind::Unsupported,
    ErrorKind::InvalidArgument,
    ErrorKind::Io,
];

/// What became of a handle, or of the worker process that had it. One for all calls that it hits.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    pub(crate) advice: Option<&'static str>,
    pub(crate) signal: Option<i32>,
    pub(crate) lines: Vec<String>,
}

impl Gone {
    /// For calls on a handle that is not there any more.
    pub(crate) fn closed(text: impl Into<String>, advice: Option<&'static str>) -> Gone {
        Gone { kind: ErrorKind::Closed, text: text.into(), advice, signal: None, lines: Vec::new() }
    }

    /// The error of a call.
    pub(crate) fn tell(&self, operation: &'static str) -> Error {
        let error = Error::new(self.kind, operation, self.text.clone())
            .with_log_lines(self.lines.clone())
            .with_signal(self.signal);
        match self.advice {
            Some(advice) => error.with_advice(advice),
            None => error,
        }
    }
}

impl Error {
    /// What travels of an error of starting the library.
    pub(crate) fn to_refusal(&self) -> Refusal {
        let kind = START_KINDS.iter().position(|kind| *kind == self.kind());
        Refusal {
            kind: kind.and_then(|kind| u8::try_from(kind).ok()).unwrap_or(u8::MAX),
            operation: self.inner.operation.clone().into_owned(),
            subject: self.inner.subject.clone(),
            raw: self.inner.raw,
            text: self.inner.text.clone(),
            advice: self.inner.advice.clone().map(std::borrow::Cow::into_owned),
            source: self.inner.source.as_ref().map(ToString::to_string),
        }
    }

    /// The error as it was on the other side; `lines` are those that the library has logged.
    pub(crate) fn from_refusal(refusal: Refusal, lines: Vec<String>) -> Error {
        let mut error = match refusal.raw {
            Some(raw) => Error::from_vddk("", raw, refusal.text),
            None => Error::new(ErrorKind::Failed, "", refusal.text.unwrap_or_default()),
        };
        error.inner.operation = refusal.operation.into();
        error.inner.kind = START_KINDS
            .get(usize::from(refusal.kind))
            .copied()
            .or_else(|| error.code().and_then(lookup).map(|info| info.kind));
        error.inner.subject = refusal.subject;
        error.inner.advice = refusal.advice.map(Into::into);
        error.inner.source = refusal.source.map(Into::into);
        error.with_log_lines(lines)
    }
}
