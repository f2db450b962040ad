//! Whom to trust, and the TLS configuration that follows from it.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};

use super::error::TransportError;
use super::thumbprint::Thumbprint;
use super::verifier::LeafVerifier;

/// How the server's certificate is trusted. Nothing is trusted silently.
///
/// Whatever is chosen, the server must prove in the handshake that it holds the private key of the certificate it shows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The authorities that the operating system trusts. Name and dates are checked.
    SystemRoots,
    /// These authorities and no others, such as a vCenter's own VMCA; see [`parse_certificates_pem`]. Name and dates are
    /// checked.
    Ca(Vec<CertificateDer<'static>>),
    /// Exactly this certificate. Name, dates and issuer do not matter: the certificate itself is known.
    Thumbprint(Thumbprint),
    /// Exactly one of these certificates, as above: for a server of which another one has told.
    OneOf(Vec<Thumbprint>),
    /// Any certificate at all. Whoever answers gets the password.
    DangerAcceptAny,
}

/// All that is asked of TLS. Protocol versions (1.2 and 1.3) and ciphers are rustls' safe defaults.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    trust: Trust,
    client: Option<ClientCertificate>,
}

impl TlsSettings {
    /// Settings with this trust. The client shows no certificate of its own.
    pub fn new(trust: Trust) -> Self {
        TlsSettings { trust, client: None }
    }

    /// Whether what the server says comes from whom it is believed to come from.
    pub(super) fn is_verified(&self) -> bool {
        !matches!(self.trust, Trust::DangerAcceptAny)
    }

    /// The client shows this certificate to a server that asks for one.
    pub fn with_client(mut self, certificate: Option<ClientCertificate>) -> Self {
        self.client = certificate;
        self
    }
}

/// A certificate by which the client is known, with its private key.
#[derive(Clone)]
pub struct ClientCertificate(Arc<SingleCertAndKey>);

impl ClientCertificate {
    /// From PEM: the certificate with those of its issuers behind it, and the private key (PKCS#8, PKCS#1 or SEC1, not
    /// encrypted).
    ///
    /// # Errors
    /// Kind `Input`: broken PEM, a key of an unknown kind, or one that does not belong to the certificate.
    pub fn from_pem(certificates: &[u8], key: &SecretString) -> Result<Self, TransportError> {
        let chain = parse_certificates_pem(certificates)?;
        // What was wrong with it is not told: an error text that quotes a key would be the end of it.
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|_| {
            TransportError::input(
                "the private key cannot be read: it has to be PEM and unencrypted, as in -----BEGIN PRIVATE KEY-----",
            )
        })?;
        let certified =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
                TransportError::input(
                    "the private key does not belong to the certificate, or is of an unknown kind",
                )
                .with_source(source)
            })?;
        Ok(ClientCertificate(Arc::new(SingleCertAndKey::from(certified))))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Reads every certificate of a PEM text; other sections, such as keys, are passed over.
///
/// # Errors
/// Broken PEM, or no certificate in it.
pub fn parse_certificates_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TransportError::input("the PEM text is damaged").with_source(source))?;
    if certificates.is_empty() {
        return Err(TransportError::input(
            "the PEM text holds no certificate: look for -----BEGIN CERTIFICATE----- in it (a DER file has to be converted)",
        ));
    }
    Ok(certificates)
}

/// The TLS configuration for these settings. The crypto provider is named here and never taken from the process.
pub(super) fn client_config(settings: &TlsSettings) -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(&settings.trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| {
            TransportError::input("the crypto provider offers neither TLS 1.2 nor 1.3").with_source(source)
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        Some(ClientCertificate(certified)) => builder.with_client_cert_resolver(Arc::clone(certified) as _),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<LeafVerifier, TransportError> {
    match trust {
        Trust::Thumbprint(pin) => Ok(LeafVerifier::pinned(vec![*pin], provider)),
        Trust::OneOf(pins) => Ok(LeafVerifier::pinned(pins.clone(), provider)),
        Trust::DangerAcceptAny => Ok(LeafVerifier::any(provider)),
        Trust::Ca(authorities) => LeafVerifier::chain(private_roots(authorities)?, provider),
        Trust::SystemRoots => LeafVerifier::chain(system_roots()?, provider),
    }
}

fn private_roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TransportError> {
    if authorities.is_empty() {
        return Err(TransportError::input(
            "Trust::Ca without a certificate would trust nobody: add the authority's",
        ));
    }
    let mut roots = RootCertStore::empty();
    for (index, authority) in authorities.iter().enumerate() {
        roots.add(authority.clone()).map_err(|source| {
            TransportError::input(format!("certificate {} of Trust::Ca cannot be read", index + 1))
                .with_source(source)
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TransportError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate of this system could not be loaded");
    }
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if unusable > 0 {
        tracing::warn!(unusable, "trusted certificates of this system could not be read");
    }
    if usable > 0 {
        return Ok(roots);
    }
    let error = TransportError::input(
        "this system has no trusted certificates: install them (package ca-certificates), or trust a private authority or \
         a thumbprint",
    );
    Err(match found.errors.into_iter().next() {
        Some(source) => error.with_source(source),
        None => error,
    })
}
