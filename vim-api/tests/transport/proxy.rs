//! Tunnels through a proxy that works, refuses, asks for a password, or is none.

use super::*;
use secrecy::SecretString;
use tokio::net::TcpStream;

/// Reads the head of a CONNECT, byte by byte so as not to take anything of the tunnel.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn through(proxy: Proxy, target: &Server, limits: Limits) -> HttpTransport {
    let endpoint = target.address.to_string().parse().unwrap();
    let route = Route { proxy: Some(proxy), ..Route::default() };
    HttpTransport::new(endpoint, TlsSettings::new(Trust::DangerAcceptAny), route, limits).unwrap()
}

/// What becomes of a request when the proxy answers CONNECT like this.
async fn refused(answer: &'static str) -> (TransportError, String) {
    let target = Server::start(&Identity::self_signed("a.example"), hello).await;
    let proxy = Server::listen(move |_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let name = format!("proxy {}", proxy.address);
    let transport = through(Proxy::new(&proxy.address.to_string()).unwrap(), &target, Limits::default());
    let error = transport.send(get("/")).await.unwrap_err();
    assert_eq!(target.connections(), 0);
    assert!(error.is_connect());
    (error, name)
}

#[tokio::test]
async fn a_tunnel_carries_tls_to_the_server_and_keeps_credentials_to_the_proxy() {
    let target = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        while let Some(request) = peer.request().await {
            peer.ok(&request).await;
        }
    })
    .await;
    let address = target.address;
    let proxy = Server::listen(move |_, mut client| async move {
        let head = head(&mut client).await;
        assert!(head.starts_with(&format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n")), "{head}");
        // base64 of "me:open sesame"
        assert!(head.contains("\r\nProxy-Authorization: Basic bWU6b3BlbiBzZXNhbWU=\r\n"), "{head}");
        client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    })
    .await;
    let url = format!("http://{}", proxy.address);
    let password = SecretString::from("open sesame");
    let with = Proxy::new(&url).unwrap().with_credentials("me", &password).unwrap();
    let shown = format!("{with:?}");
    assert!(!shown.contains("sesame") && !shown.contains("bWU6"), "{shown}");
    let transport = through(with, &target, Limits::default());
    for _ in 0..3 {
        let response = transport.send(get("/sdk")).await.unwrap();
        let seen = String::from_utf8(response.body.to_vec()).unwrap();
        assert!(
            seen.starts_with("GET /sdk HTTP/1.1\r\n") && !seen.to_lowercase().contains("proxy-"),
            "{seen}"
        );
    }
    assert_eq!((proxy.connections(), target.connections()), (1, 1));
}

#[tokio::test]
async fn refusals_name_the_proxy_and_say_what_to_do() {
    for (answer, parts) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", ["403", "must allow CONNECT"]),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ["407", "give proxy credentials"]),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", ["not HTTP/1", "proxy"]),
        ("HTTP/1.1 200 OK\r\n\r\nhello", ["bytes of its own", "tunnel"]),
        ("HTTP/1.1 200 OK\r\n", ["closed", "before the proxy answered"]),
    ] {
        let (error, name) = refused(answer).await;
        assert_eq!(error.kind(), Kind::Proxy, "{error}");
        assert_says(&error, &parts);
        assert_says(&error, &[&name]);
    }
}

#[tokio::test]
async fn a_proxy_that_talks_or_waits_without_end_is_left() {
    let target = Server::start(&Identity::self_signed("a.example"), hello).await;
    let talker = Server::listen(|_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {}
    })
    .await;
    let proxy = Proxy::new(&talker.address.to_string()).unwrap();
    let error = through(proxy, &target, Limits::default()).send(get("/")).await.unwrap_err();
    assert_says(&error, &["larger than 16384 bytes"]);

    let mute = Server::listen(|_, mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let proxy = Proxy::new(&mute.address.to_string()).unwrap();
    let limits = Limits { connect_timeout: Duration::from_millis(150), ..Limits::default() };
    let error = through(proxy, &target, limits).send(get("/")).await.unwrap_err();
    assert!(error.is_timeout() && error.is_connect());
    assert_says(&error, &["the tunnel to", "was not opened", "150ms"]);
}

#[test]
fn addresses_of_proxies_are_checked() {
    for bad in ["https://proxy:3128", "http://me:secret@proxy:3128", "", "socks5://proxy"] {
        let error = Proxy::new(bad).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    assert!(Proxy::new("p").unwrap().with_credentials("a:b", &SecretString::from("x")).is_err());
}

#[tokio::test]
async fn a_vcenters_own_tunnel_is_asked_for_by_its_name() {
    let target = Server::start(&Identity::self_signed("vc.example"), hello).await;
    let address = target.address;
    let tunnel = Server::listen(move |_, mut client| async move {
        let head = head(&mut client).await;
        assert!(head.starts_with("CONNECT sdkTunnel:8089 HTTP/1.1\r\nHost: sdkTunnel:8089\r\n"), "{head}");
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    })
    .await;
    let proxy = Proxy::sdk_tunnel("127.0.0.1", tunnel.address.port()).unwrap();
    let transport = through(proxy, &target, Limits::default());
    assert_eq!(transport.send(get("/")).await.unwrap().status, 200);
    assert_eq!(Proxy::sdk_tunnel("not a host", 80).unwrap_err().kind(), Kind::Input);
    assert!(Proxy::sdk_tunnel("fd00::1", 80).is_ok());
}
