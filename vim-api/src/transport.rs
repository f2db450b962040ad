//! HTTP/1.1 over TLS to one vSphere server: trust, connections, limits, and errors that say what happened.
//!
//! The transport knows nothing of SOAP or sessions: cookies and content are its caller's business.

mod connect;
mod endpoint;
mod error;
mod exchange;
mod limits;
mod message;
mod pool;
mod thumbprint;
mod trust;
mod verifier;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http_body_util::Full;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::Empty;

use connect::Connector;
use exchange::{Progress, exchange};
use pool::Pool;

pub use endpoint::Endpoint;
pub use error::{TransportError, TransportErrorKind};
pub use limits::Limits;
pub use message::{Request, Response};
pub use thumbprint::{PeerThumbprints, Thumbprint};
pub use trust::{TlsSettings, Trust, parse_certificates_pem};

/// A client for one server. Clones are cheap and share one pool of connections.
///
/// It must be used inside a tokio runtime with I/O and time. Dropping the future of a request closes that request's
/// connection and nothing else.
#[derive(Clone)]
pub(crate) struct HttpTransport {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    host: String,
    authority: HeaderValue,
    limits: Limits,
    connector: Connector,
    pool: Pool,
}

impl HttpTransport {
    /// Prepares a transport. Nothing is sent yet.
    ///
    /// # Errors
    /// Kind `Input`: unusable limits or authorities, or a system without trusted certificates.
    pub(crate) fn new(endpoint: Endpoint, tls: TlsSettings, limits: Limits) -> Result<Self, TransportError> {
        limits.check()?;
        let authority = HeaderValue::try_from(endpoint.authority())
            .map_err(|source| TransportError::input("the host name cannot be sent").with_source(source))?;
        let shared = Shared {
            connector: Connector::new(endpoint.clone(), &tls, &limits)?,
            pool: Pool::new(limits.max_connections, limits.idle_timeout),
            host: endpoint.host_and_port(),
            authority,
            endpoint,
            limits,
        };
        Ok(HttpTransport { shared: Arc::new(shared) })
    }

    /// The server's address.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Sends a request and reads the whole answer, whatever its status. Redirects are not followed.
    ///
    /// # Errors
    /// Any kind. Unless the kind is `Input` or [`TransportError::is_connect`] holds, the server may have acted on the
    /// request.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let span = tracing::debug_span!(
            "http",
            host = %self.shared.host,
            method = %request.method,
            path = message::loggable_path(&request.path),
            status = Empty,
            bytes = Empty,
            micros = Empty,
        );
        let started = Instant::now();
        let result = self.send_in_time(&request).instrument(span.clone()).await;
        span.record("micros", u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        match &result {
            Ok(response) => {
                span.record("status", response.status);
                span.record("bytes", response.body.len());
            }
            Err(error) => span.in_scope(|| tracing::debug!(kind = ?error.kind(), "no answer")),
        }
        result
    }

    /// Thumbprints of the certificate that the server showed in the last handshake, whether it was accepted or not. If
    /// there was none yet, a connection is made. To see a thumbprint is no reason to trust it.
    ///
    /// # Errors
    /// No handshake came as far as a certificate; or the address is plain HTTP (kind `Input`).
    pub(crate) async fn peer_thumbprints(&self) -> Result<PeerThumbprints, TransportError> {
        let Shared { connector, pool, host, .. } = &*self.shared;
        if let Some(seen) = connector.seen() {
            return Ok(seen);
        }
        let permit = pool.permit(host).await?;
        match connector.connect().await {
            Ok(connection) => pool.put(connection, &permit),
            Err(error) => return error.presented().copied().ok_or(error),
        }
        connector.seen().ok_or_else(|| TransportError::input("a plain HTTP server shows no certificate"))
    }

    async fn send_in_time(&self, request: &Request) -> Result<Response, TransportError> {
        let Some(limit) = request.timeout else { return self.send_pooled(request).await };
        timeout(limit, self.send_pooled(request)).await.unwrap_or_else(|_| {
            Err(TransportError::timeout(&self.shared.host, "the request was not answered completely", limit))
        })
    }

    async fn send_pooled(&self, request: &Request) -> Result<Response, TransportError> {
        let Shared { connector, pool, host, limits, .. } = &*self.shared;
        let message = self.message(request)?;
        let head_timeout = request.timeout.is_none().then_some(limits.head_timeout);
        let permit = pool.permit(host).await?;

        if let Some(mut kept) = pool.take(&permit) {
            match exchange(&mut kept, message.clone(), host, limits, head_timeout).await {
                Ok(response) => {
                    pool.put(kept, &permit);
                    return Ok(response);
                }
                // The server closed the connection while it was idle. A request that never left is simply sent; one that
                // may have arrived only if its sender says that twice does no harm.
                Err(failed) => match failed.progress {
                    Progress::NotSent => {}
                    Progress::NoAnswer if request.replayable => {}
                    Progress::NoAnswer | Progress::Final => return Err(failed.error),
                },
            }
            tracing::debug!("the kept connection was closed, using a fresh one");
        }

        let mut fresh = connector.connect().await?;
        let response =
            exchange(&mut fresh, message, host, limits, head_timeout).await.map_err(|failed| failed.error)?;
        pool.put(fresh, &permit);
        Ok(response)
    }

    fn message(&self, request: &Request) -> Result<http::Request<Full<Bytes>>, TransportError> {
        let path = request.path.parse::<PathAndQuery>().ok().filter(|_| request.path.starts_with('/'));
        let Some(path) = path else {
            return Err(TransportError::input(format!(
                "{:?} is not a request path: it starts with a slash and is percent-encoded",
                message::loggable_path(&request.path)
            )));
        };
        let mut message = http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = Uri::from(path);
        *message.headers_mut() = request.headers.clone();
        message.headers_mut().entry(HOST).or_insert_with(|| self.shared.authority.clone());
        Ok(message)
    }
}
