//! What a worker process still owes an answer to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::limits::{Class, TimeLimits, later};
use super::memory::Region;
use crate::error::Gone;
use crate::ffi::CallError;
use crate::permits::Permit;
use crate::progress::Reporter;
use crate::wire::{Answer, StartOutcome};

/// One request under way.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) line: u64,
    /// When it was submitted, or last gave a sign of progress.
    pub(super) since: Instant,
    pub(super) waiting: Waiting,
}

/// Who waits.
pub(super) enum Waiting {
    Start(Sender<Result<StartOutcome, CallError>>),
    Call { reply: Sender<Result<Answer, CallError>>, reporter: Option<Reporter> },
    Transfer(Transfer),
}

/// A transfer under way. The region is kept so that its memory goes nowhere; the permit is given back at the end.
pub(super) struct Transfer {
    pub(super) reply: oneshot::Sender<Result<(), CallError>>,
    pub(super) region: Arc<Region>,
    pub(super) permit: Permit,
}

/// All requests under way, and what the watchdog goes by.
pub(super) struct Pending {
    pub(super) next: u64,
    pub(super) entries: HashMap<u64, Entry>,
    /// Why there will be no more answers.
    pub(super) gone: Option<Arc<Gone>>,
    /// Why the process was killed.
    pub(super) verdict: Option<Verdict>,
    /// When each line last got an answer.
    heard: HashMap<u64, Instant>,
    /// When a long call last ended.
    undisturbed_since: Option<Instant>,
    /// When the watchdog wakes by itself.
    pub(super) wakes: Option<Instant>,
}

/// Why a worker process has to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// This program needs it no longer.
    Done,
    /// It broke the rules, in this way.
    Breach(&'static str),
    /// It had so much time for that.
    TooLate(&'static str, Duration),
}

/// What the watchdog is to do.
pub(super) enum Watch {
    Until(Option<Instant>),
    Condemn(Verdict),
}

impl Pending {
    pub(super) fn new() -> Pending {
        Pending {
            next: 1,
            entries: HashMap::new(),
            gone: None,
            verdict: None,
            heard: HashMap::new(),
            undisturbed_since: None,
            wakes: None,
        }
    }

    /// Takes the entry that an answer is for.
    pub(super) fn answered(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let now = Instant::now();
        self.heard.insert(entry.line, now);
        if entry.class == Class::Long {
            self.undisturbed_since = Some(now);
        }
        Some(entry)
    }

    /// Forgets the line of a disk that was closed.
    pub(super) fn forget(&mut self, line: u64) {
        self.heard.remove(&line);
    }

    /// Looks for a call that takes too long.
    pub(super) fn watch(&self, limits: &TimeLimits, now: Instant) -> Watch {
        let long = self.entries.values().any(|entry| entry.class == Class::Long);
        let mut wake = None;
        for entry in self.entries.values() {
            if long && entry.class != Class::Long {
                continue;
            }
            let Some(limit) = limits.of(entry.class) else { continue };
            let heard = self.heard.get(&entry.line).copied().filter(|_| entry.class != Class::Long);
            let since = later(later(entry.since, heard), self.undisturbed_since);
            let Some(end) = since.checked_add(limit) else { continue };
            if end <= now {
                return Watch::Condemn(Verdict::TooLate(entry.name, limit));
            }
            wake = Some(wake.map_or(end, |wake: Instant| wake.min(end)));
        }
        Watch::Until(wake)
    }
}

impl Entry {
    /// Ends it without an answer.
    pub(super) fn fail(self, gone: &Arc<Gone>) {
        let error = || CallError::Gone(Arc::clone(gone));
        // Whoever waited may have given up.
        match self.waiting {
            Waiting::Start(reply) => drop(reply.send(Err(error()))),
            Waiting::Call { reply, reporter } => {
                drop(reporter);
                drop(reply.send(Err(error())));
            }
            Waiting::Transfer(transfer) => transfer.finish(Err(error())),
        }
    }
}

impl Transfer {
    pub(super) fn finish(self, outcome: Result<(), CallError>) {
        let Transfer { reply, region, permit } = self;
        drop(region);
        drop(permit);
        // A future that was dropped does not hear of it.
        drop(reply.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(class: Class, line: u64, since: Instant) -> Entry {
        let (reply, _) = std::sync::mpsc::channel();
        Entry { name: "Test", class, line, since, waiting: Waiting::Call { reply, reporter: None } }
    }

    fn condemned(pending: &Pending, now: Instant) -> bool {
        let second = Some(Duration::from_secs(1));
        let limits = TimeLimits::none().control(second).io(second).long(Some(Duration::from_secs(60)));
        matches!(pending.watch(&limits, now), Watch::Condemn(Verdict::TooLate("Test", _)))
    }

    #[test]
    fn waiting_in_line_does_not_count() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut pending = Pending::new();
        pending.entries.insert(1, entry(Class::Io, 7, began));
        pending.entries.insert(2, entry(Class::Io, 7, began));
        assert!(!condemned(&pending, began));
        assert!(condemned(&pending, at(2)));
        // An answer for the same disk shows that it works on; one for another shows nothing.
        pending.heard.insert(8, at(2));
        assert!(condemned(&pending, at(2)));
        pending.heard.insert(7, at(2));
        assert!(!condemned(&pending, at(2)));
        assert!(condemned(&pending, at(3)));
    }

    #[test]
    fn clocks_stand_still_beside_a_long_call() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut pending = Pending::new();
        pending.entries.insert(1, entry(Class::Control, 0, began));
        pending.entries.insert(2, entry(Class::Long, 0, began));
        assert!(!condemned(&pending, at(30)));
        assert!(condemned(&pending, at(60)));
        pending.answered(2).unwrap();
        assert!(!condemned(&pending, Instant::now()));
        assert!(pending.answered(2).is_none());
    }

    #[test]
    fn without_limits_nothing_is_watched() {
        let mut pending = Pending::new();
        pending.entries.insert(1, entry(Class::Io, 7, Instant::now()));
        assert!(matches!(pending.watch(&TimeLimits::none(), Instant::now()), Watch::Until(None)));
        assert!(matches!(pending.watch(&TimeLimits::new(), Instant::now()), Watch::Until(Some(_))));
    }
}
