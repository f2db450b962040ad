//! Disks attached to this machine for HotAdd. A process that dies leaves them attached; Cleanup finds them by what is noted in
//! the temporary folder, which therefore must be that of the process that died.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::code::{Answer, Code};
use crate::connection::Server;
use crate::ffi::log;
use crate::settings::Settings;

/// A disk that is attached, and noted; detached when dropped.
pub(crate) struct Attached(PathBuf);

/// What a clean-up found, in machines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) cleaned: u32,
    pub(crate) remaining: u32,
}

impl Attached {
    pub(crate) fn new(settings: &Settings, server: &Server, disk: &str) -> Answer<Attached> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let folder = folder(settings);
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let noted = fs::create_dir_all(&folder)
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
            .and_then(|mut file| write!(file, "{}\n{disk}\n", server.data_dir.display()));
        noted.map_err(|error| failed(&path, &error))?;
        Ok(Attached(path))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            failed(&self.0, &error);
        }
    }
}

/// Detaches what processes that are gone have left attached of a server's disks. What a living one uses remains.
pub(crate) fn clean_up(settings: &Settings, server: &Server) -> Answer<Report> {
    let folder = folder(settings);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Report::default()),
        Err(error) => return Err(failed(&folder, &error)),
    };
    let (mut cleaned, mut remaining) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let path = entry.map_err(|error| failed(&folder, &error))?.path();
        let note = match fs::read_to_string(&path) {
            Ok(note) => note,
            // Another program has just detached it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&path, &error)),
        };
        let Some((data_dir, disk)) = note.split_once('\n') else { continue };
        if Path::new(data_dir) != server.data_dir {
            continue;
        }
        // A machine's disks lie in its folder.
        let machine = disk.split('/').next().unwrap_or(disk).to_owned();
        if owner_lives(&path) {
            log::warn(&format!("{} is in use by a process that lives", disk.trim_end()));
            remaining.insert(machine);
        } else {
            fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            cleaned.insert(machine);
        }
    }
    let count = |machines: &BTreeSet<String>| u32::try_from(machines.len()).unwrap_or(u32::MAX);
    Ok(Report { cleaned: count(&cleaned), remaining: count(&remaining) })
}

fn owner_lives(note: &Path) -> bool {
    let name = note.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let owner = name.split('-').next().unwrap_or_default();
    Path::new("/proc").join(owner).join("stat").exists()
}

fn folder(settings: &Settings) -> PathBuf {
    settings.temp_directory.clone().unwrap_or_else(std::env::temp_dir).join("fake-vddk-hotadd")
}

fn failed(path: &Path, error: &io::Error) -> Code {
    log::warn(&format!("{}: {error}", path.display()));
    Code::FILE_ERROR
}
