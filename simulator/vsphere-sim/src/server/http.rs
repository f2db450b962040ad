//! HTTP: routes, cookies, and the shapes of answers.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, RETRY_AFTER,
    SET_COOKIE, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use vim_api::ApiVersion;
use vim_api::xml::Service;

use crate::beside;
use crate::dispatch::dispatch;
use crate::fault::invalid_request;
use crate::faults::{FaultPlace, FaultRule};
use crate::server::{Role, lookup, nfc, rest, sts};
use crate::session::{self, Caller};
use crate::wire::{self, Call, MAX_REQUEST};
use crate::world::Shared;

pub(super) type Response = hyper::Response<BoxBody<Bytes, io::Error>>;
pub(super) type Answered = Result<Response, io::Error>;

/// Bytes of an answer from which on it is compressed.
const WORTH_COMPRESSING: usize = 1000;

/// Versions before the newest that a server says it understands, where they are older than that.
const OLDER: [&str; 14] = [
    "8.0.2.0", "8.0.1.0", "8.0.0.1", "8.0.0.0", "7.0.3.2", "7.0.3.0", "7.0.2.0", "7.0.1.0", "7.0.0.0",
    "6.7.3", "6.7", "6.5", "6.0", "5.5",
];

/// Answers one request. An error closes the connection without an answer.
pub(super) async fn answer(
    shared: Arc<Shared>,
    role: Role,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Answered {
    let has_sts = (role == Role::Services) == shared.settings.sts.apart;
    let path = request.uri().path().trim_end_matches('/');
    match (request.method(), path) {
        (&Method::POST, "/sts/STSService" | "/sts/STSService/vsphere.local") if has_sts => {
            let (accepted, answer) = sts::answer(&shared, &whole(request).await?);
            Ok(xml(if accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, answer))
        }
        _ if role == Role::Services => Ok(not_found()),
        (&Method::POST, "/lookupservice/sdk") => {
            let (accepted, answer) = lookup::answer(&shared, whole(request).await?);
            Ok(xml(if accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, answer))
        }
        (&Method::GET, "/sdk/vimServiceVersions.xml") => {
            Ok(plain(StatusCode::OK, "text/xml", versions(shared.settings.version)))
        }
        (&Method::POST, "/sdk" | "/sdk/vimService" | "/pbm/sdk" | "/pbm" | "/vslm/sdk") => {
            let service = beside::at(path).unwrap_or(Service::Vim25);
            soap(&shared, address, service, request).await
        }
        (_, path) if path.starts_with("/api/") || path.starts_with("/rest/") => {
            rest::answer(&shared, request).await
        }
        (_, path) if path.starts_with("/nfc/") => nfc::answer(&shared, request).await,
        (_, "/sdk" | "/sdk/vimService") => Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "This is a SOAP service: use POST.".to_owned(),
        )),
        _ => Ok(not_found()),
    }
}

async fn whole(request: Request<Incoming>) -> io::Result<Bytes> {
    let body = Limited::new(request.into_body(), MAX_REQUEST);
    Ok(body.collect().await.map_err(io::Error::other)?.to_bytes())
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "text/plain", "404 Not Found".to_owned())
}

async fn soap(
    shared: &Arc<Shared>,
    address: SocketAddr,
    service: Service,
    request: Request<Incoming>,
) -> Answered {
    let (head, body) = request.into_parts();
    let action = head.headers.get("soapaction").and_then(|value| value.to_str().ok());
    let version = wire::version_of(action, shared.settings.version);
    shared.update_if(|world| world.expire_idle());
    let parsed = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(collected) => Call::parse(collected.to_bytes(), service, version),
        Err(error) => Err(invalid_request(format!("The request cannot be read: {error}"))),
    };
    let call = match parsed {
        Ok(call) => call,
        Err(fault) => {
            return Ok(xml(StatusCode::INTERNAL_SERVER_ERROR, wire::fault_envelope(&fault, version)));
        }
    };
    if let Some(rule) = shared.faults.strike(FaultPlace::Http, &call.method, call.this.value()) {
        return struck(rule);
    }
    let mut caller = caller(&head.headers, address);
    if service != Service::Vim25 {
        let named = wire::in_header(&call.envelope, "vcSessionCookie").unwrap_or_default();
        caller.beside = std::mem::replace(&mut caller.cookie, named);
    }
    let response = match dispatch(shared, &caller, &call).await {
        Ok(answer) => {
            let mut response = xml(StatusCode::OK, answer.envelope(&call));
            if let Some(cookie) = answer.set_cookie.and_then(|cookie| cookie.parse().ok()) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(fault) => xml(StatusCode::INTERNAL_SERVER_ERROR, wire::fault_envelope(&fault, version)),
    };
    let response = compressed(&head.headers, response).await?;
    // A rule without a place to cut is for the method itself, which has struck already.
    if let Some(after) = shared.faults.strike_cut(&call.method, call.this.value()) {
        return cut(response, after).await;
    }
    Ok(response)
}

/// What a rule says instead of an answer.
pub(super) fn struck(rule: FaultRule) -> Answered {
    let Some(status) = rule.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return Err(io::Error::other("a fault rule closes the connection"));
    };
    let mut response = plain(status, "text/plain", rule.message.unwrap_or_default());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// The same answer, smaller: for clients that take gzip, as a vCenter does it.
async fn compressed(request: &HeaderMap, response: Response) -> Answered {
    let offered = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    if !offered.flat_map(|text| text.split(',')).any(|coding| coding.trim() == "gzip") {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let mut plain = body.collect().await?.to_bytes();
    if plain.len() > WORTH_COMPRESSING {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&plain)?;
        plain = encoder.finish()?.into();
        head.headers.insert(CONTENT_ENCODING, hyper::header::HeaderValue::from_static("gzip"));
    }
    let body = Full::new(plain).map_err(|never: Infallible| match never {}).boxed();
    Ok(hyper::Response::from_parts(head, body))
}

/// The same answer, of which only the first bytes arrive before the connection is closed.
async fn cut(response: Response, after: usize) -> Answered {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let part = bytes.slice(..after.min(bytes.len()));
    let frames = [Ok(Frame::data(part)), Err(io::Error::other("a fault rule cuts the answer"))];
    Ok(hyper::Response::from_parts(head, StreamBody::new(stream::iter(frames)).boxed()))
}

/// Cookie, address and program of the client. Some send the cookie's attributes back, or an empty header.
fn caller(headers: &HeaderMap, address: SocketAddr) -> Caller {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let cookie = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim() == session::COOKIE)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty());
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Caller { cookie, beside: None, address: address.ip().to_string(), agent }
}

fn versions(newest: ApiVersion) -> String {
    let older = OLDER.iter().filter(|id| ApiVersion::parse(id).is_some_and(|version| version < newest));
    let older: String = older.map(|id| format!("<version>{id}</version>")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\"><namespace>\
         <name>urn:vim25</name><version>{newest}</version><priorVersions>{older}</priorVersions>\
         </namespace></namespaces>\n"
    )
}

fn xml(status: StatusCode, body: String) -> Response {
    plain(status, "text/xml; charset=utf-8", body)
}

pub(super) fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed();
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
