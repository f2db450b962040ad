//! Blocks of connection parameters: which of them are this library's own, and what they hold.
//!
//! A block that this library allocated is as long as the newest client knows; of one that a client made itself only the head
//! that 6.5 has can be relied on.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Mutex;

use vixdisklib::ffi::bindings::{
    VDDK_SPEC_DATASTORE, VDDK_SPEC_STORAGE_OBJECT, VDDK_SPEC_VM, VddkConnectParams, VddkCredentials,
    VddkPasswordCredentials, VddkSessionCredentials,
};

use super::arguments::string;
use super::memory;
use crate::code::Answer;
use crate::connection::{Login, Params, Spec};
use crate::library::lock;

/// The blocks in use by address, with the strings of those that GetConnectParams filled. Other strings are the client's.
static BLOCKS: Mutex<Option<HashMap<usize, Vec<CString>>>> = Mutex::new(None);

/// An empty block.
pub(super) fn allocate() -> Answer<*mut VddkConnectParams> {
    let block: *mut VddkConnectParams = memory::zeroed(size_of::<VddkConnectParams>())?;
    remember(block, Vec::new());
    Ok(block)
}

/// A block that says what a connection was made with.
pub(super) fn filled(params: &Params) -> Answer<*mut VddkConnectParams> {
    let block = allocate()?;
    let mut strings = Vec::new();
    let mut keep = |text: &Option<String>| -> *mut c_char {
        let Some(text) = text.as_deref().and_then(|text| CString::new(text).ok()) else {
            return ptr::null_mut();
        };
        let pointer = text.as_ptr().cast_mut();
        // Moving the string does not move its bytes.
        strings.push(text);
        pointer
    };
    // SAFETY: the block is ours, zeroed and of this size; nobody else knows it yet.
    let content = unsafe { &mut *block };
    content.vm = keep(&params.vm);
    content.server = keep(&params.server);
    content.thumbprint = keep(&params.thumbprint);
    content.port = params.port;
    content.nfc_port = params.nfc_port;
    match &params.login {
        Login::Password { user, password } => {
            content.credential_type = 1;
            let password = VddkPasswordCredentials { user: keep(user), password: keep(password) };
            content.credentials = VddkCredentials { password };
        }
        Login::Session { cookie, user, key } => {
            content.credential_type = 2;
            let session = VddkSessionCredentials { cookie: keep(cookie), user: keep(user), key: keep(key) };
            content.credentials = VddkCredentials { session };
        }
        Login::Other(kind) => content.credential_type = *kind,
    }
    remember(block, strings);
    Ok(block)
}

/// Frees a block, and the strings in it that are this library's.
///
/// # Safety
/// `block` must be null or come from this module, and not be used again.
pub(super) unsafe fn free(block: *mut VddkConnectParams) {
    lock(&BLOCKS).get_or_insert_default().remove(&(block as usize));
    // SAFETY: the caller's promise.
    unsafe { memory::free(block.cast()) };
}

/// What a block says behind its head, if it is this library's: specification and certificate.
///
/// # Safety
/// `block` must be valid, and the strings that its type names be null or end with a zero byte.
pub(super) unsafe fn tail(block: *const VddkConnectParams) -> Answer<(Spec, Option<String>)> {
    let ours = lock(&BLOCKS).get_or_insert_default().contains_key(&(block as usize));
    if !ours {
        return Ok((Spec::Machine, None));
    }
    // SAFETY: a block of this module is that large.
    let content = unsafe { block.read() };
    let spec = match content.spec_type {
        VDDK_SPEC_VM => Spec::Machine,
        VDDK_SPEC_STORAGE_OBJECT => {
            // SAFETY: the type names this arm.
            let object = unsafe { content.spec.storage_object };
            Spec::StorageObject {
                // SAFETY: the caller's promise about strings.
                id: unsafe { string(object.id) }?,
                // SAFETY: as above.
                datastore: unsafe { string(object.datastore) }?,
                // SAFETY: as above.
                snapshot: unsafe { string(object.snapshot) }?,
            }
        }
        VDDK_SPEC_DATASTORE => {
            // SAFETY: the type names this arm.
            let store = unsafe { content.spec.datastore };
            Spec::Datastore {
                // SAFETY: the caller's promise about strings.
                datastore: unsafe { string(store.datastore) }?,
                // SAFETY: as above.
                folder: unsafe { string(store.folder) }?,
            }
        }
        other => Spec::Other(other),
    };
    // SAFETY: as above.
    let certificate = unsafe { string(content.certificate) }?;
    Ok((spec, certificate))
}

fn remember(block: *mut VddkConnectParams, strings: Vec<CString>) {
    lock(&BLOCKS).get_or_insert_default().insert(block as usize, strings);
}
