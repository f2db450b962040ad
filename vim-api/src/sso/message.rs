//! Messages that carry proof of who sent them (WS-Security), in canonical form from the start.
//!
//! Each signed part declares the namespaces it uses, and no others, itself: then its canonical form does not depend on where
//! it stands, and is what is sent. That holds as long as no text of a signed part comes from outside.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{SamlToken, SigningIdentity};
use crate::dynamic::DateTime;
use crate::error::Error;
use crate::xml::{NS_SOAP, escape_text};

const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSSE11: &str = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
const EXC_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
pub(super) const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const BASE64: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";
const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
const SAML_TOKEN: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0";
const SAML_ID: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLID";

/// How long a message may be on its way. The server allows for clocks that differ by some minutes more.
const VALIDITY: Duration = Duration::from_secs(5 * 60);

/// A call that shows a token, signed if that is bound to a key. Then `content` has to be canonical.
pub(super) fn with_token(
    token: &SamlToken,
    namespace: &str,
    name: &str,
    content: &[&str],
) -> Result<String, Error> {
    let timestamp = timestamp()?;
    let body = body(&format!("<{name} xmlns=\"{namespace}\">{}</{name}>", content.concat()))?;
    let assertion = token.assertion.expose_secret();
    let mut whole = match &token.identity {
        None => envelope(&[&timestamp.xml, assertion], &body),
        Some(identity) => {
            let key = format!(
                "<wsse:SecurityTokenReference xmlns:wsse11=\"{WSSE11}\" wsse11:TokenType=\"{SAML_TOKEN}\">\
                 <wsse:KeyIdentifier ValueType=\"{SAML_ID}\">{}</wsse:KeyIdentifier></wsse:SecurityTokenReference>",
                token.id
            );
            let signature = signature(identity, &fresh_id()?, [&timestamp, &body], &key)?;
            envelope(&[&timestamp.xml, assertion, &signature], &body)
        }
    };
    Ok(std::mem::take(&mut *whole))
}

/// A request of somebody who has a password.
pub(super) fn with_password(
    user: &str,
    password: &SecretString,
    content: &str,
) -> Result<Zeroizing<String>, Error> {
    let timestamp = timestamp()?;
    Ok(envelope(&[&timestamp.xml, &user_name(user, password)], &body(content)?))
}

/// A request signed by `identity`. `content` is told the id that the signature has, which a key to use is named by.
pub(super) fn signed(
    identity: &SigningIdentity,
    user: Option<(&str, &SecretString)>,
    content: impl FnOnce(&str) -> String,
) -> Result<Zeroizing<String>, Error> {
    let (signature_id, certificate_id) = (fresh_id()?, fresh_id()?);
    let timestamp = timestamp()?;
    let body = body(&content(&signature_id))?;
    let certificate = format!(
        "<wsse:BinarySecurityToken EncodingType=\"{BASE64}\" ValueType=\"{X509}\" wsu:Id=\"{certificate_id}\">{}\
         </wsse:BinarySecurityToken>",
        identity.certificate()
    );
    let key = format!(
        "<wsse:SecurityTokenReference><wsse:Reference URI=\"#{certificate_id}\" ValueType=\"{X509}\">\
         </wsse:Reference></wsse:SecurityTokenReference>"
    );
    let signature = signature(identity, &signature_id, [&timestamp, &body], &key)?;
    let user = user.map(|(user, password)| user_name(user, password)).unwrap_or_default();
    Ok(envelope(&[&timestamp.xml, &certificate, &user, &signature], &body))
}

/// From now on, by this machine's clock, in UTC with milliseconds, which is what the STS reads. The prefix is the body's.
pub(super) fn lifetime(length: Duration) -> String {
    let text = |moment: SystemTime| {
        let micros = DateTime::from(moment);
        let millis = micros.as_str().trim_end_matches('Z');
        format!("{}Z", millis.get(..millis.len().saturating_sub(3)).unwrap_or(millis))
    };
    let now = SystemTime::now();
    let end = now.checked_add(length).unwrap_or(now);
    format!("<wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires>", text(now), text(end))
}

/// A part of a message that can be signed, in canonical form.
struct Part {
    id: String,
    xml: String,
}

fn timestamp() -> Result<Part, Error> {
    let id = fresh_id()?;
    let times = lifetime(VALIDITY);
    let xml = format!("<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"{id}\">{times}</wsu:Timestamp>");
    Ok(Part { id, xml })
}

fn body(content: &str) -> Result<Part, Error> {
    let id = fresh_id()?;
    let xml = format!(
        "<soap:Body xmlns:soap=\"{NS_SOAP}\" xmlns:wsu=\"{WSU}\" wsu:Id=\"{id}\">{content}</soap:Body>"
    );
    Ok(Part { id, xml })
}

fn user_name(user: &str, password: &SecretString) -> Zeroizing<String> {
    // Large enough for a password of nothing but ampersands: a string that grows leaves a copy behind.
    let size = 256 + 6 * (user.len() + password.expose_secret().len());
    let mut xml = Zeroizing::new(String::with_capacity(size));
    xml.push_str("<wsse:UsernameToken><wsse:Username>");
    escape_text(user, &mut xml);
    xml.push_str("</wsse:Username><wsse:Password>");
    escape_text(password.expose_secret(), &mut xml);
    xml.push_str("</wsse:Password></wsse:UsernameToken>");
    xml
}

fn signature(identity: &SigningIdentity, id: &str, parts: [&Part; 2], key: &str) -> Result<String, Error> {
    let mut info = format!(
        "<ds:SignedInfo xmlns:ds=\"{DS}\"><ds:CanonicalizationMethod Algorithm=\"{EXC_C14N}\">\
         </ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{RSA_SHA256}\"></ds:SignatureMethod>"
    );
    for part in parts {
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, part.xml.as_bytes()));
        info.push_str(&format!(
            "<ds:Reference URI=\"#{}\"><ds:Transforms><ds:Transform Algorithm=\"{EXC_C14N}\"></ds:Transform>\
             </ds:Transforms><ds:DigestMethod Algorithm=\"{SHA256}\"></ds:DigestMethod>\
             <ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>",
            part.id
        ));
    }
    info.push_str("</ds:SignedInfo>");
    let value = identity.sign(info.as_bytes())?;
    Ok(format!(
        "<ds:Signature xmlns:ds=\"{DS}\" Id=\"{id}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue>\
         <ds:KeyInfo>{key}</ds:KeyInfo></ds:Signature>"
    ))
}

fn envelope(security: &[&str], body: &Part) -> Zeroizing<String> {
    let size = 1024 + body.xml.len() + security.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Zeroizing::new(String::with_capacity(size));
    let opening = [
        "<soap:Envelope xmlns:soap=\"",
        NS_SOAP,
        "\"><soap:Header><wsse:Security xmlns:wsse=\"",
        WSSE,
        "\" xmlns:wsu=\"",
        WSU,
        "\">",
    ];
    let closing = ["</wsse:Security></soap:Header>", &body.xml, "</soap:Envelope>"];
    for piece in opening.iter().chain(security).chain(&closing) {
        out.push_str(piece);
    }
    out
}

/// An id as XML wants it: it may not begin with a digit.
fn fresh_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Error::invalid_input("this system gives no random numbers"))?;
    Ok(format!("_{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests;
