//! Tokens in HTTP's `Authorization`: the scheme `SIGN` of vCenter's REST services.

use std::io::Write as _;
use std::time::SystemTime;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Method};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{SamlToken, SigningIdentity};
use crate::error::Error;

impl SamlToken {
    /// The header's value for one request, signed if the token is bound to a key. `path` is without the query, `authority`
    /// what `Host` says.
    pub(crate) fn authorization(
        &self,
        method: &Method,
        path: &str,
        authority: &str,
        body: &[u8],
    ) -> Result<HeaderValue, Error> {
        let unusable = || Error::token("the token does not fit into an HTTP header");
        let assertion = self.assertion.expose_secret().as_bytes();
        // As large as it can become: a buffer that grows leaves a copy behind.
        let mut packed = Zeroizing::new(Vec::with_capacity(assertion.len() + 1024));
        let mut encoder = GzEncoder::new(&mut *packed, Compression::default());
        encoder.write_all(assertion).map_err(|_| unusable())?;
        encoder.finish().map_err(|_| unusable())?;
        let token = Zeroizing::new(STANDARD.encode(&*packed));
        let text = match &self.identity {
            None => format!("SIGN token=\"{}\"", *token),
            Some(identity) => signed(identity, &token, method, path, authority, body)?,
        };
        let mut value = HeaderValue::try_from(&*Zeroizing::new(text)).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn signed(
    identity: &SigningIdentity,
    token: &str,
    method: &Method,
    path: &str,
    authority: &str,
    body: &[u8],
) -> Result<String, Error> {
    let nonce = nonce()?;
    let body = digest::digest(&digest::SHA256, body);
    let signature = identity.sign(&message(&nonce, method, path, authority, body.as_ref()))?;
    let body = STANDARD.encode(body);
    Ok(format!(
        "SIGN token=\"{token}\", signature_alg=\"RSA-SHA256\", signature=\"{signature}\", nonce=\"{nonce}\", \
         bodyhash=\"{body}\""
    ))
}

/// What is signed of a request.
fn message(nonce: &str, method: &Method, path: &str, authority: &str, body_hash: &[u8]) -> Vec<u8> {
    // Where `Host` has no port the server takes 80, under TLS too.
    let named = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let (host, port) =
        authority.rsplit_once(':').filter(|(_, port)| named(port)).unwrap_or((authority, "80"));
    let host = host.to_ascii_lowercase();
    let mut message = format!("{nonce}\n{method}\n{path}\n{host}\n{port}\n").into_bytes();
    message.extend_from_slice(body_hash);
    message.push(b'\n');
    message
}

/// Milliseconds since 1970, and a random number that is not negative.
fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Error::invalid_input("this system gives no random numbers"))?;
    let random = u64::from_be_bytes(bytes) >> 1;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{}:{random}", now.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_signed_as_the_server_sees_them() {
        let signed = |authority| {
            let message = message("1:2", &Method::POST, "/api/session", authority, b"\xffhash");
            message.strip_prefix(b"1:2\nPOST\n/api/session\n").unwrap().to_vec()
        };
        assert_eq!(signed("VC.example.org"), b"vc.example.org\n80\n\xffhash\n");
        assert_eq!(signed("vc.example.org:8443"), b"vc.example.org\n8443\n\xffhash\n");
        assert_eq!(signed("[2001:DB8::1]"), b"[2001:db8::1]\n80\n\xffhash\n");
        assert_eq!(signed("[2001:db8::1]:444"), b"[2001:db8::1]\n444\n\xffhash\n");
    }

    #[test]
    fn a_bearer_token_is_shown_packed_and_hidden_from_debug() {
        let text = "<saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_a\"/>";
        let token = SamlToken::from_assertion(text.into()).unwrap();
        let value = token.authorization(&Method::POST, "/api/session", "a", b"").unwrap();
        assert!(value.is_sensitive());
        let packed =
            value.to_str().unwrap().strip_prefix("SIGN token=\"").unwrap().strip_suffix('"').unwrap();
        let packed = STANDARD.decode(packed).unwrap();
        let mut unpacked = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).unwrap();
        assert_eq!(unpacked, text);
    }
}
