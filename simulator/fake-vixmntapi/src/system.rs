//! Which operating system is on a disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ffi::log;

const MARKER: &str = "simulated-os.json";
/// A marker is a line or two.
const MARKER_LIMIT: u64 = 64 << 10;

/// What GetOsInfo tells of Windows.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Windows {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) is_64_bit: bool,
    pub(crate) edition: Option<String>,
    /// The folder, as the volume has it.
    #[serde(skip)]
    pub(crate) folder: String,
}

/// Looks for Windows in the folder of a volume. Without a readable marker its version is 0.0.
pub(crate) fn find(volume: &Path) -> Option<Windows> {
    let folder = entry(volume, "windows")?;
    let name = folder.file_name()?.to_string_lossy().into_owned();
    let marker = entry(&folder, MARKER).filter(|file| {
        fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MARKER_LIMIT)
    });
    let mut windows = match marker.map(fs::read).transpose() {
        Ok(Some(text)) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            log::warn(&format!("{MARKER} is not what it should be: {error}"));
            Windows::default()
        }),
        Ok(None) => Windows::default(),
        Err(error) => {
            log::warn(&format!("{MARKER} cannot be read: {error}"));
            Windows::default()
        }
    };
    windows.folder = name;
    Some(windows)
}

/// An entry of a folder by its name in any case: FAT does not tell cases apart.
fn entry(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(std::result::Result::ok);
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|found| found.to_string_lossy().eq_ignore_ascii_case(name)))
}
