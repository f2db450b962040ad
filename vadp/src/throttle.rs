//! Bytes per second, by the time of day.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a wait is kept up before the rate is looked at again: a window may have begun or ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A bound on the bytes that are read in a second: one for always, and others for windows of the day.
///
/// ```
/// use vadp::{Throttle, TimeOfDay};
///
/// let (morning, evening) = (TimeOfDay::new(8, 0).unwrap(), TimeOfDay::new(18, 30).unwrap());
/// let throttle = Throttle::unlimited().between(morning, evening, 20 << 20);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Throttle {
    otherwise: Option<u64>,
    windows: Vec<(TimeOfDay, TimeOfDay, u64)>,
    clock: Arc<dyn Fn() -> TimeOfDay + Send + Sync>,
}

/// A minute of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// `hour` is at most 23 and `minute` at most 59; otherwise there is no such time.
    pub fn new(hour: u8, minute: u8) -> Option<Self> {
        (hour < 24 && minute < 60).then(|| Self(u16::from(hour) * 60 + u16::from(minute)))
    }

    /// Now, in UTC.
    pub fn utc() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Less than 1,440.
        Self((seconds / 60 % (24 * 60)) as u16)
    }
}

impl Throttle {
    /// At most so many bytes in a second. Zero stands still.
    pub fn bytes_per_second(rate: u64) -> Self {
        Self { otherwise: Some(rate), ..Self::unlimited() }
    }

    /// No bound outside of windows.
    pub fn unlimited() -> Self {
        Self { otherwise: None, windows: Vec::new(), clock: Arc::new(TimeOfDay::utc) }
    }

    /// Another bound from one time of the day to another, which may be past midnight; equal times are the whole day. Of windows that
    /// overlap, the first that was given counts. Zero stands still until the window ends: the snapshot waits meanwhile, and grows.
    pub fn between(mut self, from: TimeOfDay, to: TimeOfDay, rate: u64) -> Self {
        self.windows.push((from, to, rate));
        self
    }

    /// What tells the time of day: UTC unless set. A program that means local time says it here, by the library for time zones that it uses.
    pub fn clock(mut self, clock: impl Fn() -> TimeOfDay + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The bound at a time of the day; `None` when there is none.
    pub fn rate_at(&self, time: TimeOfDay) -> Option<u64> {
        let is_within = |from: TimeOfDay, to: TimeOfDay| match from < to {
            true => from <= time && time < to,
            false => from <= time || time < to,
        };
        let window = self.windows.iter().find(|(from, to, _)| is_within(*from, *to));
        window.map_or(self.otherwise, |(.., rate)| Some(*rate))
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("otherwise", &self.otherwise)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

/// Lets bytes through, no faster than a [`Throttle`] says. Shared by all disks of a run.
#[derive(Debug)]
pub(crate) struct Pace {
    throttle: Throttle,
    debt: Mutex<Debt>,
}

/// Bytes that went through, and were not paid for with time yet.
#[derive(Debug)]
struct Debt {
    bytes: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(throttle: Throttle) -> Self {
        Self { throttle, debt: Mutex::new(Debt { bytes: 0.0, at: Instant::now() }) }
    }

    /// Returns when these bytes may be read. Who comes first is let through first.
    pub(crate) async fn pass(&self, bytes: u64) {
        let mut debt = self.debt.lock().await;
        loop {
            let rate = self.throttle.rate_at((self.throttle.clock)());
            match debt.pass(Instant::now(), rate, bytes) {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait.min(LOOK_AGAIN)).await,
            }
        }
    }
}

impl Debt {
    /// Takes the bytes on, or says how long it takes until the earlier ones are paid for.
    fn pass(&mut self, now: Instant, rate: Option<u64>, bytes: u64) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let Some(rate) = rate else {
            self.bytes = 0.0;
            return Ok(());
        };
        self.bytes = (self.bytes - passed * rate as f64).max(0.0);
        if self.bytes > 0.0 || rate == 0 {
            return Err(Duration::try_from_secs_f64(self.bytes / rate as f64).unwrap_or(Duration::MAX));
        }
        self.bytes = bytes as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u8, minute: u8) -> TimeOfDay {
        TimeOfDay::new(hour, minute).unwrap()
    }

    #[test]
    fn windows_are_told_by_the_time_of_day() {
        let throttle = Throttle::bytes_per_second(100)
            .between(at(8, 0), at(18, 0), 10)
            .between(at(22, 30), at(6, 0), 0)
            .between(at(0, 0), at(0, 0), 50);
        let rates = [(7, 59), (8, 0), (17, 59), (18, 0), (22, 30), (0, 0), (5, 59), (6, 0)]
            .map(|(hour, minute)| throttle.rate_at(at(hour, minute)));
        assert_eq!(rates, [50, 10, 10, 50, 0, 0, 0, 50].map(Some));
        let plain = Throttle::unlimited().between(at(8, 0), at(9, 0), 7);
        assert_eq!((plain.rate_at(at(8, 30)), plain.rate_at(at(9, 0))), (Some(7), None));
        assert_eq!((TimeOfDay::new(24, 0), TimeOfDay::new(0, 60)), (None, None));
    }

    /// By a clock that the test moves: what goes through in any span of time is bounded by the rate of that time.
    #[test]
    fn no_more_goes_through_than_the_rate_allows() {
        let (mut debt, start) = (Debt { bytes: 0.0, at: Instant::now() }, Instant::now());
        let (mut now, mut through) = (Duration::ZERO, Vec::new());
        while now < Duration::from_secs(40) {
            // A window of ten seconds is slower, and one stands still.
            let rate = match now.as_secs() {
                10..20 => Some(100),
                20..30 => Some(0),
                _ => Some(1000),
            };
            match debt.pass(start + now, rate, 500) {
                Ok(()) => through.push(now.as_secs()),
                Err(wait) => now += wait.clamp(Duration::from_millis(1), LOOK_AGAIN),
            }
        }
        let within = |from, to| through.iter().filter(|at| (from..to).contains(*at)).count() * 500;
        assert!((9_500..=10_500).contains(&within(0, 10)), "{}", within(0, 10));
        assert!((500..=1_500).contains(&within(10, 20)), "{}", within(10, 20));
        assert_eq!(within(21, 30), 0);
        assert!((9_500..=10_500).contains(&within(30, 40)), "{}", within(30, 40));
    }

    #[tokio::test]
    async fn the_clock_is_the_callers() {
        let pace =
            Pace::new(Throttle::bytes_per_second(0).between(at(3, 0), at(4, 0), u64::MAX).clock(|| at(3, 1)));
        for _ in 0..100 {
            pace.pass(1 << 30).await;
        }
    }
}
