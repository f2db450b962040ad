//! The server's clock: real time, plus what a test has moved it ahead; or a clock that stands until it is moved.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use vim_api::dynamic::DateTime;

use crate::world::Shared;

/// What the server's clock goes by. Sessions, tickets, tokens, leases and tasks go by the server's clock; what goes over
/// the wire (how long a client waits for an update, slow bodies) by the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The machine's clock. It can be moved ahead.
    #[default]
    Real,
    /// It moves only when it is moved, by [`Sim::advance_clock`](crate::Sim::advance_clock) or the control port.
    Virtual {
        /// What it shows at first.
        start: SystemTime,
    },
}

/// A clock that has been moved ahead. It never goes back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServerClock {
    base: Clock,
    ahead: Duration,
}

/// A moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub(crate) struct Moment(u64);

impl ServerClock {
    /// A clock that was not moved yet.
    pub(crate) fn new(base: Clock) -> Self {
        Self { base, ahead: Duration::ZERO }
    }

    /// What the clock shows.
    pub(crate) fn now(&self) -> Moment {
        let shown = match self.base {
            Clock::Real => SystemTime::now(),
            Clock::Virtual { start } => start,
        };
        let since = shown.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = since.saturating_add(self.ahead).as_micros();
        Moment(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Whether it moves only when it is moved.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.base, Clock::Virtual { .. })
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

/// Waits until the server's clock has moved ahead so far: by itself if it goes by the real one, or because it is moved.
pub(crate) async fn sleep(shared: &Shared, by: Duration) {
    let end = shared.now().after(by);
    sleep_until(shared, end).await;
}

/// Waits until the server's clock shows `end`. What has several steps waits for the end of each, counted from its own
/// beginning, so that moving the clock once takes it through all of them.
pub(crate) async fn sleep_until(shared: &Shared, end: Moment) {
    let mut changes = shared.watch();
    loop {
        changes.borrow_and_update();
        let (now, base) = shared.read(|world| (world.clock.now(), world.clock.base));
        if now >= end {
            return;
        }
        // The sender lives in what is borrowed here, so it cannot be gone.
        let moved = changes.changed();
        match base {
            Clock::Real => {
                let _ = tokio::time::timeout(end.since(now), moved).await;
            }
            Clock::Virtual { .. } => {
                let _ = moved.await;
            }
        }
    }
}
