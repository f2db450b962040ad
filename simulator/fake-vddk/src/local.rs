//! Making, growing and deleting local disks.

use std::path::Path;

use sim_store::{Disk, DiskSpec, Provisioning, SECTOR};

use crate::code::{Answer, Code};
use crate::connection::{Connection, Target};
use crate::ffi::log;

const VMFS_FLAT: u32 = 5;
const VMFS_THIN: u32 = 7;

/// What to create.
pub(crate) struct Spec {
    pub(crate) disk_type: u32,
    pub(crate) adapter: u32,
    pub(crate) hardware_version: u16,
    pub(crate) sectors: u64,
}

/// Creates a disk of the two types that the store can write: thin and thick VMFS disks.
pub(crate) fn create(connection: &Connection, path: &str, spec: &Spec) -> Answer<()> {
    check(connection, "Create", path)?;
    let provisioning = match spec.disk_type {
        VMFS_THIN => Provisioning::Thin,
        VMFS_FLAT => Provisioning::LazyThick,
        other => {
            log::warn(&format!("disks of type {other} cannot be created here"));
            return Err(Code::TYPE_NOT_SUPPORTED);
        }
    };
    let adapter = match spec.adapter {
        1 => "ide",
        2 => "buslogic",
        3 => "lsilogic",
        _ => return Err(Code::INVALID_ARG),
    };
    let capacity = spec.sectors.checked_mul(SECTOR).ok_or(Code::INVALID_ARG)?;
    let spec = DiskSpec {
        provisioning,
        adapter: adapter.to_owned(),
        hardware_version: spec.hardware_version.into(),
        ..DiskSpec::thin(capacity)
    };
    told(path, Disk::create(path, &spec).map(drop))
}

pub(crate) fn grow(connection: &Connection, path: &str, sectors: u64) -> Answer<()> {
    check(connection, "Grow", path)?;
    let capacity = sectors.checked_mul(SECTOR).ok_or(Code::INVALID_ARG)?;
    told(path, sim_store::grow(Path::new(path), capacity))
}

pub(crate) fn unlink(connection: &Connection, path: &str) -> Answer<()> {
    check(connection, "Unlink", path)?;
    told(path, sim_store::delete(Path::new(path)))
}

fn check(connection: &Connection, function: &str, path: &str) -> Answer<()> {
    connection.faults.suffer(function, path)?.settle()?;
    match connection.target {
        Target::Remote(_) => Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT),
        Target::Local if connection.read_only => Err(Code::FILE_READ_ONLY),
        Target::Local if !Path::new(path).is_absolute() => Err(Code::FILE_NAME_INVALID),
        Target::Local => Ok(()),
    }
}

fn told(path: &str, result: sim_store::Result<()>) -> Answer<()> {
    result.map_err(|error| {
        log::warn(&format!("{path}: {error}"));
        Code::of(&error)
    })
}
