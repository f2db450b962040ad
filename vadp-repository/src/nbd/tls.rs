//! The certificate of a server, and whose certificates it accepts.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// TLS 1.2 or 1.3 for a server. Clients that do not ask for it are turned away before they learn the name of an export.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
}

impl Tls {
    /// With a chain of certificates, the server's own first, and its key, all in PEM. With `client_authorities`, certificates in PEM too,
    /// clients need a certificate that one of them has signed.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when something cannot be read, or key and certificate do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8], client_authorities: Option<&[u8]>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = read_certificates(certificates, "the server's certificates")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| {
            // The source says where, not what.
            Error::invalid("the server's key is no private key in PEM").with_source(source)
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in read_certificates(authorities, "the authorities of clients")? {
                    roots.add(authority).map_err(refused)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|source| {
                    Error::invalid("the authorities of clients cannot be used").with_source(source)
                })?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(refused)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The same from files.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem); also when a file cannot be read.
    pub fn from_files(certificates: &Path, key: &Path, client_authorities: Option<&Path>) -> Result<Self> {
        let key = Zeroizing::new(read(key)?);
        let authorities = client_authorities.map(read).transpose()?;
        Self::from_pem(&read(certificates)?, &key, authorities.as_deref())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn read_certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::invalid(format!("{what} are none in PEM"))),
        Err(source) => Err(Error::invalid(format!("{what} are not in PEM")).with_source(source)),
    }
}

fn refused(source: rustls::Error) -> Error {
    Error::invalid("TLS cannot work with this certificate and key").with_source(source)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source: io::Error| {
        Error::new(ErrorKind::InvalidInput, format!("cannot read {}", path.display())).with_source(source)
    })
}
