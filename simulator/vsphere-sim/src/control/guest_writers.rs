//! `/v1/guest-writers`, and how much datastores hold.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sim_store::guest::writer::{Pattern, Workload};

use super::{find, parse};
use crate::world::Shared;
use crate::{Error, ErrorKind, Result, datastores, guest};

const PATH: &str = "/v1/guest-writers";

/// Most ticks that one request asks for.
const MAX_TICKS: u32 = 100_000;

/// Answers what belongs here; `None` for anything else.
pub(super) fn route(shared: &Arc<Shared>, method: &Method, path: &str, body: &[u8]) -> Option<Result<Value>> {
    Some(match (method, path) {
        (&Method::POST, PATH) => start(shared, body),
        (&Method::GET, PATH) => Ok(json!(shared.guests.states())),
        (&Method::POST, "/v1/guest-writers/step") => step(shared, body),
        (&Method::DELETE, path) if path.starts_with("/v1/guest-writers/") => {
            stop(shared, path.trim_start_matches("/v1/guest-writers/"))
        }
        (&Method::POST, "/v1/datastore-capacity") => parse::<Capacity>(body).and_then(|wish| {
            datastores::set_capacity(shared, &wish.name, wish.capacity)?;
            Ok(json!({}))
        }),
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWriter {
    vm: String,
    #[serde(default)]
    seed: u64,
    patterns: Option<Vec<Pattern>>,
    bytes: Option<u64>,
    interval_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    vm: String,
    #[serde(default = "one")]
    ticks: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capacity {
    name: String,
    capacity: u64,
}

fn one() -> u32 {
    1
}

fn start(shared: &Arc<Shared>, body: &[u8]) -> Result<Value> {
    let wish: NewWriter = parse(body)?;
    let usual = Workload::default();
    let workload = Workload {
        seed: wish.seed,
        patterns: wish.patterns.unwrap_or(usual.patterns),
        bytes: wish.bytes.unwrap_or(usual.bytes),
    };
    let vm = find(shared, &wish.vm)?;
    let started = guest::start(&vm, workload, wish.interval_ms.map(Duration::from_millis))?;
    Ok(json!(started.state()))
}

fn step(shared: &Arc<Shared>, body: &[u8]) -> Result<Value> {
    let wish: Step = parse(body)?;
    let writer = guest::handle(&find(shared, &wish.vm)?).ok_or_else(|| missing(&wish.vm))?;
    if wish.ticks > MAX_TICKS {
        let what = format!("{} ticks are more than {MAX_TICKS} at once", wish.ticks);
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let mut tick = 0;
    for _ in 0..wish.ticks {
        tick = writer.step()?;
    }
    Ok(json!({ "tick": tick }))
}

fn stop(shared: &Arc<Shared>, vm: &str) -> Result<Value> {
    let writer = guest::handle(&find(shared, vm)?).ok_or_else(|| missing(vm))?;
    writer.stop();
    Ok(json!({}))
}

fn missing(vm: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the guest of {vm:?} does not write by itself"))
}
