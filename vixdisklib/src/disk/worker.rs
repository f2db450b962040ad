//! The worker of a disk: the one thread that uses its handle between open and close.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use super::options::OpenOptions;
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{Api, CallError, Piece, RawDisk};
use crate::log;
use crate::permits::Permits;

const CLOSE: &str = "close the disk";

type Call = Box<dyn FnOnce(&mut RawDisk) + Send>;

enum Job {
    Piece(Piece),
    Call(Call),
}

/// The owner's end of the worker. Closes the disk when dropped.
pub(super) struct Worker {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Served>>,
}

/// The way to the worker, shared with futures, which may outlive the disk.
pub(super) struct Queue {
    /// Taken away when the disk is closed, which is how the worker learns of it. The channel itself has no bound: every
    /// piece in it holds a permit, and calls are waited for by their callers.
    jobs: RwLock<Option<Sender<Job>>>,
    pub(super) permits: Arc<Permits>,
    pub(super) api: &'static Api,
    pub(super) path: String,
    pub(super) request_limit: usize,
}

/// What the worker leaves: the handle, and how waiting for the last requests went.
type Served = (RawDisk, std::result::Result<(), CallError>);

impl Worker {
    /// Hands `raw` to a new thread.
    pub(super) fn start(
        raw: RawDisk,
        api: &'static Api,
        path: &str,
        options: &OpenOptions,
    ) -> Result<Worker> {
        let (jobs, receiver) = channel();
        let asynchronous = options.is_async();
        // If no thread can be had, `raw` is dropped with the closure, and closes.
        let thread = thread::Builder::new()
            .name("vddk-disk".into())
            .spawn(move || serve(raw, receiver, asynchronous))
            .map_err(|error| Error::io("start the worker of the disk", error).with_subject(path))?;
        let queue = Queue {
            jobs: RwLock::new(Some(jobs)),
            permits: Permits::new(options.depth()),
            api,
            path: path.to_owned(),
            request_limit: options.request_limit(),
        };
        Ok(Worker { queue: Arc::new(queue), thread: Some(thread) })
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub(super) fn path(&self) -> &str {
        &self.queue.path
    }

    /// Runs `call` on the worker, behind everything submitted before, and waits for it.
    pub(super) fn call<R: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut RawDisk) -> std::result::Result<R, CallError> + Send + 'static,
    ) -> Result<R> {
        let mark = log::mark();
        self.call_raw(operation, call)?
            .map_err(|error| self.queue.api.error(operation, error, mark).with_subject(self.path()))
    }

    /// Like [`Worker::call`], for callers who look at the library's answer themselves.
    pub(super) fn call_raw<R: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut RawDisk) -> R + Send + 'static,
    ) -> Result<R> {
        self.start_call(operation, call)?.finish(operation)
    }

    /// Like [`Worker::call_raw`], for callers who have something to do before they wait.
    pub(super) fn start_call<R: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&mut RawDisk) -> R + Send + 'static,
    ) -> Result<Running<'_, R>> {
        let (sender, receiver) = channel();
        self.queue.send(
            operation,
            Job::Call(Box::new(move |raw| {
                if sender.send(call(raw)).is_err() {
                    tracing::error!("the caller of a disk operation vanished while it waited");
                }
            })),
        )?;
        Ok(Running { receiver, queue: &self.queue })
    }

    /// Ends the worker and gives the handle, which is open.
    pub(super) fn into_raw(mut self) -> Result<RawDisk> {
        let mark = log::mark();
        let Some((raw, waited)) = self.stop()? else { return Err(self.queue.closed(CLOSE)) };
        waited.map_err(|error| self.queue.api.error(CLOSE, error, mark).with_subject(self.path()))?;
        Ok(raw)
    }

    /// Ends the worker and closes the disk.
    pub(super) fn close(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let mark = log::mark();
        let Some((raw, waited)) = self.stop()? else { return Ok(()) };
        let closed = control::run(move || raw.close())?;
        waited.and(closed).map_err(|error| self.queue.api.error(CLOSE, error, mark).with_subject(self.path()))
    }

    /// Lets the worker finish what it has, and ends it; `None` when that was done before.
    fn stop(&mut self) -> Result<Option<Served>> {
        let Some(thread) = self.thread.take() else { return Ok(None) };
        drop(self.queue.jobs.write().unwrap_or_else(PoisonError::into_inner).take());
        let served = thread.join().map_err(|_| {
            let text = "its worker thread panicked; the handle was closed on the way out";
            Error::new(ErrorKind::Failed, CLOSE, text).with_subject(self.path())
        })?;
        Ok(Some(served))
    }
}

/// A call that was handed to the worker.
pub(super) struct Running<'a, R> {
    receiver: Receiver<R>,
    queue: &'a Queue,
}

impl<R> Running<'_, R> {
    /// Waits for the result.
    pub(super) fn finish(self, operation: &'static str) -> Result<R> {
        self.receiver.recv().map_err(|_| self.queue.closed(operation))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "a disk did not close well");
        }
    }
}

impl Queue {
    /// Submits one piece. When that fails the piece is gone, and counts as failed in its batch.
    pub(super) fn submit(&self, operation: &'static str, piece: Piece) -> Result<()> {
        self.send(operation, Job::Piece(piece))
    }

    pub(super) fn closed(&self, operation: &'static str) -> Error {
        Error::closed(operation).with_subject(self.path.as_str())
    }

    fn send(&self, operation: &'static str, job: Job) -> Result<()> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let sender = jobs.as_ref().ok_or_else(|| self.closed(operation))?;
        sender.send(job).map_err(|_| self.closed(operation))
    }
}

fn serve(mut raw: RawDisk, jobs: Receiver<Job>, asynchronous: bool) -> Served {
    for job in jobs {
        match job {
            Job::Piece(piece) if asynchronous => raw.queue(piece),
            Job::Piece(piece) => raw.transfer(piece),
            Job::Call(call) => call(&mut raw),
        }
    }
    // Closing with requests under way is not allowed.
    let waited = if asynchronous { raw.wait() } else { Ok(()) };
    (raw, waited)
}
