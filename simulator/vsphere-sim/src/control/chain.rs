//! The links of a disk, who froze each, and maps of what is allocated and what has changed.
//!
//! What the world knows is copied first, and the files are read outside of its lock, as everybody else reads them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sim_store::{Access, DatastorePath, DeltaFormat, Disk, Extent, LinkKind, SECTOR, Scope, tracking};

use super::query::Query;
use crate::fault::describe;
use crate::machine::DiskState;
use crate::world::{Shared, World};
use crate::{Error, ErrorKind, Result};

/// Parts into which a map divides the disk, where the caller does not say.
const CELLS: u64 = 256;

/// Parts at most.
const MOST_CELLS: u64 = 4096;

/// Who reads while links come and go begins anew so many times.
const ATTEMPTS: usize = 3;

/// A disk of a machine, as far as the world knows it.
struct Known {
    disk: DiskState,
    host: PathBuf,
    has_files: bool,
    frozen: Vec<Frozen>,
}

/// The same disk in a snapshot.
struct Frozen {
    snapshot: String,
    name: String,
    path: DatastorePath,
    host: PathBuf,
}

/// A link, as it was found.
struct Found {
    path: DatastorePath,
    parent: Option<DatastorePath>,
    kind: LinkKind,
    cid: String,
}

/// How a map divides a disk.
#[derive(Clone, Copy)]
struct Grid {
    capacity: u64,
    /// Bytes in a cell, whole sectors.
    cell: u64,
}

/// `GET /v1/machines/ID/disks/KEY?cells`.
pub(super) fn show(shared: &Shared, id: &str, key: i32, query: Query<'_>) -> Result<Value> {
    let cells = query.value("cells")?.unwrap_or(CELLS);
    if !(1..=MOST_CELLS).contains(&cells) {
        let what = format!("the parameter cells lies between 1 and {MOST_CELLS}");
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let mut attempt = 1;
    loop {
        let known = shared.read(|world| known(world, id, key))?;
        match draw(shared, &known, cells) {
            Err(error) if attempt < ATTEMPTS => {
                tracing::debug!(
                    error = describe(&error),
                    machine = id,
                    key,
                    "a chain changed while it was read"
                );
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn known(world: &World, id: &str, key: i32) -> Result<Known> {
    let missing = |what: String| Error::new(ErrorKind::NotFound, what);
    let machine = world.machine(id).ok_or_else(|| missing(format!("there is no machine {id:?}")))?;
    let of_key = |disks: Vec<DiskState>| disks.into_iter().find(|disk| disk.key == key);
    let disk = of_key(machine.disks()).ok_or_else(|| missing(format!("{id} has no disk {key}")))?;
    let host =
        |path: &DatastorePath| world.resolve(path).map_err(|error| Error::store("finding a disk", error));
    let mut frozen = Vec::new();
    for snapshot in &machine.snapshots {
        let Some(disk) = of_key(snapshot.disks()).filter(|disk| !disk.independent) else { continue };
        frozen.push(Frozen {
            snapshot: snapshot.id.clone(),
            name: snapshot.name.clone(),
            host: host(&disk.path)?,
            path: disk.path,
        });
    }
    Ok(Known { host: host(&disk.path)?, has_files: !machine.untouched, disk, frozen })
}

fn draw(shared: &Shared, known: &Known, cells: u64) -> Result<Value> {
    let grid = Grid::of(known.disk.capacity, cells);
    let mut shown = json!({
        "key": known.disk.key,
        "uuid": known.disk.uuid,
        "capacity": grid.capacity,
        "cell": grid.cell,
        "independent": known.disk.independent,
        "has_files": known.has_files,
    });
    if !known.has_files {
        // It is known what they will be: one link with nothing on it.
        let link = json!({
            "path": known.disk.path.to_string(), "kind": kind(LinkKind::Flat), "live": true,
            "allocated": grid.map(&[]),
        });
        shown["links"] = json!([link]);
        shown["allocated"] = grid.map(&[]);
        shown["changed"] = json!([]);
        return Ok(shown);
    }
    let links = links(shared, known)?;
    let mut drawn = Vec::with_capacity(links.len());
    for (host, link) in &links {
        let own = allocated(host, Scope::TopLink)?;
        let by: Vec<&str> = known
            .frozen
            .iter()
            .filter(|frozen| frozen.path == link.path)
            .map(|frozen| frozen.snapshot.as_str())
            .collect();
        drawn.push(json!({
            "path": link.path.to_string(),
            "parent": link.parent.as_ref().map(DatastorePath::to_string),
            "kind": kind(link.kind),
            "cid": link.cid,
            "live": link.path == known.disk.path,
            "frozen_by": by,
            "change_id": change_id(host)?,
            "allocated": grid.map(&own),
        }));
    }
    let changed: Result<Vec<Value>> =
        known.frozen.iter().filter_map(|frozen| changed(known, frozen, grid).transpose()).collect();
    shown["links"] = json!(drawn);
    shown["allocated"] = grid.map(&allocated(&known.host, Scope::WholeChain)?);
    shown["changed"] = json!(changed?);
    Ok(shown)
}

/// All links that the live disk or a snapshot needs, parents before their children.
fn links(shared: &Shared, known: &Known) -> Result<Vec<(PathBuf, Found)>> {
    let tops = known.frozen.iter().map(|frozen| &frozen.host);
    let mut order = Vec::new();
    let mut found = BTreeMap::new();
    for host in tops.chain([&known.host]) {
        let disk = open(host, Scope::WholeChain)?;
        let mut parent = None;
        for link in disk.links().into_iter().rev() {
            let path = shared.read(|world| world.path_of(&link.descriptor)).ok_or_else(|| {
                let what = format!("{} is on no datastore", link.descriptor.display());
                Error::new(ErrorKind::Store, what)
            })?;
            if let Entry::Vacant(place) = found.entry(link.descriptor) {
                order.push(place.key().clone());
                let cid = format!("{:08x}", link.cid.0);
                place.insert(Found { path: path.clone(), parent, kind: link.kind, cid });
            }
            parent = Some(path);
        }
    }
    Ok(order.into_iter().filter_map(|host| found.remove_entry(&host)).collect())
}

/// What has changed on the live disk since a snapshot. `None` where the snapshot has no id to ask with.
fn changed(known: &Known, frozen: &Frozen, grid: Grid) -> Result<Option<Value>> {
    let Some(since) = change_id(&frozen.host)? else { return Ok(None) };
    let mut shown = json!({ "since": frozen.snapshot, "name": frozen.name, "change_id": since });
    match tracking::query(&known.host, &since, 0, usize::MAX) {
        Ok(window) => shown["map"] = grid.map(&window.extents),
        // As a backup program would be told.
        Err(error) if error.is_file_fault() => shown["refused"] = json!(describe(&error)),
        Err(error) => return Err(Error::store("looking for changes", error)),
    }
    Ok(Some(shown))
}

fn open(host: &Path, scope: Scope) -> Result<Disk> {
    Disk::open(host, Access::ReadOnly, scope).map_err(|error| Error::store("opening a disk", error))
}

fn allocated(host: &Path, scope: Scope) -> Result<Vec<Extent>> {
    let disk = open(host, scope)?;
    disk.allocated(0, disk.capacity()).map_err(|error| Error::store("looking for allocated areas", error))
}

fn change_id(host: &Path) -> Result<Option<String>> {
    let id = tracking::change_id(host).map_err(|error| Error::store("reading a change id", error))?;
    Ok(id.map(|id| id.to_string()))
}

fn kind(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Flat => "flat",
        LinkKind::Delta(DeltaFormat::VmfsSparse) => "vmfsSparse",
        LinkKind::Delta(DeltaFormat::SeSparse) => "seSparse",
    }
}

impl Grid {
    fn of(capacity: u64, cells: u64) -> Self {
        Self { capacity, cell: capacity.div_ceil(cells).next_multiple_of(SECTOR).max(SECTOR) }
    }

    /// How many bytes of some areas, which are ascending and apart, lie in each cell.
    fn map(self, areas: &[Extent]) -> Value {
        let count = usize::try_from(self.capacity.div_ceil(self.cell)).unwrap_or(0);
        let mut cells = vec![0_u64; count];
        for area in areas {
            let mut at = area.offset;
            while at < area.end() {
                let index = at / self.cell;
                let end = area.end().min((index + 1) * self.cell);
                if let Some(cell) = usize::try_from(index).ok().and_then(|index| cells.get_mut(index)) {
                    *cell += end - at;
                }
                at = end;
            }
        }
        let bytes: u64 = areas.iter().map(|area| area.length).sum();
        json!({ "bytes": bytes, "areas": areas.len(), "cells": cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_what_lies_in_them() {
        let grid = Grid::of(10 * SECTOR + 1, 5);
        assert_eq!(grid.cell, 3 * SECTOR);
        let area = |offset, length| Extent { offset, length };
        let map = grid.map(&[area(0, 1), area(SECTOR, 4 * SECTOR), area(10 * SECTOR, 1)]);
        let third = 3 * SECTOR;
        assert_eq!(
            map,
            json!({ "bytes": 4 * SECTOR + 2, "areas": 3, "cells": [2 * SECTOR + 1, 2 * SECTOR, 0, 1] })
        );
        assert_eq!(Grid::of(third, 1).map(&[area(0, third)])["cells"], json!([third]));
        assert_eq!(Grid::of(SECTOR, 256).map(&[])["cells"], json!([0]));
    }
}
