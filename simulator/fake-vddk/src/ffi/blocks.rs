//! Blocks of connection parameters: which of them are this library's own, and what they hold.
//!
//! A block that this library allocated is as long as its release has it. Behind that lie bytes that a client has no business
//! with: they are looked at when it comes back. Of a block that a client made itself only the head that 6.5 has can be relied on.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Mutex;

use vixdisklib::ffi::bindings::{
    VDDK_SPEC_DATASTORE, VDDK_SPEC_STORAGE_OBJECT, VDDK_SPEC_VM, VddkConnectParams, VddkCredentials,
    VddkPasswordCredentials, VddkSessionCredentials,
};

use super::arguments::string;
use super::memory::{self, Kind};
use crate::code::Answer;
use crate::connection::{Login, Params, Spec};
use crate::library::lock;
use crate::release;
use crate::strict::{self, Rule};

/// Bytes of the newest release's block, and then some.
const WHOLE: usize = size_of::<VddkConnectParams>() + 8;

/// The blocks in use by address, with the strings of those that GetConnectParams filled. Other strings are the client's.
static BLOCKS: Mutex<Option<HashMap<usize, Vec<CString>>>> = Mutex::new(None);

/// An empty block.
pub(super) fn allocate() -> Answer<*mut VddkConnectParams> {
    let block: *mut VddkConnectParams = memory::zeroed(WHOLE)?;
    let size = release::current().params_size();
    // SAFETY: the block is new and reaches to `WHOLE`, which no release's size is beyond.
    let behind = unsafe { block.cast::<u8>().add(size) };
    // SAFETY: as above.
    unsafe { behind.write_bytes(memory::BEHIND as u8, WHOLE - size) };
    remember(block, Vec::new());
    memory::hand_out(Kind::ConnectParams, block.cast());
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
    if !memory::take_back(Kind::ConnectParams, block.cast()) {
        return;
    }
    // SAFETY: a block of this module, as its presence on the list says.
    unsafe { check_end(block) };
    lock(&BLOCKS).get_or_insert_default().remove(&(block as usize));
    // SAFETY: as above, and the caller's promise.
    unsafe { memory::release_memory(block.cast()) };
}

/// Whether the client kept to the block.
///
/// # Safety
/// `block` must come from this module.
unsafe fn check_end(block: *const VddkConnectParams) {
    let size = release::current().params_size();
    // SAFETY: the caller's promise: the block reaches to `WHOLE`, which no release's size is beyond.
    let behind = unsafe { block.cast::<u8>().add(size) };
    // SAFETY: as above.
    let behind = unsafe { std::slice::from_raw_parts(behind, WHOLE - size) };
    if behind.iter().any(|byte| *byte != memory::BEHIND as u8) {
        strict::broken(
            Rule::BlockSize,
            format_args!("something was written behind the {size} bytes of a block"),
        );
    }
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
    // SAFETY: ours.
    unsafe { check_end(block) };
    let release = release::current();
    if !release.has_storage_objects() {
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
        VDDK_SPEC_DATASTORE if release.has_datastore_folders() => {
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
    let certificate = if release.has_certificates() { unsafe { string(content.certificate) }? } else { None };
    Ok((spec, certificate))
}

fn remember(block: *mut VddkConnectParams, strings: Vec<CString>) {
    lock(&BLOCKS).get_or_insert_default().insert(block as usize, strings);
}
