//! Names of objects, see docs/repository-format.md, "Layout".

use crate::error::Result;
use crate::ids::{IndexId, KeySlotId, LockId, PackId, PointId};
use crate::store::ObjectName;

pub(crate) const CONFIG: &str = "config";
pub(crate) const KEYS: &str = "keys";
pub(crate) const PACKS: &str = "packs";
pub(crate) const INDEX: &str = "index";
pub(crate) const POINTS: &str = "points";
pub(crate) const TOMBSTONES: &str = "tombstones";
pub(crate) const LOCKS: &str = "locks";

/// Top-level names that belong to the format.
pub(crate) const FOLDERS: [&str; 6] = [KEYS, PACKS, INDEX, POINTS, TOMBSTONES, LOCKS];

pub(crate) fn config_name() -> Result<ObjectName> {
    ObjectName::new(CONFIG)
}

pub(crate) fn key_name(id: KeySlotId) -> Result<ObjectName> {
    ObjectName::new(format!("{KEYS}/{id}"))
}

pub(crate) fn pack_name(id: PackId) -> Result<ObjectName> {
    ObjectName::new(format!("{PACKS}/{:02x}/{id}", id.as_bytes()[0]))
}

pub(crate) fn index_name(id: IndexId) -> Result<ObjectName> {
    ObjectName::new(format!("{INDEX}/{id}"))
}

pub(crate) fn point_name(id: PointId) -> Result<ObjectName> {
    ObjectName::new(format!("{POINTS}/{id}"))
}

pub(crate) fn tombstone_name(pack: PackId) -> Result<ObjectName> {
    ObjectName::new(format!("{TOMBSTONES}/{pack}"))
}

pub(crate) fn lock_name(id: LockId) -> Result<ObjectName> {
    ObjectName::new(format!("{LOCKS}/{id}"))
}

/// The id in `folder/<id>`; `None` for names of another shape.
pub(crate) fn id_of<'a>(folder: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(folder)?.strip_prefix('/')
}

/// The id in `packs/<two digits>/<id>`; `None` for names of another shape.
pub(crate) fn pack_of(name: &str) -> Option<PackId> {
    let (digits, id) = id_of(PACKS, name)?.split_once('/')?;
    id.starts_with(digits).then(|| PackId::parse(id).ok()).flatten().filter(|_| digits.len() == 2)
}
