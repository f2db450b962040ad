//! The worker's side: reads what its program asks, has it carried out, and says what came of it.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::engine::Executor;
use crate::error::Error;
use crate::ffi::{self, CallError, Direction, Mapping, Piece, SharedFile, Symbol, bindings};
use crate::log::{self, Level};
use crate::units::Sectors;
use crate::wire::{self, FINGERPRINT, Outcome, Request, StartOutcome, ToHost, ToWorker};

/// The way to the program; messages of all threads go through it one by one.
struct Outbox(Mutex<UnixStream>);

struct Server {
    outbox: Arc<Outbox>,
    memory: SharedFile,
    regions: HashMap<u64, Arc<Mapping>>,
    executor: Option<Arc<Executor>>,
}

/// Serves until the program closes its end.
pub(super) fn serve(socket: UnixStream, memory: SharedFile) -> ! {
    let status = match talk(socket, memory) {
        Ok(()) => 0,
        Err(error) => {
            let text = format!("a worker process of VixDiskLib cannot go on: {error}\n");
            // There is nobody to be told that standard error is closed.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            1
        }
    };
    ffi::end_at_once(status)
}

fn talk(mut socket: UnixStream, memory: SharedFile) -> std::io::Result<()> {
    let outbox = Arc::new(Outbox(Mutex::new(socket.try_clone()?)));
    let lines = Arc::clone(&outbox);
    log::forward(Box::new(move |level, line| {
        let level = match level {
            Level::Log => 0,
            Level::Warn => 1,
            Level::Panic => 2,
        };
        lines.say(&ToHost::Log { level, line: line.to_owned() });
    }));
    outbox.say(&ToHost::Hello { fingerprint: FINGERPRINT });
    let mut server = Server { outbox, memory, regions: HashMap::new(), executor: None };
    // Not buffered: a buffer would keep secrets that were in a message.
    while let Some(message) = wire::receive::<ToWorker>(&mut socket)? {
        server.take(message);
    }
    Ok(())
}

impl Server {
    fn take(&mut self, message: ToWorker) {
        match message {
            ToWorker::Start { directory, config } => {
                let outcome = match Executor::start(&directory, &config) {
                    Ok((executor, started)) => {
                        self.executor = Some(Arc::new(executor));
                        StartOutcome::Runs { started }
                    }
                    Err(error) => StartOutcome::Refused { refusal: Error::to_refusal(&error) },
                };
                self.outbox.say(&ToHost::Started { outcome });
            }
            ToWorker::Call { id, request } => self.call(id, request),
            ToWorker::Transfer { id, disk, write, sector, region, offset, length } => {
                let direction = if write { Direction::Write } else { Direction::Read };
                self.transfer(id, disk, (direction, Sectors(sector)), region, (offset, length));
            }
            ToWorker::Map { region, offset, length } => {
                // What cannot be mapped is missed by the transfers that want it.
                if let Ok(mapping) = usize::try_from(length)
                    .map_err(std::io::Error::other)
                    .and_then(|length| self.memory.map(offset, length))
                {
                    self.regions.insert(region, Arc::new(mapping));
                }
            }
            ToWorker::Unmap { region } => drop(self.regions.remove(&region)),
        }
    }

    /// Each call has a thread, since it waits; those that must not run side by side are lined up by the executor.
    fn call(&self, id: u64, request: Request) {
        let Some(executor) = self.executor.clone() else {
            return self.outbox.answer(id, Err(failed(bindings::VDDK_E_DISK_NOT_INITIALISED)));
        };
        let outbox = Arc::clone(&self.outbox);
        let spawned = thread::Builder::new().name(request.name().to_owned()).spawn(move || {
            let progress = Arc::clone(&outbox);
            let reporter = Box::new(move |percent| progress.say(&ToHost::Progress { id, percent }));
            let called = catch_unwind(AssertUnwindSafe(|| executor.run(request, reporter)));
            outbox.answer(id, called.unwrap_or_else(|_| Err(failed(bindings::VDDK_E_FAIL))));
        });
        if spawned.is_err() {
            self.outbox.answer(id, Err(failed(bindings::VDDK_E_OUT_OF_MEMORY)));
        }
    }

    fn transfer(
        &self,
        id: u64,
        disk: u64,
        (direction, sector): (Direction, Sectors),
        region: u64,
        part: (u64, u64),
    ) {
        let outbox = Arc::clone(&self.outbox);
        let reply = Box::new(move |raw| outbox.say(&ToHost::Transferred { id, raw }));
        let queue = self.executor.as_ref().and_then(|executor| executor.queue(disk));
        let mapping = self.regions.get(&region).cloned();
        let piece = mapping.and_then(|mapping| Piece::of_mapping(mapping, direction, sector, part, reply));
        match (queue, piece) {
            // What is not taken counts as cancelled.
            (Some(queue), Some(piece)) => drop(queue.submit(piece)),
            (None, Some(piece)) => piece.finish(bindings::VDDK_E_DISK_INVALID_CONNECTION.into()),
            (_, None) => {
                self.outbox.say(&ToHost::Transferred { id, raw: bindings::VDDK_E_INVALID_ARG.into() });
            }
        }
    }
}

impl Outbox {
    fn answer(&self, id: u64, called: Result<wire::Answer, CallError>) {
        let outcome = match called {
            Ok(answer) => Outcome::Done { answer },
            Err(CallError::Code(raw)) => Outcome::Failed { raw },
            Err(CallError::Missing(missing)) => {
                let symbol = Symbol::ALL.iter().position(|symbol| *symbol == missing.0);
                let symbol = symbol.and_then(|symbol| u16::try_from(symbol).ok()).unwrap_or(u16::MAX);
                Outcome::Missing { symbol }
            }
            // Of a handle that the program has given up before.
            Err(CallError::Gone(_)) => {
                Outcome::Failed { raw: bindings::VDDK_E_DISK_INVALID_CONNECTION.into() }
            }
        };
        self.say(&ToHost::Answered { id, outcome });
    }

    /// A program that is not there any more needs no worker.
    fn say(&self, message: &ToHost) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wire::send(&mut *socket, message).is_err() {
            ffi::end_at_once(1);
        }
    }
}

fn failed(code: u32) -> CallError {
    CallError::Code(code.into())
}
