//! Where the STS is, as the lookup service tells: the registry of all services that belong to one single sign-on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::Sts;
use crate::client::Client;
use crate::dynamic::Element;
use crate::error::Error;
use crate::moref::MoRef;
use crate::soap::{self, Message, Outcome};
use crate::transport::{Endpoint, Request, Thumbprint, Trust};
use crate::xml::{Limits, Reader, XmlError};

const PATH: &str = "/lookupservice/sdk";
const NS_LOOKUP: &str = "urn:lookup";
/// The service and the kind of endpoint that are looked for.
const SERVICE: [&str; 2] = ["com.vmware.cis", "cs.identity"];
const ENDPOINT: [&str; 2] = ["wsTrust", "com.vmware.cis.cs.identity.sso"];

/// How many endpoints an error speaks of, and how much of an address it repeats.
const NAMED: usize = 3;
const NAMED_CHARS: usize = 200;

/// Where a client asks for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StsEndpoint {
    /// Host name or address: the vCenter's own, or that of its platform services controller.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path, such as `/sts/STSService/vsphere.local`.
    pub path: String,
    /// The lookup service named it. If not, the server has no lookup service, and it is where an STS usually is.
    pub named: bool,
}

impl Client {
    /// Asks the lookup service of the vCenter where its STS is, and from then on asks for tokens there: in
    /// [`issue_token`](Self::issue_token), [`login_sso`](Self::login_sso) and all that build on them, renewals included.
    /// Without it the vCenter's own STS is asked at the usual path, which is right since 7.0 where nobody moved it. No
    /// session is needed.
    ///
    /// An STS on another server, such as a 6.7 platform services controller, is trusted by exactly the certificates that
    /// the lookup service names for it, so passwords go to no server but this one and the one that it vouches for. Where
    /// several are named, the one on this server is taken, or else one of its site. A server without a lookup service
    /// (HTTP 404) leaves everything as usual: see [`StsEndpoint::named`].
    ///
    /// # Errors
    /// Kind `NotFound` when the lookup service knows no STS. Kind `Protocol` when nothing that it names is usable, for
    /// reasons which the text gives: not `https://`; on another server and without a certificate; or on another server
    /// while [any certificate is accepted](crate::DangerConnect) for this one, of which the word then is worth nothing.
    /// Kinds `NotVsphere` and `Unavailable` when something else answers.
    pub async fn discover_sts(&self) -> Result<StsEndpoint, Error> {
        let lookup = Lookup {
            client: self,
            context: format!("asking the lookup service of {} for the STS", self.host()),
        };
        let sts = match lookup.registration().await? {
            Some(registration) => lookup.find(&registration).await?,
            None => Sts::usual(self.transport()),
        };
        self.set_sts(sts.clone());
        let endpoint = sts.transport.endpoint();
        Ok(StsEndpoint {
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
            path: sts.path,
            named: sts.named,
        })
    }
}

struct Lookup<'a> {
    client: &'a Client,
    context: String,
}

/// An endpoint as it stands in the answer.
#[derive(Default)]
struct Offer {
    url: String,
    kind: [String; 2],
    /// Certificates in base64.
    trust: Vec<String>,
    site: String,
}

/// An endpoint that can be used.
struct Usable {
    site: String,
    path: String,
    /// Where, and by which certificates it is known; `None` on the server that was asked.
    elsewhere: Option<(Endpoint, Vec<Thumbprint>)>,
}

impl Lookup<'_> {
    /// The registry; `None` when there is no lookup service.
    async fn registration(&self) -> Result<Option<MoRef>, Error> {
        let instance = MoRef::of_type("LookupServiceInstance", "ServiceInstance");
        let read = |reader: &mut Reader<'_>| {
            let mut found = None;
            while reader.next_child()?.is_some() {
                while let Some(part) = reader.next_child()? {
                    match part.local() {
                        "serviceRegistration" => found = Some(MoRef::decode(reader, &part)?),
                        _ => reader.skip()?,
                    }
                }
            }
            Ok(found)
        };
        match self.call(&instance, "RetrieveServiceContent", "", read).await? {
            Some(Some(found)) => Ok(Some(found)),
            Some(None) => Err(Error::broken_protocol(format!("{}: it has no registry", self.context))),
            None => Ok(None),
        }
    }

    async fn find(&self, registration: &MoRef) -> Result<Sts, Error> {
        let filter = format!(
            "<filterCriteria><serviceType><product>{}</product><type>{}</type></serviceType>\
             <endpointType><protocol>{}</protocol><type>{}</type></endpointType></filterCriteria>",
            SERVICE[0], SERVICE[1], ENDPOINT[0], ENDPOINT[1]
        );
        let offers = self.call(registration, "List", &filter, read_offers).await?.unwrap_or_default();
        if offers.is_empty() {
            return Err(Error::not_found(format!("{}: it knows none", self.context)));
        }
        let own_certificate = self.client.thumbprints().await?.sha256;
        let (mut usable, mut refused) = (Vec::new(), Vec::new());
        for offer in offers {
            match self.judge(&offer, &own_certificate) {
                Ok(candidate) => usable.push(candidate),
                Err(why) => {
                    let url: String = offer.url.chars().take(NAMED_CHARS).collect();
                    refused.push(format!("{url:?} {why}"));
                }
            }
        }
        refused.truncate(NAMED);
        let chosen = self.choose(registration, usable).await.ok_or_else(|| {
            Error::broken_protocol(format!("{}: none is usable: {}", self.context, refused.join("; ")))
        })?;
        let own = self.client.transport();
        let transport = match chosen.elsewhere {
            None => own.clone(),
            Some((endpoint, pins)) => own
                .beside(endpoint, Trust::OneOf(pins))
                .map_err(|e| Error::transport(self.context.as_str(), e))?,
        };
        Ok(Sts { transport, path: chosen.path, named: true })
    }

    /// What can be done with an offer, or why nothing.
    fn judge(&self, offer: &Offer, own_certificate: &Thumbprint) -> Result<Usable, String> {
        let behind =
            offer.url.get(.."https://".len()).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
        if behind.is_none() {
            return Err("is no https:// address: credentials are sent encrypted or not at all".to_owned());
        }
        let endpoint: Endpoint = offer.url.parse().map_err(|_| "is no address of a server".to_owned())?;
        if !offer.url.ends_with(endpoint.path()) {
            return Err("has no path".to_owned());
        }
        let pins = certificates(&offer.trust);
        let own = self.client.transport();
        // A server goes by several names: the certificate tells, too.
        let is_own = endpoint.port() == own.endpoint().port()
            && (endpoint.host() == own.endpoint().host() || pins.contains(own_certificate));
        let (site, path) = (offer.site.clone(), endpoint.path().to_owned());
        if is_own {
            return Ok(Usable { site, path, elsewhere: None });
        }
        if pins.is_empty() {
            return Err("is on another server, and no certificate is named to know it by".to_owned());
        }
        if !own.is_verified() {
            return Err("is on another server, and this one's certificate is not checked: connect with a \
                 thumbprint or a CA"
                .to_owned());
        }
        Ok(Usable { site, path, elsewhere: Some((endpoint, pins)) })
    }

    /// The one on the server that was asked; or one of its site; or the first.
    async fn choose(&self, registration: &MoRef, mut usable: Vec<Usable>) -> Option<Usable> {
        if let Some(own) = usable.iter().position(|candidate| candidate.elsewhere.is_none()) {
            return Some(usable.swap_remove(own));
        }
        let mut near = 0;
        if usable.len() > 1 {
            // Which of them is asked is a matter of speed, not of the outcome.
            let site = self.site(registration).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "the site is not known");
                String::new()
            });
            near = usable.iter().position(|candidate| candidate.site == site).unwrap_or(0);
        }
        (near < usable.len()).then(|| usable.swap_remove(near))
    }

    async fn site(&self, registration: &MoRef) -> Result<String, Error> {
        let read = |reader: &mut Reader<'_>| {
            let mut site = String::new();
            while reader.next_child()?.is_some() {
                site = reader.text()?.trim().to_owned();
            }
            Ok(site)
        };
        Ok(self.call(registration, "GetSiteId", "", read).await?.unwrap_or_default())
    }

    /// Calls a method; `None` for HTTP 404.
    async fn call<T>(
        &self,
        this: &MoRef,
        method: &str,
        arguments: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, XmlError>,
    ) -> Result<Option<T>, Error> {
        let this = soap::this_argument(this, self.client.version());
        let mut request = Request::new(Method::POST, PATH);
        request.body = soap::envelope_in(NS_LOOKUP, "", method, &[&this, arguments]).into();
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        request.headers.insert("soapaction", HeaderValue::from_static("\"urn:lookup/2.0\""));
        request.replayable = true;
        let response = self.client.post_beside(self.client.transport(), request, &self.context).await?;
        let status = response.status;
        match status {
            404 => return Ok(None),
            429 | 502..=504 => {
                return Err(Error::unavailable(format!("{}: HTTP {status}", self.context)));
            }
            _ => {}
        }
        match soap::reply(&Message::new(response.body, Limits::default()), read) {
            Ok(Outcome::Returned(value)) if status == 200 => Ok(Some(value)),
            Ok(Outcome::Fault(fault)) => Err(Error::from_fault(self.context.as_str(), fault)),
            Err(error) if status == 200 => Err(Error::protocol(self.context.as_str(), error)),
            _ => Err(Error::not_vsphere(format!(
                "{}: HTTP {status} with something that is no answer: is this a vCenter?",
                self.context
            ))),
        }
    }
}

/// The endpoints of the right kind: a service has several, and servers filter whole services.
fn read_offers(reader: &mut Reader<'_>) -> Result<Vec<Offer>, XmlError> {
    let mut offers = Vec::new();
    while reader.next_child()?.is_some() {
        let first = offers.len();
        let mut site = String::new();
        while let Some(part) = reader.next_child()? {
            match part.local() {
                "serviceEndpoints" => offers.push(read_offer(reader)?),
                "siteId" => site = reader.text()?.trim().to_owned(),
                _ => reader.skip()?,
            }
        }
        for offer in offers.iter_mut().skip(first) {
            offer.site.clone_from(&site);
        }
    }
    offers.retain(|offer| offer.kind == ENDPOINT);
    Ok(offers)
}

fn read_offer(reader: &mut Reader<'_>) -> Result<Offer, XmlError> {
    let mut offer = Offer::default();
    while let Some(part) = reader.next_child()? {
        match part.local() {
            "url" => offer.url = reader.text()?.trim().to_owned(),
            "sslTrust" => offer.trust.push(reader.text()?.into_owned()),
            "endpointType" => {
                while let Some(kind) = reader.next_child()? {
                    match kind.local() {
                        "protocol" => offer.kind[0] = reader.text()?.trim().to_owned(),
                        "type" => offer.kind[1] = reader.text()?.trim().to_owned(),
                        _ => reader.skip()?,
                    }
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(offer)
}

/// Thumbprints of what is a certificate among these.
fn certificates(trust: &[String]) -> Vec<Thumbprint> {
    let decode = |text: &String| {
        let text: String = text.split_whitespace().collect();
        let der = CertificateDer::from(STANDARD.decode(text).ok()?);
        ParsedCertificate::try_from(&der).ok()?;
        Some(Thumbprint::sha256(&der))
    };
    trust.iter().filter_map(decode).collect()
}
