//! A local directory as a store, through the crate `object_store`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use object_store::local::LocalFileSystem;

use super::objects::Objects;
use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::blocking;

/// A directory on a local or mounted file system that has hard links. Created files and their directories are
/// flushed with `fsync` before a create reports success, and directories after a file has been removed.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    files: Objects<LocalFileSystem>,
}

impl LocalStore {
    /// The directory `path`, which must exist.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it does not exist, [`Store`](ErrorKind::Store) when it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let kind = match path.metadata() {
            Ok(data) if data.is_dir() => ErrorKind::Store,
            Ok(_) => {
                return Err(Error::new(ErrorKind::Store, format!("{} is not a directory", path.display())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Err(_) => ErrorKind::Store,
        };
        let store = LocalFileSystem::new_with_prefix(&path).map_err(|source| {
            Error::new(kind, format!("cannot open the directory {}", path.display())).with_source(source)
        })?;
        let files = Objects {
            store: store.with_fsync(true),
            place: path.display().to_string(),
            prefix: String::new(),
            advice: "check the health of the file system",
        };
        Ok(Self { path, files })
    }

    /// The directory `path`, which is created with its parents if it does not exist.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) when it cannot be created or opened.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        create_durably(path).map_err(|source| {
            Error::new(ErrorKind::Store, format!("cannot create the directory {}", path.display()))
                .with_source(source)
        })?;
        Self::open(path)
    }

    fn io_error(&self, what: &str, source: std::io::Error) -> Error {
        let message = format!("cannot {what} {}: check the health of the file system", self.path.display());
        Error::new(ErrorKind::Store, message).with_source(source)
    }
}

impl ChunkStore for LocalStore {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(self.files.create(name, data))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(self.files.get(name, limit))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let file = self.path.join(name.as_str());
            // `object_store` fills its buffer with zeros before it reads, which costs a tenth of a restore.
            let read = blocking(move || Ok(read_range(&file, range))).await?;
            read.map(Bytes::from).map_err(|source| self.files.io_error("read", name, source))
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(self.files.list(folder))
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.files.remove(name).await?;
            // Or a point that was removed could come back after a power failure, without its packs.
            let file = self.path.join(name.as_str());
            let synced = blocking(move || Ok(file.parent().map_or(Ok(()), sync_directory))).await?;
            synced.map_err(|source| self.io_error("flush a directory of", source))
        })
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let path = self.path.clone();
            let swept = blocking(move || Ok(sweep_directory(&path, before, 0))).await?;
            swept.map_err(|source| self.io_error("remove what interrupted writes left in", source))
        })
    }
}

fn read_range(path: &Path, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end.saturating_sub(range.start);
    // A caller may ask for more than there is.
    let available = file.metadata()?.len().saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(length.min(available) as usize);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Folders of a repository are three deep; what lies deeper is not ours.
const MAX_DEPTH: usize = 3;

/// Removes files that an interrupted create has left: `<name>#<digits>`.
fn sweep_directory(path: &Path, before: SystemTime, depth: usize) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in path.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < MAX_DEPTH {
            bytes += sweep_directory(&entry.path(), before, depth + 1)?;
        } else if kind.is_file() && is_leftover(&entry.file_name()) {
            // A running create may have taken its file away, or finished it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.modified()? < before && std::fs::remove_file(entry.path()).is_ok() {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

fn is_leftover(name: &std::ffi::OsStr) -> bool {
    let Some((name, number)) = name.to_str().and_then(|name| name.split_once('#')) else { return false };
    ObjectName::new(name).is_ok() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Creates a directory and its parents, and flushes the directories that got a new entry: else a power failure could
/// take away the whole repository, however well its files are flushed.
fn create_durably(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|ancestor| ancestor.is_dir()).map(Path::to_owned);
    std::fs::create_dir_all(&path)?;
    for parent in path.ancestors().skip(1) {
        if existing.as_ref().is_none_or(|existing| !parent.starts_with(existing)) {
            break;
        }
        sync_directory(parent)?;
    }
    Ok(())
}

/// Flushes the entries of a directory. Elsewhere than on Unix directories cannot be opened, and are flushed by the system.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path) {
        Ok(directory) => directory.sync_all(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
