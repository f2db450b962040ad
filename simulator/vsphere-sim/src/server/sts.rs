//! The STS: tokens for passwords and signatures, as WS-Trust writes them.

use std::sync::Arc;

use vim_api::soap::Message;
use vim_api::xml::{Limits, NS_SOAP, Reader, XmlError};

use crate::random;
use crate::session::{TOKEN_LIMIT, Token};
use crate::signed::Signed;
use crate::wire;
use crate::world::Shared;

const NS_TRUST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
const NS_WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";

/// Answers a request for a token. `false`: the answer is a fault.
pub(super) fn answer(shared: &Arc<Shared>, body: &[u8]) -> (bool, String) {
    match issue(shared, body) {
        Ok(answer) => (true, envelope(&answer)),
        Err((code, text)) => {
            let fault = format!(
                "<S:Fault xmlns:ns0=\"{NS_TRUST}\"><faultcode>ns0:{code}</faultcode><faultstring>{text}</faultstring></S:Fault>"
            );
            (false, envelope(&fault))
        }
    }
}

fn issue(shared: &Arc<Shared>, body: &[u8]) -> Result<String, (&'static str, &'static str)> {
    let malformed = |_: XmlError| ("InvalidRequest", "The request cannot be read.");
    let message = Message::new(bytes::Bytes::copy_from_slice(body), Limits::default());
    let Wish { key_type, signature, delegatable } =
        message.read(|_, reader| wish(reader)).map_err(malformed)?;
    let bound_to = match key_type.strip_prefix(NS_TRUST) {
        Some("/Bearer") => None,
        Some("/PublicKey") => {
            let signed = Signed::read(body).map_err(malformed)?;
            let certificate = signed.certificate.clone().unwrap_or_default();
            if signature != signed.id || !signed.is_by(&certificate) {
                return Err(("FailedCheck", "The signature does not hold."));
            }
            Some(certificate)
        }
        _ => return Err(("BadRequest", "The type of key is unknown.")),
    };
    if wire::in_security(body, "Timestamp").map_err(malformed)?.is_none() {
        return Err(("InvalidSecurityToken", "The request has no timestamp."));
    }
    let shown = wire::in_security(body, "UsernameToken").map_err(malformed)?.unwrap_or_default();
    let read = |name| {
        if shown.is_empty() {
            return Ok(None);
        }
        // The prefix is declared outside of the piece.
        let piece = shown.replace("wsse:", "");
        let mut reader = Reader::new(piece.as_bytes(), Limits::default())?;
        reader.expect_child("UsernameToken")?;
        child_text(&mut reader, name)
    };
    let user = read("Username").map_err(malformed)?.unwrap_or_default();
    let password = read("Password").map_err(malformed)?.unwrap_or_default();
    shared.update(|world| {
        let solution = bound_to.as_ref().and_then(|certificate| world.sessions.solution_users.get(certificate));
        let known = world.stored.users.iter().find(|record| record.name == user);
        let user = match solution {
            Some(solution) if shown.is_empty() => solution.clone(),
            _ if known.is_some_and(|record| record.password.verify(&password)) => user,
            _ => return Err(("FailedAuthentication", "Invalid credentials")),
        };
        let now = world.clock.now();
        let (from, to) = (now.date_time(), now.after(TOKEN_LIMIT).date_time());
        // Blanks where a writer of XML puts none: who does not keep the bytes is found out.
        let assertion = format!(
            "<saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\"  ID=\"_{}\" IssueInstant=\"{from}\" \
             Version='2.0'><saml2:Subject ><saml2:NameID Format=\"http://schemas.xmlsoap.org/claims/UPN\">{}</saml2:NameID>\
             </saml2:Subject>\n <saml2:Conditions NotBefore=\"{from}\" NotOnOrAfter=\"{to}\"/></saml2:Assertion>",
            random::uuid(),
            user.replace('&', "&amp;").replace('<', "&lt;")
        );
        let answer = format!(
            "<wst:RequestSecurityTokenResponseCollection xmlns:wst=\"{NS_TRUST}\"><wst:RequestSecurityTokenResponse>\
             <wst:RequestedSecurityToken> {assertion} </wst:RequestedSecurityToken>\
             <wst:Lifetime xmlns:wsu=\"{NS_WSU}\"><wsu:Created>{from}</wsu:Created><wsu:Expires>{to}</wsu:Expires></wst:Lifetime>\
             </wst:RequestSecurityTokenResponse></wst:RequestSecurityTokenResponseCollection>"
        );
        world.sessions.tokens.insert(assertion, Token { user, given: now, delegatable, bound_to });
        Ok(answer)
    })
}

#[derive(Default)]
struct Wish {
    key_type: String,
    /// The id of the signature whose key is meant.
    signature: String,
    delegatable: bool,
}

fn wish(reader: &mut Reader<'_>) -> Result<Wish, XmlError> {
    let mut wish = Wish::default();
    while let Some(child) = reader.next_child()? {
        match child.local() {
            "KeyType" => wish.key_type = reader.text()?.into_owned(),
            "Delegatable" => wish.delegatable = reader.text()? == "true",
            "UseKey" => {
                wish.signature = child.attribute("Sig")?.unwrap_or_default().into_owned();
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(wish)
}

fn child_text(reader: &mut Reader<'_>, name: &str) -> Result<Option<String>, XmlError> {
    let mut found = None;
    while let Some(child) = reader.next_child()? {
        if child.local() == name {
            found = Some(reader.text()?.into_owned());
        } else {
            reader.skip()?;
        }
    }
    Ok(found)
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><S:Envelope xmlns:S=\"{NS_SOAP}\"><S:Body>{body}</S:Body></S:Envelope>"
    )
}
