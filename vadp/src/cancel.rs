//! Stopping a run from outside.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// Stops a run: clones are one token. A run that is stopped gives back all that it took, and then ends with
/// [`ErrorKind::Cancelled`]; what is already committed stays.
#[derive(Clone, Debug)]
pub struct CancelToken(Arc<watch::Sender<bool>>);

impl Default for CancelToken {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl CancelToken {
    /// A token that stops nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops whatever runs under the token, or will. May be called from any thread, a signal handler's task too.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was told to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// The error of a run that was told to stop, if it was.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.is_cancelled() {
            false => Ok(()),
            true => Err(cancelled()),
        }
    }

    /// Does the work, unless it is told to stop meanwhile: then the work is dropped where it stands.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut told = self.0.subscribe();
        tokio::select! {
            biased;
            // It does not fail, since the sender is `self`.
            _ = told.wait_for(|cancelled| *cancelled) => Err(cancelled()),
            done = work => done,
        }
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the run was stopped")
}
