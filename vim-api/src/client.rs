//! The client: one session with one server, shared by all that clone it.

mod connect;
mod session;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method};

use crate::call::Request;
use crate::error::Error;
use crate::mo::{self, Handle, Managed};
use crate::moref::MoRef;
use crate::soap::{self, Message, Outcome};
use crate::transport::{self, HttpTransport};
use crate::types::{NotAuthenticated, ServiceContent};
use crate::version::ApiVersion;
use crate::xml::{Limits, Reader, XmlError};

pub use connect::{Connect, DangerConnect};
use session::SessionState;

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

    /// Number of requests sent so far, for tests and metrics.
    pub fn requests_sent(&self) -> u64 {
        self.0.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sends a call. When the session was lost and the credentials are known, it logs in anew and sends the call again:
    /// a call that was answered with `NotAuthenticated` was not carried out.
    pub(crate) async fn execute(&self, request: &Request) -> Result<Reply, Error> {
        let generation = self.0.session.generation();
        let first = self.send(request).await;
        let Err(error) = &first else { return first };
        if error.fault::<NotAuthenticated>().is_none() || !session::survives_login(request.method.name) {
            return first;
        }
        if !self.renew_session(generation).await? {
            return first;
        }
        self.send(request).await
    }

    async fn send(&self, request: &Request) -> Result<Reply, Error> {
        let name = request.method.name;
        let this = soap::this_argument(&request.this, self.version());
        // `envelope` copies the arguments, which may hold a password; the copy is wiped with `body`.
        let body = Bytes::from_owner(zeroize::Zeroizing::new(
            soap::envelope(name, &[&this, &request.arguments]).into_bytes(),
        ));
        let action = format!("\"urn:vim25/{}\"", self.version());
        let path = self.0.transport.endpoint().path().to_owned();
        let mut http = transport::Request::new(Method::POST, path);
        http.body = body;
        http.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        if let Ok(action) = HeaderValue::from_str(&action) {
            http.headers.insert("soapaction", action);
        }
        if let Some(cookie) = self.0.session.cookie_header() {
            http.headers.insert(http::header::COOKIE, cookie);
        }
        http.replayable =
            name.starts_with("Retrieve") || name.starts_with("Query") || name.starts_with("WaitFor");
        self.0.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let context = || format!("calling {name} on {}", request.this);
        let response = self.0.transport.send(http).await.map_err(|e| Error::transport(context(), e))?;
        self.0.session.take_cookies(&response.headers);
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
