//! The registry of running servers in a kit folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{load_json, store_json};
use crate::{Error, Result, files};

/// What a client that knows only host and port needs to find a simulated server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The server's data folder.
    pub data_dir: PathBuf,
    /// SHA-1 thumbprint of the server's certificate, `AA:BB:..`.
    pub thumbprint_sha1: String,
    /// SHA-256 thumbprint of the server's certificate, `AA:BB:..`.
    pub thumbprint_sha256: String,
}

impl ServerRecord {
    /// Writes the record of `host:port`, making `KIT/servers` if need be.
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub fn store(&self, kit: &Path, host: &str, port: u16) -> Result<()> {
        let path = record_path(kit, host, port);
        let folder = files::folder_of(&path);
        fs::create_dir_all(folder)
            .map_err(|source| Error::io("the kit's folder of servers cannot be made", source).at(folder))?;
        store_json(&path, self)
    }

    /// Reads the record of `host:port`.
    ///
    /// # Errors
    /// `NotFound` if no such server is registered, `Corrupt`, `Io`.
    pub fn load(kit: &Path, host: &str, port: u16) -> Result<Self> {
        load_json(&record_path(kit, host, port))
    }

    /// Removes the record of `host:port`; that there is none is fine.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(kit: &Path, host: &str, port: u16) -> Result<()> {
        files::remove(&record_path(kit, host, port))
    }
}

/// Host names come from outside: whatever has no place in a file name becomes a dash. Case does not matter.
fn record_path(kit: &Path, host: &str, port: u16) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let host: String = host.chars().map(plain).collect();
    kit.join("servers").join(format!("{host}_{port}.json"))
}
