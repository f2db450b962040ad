//! Connection parameters in the form that C wants, and connections.

use std::ffi::{CStr, c_char};
use std::ptr;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::bindings::{
    VDDK_CREDENTIALS_PASSWORD, VDDK_CREDENTIALS_SESSION, VDDK_SPEC_DATASTORE, VDDK_SPEC_STORAGE_OBJECT,
    VDDK_SPEC_VM, VddkConnectParams, VddkConnectParamsHead, VddkConnection, VddkCredentials,
    VddkDatastoreSpec, VddkPasswordCredentials, VddkSessionCredentials, VddkSpec, VddkSpecType,
    VddkStorageObjectSpec,
};
use super::library::{Api, CallError, check};
use crate::control;
use crate::log::{self, Scrubbed};
use crate::params::{ConnectParams, Credentials, Remote, Target};

/// A run of sectors as the library reports it.
pub(crate) use super::bindings::VddkBlock as Block;

/// A parameter block and the strings that it points to. The strings are wiped when it goes.
pub(crate) struct ParamsBlock {
    api: &'static Api,
    block: *mut VddkConnectParams,
    origin: Origin,
    // Field order matters to nobody: `drop` clears the pointers before the strings go.
    strings: Vec<Zeroizing<Vec<u8>>>,
    /// Which of the fields that only newer libraries have were filled, and have to be cleared.
    has_spec: bool,
    has_certificate: bool,
    /// Keeps the secrets out of the log for as long as the library knows them.
    hidden: Vec<Scrubbed>,
}

enum Origin {
    /// From the library's allocator; goes back through its deallocator.
    Library,
    /// Ours, for libraries before 6.7, which have no allocator. Never given to the library's deallocator.
    Own,
}

impl ParamsBlock {
    /// Fills a block from `params`; local disks get one without any string, as the library wants it.
    pub(crate) fn new(api: &'static Api, params: &ConnectParams) -> Result<ParamsBlock, CallError> {
        // SAFETY: no arguments; legal at any time.
        let (block, origin) = match unsafe { api.calls.allocate_connect_params() } {
            Ok(block) if block.is_null() => {
                return Err(CallError::Code(super::bindings::VDDK_E_OUT_OF_MEMORY.into()));
            }
            Ok(block) => (block, Origin::Library),
            Err(_) => (zeroed_block(), Origin::Own),
        };
        let mut params_block = ParamsBlock {
            api,
            block,
            origin,
            strings: Vec::new(),
            has_spec: false,
            has_certificate: false,
            hidden: Vec::new(),
        };
        if let Some(remote) = params.server() {
            params_block.fill(remote);
        }
        Ok(params_block)
    }

    /// The same without a virtual machine, which is what a clean-up wants.
    pub(crate) fn without_vm(api: &'static Api, params: &ConnectParams) -> Result<ParamsBlock, CallError> {
        let mut block = ParamsBlock::new(api, params)?;
        block.head().vm = ptr::null_mut();
        Ok(block)
    }

    /// The block, for a call that takes it.
    pub(super) fn as_ptr(&self) -> *const VddkConnectParams {
        self.block
    }

    fn fill(&mut self, remote: &Remote) {
        let vm = match &remote.target {
            Target::Machine(vm) => self.keep(vm.as_str()),
            Target::StorageObject(_) | Target::Datastore(_) => ptr::null_mut(),
        };
        let server = self.keep(&remote.server);
        let thumbprint =
            remote.thumbprint.as_ref().map_or(ptr::null_mut(), |thumbprint| self.keep(thumbprint.as_str()));
        let (credential_type, credentials) = match &remote.credentials {
            Credentials::Password { user, password } => {
                let password =
                    VddkPasswordCredentials { user: self.keep(user), password: self.keep_secret(password) };
                (VDDK_CREDENTIALS_PASSWORD, VddkCredentials { password })
            }
            Credentials::SessionCookie { cookie, user, key } => {
                let session = VddkSessionCredentials {
                    cookie: self.keep_secret(cookie),
                    user: self.keep(user),
                    key: self.keep_secret(key),
                };
                (VDDK_CREDENTIALS_SESSION, VddkCredentials { session })
            }
        };
        let head = self.head();
        head.vm = vm;
        head.server = server;
        head.thumbprint = thumbprint;
        head.credential_type = credential_type;
        head.credentials = credentials;
        head.port = remote.port.into();
        head.nfc_port = remote.nfc_port.into();
        self.fill_tail(remote);
    }

    /// What only newer libraries have. [`ConnectParams::check_version`] has seen to it that this one does.
    fn fill_tail(&mut self, remote: &Remote) {
        let spec = match &remote.target {
            Target::Machine(_) => None,
            Target::StorageObject(disk) => {
                let storage_object = VddkStorageObjectSpec {
                    id: self.keep(&disk.id),
                    datastore: self.keep(&disk.datastore),
                    snapshot: disk.snapshot.as_ref().map_or(ptr::null_mut(), |snapshot| self.keep(snapshot)),
                };
                Some((VDDK_SPEC_STORAGE_OBJECT, VddkSpec { storage_object }))
            }
            Target::Datastore(store) => {
                let datastore = VddkDatastoreSpec {
                    datastore: self.keep(&store.datastore),
                    folder: self.keep(&store.folder),
                };
                Some((VDDK_SPEC_DATASTORE, VddkSpec { datastore }))
            }
        };
        if let Some((spec_type, spec)) = spec {
            self.has_spec = true;
            self.set_spec(spec_type, spec);
        }
        if let Some(certificate) = &remote.certificate {
            self.has_certificate = true;
            let certificate = self.keep(certificate);
            self.set_certificate(certificate);
        }
    }

    fn set_spec(&mut self, spec_type: VddkSpecType, spec: VddkSpec) {
        // SAFETY: the version was checked: the block reaches behind these fields, and only this value refers to it.
        let place = unsafe { &raw mut (*self.block).spec };
        // SAFETY: as above.
        unsafe { place.write(spec) };
        // SAFETY: as above.
        let place = unsafe { &raw mut (*self.block).spec_type };
        // SAFETY: as above.
        unsafe { place.write(spec_type) };
    }

    fn set_certificate(&mut self, certificate: *mut c_char) {
        // SAFETY: the version was checked: the block ends with this field, and only this value refers to it.
        let place = unsafe { &raw mut (*self.block).certificate };
        // SAFETY: as above.
        unsafe { place.write(certificate) };
    }

    /// Stores a copy with its zero byte and gives the pointer. The vector's own growth does not move the bytes.
    fn keep(&mut self, text: &str) -> *mut c_char {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        let mut bytes = Zeroizing::new(bytes);
        let pointer = bytes.as_mut_ptr().cast();
        self.strings.push(bytes);
        pointer
    }

    fn keep_secret(&mut self, secret: &SecretString) -> *mut c_char {
        self.hidden.push(log::hide(secret));
        self.keep(secret.expose_secret())
    }

    /// The bytes that every version from 6.5 on has. The rest exists only in newer libraries, may be shorter than our header
    /// says, and stays as the library's allocator left it.
    fn head(&mut self) -> &mut VddkConnectParamsHead {
        // SAFETY: the block is at least as large as the head, aligned, initialised by its allocator, and only this
        // value refers to it while no call is under way.
        unsafe { &mut *self.block.cast::<VddkConnectParamsHead>() }
    }
}

impl Drop for ParamsBlock {
    fn drop(&mut self) {
        let head = self.head();
        // Whether the library's deallocator frees strings is not settled; it cannot free what it does not see.
        head.vm = ptr::null_mut();
        head.server = ptr::null_mut();
        head.thumbprint = ptr::null_mut();
        head.credentials = VddkCredentials {
            session: VddkSessionCredentials {
                cookie: ptr::null_mut(),
                user: ptr::null_mut(),
                key: ptr::null_mut(),
            },
        };
        if self.has_spec {
            let empty = VddkStorageObjectSpec {
                id: ptr::null_mut(),
                datastore: ptr::null_mut(),
                snapshot: ptr::null_mut(),
            };
            self.set_spec(VDDK_SPEC_VM, VddkSpec { storage_object: empty });
        }
        if self.has_certificate {
            self.set_certificate(ptr::null_mut());
        }
        match self.origin {
            Origin::Library => {
                // SAFETY: the block came from the library's allocator and is not used again.
                if unsafe { self.api.calls.free_connect_params(self.block) }.is_err() {
                    tracing::error!(
                        "the library has an allocator for connection parameters but no deallocator"
                    );
                }
            }
            // SAFETY: the block came from `zeroed_block` and is not used again.
            Origin::Own => drop(unsafe { Box::from_raw(self.block) }),
        }
    }
}

// SAFETY: the block is a plain heap object that only this value refers to; the library ties it to no thread.
unsafe impl Send for ParamsBlock {}
// SAFETY: shared access only reads the pointer.
unsafe impl Sync for ParamsBlock {}

/// An open connection. Disconnects when dropped; the parameters live until after that, since the library may log in anew.
pub(crate) struct RawConnection {
    api: &'static Api,
    handle: Handle,
    params: Option<ParamsBlock>,
}

/// A connection handle in transit. Null is a legal value: libraries exist that hand it out.
#[derive(Clone, Copy)]
struct Handle(VddkConnection);

// SAFETY: a handle is a name for something inside the library. Calls that use it are made under the thread rules:
// connect, open, close and disconnect on the control thread.
unsafe impl Send for Handle {}
// SAFETY: as above; the handle is never dereferenced here.
unsafe impl Sync for Handle {}

impl RawConnection {
    /// Connects. To be called on the control thread.
    pub(crate) fn connect(
        api: &'static Api,
        params: ParamsBlock,
        read_only: bool,
        snapshot: Option<&CStr>,
        modes: Option<&CStr>,
    ) -> Result<RawConnection, CallError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the block and the strings live through the call; the result has a place to go.
        let raw = unsafe {
            api.calls.connect_ex(
                params.as_ptr(),
                read_only.into(),
                snapshot.map_or(ptr::null(), CStr::as_ptr),
                modes.map_or(ptr::null(), CStr::as_ptr),
                &raw mut handle,
            )
        }?;
        check(raw)?;
        Ok(RawConnection { api, handle: Handle(handle), params: Some(params) })
    }

    pub(crate) fn api(&self) -> &'static Api {
        self.api
    }

    /// Disconnects and reports how that went. To be called on the control thread.
    pub(crate) fn disconnect(mut self) -> Result<(), CallError> {
        match self.params.take() {
            Some(params) => disconnect(self.api, self.handle, params),
            None => Ok(()),
        }
    }

    pub(crate) fn handle(&self) -> VddkConnection {
        self.handle.0
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        let Some(params) = self.params.take() else { return };
        let (api, handle) = (self.api, self.handle);
        match control::run(move || disconnect(api, handle, params)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(?error, "a connection did not end well"),
            Err(error) => tracing::warn!(%error, "a connection could not be ended"),
        }
    }
}

fn disconnect(api: &'static Api, handle: Handle, params: ParamsBlock) -> Result<(), CallError> {
    // SAFETY: the handle came from `connect_ex` and is given up here; disks hold the connection, so none is open.
    let raw = unsafe { api.calls.disconnect(handle.0) }?;
    drop(params);
    check(raw)
}

fn zeroed_block() -> *mut VddkConnectParams {
    // SAFETY: the structure is made of integers and pointers, for which zero is a value.
    Box::into_raw(Box::new(unsafe { std::mem::zeroed::<VddkConnectParams>() }))
}
