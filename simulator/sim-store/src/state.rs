//! What the simulator's processes tell each other through files.
//!
//! - `DATA/inventory.json`: users, sessions, datastores and machines, written by the SOAP server and read by the
//!   fake VDDK at each connect and open ([`Inventory`]);
//! - `DATA/faults.json`: the failures that the fake VDDK shall play ([`FaultSet`]);
//! - `KIT/servers/HOST_PORT.json`: how the fake VDDK finds a server's data folder by host and port
//!   ([`ServerRecord`]).
//!
//! Every file is replaced in one step, so a reader never sees half of one.

mod credentials;
mod faults;
mod inventory;
mod registry;
pub mod rights;

pub use credentials::{CookieHash, PasswordHash};
pub use faults::{FaultCall, FaultEffect, FaultRule, FaultSet, load_faults, store_faults};
pub use inventory::{
    DisabledMethod, FirstClassDiskRecord, FirstClassSnapshotRecord, Inventory, SessionRecord, SnapshotRecord,
    UserRecord, VmDisk, VmRecord,
};
pub use registry::ServerRecord;

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result, files};

fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|source| Error::io("a state file cannot be read", source).at(path))?;
    serde_json::from_slice(&bytes).map_err(|source| {
        Error::new(ErrorKind::Corrupt, "a state file does not parse").at(path).because(source)
    })
}

fn store_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| {
        Error::new(ErrorKind::InvalidArgument, "a state file cannot be written").at(path).because(source)
    })?;
    bytes.push(b'\n');
    files::replace(path, &bytes)
}
