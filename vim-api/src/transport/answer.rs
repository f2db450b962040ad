//! An answer whose body is read piece by piece.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Shared;
use super::connect::Connection;
use super::error::{TransportError, TransportErrorKind as Kind};
use super::exchange::{body_error, progress, too_large};
use super::gzip;
use super::message::Response;
use super::upload::Sent;

/// The head of an answer, and its body as it arrives. Any status is an answer.
///
/// Once the body was read to its end, its connection serves the next request. Dropped before, it closes that connection
/// and nothing else.
pub struct Answer {
    /// The HTTP status, 200 to 999.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    body: Incoming,
    announced: Option<u64>,
    received: u64,
    sent: Sent,
    /// `None` once the body has ended.
    held: Option<Held>,
    shared: Arc<Shared>,
}

/// The connection goes before the permit, so that open connections never outnumber the permits.
pub(super) struct Held {
    pub(super) connection: Connection,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Answer {
    pub(super) fn new(shared: Arc<Shared>, head: http::Response<Incoming>, sent: Sent, held: Held) -> Self {
        let (head, body) = head.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            announced: body.size_hint().exact(),
            body,
            received: 0,
            sent,
            held: Some(held),
            shared,
        }
    }

    /// The next piece of the body as it came, compressed if the answer says so; `None` at its end.
    ///
    /// # Errors
    /// `Timeout` after a silence of `read_timeout`; `Truncated` when the body ends before its announced length or
    /// without the mark of its end; `Closed`, `Tls`, `Protocol`. After an error there is no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        let piece = self.receive().await;
        if piece.is_err() {
            self.held = None;
        }
        piece
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Shared { host, limits, pool, .. } = &*self.shared;
        loop {
            if self.held.is_none() {
                return Ok(None);
            }
            let Ok(next) = timeout(limits.read_timeout, self.body.frame()).await else {
                let so_far = progress(self.received, self.announced);
                let what = format!("the answer stalled after {so_far} of its body: no more came");
                return Err(TransportError::timeout(host, &what, limits.read_timeout));
            };
            let Some(frame) = next else {
                if let Some(mut held) = self.held.take() {
                    // A server may answer before it has read all of the request; that connection is of no more use.
                    if self.sent.is_complete() {
                        held.connection.busy = false;
                        pool.put(held.connection, &held.permit);
                    }
                }
                return Ok(None);
            };
            let frame = frame.map_err(|source| body_error(host, source, self.received, self.announced))?;
            // Trailers carry nothing that vSphere's API uses.
            let Ok(data) = frame.into_data() else { continue };
            self.received = self.received.saturating_add(data.len() as u64);
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, decoded, of at most `max_response_bytes`.
    pub(super) async fn whole(mut self) -> Result<Response, TransportError> {
        let shared = self.shared.clone();
        let Shared { host, limits, .. } = &*shared;
        if self.announced.is_some_and(|announced| announced > limits.max_response_bytes) {
            return Err(too_large(host, limits));
        }
        // The first piece is kept as it is: most answers consist of one.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(data) = self.next().await? {
            if self.received > limits.max_response_bytes {
                return Err(too_large(host, limits));
            }
            if first.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                // The announced length is the server's word; trust it for a modest reservation only.
                let expected = self.announced.unwrap_or(0).min(64 << 20);
                rest.reserve(usize::try_from(expected).unwrap_or(0).max(first.len()));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        let body = if rest.is_empty() { first } else { rest.freeze() };
        let body = gzip::decoded(&self.headers, body, host, limits)?;
        Ok(Response { status: self.status, headers: self.headers, body })
    }

    /// Refuses a body in an encoding, where every byte has its place.
    ///
    /// # Errors
    /// Kind `Encoding`.
    pub fn check_plain(&self) -> Result<(), TransportError> {
        match self.headers.get(CONTENT_ENCODING) {
            None => Ok(()),
            Some(encoding) => Err(TransportError::new(
                Kind::Encoding,
                &self.shared.host,
                format!("the answer is encoded as {encoding:?}, where none was offered"),
            )),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("announced", &self.announced)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
