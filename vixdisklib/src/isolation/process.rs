//! One worker process: started, talked to, watched, and buried.

use std::collections::VecDeque;
use std::io::BufReader;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::entry::{Entry, Pending, Transfer, Verdict, Waiting, Watch};
use super::limits::{self, Class, TimeLimits};
use super::memory::{Memory, Region};
use crate::error::{Error, ErrorKind, Gone, Result};
use crate::ffi::{self, CallError, SharedFile, Symbol};
use crate::log::{self, Level};
use crate::permits::Permit;
use crate::progress::Reporter;
use crate::wire::{self, Answer, FINGERPRINT, Outcome, Request, StartOutcome, Started, ToHost, ToWorker};
use crate::worker;

const LAUNCH: &str = "start a worker process for";
const START: &str = "start VixDiskLib from";
/// How long a program may need until it says that it is a worker.
const HELLO: Duration = Duration::from_secs(30);
/// How long a process may need to end by itself, and then to end once killed.
const LAST_BREATH: Duration = Duration::from_secs(2);
const BURIAL: Duration = Duration::from_secs(10);
/// Log lines that are kept for the error of a death, whatever they say.
const LAST_LINES: usize = 8;
/// The number of the one request that starts the library.
const START_ID: u64 = 0;

/// A worker process that runs VixDiskLib, or will. It ends when this is dropped.
pub(crate) struct Process {
    shared: Arc<Shared>,
}

/// What its threads and memory need of it.
pub(super) struct Shared {
    id: u32,
    child: Mutex<Child>,
    socket: UnixStream,
    /// Held while a message is written, so that messages do not mix.
    writing: Mutex<()>,
    pending: Mutex<Pending>,
    changed: Condvar,
    limits: TimeLimits,
    pub(super) memory: Memory,
    last_lines: Mutex<VecDeque<String>>,
}

/// A call that was sent.
pub(crate) struct Called {
    receiver: Receiver<std::result::Result<Answer, CallError>>,
}

impl Process {
    /// Starts `command` as a worker, and waits until it says that it is one.
    pub(super) fn launch(mut command: Command, limits: TimeLimits) -> Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let io = |error| Error::io(LAUNCH, error).with_subject(program.clone());
        let (socket, theirs) = UnixStream::pair().map_err(io)?;
        let file = SharedFile::create().map_err(io)?;
        let descriptors = [theirs.as_raw_fd(), file.descriptor()];
        command.env(worker::VARIABLE, format!("{},{}", descriptors[0], descriptors[1]));
        ffi::prepare(&mut command, descriptors);
        let reading = socket.try_clone().map_err(io)?;
        let (tell, told) = channel();
        let (hello, heard) = channel();
        // The worker dies with the thread that starts it: so that is the one which reads from it to its end.
        thread::Builder::new()
            .name("vddk-reader".into())
            .spawn(move || {
                let child = command.spawn();
                drop(theirs);
                let child = match child {
                    Ok(child) => child,
                    Err(error) => return drop(tell.send(Err(error))),
                };
                let shared = Arc::new(Shared {
                    id: child.id(),
                    child: Mutex::new(child),
                    socket,
                    writing: Mutex::new(()),
                    pending: Mutex::new(Pending::new()),
                    changed: Condvar::new(),
                    limits,
                    memory: Memory::new(file),
                    last_lines: Mutex::default(),
                });
                if tell.send(Ok(Arc::clone(&shared))).is_ok() {
                    shared.read(reading, hello);
                }
            })
            .map_err(io)?;
        let shared =
            told.recv().unwrap_or_else(|_| Err(std::io::Error::other("its thread ended"))).map_err(io)?;
        let process = Process { shared };
        let watched = Arc::clone(&process.shared);
        thread::Builder::new().name("vddk-watchdog".into()).spawn(move || watched.watch()).map_err(io)?;
        let unfit =
            |text: String| Error::new(ErrorKind::WorkerNotFound, LAUNCH, text).with_subject(program.clone());
        match heard.recv_timeout(HELLO) {
            Ok(FINGERPRINT) => Ok(process),
            Ok(_) => Err(unfit("it is the worker of another build of this crate".into())
                .with_advice("build vddk-worker and the program from the same sources, and install both")),
            Err(RecvTimeoutError::Timeout) => {
                Err(unfit(format!("it did not say within {} s that it is a worker", HELLO.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let text = process.shared.lock().gone.as_ref().map(|gone| gone.text.clone());
                Err(unfit(format!(
                    "it ended before it said that it is a worker: {}",
                    text.unwrap_or_default()
                )))
            }
        }
    }

    /// Has it load and start the library. Once.
    pub(super) fn start(&self, directory: &std::path::Path, config: &std::path::Path) -> Result<Started> {
        let mark = log::mark();
        let (reply, receiver) = channel();
        let message = ToWorker::Start { directory: directory.to_owned(), config: config.to_owned() };
        let entry = Entry {
            name: "Start",
            class: Class::Control,
            line: 0,
            since: Instant::now(),
            waiting: Waiting::Start(reply),
        };
        let failed = |error: CallError| {
            error.tell(START, mark, |_| None).with_subject(directory.display().to_string())
        };
        self.shared.send(START_ID, entry, &message).map_err(failed)?;
        match receiver.recv().unwrap_or_else(|_| Err(CallError::closed())).map_err(failed)? {
            StartOutcome::Runs { started } if started.present.len() == Symbol::ALL.len() => Ok(started),
            StartOutcome::Runs { .. } => Err(failed(self.breach("it knows another table of symbols"))),
            StartOutcome::Refused { refusal } => Err(Error::from_refusal(refusal, log::since(mark))),
        }
    }

    /// Sends a call.
    pub(crate) fn call(
        &self,
        request: Request,
        reporter: Option<Reporter>,
    ) -> std::result::Result<Called, CallError> {
        let (reply, receiver) = channel();
        let (class, line) = limits::of_request(&request);
        let waiting = Waiting::Call { reply, reporter };
        let entry = Entry { name: request.name(), class, line, since: Instant::now(), waiting };
        let id = self.shared.lock().take_id();
        let closes = matches!(request, Request::Close { .. }).then_some(line);
        self.shared.send(id, entry, &ToWorker::Call { id, request })?;
        if let Some(line) = closes {
            self.shared.lock().forget(line);
        }
        Ok(Called { receiver })
    }

    /// Sends a transfer between a disk and a part of a region.
    pub(super) fn transfer(
        &self,
        (disk, write, sector): (u64, bool, u64),
        region: &Arc<Region>,
        (offset, length): (usize, usize),
        permit: Permit,
    ) -> std::result::Result<oneshot::Receiver<std::result::Result<(), CallError>>, CallError> {
        let (reply, receiver) = oneshot::channel();
        let id = self.shared.lock().take_id();
        let waiting = Waiting::Transfer(Transfer { reply, region: Arc::clone(region), permit });
        let name = if write { "Write" } else { "Read" };
        let entry = Entry { name, class: Class::Io, line: disk, since: Instant::now(), waiting };
        let (offset, length) = (offset as u64, length as u64);
        let message = ToWorker::Transfer { id, disk, write, sector, region: region.number(), offset, length };
        self.shared.send(id, entry, &message)?;
        Ok(receiver)
    }

    /// Memory that the worker sees too.
    pub(crate) fn allocate(&self, length: usize) -> std::io::Result<Region> {
        Memory::allocate(&self.shared, length)
    }

    /// Whether a region is of this worker's memory.
    pub(super) fn shares(&self, region: &Region) -> bool {
        region.is_of(&self.shared)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.shared.id
    }

    /// Whether it can still be asked.
    pub(crate) fn is_alive(&self) -> bool {
        let pending = self.shared.lock();
        pending.gone.is_none() && pending.verdict.is_none()
    }

    /// Ends a worker that broke the rules; the error of whoever found out.
    pub(crate) fn breach(&self, how: &'static str) -> CallError {
        self.shared.condemn(Verdict::Breach(how));
        CallError::Gone(Arc::new(self.shared.obituary(None, Some(Verdict::Breach(how)))))
    }
}

impl Called {
    /// Waits for the answer.
    pub(crate) fn finish(self) -> std::result::Result<Answer, CallError> {
        self.receiver.recv().unwrap_or_else(|_| Err(CallError::closed()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.condemn(Verdict::Done);
    }
}

impl Pending {
    fn take_id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Each change is made in one step.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a request and sends it. Once entered it is answered, by the worker or by its death.
    fn send(&self, id: u64, entry: Entry, message: &ToWorker) -> std::result::Result<(), CallError> {
        {
            let mut pending = self.lock();
            if let Some(gone) = &pending.gone {
                return Err(CallError::Gone(Arc::new(gone.afterwards())));
            }
            let end = self.limits.of(entry.class).and_then(|limit| entry.since.checked_add(limit));
            let sooner = end.is_some_and(|end| pending.wakes.is_none_or(|wakes| end < wakes));
            pending.entries.insert(id, entry);
            if sooner {
                self.changed.notify_all();
            }
        }
        self.tell(message);
        Ok(())
    }

    /// Sends a message. That it cannot be sent is found out by the thread that reads.
    pub(super) fn tell(&self, message: &ToWorker) {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = wire::send(&mut &self.socket, message) {
            tracing::debug!(%error, worker = self.id, "a message did not reach the worker process");
            if error.kind() == std::io::ErrorKind::InvalidInput {
                // Too large: it will never be answered.
                self.condemn(Verdict::Breach("a call is larger than a message can be"));
            }
        }
    }

    /// Reads what the worker says until it ends, and then ends all that waits for it.
    fn read(&self, socket: UnixStream, hello: Sender<u64>) {
        let mut from = BufReader::with_capacity(64 << 10, socket);
        loop {
            let breach = match wire::receive::<ToHost>(&mut from) {
                Ok(Some(ToHost::Hello { fingerprint })) => {
                    if hello.send(fingerprint).is_err() {
                        tracing::debug!(worker = self.id, "a worker process said hello too late");
                    }
                    continue;
                }
                // A `tracing` subscriber runs in here. When it panics this thread must go on: others wait for it.
                Ok(Some(message)) => catch_unwind(AssertUnwindSafe(|| self.take(message))).unwrap_or(Ok(())),
                Ok(None) => break,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    Err("it sent what is no message")
                }
                Err(_) => break,
            };
            if let Err(how) = breach {
                self.condemn(Verdict::Breach(how));
                break;
            }
        }
        let status = self.bury();
        let gone = {
            let mut pending = self.lock();
            let gone = Arc::new(self.obituary(status, pending.verdict));
            pending.gone = Some(Arc::clone(&gone));
            gone
        };
        if gone.kind == ErrorKind::Closed {
            tracing::debug!(worker = self.id, "a worker process has ended");
        } else {
            tracing::error!(worker = self.id, signal = gone.signal, "{}", gone.text);
        }
        // Nothing is entered any more.
        let entries = std::mem::take(&mut self.lock().entries);
        self.changed.notify_all();
        for entry in entries.into_values() {
            // A waker that panics must not keep the others waiting.
            drop(catch_unwind(AssertUnwindSafe(|| entry.fail(&gone))));
        }
    }

    /// Takes one message; an error says how it breaks the rules.
    fn take(&self, message: ToHost) -> std::result::Result<(), &'static str> {
        match message {
            ToHost::Hello { .. } => Err("it said hello twice"),
            ToHost::Started { outcome } => {
                let entry = self.lock().answered(START_ID).ok_or("it started what was not asked for")?;
                match entry.waiting {
                    Waiting::Start(reply) => drop(reply.send(Ok(outcome))),
                    _ => return Err("it started what was not asked for"),
                }
                Ok(())
            }
            ToHost::Answered { id, outcome } => {
                let answer = match outcome {
                    Outcome::Done { answer } => Ok(answer),
                    Outcome::Failed { raw } => Err(CallError::Code(raw)),
                    Outcome::Missing { symbol } => {
                        let symbol =
                            Symbol::ALL.get(usize::from(symbol)).ok_or("it lacks an unknown symbol")?;
                        Err(CallError::Missing(ffi::Missing(*symbol)))
                    }
                };
                let entry = self.lock().answered(id).ok_or("it answered what was not asked")?;
                let Waiting::Call { reply, reporter } = entry.waiting else {
                    return Err("it answered a transfer like a call");
                };
                // Progress is over before the answer is there.
                drop(reporter);
                drop(reply.send(answer));
                Ok(())
            }
            ToHost::Transferred { id, raw } => {
                let entry = self.lock().answered(id).ok_or("it transferred what was not asked")?;
                let Waiting::Transfer(transfer) = entry.waiting else {
                    return Err("it answered a call like a transfer");
                };
                transfer.finish(if raw == 0 { Ok(()) } else { Err(CallError::Code(raw)) });
                Ok(())
            }
            ToHost::Progress { id, percent } => {
                let mut pending = self.lock();
                let entry = pending.entries.get_mut(&id).ok_or("it makes progress with nothing")?;
                entry.since = Instant::now();
                match &entry.waiting {
                    Waiting::Call { reporter, .. } => {
                        if let Some(reporter) = reporter {
                            reporter(percent.min(100));
                        }
                        Ok(())
                    }
                    _ => Err("it makes progress with what has none"),
                }
            }
            ToHost::Log { level, line } => {
                let level = match level {
                    0 => Level::Log,
                    1 => Level::Warn,
                    2 => Level::Panic,
                    _ => return Err("it logged at an unknown level"),
                };
                if !line.trim().is_empty() {
                    let mut lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if lines.len() == LAST_LINES {
                        lines.pop_front();
                    }
                    lines.push_back(log::scrub_text(line.trim_end()));
                }
                log::receive(level, &line);
                Ok(())
            }
        }
    }

    /// Decides that the process ends. What was decided first counts.
    fn condemn(&self, verdict: Verdict) {
        {
            let mut pending = self.lock();
            if pending.verdict.is_some() || pending.gone.is_some() {
                return;
            }
            pending.verdict = Some(verdict);
            self.changed.notify_all();
        }
        match verdict {
            // It ends by itself when there is nothing more to read; the watchdog sees to it.
            Verdict::Done => drop(self.socket.shutdown(Shutdown::Write)),
            Verdict::Breach(_) | Verdict::TooLate(..) => self.kill(),
        }
    }

    /// Kills it. Where not even that helps, because it waits for hardware inside the kernel, nobody here waits with it.
    fn kill(&self) {
        let killed = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        if let Err(error) = killed {
            tracing::error!(%error, worker = self.id, "a worker process could not be killed");
        }
        drop(self.socket.shutdown(Shutdown::Both));
    }

    /// The watchdog: waits until a call takes too long, or the process has to end.
    fn watch(&self) {
        let mut pending = self.lock();
        let mut deadline: Option<Instant> = None;
        while pending.gone.is_none() {
            let now = Instant::now();
            let wake = if pending.verdict.is_some() {
                let end = *deadline.get_or_insert(now + LAST_BREATH);
                if end <= now {
                    drop(pending);
                    return self.kill();
                }
                Some(end)
            } else {
                match pending.watch(&self.limits, now) {
                    Watch::Until(wake) => wake,
                    Watch::Condemn(verdict) => {
                        drop(pending);
                        self.condemn(verdict);
                        return;
                    }
                }
            };
            pending.wakes = wake;
            pending = match wake {
                None => self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(wake) => {
                    let time = wake.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(pending, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for its end, and helps after a while; `None` when even that is of no use.
    fn bury(&self) -> Option<ExitStatus> {
        let ended = |patience: Duration| {
            let end = Instant::now() + patience;
            loop {
                let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
                match status {
                    Ok(Some(status)) => return Some(status),
                    Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
                    _ => return None,
                }
            }
        };
        ended(LAST_BREATH).or_else(|| {
            self.kill();
            ended(BURIAL)
        })
    }

    /// What is said of its end.
    fn obituary(&self, status: Option<ExitStatus>, verdict: Option<Verdict>) -> Gone {
        const AGAIN: &str = "this program is unharmed: connect and open again, which starts a new worker; if it repeats, keep the \
             log lines for VMware's support, and have Library::cleanup remove what is left on this machine";
        let signal = status.and_then(|status| status.signal());
        let lines: Vec<String> =
            self.last_lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let died = |text: String| Gone {
            kind: ErrorKind::WorkerDied,
            text,
            advice: Some(AGAIN),
            signal,
            lines: lines.clone(),
        };
        match (verdict, status) {
            (Some(Verdict::Done), _) => Gone::closed("its library was given up", None),
            (Some(Verdict::TooLate(call, limit)), _) => Gone {
                kind: ErrorKind::TimedOut,
                text: format!(
                    "VixDiskLib did not finish {call} within {} s; its process {} was killed",
                    limit.as_secs_f32(),
                    self.id
                ),
                advice: Some(
                    "look at the network, the host and the storage; connect and open again, which starts a new worker; \
                     LibraryOptions::time_limits allows more time",
                ),
                signal,
                lines,
            },
            (Some(Verdict::Breach(how)), _) => {
                died(format!("the worker process {} was killed, because {how}", self.id))
            }
            (None, Some(status)) => match signal {
                Some(signal) => died(format!(
                    "the process {} of VixDiskLib was ended by signal {signal}{}",
                    self.id,
                    name(signal)
                )),
                None => died(format!("the process {} of VixDiskLib ended: {status}", self.id)),
            },
            (None, None) => died(format!("the process {} of VixDiskLib is gone", self.id)),
        }
    }
}

impl Gone {
    /// For calls that come too late to have been hit.
    fn afterwards(&self) -> Gone {
        match self.kind {
            ErrorKind::Closed => self.clone(),
            _ => Gone::closed(
                format!("it went with its worker process: {}", self.text),
                Some("connect and open again, which starts a new worker"),
            ),
        }
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (it gave up)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        9 => " (killed)",
        11 => " (segmentation fault)",
        15 => " (terminated)",
        _ => "",
    }
}
