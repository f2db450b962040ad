//! Open disks: every call takes the handle exclusively, which is how "never two at once on a handle" is kept.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Arc;

use super::batch::{Direction, Piece};
use super::bindings::{
    VDDK_ASYNC_QUEUED, VDDK_E_BUFFER_TOO_SMALL, VDDK_E_FAIL, VddkAdapterType, VddkBlock, VddkBlockList,
    VddkChangeInfo, VddkChangedAreaParams, VddkDisk, VddkGeometry, VddkInfo, VddkInfoHead, VddkOpenParams,
};
use super::connection::RawConnection;
use super::library::{Api, CallError, check, copy_string};
use super::trampoline;
use crate::control;
use crate::error::code_of;

/// Most bytes that a metadata value or key list may claim to need.
const METADATA_LIMIT: usize = 16 << 20;

/// An open disk handle.
pub(crate) struct RawDisk {
    api: &'static Api,
    handle: Handle,
    open: bool,
    /// Keeps the connection open: a disk must not outlive it, nor those of disks that were attached to it.
    connections: Vec<Arc<RawConnection>>,
}

/// A disk handle in transit. Null is a legal value: libraries exist that hand it out.
#[derive(Clone, Copy)]
pub(crate) struct Handle(VddkDisk);

// SAFETY: a handle may be used on other threads than the one that opened it, as long as access is serialised, which
// `&mut RawDisk` does. Open and close are made on the control thread.
unsafe impl Send for Handle {}

impl Handle {
    /// The handle itself. A method, so that closures take the whole of this value along, which may go to other threads.
    pub(super) fn get(self) -> VddkDisk {
        self.0
    }
}

/// What the library says of a disk, copied out of its memory.
pub(crate) struct RawInfo {
    pub(crate) bios_geometry: VddkGeometry,
    pub(crate) physical_geometry: VddkGeometry,
    pub(crate) capacity: u64,
    pub(crate) adapter_type: VddkAdapterType,
    pub(crate) links: i32,
    pub(crate) parent_hint: Option<String>,
    pub(crate) uuid: Option<String>,
    /// Logical and physical sector size in bytes, where the library has them.
    pub(crate) sector_bytes: Option<(u32, u32)>,
}

/// One answer about changed areas.
pub(crate) struct RawChanges {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) areas: Vec<VddkBlock>,
}

impl RawDisk {
    /// Opens a disk, with a change id when changed areas will be asked for. To be called on the control thread.
    pub(crate) fn open(
        connection: Arc<RawConnection>,
        path: &CStr,
        flags: u32,
        change_id: Option<&CStr>,
    ) -> Result<RawDisk, CallError> {
        let api = connection.api();
        let mut handle = ptr::null_mut();
        let raw = match change_id {
            None => {
                // SAFETY: the connection is open, since its value exists; the path lives through the call.
                unsafe { api.calls.open(connection.handle(), path.as_ptr(), flags, &raw mut handle) }?
            }
            Some(change_id) => {
                let params = VddkOpenParams {
                    path: path.as_ptr().cast_mut(),
                    flags,
                    change_id: change_id.as_ptr().cast_mut(),
                };
                // SAFETY: as above; structure and strings live through the call, and the library only reads them.
                unsafe { api.calls.open_ex(connection.handle(), &raw const params, &raw mut handle) }?
            }
        };
        check(raw)?;
        Ok(RawDisk { api, handle: Handle(handle), open: true, connections: vec![connection] })
    }

    pub(super) fn api(&self) -> &'static Api {
        self.api
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// From now on this disk needs what `other` needed.
    pub(super) fn keep_connections_of(&mut self, other: &mut RawDisk) {
        self.connections.append(&mut other.connections);
    }

    /// Gives up a handle that the library has taken back by itself.
    pub(super) fn forget(mut self) {
        self.open = false;
    }

    /// Closes the disk. To be called on the control thread, with nothing under way. The handle is gone even on failure.
    pub(crate) fn close(mut self) -> Result<(), CallError> {
        self.open = false;
        close(self.api, self.handle)
    }

    /// Carries out one piece and waits for it.
    pub(crate) fn transfer(&mut self, piece: Piece) {
        let (start, count, memory) = (piece.sector().0, piece.count().0, piece.memory());
        let result = match piece.direction() {
            // SAFETY: the memory is valid for `count` sectors while the piece lives, and nobody else touches it.
            Direction::Read => unsafe { self.api.calls.read(self.handle.0, start, count, memory) },
            // SAFETY: as above; the library only reads from it.
            Direction::Write => unsafe { self.api.calls.write(self.handle.0, start, count, memory) },
        };
        piece.finish(result.unwrap_or(VDDK_E_FAIL.into()));
    }

    /// Queues one piece; it ends in the completion callback, perhaps before this returns.
    pub(crate) fn queue(&mut self, piece: Piece) {
        let (start, count, memory) = (piece.sector().0, piece.count().0, piece.memory());
        let direction = piece.direction();
        let data = Box::into_raw(Box::new(piece));
        let callback = Some(trampoline::on_completion as unsafe extern "C" fn(_, _));
        let result = match direction {
            // SAFETY: the memory is valid until the piece is dropped, which the callback does, once, from `data`.
            Direction::Read => unsafe {
                self.api.calls.read_async(self.handle.0, start, count, memory, callback, data.cast())
            },
            // SAFETY: as above; the library only reads from it.
            Direction::Write => unsafe {
                self.api.calls.write_async(self.handle.0, start, count, memory, callback, data.cast())
            },
        };
        let raw = result.unwrap_or(VDDK_E_FAIL.into());
        if raw != u64::from(VDDK_ASYNC_QUEUED) {
            // SAFETY: when a request was not queued the callback is never called for it, so the piece is still ours.
            let piece = unsafe { Box::from_raw(data) };
            piece.finish(raw);
        }
    }

    /// Waits until nothing asynchronous is under way.
    pub(crate) fn wait(&mut self) -> Result<(), CallError> {
        // SAFETY: the handle is open.
        check(unsafe { self.api.calls.wait(self.handle.0) }?)
    }

    /// Brings completed asynchronous writes to stable storage.
    pub(crate) fn flush(&mut self) -> Result<(), CallError> {
        // SAFETY: the handle is open.
        check(unsafe { self.api.calls.flush(self.handle.0) }?)
    }

    /// Asks for the disk's properties. Sector sizes are read only from libraries whose structure has them.
    pub(crate) fn info(&mut self, has_sector_sizes: bool) -> Result<RawInfo, CallError> {
        let mut info: *mut VddkInfo = ptr::null_mut();
        // SAFETY: the handle is open, and the result has a place to go.
        check(unsafe { self.api.calls.get_info(self.handle.0, &raw mut info) }?)?;
        if info.is_null() {
            return Err(CallError::Code(VDDK_E_FAIL.into()));
        }
        // SAFETY: the library filled it; the head is what every version has.
        let head = unsafe { info.cast::<VddkInfoHead>().read() };
        let sector_bytes = has_sector_sizes.then(|| {
            // SAFETY: the library's version says that its structure reaches this far.
            let whole = unsafe { info.read() };
            (whole.logical_sector_bytes, whole.physical_sector_bytes)
        });
        // SAFETY: a string of the library, or null; valid until the structure is freed.
        let parent_hint = unsafe { copy_string(head.parent_hint) };
        // SAFETY: as above.
        let uuid = unsafe { copy_string(head.uuid) };
        // SAFETY: from `get_info`, and not used again.
        unsafe { self.api.calls.free_info(info) }?;
        Ok(RawInfo {
            bios_geometry: head.bios_geometry,
            physical_geometry: head.physical_geometry,
            capacity: head.capacity,
            adapter_type: head.adapter_type,
            links: head.links,
            parent_hint,
            uuid,
            sector_bytes,
        })
    }

    /// The transport in use.
    pub(crate) fn transport_mode(&mut self) -> Result<Option<String>, CallError> {
        // SAFETY: the handle is open.
        let text = unsafe { self.api.calls.get_transport_mode(self.handle.0) }?;
        // SAFETY: a static string of the library, or null.
        Ok(unsafe { copy_string(text) })
    }

    /// The allocated runs of one window; start and count must be multiples of the chunk.
    pub(crate) fn allocated_blocks(
        &mut self,
        start: u64,
        count: u64,
        chunk: u64,
    ) -> Result<Vec<VddkBlock>, CallError> {
        let mut list: *mut VddkBlockList = ptr::null_mut();
        // SAFETY: the handle is open, and the result has a place to go.
        let raw = unsafe {
            self.api.calls.query_allocated_blocks(self.handle.0, start, count, chunk, &raw mut list)
        }?;
        check(raw)?;
        if list.is_null() {
            return Err(CallError::Code(VDDK_E_FAIL.into()));
        }
        // SAFETY: a list of the library.
        let blocks = unsafe { copy_blocks(list) };
        // SAFETY: from the query, and not used again.
        check(unsafe { self.api.calls.free_block_list(list) }?)?;
        Ok(blocks)
    }

    /// The changed areas from `start` on: the window that the answer covers, and what changed in it.
    pub(crate) fn changed_areas(&mut self, start: u64) -> Result<RawChanges, CallError> {
        let params = VddkChangedAreaParams { start };
        let mut changes: *mut VddkChangeInfo = ptr::null_mut();
        // SAFETY: the handle is open; the structure lives through the call, and the result has a place to go.
        let raw = unsafe {
            self.api.calls.query_changed_areas(self.handle.0, &raw const params, &raw mut changes)
        }?;
        check(raw)?;
        if changes.is_null() {
            return Err(CallError::Code(VDDK_E_FAIL.into()));
        }
        // SAFETY: not null: a structure of the library.
        let info = unsafe { changes.read() };
        let areas = if info.areas.is_null() {
            Vec::new()
        } else {
            // SAFETY: not null: a list of the library, which lives until the structure is freed.
            unsafe { copy_blocks(info.areas) }
        };
        // SAFETY: from the query, and not used again. It takes the list with it.
        unsafe { self.api.calls.free_changed_areas(changes) }?;
        Ok(RawChanges { start: info.start, length: info.length, areas })
    }

    /// The value of a metadata key, as the library stores it.
    pub(crate) fn read_metadata(&mut self, key: &CStr) -> Result<Vec<u8>, CallError> {
        let handle = self.handle.0;
        let calls = &self.api.calls;
        let value = two_calls(|buffer, size, required| {
            // SAFETY: the handle is open; the buffer has the size given, and null goes with size zero.
            Ok(unsafe { calls.read_metadata(handle, key.as_ptr(), buffer, size, required) }?)
        })?;
        Ok(until_zero(value))
    }

    /// The keys, each ended by a zero byte.
    pub(crate) fn metadata_keys(&mut self) -> Result<Vec<u8>, CallError> {
        let handle = self.handle.0;
        let calls = &self.api.calls;
        two_calls(|buffer, size, required| {
            // SAFETY: as in `read_metadata`.
            Ok(unsafe { calls.get_metadata_keys(handle, buffer, size, required) }?)
        })
    }

    /// Sets a metadata key.
    pub(crate) fn write_metadata(&mut self, key: &CStr, value: &CString) -> Result<(), CallError> {
        // SAFETY: the handle is open, and the strings live through the call.
        check(unsafe { self.api.calls.write_metadata(self.handle.0, key.as_ptr(), value.as_ptr()) }?)
    }
}

impl Drop for RawDisk {
    /// The way out after a panic or when no thread could be had: nothing may be left under way or open.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let waited = self.wait();
        let (api, handle) = (self.api, self.handle);
        match control::run(move || close(api, handle)) {
            Ok(closed) if waited.is_ok() && closed.is_ok() => {}
            outcome => tracing::warn!(?waited, ?outcome, "a disk did not end well"),
        }
    }
}

fn close(api: &'static Api, handle: Handle) -> Result<(), CallError> {
    // SAFETY: the handle is open and given up here.
    check(unsafe { api.calls.close(handle.0) }?)
}

/// Asks for the size first, then for the bytes. Another writer may make the value grow in between: then it asks again.
fn two_calls(
    call: impl Fn(*mut c_char, usize, *mut usize) -> Result<u64, CallError>,
) -> Result<Vec<u8>, CallError> {
    let mut buffer: Vec<u8> = Vec::new();
    for _ in 0..4 {
        let mut required = 0usize;
        let pointer = if buffer.is_empty() { ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
        let raw = call(pointer, buffer.len(), &raw mut required)?;
        if raw == 0 {
            return Ok(buffer);
        }
        if code_of(raw) != VDDK_E_BUFFER_TOO_SMALL as u16
            || required <= buffer.len()
            || required > METADATA_LIMIT
        {
            return Err(CallError::Code(raw));
        }
        buffer = vec![0; required];
    }
    Err(CallError::Code(VDDK_E_BUFFER_TOO_SMALL.into()))
}

/// # Safety
/// `list` must come from the library, and not be freed yet.
unsafe fn copy_blocks(list: *const VddkBlockList) -> Vec<VddkBlock> {
    // SAFETY: the count comes first, and is there even when the list is empty.
    let length = unsafe { list.cast::<u32>().read() } as usize;
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: a list of n blocks has them right behind the (padded) count.
    let first = unsafe { list.cast::<u8>().add(std::mem::offset_of!(VddkBlockList, blocks)) };
    // SAFETY: the library says that there are this many, aligned as its structure is.
    unsafe { std::slice::from_raw_parts(first.cast::<VddkBlock>(), length) }.to_vec()
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
