//! What C hands over, turned into Rust values at once; and the guard around every exported function.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use vixdisklib::ffi::bindings::{
    VDDK_CREDENTIALS_PASSWORD, VDDK_CREDENTIALS_SESSION, VddkConnectParams, VddkConnectParamsHead,
};

use super::{blocks, log};
use crate::code::{Answer, Code, word};
use crate::connection::{Login, Params};
use crate::strict;

/// Runs the body of an exported function, given its name without prefix. No panic leaves it, and failures become their code.
pub(super) fn guarded(function: &'static str, body: impl FnOnce() -> Answer<()>) -> u64 {
    word(caught(function, Err(Code::FAIL), body))
}

/// The same for functions that answer otherwise.
pub(super) fn caught<R>(function: &'static str, fallback: R, body: impl FnOnce() -> R) -> R {
    let _entered = strict::enter(function);
    contained(fallback, body)
}

/// Keeps a panic, which would be a bug here, from passing into C.
pub(super) fn contained<R>(fallback: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        log::warn("a bug of the fake VDDK: it panicked");
        std::mem::forget(payload);
        fallback
    })
}

/// A copy of a C string; null gives nothing, and so do bytes that are not UTF-8 (27 in the real library).
///
/// # Safety
/// `text` must be null, or point to a string that ends with a zero byte.
pub(super) unsafe fn string(text: *const c_char) -> Answer<Option<String>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(|text| Some(text.to_owned())).map_err(|_| Code(27))
}

/// A string that must be there.
///
/// # Safety
/// As for [`string`].
pub(super) unsafe fn required(text: *const c_char) -> Answer<String> {
    // SAFETY: the caller's promise.
    unsafe { string(text) }?.ok_or(Code::INVALID_ARG)
}

/// The connection parameters; null means local disks.
///
/// # Safety
/// `params` must be null, or point to a block of at least the 80 bytes that every version has, whose strings are null or end
/// with a zero byte, and whose credentials are of the type that it names.
pub(super) unsafe fn params(params: *const VddkConnectParams) -> Answer<Option<Params>> {
    if params.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and at least as long as the head. Nothing behind it is read: clients of 6.5 have no more.
    let head = unsafe { params.cast::<VddkConnectParamsHead>().read() };
    // SAFETY: the caller's promise about strings.
    let vm = unsafe { string(head.vm) }?;
    // SAFETY: as above.
    let server = unsafe { string(head.server) }?;
    // SAFETY: as above.
    let thumbprint = unsafe { string(head.thumbprint) }?;
    let login = match head.credential_type {
        VDDK_CREDENTIALS_PASSWORD => {
            // SAFETY: the type names this arm.
            let password = unsafe { head.credentials.password };
            Login::Password {
                // SAFETY: the caller's promise about strings.
                user: unsafe { string(password.user) }?,
                // SAFETY: as above.
                password: unsafe { string(password.password) }?,
            }
        }
        VDDK_CREDENTIALS_SESSION => {
            // SAFETY: the type names this arm.
            let session = unsafe { head.credentials.session };
            Login::Session {
                // SAFETY: the caller's promise about strings.
                cookie: unsafe { string(session.cookie) }?,
                // SAFETY: as above.
                user: unsafe { string(session.user) }?,
                // SAFETY: as above.
                key: unsafe { string(session.key) }?,
            }
        }
        other => Login::Other(other),
    };
    // SAFETY: the caller's promise.
    let (spec, certificate) = unsafe { blocks::tail(params) }?;
    let (port, nfc_port) = (head.port, head.nfc_port);
    Ok(Some(Params { vm, server, thumbprint, login, port, nfc_port, spec, certificate }))
}

/// Stores a result where the caller wants it.
///
/// # Safety
/// `place` must be null or valid for writing.
pub(super) unsafe fn store<T>(place: *mut T, value: T) -> Answer<()> {
    if place.is_null() {
        return Err(Code::INVALID_ARG);
    }
    // SAFETY: not null, and the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}
