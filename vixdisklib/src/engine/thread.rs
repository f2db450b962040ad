//! The thread of a disk: the one that uses its handle between open and close.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crate::control;
use crate::ffi::{CallError, Piece, RawDisk, bindings};

type Call = Box<dyn FnOnce(&mut RawDisk) + Send>;

enum Job {
    Piece(Piece),
    Call(Call),
}

/// The owner's end. Closes the disk when dropped.
pub(super) struct DiskThread {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Served>>,
}

/// The way to the thread, shared with futures, which may outlive the disk.
pub(crate) struct Queue {
    /// Taken away when the disk is closed, which is how the thread learns of it. The channel itself has no bound: every
    /// piece in it holds a permit, and calls are waited for by their callers.
    jobs: RwLock<Option<Sender<Job>>>,
}

/// What the thread leaves: the handle, and how waiting for the last requests went.
type Served = (RawDisk, Result<(), CallError>);

impl DiskThread {
    /// Hands `raw` to a new thread.
    pub(super) fn start(raw: RawDisk, asynchronous: bool) -> Result<DiskThread, CallError> {
        let (jobs, receiver) = channel();
        // If no thread can be had, `raw` is dropped with the closure, and closes.
        let thread = thread::Builder::new()
            .name("vddk-disk".into())
            .spawn(move || serve(raw, receiver, asynchronous))
            .map_err(|error| {
                tracing::warn!(%error, "a disk gets no thread");
                CallError::Code(bindings::VDDK_E_OUT_OF_MEMORY.into())
            })?;
        Ok(DiskThread { queue: Arc::new(Queue { jobs: RwLock::new(Some(jobs)) }), thread: Some(thread) })
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Runs `call` on the thread, behind everything submitted before, and waits for it.
    pub(super) fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut RawDisk) -> Result<R, CallError> + Send + 'static,
    ) -> Result<R, CallError> {
        self.start_call(call)?.recv().map_err(|_| CallError::closed())?
    }

    /// Like [`DiskThread::call`], for callers who have something to do before they wait.
    pub(super) fn start_call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut RawDisk) -> R + Send + 'static,
    ) -> Result<Receiver<R>, CallError> {
        let (sender, receiver) = channel();
        self.queue.send(Job::Call(Box::new(move |raw| {
            if sender.send(call(raw)).is_err() {
                tracing::error!("the caller of a disk operation vanished while it waited");
            }
        })))?;
        Ok(receiver)
    }

    /// Ends the thread and gives the handle, which is open.
    pub(super) fn into_raw(mut self) -> Result<RawDisk, CallError> {
        let (raw, waited) = self.stop()?.ok_or_else(CallError::closed)?;
        waited?;
        Ok(raw)
    }

    /// Ends the thread and closes the disk.
    pub(super) fn close(mut self) -> Result<(), CallError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), CallError> {
        let Some((raw, waited)) = self.stop()? else { return Ok(()) };
        let closed = control::call(move || raw.close());
        waited.and(closed)
    }

    /// Lets the thread finish what it has, and ends it; `None` when that was done before.
    fn stop(&mut self) -> Result<Option<Served>, CallError> {
        let Some(thread) = self.thread.take() else { return Ok(None) };
        drop(self.queue.jobs.write().unwrap_or_else(PoisonError::into_inner).take());
        let served = thread.join().map_err(|_| {
            tracing::error!("the thread of a disk panicked; the handle was closed on the way out");
            CallError::Code(bindings::VDDK_E_FAIL.into())
        })?;
        Ok(Some(served))
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(?error, "a disk did not close well");
        }
    }
}

impl Queue {
    /// Submits one piece. When that fails the piece is gone, and counts as failed in its batch.
    pub(crate) fn submit(&self, piece: Piece) -> Result<(), CallError> {
        self.send(Job::Piece(piece))
    }

    fn send(&self, job: Job) -> Result<(), CallError> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let sender = jobs.as_ref().ok_or_else(CallError::closed)?;
        sender.send(job).map_err(|_| CallError::closed())
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
