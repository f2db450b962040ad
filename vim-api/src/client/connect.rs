use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use http::Method;
use secrecy::SecretString;

use super::beside::Beside;
use super::retry::Retry;
use super::session::SessionState;
use super::{Client, Inner};
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::transport::{
    self, ClientCertificate, Endpoint, HttpTransport, Proxy, Thumbprint, TlsSettings, TransportError, Trust,
    parse_certificates_pem,
};
use crate::types::ServiceContent;
use crate::version::ApiVersion;
use crate::xml::{Limits, Reader, XmlError};

/// A connection that is being described. Await it to make it.
#[must_use = "nothing is connected until this is awaited"]
pub struct Connect {
    url: String,
    trust: Result<Trust, Error>,
    route: transport::Route,
    proxy: Option<Result<Proxy, TransportError>>,
    identity: Option<Result<ClientCertificate, TransportError>>,
    sdk_tunnel: Option<u16>,
    limits: transport::Limits,
    xml: Limits,
    retry: Retry,
}

/// Ways to connect that give up a protection. Reached through [`Connect::danger`].
#[must_use = "nothing is connected until this is awaited"]
pub struct DangerConnect(Connect);

impl Connect {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            trust: Ok(Trust::SystemRoots),
            route: transport::Route::default(),
            proxy: None,
            identity: None,
            sdk_tunnel: None,
            limits: transport::Limits::default(),
            xml: Limits::default(),
            retry: Retry::none(),
        }
    }

    /// Trusts the server whose certificate has this thumbprint, SHA-256 or SHA-1, and no other.
    pub fn thumbprint(mut self, pin: Thumbprint) -> Self {
        self.trust = Ok(Trust::Thumbprint(pin));
        self
    }

    /// Trusts the authorities in `pem`, and no others: a private CA such as vCenter's own (`/certs/download.zip`).
    pub fn ca(mut self, pem: &[u8]) -> Self {
        self.trust = parse_certificates_pem(pem)
            .map(Trust::Ca)
            .map_err(|e| Error::transport("reading the certificates of the private CA", e));
        self
    }

    /// Shows this certificate to the server, in PEM with its private key (PKCS#8, PKCS#1 or SEC1, not encrypted): for
    /// [`Client::login_extension`].
    pub fn client_certificate(mut self, certificates: &[u8], key: &SecretString) -> Self {
        self.identity = Some(ClientCertificate::from_pem(certificates, key));
        self
    }

    /// Reaches a vCenter through the tunnel that it keeps on its plain HTTP port, 80 unless somebody moved it (CONNECT to
    /// `sdkTunnel:8089`): only there it asks for a [client certificate](Self::client_certificate). TLS runs inside, and
    /// the server is trusted as ever. It takes the place of a [proxy](Self::proxy), so both together are refused.
    pub fn sdk_tunnel(mut self, port: u16) -> Self {
        self.sdk_tunnel = Some(port);
        self
    }

    /// Ways that give up a protection.
    pub fn danger(self) -> DangerConnect {
        DangerConnect(self)
    }

    /// Reaches the server through an HTTP proxy, `http://host:port`: it is asked for a tunnel (CONNECT), in which TLS
    /// runs between this program and the server. Environment variables are not read.
    pub fn proxy(mut self, url: &str) -> Self {
        self.proxy = Some(Proxy::new(url));
        self
    }

    /// Name and password for the proxy given before. Basic authentication: the proxy receives them unencrypted.
    pub fn proxy_credentials(mut self, user: &str, password: &SecretString) -> Self {
        let proxy = self.proxy.unwrap_or_else(|| Proxy::new(""));
        self.proxy = Some(proxy.and_then(|proxy| proxy.with_credentials(user, password)));
        self
    }

    /// What the client calls itself, as the server shows it in its list of sessions; `vim-api/VERSION` unless told.
    pub fn user_agent(mut self, name: &str) -> Self {
        name.clone_into(&mut self.route.user_agent);
        self
    }

    /// Most connections at a time, at least 1; further requests wait for a free one. 16 unless told.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.limits.max_connections = limit;
        self
    }

    /// How long an unused connection is kept for the next request. 30 s unless told.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.limits.idle_timeout = limit;
        self
    }

    /// Longest time until an answer begins; in an upload, until the server takes the next piece. 120 s unless told. A
    /// call that waits for changes has to be answered within it.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.limits.head_timeout = limit;
        self
    }

    /// Longest time to establish a connection, TLS included.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect_timeout = limit;
        self
    }

    /// Longest silence of the server within an answer.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.limits.read_timeout = limit;
        self
    }

    /// Largest answer in bytes that is accepted.
    pub fn max_response_bytes(mut self, limit: usize) -> Self {
        self.limits.max_response_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
        self.xml.max_bytes = limit;
        self
    }

    /// When failed calls are sent again: not at all unless told.
    pub fn retry(mut self, policy: Retry) -> Self {
        self.retry = policy;
        self
    }

    async fn establish(mut self) -> Result<Client, Error> {
        // The error quotes the address where that is safe; one with a password in it is not repeated.
        let endpoint: Endpoint =
            self.url.parse().map_err(|e: TransportError| Error::invalid_input(e.to_string()))?;
        let host = endpoint.host().to_owned();
        let preparing = |e| Error::transport(format!("preparing the connection to {host}"), e);
        if self.proxy.is_some() && self.sdk_tunnel.is_some() {
            return Err(Error::invalid_input(
                "a proxy and the vCenter's own tunnel were both asked for, and one can't be reached through the other",
            ));
        }
        let tunnel = self.sdk_tunnel.map(|port| Proxy::sdk_tunnel(&host, port));
        self.route.proxy = self.proxy.or(tunnel).transpose().map_err(preparing)?;
        let identity = self.identity.transpose().map_err(preparing)?;
        let tls = TlsSettings::new(self.trust?).with_client(identity);
        let transport = HttpTransport::new(endpoint, tls, self.route, self.limits).map_err(preparing)?;
        let offered = offered_versions(&transport, self.xml).await?;
        let first = offered.unwrap_or(ApiVersion::OLDEST);
        let client = client(transport.clone(), first, self.xml, self.retry.clone());
        let content = service_content(&client).await?;
        let client = match offered {
            Some(_) => client,
            // Without the list, the product's own version tells; every server understands the oldest one meanwhile.
            None => {
                let told = ApiVersion::not_above(&content.about.api_version).unwrap_or(ApiVersion::OLDEST);
                self::client(transport, told, self.xml, self.retry)
            }
        };
        let _ = client.0.content.set(content);
        Ok(client)
    }
}

impl DangerConnect {
    /// Accepts whatever certificate the server shows. Whoever sits on the path can read the password.
    pub fn accept_any_certificate(mut self) -> Connect {
        self.0.trust = Ok(Trust::DangerAcceptAny);
        self.0
    }
}

impl IntoFuture for Connect {
    type Output = Result<Client, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.establish())
    }
}

fn client(transport: HttpTransport, version: ApiVersion, xml: Limits, retry: Retry) -> Client {
    Client(Arc::new(Inner {
        transport,
        version,
        content: OnceLock::new(),
        session: SessionState::default(),
        beside: Beside::default(),
        #[cfg(feature = "rest")]
        rest: Default::default(),
        sts: RwLock::new(None),
        retry,
        xml,
        calls: AtomicU64::new(0),
    }))
}

async fn service_content(client: &Client) -> Result<ServiceContent, Error> {
    let instance: mo::ServiceInstance = client.bind(&MoRef::new("ServiceInstance"));
    let content = instance.retrieve_service_content().await?;
    if content.about.api_type.is_empty() {
        return Err(Error::not_vsphere(format!("{} does not say what product it is", client.host())));
    }
    Ok(content)
}

/// The newest version that both sides know, from `vimServiceVersions.xml`. `None` when the server has no such list.
async fn offered_versions(transport: &HttpTransport, limits: Limits) -> Result<Option<ApiVersion>, Error> {
    let path = format!("{}/vimServiceVersions.xml", transport.endpoint().path().trim_end_matches('/'));
    let mut request = transport::Request::new(Method::GET, path);
    request.replayable = true;
    let host = transport.endpoint().host();
    let response =
        transport.send(request).await.map_err(|e| Error::transport(format!("connecting to {host}"), e))?;
    if response.status != 200 {
        return Ok(None);
    }
    // A page that is no such list is as good as none: the first call will tell whether this is a vSphere.
    let versions = read_versions(&response.body, limits).unwrap_or_default();
    Ok(ApiVersion::negotiate(versions.iter().map(String::as_str)))
}

/// `<namespaces><namespace><name>urn:vim25</name><version>8.0.3.0</version><priorVersions><version>..`
fn read_versions(body: &[u8], limits: Limits) -> Result<Vec<String>, XmlError> {
    let mut reader = Reader::new(body, limits)?;
    reader.expect_child("namespaces")?;
    let mut versions = Vec::new();
    while reader.next_child()?.is_some() {
        let mut name = String::new();
        let mut found = Vec::new();
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "name" => name = reader.text()?.trim().to_owned(),
                "version" => found.push(reader.text()?.trim().to_owned()),
                "priorVersions" => {
                    while reader.next_child()?.is_some() {
                        found.push(reader.text()?.trim().to_owned());
                    }
                }
                _ => reader.skip()?,
            }
        }
        if name == "urn:vim25" {
            versions.extend(found);
        }
    }
    Ok(versions)
}
