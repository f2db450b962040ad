//! The error of this crate.

mod causes;

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
    advice: &'static str,
    fault: Option<Box<Fault>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    #[cfg(feature = "rest")]
    rest: Option<Box<crate::rest::RestFault>>,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave something that cannot be used, such as a URL without a host.
    InvalidInput,
    /// No connection: name, route, port, or refused.
    Connect,
    /// The proxy refused the tunnel or broke it. Trying again does not help where it asks for a name and password, and may
    /// lock the account.
    Proxy,
    /// The server's certificate is not the one that was pinned, or is not trusted.
    Certificate,
    /// Connected, and lost or stalled before the whole answer was there.
    Interrupted,
    /// The server, or a proxy before it, says that it can't answer now (HTTP 429, 502, 503, 504): it is starting, or has
    /// too much to do.
    Unavailable,
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
    /// What was looked for is not there.
    NotFound,
    /// One was looked for, and there are several.
    Ambiguous,
    /// The session is not (or no longer) accepted for a request beside SOAP, such as for a file: log in and repeat it.
    SessionLost,
    /// The STS gave no token, for another reason than a wrong password.
    Token,
    /// A file on a datastore cannot be read or written as asked: refused, cut short, or changed meanwhile.
    File,
    /// A REST service refused what was asked of it: see [`Error::rest_fault`].
    #[cfg(feature = "rest")]
    Rest,
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

    /// The first `F` among the fault and everything behind it: its causes at any depth, and the faults of the errors below
    /// this one.
    pub fn find_fault<F: DataObject>(&self) -> Option<&F> {
        self.faults().into_iter().find_map(Poly::downcast_ref)
    }

    /// The fault and all behind it, the outermost first. Empty when no fault is behind this error.
    pub fn faults(&self) -> Vec<&Poly<MethodFault>> {
        let mut found = self.fault.as_ref().map_or_else(Vec::new, |own| causes::with_causes(&own.fault));
        if let Some(below) = self.source.as_deref().and_then(|source| source.downcast_ref::<Error>()) {
            found.extend(below.faults());
        }
        found
    }

    /// The fault, of whatever type.
    pub fn any_fault(&self) -> Option<&Fault> {
        self.fault.as_deref()
    }

    /// What a REST service said of the request that it did not carry out. The kind is `Rest`, or a more telling one such as
    /// `NotFound`.
    #[cfg(feature = "rest")]
    pub fn rest_fault(&self) -> Option<&crate::rest::RestFault> {
        self.rest.as_deref()
    }

    /// Whether the session is gone: logged out, expired, or never there.
    pub fn is_session_lost(&self) -> bool {
        self.kind == ErrorKind::SessionLost || self.fault::<crate::types::NotAuthenticated>().is_some()
    }

    /// Whether the object that was called, or looked for, does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
            || self.fault::<crate::types::ManagedObjectNotFound>().is_some()
            || self.fault::<crate::types::NotFound>().is_some()
    }

    /// Whether the same call may work later, without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Connect | ErrorKind::Interrupted | ErrorKind::Unavailable)
            || self.fault::<crate::types::TaskInProgress>().is_some()
            || self.fault::<crate::types::ResourceInUse>().is_some()
            || self.fault::<crate::types::HostCommunication>().is_some()
    }

    pub(crate) fn invalid_input(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, context)
    }

    pub(crate) fn unavailable(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, context)
            .with_advice("the service is starting or has too much to do: try again in a while")
    }

    /// What to do about it, where the kind alone does not tell.
    pub(crate) fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = advice;
        self
    }

    /// Says what was being done to a file. That it is not there was found out by whoever named it, and is no failure of some
    /// other work that needs it.
    pub(crate) fn about_file(mut self, doing: &str) -> Self {
        if self.fault::<crate::types::FileNotFound>().is_some() {
            self.kind = ErrorKind::NotFound;
        }
        self.context = format!("{doing}: {}", self.context);
        self
    }

    pub(crate) fn not_found(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    pub(crate) fn session_lost(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::SessionLost, context).with_advice("log in, and repeat it")
    }

    pub(crate) fn token(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Token, context)
    }

    pub(crate) fn file(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::File, context)
    }

    pub(crate) fn ambiguous(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Ambiguous, context)
    }

    pub(crate) fn not_vsphere(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotVsphere, context)
    }

    #[cfg(feature = "rest")]
    pub(crate) fn interrupted(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Interrupted, context)
    }

    #[cfg(feature = "rest")]
    pub(crate) fn rest(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rest, context)
    }

    #[cfg(feature = "rest")]
    pub(crate) fn from_rest(
        kind: ErrorKind,
        context: impl Into<String>,
        fault: crate::rest::RestFault,
    ) -> Self {
        Self { rest: Some(Box::new(fault)), ..Self::new(kind, context) }
    }

    /// The same error, of which is told what it stands in the way of.
    #[cfg(feature = "rest")]
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.context = format!("{what}: {}", self.context);
        self
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
            TransportErrorKind::Input | TransportErrorKind::Upload => ErrorKind::InvalidInput,
            TransportErrorKind::Dns | TransportErrorKind::Connect => ErrorKind::Connect,
            TransportErrorKind::Proxy => ErrorKind::Proxy,
            TransportErrorKind::Certificate => ErrorKind::Certificate,
            TransportErrorKind::Tls | TransportErrorKind::Protocol => ErrorKind::NotVsphere,
            TransportErrorKind::TooLarge | TransportErrorKind::Encoding => ErrorKind::Protocol,
            _ => ErrorKind::Interrupted,
        };
        Self { source: Some(Box::new(source)), ..Self::new(kind, context) }
    }

    fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            advice: "",
            fault: None,
            source: None,
            #[cfg(feature = "rest")]
            rest: None,
        }
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
        #[cfg(feature = "rest")]
        if let Some(fault) = &self.rest {
            write!(f, ": {fault}")?;
        }
        if !self.advice.is_empty() {
            write!(f, " ({})", self.advice)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.kind).field("context", &self.context).field("fault", &self.fault);
        #[cfg(feature = "rest")]
        shown.field("rest", &self.rest);
        shown.field("source", &self.source).finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
