//! The PropertyCollector of one waiter's own, and what its loss looks like.

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::mo;
use crate::types::InvalidCollectorVersion;

/// How long the server holds back one answer when nothing happens. Kept well under the idle limits of proxies.
pub(crate) const MAX_WAIT_SECONDS: i32 = 20;

/// Lost with the session or the connection, and worth a new collector.
pub(crate) fn is_restartable(error: &Error) -> bool {
    error.fault::<InvalidCollectorVersion>().is_some()
        || error.is_session_lost()
        || (error.is_not_found() && error.kind() != ErrorKind::OutcomeUnknown)
        || error.kind() == ErrorKind::Interrupted
}

/// A PropertyCollector of one waiter's own: two that wait on the same one would take each other's updates.
pub(crate) struct OwnCollector(mo::PropertyCollector);

impl OwnCollector {
    pub(crate) async fn new(client: &Client) -> Result<Self, Error> {
        let moref = client.property_collector().create_property_collector().await?;
        Ok(Self(client.bind(&moref)))
    }

    pub(crate) fn get(&self) -> &mo::PropertyCollector {
        &self.0
    }
}

impl Drop for OwnCollector {
    /// Destroys it in the background. If that fails, it goes with the session.
    fn drop(&mut self) {
        let call = self.0.destroy_property_collector();
        call.send_and_forget(|error| tracing::debug!(%error, "a collector was not destroyed"));
    }
}
