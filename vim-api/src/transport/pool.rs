//! The connections that wait for their next request, and the limit on all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::Connection;
use super::error::{TransportError, TransportErrorKind};

/// Keep-alive connections of one server.
///
/// A permit is held for as long as a request lasts, the reading of its answer included. A holder takes an idle connection before it makes a new one, so open
/// connections never outnumber the permits.
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    idle_timeout: Duration,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(max_connections: usize, idle_timeout: Duration) -> Self {
        Pool {
            permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            idle: Mutex::new(Vec::new()),
            idle_timeout,
        }
    }

    /// Waits, in order of arrival, for the right to use one connection.
    pub(super) async fn permit(&self, host: &str) -> Result<OwnedSemaphorePermit, TransportError> {
        self.permits.clone().acquire_owned().await.map_err(|source| {
            TransportError::new(TransportErrorKind::Closed, host, "the connection pool was closed")
                .with_source(source)
        })
    }

    /// The connection that was used last, if one is still open and young enough. The permit proves the right to it.
    pub(super) fn take(&self, _permit: &OwnedSemaphorePermit) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain(|entry| entry.connection.is_open() && entry.since.elapsed() < self.idle_timeout);
        idle.pop().map(|entry| entry.connection)
    }

    /// Gives a connection back. It must happen before the permit goes.
    pub(super) fn put(&self, connection: Connection, _permit: &OwnedSemaphorePermit) {
        if connection.is_open() {
            self.lock().push(Idle { connection, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
