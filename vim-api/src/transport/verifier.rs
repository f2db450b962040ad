//! The check of the server's certificate, with refusals that a person can act on.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::error::TransportError;
use super::thumbprint::{PeerThumbprints, Thumbprint};

/// Decides about the leaf certificate by one policy, and always checks the handshake's signature: without that, a copy of
/// the (public) certificate would be enough to pass for the server.
#[derive(Debug)]
pub(super) struct LeafVerifier {
    policy: Policy,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Policy {
    Chain(Arc<WebPkiServerVerifier>),
    /// One of these.
    Pinned(Vec<Thumbprint>),
    Any,
}

impl LeafVerifier {
    pub(super) fn pinned(pins: Vec<Thumbprint>, provider: &CryptoProvider) -> Self {
        LeafVerifier { policy: Policy::Pinned(pins), algorithms: provider.signature_verification_algorithms }
    }

    pub(super) fn any(provider: &CryptoProvider) -> Self {
        LeafVerifier { policy: Policy::Any, algorithms: provider.signature_verification_algorithms }
    }

    pub(super) fn chain(
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TransportError> {
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(
                |source| TransportError::input("the trusted authorities are unusable").with_source(source),
            )?;
        Ok(LeafVerifier {
            policy: Policy::Chain(inner),
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for LeafVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.policy {
            Policy::Any => Ok(ServerCertVerified::assertion()),
            Policy::Pinned(pins) if pins.iter().any(|pin| pin.matches(end_entity)) => {
                Ok(ServerCertVerified::assertion())
            }
            Policy::Pinned(pins) => Err(Refusal::new(end_entity, Cause::Pin(pins.clone())).into()),
            Policy::Chain(inner) => inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|source| Refusal::new(end_entity, Cause::Chain(source)).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
            .map_err(|source| Refusal::new(cert, Cause::Signature(source)).into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
            .map_err(|source| Refusal::new(cert, Cause::Signature(source)).into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a certificate was refused. It travels inside rustls' own error and is taken out again by [`Refusal::find`], so
/// that handshakes which run at the same time cannot mix up their reasons.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    presented: PeerThumbprints,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    Pin(Vec<Thumbprint>),
    Chain(rustls::Error),
    Signature(rustls::Error),
}

impl Refusal {
    fn new(leaf: &CertificateDer<'_>, cause: Cause) -> Self {
        Refusal { presented: PeerThumbprints::of(leaf), cause }
    }

    pub(super) fn find(error: &rustls::Error) -> Option<&Refusal> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }

    pub(super) fn presented(&self) -> PeerThumbprints {
        self.presented
    }

    /// The error of rustls behind the refusal, where there is one.
    pub(super) fn reason(&self) -> Option<rustls::Error> {
        match &self.cause {
            Cause::Pin(_) => None,
            Cause::Chain(source) | Cause::Signature(source) => Some(source.clone()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sha256 = self.presented.sha256;
        match &self.cause {
            Cause::Pin(pins) => {
                f.write_str("the server's certificate is not the pinned one: expected ")?;
                for (index, pin) in pins.iter().enumerate() {
                    let before = if index > 0 { " or " } else { "" };
                    write!(f, "{before}{} {pin}", pin.algorithm())?;
                }
                write!(
                    f,
                    ", presented {}. If the certificate was replaced on purpose, read the new thumbprint on the server itself \
                     and pin that; if not, someone may stand between you and the server",
                    pins.first().map_or(sha256, |pin| self.presented.like(pin))
                )
            }
            Cause::Signature(_) => write!(
                f,
                "the server could not prove that it holds the key of its certificate (SHA-256 {sha256}): the certificate \
                 may be a copy in foreign hands, or its key is too weak to be accepted (RSA below 2048 bits)"
            ),
            Cause::Chain(source) => write!(
                f,
                "{} (presented SHA-256 {sha256}). {}, or compare that thumbprint with the one shown on the server itself \
                 and pin it",
                chain_problem(source),
                chain_advice(source)
            ),
        }
    }
}

fn chain_problem(source: &rustls::Error) -> &'static str {
    use CertificateError as E;
    match source {
        rustls::Error::InvalidCertificate(E::UnknownIssuer) => {
            "the server's certificate was not issued by a trusted authority"
        }
        rustls::Error::InvalidCertificate(E::BadSignature) => {
            "the server's certificate was issued by an authority that only bears the name of a trusted one"
        }
        rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. }) => {
            "the server's certificate was issued for another name"
        }
        rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet"
        }
        _ => "the server's certificate is not acceptable",
    }
}

fn chain_advice(source: &rustls::Error) -> &'static str {
    use CertificateError as E;
    match source {
        rustls::Error::InvalidCertificate(E::UnknownIssuer) => {
            "Trust the authority that issued it (a vCenter offers its own at https://<vcenter>/certs/download.zip)"
        }
        // The authorities of all vCenters bear one name, so this is what the certificate file of another vCenter gives.
        rustls::Error::InvalidCertificate(E::BadSignature) => {
            "Trust the authority of this very vCenter (https://<vcenter>/certs/download.zip); another one's is not enough"
        }
        rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. }) => {
            "Connect by a name that the certificate carries"
        }
        rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => {
            "Renew it on the server, or set this machine's clock right"
        }
        rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
            "Set the clocks of the server and of this machine right"
        }
        _ => "Replace it on the server",
    }
}

impl StdError for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}
