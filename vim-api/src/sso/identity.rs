use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;
use crate::transport::parse_certificates_pem;

/// An RSA key and its certificate: what a holder-of-key token is bound to, and a solution user is known by.
///
/// Clones share one key, which is wiped with the last of them.
#[derive(Clone)]
pub struct SigningIdentity(Arc<Inner>);

struct Inner {
    key: RsaKeyPair,
    certificate: String,
}

impl SigningIdentity {
    /// Reads a PEM certificate (the first, if there are several) and its PEM key, RSA of 2048 to 8192 bits, PKCS#8 or
    /// PKCS#1, not encrypted.
    ///
    /// For a person's token the certificate may be self-signed and made for the occasion; for a solution user's it has to be
    /// the registered one.
    ///
    /// # Errors
    /// `InvalidInput` when either cannot be read, the key is none of RSA, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &SecretString) -> Result<Self, Error> {
        let unusable = |what: &str| Error::invalid_input(format!("the identity to sign with: {what}"));
        let chain = parse_certificates_pem(certificates).map_err(|e| unusable(&e.to_string()))?;
        let leaf = chain.into_iter().next().ok_or_else(|| unusable("there is no certificate"))?;
        // What was wrong with a key is not told: an error text that quotes it would be the end of it.
        let key = match PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        };
        let key = key.ok_or_else(|| {
            unusable("the private key has to be RSA of at least 2048 bits, PEM, and unencrypted")
        })?;
        let parsed =
            ParsedCertificate::try_from(&leaf).map_err(|_| unusable("the certificate cannot be read"))?;
        // A certificate's key info ends with the key itself.
        if !parsed.subject_public_key_info().ends_with(key.public_key().as_ref()) {
            return Err(unusable("the private key does not belong to the certificate"));
        }
        Ok(Self(Arc::new(Inner { key, certificate: STANDARD.encode(&leaf) })))
    }

    /// The certificate as one line of Base64.
    pub(super) fn certificate(&self) -> &str {
        &self.0.certificate
    }

    /// The signature (RSASSA-PKCS1-v1_5, SHA-256) in Base64.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let mut signature = vec![0; self.0.key.public_modulus_len()];
        self.0
            .key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| Error::invalid_input("the key of the signing identity does not sign"))?;
        Ok(STANDARD.encode(signature))
    }
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningIdentity").finish_non_exhaustive()
    }
}
