//! What is said to the STS, and what it answers.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Method};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{NS_TRUST, SamlToken};
use crate::client::Client;
use crate::dynamic::{DateTime, Poly};
use crate::error::{Error, ErrorKind, Fault};
use crate::soap::Message;
use crate::transport::{self, HttpTransport};
use crate::types::InvalidLogin;
use crate::xml::{Limits, Reader, XmlError};

/// Where the STS of a vCenter answers since 7.0.
const USUAL_PATH: &str = "/sts/STSService";

/// Where tokens are asked for.
#[derive(Clone)]
pub(crate) struct Sts {
    pub(super) transport: HttpTransport,
    pub(super) path: String,
    /// The lookup service named it, and nothing about it is guessed.
    pub(super) named: bool,
}

impl Sts {
    /// On the vCenter itself, at the usual path.
    pub(crate) fn usual(vcenter: &HttpTransport) -> Self {
        Sts { transport: vcenter.clone(), path: USUAL_PATH.to_owned(), named: false }
    }
}

/// How errors name it.
impl fmt::Display for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the STS of {}", self.transport.endpoint().host())
    }
}

impl Client {
    pub(super) async fn ask_sts(
        &self,
        sts: &Sts,
        context: &str,
        domain: Option<&str>,
        mut envelope: Zeroizing<String>,
    ) -> Result<SamlToken, Error> {
        let mut request = transport::Request::new(Method::POST, sts.path.as_str());
        // The envelope holds the password, and is wiped with the request.
        request.body = Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *envelope).into_bytes()));
        request
            .headers
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=\"utf-8\""));
        // Without quotes: govmomi's simulator does not know it with them, and a vCenter takes it either way.
        if let Ok(action) = HeaderValue::from_str(&format!("{NS_TRUST}/RST/Issue")) {
            request.headers.insert("soapaction", action);
        }
        let mut response = self.ask(sts, request.clone(), context).await?;
        // By default the domain may be left out. Where it may not, it is most likely the user's own.
        if response.status == 404
            && !sts.named
            && let Some(domain) = domain
        {
            request.path = format!("{USUAL_PATH}/{domain}");
            response = self.ask(sts, request, context).await?;
        }
        match read_answer(response.body) {
            Ok(Answer::Issued(token)) => Ok(token),
            Ok(Answer::Refused { code, text }) => Err(refusal(context, &code, text)),
            Err(_) if response.status != 200 => Err(Error::not_vsphere(format!(
                "{context}: HTTP {} with something that is no SOAP: is this a vCenter?",
                response.status
            ))),
            Err(error) => Err(Error::protocol(context, error)),
        }
    }

    async fn ask(
        &self,
        sts: &Sts,
        request: transport::Request,
        context: &str,
    ) -> Result<transport::Response, Error> {
        // Only another server is known by what was said about it.
        let elsewhere = sts.transport.endpoint() != self.transport().endpoint();
        self.post_beside(&sts.transport, request, context).await.map_err(|error| match error.kind() {
            ErrorKind::Certificate if elsewhere => error.with_advice(
                "the lookup service names another certificate than the STS shows: either its registration is out of date, \
                 which VMware's lsdoctor repairs, or someone stands between; nothing was sent",
            ),
            _ => error,
        })
    }
}

/// The domain of `user@domain`, if it can stand in a path.
pub(super) fn domain_of(user: &str) -> Option<&str> {
    let (_, domain) = user.rsplit_once('@')?;
    let usable = |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    Some(domain).filter(|domain| !domain.is_empty() && domain.bytes().all(usable))
}

/// What the STS says.
enum Answer {
    Issued(SamlToken),
    Refused { code: String, text: String },
}

fn read_answer(body: Bytes) -> Result<Answer, XmlError> {
    Message::new(body, Limits::default()).read(|start, reader| {
        if start.local() == "Fault" {
            let (mut code, mut text) = (String::new(), String::new());
            while let Some(part) = reader.next_child()? {
                match part.local() {
                    "faultcode" => code = reader.text()?.trim().to_owned(),
                    "faultstring" => text = reader.text()?.trim().to_owned(),
                    _ => reader.skip()?,
                }
            }
            let code = code.rsplit(':').next().unwrap_or_default().to_owned();
            return Ok(Answer::Refused { code, text });
        }
        let mut found = Found::default();
        // Issue answers with a collection, renewal without.
        if start.local() == "RequestSecurityTokenResponse" {
            read_response(reader, &mut found)?;
        } else {
            while let Some(part) = reader.next_child()? {
                match part.local() {
                    "RequestSecurityTokenResponse" => read_response(reader, &mut found)?,
                    _ => reader.skip()?,
                }
            }
        }
        let Some(assertion) = found.assertion else {
            return Err(reader.unexpected("an answer without a token".into()));
        };
        SamlToken::new(assertion, found.expires).map(Answer::Issued)
    })
}

#[derive(Default)]
struct Found {
    assertion: Option<SecretString>,
    expires: Option<SystemTime>,
}

fn read_response(reader: &mut Reader<'_>, found: &mut Found) -> Result<(), XmlError> {
    while let Some(part) = reader.next_child()? {
        match part.local() {
            "Lifetime" => {
                while let Some(end) = reader.next_child()? {
                    let text = reader.text()?;
                    if end.local() == "Expires" {
                        found.expires = DateTime::from_text(text.trim()).to_system_time();
                    }
                }
            }
            "RequestedSecurityToken" => {
                while let Some(assertion) = reader.next_child()? {
                    reader.skip()?;
                    found.assertion = Some(SecretString::from(reader.since(&assertion)));
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(())
}

fn refusal(context: &str, code: &str, text: String) -> Error {
    match code {
        "FailedAuthentication" => {
            let fault = Fault { fault: Poly::new(InvalidLogin::default()), message: text };
            Error::from_fault(context, fault)
        }
        "InvalidTimeRange" | "MessageExpired" | "ExpiredData" => {
            Error::token(format!("{context}: {code}: {text}"))
                .with_advice("the clocks of this machine and the vCenter differ too much: set them by NTP")
        }
        _ => Error::token(format!("{context}: {code}: {text}")),
    }
}
