//! The HTTP/TLS transport against servers that behave, and against servers that do not.
//!
//! The transport is not part of the crate's public interface, so its source is taken in as a module of this test.

#![forbid(unsafe_code)]
// clippy.toml exempts test functions only, and this file's helpers are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../src"]
mod client {
    #[allow(dead_code, unreachable_pub)]
    pub(crate) mod transport;
}
#[path = "transport/server.rs"]
mod server;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::transport::{
    Endpoint, HttpTransport, Limits, Request, Response, Thumbprint, TlsSettings, TransportError,
    TransportErrorKind as Kind, Trust, parse_certificates_pem,
};
use http::Method;
use server::{Authority, Identity, Peer, Server, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

fn transport(server: &Server, trust: Trust, limits: Limits) -> HttpTransport {
    let endpoint = server.address.to_string().parse().unwrap();
    HttpTransport::new(endpoint, TlsSettings::new(trust), limits).unwrap()
}

/// A transport with the given limits that trusts whatever answers.
fn accepting(server: &Server, limits: Limits) -> HttpTransport {
    transport(server, Trust::DangerAcceptAny, limits)
}

fn get(path: &str) -> Request {
    Request::new(Method::GET, path)
}

async fn hello(_: usize, mut peer: Peer) {
    while peer.request().await.is_some() {
        peer.ok("hello").await;
    }
}

/// One request under `trust` against a server with this identity.
async fn try_trust(identity: &Identity, trust: Trust) -> Result<Response, TransportError> {
    let server = Server::start(identity, hello).await;
    transport(&server, trust, Limits::default()).send(get("/sdk")).await
}

/// One request, answered with exactly these bytes before the server closes in order.
async fn answer(bytes: impl AsRef<[u8]> + Clone + Send + Sync + 'static) -> Result<Response, TransportError> {
    answer_within(bytes, Limits::default()).await
}

async fn answer_within(
    bytes: impl AsRef<[u8]> + Clone + Send + Sync + 'static,
    limits: Limits,
) -> Result<Response, TransportError> {
    let server = Server::start(&Identity::self_signed("127.0.0.1"), move |_, mut peer: Peer| {
        let bytes = bytes.clone();
        async move {
            peer.request().await;
            peer.write(bytes).await;
            peer.close().await;
        }
    })
    .await;
    accepting(&server, limits).send(get("/")).await
}

fn assert_says(error: &TransportError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

mod trust {
    use super::*;

    #[tokio::test]
    async fn the_right_pin_is_accepted_in_both_algorithms() {
        let identity = Identity::self_signed("anything.example");
        for pin in [Thumbprint::sha1(&identity.certificate), Thumbprint::sha256(&identity.certificate)] {
            let response = try_trust(&identity, Trust::Thumbprint(pin)).await.unwrap();
            assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
        }
    }

    #[tokio::test]
    async fn a_wrong_pin_shows_both_thumbprints() {
        let (identity, other) = (Identity::self_signed("a.example"), Identity::self_signed("a.example"));
        for hash in [Thumbprint::sha1, Thumbprint::sha256] {
            let (expected, presented) = (hash(&other.certificate), hash(&identity.certificate));
            let error = try_trust(&identity, Trust::Thumbprint(expected)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Certificate);
            assert!(error.is_connect());
            assert_says(
                &error,
                &[&expected.to_string(), &presented.to_string(), expected.algorithm(), "pin that"],
            );
            assert_eq!(error.presented().unwrap().sha256, Thumbprint::sha256(&identity.certificate));
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_server_with_the_wrong_certificate() {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
            let counter = counter.clone();
            async move {
                while peer.request().await.is_some() {
                    counter.fetch_add(1, Ordering::SeqCst);
                    peer.ok("").await;
                }
            }
        })
        .await;
        let pin = Thumbprint::sha256(b"another certificate");
        transport(&server, Trust::Thumbprint(pin), Limits::default()).send(get("/")).await.unwrap_err();
        // A second request on a transport that accepts the server proves that the counter counts.
        accepting(&server, Limits::default()).send(get("/")).await.unwrap();
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_copied_certificate_without_its_key_is_refused_under_every_trust() {
        let authority = Authority::named("CA");
        let stolen = authority.issue("127.0.0.1").with_another_key();
        for version in [Version::Tls12, Version::Tls13] {
            for trust in [
                Trust::Thumbprint(Thumbprint::sha256(&stolen.certificate)),
                Trust::Thumbprint(Thumbprint::sha1(&stolen.certificate)),
                Trust::Ca(parse_certificates_pem(authority.pem().as_bytes()).unwrap()),
                Trust::DangerAcceptAny,
            ] {
                let server = Server::start_with(&stolen, version, hello).await;
                let error = transport(&server, trust, Limits::default()).send(get("/")).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Certificate, "{error}");
                assert_says(
                    &error,
                    &["could not prove", &Thumbprint::sha256(&stolen.certificate).to_string()],
                );
                assert!(error.source().is_some());
            }
        }
    }

    #[tokio::test]
    async fn tls_1_2_works_with_a_pin() {
        let identity = Identity::self_signed("a.example");
        let server = Server::start_with(&identity, Version::Tls12, hello).await;
        let pin = Trust::Thumbprint(Thumbprint::sha256(&identity.certificate));
        assert_eq!(transport(&server, pin, Limits::default()).send(get("/")).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn a_private_authority_vouches_for_its_servers_and_no_others() {
        let authority = Authority::named("CA of this vCenter");
        let trust = || Trust::Ca(parse_certificates_pem(authority.pem().as_bytes()).unwrap());
        assert_eq!(try_trust(&authority.issue("127.0.0.1"), trust()).await.unwrap().status, 200);

        let unknown = Authority::named("another CA").issue("127.0.0.1");
        let error = try_trust(&unknown, trust()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Certificate);
        let thumbprint = Thumbprint::sha256(&unknown.certificate).to_string();
        assert_says(&error, &["not issued by a trusted authority", &thumbprint, "pin it"]);
        assert!(error.source().is_some());

        let namesake = Authority::named("CA of this vCenter").issue("127.0.0.1");
        let error = try_trust(&namesake, trust()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Certificate);
        assert_says(&error, &["only bears the name of a trusted one", "this very vCenter"]);

        let error = try_trust(&authority.issue("vc.example.org"), trust()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Certificate);
        assert_says(&error, &["another name", "Connect by a name"]);

        let error = try_trust(&authority.issue_expired("127.0.0.1"), trust()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Certificate);
        assert_says(&error, &["has expired", "Renew it"]);
    }

    #[tokio::test]
    async fn the_systems_authorities_do_not_vouch_for_a_private_one() {
        let identity = Authority::named("CA").issue("127.0.0.1");
        let server = Server::start(&identity, hello).await;
        let endpoint: Endpoint = server.address.to_string().parse().unwrap();
        // A minimal machine has no authorities at all: that is an error of its own, and not trust in nobody.
        match HttpTransport::new(endpoint, TlsSettings::new(Trust::SystemRoots), Limits::default()) {
            Ok(transport) => {
                let error = transport.send(get("/")).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Certificate);
                assert_says(&error, &["not issued by a trusted authority"]);
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Input);
                assert_says(&error, &["no trusted certificates"]);
            }
        }
    }

    #[tokio::test]
    async fn danger_accepts_an_expired_stranger() {
        let identity = Authority::named("CA").issue_expired("elsewhere.example");
        assert_eq!(try_trust(&identity, Trust::DangerAcceptAny).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn thumbprints_can_be_seen_before_during_and_despite_a_refusal() {
        let identity = Identity::self_signed("a.example");
        let server = Server::start(&identity, hello).await;
        let expected = (Thumbprint::sha1(&identity.certificate), Thumbprint::sha256(&identity.certificate));

        let client = accepting(&server, Limits::default());
        let seen = client.peer_thumbprints().await.unwrap();
        assert_eq!((seen.sha1, seen.sha256), expected);
        client.send(get("/")).await.unwrap();
        assert_eq!(server.connections(), 1, "the connection made for the question is used for the request");

        let wary = transport(&server, Trust::Thumbprint(Thumbprint::sha1(b"")), Limits::default());
        let seen = wary.peer_thumbprints().await.unwrap();
        assert_eq!((seen.sha1, seen.sha256), expected);
        assert_eq!(wary.send(get("/")).await.unwrap_err().kind(), Kind::Certificate);
    }

    #[test]
    fn authorities_are_checked_when_they_are_read() {
        let authority = Authority::named("CA").pem();
        assert_eq!(
            parse_certificates_pem(format!("words\n{authority}{authority}").as_bytes()).unwrap().len(),
            2
        );
        let no_end = authority.replace("-----END CERTIFICATE-----", "");
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for bad in ["", "no pem", &no_end, &key] {
            assert_eq!(parse_certificates_pem(bad.as_bytes()).unwrap_err().kind(), Kind::Input);
        }
        for bad in [vec![], vec![b"not a certificate".to_vec().into()]] {
            let tls = TlsSettings::new(Trust::Ca(bad));
            let refused = HttpTransport::new("vc".parse().unwrap(), tls, Limits::default());
            assert_eq!(refused.err().unwrap().kind(), Kind::Input);
        }
    }
}

mod connecting {
    use super::*;

    #[tokio::test]
    async fn a_plain_http_server_is_not_a_vcenter() {
        let server = Server::listen(|_, mut stream| async move {
            let _hello = stream.read(&mut [0; 1024]).await;
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            let _gone = stream.read(&mut [0; 1024]).await;
        })
        .await;
        let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Tls);
        assert!(error.is_connect());
        assert_says(&error, &[&server.address.to_string(), "does not speak TLS", "vCenter"]);
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_in_the_handshake_is_named() {
        let server = Server::listen(|_, mut stream| async move {
            let _hello = stream.read(&mut [0; 4096]).await;
        })
        .await;
        let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Tls);
        assert_says(&error, &["TLS handshake"]);
    }

    #[tokio::test]
    async fn a_handshake_that_stalls_ends_in_time() {
        let server = Server::listen(|_, stream| async move {
            sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
        .await;
        let limits = Limits { connect_timeout: Duration::from_millis(150), ..Limits::default() };
        let error = accepting(&server, limits).send(get("/")).await.unwrap_err();
        assert!(error.is_timeout() && error.is_connect());
        assert_says(&error, &["TLS handshake", "150ms"]);
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let server = Server::listen(|_, _| async {}).await;
        let address = server.address;
        let client = accepting(&server, Limits::default());
        drop(server);
        // The port is free once the listener's task is gone.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
        let error = client.send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.is_connect() && !error.is_timeout());
        assert_says(&error, &[&address.to_string(), "refuses connections"]);
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        // Where localhost is ::1 first, that address refuses and 127.0.0.1 must still be reached.
        let identity = Identity::self_signed("a.example");
        let server = Server::start(&identity, hello).await;
        let endpoint = format!("localhost:{}", server.address.port()).parse().unwrap();
        let tls = TlsSettings::new(Trust::Thumbprint(Thumbprint::sha256(&identity.certificate)));
        let client = HttpTransport::new(endpoint, tls, Limits::default()).unwrap();
        assert_eq!(client.send(get("/")).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_error() {
        let tls = TlsSettings::new(Trust::DangerAcceptAny);
        let endpoint = "no-such-host.invalid".parse().unwrap();
        let error =
            HttpTransport::new(endpoint, tls, Limits::default()).unwrap().send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Dns);
        assert!(error.is_connect());
        assert_says(&error, &["no-such-host.invalid:443"]);
    }

    #[tokio::test]
    async fn plain_http_works_only_when_the_danger_is_spelled() {
        let server = Server::listen(|_, mut stream| async move {
            let _request = stream.read(&mut [0; 1024]).await;
            let _sent = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        })
        .await;
        let address = format!("http://{}/sdk", server.address);
        let error = address.parse::<Endpoint>().unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert_says(&error, &["password", "https://"]);

        let endpoint = Endpoint::danger_plain_http(&address).unwrap();
        let client =
            HttpTransport::new(endpoint, TlsSettings::new(Trust::DangerAcceptAny), Limits::default())
                .unwrap();
        assert_eq!(client.send(get("/sdk")).await.unwrap().status, 204);
        assert_eq!(client.peer_thumbprints().await.unwrap_err().kind(), Kind::Input);
    }
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn the_request_arrives_as_it_was_written() {
        let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
            while let Some(request) = peer.request().await {
                peer.ok(&request).await;
            }
        })
        .await;
        let mut request = Request::new(Method::POST, "/sdk?a=%20b");
        request.headers.insert("soapaction", "\"urn:vim25/8.0.3.0\"".parse().unwrap());
        request.body = "<x/>".into();
        let response = accepting(&server, Limits::default()).send(request).await.unwrap();
        let seen = String::from_utf8(response.body.to_vec()).unwrap();
        assert!(seen.starts_with("POST /sdk?a=%20b HTTP/1.1\r\n"), "{seen}");
        let lower = seen.to_ascii_lowercase();
        for line in
            [&format!("\r\nhost: {}\r\n", server.address), "\r\nsoapaction: \"urn:vim25/8.0.3.0\"\r\n"]
        {
            assert!(lower.contains(line), "{line:?} is missing in {seen}");
        }
        assert!(lower.contains("\r\ncontent-length: 4\r\n"));
        assert!(seen.ends_with("\r\n\r\n<x/>"));
    }

    #[tokio::test]
    async fn chunked_sized_and_closed_bodies_are_whole_and_any_status_is_an_answer() {
        let chunked = "HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n\
                       3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n";
        let response = answer(chunked).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (500, &b"abcdefg"[..]));
        let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(&answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap().body[..], b"hi");
        assert_eq!(&answer("HTTP/1.0 200 OK\r\n\r\nto the end").await.unwrap().body[..], b"to the end");
        assert_eq!(
            answer("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n").await.unwrap().status,
            302
        );
    }

    #[tokio::test]
    async fn a_large_body_survives() {
        let body: Vec<u8> = (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        assert!(answer(bytes).await.unwrap().body == body);
    }

    #[tokio::test]
    async fn a_truncated_body_is_never_taken_for_a_whole_one() {
        for (bytes, so_far) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd", "4 of 10 bytes"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", "4 bytes"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcd", "4 bytes"),
        ] {
            let error = answer(bytes).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Truncated, "{error}");
            assert!(!error.is_connect());
            assert_says(&error, &[so_far]);
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_without_a_tls_goodbye_is_truncated() {
        // Without a length only the goodbye tells an end from an attacker's cut.
        for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"] {
            let server =
                Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| async move {
                    peer.request().await;
                    peer.write(format!("{head}abcd")).await;
                    peer.hang_up();
                })
                .await;
            let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Truncated, "{error}");
        }
    }

    #[tokio::test]
    async fn a_reset_is_a_closed_connection_before_and_after_the_head() {
        for (bytes, text) in [
            ("", "instead of answering"),
            ("HTTP/1.1 200 O", "instead of answering"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd", "of the answer's body"),
        ] {
            let server =
                Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| async move {
                    peer.request().await;
                    peer.write(bytes).await;
                    // Let the client read before the reset throws away what it has not read yet.
                    sleep(Duration::from_millis(50)).await;
                    peer.reset();
                })
                .await;
            let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Closed, "{error}");
            assert_says(&error, &[text]);
        }
    }

    #[tokio::test]
    async fn closing_instead_of_answering_is_closed() {
        for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
            assert_eq!(answer(bytes).await.unwrap_err().kind(), Kind::Closed);
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_a_protocol_error() {
        for bytes in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 banana\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ] {
            let error = answer(bytes).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Protocol, "{bytes:?}: {error}");
            assert_says(&error, &["not valid HTTP/1.1"]);
        }
    }

    #[tokio::test]
    async fn more_than_the_limit_is_refused_before_it_fills_memory() {
        let limits = Limits { max_response_bytes: 1000, ..Limits::default() };
        // The announced gigabyte never comes: the announcement is enough.
        let announced = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let error = answer_within(announced, limits.clone()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        assert_says(&error, &["1000 bytes", "max_response_bytes"]);

        let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
            peer.request().await;
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            // Far more than the limit, but an end all the same, so that a missing limit fails and does not hang.
            for _ in 0..10_000 {
                peer.write("5\r\nabcde\r\n").await;
            }
            peer.close().await;
        })
        .await;
        let error = accepting(&server, limits.clone()).send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);

        let exact = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
        assert_eq!(answer_within(exact, limits).await.unwrap().body.len(), 1000);
    }

    #[tokio::test]
    async fn headers_have_a_limit_too() {
        let limits = Limits { max_header_bytes: 4096, ..Limits::default() };
        let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(5000));
        let error = answer_within(large.clone(), limits).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge, "{error}");
        assert_says(&error, &["headers"]);
        assert_eq!(answer(large).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn silence_ends_in_time_in_the_head_and_in_the_body() {
        let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
            while let Some(request) = peer.request().await {
                if request.starts_with("GET /body") {
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
                }
            }
        })
        .await;
        let short = Duration::from_millis(150);
        let limits = Limits { head_timeout: short, read_timeout: short, ..Limits::default() };
        let client = accepting(&server, limits);
        let started = Instant::now();

        let error = client.send(get("/head")).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_connect());
        assert_says(&error, &["did not begin to answer", "150ms"]);

        let error = client.send(get("/body")).await.unwrap_err();
        assert!(error.is_timeout());
        assert_says(&error, &["3 of 10 bytes"]);

        // A request's own limit takes the place of the head's, longer or shorter.
        let error = client.send(Request { timeout: Some(2 * short), ..get("/head") }).await.unwrap_err();
        assert!(error.is_timeout());
        assert_says(&error, &["300ms"]);
        assert!(started.elapsed() >= 4 * short);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

mod pool {
    use super::*;

    #[tokio::test]
    async fn requests_share_one_connection_one_after_another() {
        let server = Server::start(&Identity::self_signed("a.example"), hello).await;
        let client = accepting(&server, Limits::default());
        for _ in 0..10 {
            client.clone().send(get("/")).await.unwrap();
        }
        assert_eq!(server.connections(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_says_close_ends_the_connection_without_harm() {
        let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
            peer.request().await;
            peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
            peer.close().await;
        })
        .await;
        let client = accepting(&server, Limits::default());
        for _ in 0..5 {
            assert_eq!(&client.send(get("/")).await.unwrap().body[..], b"hi");
        }
        assert_eq!(server.connections(), 5);
    }

    /// Serves one request on its first connection, takes a second one and closes; later connections behave.
    async fn stale(first_word: &'static str) -> Server {
        Server::start(&Identity::self_signed("a.example"), move |number, mut peer: Peer| async move {
            if number > 0 {
                return hello(number, peer).await;
            }
            peer.request().await;
            peer.ok("hello").await;
            peer.request().await;
            peer.write(first_word).await;
            peer.close().await;
        })
        .await
    }

    #[tokio::test]
    async fn a_replayable_request_survives_a_connection_that_went_stale() {
        let server = stale("").await;
        let client = accepting(&server, Limits::default());
        client.send(get("/")).await.unwrap();
        let response = client.send(Request { replayable: true, ..get("/") }).await.unwrap();
        assert_eq!(&response.body[..], b"hello");
        assert_eq!(server.connections(), 2);
    }

    #[tokio::test]
    async fn another_request_is_not_repeated_behind_its_senders_back() {
        let server = stale("").await;
        let client = accepting(&server, Limits::default());
        client.send(get("/")).await.unwrap();
        let error = client.send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed);
        assert_says(&error, &["may have acted"]);
        assert_eq!(server.connections(), 1);
        assert_eq!(client.send(get("/")).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn a_request_is_not_repeated_after_the_first_byte_of_an_answer() {
        let server = stale("H").await;
        let client = accepting(&server, Limits::default());
        client.send(get("/")).await.unwrap();
        let error = client.send(Request { replayable: true, ..get("/") }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed);
        assert_eq!(server.connections(), 1);
    }

    #[tokio::test]
    async fn a_fresh_connection_that_closes_is_not_tried_again() {
        let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
            peer.request().await;
            peer.close().await;
        })
        .await;
        let request = Request { replayable: true, ..get("/") };
        let error = accepting(&server, Limits::default()).send(request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed);
        assert_eq!(server.connections(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_idled_too_long_is_not_used() {
        let server = Server::start(&Identity::self_signed("a.example"), hello).await;
        let limits = Limits { idle_timeout: Duration::from_millis(20), ..Limits::default() };
        let client = accepting(&server, limits);
        client.send(get("/")).await.unwrap();
        sleep(Duration::from_millis(60)).await;
        client.send(get("/")).await.unwrap();
        assert_eq!(server.connections(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn twenty_parallel_requests_keep_to_the_limit_and_get_their_own_answers() {
        let busy = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (b, m) = (busy.clone(), most.clone());
        let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
            let (busy, most) = (b.clone(), m.clone());
            async move {
                while let Some(request) = peer.request().await {
                    most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(Duration::from_millis(20)).await;
                    busy.fetch_sub(1, Ordering::SeqCst);
                    peer.ok(request.split(' ').nth(1).unwrap()).await;
                }
            }
        })
        .await;
        let client = accepting(&server, Limits { max_connections: 4, ..Limits::default() });
        let requests = (0..20).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let path = format!("/{number}");
                assert_eq!(client.send(get(&path)).await.unwrap().body, path.as_bytes());
            })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 4);
        assert_eq!(server.connections(), 4);
    }

    #[tokio::test]
    async fn a_dropped_request_closes_its_connection_and_frees_its_place() {
        let gone = Arc::new(Notify::new());
        let signal = gone.clone();
        let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
            let signal = signal.clone();
            async move {
                while let Some(request) = peer.request().await {
                    if request.starts_with("GET /body") {
                        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
                    } else if request.starts_with("GET /fast") {
                        peer.ok("fast").await;
                    }
                }
                signal.notify_one();
            }
        })
        .await;
        let client = accepting(&server, Limits { max_connections: 1, ..Limits::default() });
        for path in ["/head", "/body", "/head", "/body"] {
            let dropped = timeout(Duration::from_millis(60), client.send(get(path))).await;
            assert!(dropped.is_err(), "{path} must still be in flight");
            timeout(Duration::from_secs(5), gone.notified())
                .await
                .expect("the server sees the connection end");
            let response = timeout(Duration::from_secs(5), client.send(get("/fast"))).await;
            assert_eq!(&response.expect("a place is free").unwrap().body[..], b"fast");
        }
    }

    #[tokio::test]
    async fn a_dropped_upload_is_not_finished_in_the_background() {
        let (dropped, counted) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let done = Arc::new(Notify::new());
        let (d, c, signal) = (dropped.clone(), counted.clone(), done.clone());
        let server = Server::start(&Identity::self_signed("a.example"), move |_, peer: Peer| {
            let (dropped, counted, done) = (d.clone(), c.clone(), signal.clone());
            async move {
                dropped.notified().await;
                counted.store(peer.drain().await, Ordering::SeqCst);
                done.notify_one();
            }
        })
        .await;
        let body = vec![0; 64 << 20];
        let length = body.len();
        let request = Request { body: body.into(), ..Request::new(Method::PUT, "/folder/x") };
        let client = accepting(&server, Limits::default());
        assert!(timeout(Duration::from_millis(300), client.send(request)).await.is_err());
        dropped.notify_one();
        timeout(Duration::from_secs(20), done.notified()).await.expect("the server sees the connection end");
        assert!(counted.load(Ordering::SeqCst) < length);
    }

    #[tokio::test]
    async fn the_last_clone_closes_the_idle_connections() {
        let gone = Arc::new(Notify::new());
        let signal = gone.clone();
        let server = Server::start(&Identity::self_signed("a.example"), move |number, peer: Peer| {
            let signal = signal.clone();
            async move {
                hello(number, peer).await;
                signal.notify_one();
            }
        })
        .await;
        let client = accepting(&server, Limits::default());
        client.send(get("/")).await.unwrap();
        drop(client);
        timeout(Duration::from_secs(5), gone.notified()).await.expect("the connection is closed");
    }

    #[tokio::test]
    async fn unusable_limits_and_paths_are_refused() {
        let limits = Limits { max_connections: 0, ..Limits::default() };
        let tls = TlsSettings::new(Trust::DangerAcceptAny);
        let refused = HttpTransport::new("vc".parse().unwrap(), tls.clone(), limits);
        assert_eq!(refused.err().unwrap().kind(), Kind::Input);

        let client = HttpTransport::new("vc".parse().unwrap(), tls, Limits::default()).unwrap();
        for path in ["", "sdk", "https://elsewhere.example/", "/a b", "/a\r\nX: y", "*"] {
            assert_eq!(client.send(get(path)).await.unwrap_err().kind(), Kind::Input, "{path:?}");
        }
    }
}

mod values {
    use super::*;

    #[test]
    fn thumbprints_are_read_in_every_usual_form_and_written_in_one() {
        let sha1 = Thumbprint::sha1(b"abc");
        let text = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        assert_eq!(sha1.to_string(), text);
        let sha256 = Thumbprint::sha256(b"abc");
        assert!(sha256.to_string().starts_with("BA:78:16:BF:"));
        for thumbprint in [sha1, sha256] {
            let text = thumbprint.to_string();
            let forms = [
                text.clone(),
                text.to_lowercase(),
                text.replace(':', ""),
                text.replace(':', " "),
                format!("  {text}\n"),
            ];
            for form in forms {
                assert_eq!(form.parse::<Thumbprint>().unwrap(), thumbprint, "{form:?}");
            }
            assert!(thumbprint.matches(b"abc") && !thumbprint.matches(b"abd"));
        }
        assert_eq!((sha1.algorithm(), sha256.algorithm()), ("SHA-1", "SHA-256"));
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        let sha1 = Thumbprint::sha1(b"abc").to_string();
        let md5 = &sha1[..16 * 3 - 1];
        for bad in ["", "zz", "a:bc", "é", md5, &sha1[1..], &format!("{sha1}:00"), &sha1.replace(':', "-")] {
            assert_eq!(bad.parse::<Thumbprint>().unwrap_err().kind(), Kind::Input, "{bad:?}");
        }
        assert_says(&md5.parse::<Thumbprint>().unwrap_err(), &["has 16"]);
    }

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, host, port, path, shown) in [
            ("https://vc.example.org/sdk", "vc.example.org", 443, "/sdk", "https://vc.example.org/sdk"),
            (" VC.example.org ", "vc.example.org", 443, "/sdk", "https://vc.example.org/sdk"),
            ("HTTPS://vc/", "vc", 443, "/sdk", "https://vc/sdk"),
            ("127.0.0.1:8989", "127.0.0.1", 8989, "/sdk", "https://127.0.0.1:8989/sdk"),
            ("vc:443/pbm/sdk", "vc", 443, "/pbm/sdk", "https://vc/pbm/sdk"),
            ("[2001:db8::1]:8443", "2001:db8::1", 8443, "/sdk", "https://[2001:db8::1]:8443/sdk"),
            ("https://[::1]/sdk", "::1", 443, "/sdk", "https://[::1]/sdk"),
            ("::1", "::1", 443, "/sdk", "https://[::1]/sdk"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), endpoint.path()), (host, port, path), "{text:?}");
            assert!(endpoint.is_encrypted());
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "https://",
            "https:///sdk",
            "ftp://vc",
            "vc:0",
            "vc:65536",
            "vc:",
            "vc:+1",
            "vc:x",
            "a:b:c",
            "[::1",
            "[vc]",
            "[::1]x",
            "[fe80::1%eth0]",
            "vc/sdk?x=1",
            "vc/sdk#x",
            "my host",
            "vc/a b",
            "http://vc/sdk",
            "bücher.example",
        ] {
            assert_eq!(bad.parse::<Endpoint>().unwrap_err().kind(), Kind::Input, "{bad:?}");
        }
        assert!(Endpoint::danger_plain_http("https://vc").is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let error = "https://root:geheim@vc/sdk".parse::<Endpoint>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"));

        let mut request = get("/x?ticket=geheim");
        for name in ["cookie", "authorization", "vmware-api-session-id", "x-anything"] {
            request.headers.insert(name, "geheim".parse().unwrap());
        }
        request.headers.insert("content-type", "text/xml".parse().unwrap());
        request.body = "geheim".into();
        let shown = format!("{request:?}");
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains("text/xml") && shown.contains("authorization"));

        let response = Response { status: 200, headers: request.headers, body: request.body };
        assert!(!format!("{response:?}").contains("geheim"));
    }
}
