//! Calls that concern the library as a whole.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::stats::{Missing, Stats};
use super::symbols::{Calls, Symbol, Table};
use super::trampoline;
use crate::error::{Error, Gone};
use crate::log::{self, Mark};

/// Why a call did not give a result.
#[derive(Debug, Clone)]
pub(crate) enum CallError {
    Missing(Missing),
    Code(u64),
    /// The handle, or the process that had it, is gone.
    Gone(Arc<Gone>),
}

impl CallError {
    /// The handle was closed.
    pub(crate) fn closed() -> CallError {
        CallError::Gone(Arc::new(Gone::closed("it was closed", None)))
    }

    /// The error of a call that began at `mark`: with the library's text, which `text` finds, and the log lines since.
    pub(crate) fn tell(
        self,
        operation: &'static str,
        mark: Mark,
        text: impl FnOnce(u64) -> Option<String>,
    ) -> Error {
        match self {
            CallError::Missing(missing) => Error::missing(operation, missing),
            CallError::Code(raw) => {
                let text = text(raw).map(|text| log::scrub_text(&text));
                Error::from_vddk(operation, raw, text).with_log_lines(log::since(mark))
            }
            CallError::Gone(gone) => gone.tell(operation),
        }
    }
}

impl From<Missing> for CallError {
    fn from(missing: Missing) -> CallError {
        CallError::Missing(missing)
    }
}

/// A loaded library's functions.
pub(crate) struct Api {
    pub(super) calls: Calls,
}

impl Api {
    pub(super) fn new(table: Table) -> Api {
        Api { calls: Calls { table, stats: Stats::new() } }
    }

    /// Starts the library. Once per process, on the control thread.
    pub(crate) fn init(&self, level: (u32, u32), directory: &CStr, config: &CStr) -> Result<(), CallError> {
        // SAFETY: the strings live through the call, and the callbacks live as long as the program. The caller keeps
        // to one call per process.
        let raw = unsafe {
            self.calls.init_ex(
                level.0,
                level.1,
                Some(trampoline::on_log),
                Some(trampoline::on_warn),
                Some(trampoline::on_panic),
                directory.as_ptr(),
                config.as_ptr(),
            )
        }?;
        check(raw)
    }

    /// The transports this library can use, a list with colons between.
    pub(crate) fn list_transport_modes(&self) -> Result<Option<String>, CallError> {
        // SAFETY: no arguments.
        let text = unsafe { self.calls.list_transport_modes() }?;
        // SAFETY: a static string of the library, or null.
        Ok(unsafe { copy_string(text) })
    }

    /// The library's words for a result. May be called from any thread.
    pub(crate) fn error_text(&self, raw: u64) -> Option<String> {
        // SAFETY: any number is a valid argument; the locale must be null.
        let text = unsafe { self.calls.get_error_text(raw, ptr::null()) }.ok()?;
        // SAFETY: a string of the library, or null.
        let copy = unsafe { copy_string(text) };
        // SAFETY: `text` came from the function above and is not used again. Null is accepted.
        unsafe { self.calls.free_error_text(text) }.ok()?;
        copy
    }

    pub(crate) fn has(&self, symbol: Symbol) -> bool {
        self.calls.table.has(symbol)
    }

    /// Calls, failures, total and longest time of one function.
    pub(crate) fn counted(&self, symbol: Symbol) -> (u64, u64, Duration, Duration) {
        self.calls.stats.of(symbol)
    }
}

/// The whole word is compared: success is nothing but zero.
pub(super) fn check(raw: u64) -> Result<(), CallError> {
    if raw == 0 { Ok(()) } else { Err(CallError::Code(raw)) }
}

/// Copies a C string of any encoding.
///
/// # Safety
/// `text` must be null or point to a string that ends with a zero byte and stays valid for this call.
pub(super) unsafe fn copy_string(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
