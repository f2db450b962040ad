//! `DATA/vsphere.json`: what a restarted simulator takes up again.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::world::Stored;
use crate::{Error, ErrorKind, Result};

const NAME: &str = "vsphere.json";

/// Reads the state of a data folder; `None` if there is none yet.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Stored>> {
    let path = data_dir.join(NAME);
    let failed = |what: &str| format!("{what} {}", path.display());
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::caused(ErrorKind::Store, failed("reading"), error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::caused(ErrorKind::Store, failed("understanding"), error))
}

/// Replaces the state of a data folder in one step.
pub(crate) fn store(data_dir: &Path, stored: &Stored) -> Result<()> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::caused(ErrorKind::Store, format!("writing {NAME} in {}", data_dir.display()), error)
    };
    let bytes = serde_json::to_vec_pretty(stored).map_err(|error| failed(error.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(data_dir).map_err(|error| failed(error.into()))?;
    file.write_all(&bytes).map_err(|error| failed(error.into()))?;
    file.persist(data_dir.join(NAME)).map_err(|error| failed(error.into()))?;
    Ok(())
}
