//! The error of this crate.

use std::fmt;

/// Why a workflow failed: a [kind](ErrorKind), what was being done to which object, and the lower error behind it.
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// vSphere refused a call, or could not be reached; [`Error::api_error`] has the details.
    Api,
    /// The disk library failed; [`Error::disk_error`] has the details.
    Disk,
    /// The repository failed or is damaged; [`Error::repository_error`] has the details.
    Repository,
    /// The journal could not be written or read.
    Journal,
    /// There is no such machine, or more than one.
    Machine,
    /// The machine's state does not allow it; the text says what to change.
    NotEligible,
    /// The guest was not brought to rest, and the policy insists on it. Nothing was committed.
    NotQuiesced,
    /// A part of the configuration could not be captured, and the caller insists on it. Nothing was committed.
    NotCaptured,
    /// The server's answer to a query of changed areas does not cover the disk exactly. Nothing was committed.
    IncompleteChanges,
    /// A disk gave fewer bytes than it has, or other than expected.
    ShortRead,
    /// What was written could not be read back as it should be. The disk is not restored.
    Verification,
    /// The restore point lacks something or was made by something else.
    RestorePoint,
    /// It was told to stop, by a [`CancelToken`](crate::CancelToken), and gave back what it had taken.
    Cancelled,
    /// A task's outcome could not be established, nor the state that it was to bring about.
    OutcomeUnknown,
}

/// An error with its causes.
pub(crate) fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error of the vSphere API behind it, with the fault, if that is what failed.
    pub fn api_error(&self) -> Option<&vim_api::Error> {
        self.source.as_ref()?.downcast_ref()
    }

    /// The error of the disk library behind it, if that is what failed.
    pub fn disk_error(&self) -> Option<&vixdisklib::Error> {
        self.source.as_ref()?.downcast_ref()
    }

    /// The error of the repository behind it, if that is what failed.
    pub fn repository_error(&self) -> Option<&vadp_repository::Error> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Whether the same thing may work later, without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        self.api_error().is_some_and(vim_api::Error::is_retryable)
            || self.disk_error().is_some_and(vixdisklib::Error::is_retryable)
    }

    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn api(context: impl Into<String>, source: vim_api::Error) -> Self {
        let kind = match source.kind() {
            vim_api::ErrorKind::OutcomeUnknown => ErrorKind::OutcomeUnknown,
            _ => ErrorKind::Api,
        };
        Self::new(kind, context).because(source)
    }

    pub(crate) fn disk(context: impl Into<String>, source: vixdisklib::Error) -> Self {
        Self::new(ErrorKind::Disk, context).because(source)
    }

    pub(crate) fn repository(context: impl Into<String>, source: vadp_repository::Error) -> Self {
        Self::new(ErrorKind::Repository, context).because(source)
    }

    pub(crate) fn journal(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Journal, context).because(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
