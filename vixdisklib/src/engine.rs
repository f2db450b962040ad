//! The way to VixDiskLib: in this process, or in a worker process. Both take the same requests.

mod answer;
mod executor;
mod thread;

use std::panic::resume_unwind;
use std::sync::Arc;

use crate::error::Error;
use crate::ffi::{CallError, bindings};
use crate::isolation::Process;
use crate::log::Mark;
use crate::progress;
use crate::wire::{Answer, Request};

pub(crate) use answer::{Cleaned, Opened};
pub(crate) use executor::Executor;
pub(crate) use thread::Queue;

/// Where VixDiskLib runs.
#[derive(Clone)]
pub(crate) enum Engine {
    Here(Arc<Executor>),
    Apart(Arc<Process>),
}

impl Engine {
    /// Asks and waits.
    pub(crate) fn call<T: TryFrom<Answer>>(&self, request: Request) -> Result<T, CallError> {
        let answer = match self {
            Engine::Here(executor) => executor.run(request, progress::to_nobody()),
            Engine::Apart(process) => process.call(request, None)?.finish(),
        };
        self.read(answer?)
    }

    /// Asks, tells `hear` on this thread how far it is, and waits.
    pub(crate) fn call_reporting<T: TryFrom<Answer>>(
        &self,
        request: Request,
        hear: impl FnMut(u8),
    ) -> Result<T, CallError> {
        let (reporter, progress) = progress::channel_for_call();
        let answer = match self {
            Engine::Here(executor) => std::thread::scope(|scope| {
                let running = std::thread::Builder::new()
                    .name("vddk-call".into())
                    .spawn_scoped(scope, || executor.run(request, reporter))
                    .map_err(|error| {
                        tracing::warn!(%error, "there is no thread for a call");
                        CallError::Code(bindings::VDDK_E_OUT_OF_MEMORY.into())
                    })?;
                progress.follow(hear, || running.join().unwrap_or_else(|panic| resume_unwind(panic)))
            }),
            Engine::Apart(process) => {
                let waiting = process.call(request, Some(reporter))?;
                progress.follow(hear, || waiting.finish())
            }
        };
        self.read(answer?)
    }

    /// The error of a call that began at `mark`.
    pub(crate) fn error(&self, operation: &'static str, error: CallError, mark: Mark) -> Error {
        error.tell(operation, mark, |raw| self.call(Request::ErrorText { raw }).ok().flatten())
    }

    /// Whether it can still be asked.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Engine::Here(_) => true,
            Engine::Apart(process) => process.is_alive(),
        }
    }

    /// Whether numbers of one mean the same to the other.
    pub(crate) fn is_same(&self, other: &Engine) -> bool {
        match (self, other) {
            (Engine::Here(one), Engine::Here(other)) => Arc::ptr_eq(one, other),
            (Engine::Apart(one), Engine::Apart(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn read<T: TryFrom<Answer>>(&self, answer: Answer) -> Result<T, CallError> {
        T::try_from(answer).map_err(|_| match self {
            Engine::Here(_) => CallError::Code(bindings::VDDK_E_FAIL.into()),
            Engine::Apart(process) => process.breach("it answered a call with what another one gives"),
        })
    }
}
