//! The HTTP/TLS transport against servers that behave, and against servers that do not.
//!
//! The transport is not part of the crate's public interface, so its source is taken in as a module of this test.

#![forbid(unsafe_code)]
// clippy.toml exempts test functions only, and this file's helpers are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../src"]
mod client {
    #[allow(dead_code, unreachable_pub)]
    pub(crate) mod transport;
}
mod answers;
mod connecting;
mod gzip;
mod pool;
mod proxy;
mod server;
mod streams;
mod trust;
mod values;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::transport::{
    ClientCertificate, Endpoint, HttpTransport, Limits, Proxy, Request, Response, Route, Thumbprint,
    TlsSettings, TransportError, TransportErrorKind as Kind, Trust, Upload, parse_certificates_pem,
};
use http::Method;
use secrecy::SecretString;
use server::{Authority, Identity, Peer, Server, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

fn transport(server: &Server, trust: Trust, limits: Limits) -> HttpTransport {
    let endpoint = server.address.to_string().parse().unwrap();
    HttpTransport::new(endpoint, TlsSettings::new(trust), Route::default(), limits).unwrap()
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
