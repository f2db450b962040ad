//! What is told of a call to those who trace.

use std::time::Instant;

use tracing::Span;
use tracing::field::Empty;

use crate::call::Request;
use crate::error::Error;

/// The span of one call: method, object, bytes both ways, microseconds, and how it ended. Arguments and values are
/// not in it: they may be secrets.
pub(super) struct CallSpan {
    span: Span,
    started: Instant,
}

impl CallSpan {
    pub(super) fn of(request: &Request) -> Self {
        Self::new(request.method.name, &request.this)
    }

    pub(super) fn new(method: &str, object: &dyn std::fmt::Display) -> Self {
        let span = tracing::debug_span!(
            "call",
            method,
            object = %object,
            sent = Empty,
            received = Empty,
            micros = Empty,
            outcome = Empty,
        );
        CallSpan { span, started: Instant::now() }
    }

    pub(super) fn inner(&self) -> Span {
        self.span.clone()
    }

    /// Bytes of the request's body.
    pub(super) fn sent(&self, bytes: usize) {
        self.span.record("sent", bytes);
    }

    /// Bytes of the answer's body, decoded.
    pub(super) fn received(&self, bytes: usize) {
        self.span.record("received", bytes);
    }

    pub(super) fn end(self, error: Option<&Error>) {
        self.span.record("micros", u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        match error {
            None => self.span.record("outcome", "ok"),
            Some(error) => match error.any_fault() {
                Some(fault) => self.span.record("outcome", fault.fault.type_name()),
                None => self.span.record("outcome", tracing::field::debug(error.kind())),
            },
        };
    }
}
