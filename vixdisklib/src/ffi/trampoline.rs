//! The functions that VixDiskLib calls: log lines, completions and progress. None of them lets a panic pass into C.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::batch::Piece;
use super::bindings::{VddkBool, VddkLogCallback};
use crate::log::{self, Level};
use crate::progress::Reporter;

/// Longest log line that is kept, in bytes; the rest of a longer one is cut.
const LINE: usize = 4096;

unsafe extern "C" {
    /// The C library's formatter. A `va_list` parameter is a pointer on this platform (x86-64, System V), so the one
    /// that VixDiskLib hands to its callbacks can be passed on as it is.
    fn vsnprintf(buffer: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// The functions for ordinary lines, for warnings and for what ends the process, as a library's start wants them.
pub(crate) fn log_callbacks() -> [VddkLogCallback; 3] {
    [Some(on_log), Some(on_warn), Some(on_panic)]
}

/// # Safety
/// `format` must be a C format string, and `arguments` a fresh `va_list` that fits it.
pub(super) unsafe extern "C" fn on_log(format: *const c_char, arguments: *mut c_void) {
    // SAFETY: the caller's promise, passed on.
    unsafe { receive(Level::Log, format, arguments) };
}

/// # Safety
/// As for [`on_log`].
pub(super) unsafe extern "C" fn on_warn(format: *const c_char, arguments: *mut c_void) {
    // SAFETY: the caller's promise, passed on.
    unsafe { receive(Level::Warn, format, arguments) };
}

/// VixDiskLib calls this when it cannot go on. Coming back from it is not allowed, so the process ends here.
///
/// # Safety
/// As for [`on_log`].
pub(super) unsafe extern "C" fn on_panic(format: *const c_char, arguments: *mut c_void) {
    // SAFETY: the caller's promise, passed on.
    unsafe { receive(Level::Panic, format, arguments) };
    let last = log::last().unwrap_or_default();
    // Not `eprintln!`, which panics when standard error is closed.
    let message = format!("VixDiskLib gave up and the process cannot go on: {last}\n");
    if std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes()).is_err() {
        tracing::error!("{message}");
    }
    std::process::abort();
}

/// The end of one asynchronous request. May run on any thread, even before the call that queued it has returned.
///
/// # Safety
/// `data` must come from `Box::into_raw` of a [`Piece`], and this must be called once for it.
pub(super) unsafe extern "C" fn on_completion(data: *mut c_void, result: u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let piece = unsafe { Box::from_raw(data.cast::<Piece>()) };
        // Wakes whoever waits; no call into VixDiskLib is made from here.
        piece.finish(result);
    }));
    swallow(outcome);
}

/// Passes a percentage on to who waits for the call. What it answers is of no consequence to the library.
///
/// # Safety
/// `data` must point to a [`Reporter`] that lives through the call.
pub(super) unsafe extern "C" fn on_progress(data: *mut c_void, percent: c_int) -> VddkBool {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let reporter = unsafe { &*data.cast::<Reporter>() };
        let percent = u8::try_from(percent.clamp(0, 100)).unwrap_or(100);
        if reporter.send(percent).is_err() {
            tracing::trace!("nobody listens to the progress of a call");
        }
    }));
    swallow(outcome);
    1
}

/// # Safety
/// As for [`on_log`].
unsafe fn receive(level: Level, format: *const c_char, arguments: *mut c_void) {
    if format.is_null() {
        return;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut buffer = [0u8; LINE];
        // SAFETY: the buffer has the size given; format and arguments are the caller's promise.
        let written = unsafe { vsnprintf(buffer.as_mut_ptr().cast(), LINE, format, arguments) };
        if written < 0 {
            return;
        }
        if let Ok(line) = CStr::from_bytes_until_nul(&buffer) {
            log::receive(level, &line.to_string_lossy());
        }
    }));
    swallow(outcome);
}

/// A panic that ended here has been printed by the panic hook. Its payload may panic again when it is dropped, and what that
/// leaves is not looked at any more.
fn swallow(outcome: std::thread::Result<()>) {
    if let Err(payload) = outcome
        && let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(again);
    }
}
