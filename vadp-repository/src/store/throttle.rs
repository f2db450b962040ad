//! A bound on the bytes that go to and come from a store in a second.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, Result};

/// Keeps a store from taking the whole line. Objects are handed over whole, so it is the average over some of them that is bounded:
/// each waits until those before it would have been through.
#[derive(Debug)]
pub struct Throttle<S> {
    inner: S,
    bytes_per_second: u64,
    /// When the bytes of all calls so far would be through.
    free_at: Mutex<Option<Instant>>,
}

impl<S: ChunkStore> Throttle<S> {
    /// At most so many bytes a second, both ways together.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for zero.
    pub fn new(inner: S, bytes_per_second: u64) -> Result<Self> {
        match bytes_per_second {
            0 => Err(Error::invalid("a store cannot be throttled to 0 bytes a second")),
            _ => Ok(Self { inner, bytes_per_second, free_at: Mutex::new(None) }),
        }
    }

    /// Books bytes, and says when those that were booked before are through.
    fn book(&self, bytes: u64) -> Instant {
        // In microseconds; more than some 200 years are as good as that.
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let needed = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).min(1 << 53));
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begin = free_at.map_or(now, |free| free.max(now));
        *free_at = Some(begin + needed);
        begin
    }

    /// A read pays when it is known how much it was; so it is for the next one to wait.
    async fn read(&self, read: StoreFuture<'_, Bytes>) -> Result<Bytes> {
        tokio::time::sleep_until(self.book(0)).await;
        let bytes = read.await?;
        self.book(bytes.len() as u64);
        Ok(bytes)
    }
}

impl<S: ChunkStore> ChunkStore for Throttle<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            tokio::time::sleep_until(self.book(data.len() as u64)).await;
            self.inner.create(name, data).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(self.read(self.inner.get(name, limit)))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(self.read(self.inner.get_range(name, range)))
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        self.inner.list(folder)
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        self.inner.remove(name)
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        self.inner.sweep(before)
    }
}
