//! Reading and writing.

use std::ffi::c_void;
use std::sync::Arc;

use vixdisklib::ffi::bindings::{VddkCompletionCallback, VddkDisk, VddkSectors};

use super::arguments::{caught, guarded};
use crate::code::{Answer, Code, word};
use crate::disk::{Mode, OpenDisk};
use crate::library;

const SECTOR: u64 = 512;

/// # Safety
/// `buffer` must have room for `count` sectors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Read(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *mut u8,
) -> u64 {
    guarded(|| {
        let disk = library::current()?.disk(disk as usize)?;
        let offset = disk.admit(Mode::Sync, start, count)?;
        let memory = Memory::new(buffer, count)?;
        // SAFETY: the caller's promise.
        disk.read("Read", offset, unsafe { memory.as_mut() })
    })
}

/// # Safety
/// `buffer` must hold `count` sectors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_Write(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *const u8,
) -> u64 {
    guarded(|| {
        let disk = library::current()?.disk(disk as usize)?;
        let offset = disk.admit(Mode::Sync, start, count)?;
        let memory = Memory::new(buffer.cast_mut(), count)?;
        // SAFETY: the caller's promise.
        disk.write("Write", offset, unsafe { memory.as_ref() })
    })
}

/// # Safety
/// `buffer` must have room for `count` sectors until the callback is called with `data`, on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_ReadAsync(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *mut u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
) -> u64 {
    queued(disk, start, count, buffer, callback, data, |disk, offset, memory| {
        // SAFETY: the caller's promise lasts until the callback, which comes after this.
        disk.read("ReadAsync", offset, unsafe { memory.as_mut() })
    })
}

/// # Safety
/// `buffer` must hold `count` sectors until the callback is called with `data`, on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_WriteAsync(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *const u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
) -> u64 {
    queued(disk, start, count, buffer.cast_mut(), callback, data, |disk, offset, memory| {
        // SAFETY: the caller's promise lasts until the callback, which comes after this.
        disk.write("WriteAsync", offset, unsafe { memory.as_ref() })
    })
}

/// Waits until every asynchronous request of the disk has called back.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Wait(disk: VddkDisk) -> u64 {
    guarded(|| library::current()?.disk(disk as usize)?.wait())
}

/// Brings what was written to the host's disk.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Flush(disk: VddkDisk) -> u64 {
    guarded(|| library::current()?.disk(disk as usize)?.flush())
}

/// A client's buffer, on its way to another thread.
#[derive(Clone, Copy)]
struct Memory {
    start: *mut u8,
    length: usize,
}

// SAFETY: the client leaves the buffer to this library until the request is over; it is tied to no thread.
unsafe impl Send for Memory {}

/// Whom to tell of the end of a request.
struct Client {
    callback: unsafe extern "C" fn(*mut c_void, u64),
    data: *mut c_void,
}

// SAFETY: the interface says that the callback may come from any thread.
unsafe impl Send for Client {}

impl Memory {
    fn new(start: *mut u8, sectors: u64) -> Answer<Memory> {
        let length = sectors.checked_mul(SECTOR).and_then(|bytes| usize::try_from(bytes).ok());
        match length {
            Some(length) if !start.is_null() => Ok(Memory { start, length }),
            _ => Err(Code::INVALID_ARG),
        }
    }

    /// # Safety
    /// The buffer must be valid for reading and initialised, and nobody may write to it meanwhile.
    unsafe fn as_ref(&self) -> &[u8] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }

    /// # Safety
    /// The buffer must be valid for writing, and nobody else may touch it meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn as_mut(&self) -> &mut [u8] {
        // SAFETY: the caller's promise. Bytes of a client in C count as initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Client {
    fn tell(self, answer: Answer<()>) {
        // SAFETY: the client gave callback and data for this one call.
        unsafe { (self.callback)(self.data, word(answer)) };
    }
}

/// Queues a request; whatever is wrong with it before that is answered at once, without a callback.
fn queued(
    disk: VddkDisk,
    start: u64,
    count: u64,
    buffer: *mut u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
    transfer: impl FnOnce(&OpenDisk, u64, &Memory) -> Answer<()> + Send + 'static,
) -> u64 {
    let submitted = caught(Err(Code::FAIL), || {
        let disk = library::current()?.disk(disk as usize)?;
        let offset = disk.admit(Mode::Async, start, count)?;
        let memory = Memory::new(buffer, count)?;
        let client = Client { callback: callback.ok_or(Code::INVALID_ARG)?, data };
        let worked_on = Arc::clone(&disk);
        disk.submit(Box::new(move || {
            let memory = memory;
            client.tell(caught(Err(Code::FAIL), || transfer(&worked_on, offset, &memory)));
        }))
    });
    word(submitted.and(Err(Code::ASYNC_QUEUED)))
}
