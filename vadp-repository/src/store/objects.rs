//! Our seam over the crate `object_store`: what local directories and buckets have in common.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{ObjectName, StoredObject};
use crate::error::{Error, ErrorKind, Result};

/// An `ObjectStore`, and what to say of it in messages.
#[derive(Debug)]
pub(super) struct Objects<S> {
    pub(super) store: S,
    /// Path or address, without credentials.
    pub(super) place: String,
    /// What goes before the names of objects: `""`, or `"folder/"`.
    pub(super) prefix: String,
    /// What to check when nothing more precise is known.
    pub(super) advice: &'static str,
}

impl<S: ObjectStore> Objects<S> {
    pub(super) async fn create(&self, name: &ObjectName, data: Bytes) -> Result<()> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&self.location(name), data.into(), options).await {
            Ok(_) => Ok(()),
            Err(source) => Err(self.error("create", name.as_str(), source)),
        }
    }

    pub(super) async fn get(&self, name: &ObjectName, limit: u64) -> Result<Bytes> {
        let error = |source| self.error("read", name.as_str(), source);
        let object = self.store.get(&self.location(name)).await.map_err(error)?;
        if object.meta.size > limit {
            let size = object.meta.size;
            return Err(Error::damaged(format!(
                "{name} has {size} bytes, more than the {limit} it may have"
            )));
        }
        object.bytes().await.map_err(error)
    }

    #[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
    pub(super) async fn get_range(&self, name: &ObjectName, range: std::ops::Range<u64>) -> Result<Bytes> {
        let (error, location) = (|source| self.error("read", name.as_str(), source), self.location(name));
        // A range within the object, which is what readers ask for, costs one request. The library refuses ranges that start at or
        // after the end, where this seam wants an empty answer, and some servers do as well.
        let refused = match range.is_empty() {
            true => None,
            false => match self.store.get_range(&location, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(source @ object_store::Error::NotFound { .. }) => return Err(error(source)),
                Err(source) => Some(source),
            },
        };
        let size = self.store.head(&location).await.map_err(error)?.size;
        match refused {
            Some(source) if range.start < size => Err(error(source)),
            _ => Ok(Bytes::new()),
        }
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<StoredObject>> {
        let path = format!("{}{folder}", self.prefix);
        let prefix = (!path.is_empty()).then(|| Path::from(path));
        let own = |name: &Path| name.as_ref().strip_prefix(&self.prefix).map(str::to_owned);
        let objects = self.store.list(prefix.as_ref()).try_filter_map(async |meta| {
            Ok(own(&meta.location).map(|name| StoredObject {
                name,
                size: meta.size,
                modified: meta.last_modified.into(),
            }))
        });
        objects.try_collect().await.map_err(|source| self.error("list", folder, source))
    }

    pub(super) async fn remove(&self, name: &ObjectName) -> Result<()> {
        match self.store.delete(&self.location(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            // Azure answers so when a policy makes blobs immutable.
            Err(source @ object_store::Error::AlreadyExists { .. }) => {
                let message = format!("{} keeps {name}: it is locked against deletion", self.place);
                Err(Error::new(ErrorKind::Denied, message).with_source(source))
            }
            Err(source) => Err(self.error("remove", name.as_str(), source)),
        }
    }

    /// The error of an operation that the file system was asked for directly.
    pub(super) fn io_error(&self, operation: &str, name: &ObjectName, source: std::io::Error) -> Error {
        let (path, source) = (name.to_string(), Box::new(source));
        let source = match source.kind() {
            std::io::ErrorKind::NotFound => object_store::Error::NotFound { path, source },
            _ => object_store::Error::Generic { store: "file", source },
        };
        self.error(operation, name.as_str(), source)
    }

    pub(super) fn location(&self, name: &ObjectName) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    pub(super) fn error(&self, operation: &str, name: &str, source: object_store::Error) -> Error {
        use object_store::Error as E;
        let (kind, advice) = match &source {
            E::NotFound { .. } => (ErrorKind::NotFound, "it does not exist"),
            E::AlreadyExists { .. } | E::Precondition { .. } => {
                (ErrorKind::AlreadyExists, "it exists already")
            }
            E::PermissionDenied { .. } if operation == "remove" => {
                (ErrorKind::Denied, "the store keeps it: an object lock, or no permission to delete")
            }
            E::PermissionDenied { .. } => (ErrorKind::Denied, "check what the account may do there"),
            E::Unauthenticated { .. } => {
                (ErrorKind::Denied, "check the credentials, and the clock of this machine")
            }
            E::NotImplemented { .. } | E::NotSupported { .. } => {
                (ErrorKind::Denied, "the store cannot do that, and a repository needs it")
            }
            _ => match io_kind(&source) {
                Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                    (ErrorKind::Full, "no space is left: free some, or prune")
                }
                Some(std::io::ErrorKind::PermissionDenied) => {
                    (ErrorKind::Denied, "check the permissions of the directory")
                }
                Some(std::io::ErrorKind::ReadOnlyFilesystem) => {
                    (ErrorKind::Denied, "the file system is read-only")
                }
                _ => (ErrorKind::Store, self.advice),
            },
        };
        Error::new(kind, format!("cannot {operation} {name} in {}: {advice}", self.place)).with_source(source)
    }
}

/// The kind of the first error of the operating system behind an error.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
