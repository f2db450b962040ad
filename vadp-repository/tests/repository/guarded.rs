//! A store that is asked before something in it is changed.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use vadp_repository::{ChunkStore, ObjectName, Result, StoreFuture, StoredObject};

type Guard = dyn Fn(&str) -> Result<()> + Send + Sync;

/// Another store, and what is asked with the name of each object that is to be created or removed, and with an empty one for a sweep.
pub struct Guarded {
    inner: Arc<dyn ChunkStore>,
    guard: Box<Guard>,
}

impl Guarded {
    pub fn new(
        inner: Arc<dyn ChunkStore>,
        guard: impl Fn(&str) -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { inner, guard: Box::new(guard) })
    }

    fn guard<'a, T: Send + 'a>(&'a self, name: &'a str, then: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            (self.guard)(name)?;
            then.await
        })
    }
}

impl ChunkStore for Guarded {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        self.guard(name.as_str(), self.inner.create(name, data))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        self.inner.get(name, limit)
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        self.inner.get_range(name, range)
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        self.inner.list(folder)
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        self.guard(name.as_str(), self.inner.remove(name))
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.guard("", self.inner.sweep(before))
    }
}
