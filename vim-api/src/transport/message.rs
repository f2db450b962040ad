//! One request, one answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Method};

/// What to send. `Host` and `Content-Length` are added by the transport.
#[derive(Clone)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Path and query, percent-encoded, starting with a slash.
    pub path: String,
    /// Further headers.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// Longest time for the whole exchange, waiting for a free connection included. With `None` the transport's
    /// `Limits` bound each step.
    pub timeout: Option<Duration>,
    /// Whether the server may be asked twice. If so, and a kept connection turns out to be closed before a byte of the
    /// answer came, the request is sent once more on a fresh one.
    pub replayable: bool,
}

impl Request {
    /// A request with nothing but method and path; not replayable.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Request {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            replayable: false,
        }
    }
}

/// What came back. Any status is an answer.
#[derive(Clone)]
pub struct Response {
    /// The HTTP status, 200 to 999.
    pub status: u16,
    /// All headers, `Set-Cookie` included.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Headers whose value may be shown. All others are hidden: a new header with a secret must not need a change here.
const HARMLESS: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    USER_AGENT,
    HeaderName::from_static("soapaction"),
];

struct Headers<'a>(&'a HeaderMap);

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            map.key(&name.as_str());
            if HARMLESS.contains(name) {
                map.value(value)
            } else {
                map.value(&"(hidden)")
            };
        }
        map.finish()
    }
}

/// The path without its query, which may hold more than a log should.
pub(super) fn loggable_path(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &loggable_path(&self.path))
            .field("headers", &Headers(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .field("replayable", &self.replayable)
            .finish()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &Headers(&self.headers))
            .field("body_bytes", &self.body.len())
            .finish()
    }
}
