//! A store on which things go wrong, by a plan that can be repeated.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};

/// What goes wrong on a [`FaultStore`]. Shares are in thousandths of the operations; which ones they hit follows from the seed and the
/// number of the operation, so that the same run meets the same faults.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// What chance begins with.
    pub seed: u64,
    /// Operations that the store refuses for now, as an object store does with status 503. Nothing has happened.
    pub unavailable: u16,
    /// Creates whose upload is cut. Nothing has happened.
    pub cut_uploads: u16,
    /// Creates and removes that are carried out, and whose answer is lost.
    pub lost_answers: u16,
    /// The longest delay of an operation.
    pub latency: Duration,
    /// The operation (from 0) that never ends, and after which none does: the process is as good as dead.
    pub crash_at: Option<u64>,
    /// Whether the operation at which the crash is has been carried out.
    pub crash_after: bool,
    /// Whether removes are refused, as by an object lock.
    pub locked: bool,
    /// The operation (from 0) from which on the store is full: creates are refused.
    pub full_from: Option<u64>,
}

/// Wraps a store on which things go wrong.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    plan: FaultPlan,
    operations: AtomicU64,
    crashed: Notify,
}

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Normal,
    Unavailable,
    Cut,
    Lost,
    Full,
    Crash { after: bool },
}

impl<S: ChunkStore> FaultStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self { inner, plan, operations: AtomicU64::new(0), crashed: Notify::new() }
    }

    /// Operations that have begun so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Ends when the crash of the plan has come.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    async fn fate(&self, changes: bool, creates: bool) -> Fate {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let mut chance = Chance(self.plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let micros = u64::try_from(self.plan.latency.as_micros()).unwrap_or(u64::MAX);
        if micros > 0 {
            tokio::time::sleep(Duration::from_micros(chance.next() % micros)).await;
        }
        let mut hits = |share: u16| chance.next() % 1000 < u64::from(share);
        let (unavailable, cut, lost) =
            (hits(self.plan.unavailable), hits(self.plan.cut_uploads), hits(self.plan.lost_answers));
        match self.plan.crash_at {
            Some(at) if number > at => Fate::Crash { after: false },
            Some(at) if number == at => Fate::Crash { after: self.plan.crash_after },
            _ if creates && self.plan.full_from.is_some_and(|from| number >= from) => Fate::Full,
            _ if unavailable => Fate::Unavailable,
            _ if creates && cut => Fate::Cut,
            _ if changes && lost => Fate::Lost,
            _ => Fate::Normal,
        }
    }

    async fn run<T>(
        &self,
        (changes, creates): (bool, bool),
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let failed = |message: &str| Err(Error::new(ErrorKind::Store, format!("injected: {message}")));
        match self.fate(changes, creates).await {
            Fate::Normal => operation.await,
            Fate::Unavailable => failed("the store is not available for now (503)"),
            Fate::Cut => failed("the connection was cut during the upload"),
            Fate::Full => Err(Error::new(ErrorKind::Full, "injected: no space is left")),
            Fate::Lost => {
                operation.await?;
                failed("the connection was cut before the answer came")
            }
            Fate::Crash { after } => {
                if after {
                    // What it answers is told to nobody.
                    let _ = operation.await;
                }
                self.crashed.notify_one();
                std::future::pending().await
            }
        }
    }
}

const READS: (bool, bool) = (false, false);
const CREATES: (bool, bool) = (true, true);
const REMOVES: (bool, bool) = (true, false);

impl<S: ChunkStore> ChunkStore for FaultStore<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(self.run(CREATES, self.inner.create(name, data)))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(self.run(READS, self.inner.get(name, limit)))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(self.run(READS, self.inner.get_range(name, range)))
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(self.run(READS, self.inner.list(folder)))
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(self.run(REMOVES, async move {
            match self.plan.locked {
                true => Err(Error::new(ErrorKind::Denied, format!("injected: {name} is locked"))),
                false => self.inner.remove(name).await,
            }
        }))
    }

    fn sweep(&self, before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(self.run(REMOVES, self.inner.sweep(before)))
    }
}

/// Numbers by chance (splitmix64), the same ones for the same seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
