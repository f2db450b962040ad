//! Certificates made on the spot, and a TLS server that sends whatever bytes a test wants.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate with a private key, which need not belong together.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Identity { certificate: certificate.der().clone(), key: der(&key) }
    }

    /// What a thief of the certificate has: the certificate, and a key of his own.
    pub(crate) fn with_another_key(&self) -> Self {
        Identity { certificate: self.certificate.clone(), key: der(&KeyPair::generate().unwrap()) }
    }
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(crate) fn issue_expired(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.der().clone(), key: der(&key) }
    }
}

fn der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Calls `handler` with the number of the connection, from 0, after each successful handshake.
    pub(crate) async fn start<F, R>(identity: &Identity, handler: F) -> Self
    where
        F: Fn(usize, Peer) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(identity, Version::Tls13, handler).await
    }

    pub(crate) async fn start_with<F, R>(identity: &Identity, version: Version, handler: F) -> Self
    where
        F: Fn(usize, Peer) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let provider = aws_lc_rs::default_provider();
        // `CertifiedKey::new`, unlike `with_single_cert`, does not insist that certificate and key belong together.
        let key = provider.key_provider.load_private_key(identity.key.clone_key()).unwrap();
        let certified = CertifiedKey::new(vec![identity.certificate.clone()], key);
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[if version == Version::Tls12 { &TLS12 } else { &TLS13 }])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::listen(move |number, stream| {
            let (acceptor, handler) = (acceptor.clone(), handler.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    handler(number, Peer { stream }).await;
                }
            }
        })
        .await
    }

    /// Without TLS: `handler` gets the bare TCP stream.
    pub(crate) async fn listen<F, R>(handler: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = accepted.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(handler(counter.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Server { address, accepted, task }
    }

    /// TCP connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The server's side of one connection.
pub(crate) struct Peer {
    pub(crate) stream: TlsStream<TcpStream>,
}

impl Peer {
    /// The next request as text, head and body; `None` once the client is gone.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().parse::<usize>().unwrap());
                if bytes.len() >= end + 4 + length {
                    return Some(String::from_utf8(bytes).unwrap());
                }
            }
            match self.stream.read_buf(&mut bytes).await {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
    }

    /// Reads until the client ends the connection, however it does that, and counts the bytes.
    pub(crate) async fn drain(mut self) -> usize {
        let mut total = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer).await {
            total += count;
        }
        total
    }

    /// Sends bytes at once. Errors are the client's business here.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    pub(crate) async fn ok(&mut self, body: &str) -> bool {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
    }

    /// Ends the stream as a server should, with a TLS goodbye.
    pub(crate) async fn close(mut self) {
        let _gone_already = self.stream.shutdown().await;
    }

    /// Ends the stream by closing the socket, without a TLS goodbye.
    pub(crate) fn hang_up(self) {
        drop(self.stream);
    }

    /// Ends the stream with a TCP reset.
    pub(crate) fn reset(self) {
        self.stream.get_ref().0.set_zero_linger().unwrap();
        drop(self.stream);
    }
}
