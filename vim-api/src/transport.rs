//! HTTP/1.1 over TLS to one vSphere server: trust, connections, limits, and errors that say what happened.
//!
//! The transport knows nothing of SOAP or sessions: cookies and content are its caller's business.

mod answer;
mod connect;
mod endpoint;
mod error;
mod exchange;
mod gzip;
mod limits;
mod message;
mod pool;
mod proxy;
mod thumbprint;
mod trust;
mod upload;
mod verifier;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::Empty;

use answer::Held;
use connect::Connector;
use exchange::{Progress, exchange};
use pool::Pool;
use upload::Body;

pub use answer::Answer;
pub use endpoint::Endpoint;
pub use error::{TransportError, TransportErrorKind};
pub use limits::Limits;
pub use message::{Request, Response};
pub use proxy::Proxy;
pub use thumbprint::{PeerThumbprints, Thumbprint};
pub use trust::{ClientCertificate, TlsSettings, Trust, parse_certificates_pem};
pub use upload::Upload;

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
    user_agent: HeaderValue,
    route: Route,
    limits: Limits,
    /// The server is known by its certificate.
    verified: bool,
    connector: Connector,
    pool: Pool,
}

impl HttpTransport {
    /// Prepares a transport. Nothing is sent yet.
    ///
    /// # Errors
    /// Kind `Input`: unusable limits, user agent or authorities, or a system without trusted certificates.
    pub(crate) fn new(
        endpoint: Endpoint,
        tls: TlsSettings,
        route: Route,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        limits.check()?;
        let user_agent = HeaderValue::try_from(route.user_agent.as_str()).map_err(|source| {
            TransportError::input("the user agent holds characters that a header cannot carry")
                .with_source(source)
        })?;
        let authority = HeaderValue::try_from(endpoint.authority())
            .map_err(|source| TransportError::input("the host name cannot be sent").with_source(source))?;
        let shared = Shared {
            connector: Connector::new(endpoint.clone(), route.proxy.clone(), &tls, &limits)?,
            verified: endpoint.is_encrypted() && tls.is_verified(),
            pool: Pool::new(limits.max_connections, limits.idle_timeout),
            host: endpoint.host_and_port(),
            authority,
            user_agent,
            endpoint,
            route,
            limits,
        };
        Ok(HttpTransport { shared: Arc::new(shared) })
    }

    /// A transport to another server, reached in the same way and within the same limits; it shows no certificate of the
    /// client's.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn beside(&self, endpoint: Endpoint, trust: Trust) -> Result<Self, TransportError> {
        let mut route = self.shared.route.clone();
        // The tunnel ends at the first server, whatever it is asked for.
        route.proxy = route.proxy.filter(|proxy| !proxy.is_sdk_tunnel());
        Self::new(endpoint, TlsSettings::new(trust), route, self.shared.limits.clone())
    }

    /// Whether the server's certificate is checked, so that what it says can be relied on.
    pub(crate) fn is_verified(&self) -> bool {
        self.shared.verified
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
        let span = self.span(&request);
        let started = Instant::now();
        let result = self.send_in_time(&request).instrument(span.clone()).await;
        span.record("micros", u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        if let Ok(response) = &result {
            span.record("bytes", response.body.len());
        }
        note(&span, result.as_ref().map(|response| response.status));
        result
    }

    /// Sends a request and gives the answer as soon as its head is there; the body is read piece by piece and may have
    /// any length. The time limit of the request does not apply; the limits of each step do.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub(crate) async fn open(&self, request: Request) -> Result<Answer, TransportError> {
        let span = self.span(&request);
        let limit = Some(self.shared.limits.head_timeout);
        let result = self.open_pooled(&request, limit).instrument(span.clone()).await;
        note(&span, result.as_ref().map(|answer| answer.status));
        result
    }

    /// Sends a request whose body is drawn from a stream, in place of the request's own, which is ignored. A stream
    /// cannot be sent twice, so that a fresh connection is used: a kept one may have been closed by the server.
    ///
    /// # Errors
    /// As for [`send`](Self::send); kind `Upload` when the stream fails or does not keep to its announced length.
    /// `Timeout` when the server neither takes a byte nor answers for `head_timeout`.
    pub(crate) async fn upload(&self, request: Request, upload: Upload) -> Result<Response, TransportError> {
        let span = self.span(&request);
        let exchanged = async {
            let message = self.message(&request, Body::pieces(upload))?;
            let permit = self.shared.pool.permit(&self.shared.host).await?;
            self.open_fresh(message, Some(self.shared.limits.head_timeout), permit).await?.whole().await
        };
        let result = exchanged.instrument(span.clone()).await;
        note(&span, result.as_ref().map(|response| response.status));
        result
    }

    fn span(&self, request: &Request) -> tracing::Span {
        tracing::debug_span!(
            "http",
            host = %self.shared.host,
            method = %request.method,
            path = message::loggable_path(&request.path),
            status = Empty,
            bytes = Empty,
            micros = Empty,
        )
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
        let Some(limit) = request.timeout else {
            return self.open_pooled(request, Some(self.shared.limits.head_timeout)).await?.whole().await;
        };
        let answered = async { self.open_pooled(request, None).await?.whole().await };
        timeout(limit, answered).await.unwrap_or_else(|_| {
            Err(TransportError::timeout(&self.shared.host, "the request was not answered completely", limit))
        })
    }

    async fn open_pooled(
        &self,
        request: &Request,
        head_timeout: Option<Duration>,
    ) -> Result<Answer, TransportError> {
        let Shared { pool, host, .. } = &*self.shared;
        let message = || self.message(request, Body::whole(request.body.clone()));
        let first = message()?;
        let permit = pool.permit(host).await?;

        if let Some(mut kept) = pool.take(&permit) {
            let sent = first.body().sent();
            match exchange(&mut kept, first, host, head_timeout).await {
                Ok(head) => {
                    let held = Held { connection: kept, permit };
                    return Ok(Answer::new(self.shared.clone(), head, sent, held));
                }
                // The server closed the connection while it was idle. A request that never left is simply sent; one that
                // may have arrived only if its sender says that twice does no harm.
                Err(failed) => match failed.progress {
                    Progress::NotSent => {}
                    Progress::NoAnswer if request.replayable => {}
                    Progress::NoAnswer | Progress::Final => return Err(failed.error),
                },
            }
            drop(kept);
            tracing::debug!("the kept connection was closed, using a fresh one");
            return self.open_fresh(message()?, head_timeout, permit).await;
        }
        self.open_fresh(first, head_timeout, permit).await
    }

    async fn open_fresh(
        &self,
        message: http::Request<Body>,
        head_timeout: Option<Duration>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Answer, TransportError> {
        let Shared { connector, host, .. } = &*self.shared;
        let sent = message.body().sent();
        let mut connection = connector.connect().await?;
        let head =
            exchange(&mut connection, message, host, head_timeout).await.map_err(|failed| failed.error)?;
        Ok(Answer::new(self.shared.clone(), head, sent, Held { connection, permit }))
    }

    fn message(&self, request: &Request, body: Body) -> Result<http::Request<Body>, TransportError> {
        let path = request.path.parse::<PathAndQuery>().ok().filter(|_| request.path.starts_with('/'));
        let Some(path) = path else {
            return Err(TransportError::input(format!(
                "{:?} is not a request path: it starts with a slash and is percent-encoded",
                message::loggable_path(&request.path)
            )));
        };
        let mut message = http::Request::new(body);
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = Uri::from(path);
        *message.headers_mut() = request.headers.clone();
        let headers = message.headers_mut();
        headers.entry(HOST).or_insert_with(|| self.shared.authority.clone());
        headers.entry(USER_AGENT).or_insert_with(|| self.shared.user_agent.clone());
        Ok(message)
    }
}

fn note(span: &tracing::Span, outcome: Result<u16, &TransportError>) {
    match outcome {
        Ok(status) => {
            span.record("status", status);
        }
        Err(error) => span.in_scope(|| tracing::debug!(kind = ?error.kind(), "no answer")),
    }
}

/// How requests reach the server, and as whose.
#[derive(Debug, Clone)]
pub struct Route {
    /// The proxy on the way, if there is one.
    pub proxy: Option<Proxy>,
    /// The value of `User-Agent`, `vim-api/VERSION` unless told.
    pub user_agent: String,
}

impl Default for Route {
    fn default() -> Self {
        Route { proxy: None, user_agent: concat!("vim-api/", env!("CARGO_PKG_VERSION")).to_owned() }
    }
}
