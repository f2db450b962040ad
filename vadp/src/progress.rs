//! What a workflow tells on its way.

use std::time::Duration;

use tokio::time::Instant;

use crate::cbt::Decision;
use crate::snapshot::Consistency;

/// Something that happened. Byte counts are totals of the disk so far.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Remains of runs that died are gone.
    Swept(&'a crate::Swept),
    /// The snapshot of a run that died is there yet, and this run goes on where that one was.
    Resumed {
        /// Its name.
        name: &'a str,
    },
    /// A snapshot was asked for.
    SnapshotStarted {
        /// Its name.
        name: &'a str,
    },
    /// The snapshot is there.
    SnapshotTaken {
        /// Its name.
        name: &'a str,
        /// In what state its disks are.
        consistency: Consistency,
    },
    /// The guest did not come to rest. What comes next is up to the policy.
    QuiesceFailed {
        /// How often it was asked so far.
        attempt: u32,
        /// Why.
        fault: &'a str,
    },
    /// The snapshot is gone.
    SnapshotRemoved {
        /// Its name.
        name: &'a str,
    },
    /// How a disk will be backed up, and how many bytes that takes.
    DiskPlanned {
        /// Device key.
        key: i32,
        /// The disk's label, such as "Hard disk 1".
        label: &'a str,
        /// The disk's size in bytes.
        capacity: u64,
        /// The decision.
        decision: &'a Decision,
        /// Bytes that will be read.
        to_read: u64,
    },
    /// A chunk had changed, and tracking did not tell. The disk is backed up in full, and its tracking begins anew afterwards.
    TrackingLied {
        /// Device key.
        key: i32,
        /// The disk's label.
        label: &'a str,
        /// Number of the chunk.
        chunk: u64,
    },
    /// A recovery has made its machine, without disks as yet.
    MachineCreated {
        /// Its name.
        name: &'a str,
    },
    /// The machine of a recovery is whole.
    MachineDone {
        /// Its name.
        name: &'a str,
    },
    /// A disk of a restore was opened.
    DiskOpened {
        /// Device key.
        key: i32,
        /// The disk's size in bytes.
        capacity: u64,
    },
    /// Bytes of a disk went by.
    DiskProgress {
        /// Device key.
        key: i32,
        /// Which phase they belong to.
        phase: Phase,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// Bytes in a second, as of the last few; zero before anything can be told.
        rate: u64,
        /// How long it takes at this rate. `None` before anything can be told.
        remaining: Option<Duration>,
    },
    /// A disk is done.
    DiskDone {
        /// Device key.
        key: i32,
    },
    /// The restore point is visible.
    Committed {
        /// Its id.
        point: &'a str,
    },
}

/// A phase of the work on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading a snapshot into the repository.
    Backup,
    /// Comparing the disk with the restore point, and writing what differs.
    Write,
    /// Reading everything back.
    Verify,
}

/// How many seconds of the past a rate is mostly about.
const MEMORY: f64 = 5.0;

/// A rate is looked at anew after this time.
const SAMPLE: Duration = Duration::from_millis(250);

/// How fast something goes, smoothed.
pub(crate) struct Meter {
    sampled: Instant,
    at: u64,
    rate: Option<f64>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { sampled: Instant::now(), at: 0, rate: None }
    }

    /// The event that so much is done.
    pub(crate) fn event<'a>(&mut self, key: i32, phase: Phase, done: u64, total: u64) -> Event<'a> {
        let (rate, remaining) = self.note(Instant::now(), done, total);
        Event::DiskProgress { key, phase, done, total, rate, remaining }
    }

    fn note(&mut self, now: Instant, done: u64, total: u64) -> (u64, Option<Duration>) {
        let passed = now.saturating_duration_since(self.sampled);
        if passed >= SAMPLE {
            let seconds = passed.as_secs_f64();
            let latest = done.saturating_sub(self.at) as f64 / seconds;
            let weight = 1.0 - (-seconds / MEMORY).exp();
            self.rate = Some(self.rate.map_or(latest, |rate| rate + weight * (latest - rate)));
            (self.sampled, self.at) = (now, done);
        }
        let rate = self.rate.unwrap_or(0.0);
        let left = total.saturating_sub(done) as f64;
        let remaining = self.rate.and_then(|rate| Duration::try_from_secs_f64(left / rate).ok());
        (rate as u64, remaining)
    }
}

/// Where events go. Called from any task, so it should return at once.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a>(pub(crate) &'a (dyn Fn(Event<'_>) + Send + Sync));

impl Report<'_> {
    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.0)(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_slowly_and_says_how_long_it_takes() {
        let (mut meter, mut now, mut done) = (Meter::new(), Instant::now(), 0);
        assert_eq!(meter.note(now, 1, 100), (0, None), "nothing can be told of no time");
        let mut go = |rate: u64, seconds: u64| {
            let mut last = (0, None);
            for _ in 0..seconds * 2 {
                now += Duration::from_millis(500);
                done += rate / 2;
                last = meter.note(now, done, 1_000_000);
            }
            (last, 1_000_000 - done)
        };
        let ((rate, remaining), left) = go(1000, 10);
        assert!((999..=1000).contains(&rate), "{rate}");
        assert_eq!(remaining.unwrap().as_secs(), left / 1000);
        let ((rate, _), _) = go(100, 2);
        assert!((500..900).contains(&rate), "after two seconds it is {rate}");
        let ((rate, _), _) = go(100, 60);
        assert!((99..=101).contains(&rate), "after a minute it is {rate}");
        let ((rate, remaining), _) = go(0, 3000);
        assert_eq!((rate, remaining.is_none_or(|r| r > Duration::from_secs(1 << 20))), (0, true));
    }
}
