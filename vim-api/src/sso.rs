//! Tokens of vCenter's single sign-on.
//!
//! The STS, a service of each vCenter, gives a SAML token to who shows a password or signs with a known key; the token then
//! opens sessions. A bearer token is good for whoever has it, for the few minutes that it lives; one that is bound to a key
//! only together with it, and so for longer.
//!
//! No token is renewed: a new one takes the same proof.

#[cfg(feature = "rest")]
mod http_signature;
mod identity;
mod lookup;
mod message;
mod sts;

use std::fmt;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use crate::client::Client;
use crate::error::Error;
use crate::xml::{Limits, Reader, XmlError};

pub use identity::SigningIdentity;
pub use lookup::StsEndpoint;
use message::RSA_SHA256;
pub(crate) use sts::Sts;

const NS_TRUST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
const SAML2: &str = "urn:oasis:names:tc:SAML:2.0:assertion";

/// A SAML 2.0 token. It is kept as it was received, to the byte: its issuer's signature is over those.
#[derive(Clone)]
pub struct SamlToken {
    assertion: SecretString,
    id: String,
    expires: Option<SystemTime>,
    /// What the token is bound to.
    identity: Option<SigningIdentity>,
}

impl SamlToken {
    /// A bearer token that came from elsewhere: the `Assertion` element with all its namespace declarations, and nothing around
    /// it.
    ///
    /// # Errors
    /// Kind `InvalidInput` when it is not one element of that name.
    pub fn from_assertion(assertion: SecretString) -> Result<Self, Error> {
        Self::new(assertion, None).map_err(|e| {
            Error::invalid_input(format!(
                "a SAML token has to be one <Assertion> element, and this is not: {e}"
            ))
        })
    }

    /// The `Assertion` element.
    pub fn assertion(&self) -> &SecretString {
        &self.assertion
    }

    /// When it ends, by the server's clock, where the server said so.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// The same token, which is bound to this key: only for one that came from elsewhere.
    ///
    /// # Errors
    /// Kind `InvalidInput` when the assertion has no usable `ID`, by which a signed call names it.
    pub fn bound_to(mut self, identity: &SigningIdentity) -> Result<Self, Error> {
        // It goes into the text of a message unescaped.
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.id.is_empty() || !self.id.chars().all(usable) {
            return Err(Error::invalid_input("a SAML token without a proper ID can't be bound to a key"));
        }
        self.identity = Some(identity.clone());
        Ok(self)
    }

    fn new(assertion: SecretString, expires: Option<SystemTime>) -> Result<Self, XmlError> {
        let text = assertion.expose_secret();
        let mut reader = Reader::new(text.as_bytes(), Limits::default())?;
        if !text.starts_with("<") || text.starts_with("<?") {
            return Err(reader.unexpected("something before the element".into()));
        }
        let start = reader.expect_child("Assertion")?;
        let id = start.attribute("ID")?.unwrap_or_default().into_owned();
        reader.skip()?;
        reader.finish()?;
        Ok(Self { assertion, id, expires, identity: None })
    }

    /// The envelope of a call that shows the token, signed if the token is bound to a key. It is a secret.
    pub(crate) fn envelope(&self, namespace: &str, name: &str, content: &[&str]) -> Result<String, Error> {
        message::with_token(self, namespace, name, content)
    }
}

/// Who asks for a token that is bound to a key.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Holder<'a> {
    /// The solution user that the key's certificate is registered for.
    SolutionUser,
    /// Somebody with a password. The certificate may be any, such as one made for the occasion.
    User {
        /// The name, as `user@domain`.
        name: &'a str,
        /// The password.
        password: &'a SecretString,
    },
}

impl fmt::Debug for SamlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamlToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Client {
    /// Asks the vCenter's STS for a bearer token. `lifetime` is a wish; a server gives 5 minutes at most where nobody
    /// changed that.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when user (as `user@domain`) or password is wrong; kind `Token` when the STS refuses for
    /// another reason, such as clocks that differ by more than it allows; kind `NotVsphere` where there is no STS: a host
    /// alone has none.
    pub async fn issue_token(
        &self,
        user: &str,
        password: &SecretString,
        lifetime: Duration,
    ) -> Result<SamlToken, Error> {
        let sts = self.sts();
        let context = format!("asking {sts} for a token");
        let wish = wish("Bearer", &message::lifetime(lifetime), "");
        let envelope = message::with_password(user, password, &wish)?;
        self.ask_sts(&sts, &context, sts::domain_of(user), envelope).await
    }

    /// Asks the vCenter's STS for a token that is bound to the key of `identity`. `lifetime` is a wish; a server gives 30
    /// days at most where nobody changed that.
    ///
    /// # Errors
    /// As [`issue_token`](Self::issue_token); fault `InvalidLogin` also when the certificate is not a solution user's.
    pub async fn issue_key_token(
        &self,
        identity: &SigningIdentity,
        holder: Holder<'_>,
        lifetime: Duration,
    ) -> Result<SamlToken, Error> {
        let sts = self.sts();
        let context = format!("asking {sts} for a token that is bound to a key");
        let user = match holder {
            Holder::SolutionUser => None,
            Holder::User { name, password } => Some((name, password)),
        };
        let lifetime = message::lifetime(lifetime);
        let envelope = message::signed(identity, user, |signature| {
            wish("PublicKey", &lifetime, &format!("<UseKey Sig=\"{signature}\"></UseKey>"))
        })?;
        let domain = user.and_then(|(name, _)| sts::domain_of(name));
        self.ask_sts(&sts, &context, domain, envelope).await?.bound_to(identity)
    }
}

/// A request for a token; the STS wants this order. The token is delegatable, without which it opens no session of the REST
/// services.
fn wish(key: &str, lifetime: &str, key_to_use: &str) -> String {
    format!(
        "<RequestSecurityToken xmlns=\"{NS_TRUST}\"><TokenType>{SAML2}</TokenType>\
         <RequestType>{NS_TRUST}/Issue</RequestType><Lifetime>{lifetime}</Lifetime>\
         <Renewing Allow=\"false\" OK=\"false\"></Renewing>\
         <Delegatable>true</Delegatable><KeyType>{NS_TRUST}/{key}</KeyType>\
         <SignatureAlgorithm>{RSA_SHA256}</SignatureAlgorithm>{key_to_use}</RequestSecurityToken>"
    )
}
