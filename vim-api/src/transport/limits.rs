//! How much, how long and how many.

use std::time::Duration;

use super::error::TransportError;

/// Bounds of one transport. Every wait and every buffer is under one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of one answer, in bytes. 512 MiB unless told.
    pub max_response_bytes: u64,
    /// Largest status line with headers of one answer, in bytes, at most 16 MiB. 128 KiB unless told.
    pub max_header_bytes: usize,
    /// Longest time for name lookup, TCP and TLS together. 15 s unless told.
    pub connect_timeout: Duration,
    /// Longest time from the request to the answer's headers, for a request without a time limit of its own. 120 s
    /// unless told.
    pub head_timeout: Duration,
    /// Longest silence between two pieces of an answer's body. 60 s unless told.
    pub read_timeout: Duration,
    /// How long an unused connection is kept for the next request. 30 s unless told; servers close theirs a while later.
    pub idle_timeout: Duration,
    /// Most connections at a time, at least 1; further requests wait for a free one. 16 unless told. A long poll holds one
    /// for as long as it lasts.
    pub max_connections: usize,
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), TransportError> {
        if self.max_connections == 0 {
            return Err(TransportError::input(
                "max_connections is 0: no request could ever be sent, allow at least 1",
            ));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_response_bytes: 512 << 20,
            max_header_bytes: 128 << 10,
            connect_timeout: Duration::from_secs(15),
            head_timeout: Duration::from_secs(120),
            read_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            max_connections: 16,
        }
    }
}
