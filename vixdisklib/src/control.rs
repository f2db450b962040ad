//! The control thread: one per process, on which the library is started and connections and disks are opened and closed.
//!
//! VixDiskLib wants these calls serialised process-wide and made from one thread; opening and closing from different
//! threads fails or hangs (section 1.3 of the fact sheet).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{CallError, bindings};

type Job = Box<dyn FnOnce() + Send>;

struct Control {
    jobs: Sender<Job>,
    thread: thread::ThreadId,
}

static CONTROL: OnceLock<std::result::Result<Control, String>> = OnceLock::new();

/// Runs `job` on the control thread and waits for its result. On the control thread itself it runs at once, so that a
/// handle which happens to be dropped there cannot wait for itself.
///
/// A panic of `job` goes on in the caller.
pub(crate) fn run<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    let control = control()?;
    let (sender, receiver) = channel();
    let job: Job = Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(job));
        if sender.send(outcome).is_err() {
            tracing::error!("the caller of a control operation vanished while it waited");
        }
    });
    if thread::current().id() == control.thread {
        job();
    } else {
        control.jobs.send(job).map_err(|_| gone())?;
    }
    match receiver.recv().map_err(|_| gone())? {
        Ok(result) => Ok(result),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// [`run`] for calls of the library.
pub(crate) fn call<R: Send + 'static>(
    job: impl FnOnce() -> std::result::Result<R, CallError> + Send + 'static,
) -> std::result::Result<R, CallError> {
    run(job).unwrap_or_else(|error| {
        tracing::error!(%error, "there is no control thread");
        Err(CallError::Code(bindings::VDDK_E_FAIL.into()))
    })
}

fn control() -> Result<&'static Control> {
    CONTROL
        .get_or_init(|| {
            let (jobs, queue) = channel::<Job>();
            thread::Builder::new()
                .name("vddk-control".into())
                .spawn(move || {
                    for job in queue {
                        job();
                    }
                })
                .map(|handle| Control { jobs, thread: handle.thread().id() })
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|reason| Error::new(ErrorKind::Io, "start the control thread", reason.clone()))
}

fn gone() -> Error {
    Error::new(ErrorKind::Failed, "reach the control thread", "it has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_share_one_thread_and_may_nest() {
        let first = run(|| thread::current().id()).unwrap();
        let nested = run(|| run(|| thread::current().id()).unwrap()).unwrap();
        assert_eq!(first, nested);
        assert_ne!(first, thread::current().id());
    }

    #[test]
    fn a_panicking_job_does_not_end_the_thread() {
        let panic = std::panic::catch_unwind(|| run(|| panic!("on purpose")));
        assert!(panic.is_err());
        assert_eq!(run(|| 1).unwrap(), 1);
    }
}
