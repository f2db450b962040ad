//! When a failed call is tried again: the caller's policy, within what is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::error::{Error, ErrorKind};

type Predicate = dyn Fn(&Error) -> bool + Send + Sync;

/// How often, how soon and after which errors a failed call is sent again. A [`Client`](crate::Client) has none unless it
/// is [given](crate::Connect::retry) one.
///
/// Whatever the policy says, a call that may have been carried out is repeated only when it merely reads. One that
/// changes something is repeated only when it can't have arrived, because no connection came about.
///
/// ```
/// # use std::time::Duration;
/// use vim_api::{ErrorKind, Retry};
///
/// let patient = Retry::times(5)
///     .backoff(Duration::from_millis(200), Duration::from_secs(10))
///     .when(|error| error.kind() == ErrorKind::Unavailable);
/// ```
#[derive(Clone)]
pub struct Retry {
    times: usize,
    first: Duration,
    longest: Duration,
    when: Arc<Predicate>,
}

impl Retry {
    /// Never again.
    pub fn none() -> Self {
        Self::times(0)
    }

    /// At most `times` times more, after [retryable](Error::is_retryable) errors. The pause before the second attempt is
    /// a quarter of a second, and doubles from one to the next up to 10 seconds.
    pub fn times(times: usize) -> Self {
        Self {
            times,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(10),
            when: Arc::new(Error::is_retryable),
        }
    }

    /// The first pause, and the longest. Each is lengthened at random by up to the whole, so that many clients do not
    /// come back together.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest.max(first);
        self
    }

    /// After which errors.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.when = Arc::new(predicate);
        self
    }

    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.times)
            .with_jitter()
            .build()
    }

    pub(super) fn allows(&self, repeatable: bool, error: &Error) -> bool {
        let safe = repeatable || error.kind() == ErrorKind::Connect;
        safe && (self.when)(error)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("times", &self.times)
            .field("first", &self.first)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}
