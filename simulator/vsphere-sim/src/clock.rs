//! The server's clock: real time, plus what a test has moved it ahead.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use vim_api::dynamic::DateTime;

/// Real time moved ahead. It never goes back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    ahead: Duration,
}

/// A moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub(crate) struct Moment(u64);

impl Clock {
    /// What the clock shows.
    pub(crate) fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = since.saturating_add(self.ahead).as_micros();
        Moment(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Moves the clock ahead.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.ahead = self.ahead.saturating_add(by);
    }
}

impl Moment {
    /// As the API writes it.
    pub(crate) fn date_time(self) -> DateTime {
        // A clock moved ahead by ages must not overflow: some thousand years are enough.
        let since = Duration::from_micros(self.0.min(200_000_000_000_000_000));
        DateTime::from(SystemTime::UNIX_EPOCH + since)
    }

    /// The moment so much later.
    pub(crate) fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`, zero if it is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
