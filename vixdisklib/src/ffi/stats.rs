//! How often each function was called, how often it failed, and how long it took.

use std::ffi::c_char;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::bindings::{VDDK_ASYNC_QUEUED, VddkConnectParams};
use super::symbols::Symbol;

/// A function that the loaded library does not export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) Symbol);

/// Whether a result of a call means that it failed.
pub(super) trait Outcome {
    fn failed(&self) -> bool;
}

impl Outcome for u64 {
    fn failed(&self) -> bool {
        // The whole word counts, and "queued" is how asynchronous calls succeed.
        *self != 0 && *self != u64::from(VDDK_ASYNC_QUEUED)
    }
}

impl Outcome for () {
    fn failed(&self) -> bool {
        false
    }
}

impl Outcome for *const c_char {
    fn failed(&self) -> bool {
        self.is_null()
    }
}

impl Outcome for *mut c_char {
    fn failed(&self) -> bool {
        self.is_null()
    }
}

impl Outcome for *mut VddkConnectParams {
    fn failed(&self) -> bool {
        self.is_null()
    }
}

/// One set of counters for each symbol.
pub(super) struct Stats {
    counters: Vec<Counter>,
}

#[derive(Default)]
struct Counter {
    calls: AtomicU64,
    failures: AtomicU64,
    nanoseconds: AtomicU64,
    longest: AtomicU64,
}

impl Stats {
    pub(super) fn new() -> Stats {
        Stats { counters: Symbol::ALL.iter().map(|_| Counter::default()).collect() }
    }

    /// Runs `call` and counts it as one call of `symbol`.
    pub(super) fn count<R: Outcome>(&self, symbol: Symbol, call: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = call();
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(counter) = self.counters.get(symbol as usize) {
            counter.calls.fetch_add(1, Relaxed);
            counter.failures.fetch_add(u64::from(result.failed()), Relaxed);
            counter.nanoseconds.fetch_add(took, Relaxed);
            counter.longest.fetch_max(took, Relaxed);
        }
        result
    }

    /// What was counted for `symbol`: calls, failures, total and longest time.
    pub(super) fn of(&self, symbol: Symbol) -> (u64, u64, Duration, Duration) {
        self.counters.get(symbol as usize).map_or((0, 0, Duration::ZERO, Duration::ZERO), |counter| {
            (
                counter.calls.load(Relaxed),
                counter.failures.load(Relaxed),
                Duration::from_nanos(counter.nanoseconds.load(Relaxed)),
                Duration::from_nanos(counter.longest.load(Relaxed)),
            )
        })
    }
}
