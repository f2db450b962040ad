//! Log lines to the client's callbacks, with arguments packed the way a C compiler would.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Mutex;

use vixdisklib::ffi::bindings::VddkLogCallback;

use crate::library::lock;
use crate::strict;

/// The callbacks of InitEx.
#[derive(Clone, Copy)]
struct Callbacks {
    log: VddkLogCallback,
    warn: VddkLogCallback,
    panic: VddkLogCallback,
}

static CALLBACKS: Mutex<Callbacks> = Mutex::new(Callbacks { log: None, warn: None, panic: None });

/// A `va_list` of x86-64 System V in memory: what a function with variable arguments would build on its stack.
#[repr(C)]
struct VaList {
    /// Bytes of the register area that are used up; 48 means all six integer registers.
    general: u32,
    /// The same for floating point; 176 means all.
    floating: u32,
    /// Where the arguments that found no register lie.
    overflow: *const u64,
    registers: *const c_void,
}

/// Remembers where lines go; `None` drops them.
pub(crate) fn set(log: VddkLogCallback, warn: VddkLogCallback, panic: VddkLogCallback) {
    *lock(&CALLBACKS) = Callbacks { log, warn, panic };
}

/// An informational line.
pub(crate) fn line(text: &str) {
    let callback = lock(&CALLBACKS).log;
    send(callback, text);
}

/// A warning.
pub(crate) fn warn(text: &str) {
    let callback = lock(&CALLBACKS).warn;
    send(callback, text);
}

/// What ends the process: the callback must not return.
pub(crate) fn panic(text: &str) {
    let callback = lock(&CALLBACKS).panic;
    send(callback, text);
}

/// Sends the text and its length as arguments of a format, since the real library sends formats too.
fn send(callback: VddkLogCallback, text: &str) {
    const FORMAT: &CStr = c"%.*s\n";
    let Some(callback) = callback else { return };
    let Ok(c_text) = CString::new(text.replace('\0', " ")) else { return };
    let arguments: [u64; 2] = [c_text.as_bytes().len() as u64, c_text.as_ptr() as u64];
    let mut list =
        VaList { general: 48, floating: 176, overflow: arguments.as_ptr(), registers: std::ptr::null() };
    let format: *const c_char = FORMAT.as_ptr();
    // SAFETY: the client gave the callback for this. The format takes an int and a string, which lie where the list says: with
    // its registers used up, every argument is an eight-byte slot of the overflow area. All of it outlives the call.
    strict::in_callback(|| unsafe { callback(format, (&raw mut list).cast()) });
}
