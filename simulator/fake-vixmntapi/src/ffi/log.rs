//! Log lines to the client's callbacks.

use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use vixdisklib::ffi::bindings::VddkLogCallback;

/// The callbacks of Init: ordinary lines, warnings.
static CALLBACKS: Mutex<(VddkLogCallback, VddkLogCallback)> = Mutex::new((None, None));

/// Remembers where lines go.
pub(super) fn set(log: VddkLogCallback, warn: VddkLogCallback) {
    *CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner) = (log, warn);
}

/// An informational line.
pub(crate) fn line(text: &str) {
    let callback = CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).0;
    send(callback, text);
}

/// A warning.
pub(crate) fn warn(text: &str) {
    let callback = CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).1;
    send(callback, text);
}

/// Sends the text as a format without arguments.
fn send(callback: VddkLogCallback, text: &str) {
    let Some(callback) = callback else { return };
    let Ok(format) = CString::new(format!("{}\n", text.replace('\0', " ").replace('%', "%%"))) else {
        return;
    };
    // A `va_list` of x86-64 System V, which is 24 bytes, of nothing: the format takes no argument from it.
    let mut nothing = [0u64; 3];
    // SAFETY: the client gave the callback for this; both arguments outlive the call.
    unsafe { callback(format.as_ptr(), nothing.as_mut_ptr().cast()) };
}
