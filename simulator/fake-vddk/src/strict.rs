//! Rules that the real library only documents. To break one there is a crash, a hang or damage, one day; here it is a line in
//! the log, and in strict mode the end of the process, with a message that names the rule.

use std::cell::Cell;
use std::fmt::Display;
use std::io::Write;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, ThreadId};

use crate::ffi::log;
use crate::library::lock;

/// A rule of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    InitOnce,
    ExitThread,
    Fork,
    Callback,
    OneControlCall,
    CloseThread,
    DisconnectThread,
    OneCallPerDisk,
    SyncOrAsync,
    WaitBeforeClose,
    WaitBeforeFlush,
    UseAfterClose,
    UseAfterDisconnect,
    DisksBeforeConnection,
    NullParameters,
    QueryAlignment,
    BufferAlignment,
    EmptyRequest,
    FreeOnce,
    FreeWithItsFunction,
    BlockSize,
    LeakAtExit,
}

impl Rule {
    /// Its name, and what it says.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Rule::InitOnce => ("init-once", "a process starts the library once"),
            Rule::ExitThread => ("exit-thread", "Exit is called by the thread that called InitEx"),
            Rule::Fork => {
                ("fork", "a process does not use a library that was started before it was forked off")
            }
            Rule::Callback => ("callback", "no function is called from a callback of log or completion"),
            Rule::OneControlCall => (
                "one-control-call",
                "connecting, opening, closing, disconnecting and what does so inside are called one at a time",
            ),
            Rule::CloseThread => ("close-thread", "a disk is closed by the thread that opened it"),
            Rule::DisconnectThread => {
                ("disconnect-thread", "a connection is ended by the thread that made it")
            }
            Rule::OneCallPerDisk => ("one-call-per-disk", "a disk is used by one call at a time"),
            Rule::SyncOrAsync => {
                ("sync-or-async", "synchronous and asynchronous transfers are not mixed on a disk")
            }
            Rule::WaitBeforeClose => {
                ("wait-before-close", "asynchronous requests are waited for before Close")
            }
            Rule::WaitBeforeFlush => ("wait-before-flush", "asynchronous writes are waited for before Flush"),
            Rule::UseAfterClose => ("use-after-close", "a disk is used only between Open and Close"),
            Rule::UseAfterDisconnect => {
                ("use-after-disconnect", "a connection is used only between ConnectEx and Disconnect")
            }
            Rule::DisksBeforeConnection => {
                ("disks-before-connection", "disks are closed before their connection is ended")
            }
            Rule::NullParameters => (
                "null-parameters",
                "server, machine, user and secrets are not NULL: the real library reads them unseen",
            ),
            Rule::QueryAlignment => {
                ("query-alignment", "queries of allocated blocks are of whole chunks, within the bounds")
            }
            Rule::BufferAlignment => (
                "buffer-alignment",
                "buffers of unbuffered, SAN and HotAdd transfers begin at a multiple of 512",
            ),
            Rule::EmptyRequest => ("empty-request", "a transfer is of one sector at least"),
            Rule::FreeOnce => ("free-once", "memory of the library is given back once"),
            Rule::FreeWithItsFunction => (
                "free-with-its-function",
                "memory of the library is given back to the function that belongs to it",
            ),
            Rule::BlockSize => {
                ("block-size", "connection parameters are written only as far as they reach in this release")
            }
            Rule::LeakAtExit => ("leak-at-exit", "all is closed and given back before Exit"),
        }
    }
}

static STRICT: AtomicBool = AtomicBool::new(false);
/// The process that started the library; 0 while none has.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Who is making a call that has to be alone in the process.
static CONTROL: Mutex<Option<(ThreadId, &'static str)>> = Mutex::new(None);

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// What is called one at a time: whatever opens or closes something.
const CONTROL_CALLS: [&str; 15] = [
    "ConnectEx",
    "Disconnect",
    "PrepareForAccess",
    "EndAccess",
    "Cleanup",
    "Open",
    "OpenEx",
    "Close",
    "Create",
    "CreateChild",
    "Clone",
    "Grow",
    "Unlink",
    "Rename",
    "CheckRepair",
];

/// The library was started; `strict` is what its configuration says.
pub(crate) fn start(strict: bool) {
    STRICT.store(strict, Ordering::Relaxed);
    PROCESS.store(process::id(), Ordering::Relaxed);
}

pub(crate) fn is_on() -> bool {
    STRICT.load(Ordering::Relaxed)
}

/// A rule was broken: the end in strict mode, a line in the log otherwise.
pub(crate) fn broken(rule: Rule, what: impl Display) {
    let (name, text) = rule.text();
    if !is_on() {
        log::warn(&format!("{what}; {text} ({name})"));
        return;
    }
    let message = format!("fake VDDK, strict mode: {what}; {text} ({name})\n");
    // Whether it could be written makes no difference: the process ends here.
    let _: std::io::Result<()> = std::io::stderr().write_all(message.as_bytes());
    process::abort();
}

/// A call of an exported function. Held until the function returns.
#[must_use]
pub(crate) struct Entered {
    control: bool,
}

/// Checks what holds for every function.
pub(crate) fn enter(function: &'static str) -> Entered {
    if !is_on() {
        return Entered { control: false };
    }
    if IN_CALLBACK.get() {
        broken(Rule::Callback, format_args!("{function} was called from a callback"));
    }
    let started = PROCESS.load(Ordering::Relaxed);
    if started != process::id() {
        broken(Rule::Fork, format_args!("{function} was called in a process forked off from {started}"));
    }
    if !CONTROL_CALLS.contains(&function) {
        return Entered { control: false };
    }
    let taken = lock(&CONTROL).replace((thread::current().id(), function));
    if let Some((_, other)) = taken {
        broken(Rule::OneControlCall, format_args!("{function} was called during {other}"));
    }
    Entered { control: true }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.control {
            *lock(&CONTROL) = None;
        }
    }
}

/// Runs a callback of the client.
pub(crate) fn in_callback<R>(call: impl FnOnce() -> R) -> R {
    let outer = IN_CALLBACK.replace(true);
    let result = call();
    IN_CALLBACK.set(outer);
    result
}
