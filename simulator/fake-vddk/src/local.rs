//! Disks of this machine: VMDK files of every form that the crate `vmdk` knows.

mod attach;
mod copy;
mod disk;
mod files;
mod lock;
mod manage;
mod rebuild;

use std::path::Path;
use std::sync::Arc;

use vmdk::{ErrorKind, Folder, LocalFolder};

use crate::code::{Answer, Code};
use crate::connection::{Connection, Target};
use crate::ffi::log;

pub(crate) use attach::{attach, check_attach};
pub(crate) use copy::{clone, space_needed};
pub(crate) use disk::LocalDisk;
pub(crate) use files::{rename, unlink};
pub(crate) use manage::{Spec, check_repair, create, create_child, grow};
pub(crate) use rebuild::{defragment, shrink};

/// Hears percentages.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(i32);

/// The whole machine as one folder: a local client may open whatever its user may.
fn root() -> Answer<Arc<dyn Folder>> {
    let folder = LocalFolder::new("/").map_err(|error| {
        log::warn(&format!("the root folder cannot be opened: {error}"));
        Code::FILE_ERROR
    })?;
    Ok(Arc::new(folder.danger_follow_outside()))
}

/// The name below [`root`] of an absolute path.
fn name_of(path: &str) -> Answer<String> {
    if !Path::new(path).is_absolute() || path.ends_with('/') {
        log::warn("the path of a local disk must be absolute");
        return Err(Code::FILE_NAME_INVALID);
    }
    Ok(path.trim_start_matches('/').to_owned())
}

/// Whether a disk may be changed as a whole over this connection.
fn check(connection: &Connection, function: &str, path: &str) -> Answer<()> {
    connection.faults.suffer(function, path)?.settle()?;
    match connection.target {
        Target::Remote(_) => Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT),
        Target::Local if connection.read_only => Err(Code::FILE_READ_ONLY),
        Target::Local => name_of(path).map(drop),
    }
}

/// Turns a failure of `vmdk` into its code, and says in the log what it was.
fn told<T>(what: &str, result: vmdk::Result<T>) -> Answer<T> {
    result.map_err(|error| {
        log::warn(&format!("{what}: {error}"));
        match error.kind() {
            ErrorKind::NotADisk | ErrorKind::Unfinished | ErrorKind::Malformed => Code::INVALID_DISK,
            ErrorKind::Unsupported | ErrorKind::Disputed => Code::TYPE_NOT_SUPPORTED,
            ErrorKind::RemoteExtent | ErrorKind::DeviceMapping => Code::UNSUPPORTED_DEVICE,
            ErrorKind::Encrypted => Code::NEED_KEY,
            ErrorKind::OutsideFolder | ErrorKind::ParentMissing => Code::CANNOT_OPEN_PARENT,
            ErrorKind::ParentModified => Code::CID_MISMATCH,
            ErrorKind::CapacityDiffers => Code::CAPACITY_MISMATCH,
            ErrorKind::InvalidInput => Code::INVALID_ARG,
            ErrorKind::ReadOnly => Code::FILE_READ_ONLY,
            ErrorKind::TooLarge => Code::FILE_TOO_BIG,
            ErrorKind::NotFound => Code::FILE_NOT_FOUND,
            ErrorKind::AlreadyExists => Code::FILE_ALREADY_EXISTS,
            _ => std::error::Error::source(&error)
                .and_then(|source| source.downcast_ref::<std::io::Error>())
                .map_or(Code::FAIL, of_io),
        }
    })
}

/// The same for the operating system's failures.
fn told_io<T>(what: &str, result: std::io::Result<T>) -> Answer<T> {
    result.map_err(|error| {
        log::warn(&format!("{what}: {error}"));
        of_io(&error)
    })
}

fn of_io(error: &std::io::Error) -> Code {
    match error.kind() {
        std::io::ErrorKind::NotFound => Code::FILE_NOT_FOUND,
        std::io::ErrorKind::AlreadyExists => Code::FILE_ALREADY_EXISTS,
        std::io::ErrorKind::PermissionDenied => Code::FILE_ACCESS_ERROR,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DISK_FULL,
        _ => Code::FILE_ERROR,
    }
}
