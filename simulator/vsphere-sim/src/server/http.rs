//! HTTP: routes, cookies, and the shapes of answers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use vim_api::ApiVersion;
use vim_api::xml::Service;

use super::connection::Fate;
use super::{Role, encode, folder, log, lookup, nfc, rest, spoil, sts};
use crate::beside;
use crate::dispatch::dispatch;
use crate::fault::{Fault, invalid_request};
use crate::faults::{Asked, Effect, Endpoint, FaultPlace, FaultRule, expire};
use crate::inventory::versions_before;
use crate::session::{self, Caller};
use crate::wire::{self, Call, MAX_REQUEST};
use crate::world::Shared;

pub(super) type Response = hyper::Response<BoxBody<Bytes, io::Error>>;
pub(super) type Answered = Result<Response, io::Error>;

/// Answers one request. An error closes the connection without an answer.
pub(super) async fn answer(
    shared: Arc<Shared>,
    role: Role,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Answered {
    let (began, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    let answered = route(shared, role, address, request).await;
    log::request(&method, &path, address, began, &answered);
    answered
}

async fn route(shared: Arc<Shared>, role: Role, address: SocketAddr, request: Request<Incoming>) -> Answered {
    let is_host = shared.read(|world| world.mode().is_host());
    let has_sts = !is_host && (role == Role::Services) == shared.settings.sts.apart;
    let path = request.uri().path().trim_end_matches('/');
    match (request.method(), path) {
        (&Method::POST, "/sts/STSService" | "/sts/STSService/vsphere.local") if has_sts => {
            let (accepted, answer) = sts::answer(&shared, &whole(request).await?);
            Ok(xml(if accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, answer))
        }
        _ if role == Role::Services => Ok(not_found()),
        // What a vCenter has beside its API.
        (_, path) if is_host && ["lookupservice", "pbm", "vslm", "rest", "api"].contains(&first_of(path)) => {
            Ok(not_found())
        }
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
        (_, "/sdk" | "/sdk/vimService") => Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "This is a SOAP service: use POST.".to_owned(),
        )),
        (_, path) => match endpoint(path) {
            Some(endpoint) => transfer(&shared, endpoint, address, request).await,
            None => Ok(not_found()),
        },
    }
}

/// The first name of a path.
fn first_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// The endpoint that a path belongs to, as fault rules name it.
fn endpoint(path: &str) -> Option<Endpoint> {
    match first_of(path) {
        "folder" => Some(Endpoint::Folder),
        "nfc" => Some(Endpoint::Nfc),
        "rest" | "api" => Some(Endpoint::Rest),
        _ => None,
    }
}

/// What is no SOAP: fault rules are asked here, whoever answers.
async fn transfer(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    address: SocketAddr,
    mut request: Request<Incoming>,
) -> Answered {
    let fate = request.extensions().get::<Fate>().cloned().unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let cookie = match endpoint {
        Endpoint::Rest => rest::session_of(request.headers()),
        _ => caller(request.headers(), address).cookie,
    };
    let user = user_of(shared, cookie.as_deref());
    let asked = Asked { endpoint, method: method.as_str(), object: &path, user: user.as_deref() };
    if let Some(rule) = shared.faults.strike(FaultPlace::Http, &asked)
        && let Some(answer) = spoil::struck(rule, shared, cookie.as_deref(), &fate).await
    {
        return answer;
    }
    let rule = shared.faults.strike(FaultPlace::Body, &asked);
    if let Some(rule) = &rule {
        spoil::prepare(&mut request, rule);
    }
    let response = match endpoint {
        Endpoint::Rest => rest::answer(shared, request).await?,
        Endpoint::Folder => folder::answer(shared, address, request).await?,
        Endpoint::Nfc => nfc::answer(shared, request).await?,
        Endpoint::Sdk => not_found(),
    };
    match rule {
        Some(rule) => Ok(spoilt(response, &rule, shared, cookie.as_deref(), &fate).await),
        None => Ok(response),
    }
}

/// What a rule makes of an answer, and of the session that asked.
async fn spoilt(
    response: Response,
    rule: &FaultRule,
    shared: &Shared,
    cookie: Option<&str>,
    fate: &Fate,
) -> Response {
    if rule.effect == Some(Effect::ExpireSession) {
        expire(shared, cookie);
    }
    spoil::spoil(response, rule, fate).await
}

fn user_of(shared: &Shared, cookie: Option<&str>) -> Option<String> {
    shared.read(|world| {
        let rest = || world.rest.live.get(cookie?).map(|session| session.user.clone());
        world.sessions.get(cookie?).map(|session| session.user.clone()).or_else(rest)
    })
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
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let mut caller = caller(&head.headers, address);
    let fate = head.extensions.get::<Fate>().cloned().unwrap_or_default();
    let style = shared.style();
    let action = head.headers.get("soapaction").and_then(|value| value.to_str().ok());
    let version = wire::version_of(action, shared.settings.version);
    shared.update_if(|world| world.expire_idle());
    let envelope = |status, text: String| encode::send(xml(status, style.dress(text)), &head.headers, style);
    let failed = |fault: &Fault| wire::fault_envelope(fault, version);
    let parsed = match read(&head.headers, body).await {
        Ok(bytes) => Call::parse(bytes, service, version).and_then(Call::in_namespace),
        Err(fault) => Err(fault),
    };
    let mut call = match parsed {
        Ok(call) => call,
        Err(fault) => {
            log::unreadable(&caller, &fault);
            return envelope(StatusCode::INTERNAL_SERVER_ERROR, failed(&fault)).await;
        }
    };
    if service != Service::Vim25 {
        let named = wire::in_header(&call.envelope, "vcSessionCookie").unwrap_or_default();
        caller.beside = std::mem::replace(&mut caller.cookie, named);
    }
    let cookie = caller.cookie.as_deref();
    call.user = user_of(shared, cookie);
    if let Some(rule) = shared.faults.strike(FaultPlace::Http, &Asked::of(&call))
        && let Some(answer) = spoil::struck(rule, shared, cookie, &fate).await
    {
        return answer;
    }
    let response = match dispatch(shared, &caller, &call).await {
        Ok(answer) => {
            let mut response = envelope(StatusCode::OK, answer.envelope(&call)).await?;
            if let Some(cookie) = answer.set_cookie.and_then(|cookie| cookie.parse().ok()) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            log::call(&call, &caller, began, call.envelope.len(), Ok(&response));
            response
        }
        Err(fault) => {
            log::call(&call, &caller, began, call.envelope.len(), Err(&fault));
            envelope(StatusCode::INTERNAL_SERVER_ERROR, failed(&fault)).await?
        }
    };
    match shared.faults.strike(FaultPlace::Body, &Asked::of(&call)) {
        Some(rule) => Ok(spoilt(response, &rule, shared, cookie, &fate).await),
        None => Ok(response),
    }
}

/// The body of a request, if it is one that can be read: neither compressed nor too large, which its head tells already.
async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Fault> {
    let coding = headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    if let Some(coding) = coding.filter(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(invalid_request(format!(
            "The request cannot be read: its body is compressed (Content-Encoding: {coding}), which is not supported."
        )));
    }
    let too_large =
        || invalid_request(format!("The request cannot be read: it is longer than {MAX_REQUEST} bytes."));
    if body.size_hint().exact().is_some_and(|length| length > MAX_REQUEST as u64) {
        return Err(too_large());
    }
    match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(invalid_request(format!("The request cannot be read: {error}"))),
    }
}

/// The value of a cookie, without quotes.
pub(super) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim() == wanted)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty())
}

/// Cookie, address and program of the client. Some send the cookie's attributes back, or an empty header.
pub(super) fn caller(headers: &HeaderMap, address: SocketAddr) -> Caller {
    let cookie = cookie(headers, session::COOKIE);
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Caller { cookie, beside: None, address: address.ip().to_string(), agent }
}

fn versions(newest: ApiVersion) -> String {
    let older = versions_before(newest).map(|version| format!("<version>{version}</version>"));
    let older: String = older.collect();
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
