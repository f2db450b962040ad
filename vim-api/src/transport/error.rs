//! What can go wrong between the client and the server's HTTP answer.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::thumbprint::PeerThumbprints;

/// The class of a [`TransportError`], for decisions; the text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The caller handed in something unusable: an address, thumbprint, PEM text, limit or request path.
    Input,
    /// The host name could not be resolved.
    Dns,
    /// No TCP connection could be made.
    Connect,
    /// The TLS handshake or the encrypted stream failed, for another reason than trust.
    Tls,
    /// The server's certificate is not trusted, or the server cannot prove that it owns it.
    Certificate,
    /// A limit of time was reached.
    Timeout,
    /// The server closed or reset the connection.
    Closed,
    /// The answer's body ended before its announced end.
    Truncated,
    /// The answer is larger than the limits allow.
    TooLarge,
    /// The answer is not valid HTTP/1.1.
    Protocol,
    /// The answer's compression is broken, or of a kind that was not asked for.
    Encoding,
    /// What was to be sent could not be read, or was not as long as it was said to be.
    Upload,
    /// The proxy refused the tunnel, or answered something that is no proxy's answer.
    Proxy,
}

/// A failure to exchange one request for one answer.
///
/// An HTTP status such as 500 is not a failure here: it is an answer.
pub struct TransportError {
    kind: TransportErrorKind,
    /// `host:port`; empty where the failure is not about a certain server.
    host: String,
    message: Cow<'static, str>,
    connecting: bool,
    presented: Option<Box<PeerThumbprints>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl TransportError {
    pub(super) fn new(kind: TransportErrorKind, host: &str, message: impl Into<Cow<'static, str>>) -> Self {
        TransportError {
            kind,
            host: host.to_owned(),
            message: message.into(),
            connecting: false,
            presented: None,
            source: None,
        }
    }

    /// An error about a value of the caller's, before any server is involved.
    pub(super) fn input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(TransportErrorKind::Input, "", message)
    }

    pub(super) fn timeout(host: &str, what: &str, after: Duration) -> Self {
        Self::new(TransportErrorKind::Timeout, host, format!("{what} within {after:?}"))
    }

    pub(super) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn with_presented(mut self, presented: PeerThumbprints) -> Self {
        self.presented = Some(Box::new(presented));
        self
    }

    pub(super) fn while_connecting(mut self) -> Self {
        self.connecting = true;
        self
    }

    /// The class of the failure.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// `host:port` of the server that the failure is about, `proxy host:port` where it is the proxy; empty for
    /// [`TransportErrorKind::Input`].
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The thumbprints of the certificate that was refused. To see them is no reason to trust them.
    pub fn presented(&self) -> Option<&PeerThumbprints> {
        self.presented.as_deref()
    }

    /// A limit of time was reached, either while connecting or while waiting for the answer.
    pub fn is_timeout(&self) -> bool {
        self.kind == TransportErrorKind::Timeout
    }

    /// No usable connection came about (name, TCP, TLS, certificate or their time limit), so the server has seen
    /// nothing of the request.
    pub fn is_connect(&self) -> bool {
        self.connecting
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.host, self.message)
        }
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("message", &self.message)
            .field("connecting", &self.connecting)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
