use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;

use super::session::SessionState;
use super::{Client, Inner};
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::transport::{
    self, Endpoint, HttpTransport, Thumbprint, TlsSettings, Trust, parse_certificates_pem,
};
use crate::types::ServiceContent;
use crate::version::ApiVersion;
use crate::xml::{Limits, Reader, XmlError};

/// A connection that is being described. Await it to make it.
#[must_use = "nothing is connected until this is awaited"]
pub struct Connect {
    url: String,
    trust: Result<Trust, Error>,
    limits: transport::Limits,
    xml: Limits,
}

/// Ways to connect that give up a protection. Reached through [`Connect::danger`].
#[must_use = "nothing is connected until this is awaited"]
pub struct DangerConnect(Connect);

impl Connect {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            trust: Ok(Trust::SystemRoots),
            limits: transport::Limits::default(),
            xml: Limits::default(),
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

    /// Ways that give up a protection.
    pub fn danger(self) -> DangerConnect {
        DangerConnect(self)
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

    async fn establish(self) -> Result<Client, Error> {
        // The error quotes the address where that is safe; one with a password in it is not repeated.
        let endpoint: Endpoint =
            self.url.parse().map_err(|e: transport::TransportError| Error::invalid_input(e.to_string()))?;
        let host = endpoint.host().to_owned();
        let transport = HttpTransport::new(endpoint, TlsSettings::new(self.trust?), self.limits)
            .map_err(|e| Error::transport(format!("preparing the connection to {host}"), e))?;
        let offered = offered_versions(&transport, self.xml).await?;
        let first = offered.unwrap_or(ApiVersion::OLDEST);
        let client = client(transport.clone(), first, self.xml);
        let content = service_content(&client).await?;
        let client = match offered {
            Some(_) => client,
            // Without the list, the product's own version tells; every server understands the oldest one meanwhile.
            None => {
                let told = ApiVersion::not_above(&content.about.api_version).unwrap_or(ApiVersion::OLDEST);
                self::client(transport, told, self.xml)
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

fn client(transport: HttpTransport, version: ApiVersion, xml: Limits) -> Client {
    Client(Arc::new(Inner {
        transport,
        version,
        content: OnceLock::new(),
        session: SessionState::default(),
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
