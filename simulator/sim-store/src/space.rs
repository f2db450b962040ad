//! What a datastore may hold: a limit, kept beside its folder, to which every process holds the writes that take space.
//!
//! A disk that is not thin counts with its capacity, since it has its space from the beginning; any other file counts
//! with what the host's file system has allocated for it. Where nobody has set a limit, nothing is counted.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::descriptor::{Descriptor, Provisioning};
use crate::{Error, ErrorKind, Result, files};

/// What a new file takes at least, in bytes.
pub(crate) const NEW_FILE: u64 = 64 << 10;
/// Most bytes that may be written before the files are counted again.
const MAX_CREDIT: u64 = 16 << 20;

/// The room on a datastore that has a limit.
#[derive(Debug)]
pub struct Space {
    root: PathBuf,
    /// Bytes that may be claimed before the files are counted again: never more than a part of what is free, so that
    /// several writers do not go past the limit together.
    credit: Mutex<u64>,
}

impl Space {
    /// The room for a file, by its path on this machine; the file need not exist. `None` where there is no limit.
    ///
    /// # Errors
    /// `Corrupt`, `Io` if the limit cannot be read.
    pub fn of(file: &Path) -> Result<Option<Self>> {
        for folder in file.ancestors().skip(1) {
            if limit(folder)?.is_some() {
                return Ok(Some(Self { root: folder.to_owned(), credit: Mutex::new(0) }));
            }
        }
        Ok(None)
    }

    /// Limits what the files in a datastore's folder may take together, in bytes, or lifts the limit. Writers that are at
    /// work learn of it when they count next.
    ///
    /// # Errors
    /// `BadPath` for a folder without a name; `NoSpace`, `Io`.
    pub fn set_limit(root: &Path, bytes: Option<u64>) -> Result<()> {
        let path = limit_path(root).ok_or_else(|| {
            Error::new(ErrorKind::BadPath, "a datastore's folder has a name that is UTF-8").at(root)
        })?;
        match bytes {
            Some(bytes) => files::replace(&path, format!("{bytes}\n").as_bytes()),
            None => files::remove(&path),
        }
    }

    /// Bytes that are free: none where the limit was set below what is there.
    ///
    /// # Errors
    /// `Io`.
    pub fn free(&self) -> Result<u64> {
        match limit(&self.root)? {
            Some(limit) => Ok(limit.saturating_sub(used(&self.root)?)),
            None => Ok(u64::MAX),
        }
    }

    /// Asks for so many bytes more.
    ///
    /// # Errors
    /// `NoSpace` if they do not fit, with the datastore's folder as its path.
    pub fn claim(&self, bytes: u64) -> Result<()> {
        self.claim_at_most(bytes, || Ok(bytes))
    }

    /// Asks for at most so many bytes; how many they are exactly is looked at only where that matters.
    pub(crate) fn claim_at_most(&self, most: u64, exact: impl FnOnce() -> Result<u64>) -> Result<()> {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rest) = credit.checked_sub(most) {
            *credit = rest;
            return Ok(());
        }
        let (wanted, free) = (exact()?, self.free()?);
        if wanted > free {
            let what =
                format!("the datastore is full: {wanted} more bytes do not fit the {free} that are free");
            return Err(Error::new(ErrorKind::NoSpace, what).at(&self.root));
        }
        *credit = ((free - wanted) / 16).min(MAX_CREDIT);
        Ok(())
    }
}

/// Bytes that a file counts for.
pub fn taken(path: &Path, metadata: &Metadata) -> u64 {
    let allocated = metadata.blocks() * 512;
    let stem =
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix("-flat.vmdk"));
    match stem.map(|stem| Descriptor::load(&files::sibling(path, &format!("{stem}.vmdk")))) {
        Some(Ok(descriptor)) if descriptor.provisioning != Provisioning::Thin => {
            metadata.len().max(allocated)
        }
        // Without a descriptor it is no disk of anybody.
        _ => allocated,
    }
}

/// Bytes that the files below a folder count for.
///
/// # Errors
/// `Io` if a folder cannot be listed.
pub fn used(folder: &Path) -> Result<u64> {
    let unreadable = |source| Error::io("a datastore's folder cannot be listed", source).at(folder);
    let mut sum = 0;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(unreadable(source)),
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        // Files come and go meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += match metadata.is_dir() {
            true => used(&entry.path())?,
            false => taken(&entry.path(), &metadata),
        };
    }
    Ok(sum)
}

fn limit(root: &Path) -> Result<Option<u64>> {
    let Some(path) = limit_path(root) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(limit) => Ok(Some(limit)),
            Err(error) => Err(Error::new(ErrorKind::Corrupt, "a datastore's limit is no number")
                .at(path)
                .because(error)),
        },
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("a datastore's limit cannot be read", source).at(path)),
    }
}

/// Beside the folder, and not in it, where it would be one of the datastore's files.
fn limit_path(root: &Path) -> Option<PathBuf> {
    let name = root.file_name()?.to_str()?;
    Some(root.with_file_name(format!(".{name}.limit")))
}
