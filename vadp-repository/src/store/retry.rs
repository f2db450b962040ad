//! Trying again what a store failed to do.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};

/// When to try again: after pauses that double, with chance in them so that many clients do not come back at once.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Tries after the first one; 6 by default.
    pub retries: usize,
    /// The first pause; 200 ms by default.
    pub first_pause: Duration,
    /// The longest pause; 20 s by default.
    pub longest_pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { retries: 6, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(20) }
    }
}

impl Backoff {
    /// So many retries, the first one after this pause.
    pub fn new(retries: usize, first_pause: Duration) -> Self {
        Self { retries, first_pause, ..Self::default() }
    }
}

/// Repeats what failed with [`ErrorKind::Store`]; whatever else a store says is final.
///
/// A create whose answer was lost may have succeeded. When a later try finds the name taken, the object is read: if it has the bytes
/// that were to be created, it is ours.
#[derive(Debug)]
pub struct Retry<S> {
    inner: S,
    backoff: Backoff,
}

impl<S: ChunkStore> Retry<S> {
    /// Wraps a store.
    pub fn new(inner: S, backoff: Backoff) -> Self {
        Self { inner, backoff }
    }

    /// Runs `operation` until it succeeds, fails for good, or the tries are used up. It is told whether it is a repetition.
    fn repeat<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        operation: impl Fn(bool) -> StoreFuture<'a, T> + Send + Sync + 'a,
    ) -> StoreFuture<'a, T> {
        let Backoff { retries, first_pause, longest_pause } = self.backoff;
        let pauses = ExponentialBuilder::default()
            .with_min_delay(first_pause)
            .with_max_delay(longest_pause)
            .with_max_times(retries)
            .with_jitter()
            .build();
        Box::pin(async move {
            let mut is_again = false;
            for pause in pauses {
                match operation(is_again).await {
                    Err(error) if error.kind() == ErrorKind::Store => {
                        tracing::info!(store = self.inner.describe(), what, %error, ?pause, "trying again");
                        tokio::time::sleep(pause).await;
                    }
                    done => return done,
                }
                is_again = true;
            }
            operation(is_again).await.map_err(|error| match error.kind() {
                ErrorKind::Store if retries > 0 => {
                    let message = format!("{what} failed {} times in a row; the last time", retries + 1);
                    Error::new(ErrorKind::Store, message).with_source(error)
                }
                _ => error,
            })
        })
    }
}

impl<S: ChunkStore> ChunkStore for Retry<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        self.repeat("creating an object", move |is_again| {
            let data = data.clone();
            Box::pin(async move {
                match self.inner.create(name, data.clone()).await {
                    Err(error) if is_again && error.kind() == ErrorKind::AlreadyExists => {
                        settle_create(&self.inner, name, &data, error).await
                    }
                    done => done,
                }
            })
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        self.repeat("reading an object", move |_| self.inner.get(name, limit))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        self.repeat("reading a part of an object", move |_| self.inner.get_range(name, range.clone()))
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        self.repeat("listing objects", move |_| self.inner.list(folder))
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        self.repeat("removing an object", move |_| self.inner.remove(name))
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.repeat("sweeping up", move |_| self.inner.sweep(before))
    }
}

/// A create that may have been carried out before was told that the object exists: says whether it is the very one.
pub(super) async fn settle_create<S: ChunkStore + ?Sized>(
    store: &S,
    name: &ObjectName,
    data: &Bytes,
    error: Error,
) -> Result<()> {
    match store.get(name, data.len() as u64).await {
        Ok(found) if found == *data => Ok(()),
        Ok(_) => Err(error),
        Err(unread) if unread.kind() == ErrorKind::Damaged => Err(error),
        Err(unread) => Err(unread),
    }
}
