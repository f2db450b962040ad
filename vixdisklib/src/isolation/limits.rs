//! How long a worker process may take.

use std::time::{Duration, Instant};

use crate::wire::Request;

/// How long calls may take in a worker process before it counts as hung: it is then killed, and all calls that wait for it end
/// with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut). `None` waits for ever.
///
/// The time of a call runs from its submission, or from the last answer that concerned the same disk (for calls without a
/// disk, the last of those): waiting in line does not count. While a long call is under way the clocks of all others stand
/// still, because they may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    control: Option<Duration>,
    io: Option<Duration>,
    long: Option<Duration>,
}

/// Which of the limits a call has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Control,
    Io,
    Long,
}

impl TimeLimits {
    /// Ten minutes for connecting and opening, five for reading and writing, an hour without progress for long calls.
    #[must_use]
    pub fn new() -> TimeLimits {
        TimeLimits::default()
    }

    /// No limits.
    #[must_use]
    pub fn none() -> TimeLimits {
        TimeLimits { control: None, io: None, long: None }
    }

    /// For starting, connecting, opening, closing, preparing and ending access, cleaning up.
    #[must_use]
    pub fn control(mut self, limit: Option<Duration>) -> TimeLimits {
        self.control = limit;
        self
    }

    /// For reading, writing, flushing, and questions to an open disk.
    #[must_use]
    pub fn io(mut self, limit: Option<Duration>) -> TimeLimits {
        self.io = limit;
        self
    }

    /// For making, cloning, growing, checking and deleting disks, and the like: the time without a sign of progress.
    #[must_use]
    pub fn long(mut self, limit: Option<Duration>) -> TimeLimits {
        self.long = limit;
        self
    }

    pub(super) fn of(&self, class: Class) -> Option<Duration> {
        match class {
            Class::Control => self.control,
            Class::Io => self.io,
            Class::Long => self.long,
        }
    }
}

impl Default for TimeLimits {
    fn default() -> TimeLimits {
        let minutes = |count: u64| Some(Duration::from_secs(count * 60));
        TimeLimits { control: minutes(10), io: minutes(5), long: minutes(60) }
    }
}

/// The limit of a request, and the line in which it waits: that of its disk, or 0.
pub(super) fn of_request(request: &Request) -> (Class, u64) {
    match request {
        Request::TransportModes {} | Request::ErrorText { .. } | Request::Statistics {} => (Class::Io, 0),
        Request::Connect { .. }
        | Request::Disconnect { .. }
        | Request::PrepareForAccess { .. }
        | Request::EndAccess { .. }
        | Request::Cleanup { .. }
        | Request::Open { .. } => (Class::Control, 0),
        Request::Rename { .. }
        | Request::Create { .. }
        | Request::Clone { .. }
        | Request::Grow { .. }
        | Request::Unlink { .. }
        | Request::CheckRepair { .. } => (Class::Long, 0),
        Request::Close { disk } => (Class::Control, *disk),
        Request::Flush { disk }
        | Request::Info { disk }
        | Request::AllocatedBlocks { disk, .. }
        | Request::ChangedAreas { disk, .. }
        | Request::ReadMetadata { disk, .. }
        | Request::WriteMetadata { disk, .. }
        | Request::MetadataKeys { disk } => (Class::Io, *disk),
        Request::CreateChild { disk, .. }
        | Request::Shrink { disk }
        | Request::Defragment { disk }
        | Request::SpaceNeededForClone { disk, .. }
        | Request::IsAttachPossible { disk, .. }
        | Request::Attach { disk, .. } => (Class::Long, *disk),
    }
}

/// The later of two moments, of which the second may be missing.
pub(super) fn later(one: Instant, other: Option<Instant>) -> Instant {
    other.map_or(one, |other| one.max(other))
}
