//! Starting, stopping, texts.

use std::ffi::c_char;
use std::ptr;

use vixdisklib::ffi::bindings::VddkLogCallback;

use super::arguments::{caught, guarded, string};
use super::log;
use super::memory::{self, Kind};
use crate::{code, library, transport};

/// # Safety
/// As the interface says: strings end with a zero byte or are null, callbacks take a format and a `va_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_InitEx(
    major: u32,
    minor: u32,
    log: VddkLogCallback,
    warn: VddkLogCallback,
    panic: VddkLogCallback,
    directory: *const c_char,
    config: *const c_char,
) -> u64 {
    guarded("InitEx", || {
        log::set(log, warn, panic);
        // SAFETY: the caller's promise.
        let directory = unsafe { string(directory) }?;
        // SAFETY: as above.
        let config = unsafe { string(config) }?;
        library::init(major, minor, directory.as_deref(), config.as_deref())
    })
}

/// # Safety
/// As for [`VixDiskLib_InitEx`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Init(
    major: u32,
    minor: u32,
    log: VddkLogCallback,
    warn: VddkLogCallback,
    panic: VddkLogCallback,
    directory: *const c_char,
) -> u64 {
    // SAFETY: the caller's promise; null is a legal configuration.
    unsafe { VixDiskLib_InitEx(major, minor, log, warn, panic, directory, ptr::null()) }
}

/// Tolerates open handles: clients are known to leave some.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Exit() {
    caught("Exit", (), || {
        library::exit();
        log::set(None, None, None);
    });
}

/// A static list.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_ListTransportModes() -> *const c_char {
    caught("ListTransportModes", transport::MODES.as_ptr(), || transport::MODES.as_ptr())
}

/// The text is the caller's, to be freed with the function below.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetErrorText(error: u64, _locale: *const c_char) -> *mut c_char {
    caught("GetErrorText", ptr::null_mut(), || {
        memory::error_text(&code::text(error)).unwrap_or(ptr::null_mut())
    })
}

/// # Safety
/// `text` must be null or come from the function above, and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeErrorText(text: *mut c_char) {
    caught("FreeErrorText", (), || {
        // SAFETY: the caller's promise.
        unsafe { memory::free(Kind::ErrorText, text.cast()) };
    });
}
