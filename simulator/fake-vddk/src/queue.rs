//! The thread that carries out a disk's asynchronous requests.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::code::{Answer, Code};
use crate::library::lock;

/// A request that ends by calling its client back.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Requests in order of arrival, one thread that takes them.
pub(crate) struct Queue {
    jobs: Sender<Job>,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Queue {
    /// Starts the thread, which ends when the queue is dropped and empty.
    pub(crate) fn start() -> Answer<Queue> {
        let (jobs, arriving) = channel::<Job>();
        let pending = Arc::new(Pending::default());
        let done = Arc::clone(&pending);
        let run = move || {
            for job in arriving {
                job();
                *lock(&done.count) -= 1;
                done.changed.notify_all();
            }
        };
        thread::Builder::new().name("fake-vddk-aio".into()).spawn(run).map_err(|_| Code::FAIL)?;
        Ok(Queue { jobs, pending })
    }

    pub(crate) fn submit(&self, job: Job) -> Answer<()> {
        *lock(&self.pending.count) += 1;
        self.jobs.send(job).map_err(|_| {
            *lock(&self.pending.count) -= 1;
            Code::FAIL
        })
    }

    /// Waits until every request has called back.
    pub(crate) fn wait(&self) {
        let mut count = lock(&self.pending.count);
        while *count > 0 {
            count = self.pending.changed.wait(count).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Requests that have not called back yet.
    pub(crate) fn pending(&self) -> usize {
        *lock(&self.pending.count)
    }
}
