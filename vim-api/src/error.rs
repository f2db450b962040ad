//! The error of this crate.

use std::fmt;

use crate::dynamic::{DataObject, Poly};
use crate::moref::MoRef;
use crate::transport::{TransportError, TransportErrorKind};
use crate::types::{LocalizedMethodFault, MethodFault};
use crate::version::ApiVersion;
use crate::xml::{XmlError, XmlErrorKind};

/// Why something failed: a [kind](ErrorKind), what was being done, and the fault or lower error behind it.
pub struct Error {
    kind: ErrorKind,
    context: String,
    fault: Option<Box<Fault>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave something that cannot be used, such as a URL without a host.
    InvalidInput,
    /// No connection: name, route, port, or refused.
    Connect,
    /// The server's certificate is not the one that was pinned, or is not trusted.
    Certificate,
    /// Connected, and lost or stalled before the whole answer was there.
    Interrupted,
    /// Something answered that is no vSphere: another web server, a proxy, a login page.
    NotVsphere,
    /// vSphere answered something that breaks its own protocol.
    Protocol,
    /// vSphere answered with a fault: see [`Error::fault`].
    Fault,
    /// The method or parameter is newer than the server.
    NotInVersion,
    /// A task can no longer be seen: whether it did its work has to be read off the objects it worked on.
    OutcomeUnknown,
    /// A property that has to be there is not, or is of another type than the schema says.
    Property,
}

/// A fault that vSphere gave as an answer, or as the end of a task.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The fault itself: `fault.downcast_ref::<InvalidPowerState>()`.
    pub fault: Poly<MethodFault>,
    /// The server's own words, in the session's locale. May be empty.
    pub message: String,
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The fault as an `F`, when the error is a fault of that type or of one that extends it.
    pub fn fault<F: DataObject>(&self) -> Option<&F> {
        self.fault.as_ref()?.fault.downcast_ref::<F>()
    }

    /// The fault, of whatever type.
    pub fn any_fault(&self) -> Option<&Fault> {
        self.fault.as_deref()
    }

    /// Whether the session is gone: logged out, expired, or never there.
    pub fn is_session_lost(&self) -> bool {
        self.fault::<crate::types::NotAuthenticated>().is_some()
    }

    /// Whether the object that was called does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.fault::<crate::types::ManagedObjectNotFound>().is_some()
            || self.fault::<crate::types::NotFound>().is_some()
    }

    /// Whether the same call may work later, without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect | ErrorKind::Interrupted)
            || self.fault::<crate::types::TaskInProgress>().is_some()
            || self.fault::<crate::types::ResourceInUse>().is_some()
            || self.fault::<crate::types::HostCommunication>().is_some()
    }

    pub(crate) fn invalid_input(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    pub(crate) fn not_vsphere(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotVsphere, context)
    }

    pub(crate) fn from_fault(context: impl Into<String>, fault: Fault) -> Self {
        Self { fault: Some(Box::new(fault)), ..Self::new(ErrorKind::Fault, context) }
    }

    pub(crate) fn from_task(context: impl Into<String>, error: LocalizedMethodFault) -> Self {
        let message = error.localized_message.unwrap_or_default();
        Self::from_fault(context, Fault { fault: error.fault, message })
    }

    pub(crate) fn not_in_version(what: &str, since: ApiVersion, agreed: ApiVersion) -> Self {
        let context = format!(
            "{what} exists since API {since}, and version {agreed} was agreed with the server: use an older way or a newer server"
        );
        Self::new(ErrorKind::NotInVersion, context)
    }

    pub(crate) fn unset(object: &MoRef, path: &str) -> Self {
        Self::new(ErrorKind::Property, format!("{object} has no value for the property \"{path}\""))
    }

    pub(crate) fn wrong_type(object: &MoRef, path: &str, found: &str) -> Self {
        Self::new(ErrorKind::Property, format!("the property \"{path}\" of {object} came as {found}"))
    }

    pub(crate) fn protocol(context: impl Into<String>, source: XmlError) -> Self {
        let kind = match source.kind() {
            XmlErrorKind::Truncated => ErrorKind::Interrupted,
            _ => ErrorKind::Protocol,
        };
        Self { source: Some(Box::new(source)), ..Self::new(kind, context) }
    }

    pub(crate) fn outcome_unknown(context: impl Into<String>, source: Option<Error>) -> Self {
        let source = source.map(|e| Box::new(e) as _);
        Self { source, ..Self::new(ErrorKind::OutcomeUnknown, context) }
    }

    pub(crate) fn broken_protocol(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, context)
    }

    pub(crate) fn transport(context: impl Into<String>, source: TransportError) -> Self {
        let kind = match source.kind() {
            TransportErrorKind::Dns | TransportErrorKind::Connect => ErrorKind::Connect,
            TransportErrorKind::Certificate => ErrorKind::Certificate,
            TransportErrorKind::Tls | TransportErrorKind::Protocol => ErrorKind::NotVsphere,
            TransportErrorKind::TooLarge => ErrorKind::Protocol,
            _ => ErrorKind::Interrupted,
        };
        Self { source: Some(Box::new(source)), ..Self::new(kind, context) }
    }

    fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), fault: None, source: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if let Some(fault) = &self.fault {
            write!(f, ": {}", fault.fault.type_name())?;
            if !fault.message.is_empty() {
                write!(f, ": {}", fault.message)?;
            }
            if self.fault::<crate::types::InvalidLogin>().is_some() {
                f.write_str(" (check the user name, with its domain, and the password)")?;
            }
            if let Some(denied) = self.fault::<crate::types::NoPermission>()
                && let Some(privilege) = &denied.privilege_id
                && !self.is_session_lost()
            {
                write!(f, " (the account lacks the privilege {privilege})")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("fault", &self.fault)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
