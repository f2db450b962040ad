//! Files of datastores over HTTPS: `/folder/PATH?dcPath=DATACENTER&dsName=DATASTORE`.
//!
//! Reading knows single ranges and streams; writing takes whole files only, which appear when they are complete.

mod access;
mod date;
mod listing;
mod place;
mod range;
mod read;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};

use super::http::{Answered, Response, plain};
use crate::world::Shared;

pub(crate) use place::Wanted;

/// How the service says no.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    text: String,
}

type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// A machine that is on has the file open. Hosts were seen to answer 500 here, and 403. [K, uncertain]
    fn locked(file: impl std::fmt::Display) -> Self {
        let text = format!("{file} is locked: a machine that is on has it open.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    fn of_io(error: &io::Error, file: impl std::fmt::Display) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StatusCode::NOT_FOUND,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            io::ErrorKind::DirectoryNotEmpty => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, format!("{file}: {error}"))
    }

    fn response(self) -> Response {
        let status = self.status;
        let mut response = plain(status, "text/plain; charset=utf-8", format!("{status}\n{}\n", self.text));
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"vSphere datastores\""));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE"));
        }
        response
    }
}

/// Whether a path leads to this service.
pub(super) fn is_at(path: &str) -> bool {
    path == "/folder" || path.starts_with("/folder/")
}

/// Answers a request at or below `/folder`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Answered {
    let mut set_cookie = None;
    let carried_out = carry_out(shared, address, request, &mut set_cookie).await;
    let mut response = carried_out.unwrap_or_else(Refusal::response);
    if let Some(cookie) = set_cookie.and_then(|cookie| cookie.parse().ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn carry_out(
    shared: &Arc<Shared>,
    address: SocketAddr,
    request: Request<Incoming>,
    set_cookie: &mut Option<String>,
) -> Outcome<Response> {
    let (head, body) = request.into_parts();
    let wanted = Wanted::of(&head.uri);
    let granted = access::grant(shared, address, &head, wanted.as_ref().ok()).await?;
    *set_cookie = granted.set_cookie;
    let (wanted, user) = (wanted?, granted.user);
    shared.read(|world| access::permit(world, &user, &head.method, &wanted))?;
    let shared = Arc::clone(shared);
    match head.method {
        Method::GET | Method::HEAD => {
            blocking(move || read::answer(&shared, &user, &wanted, &head.method, &head.headers)).await
        }
        Method::PUT | Method::POST => write::put(shared, wanted, head, body).await,
        Method::DELETE => blocking(move || write::delete(&shared, &wanted)).await,
        method => Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Files are not asked for with {method} here."),
        )),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("The request died: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_failures() {
        for (kind, status) in [
            (io::ErrorKind::StorageFull, 507),
            (io::ErrorKind::QuotaExceeded, 507),
            (io::ErrorKind::NotFound, 404),
            (io::ErrorKind::DirectoryNotEmpty, 409),
            (io::ErrorKind::PermissionDenied, 500),
        ] {
            let refusal = Refusal::of_io(&kind.into(), "[ds] a");
            assert_eq!(refusal.status, status);
            assert!(refusal.text.starts_with("[ds] a: "), "{}", refusal.text);
        }
    }
}
