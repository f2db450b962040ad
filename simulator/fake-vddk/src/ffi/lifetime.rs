//! Starting, stopping, texts.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib::ffi::bindings::VddkLogCallback;

use super::arguments::{caught, guarded, string};
use super::{log, memory};
use crate::{code, library, transport};

/// # Safety
/// As the interface says: strings end with a zero byte or are null, callbacks take a format and a `va_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_InitEx(
    major: u32,
    minor: u32,
    log: VddkLogCallback,
    warn: VddkLogCallback,
    _panic: VddkLogCallback,
    directory: *const c_char,
    config: *const c_char,
) -> u64 {
    guarded(|| {
        log::set(log, warn);
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
    caught((), || {
        library::exit();
        log::set(None, None);
    });
}

/// A static list.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_ListTransportModes() -> *const c_char {
    const LIST: &CStr = c"file:nbdssl:nbd";
    debug_assert_eq!(LIST.to_str(), Ok(transport::MODES));
    LIST.as_ptr()
}

/// The text is the caller's, to be freed with the function below.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_GetErrorText(error: u64, _locale: *const c_char) -> *mut c_char {
    caught(ptr::null_mut(), || memory::text(&code::text(error)).unwrap_or(ptr::null_mut()))
}

/// # Safety
/// `text` must be null or come from the function above, and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_FreeErrorText(text: *mut c_char) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(text.cast()) };
}
