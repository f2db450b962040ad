//! One request over one connection: sending, waiting for the head of the answer, and naming what went wrong.

use std::error::Error as StdError;
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::timeout;

use super::connect::{Connection, rustls_error};
use super::error::{TransportError, TransportErrorKind as Kind};
use super::limits::Limits;
use super::upload::Body;

/// A failed attempt, with what decides about another one.
pub(super) struct Failure {
    pub(super) error: TransportError,
    pub(super) progress: Progress,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not a byte of the request was sent.
    NotSent,
    /// The connection ended before a byte of the answer. The server may have acted all the same.
    NoAnswer,
    /// There was an answer, or the failure says nothing about the connection.
    Final,
}

/// Sends `request` and waits for the head of the answer. `head_timeout` bounds the silence: no byte of the request taken
/// and no answer. It is `None` where the caller bounds the exchange as a whole.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: http::Request<Body>,
    host: &str,
    head_timeout: Option<Duration>,
) -> Result<http::Response<Incoming>, Failure> {
    let sent = request.body().sent();
    let head = send(connection, request, host);
    let Some(limit) = head_timeout else { return head.await };
    let mut head = pin!(head);
    let mut before = 0;
    loop {
        if let Ok(answered) = timeout(limit, &mut head).await {
            return answered;
        }
        let now = sent.bytes();
        if now == before {
            let what = match sent.is_complete() {
                true => "the server did not begin to answer".to_owned(),
                false => format!("the server neither took more than {now} bytes nor answered"),
            };
            let error = TransportError::timeout(host, &what, limit);
            return Err(Failure { error, progress: Progress::Final });
        }
        before = now;
    }
}

async fn send(
    connection: &mut Connection,
    request: http::Request<Body>,
    host: &str,
) -> Result<http::Response<Incoming>, Failure> {
    // A connection from the pool may still have to notice that the server has closed it.
    connection
        .sender
        .ready()
        .await
        .map_err(|source| Failure { error: head_error(host, source), progress: Progress::NotSent })?;
    let received = connection.received();
    connection.busy = true;
    connection.sender.try_send_request(request).await.map_err(|mut failed| {
        let not_sent = failed.take_message().is_some();
        let error = head_error(host, failed.into_error());
        let progress = match error.kind() {
            Kind::Closed if not_sent => Progress::NotSent,
            Kind::Closed if connection.received() == received => Progress::NoAnswer,
            _ => Progress::Final,
        };
        Failure { error, progress }
    })
}

pub(super) fn too_large(host: &str, limits: &Limits) -> TransportError {
    let message = format!(
        "the answer's body is larger than the limit of {} bytes: ask for less at a time, or raise max_response_bytes",
        limits.max_response_bytes
    );
    TransportError::new(Kind::TooLarge, host, message)
}

pub(super) fn progress(length: u64, announced: Option<u64>) -> String {
    match announced {
        Some(announced) => format!("{length} of {announced} bytes"),
        None => format!("{length} bytes"),
    }
}

/// Names a failure before the head of the answer was complete.
fn head_error(host: &str, source: hyper::Error) -> TransportError {
    let (kind, message) = if source.is_user() {
        (Kind::Upload, "what was to be sent failed in its source")
    } else if source.is_parse_too_large() {
        (
            Kind::TooLarge,
            "the answer's headers are larger than the limit (max_header_bytes), or there are too many",
        )
    } else if source.is_parse() {
        (Kind::Protocol, "the answer is not valid HTTP/1.1: is this the API port of a vCenter or ESXi?")
    } else if broken_tls(&source) {
        (Kind::Tls, "the encrypted connection broke while waiting for the answer")
    } else {
        (
            Kind::Closed,
            "the server closed the connection instead of answering; it may have acted on the request",
        )
    };
    TransportError::new(kind, host, message).with_source(source)
}

/// Names a failure in the body of the answer, of which `length` bytes had come.
pub(super) fn body_error(
    host: &str,
    source: hyper::Error,
    length: u64,
    announced: Option<u64>,
) -> TransportError {
    let so_far = progress(length, announced);
    let (kind, message) = match io_kind(&source) {
        _ if broken_tls(&source) => {
            (Kind::Tls, format!("the encrypted connection broke after {so_far} of the answer's body"))
        }
        Some(io::ErrorKind::UnexpectedEof) => {
            (Kind::Truncated, format!("the answer's body ends after {so_far}"))
        }
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            (Kind::Protocol, format!("the answer's body is not valid HTTP/1.1 chunked coding after {so_far}"))
        }
        None if source.is_incomplete_message() => {
            (Kind::Truncated, format!("the answer's body ends after {so_far}"))
        }
        _ => (Kind::Closed, format!("the connection was lost after {so_far} of the answer's body")),
    };
    TransportError::new(kind, host, message).with_source(source)
}

fn broken_tls(error: &hyper::Error) -> bool {
    io_error(error).and_then(rustls_error).is_some()
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    io_error(error).map(io::Error::kind)
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}
