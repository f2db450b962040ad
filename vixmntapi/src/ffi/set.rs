//! Open disk sets.

use std::ffi::{CStr, c_char};
use std::ptr;

use vixdisklib::sibling::{self, Link};

use super::info::{RawOsInfo, RawSetInfo};
use super::library::{Api, CallError, check};
use super::types::MntDiskSet;
use crate::api::Slot;

/// An open disk set. Closes when dropped, before its share in the connection goes; the place for the next set is free after
/// that.
pub(crate) struct RawSet {
    pub(super) api: &'static Api,
    handle: MntDiskSet,
    open: bool,
    _link: Link,
    _slot: Slot,
}

// SAFETY: the handle is a name for something inside the library; nothing here looks behind it. Every call with it is made on
// the control thread, which is what the library wants, wherever the value itself is.
unsafe impl Send for RawSet {}
// SAFETY: as above; shared access makes calls only through the control thread, one after the other.
unsafe impl Sync for RawSet {}

impl RawSet {
    /// Opens the disk `name` over the connection. To be called on the control thread, as everything here.
    pub(crate) fn open(
        api: &'static Api,
        link: Link,
        slot: Slot,
        name: &CStr,
        flags: u32,
    ) -> Result<RawSet, CallError> {
        let names: [*const c_char; 1] = [name.as_ptr()];
        let mut handle = ptr::null_mut();
        // SAFETY: the connection is open for as long as the link lives; the names live through the call, and are as many as
        // said; the result has a place to go.
        let raw = unsafe {
            api.calls.open_disks(link.handle(), names.as_ptr(), names.len(), flags, &raw mut handle)
        }?;
        check(raw)?;
        if handle.is_null() {
            return Err(CallError::Nonsense("it opened a disk set and gave no handle"));
        }
        Ok(RawSet { api, handle, open: true, _link: link, _slot: slot })
    }

    pub(crate) fn info(&self) -> Result<RawSetInfo, CallError> {
        // SAFETY: the set is open, since its value exists.
        unsafe { self.api.set_info(self.handle) }
    }

    pub(crate) fn os_info(&self) -> Result<RawOsInfo, CallError> {
        // SAFETY: the set is open, since its value exists.
        unsafe { self.api.os_info(self.handle) }
    }

    /// Closes the set and reports how that went. The handle is gone even on failure.
    pub(crate) fn close(mut self) -> Result<(), CallError> {
        self.open = false;
        close(self.api, &Handle(self.handle))
    }

    pub(super) fn handle(&self) -> MntDiskSet {
        self.handle
    }
}

impl Drop for RawSet {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (api, handle) = (self.api, Handle(self.handle));
        match sibling::on_control_thread(move || close(api, &handle)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(?error, "a disk set did not close well"),
            Err(error) => tracing::warn!(%error, "a disk set could not be closed"),
        }
    }
}

/// A handle on its way to the control thread for the last time.
struct Handle(MntDiskSet);

// SAFETY: as for `RawSet`.
unsafe impl Send for Handle {}

fn close(api: &Api, handle: &Handle) -> Result<(), CallError> {
    // SAFETY: the handle came from `open_disks` and is given up by the only two callers. Lists of volumes hold the set, so
    // there is none.
    check(unsafe { api.calls.close_disk_set(handle.0) }?)
}
