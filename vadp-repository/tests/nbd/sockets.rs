//! Listening, TLS, and the end of a server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vadp_repository::ErrorKind;
use vadp_repository::nbd::{Export, NbdServer, Tls};

use crate::client::*;
use crate::support::*;

const NAME: &str = "web-01/2000";

#[tokio::test]
async fn a_unix_socket_is_private_and_goes_with_its_server() {
    use std::os::unix::fs::PermissionsExt;
    let (_, disk) = repository().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nbd.sock");
    // What a dead server has left is replaced; a living one is not, nor is a file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server = read_only(disk.clone());
    server.bind_unix(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let second = read_only(disk.clone()).bind_unix(&path).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AlreadyExists);
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    assert_eq!(read_only(disk).bind_unix(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");

    let uri = format!("nbd+unix:///web-01/2000?socket={}", path.display());
    assert_eq!(server.uris(), [uri]);
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { _ = ended.await }));
    let mut client = Client::connect(UnixStream::connect(&path).await.unwrap(), "").await;
    let cookie = client.send(READ, 0, CHUNK as u64, 100, b"").await;
    let mut asked = [(cookie, (CHUNK as u64, vec![0; 100]))].into();
    assert!(client.reply(&mut asked).await.1.unwrap() == image()[CHUNK..CHUNK + 100]);
    let mut waiting = Client::greet(UnixStream::connect(&path).await.unwrap(), 3).await;
    end.send(()).unwrap();
    serving.await.unwrap();
    assert!(client.is_closed().await && waiting.is_closed().await);
    assert!(!path.exists());
}

#[tokio::test]
async fn connections_are_bounded() {
    let (_, disk) = repository().await;
    let mut server =
        NbdServer::builder().export(NAME, Export::read_only(disk)).max_connections(2).build().unwrap();
    let address = server.bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(server.uris(), [format!("nbd://{address}/web-01/2000")]);
    tokio::spawn(server.serve(std::future::pending()));
    let first = Client::connect(TcpStream::connect(address).await.unwrap(), NAME).await;
    let mut second = Client::connect(TcpStream::connect(address).await.unwrap(), NAME).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    assert!(!matches!(tokio::io::AsyncReadExt::read(&mut third, &mut [0; 1]).await, Ok(1..)), "turned away");
    assert!(second.read(0, 10).await.is_ok());
    drop(first);
    // Its place is free as soon as the server has seen it go.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if let Ok(1) = stream.peek(&mut [0; 1]).await {
            assert!(Client::connect(stream, NAME).await.read(0, 10).await.is_ok());
            return;
        }
        _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place stays taken");
}

#[tokio::test]
async fn nothing_is_served_to_others_in_the_clear() {
    let (_, disk) = repository().await;
    let refused = read_only(disk.clone()).bind_tcp("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let server = NbdServer::builder().export(NAME, Export::read_only(disk.clone())).danger_plain_tcp();
    server.build().unwrap().bind_tcp("0.0.0.0:0".parse().unwrap()).unwrap();
    let same = NbdServer::builder().export(NAME, Export::read_only(disk.clone()));
    assert!(same.export(NAME, Export::read_only(disk)).build().is_err());
    assert!(NbdServer::builder().build().is_err());
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem();
        Self { certificate: certificate.into(), pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Asks for TLS, and goes on with the client that talks through it.
async fn secure(
    server: &Arc<NbdServer>,
    authority: &Authority,
    own: Option<&(rcgen::Certificate, KeyPair)>,
) -> std::io::Result<Client<TlsStream<tokio::io::DuplexStream>>> {
    let mut client = Client::greet(connection(server), 3).await;
    assert_eq!(client.option(5, b"").await, [(1, vec![])]);
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), client.stream).await?;
    // After the handshake of TLS there is no second greeting.
    Ok(Client { stream, structured: false, extents: Vec::new(), kinds: Vec::new(), cookie: 7 })
}

#[tokio::test]
async fn with_tls_nothing_is_said_without_it() {
    let (_, disk) = repository().await;
    let authority = Authority::new();
    let (certificate, key) = authority.sign("localhost");
    let tls = |clients| Tls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), clients);
    let server = NbdServer::builder().export(NAME, Export::read_only(disk.clone())).tls(tls(None).unwrap());
    let server = Arc::new(server.build().unwrap());
    let mut client = Client::greet(connection(&server), 3).await;
    for option in [3, 6, 7, 8, 9, 10, 4711] {
        assert_eq!(client.option(option, &export(NAME, &[])).await[0].0, 0x8000_0005, "option {option}");
    }
    client.send_option(1, NAME.as_bytes()).await;
    assert!(client.is_closed().await);

    let mut client = secure(&server, &authority, None).await.unwrap();
    assert_eq!(client.option(5, b"").await[0].0, 0x8000_0003, "once is enough");
    client.structure().await;
    client.go(NAME).await.unwrap();
    assert!(client.read(0, CAPACITY as u32).await.unwrap() == image());

    // A client's certificate, from the right authority.
    let clients = Authority::new();
    let server = NbdServer::builder().export(NAME, Export::read_only(disk));
    let server = Arc::new(server.tls(tls(Some(clients.pem.as_bytes())).unwrap()).build().unwrap());
    let good = clients.sign("backup-admin");
    let mut client = secure(&server, &authority, Some(&good)).await.unwrap();
    assert!(client.go(NAME).await.is_ok());
    for bad in [None, Some(authority.sign("somebody"))] {
        // In TLS 1.3 a client hears of it only when it reads.
        if let Ok(mut client) = secure(&server, &authority, bad.as_ref()).await {
            client.send_option(7, &export(NAME, &[])).await;
            assert!(client.is_closed().await);
        }
    }
}

#[test]
fn certificates_that_are_none_are_refused() {
    let (certificate, key) = Authority::new().sign("localhost");
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let other = KeyPair::generate().unwrap().serialize_pem();
    for (certificate, key, clients) in [
        ("", key.as_str(), None),
        (certificate.as_str(), "", None),
        (certificate.as_str(), other.as_str(), None),
        (certificate.as_str(), key.as_str(), Some(&b"no PEM"[..])),
    ] {
        let refused = Tls::from_pem(certificate.as_bytes(), key.as_bytes(), clients).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{refused:?}").contains("PRIVATE"));
    }
    assert!(Tls::from_files(Path::new("/nothing"), Path::new("/nothing"), None).is_err());
}
