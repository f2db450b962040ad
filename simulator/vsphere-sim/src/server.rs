//! The HTTPS endpoint.

pub(crate) mod certificate;
mod connection;
mod encode;
pub(crate) mod folder;
mod http;
mod log;
mod lookup;
mod nfc;
pub(crate) mod rest;
mod spoil;
mod sts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::connection::{Connection, Fate};
use crate::world::Shared;

/// How long a connection may rest between two requests. pyvmomi takes one up again after up to 15 minutes, and does not try
/// another when it is closed.
const IDLE: Duration = Duration::from_secs(20 * 60);

/// What a listener is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The vCenter.
    Vcenter,
    /// A platform services controller, which has the STS.
    Services,
}

/// Serves until it is dropped; its connections go with it.
pub(crate) async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>, role: Role) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    connections.spawn(connection(stream, address, tls.clone(), Arc::clone(&shared), role));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    role: Role,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, %address, "no TLS");
            return;
        }
    };
    let fate = Fate::default();
    let stream = Connection::new(stream, fate.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(fate.clone());
        http::answer(Arc::clone(&shared), role, address, request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %address, "a connection ended early");
    }
}
