//! Progress of long calls.
//!
//! The library reports from within its call, on the thread that made it, which is one of this crate's. The caller's closure
//! does not run there: what is reported travels through a channel to the caller, who waits for the end anyway. So the closure
//! needs to be neither `Send` nor `'static`, may use this crate, and has no C below it when it panics.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, channel};

/// Where the library's percentages go. The work is over when it is dropped.
pub(crate) type Reporter = Box<dyn Fn(u8) + Send>;

/// The caller's end.
pub(crate) struct Progress(Receiver<u8>);

/// A channel for one call.
pub(crate) fn channel_for_call() -> (Reporter, Progress) {
    let (sender, receiver) = channel();
    let report = move |percent| {
        if sender.send(percent).is_err() {
            tracing::trace!("nobody listens to the progress of a call");
        }
    };
    (Box::new(report), Progress(receiver))
}

/// For calls whose progress nobody asked for.
pub(crate) fn to_nobody() -> Reporter {
    Box::new(|_| {})
}

impl Progress {
    /// Tells `hear` of each percentage until the work is over, then gives what `finish` says of its result. A panic of `hear`
    /// goes on from here, but not before the work is over: it cannot be stopped, and uses what the caller may drop.
    pub(crate) fn follow<R>(self, mut hear: impl FnMut(u8), finish: impl FnOnce() -> R) -> R {
        let mut panic = None;
        for percent in self.0 {
            if panic.is_none() {
                panic = catch_unwind(AssertUnwindSafe(|| hear(percent))).err();
            }
        }
        let result = finish();
        match panic {
            Some(panic) => resume_unwind(panic),
            None => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_panic_waits_for_the_end_and_goes_on() {
        let (reporter, progress) = channel_for_call();
        let finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for percent in [0, 50, 100] {
                    reporter(percent);
                }
            });
            let mut heard = Vec::new();
            let panic = catch_unwind(AssertUnwindSafe(|| {
                let hear = |percent| {
                    heard.push(percent);
                    assert!(percent < 50, "on purpose");
                };
                progress.follow(hear, || finished.store(true, Ordering::Relaxed))
            }));
            assert!(panic.is_err() && finished.load(Ordering::Relaxed));
            assert_eq!(heard, [0, 50]);
        });
    }
}
