//! The control port: plain HTTP on loopback, for programs that are not written in Rust, and for people with a browser.

mod chain;
mod first_class_disks;
mod guard;
mod guest_writers;
mod inventory;
mod live;
mod machine;
mod page;
mod query;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sim_store::state;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::faults::FaultRule;
use crate::inventory::places::percent_decoded;
use crate::sim::{SimVm, beside};
use crate::style::WireStyle;
use crate::world::Shared;
use crate::{Error, ErrorKind, Result};
use page::Asset;
use query::Query;

pub(crate) use live::About;

const JSON: &str = "application/json";

/// Largest request in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, about: About) {
    let about = Arc::new(about);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (shared, about) = (Arc::clone(&shared), Arc::clone(&about));
                    let service =
                        service_fn(move |request| answer(Arc::clone(&shared), Arc::clone(&about), request));
                    connections.spawn(async move {
                        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                        if let Err(error) = served {
                            tracing::debug!(%error, "a control connection ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Adds a rule for the fake VDDK.
pub(crate) fn add_vddk_fault(shared: &Shared, rule: state::FaultRule) -> Result<()> {
    let failed = |error| Error::store("writing the rules of the fake VDDK", error);
    let mut rules = state::load_faults(&shared.settings.data_dir).map_err(failed)?;
    rules.push(rule);
    state::store_faults(&shared.settings.data_dir, &rules).map_err(failed)
}

/// Drops all rules, those of the fake VDDK too.
pub(crate) fn clear_faults(shared: &Shared) -> Result<()> {
    shared.faults.clear();
    state::store_faults(&shared.settings.data_dir, &[])
        .map_err(|error| Error::store("writing the rules of the fake VDDK", error))
}

async fn answer(
    shared: Arc<Shared>,
    about: Arc<About>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let (status, content_type, content) = match (guard::admit(&head), page::asset(&path)) {
        (Err((status, why)), _) => (status, JSON, Bytes::from(format!("{}\n", json!({ "error": why })))),
        (Ok(()), Some(Asset { content_type, content })) if method == Method::GET => {
            (StatusCode::OK, content_type, content)
        }
        _ => {
            let (status, json) = carry_out(shared, about, head, body).await;
            (status, JSON, Bytes::from(format!("{json}\n")))
        }
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (status_code, bytes) = (status.as_u16(), content.len());
    match method {
        // The page asks every second.
        Method::GET => {
            tracing::debug!(%method, path, status = status_code, bytes, micros, "control request");
        }
        _ => tracing::info!(%method, path, status = status_code, bytes, micros, "control request"),
    }
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    page::protect(response.headers_mut());
    Ok(response)
}

async fn carry_out(
    shared: Arc<Shared>,
    about: Arc<About>,
    head: Parts,
    body: Incoming,
) -> (StatusCode, serde_json::Value) {
    let outcome = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let job = move || {
                let unwritten = shared.unwritten();
                let query = head.uri.query().unwrap_or_default();
                let done = route(&shared, &about, &head.method, head.uri.path(), query, &body)?;
                shared.check_written(unwritten).map(|()| done)
            };
            match tokio::task::spawn_blocking(job).await {
                Ok(outcome) => outcome,
                Err(error) => Err(Error::caused(ErrorKind::Store, "carrying out the request", error)),
            }
        }
        Err(error) => Err(Error::caused(ErrorKind::InvalidArgument, "reading the request", error)),
    };
    match outcome {
        Ok(json) => (StatusCode::OK, json),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
                ErrorKind::NotFound => StatusCode::NOT_FOUND,
                ErrorKind::InvalidState => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, json!({ "error": crate::fault::describe(&error) }))
        }
    }
}

fn route(
    shared: &Arc<Shared>,
    about: &About,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<serde_json::Value> {
    if let Some(answer) = guest_writers::route(shared, method, path, body) {
        return answer;
    }
    if path.starts_with(first_class_disks::PATH) {
        return first_class_disks::route(shared, method, path, Query(query), body);
    }
    match (method, path) {
        (&Method::GET, "/v1/server") => Ok(live::server(shared, about)),
        (&Method::GET, "/v1/tasks") => Ok(live::tasks(shared)),
        (&Method::GET, "/v1/sessions") => Ok(live::sessions(shared)),
        (&Method::GET, "/v1/inventory") => inventory::list(shared, Query(query)),
        (&Method::GET, path) if path.starts_with("/v1/machines/") => {
            machine_at(shared, path.trim_start_matches("/v1/machines/"), Query(query))
        }
        (&Method::POST, "/v1/guest-write") => guest_write(shared, &parse(body)?),
        (&Method::GET, "/v1/disk-extents") => disk_extents(shared, query),
        (&Method::POST, "/v1/faults") => add_fault(shared, body),
        (&Method::GET, "/v1/faults") => list_faults(shared),
        (&Method::DELETE, "/v1/faults") => clear_faults(shared).map(|()| json!({})),
        (&Method::DELETE, path) if path.starts_with("/v1/faults/") => {
            let id = path.trim_start_matches("/v1/faults/");
            let missing = || Error::new(ErrorKind::NotFound, format!("there is no fault rule {id}"));
            shared.faults.remove(id.parse().map_err(|_| missing())?)?;
            Ok(json!({}))
        }
        (&Method::POST, "/v1/sessions/expire") => {
            let wish: Expire = parse(body)?;
            let user = wish.user.as_deref();
            let expired = shared.update(|world| world.expire_sessions(user) + world.rest.expire(user));
            Ok(json!({ "expired": expired }))
        }
        (&Method::POST, "/v1/clock/advance") => {
            let wish: Advance = parse(body)?;
            shared.advance_clock(Duration::from_secs(wish.seconds));
            Ok(json!({}))
        }
        (&Method::GET, "/v1/clock") => Ok(json!({ "now": shared.now().date_time().as_str() })),
        (&Method::GET, "/v1/wire") => Ok(json!(shared.style())),
        (&Method::POST, "/v1/wire") => {
            let style = parse::<WireStyle>(body)?.check()?;
            shared.set_style(style);
            Ok(json!(style))
        }
        (&Method::POST, "/v1/storage-policies") => add_policy(shared, &parse(body)?),
        _ => Err(Error::new(ErrorKind::NotFound, format!("there is no {method} {path}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestWrite {
    vm: String,
    disk: i32,
    offset: u64,
    length: u64,
    seed: u64,
    #[serde(default)]
    force: bool,
}

/// A policy, and what is to have it: a machine's home, or one of its disks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    name: String,
    #[serde(default)]
    description: String,
    vm: Option<String>,
    disk: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

fn add_policy(shared: &Arc<Shared>, wish: &NewPolicy) -> Result<serde_json::Value> {
    let vm = wish.vm.as_ref().map(|vm| find(shared, vm)).transpose()?;
    let id = beside::add_policy(shared, &wish.name, &wish.description);
    if let Some(vm) = vm {
        beside::give_policy(shared, vm.moref().value(), wish.disk, &id);
    }
    Ok(json!({ "id": id }))
}

fn guest_write(shared: &Arc<Shared>, wish: &GuestWrite) -> Result<serde_json::Value> {
    let vm = find(shared, &wish.vm)?;
    if !wish.force && !vm.is_powered_on() {
        let what = format!(
            "{} is off, so it has no guest that writes; pass \"force\": true to write anyway",
            wish.vm
        );
        return Err(Error::new(ErrorKind::InvalidState, what));
    }
    vm.with_live_disk(wish.disk, |disk| {
        sim_store::guest::write_pattern(disk, wish.offset, wish.length, wish.seed, 0)
    })?
    .map_err(|error| Error::store("writing as the guest", error))?;
    let GuestWrite { disk, offset, length, .. } = wish;
    tracing::info!(machine = vm.moref().value(), disk, offset, length, "guest wrote");
    Ok(json!({ "written": wish.length }))
}

/// A machine, or a disk of it, at a path such as `vm-101/disks/2000`.
fn machine_at(shared: &Arc<Shared>, path: &str, query: Query<'_>) -> Result<serde_json::Value> {
    let (machine, disk) =
        path.split_once("/disks/").map_or((path, None), |(machine, disk)| (machine, Some(disk)));
    let name = percent_decoded(machine);
    let machine = find(shared, &String::from_utf8_lossy(&name))?;
    let id = machine.moref().value().to_owned();
    let Some(disk) = disk else { return machine::show(shared, &id) };
    let missing = || Error::new(ErrorKind::NotFound, format!("{id} has no disk {disk}"));
    chain::show(shared, &id, disk.parse().map_err(|_| missing())?, query)
}

fn disk_extents(shared: &Arc<Shared>, query: &str) -> Result<serde_json::Value> {
    let query = Query(query);
    let vm = find(shared, &query.required::<String>("vm")?)?;
    let (key, snapshot) = (query.required("disk")?, query.text("snapshot"));
    let snapshot = snapshot.as_deref();
    let allocated = vm.disk_allocated(key, snapshot)?;
    let allocated: Vec<_> = allocated.iter().map(|extent| [extent.offset, extent.length]).collect();
    Ok(json!({ "sha256": vm.disk_sha256(key, snapshot)?, "allocated": allocated }))
}

/// A rule with a `method` is the server's, one with a `function` the fake VDDK's.
fn add_fault(shared: &Shared, body: &[u8]) -> Result<serde_json::Value> {
    let rule: serde_json::Value = parse(body)?;
    if rule.get("function").is_some() {
        add_vddk_fault(shared, parse(body)?)?;
        return Ok(json!({}));
    }
    let id = shared.faults.add(FaultRule::from_json(&rule)?)?;
    Ok(json!({ "id": id }))
}

/// The rules of the server with what has become of them, and those of the fake VDDK, which counts for itself.
fn list_faults(shared: &Shared) -> Result<serde_json::Value> {
    let failed = |error| Error::store("reading the rules of the fake VDDK", error);
    let rules: Vec<_> = shared.faults.list().into_iter().map(|state| state.to_json()).collect();
    let vddk = state::load_faults(&shared.settings.data_dir).map_err(failed)?;
    Ok(json!({ "rules": rules, "vddk": vddk }))
}

/// A machine by its managed object id, or by its name.
fn find(shared: &Arc<Shared>, vm: &str) -> Result<SimVm> {
    let id = shared.read(|world| {
        world.machine(vm).or_else(|| world.machine_named(vm)).map(|machine| machine.id.clone())
    });
    let id = id.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no machine {vm:?}")))?;
    Ok(SimVm::new(Arc::clone(shared), id))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::caused(ErrorKind::InvalidArgument, "reading the request's JSON", error))
}
