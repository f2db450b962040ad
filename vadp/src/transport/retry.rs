//! A source whose reads are tried again, when they failed for a reason that passes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::RwLock;

use super::DiskSource;
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Opens the disk, at first and whenever its connection was lost.
pub(crate) type Open = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn DiskSource>, Error>> + Send + Sync>;

/// How many failures a run bears, over all its disks, and the pause after the first one of a read.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    left: Arc<AtomicU32>,
    first_pause: Duration,
}

/// A source that is opened anew when it is lost.
pub(crate) struct Retrying {
    open: Open,
    patience: Patience,
    capacity: u64,
    transport: String,
    slot: RwLock<Slot>,
}

/// The source, unless it could not be opened again, and how often it was.
struct Slot {
    source: Option<Box<dyn DiskSource>>,
    generation: u64,
}

impl Patience {
    pub(crate) fn new(retries: u32, first_pause: Duration) -> Self {
        Self { left: Arc::new(AtomicU32::new(retries)), first_pause }
    }

    /// Waits after a failure that passes; gives any other one back, and every one when there were too many.
    async fn bear(&self, failure: Error, tries: &mut u32) -> Result<(), Error> {
        let passes = failure.is_retryable() || is_lost(&failure);
        let take = |left: u32| left.checked_sub(1);
        if !passes || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(failure);
        }
        tracing::warn!(error = %failure, source = ?failure.disk_error(), "a disk is asked again");
        tokio::time::sleep(self.first_pause.saturating_mul(1 << (*tries).min(16)).min(LONGEST_PAUSE)).await;
        *tries += 1;
        Ok(())
    }
}

impl Retrying {
    /// Opens the disk.
    ///
    /// # Errors
    /// When it cannot be opened, or no longer after too many tries.
    pub(crate) async fn open(open: Open, patience: Patience) -> Result<Self, Error> {
        let source = open_patiently(&open, &patience).await?;
        let (capacity, transport) = (source.capacity(), source.transport().to_owned());
        let slot = RwLock::new(Slot { source: Some(source), generation: 0 });
        Ok(Self { open, patience, capacity, transport, slot })
    }

    async fn tried<T>(
        &self,
        call: impl for<'b> Fn(&'b dyn DiskSource) -> BoxFuture<'b, Result<T, Error>> + Send + Sync,
    ) -> Result<T, Error> {
        let mut tries = 0;
        loop {
            let slot = self.slot.read().await;
            let failure = match &slot.source {
                Some(source) => match call(&**source).await {
                    Ok(done) => return Ok(done),
                    Err(failure) => failure,
                },
                None => Error::new(ErrorKind::Disk, "the disk was lost, and could not be opened again"),
            };
            let generation = slot.generation;
            drop(slot);
            let lost = is_lost(&failure);
            self.patience.bear(failure, &mut tries).await?;
            if lost {
                self.reopen(generation).await?;
            }
        }
    }

    /// Opens the disk again, unless another has done so since it was seen in this generation.
    async fn reopen(&self, seen: u64) -> Result<(), Error> {
        let mut slot = self.slot.write().await;
        if slot.generation != seen {
            return Ok(());
        }
        if let Some(lost) = slot.source.take()
            && let Err(error) = lost.close().await
        {
            tracing::debug!(%error, "a disk that was lost does not close");
        }
        let source = open_patiently(&self.open, &self.patience).await?;
        if source.capacity() != self.capacity {
            let context = format!("the disk had {} bytes, and has {} now", self.capacity, source.capacity());
            return Err(Error::new(ErrorKind::ShortRead, context));
        }
        *slot = Slot { source: Some(source), generation: seen + 1 };
        Ok(())
    }
}

async fn open_patiently(open: &Open, patience: &Patience) -> Result<Box<dyn DiskSource>, Error> {
    let mut tries = 0;
    loop {
        match open().await {
            Ok(source) => return Ok(source),
            Err(failure) => patience.bear(failure, &mut tries).await?,
        }
    }
}

fn is_lost(failure: &Error) -> bool {
    failure.disk_error().is_some_and(vixdisklib::Error::is_connection_lost)
}

impl DiskSource for Retrying {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn transport(&self) -> &str {
        &self.transport
    }

    fn allocated(&self, range: ByteRange) -> BoxFuture<'_, Result<Extents, Error>> {
        self.tried(move |source| source.allocated(range)).boxed()
    }

    fn read(&self, range: ByteRange) -> BoxFuture<'_, Result<Bytes, Error>> {
        self.tried(move |source| source.read(range)).boxed()
    }

    fn descriptor(&self) -> BoxFuture<'_, Result<BTreeMap<String, String>, Error>> {
        self.tried(|source| source.descriptor()).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        async move {
            match self.slot.into_inner().source {
                Some(source) => source.close().await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use vixdisklib::ErrorKind as Kind;

    use super::*;

    /// A disk whose calls fail as it is told, one after the other.
    struct Failing {
        script: Arc<Mutex<VecDeque<Kind>>>,
        closed: Arc<AtomicU32>,
    }

    impl DiskSource for Failing {
        fn capacity(&self) -> u64 {
            1 << 20
        }
        fn transport(&self) -> &str {
            "test"
        }
        fn allocated(&self, range: ByteRange) -> BoxFuture<'_, Result<Extents, Error>> {
            async move { Ok([range].into_iter().collect()) }.boxed()
        }
        fn read(&self, range: ByteRange) -> BoxFuture<'_, Result<Bytes, Error>> {
            let failure = self.script.lock().unwrap().pop_front();
            async move {
                match failure {
                    None => Ok(vec![1; usize::try_from(range.length()).unwrap()].into()),
                    Some(kind) => {
                        Err(Error::disk("reading", vixdisklib::Error::new(kind, "read", "as told")))
                    }
                }
            }
            .boxed()
        }
        fn descriptor(&self) -> BoxFuture<'_, Result<BTreeMap<String, String>, Error>> {
            async { Ok(BTreeMap::new()) }.boxed()
        }
        fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
            self.closed.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }.boxed()
        }
    }

    /// Reads once, with such failures before. Gives the outcome, how often the disk was opened, and the retries that are left of 3.
    async fn read(failures: &[Kind]) -> (Result<Bytes, Error>, u32, u32) {
        let script = Arc::new(Mutex::new(failures.iter().copied().collect::<VecDeque<_>>()));
        let (opened, closed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counts = (Arc::clone(&opened), Arc::clone(&closed));
        let open: Open = Arc::new(move || {
            counts.0.fetch_add(1, Ordering::Relaxed);
            let source = Failing { script: Arc::clone(&script), closed: Arc::clone(&counts.1) };
            async move { Ok(Box::new(source) as Box<dyn DiskSource>) }.boxed()
        });
        let patience = Patience::new(3, Duration::from_micros(1));
        let disk = Retrying::open(open, patience.clone()).await.unwrap();
        let outcome = disk.read(ByteRange::new(0, 512).unwrap()).await;
        (Box::new(disk) as Box<dyn DiskSource>).close().await.unwrap();
        let opened = opened.load(Ordering::Relaxed);
        assert_eq!(closed.load(Ordering::Relaxed), opened, "what was opened is closed");
        (outcome, opened, patience.left.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_and_what_is_lost_is_opened_again() {
        let (done, opened, left) = read(&[Kind::Busy, Kind::Network]).await;
        assert_eq!((done.unwrap().len(), opened, left), (512, 1, 1));
        let (done, opened, left) = read(&[Kind::ConnectionLost, Kind::WorkerDied]).await;
        assert_eq!((done.unwrap().len(), opened, left), (512, 3, 1));
    }

    #[tokio::test]
    async fn what_does_not_pass_is_an_error_at_once_and_patience_ends() {
        for kind in [Kind::NotFound, Kind::Authentication, Kind::Corrupt] {
            let (done, opened, left) = read(&[kind]).await;
            assert_eq!((done.unwrap_err().disk_error().unwrap().kind(), opened, left), (kind, 1, 3));
        }
        let (done, _, left) = read(&[Kind::Busy; 4]).await;
        assert_eq!((done.unwrap_err().disk_error().unwrap().kind(), left), (Kind::Busy, 0));
    }
}
