//! A local directory as a store, through the crate `object_store`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};

/// A directory on a local or mounted file system that has hard links. Created files and their directories are
/// flushed with `fsync` before a create reports success.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    files: LocalFileSystem,
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
        let files = LocalFileSystem::new_with_prefix(&path).map_err(|source| {
            Error::new(kind, format!("cannot open the directory {}", path.display())).with_source(source)
        })?;
        Ok(Self { path, files: files.with_fsync(true) })
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

    fn error(&self, operation: &str, name: &str, source: object_store::Error) -> Error {
        let (kind, advice) = match &source {
            object_store::Error::NotFound { .. } => (ErrorKind::NotFound, "it does not exist"),
            object_store::Error::AlreadyExists { .. } => (ErrorKind::AlreadyExists, "it exists already"),
            object_store::Error::PermissionDenied { .. } => {
                (ErrorKind::Store, "check the permissions of the directory")
            }
            _ => (ErrorKind::Store, "check free space and health of the file system"),
        };
        Error::new(kind, format!("cannot {operation} {name} in {}: {advice}", self.path.display()))
            .with_source(source)
    }
}

impl ChunkStore for LocalStore {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let options = PutOptions::from(PutMode::Create);
            match self.files.put_opts(&location(name), data.into(), options).await {
                Ok(_) => Ok(()),
                Err(source) => Err(self.error("create", name.as_str(), source)),
            }
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let error = |source| self.error("read", name.as_str(), source);
            let object = self.files.get(&location(name)).await.map_err(error)?;
            if object.meta.size > limit {
                let size = object.meta.size;
                return Err(Error::damaged(format!(
                    "{name} has {size} bytes, more than the {limit} it may have"
                )));
            }
            object.bytes().await.map_err(error)
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let error = |source| self.error("read", name.as_str(), source);
            // The library refuses ranges that start at or after the end, where this seam wants an empty answer.
            let size = self.files.head(&location(name)).await.map_err(error)?.size;
            let range = range.start.min(size)..range.end.min(size);
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            self.files.get_range(&location(name), range).await.map_err(error)
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(async move {
            let prefix = (!folder.is_empty()).then(|| object_store::path::Path::from(folder));
            let listing = self.files.list(prefix.as_ref());
            listing
                .map_ok(|meta| StoredObject { name: meta.location.to_string(), size: meta.size })
                .try_collect()
                .await
                .map_err(|source| self.error("list", folder, source))
        })
    }
}

fn location(name: &ObjectName) -> object_store::path::Path {
    object_store::path::Path::from(name.as_str())
}

/// Creates a directory and its parents, and flushes the directories that got a new entry: else a power failure could
/// take away the whole repository, however well its files are flushed.
fn create_durably(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|ancestor| ancestor.is_dir()).map(Path::to_owned);
    std::fs::create_dir_all(&path)?;
    #[cfg(unix)]
    for parent in path.ancestors().skip(1) {
        if existing.as_ref().is_none_or(|existing| !parent.starts_with(existing)) {
            break;
        }
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
