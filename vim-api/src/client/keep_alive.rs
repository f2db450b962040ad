//! Using a session now and then, so that the server keeps it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::Client;
use crate::dynamic::Value;
use crate::error::Error;
use crate::mo;

/// The idle limit that VMware documents. Some releases of vCenter have been seen to allow 120 minutes.
const USUAL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The names under which a vCenter and a host tell their limit, in minutes.
const LIMIT_OPTIONS: [&str; 2] =
    ["config.vmacore.soap.sessionTimeout", "Config.HostAgent.vmacore.soap.sessionTimeout"];

/// Keeps the session of a client in use until it is dropped. See [`Client::keep_alive`].
#[derive(Debug)]
#[must_use = "the session is kept alive until this is dropped"]
pub struct KeepAlive {
    every: Duration,
    task: JoinHandle<()>,
}

impl KeepAlive {
    /// How often the session is used.
    pub fn every(&self) -> Duration {
        self.every
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Keeps the session in use for programs that are idle for long, as what belongs to a session (filters, views, leases)
    /// can't be renewed with it. A client that waits for updates does not need it.
    ///
    /// Asks the server for its idle limit where it has an option for that, takes 30 minutes where it has none, and makes
    /// one small call in a third of it, every 10 minutes at most. A session that is lost all the same is renewed by the
    /// call, if it can be. It ends with the logout.
    ///
    /// # Errors
    /// When the limit could not be asked for.
    pub async fn keep_alive(&self) -> Result<KeepAlive, Error> {
        let limit = self.idle_limit().await?.unwrap_or(USUAL_LIMIT);
        Ok(self.keep_alive_every(limit.min(USUAL_LIMIT) / 3))
    }

    /// As [`keep_alive`](Self::keep_alive), with a call every so often, once a second at most.
    pub fn keep_alive_every(&self, every: Duration) -> KeepAlive {
        let every = every.max(Duration::from_secs(1));
        let client = self.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                match client.server_time().await {
                    Ok(_) => {}
                    Err(error) if error.is_session_lost() => {
                        tracing::debug!(host = client.host(), "there is no session to keep alive");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(host = client.host(), %error, "a session was not kept alive")
                    }
                }
            }
        });
        KeepAlive { every, task }
    }

    /// What the server says of the longest time that a session may be idle. `None` when it does not say, or not to this
    /// user.
    async fn idle_limit(&self) -> Result<Option<Duration>, Error> {
        let Some(options) = &self.content().setting else { return Ok(None) };
        let options: mo::OptionManager = self.bind(options);
        let name = LIMIT_OPTIONS[usize::from(!self.is_vcenter())];
        let found = match options.query_options(Some(name)).await {
            Ok(found) => found,
            // `InvalidName` where there is no such option.
            Err(error) if error.any_fault().is_some() && !error.is_session_lost() => return Ok(None),
            Err(error) => return Err(error),
        };
        let minutes = found.iter().find_map(|option| match option.value.as_ref()? {
            Value::Int(minutes) => u64::try_from(*minutes).ok(),
            Value::Long(minutes) => u64::try_from(*minutes).ok(),
            Value::String(minutes) => minutes.trim().parse().ok(),
            _ => None,
        });
        Ok(minutes
            .filter(|minutes| *minutes > 0)
            .map(|minutes| Duration::from_secs(minutes.saturating_mul(60))))
    }
}
