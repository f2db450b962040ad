//! Making and changing disks as a whole. All of it is called on the control thread.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::bindings::{VddkCreateParams, VddkDiskType, VddkProgressCallback};
use super::connection::RawConnection;
use super::disk::{Handle, RawDisk};
use super::library::{Api, CallError, check};
use super::trampoline;
use crate::control;
use crate::error::Error;
use crate::progress::Reporter;

impl RawConnection {
    /// Makes a disk.
    pub(crate) fn create(
        &self,
        path: &CStr,
        params: &VddkCreateParams,
        reporter: &Reporter,
    ) -> Result<(), CallError> {
        let (progress, data) = callback(reporter);
        // SAFETY: the connection is open, since its value exists; path, structure and reporter live through the call.
        check(unsafe { self.api().calls.create(self.handle(), path.as_ptr(), params, progress, data) }?)
    }

    /// Copies a disk of `from` to this connection.
    pub(crate) fn clone_from(
        &self,
        path: &CStr,
        from: &RawConnection,
        from_path: &CStr,
        params: &VddkCreateParams,
        reporter: &Reporter,
        overwrite: bool,
    ) -> Result<(), CallError> {
        let (progress, data) = callback(reporter);
        // SAFETY: both connections are open, since their values exist; everything else lives through the call.
        check(unsafe {
            self.api().calls.clone(
                self.handle(),
                path.as_ptr(),
                from.handle(),
                from_path.as_ptr(),
                params,
                progress,
                data,
                overwrite.into(),
            )
        }?)
    }

    /// Makes a disk larger.
    pub(crate) fn grow(
        &self,
        path: &CStr,
        sectors: u64,
        update_geometry: bool,
        reporter: &Reporter,
    ) -> Result<(), CallError> {
        let (progress, data) = callback(reporter);
        let update = update_geometry.into();
        // SAFETY: the connection is open; path and reporter live through the call.
        check(unsafe {
            self.api().calls.grow(self.handle(), path.as_ptr(), sectors, update, progress, data)
        }?)
    }

    /// Deletes a disk and its extents.
    pub(crate) fn unlink(&self, path: &CStr) -> Result<(), CallError> {
        // SAFETY: the connection is open; the path lives through the call.
        check(unsafe { self.api().calls.unlink(self.handle(), path.as_ptr()) }?)
    }

    /// Checks a disk, and perhaps repairs it.
    pub(crate) fn check_repair(&self, path: &CStr, repair: bool) -> Result<(), CallError> {
        // SAFETY: the connection is open; the path lives through the call.
        check(unsafe { self.api().calls.check_repair(self.handle(), path.as_ptr(), repair.into()) }?)
    }
}

impl Api {
    /// Gives a local disk another name.
    pub(crate) fn rename(&self, from: &CStr, to: &CStr) -> Result<(), CallError> {
        // SAFETY: both strings live through the call.
        check(unsafe { self.calls.rename(from.as_ptr(), to.as_ptr()) }?)
    }
}

/// These calls open and close other disks inside, which belongs on the control thread; the worker that has the handle waits
/// for it, so nobody else uses the handle meanwhile.
impl RawDisk {
    /// Makes a child of the disk.
    pub(crate) fn create_child(
        &mut self,
        path: std::ffi::CString,
        disk_type: VddkDiskType,
        reporter: Reporter,
    ) -> Result<(), CallError> {
        self.on_control(move |api, handle| {
            let (progress, data) = callback(&reporter);
            // SAFETY: the handle is open and used by nobody else; path and reporter live through the call.
            unsafe { api.calls.create_child(handle.get(), path.as_ptr(), disk_type, progress, data) }
                .map_err(CallError::from)
                .and_then(check)
        })
    }

    /// Gives back what the disk does not need.
    pub(crate) fn shrink(&mut self, reporter: Reporter) -> Result<(), CallError> {
        self.on_control(move |api, handle| {
            let (progress, data) = callback(&reporter);
            // SAFETY: as in `create_child`.
            unsafe { api.calls.shrink(handle.get(), progress, data) }.map_err(CallError::from).and_then(check)
        })
    }

    /// Puts the disk's grains in order.
    pub(crate) fn defragment(&mut self, reporter: Reporter) -> Result<(), CallError> {
        self.on_control(move |api, handle| {
            let (progress, data) = callback(&reporter);
            // SAFETY: as in `create_child`.
            unsafe { api.calls.defragment(handle.get(), progress, data) }
                .map_err(CallError::from)
                .and_then(check)
        })
    }

    /// Bytes that a clone of this type would need.
    pub(crate) fn space_needed_for_clone(&mut self, disk_type: VddkDiskType) -> Result<u64, CallError> {
        self.on_control(move |api, handle| {
            let mut bytes = 0;
            // SAFETY: the handle is open and used by nobody else; the result has a place to go.
            check(unsafe { api.calls.space_needed_for_clone(handle.get(), disk_type, &raw mut bytes) }?)?;
            Ok(bytes)
        })
    }

    /// Whether `parent`, whose owner waits for this call, could become the parent of this disk.
    pub(crate) fn is_attach_possible(&mut self, parent: Handle) -> Result<(), CallError> {
        self.on_control(move |api, child| {
            // SAFETY: both handles are open and used by nobody else.
            check(unsafe { api.calls.is_attach_possible(parent.get(), child.get()) }?)
        })
    }

    /// Puts this disk on top of `parent`, whose handle is dead then; when it fails, `parent` is closed.
    pub(crate) fn attach(&mut self, mut parent: RawDisk) -> Result<(), CallError> {
        let handle = parent.handle();
        self.on_control(move |api, child| {
            // SAFETY: both handles are open and used by nobody else.
            check(unsafe { api.calls.attach(handle.get(), child.get()) }?)
        })?;
        self.keep_connections_of(&mut parent);
        parent.forget();
        Ok(())
    }

    fn on_control<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&'static Api, Handle) -> Result<R, CallError> + Send + 'static,
    ) -> Result<R, CallError> {
        let (api, handle) = (self.api(), self.handle());
        control::run(move || call(api, handle)).unwrap_or_else(|error: Error| {
            tracing::error!(%error, "the control thread is gone");
            Err(CallError::Code(super::bindings::VDDK_E_FAIL.into()))
        })
    }
}

/// What the library reports progress to. The reporter must live through the call.
fn callback(reporter: &Reporter) -> (VddkProgressCallback, *mut c_void) {
    let callback: unsafe extern "C" fn(_, _) -> _ = trampoline::on_progress;
    (Some(callback), ptr::from_ref(reporter).cast_mut().cast())
}
