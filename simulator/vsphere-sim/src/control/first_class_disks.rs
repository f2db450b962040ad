//! First-class disks on the control port.

use std::sync::Arc;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sim_store::Access;

use super::parse;
use super::query::Query;
use crate::fcd::FirstClassDisk;
use crate::sim::beside;
use crate::world::{Shared, World};
use crate::{Error, ErrorKind, Result};

/// Where they are.
pub(super) const PATH: &str = "/v1/first-class-disks";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDisk {
    name: String,
    capacity: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskWrite {
    id: String,
    offset: u64,
    length: u64,
    seed: u64,
}

pub(super) fn route(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    query: Query<'_>,
    body: &[u8],
) -> Result<Value> {
    match (method, path.trim_start_matches(PATH)) {
        (&Method::GET, "") => Ok(shared.read(|world| {
            let disks = world.first_class.iter().map(|disk| show(world, disk));
            json!(disks.collect::<Vec<_>>())
        })),
        (&Method::POST, "") => {
            let wish: NewDisk = parse(body)?;
            let id = beside::add_disk(shared, &wish.name, wish.capacity)?;
            Ok(json!({ "id": id }))
        }
        (&Method::POST, "/write") => {
            let wish: DiskWrite = parse(body)?;
            let write =
                |disk: &mut _| sim_store::guest::write_pattern(disk, wish.offset, wish.length, wish.seed, 0);
            beside::with_disk(shared, &wish.id, write)?
                .map_err(|error| Error::store("writing to the first-class disk", error))?;
            Ok(json!({ "written": wish.length }))
        }
        (&Method::GET, "/extents") => extents(shared, query),
        _ => Err(Error::new(ErrorKind::NotFound, format!("there is no {method} {path}"))),
    }
}

fn show(world: &World, disk: &FirstClassDisk) -> Value {
    let snapshots: Vec<Value> = disk
        .snapshots
        .iter()
        .map(|snapshot| {
            json!({ "id": snapshot.id, "path": snapshot.path.to_string(), "change_id": snapshot.change_id })
        })
        .collect();
    json!({
        "id": disk.id, "name": disk.name, "capacity": disk.capacity, "path": disk.path.to_string(),
        "tracked": disk.tracked, "snapshots": snapshots,
        "vm": world.consumer_of(&disk.id).map(|(machine, _)| machine.id.clone()),
    })
}

/// `GET /v1/first-class-disks/extents?id&snapshot`: as `disk-extents` tells of machines' disks.
fn extents(shared: &Arc<Shared>, query: Query<'_>) -> Result<Value> {
    let (id, snapshot) = (query.required::<String>("id")?, query.text("snapshot"));
    let disk = beside::open_disk(shared, &id, snapshot.as_deref(), Access::ReadOnly)?;
    let failed = |error: sim_store::Error| Error::store(format!("reading the first-class disk {id}"), error);
    let allocated = disk.allocated(0, disk.capacity()).map_err(failed)?;
    let allocated: Vec<_> = allocated.iter().map(|extent| [extent.offset, extent.length]).collect();
    Ok(json!({ "sha256": disk.sha256().map_err(failed)?.to_string(), "allocated": allocated }))
}
