//! The client: one session with one server, shared by all that clone it.

mod beside;
mod connect;
mod keep_alive;
mod replay;
#[cfg(feature = "rest")]
mod rest;
mod retry;
mod session;
mod span;
mod web;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, RwLock};

use bytes::Bytes;
use http::{HeaderValue, Method};
use tracing::Instrument;

use crate::call::Request;
use crate::dynamic::DateTime;
use crate::error::Error;
use crate::mo::{self, Handle, Managed};
use crate::moref::MoRef;
use crate::soap::{self, Message, Outcome};
use crate::sso::Sts;
use crate::transport::{self, HttpTransport, Response};
use crate::types::ServiceContent;
use crate::version::ApiVersion;
use crate::xml::{Limits, NS_VIM, Reader, Service, XmlError};

use beside::Beside;
pub use connect::{Connect, DangerConnect};
pub use keep_alive::KeepAlive;
use replay::AfterLoss;
#[cfg(feature = "rest")]
pub(crate) use rest::{RestAnswer, RestRequest};
pub use retry::Retry;
use session::SessionState;
use span::CallSpan;

/// A connection to a vCenter or ESXi. Cloning it is cheap, and all clones share one session and one pool of
/// connections: vSphere asks programs to keep to one session.
///
/// Use it inside a tokio runtime. All methods may be called from any task at any time.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: HttpTransport,
    version: ApiVersion,
    content: OnceLock<ServiceContent>,
    session: SessionState,
    beside: Beside,
    #[cfg(feature = "rest")]
    rest: rest::RestState,
    /// Where the STS was found, if it was looked for.
    sts: RwLock<Option<Sts>>,
    retry: Retry,
    xml: Limits,
    calls: AtomicU64,
}

/// A reply of which the status says that it carries no fault.
pub(crate) struct Reply(Message);

impl Reply {
    /// Reads it; a fault counts whatever the status said.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, XmlError>,
    ) -> Result<Outcome<T>, XmlError> {
        soap::reply(&self.0, read)
    }
}

impl Client {
    /// Begins a connection to `url`, such as `https://vcenter.example.org/sdk`; scheme and path may be left out.
    ///
    /// The server is trusted by the system's root certificates unless the builder is told otherwise.
    pub fn connect(url: &str) -> Connect {
        Connect::new(url)
    }

    /// The API version that was agreed with the server.
    pub fn version(&self) -> ApiVersion {
        self.0.version
    }

    /// What the server said about itself: its managers, its root folder, its product.
    pub fn content(&self) -> &ServiceContent {
        static EMPTY: OnceLock<ServiceContent> = OnceLock::new();
        self.0.content.get().unwrap_or_else(|| EMPTY.get_or_init(ServiceContent::default))
    }

    /// Whether the server is a vCenter, not a single host.
    pub fn is_vcenter(&self) -> bool {
        self.content().about.api_type == "VirtualCenter"
    }

    /// Host name or address of the server, as it was given.
    pub fn host(&self) -> &str {
        self.0.transport.endpoint().host()
    }

    /// TCP port of the server.
    pub fn port(&self) -> u16 {
        self.0.transport.endpoint().port()
    }

    /// SHA-1 and SHA-256 thumbprints of the certificate that the server showed. VDDK wants the SHA-1 one.
    ///
    /// # Errors
    /// When no connection could be made.
    pub async fn thumbprints(&self) -> Result<transport::PeerThumbprints, Error> {
        let seen = self.0.transport.peer_thumbprints().await;
        seen.map_err(|e| Error::transport(format!("reading the certificate of {}", self.host()), e))
    }

    /// The object behind a reference, to call methods on.
    pub fn bind<M: Managed>(&self, moref: &MoRef<M>) -> M {
        Handle::new(self.clone(), moref.cast()).into()
    }

    /// The PropertyCollector of the session.
    pub fn property_collector(&self) -> mo::PropertyCollector {
        self.bind(&self.content().property_collector)
    }

    /// One of the managers that a server may lack.
    pub(crate) fn manager<M: Managed>(
        &self,
        name: &str,
        find: impl FnOnce(&ServiceContent) -> Option<&MoRef<M>>,
    ) -> Result<M, Error> {
        let moref = find(self.content());
        moref.map(|moref| self.bind(moref)).ok_or_else(|| {
            Error::broken_protocol(format!(
                "{} has no {name}: a host alone lacks some of vCenter's services",
                self.host()
            ))
        })
    }

    /// Number of requests sent so far, for tests and metrics.
    pub fn requests_sent(&self) -> u64 {
        self.0.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The server's clock.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn server_time(&self) -> Result<DateTime, Error> {
        self.bind(&MoRef::<mo::ServiceInstance>::new("ServiceInstance")).current_time().await
    }

    /// Sends a call, and again as the client's [`Retry`] says.
    pub(crate) async fn execute(&self, request: &Request) -> Result<Reply, Error> {
        let name = request.method.name;
        self.retrying(name, replay::is_repeatable(name), || self.execute_in_session(request)).await
    }

    async fn retrying<T, F>(
        &self,
        method: &str,
        repeatable: bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pauses = self.0.retry.pauses();
        loop {
            let error = match attempt().await {
                Err(error) if self.0.retry.allows(repeatable, &error) => error,
                result => return result,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            tracing::debug!(method, %error, ?pause, "trying again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a call. When the session was lost and can be had again, it is, once for all callers that meet the loss
    /// together; whether the call is then repeated is for [`replay`] to say.
    async fn execute_in_session(&self, request: &Request) -> Result<Reply, Error> {
        let generation = self.0.session.generation();
        let mut result = self.send(request).await;
        let service = request.method.service;
        if service != Service::Vim25
            && result.as_ref().is_err_and(Error::is_session_lost)
            && self.0.beside.forget(service)
        {
            // What was lost may be the service's own session behind ours, which lives: it must not be replaced for that.
            result = self.send(request).await;
        }
        let error = match result {
            Err(error) if error.is_session_lost() => error,
            result => return result,
        };
        let after = replay::after_loss(request, &self.content().property_collector);
        if after == AfterLoss::Leave || !self.renew_session(generation).await? {
            return Err(error);
        }
        match after {
            AfterLoss::Resend => self.send(request).await,
            _ => Err(error.with_advice("the session was lost and is renewed; the call was not carried out, so repeat it if it is still wanted")),
        }
    }

    async fn send(&self, request: &Request) -> Result<Reply, Error> {
        let span = CallSpan::of(request);
        let result = self.exchange(request, &span).instrument(span.inner()).await;
        span.end(result.as_ref().err());
        result
    }

    async fn exchange(&self, request: &Request, span: &CallSpan) -> Result<Reply, Error> {
        let name = request.method.name;
        let context = || format!("calling {name} on {}", request.this);
        let body = self.envelope(request)?;
        span.sent(body.len());
        let response = match request.method.service {
            Service::Vim25 => {
                let path = self.0.transport.endpoint().path();
                let response = self.post(request, path, self.0.session.cookie_header(), body).await?;
                self.0.session.take_cookies(&response.headers);
                response
            }
            Service::Pbm | Service::Vslm => self.post_to_service(request, &body).await?,
        };
        span.received(response.body.len());
        if matches!(response.status, 429 | 502 | 503 | 504) {
            return Err(Error::unavailable(format!(
                "{}: {} answered HTTP {}",
                context(),
                self.host(),
                response.status
            )));
        }
        let message = Message::new(response.body, self.0.xml);
        if response.status == 200 {
            return Ok(Reply(message));
        }
        match soap::reply(&message, |reader| reader.skip()) {
            Ok(Outcome::Fault(fault)) => Err(Error::from_fault(context(), fault)),
            Ok(Outcome::Returned(())) => Err(Error::broken_protocol(format!(
                "{}: HTTP {} with an answer that is no fault",
                context(),
                response.status
            ))),
            Err(_) => Err(Error::not_vsphere(format!(
                "{}: {} answered HTTP {} with something that is no SOAP: is it a vCenter or ESXi, and does the path end in /sdk?",
                context(),
                self.host(),
                response.status
            ))),
        }
    }
}

impl Client {
    fn envelope(&self, request: &Request) -> Result<Bytes, Error> {
        let (name, service) = (request.method.name, request.method.service);
        let this = soap::this_argument(&request.this, self.version());
        // The envelope copies the arguments, which may hold a password; the copy is wiped with the body.
        let content = [this.as_str(), &request.arguments];
        let envelope = match (&request.token, service) {
            (Some(token), _) => token.envelope(NS_VIM, name, &content)?,
            (None, Service::Vim25) => soap::envelope(name, &content),
            (None, _) => soap::envelope_in(service.namespace(), &self.session_header(), name, &content),
        };
        Ok(Bytes::from_owner(zeroize::Zeroizing::new(envelope.into_bytes())))
    }

    /// Posts the envelope of a call.
    async fn post(
        &self,
        request: &Request,
        path: &str,
        cookie: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Response, Error> {
        let service = request.method.service;
        let mut http = transport::Request::new(Method::POST, path);
        http.body = body;
        http.headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        http.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        let action = format!("\"{}/{}\"", service.namespace(), service.version(self.version()));
        if let Ok(action) = HeaderValue::from_str(&action) {
            http.headers.insert("soapaction", action);
        }
        if let Some(cookie) = cookie {
            http.headers.insert(http::header::COOKIE, cookie);
        }
        http.replayable = replay::is_repeatable(request.method.name);
        self.0.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let sent = self.0.transport.send(http).await;
        sent.map_err(|e| Error::transport(format!("calling {} on {}", request.method.name, request.this), e))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
