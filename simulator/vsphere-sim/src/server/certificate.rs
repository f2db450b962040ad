//! A certificate for one run: a leaf of its own small CA, as a vCenter has.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{Error, ErrorKind, Result};

/// The server's identity.
pub(crate) struct Identity {
    /// What to accept connections with.
    pub(crate) acceptor: TlsAcceptor,
    /// The leaf in base64, of several lines.
    pub(crate) base64: String,
    /// SHA-1 thumbprint of the leaf, `AA:BB:..`.
    pub(crate) sha1: String,
    /// SHA-256 thumbprint of the leaf, `AA:BB:..`.
    pub(crate) sha256: String,
    /// The CA's certificate as PEM.
    pub(crate) ca_pem: String,
}

/// Makes keys and certificates for 127.0.0.1, ::1 and localhost.
pub(crate) fn generate() -> Result<Identity> {
    make().map_err(|error| Error::caused(ErrorKind::Network, "making the server's certificate", error))
}

fn make() -> std::result::Result<Identity, Box<dyn std::error::Error + Send + Sync>> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "vsphere-sim CA");
    let ca_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
    leaf.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    leaf.subject_alt_names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.distinguished_name.push(DnType::CommonName, "vsphere-sim");
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = leaf.signed_by(&key, &issuer)?;

    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone(), ca_certificate.der().clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        base64: certificate
            .pem()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect::<Vec<_>>()
            .join("\n"),
        sha1: thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der()),
        sha256: thumbprint(&digest::SHA256, certificate.der()),
        ca_pem: ca_certificate.pem(),
    })
}

fn thumbprint(algorithm: &'static digest::Algorithm, der: &[u8]) -> String {
    let digest = digest::digest(algorithm, der);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
