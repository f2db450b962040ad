//! A counted number of places, waited for by threads and by futures alike: the bound on requests under way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A fixed number of permits.
pub(crate) struct Permits {
    count: usize,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    free: usize,
    wakers: VecDeque<Waker>,
}

/// The right to one request; given back on drop.
pub(crate) struct Permit {
    permits: Arc<Permits>,
}

impl Permits {
    /// `count` permits, at least one.
    pub(crate) fn new(count: usize) -> Arc<Permits> {
        let count = count.max(1);
        let state = State { free: count, wakers: VecDeque::new() };
        Arc::new(Permits { count, state: Mutex::new(state), freed: Condvar::new() })
    }

    /// How many there are in all.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Waits on this thread for a permit.
    pub(crate) fn acquire_blocking(self: &Arc<Self>) -> Permit {
        let mut state = self.lock();
        while state.free == 0 {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        Permit { permits: Arc::clone(self) }
    }

    /// Waits as a future for a permit. Dropping the future loses nothing.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        poll_fn(|context| self.poll_acquire(context)).await
    }

    fn poll_acquire(self: &Arc<Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let mut state = self.lock();
        if state.free == 0 {
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push_back(context.waker().clone());
            }
            return Poll::Pending;
        }
        state.free -= 1;
        Poll::Ready(Permit { permits: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.permits.lock();
            state.free += 1;
            self.permits.freed.notify_one();
            // All of them: a waker may belong to a future that was dropped, and waking only that one would strand the
            // rest. There are as many as transfers under way, so this is a handful.
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::future::join;
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_dropped_waiter_strands_nobody() {
        let permits = Permits::new(1);
        let held = permits.acquire_blocking();
        let mut dropped = Box::pin(permits.acquire());
        block_on(poll_fn(|context| {
            assert!(dropped.as_mut().poll(context).is_pending());
            Poll::Ready(())
        }));
        drop(dropped);
        let releasing = async { drop(held) };
        block_on(join(permits.acquire(), releasing));
    }

    #[test]
    fn threads_wait_for_their_turn() {
        let permits = Permits::new(1);
        let held = permits.acquire_blocking();
        let other = {
            let permits = Arc::clone(&permits);
            std::thread::spawn(move || drop(permits.acquire_blocking()))
        };
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(!other.is_finished());
        drop(held);
        other.join().unwrap();
    }

    /// One order of events out of many; Miri tries several (`.ci/miri`), and says so when one of them waits for ever.
    #[test]
    fn threads_and_futures_share_the_places() {
        let permits = &Permits::new(2);
        let held = &AtomicUsize::new(0);
        let use_one = move |permit: Permit| {
            assert!(held.fetch_add(1, Ordering::SeqCst) < 2);
            std::thread::yield_now();
            held.fetch_sub(1, Ordering::SeqCst);
            drop(permit);
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || (0..3).for_each(|_| use_one(permits.acquire_blocking())));
                scope.spawn(move || (0..3).for_each(|_| use_one(block_on(permits.acquire()))));
            }
            scope.spawn(move || {
                // Polled once and dropped, with a permit or waiting for one.
                let mut acquire = std::pin::pin!(permits.acquire());
                drop(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())));
            });
        });
        assert_eq!(permits.lock().free, 2);
    }
}
