//! The files of a disk: deleting and renaming them together.

use std::fs;
use std::path::{Path, PathBuf};

use vmdk::name::change_track_name;
use vmdk::{Descriptor, Disk, ExtentKind, Folder};

use super::disk::options;
use super::lock::Lock;
use super::{check, name_of, root, told, told_io};
use crate::code::{Answer, Code};
use crate::connection::Connection;
use crate::ffi::log;

pub(crate) fn unlink(connection: &Connection, path: &str) -> Answer<()> {
    check(connection, "Unlink", path)?;
    exists(path)?;
    let _lock = Lock::take(path)?;
    unlink_file(path)
}

/// Gives a disk and its data files another name. Files that are not called after the disk keep their names.
pub(crate) fn rename(from: &str, to: &str) -> Answer<()> {
    let target = name_of(to)?;
    exists(from)?;
    let _lock = Lock::take(from)?;
    if fs::symlink_metadata(to).is_ok() {
        log::warn(&format!("{to} exists"));
        return Err(Code::FILE_ALREADY_EXISTS);
    }
    let _target_lock = Lock::take(to)?;
    move_files(from, to, &target)
}

/// Deletes descriptor, data and change tracking; the lock is the caller's.
pub(super) fn unlink_file(path: &str) -> Answer<()> {
    let disk = open(path)?;
    let mut files = data_files(path, &disk);
    drop(disk);
    let track = Path::new(path).with_file_name(change_track_name(base(path)?));
    files.retain(|file| file.exists());
    // The descriptor first: what is left after a crash is no disk.
    told_io(path, fs::remove_file(path))?;
    for file in files {
        told_io(path, fs::remove_file(file))?;
    }
    match fs::remove_file(track) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => told_io(path, Err(error)),
        _ => Ok(()),
    }
}

/// Removes what a failed call has made, as far as that is possible.
pub(super) fn remove(path: &str) {
    if unlink_file(path).is_err() && fs::remove_file(path).is_err() {
        log::warn(&format!("what was made of {path} stays"));
    }
}

/// Moves the files; the locks are the caller's.
pub(super) fn move_files(from: &str, to: &str, target: &str) -> Answer<()> {
    let disk = open(from)?;
    let embedded = disk.links().first().is_some_and(vmdk::Link::is_embedded);
    let descriptor = disk.links().first().ok_or(Code::FAIL)?.descriptor().clone();
    drop(disk);
    if embedded {
        // What it calls itself goes stale, and is ignored by every reader.
        return told_io(from, fs::rename(from, to));
    }
    let (old, new) = (stem(from)?, stem(to)?);
    let mut renamed: Descriptor = descriptor.clone();
    let mut moves = Vec::new();
    let mut extents = descriptor.extents().to_vec();
    for extent in &mut extents {
        let Some(file) = extent.file.clone().filter(|_| extent.kind != ExtentKind::Zero) else { continue };
        let Some(rest) = file.strip_prefix(old).filter(|_| !file.contains('/')) else { continue };
        let name = format!("{new}{rest}");
        moves.push((Path::new(from).with_file_name(&file), Path::new(to).with_file_name(&name)));
        extent.file = Some(name);
    }
    told(from, renamed.set_extents(extents))?;
    if let Some((_, taken)) = moves.iter().find(|(_, to)| to.exists()) {
        log::warn(&format!("{} exists", taken.display()));
        return Err(Code::FILE_ALREADY_EXISTS);
    }
    for (from_file, to_file) in moves {
        told_io(from, fs::rename(from_file, to_file))?;
    }
    told_io(to, root()?.replace(target, &renamed.to_bytes()))?;
    told_io(from, fs::remove_file(from))
}

/// Tells a missing disk from a locked one before a lock file is made.
pub(super) fn exists(path: &str) -> Answer<()> {
    name_of(path)?;
    told_io(path, fs::metadata(path)).map(drop)
}

/// The last part of a path.
pub(super) fn base(path: &str) -> Answer<&str> {
    Path::new(path).file_name().and_then(|name| name.to_str()).ok_or(Code::FILE_NAME_INVALID)
}

pub(super) fn stem(path: &str) -> Answer<&str> {
    let base = base(path)?;
    Ok(base.strip_suffix(".vmdk").unwrap_or(base))
}

fn open(path: &str) -> Answer<Disk> {
    let folder: std::sync::Arc<dyn Folder> = root()?;
    told(path, options(false, true).open(&folder, &name_of(path)?))
}

/// The files that only hold data.
fn data_files(path: &str, disk: &Disk) -> Vec<PathBuf> {
    let Some(link) = disk.links().first().filter(|link| !link.is_embedded()) else { return Vec::new() };
    let files = link.descriptor().extents().iter().filter_map(|extent| extent.file.as_deref());
    // Beside the descriptor, or nowhere: others' files are not deleted because a descriptor names them.
    files.filter(|file| !file.contains('/')).map(|file| Path::new(path).with_file_name(file)).collect()
}
