//! Where the files of a disk are: its descriptor, extents and parents name one another.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::io::{Memory, ReadAt, WriteAt};

/// The files that one disk may reach, by names relative to it: `"x.vmdk"`, `"snapshots/x-flat.vmdk"`.
///
/// A folder is what keeps a hostile descriptor in its place: names come from descriptors, and are normalised before they get
/// here. A reference that leads elsewhere (`"../other/x.vmdk"`, `"/dev/sda"`, `"[other] x/x.vmdk"`) reaches it only if the caller
/// has asked for that with [`OpenOptions::follow_outside`](crate::OpenOptions::follow_outside), and then as it was written.
pub trait Folder: Send + Sync {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is none, `PermissionDenied` if the name leads out of the folder, and whatever the storage says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn WriteAt>>;

    /// Makes an empty file, whose name survives a loss of power.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, which is left as it is.
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteAt>>;

    /// Makes a file have this content, so that whoever looks finds the whole old or the whole new one, even after a loss of
    /// power.
    ///
    /// # Errors
    /// Whatever the storage says; the file is then as it was.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of a local file system.
///
/// Symbolic links are followed as long as they stay within it, and only regular files are opened, unless
/// [`danger_follow_outside`](Self::danger_follow_outside) was asked for.
#[derive(Debug, Clone)]
pub struct LocalFolder {
    root: PathBuf,
    outside: bool,
}

impl LocalFolder {
    /// The folder at this path.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let root = fs::canonicalize(if path.as_os_str().is_empty() { Path::new(".") } else { path })?;
        Ok(Self { root, outside: false })
    }

    /// The folder that holds this file, and the file's name in it.
    ///
    /// # Errors
    /// `InvalidInput` for a path without a name, or with one that is no text; `NotFound` if there is no such folder.
    pub fn of_file(path: impl AsRef<Path>) -> Result<(Self, String)> {
        let path = path.as_ref();
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| Error::invalid(format!("\"{}\" is not the name of a disk", path.display())))?;
        let parent = path.parent().unwrap_or(Path::new("."));
        let folder = Self::new(parent).map_err(|error| {
            Error::io(format!("the folder \"{}\" can't be opened", parent.display()), error)
        })?;
        Ok((folder, name.to_owned()))
    }

    /// Lets names lead to every file and device that this process may open. For descriptors from a source that is trusted as
    /// much as the caller itself.
    #[must_use]
    pub fn danger_follow_outside(mut self) -> Self {
        self.outside = true;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The real place of what exists, if it may be opened.
    fn existing(&self, name: &str) -> io::Result<PathBuf> {
        let path = fs::canonicalize(self.path(name))?;
        if self.outside {
            return Ok(path);
        }
        if !path.starts_with(&self.root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the name leads out of the folder"));
        }
        // Before it is opened: to open a pipe may wait for ever.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a regular file"));
        }
        Ok(path)
    }

    /// The place of what is to be made; its folder has to exist.
    fn new_path(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        let (Some(parent), Some(file)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
        };
        let parent = fs::canonicalize(parent)?;
        if !self.outside && !parent.starts_with(&self.root) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the name leads out of the folder"));
        }
        Ok(parent.join(file))
    }
}

impl Folder for LocalFolder {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(File::open(self.existing(name)?)?))
    }

    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn WriteAt>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.existing(name)?)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteAt>> {
        let path = self.new_path(name)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        sync_directory(path.parent())?;
        Ok(Arc::new(file))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // What a link leads to is replaced, and not the link.
        let path = self.existing(name).or_else(|_| self.new_path(name))?;
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let write = || {
            let mut file = File::create(&temporary)?;
            if let Ok(before) = fs::metadata(&path) {
                file.set_permissions(before.permissions())?;
            }
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_directory(path.parent())
        };
        write().inspect_err(|_| {
            // The error of the write is the one that tells; a left-over file is overwritten by the next attempt.
            let _ = fs::remove_file(&temporary);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.new_path(name)?)
    }
}

/// A name that is new survives a loss of power only with its directory.
#[cfg(unix)]
fn sync_directory(path: Option<&Path>) -> io::Result<()> {
    path.map_or(Ok(()), |path| File::open(path)?.sync_all())
}

#[cfg(not(unix))]
fn sync_directory(_: Option<&Path>) -> io::Result<()> {
    Ok(())
}

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone, Default)]
pub struct MemoryFolder {
    files: Arc<Mutex<BTreeMap<String, Memory>>>,
}

impl MemoryFolder {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file in, in place of one of the same name.
    pub fn insert(&self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.files().insert(name.into(), Memory::new(content.into()));
    }

    /// The content of a file, if there is one.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.files().get(name).map(Memory::to_vec)
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.files().keys().cloned().collect()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Memory>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> io::Result<Memory> {
        self.files().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Folder for MemoryFolder {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.file(name)?))
    }

    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn WriteAt>> {
        Ok(Arc::new(self.file(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteAt>> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Memory::default();
        files.insert(name.to_owned(), file.clone());
        Ok(Arc::new(file))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.insert(name, content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
