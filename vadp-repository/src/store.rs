//! The seam to the place where objects live, see docs/repository-format.md, "Layout" and "Stores".

mod cache;
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
mod cloud;
mod fault;
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
mod http;
mod local;
mod memory;
mod objects;
mod retry;
mod throttle;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::{Error, Result};
pub use cache::{CachePlace, ReadCache};
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
pub use cloud::{CloudOptions, CloudStore};
pub use fault::{FaultPlan, FaultStore};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use retry::{Backoff, Retry};
pub use throttle::Throttle;

/// The future of a store operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A place for named, immutable objects. Implement it to keep a repository on your own media, and have
/// [`conformance::run`](crate::conformance::run) judge it.
///
/// All methods may be called at the same time from many tasks. Objects are never changed and never replaced. What one call has
/// acknowledged, every later one sees, from whatever machine. A call that is dropped half-way has happened as a whole or not at all.
///
/// Errors have the kind [`Store`](crate::ErrorKind::Store) when trying again may help, [`Denied`](crate::ErrorKind::Denied) when the store
/// refuses the operation, [`Full`](crate::ErrorKind::Full) when there is no room; except where a method says otherwise.
pub trait ChunkStore: Send + Sync + 'static {
    /// Where this is, for messages: a path or address without credentials.
    fn describe(&self) -> String;

    /// Creates an object, whole or not at all. On `Ok` it survives a power failure.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) when there is an object of this name, which stays as it is. Of
    /// several creates that race, one succeeds. Where an answer can be lost on the way, a store may say `Ok` when the object that is
    /// there has the very bytes that were to be created.
    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()>;

    /// Reads a whole object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is none; [`Damaged`](crate::ErrorKind::Damaged) when it is
    /// larger than `limit`, which must be found out before memory is taken for it.
    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes>;

    /// Reads the bytes `range` of an object; fewer where the object ends before `range.end`, none where it ends before
    /// `range.start`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such object.
    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes>;

    /// All objects below a folder (`"packs"`; `""` is everything), in any order. An absent folder is empty.
    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>>;

    /// Removes an object. On `Ok` it is gone, also after a power failure; that it was not there is no error.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) when the store keeps it: an object lock, a retention policy, no permission to delete.
    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()>;

    /// Removes what creates that were cut off before the time `before`, by the store's clock, have left and [`list`](Self::list) does not
    /// show; gives its bytes. A store on which nothing can be left answers 0.
    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64>;
}

/// So that wrappers take shared stores as well as owned ones.
impl<S: ChunkStore + ?Sized> ChunkStore for Arc<S> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        (**self).create(name, data)
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        (**self).get(name, limit)
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        (**self).get_range(name, range)
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        (**self).list(folder)
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        (**self).remove(name)
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        (**self).sweep(before)
    }
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its full name, such as `points/…`. Foreign files may have names that no [`ObjectName`] has.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was created, by the store's own clock: prunes compare these times with each other and with no other clock.
    pub modified: SystemTime,
}

/// A valid name: parts of lower-case letters and digits, joined by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

impl ObjectName {
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty part or any other character.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let part_is_valid = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !name.split('/').all(part_is_valid) {
            return Err(Error::invalid(format!("{name:?} is no object name")));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
