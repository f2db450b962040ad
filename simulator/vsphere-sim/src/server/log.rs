//! What the log is told of calls and requests: what was asked, by whom, how it ended, and how long it took. Never what was
//! in it: an argument may be a password, a header a cookie.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use hyper::Method;
use hyper::body::Body as _;

use super::http::{Answered, Response};
use crate::fault::Fault;
use crate::lease;
use crate::session::Caller;
use crate::wire::Call;

/// A method call that was answered. `received` is the length of its message; `bytes` in the log that of the answer's body as
/// it is sent, where it is known.
pub(super) fn call(
    call: &Call,
    caller: &Caller,
    began: Instant,
    received: usize,
    answer: Result<&Response, &Fault>,
) {
    let fault = answer.err().map(|fault| fault.fault.type_name());
    let bytes = answer.ok().and_then(|response| response.body().size_hint().exact());
    tracing::info!(
        method = call.method,
        object = call.this.to_string(),
        user = call.user,
        address = caller.address,
        received,
        bytes,
        fault,
        micros = micros(began),
        "call"
    );
}

/// A message that is no call.
pub(super) fn unreadable(caller: &Caller, fault: &Fault) {
    tracing::info!(
        address = caller.address,
        fault = fault.fault.type_name(),
        message = fault.message,
        "no call"
    );
}

/// A request that was answered, or whose connection was closed. Calls have an event of their own.
pub(super) fn request(method: &Method, path: &str, address: SocketAddr, began: Instant, answered: &Answered) {
    let is_soap = path.ends_with("/sdk") || path == "/sdk/vimService" || path == "/pbm";
    let path = lease::without_token(path);
    let status = answered.as_ref().ok().map(|response| response.status().as_u16());
    let bytes = answered.as_ref().ok().and_then(|response| response.body().size_hint().exact());
    let error = answered.as_ref().err().map(io::Error::to_string);
    let micros = micros(began);
    if is_soap {
        tracing::debug!(%method, path, %address, status, bytes, error, micros, "request");
    } else {
        tracing::info!(%method, path, %address, status, bytes, error, micros, "request");
    }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
