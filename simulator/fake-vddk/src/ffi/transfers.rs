//! Reading and writing.

use std::ffi::c_void;

use sim_store::state::FaultEffect;
use vixdisklib::ffi::bindings::{VddkCompletionCallback, VddkDisk, VddkSectors};

use super::arguments::{contained, guarded};
use crate::code::{Answer, Code, word};
use crate::disk::{Mode, OpenDisk};
use crate::faults::Struck;
use crate::queue::Request;
use crate::{library, strict};

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
    guarded("Read", || {
        let disk = library::current()?.disk(disk as usize)?;
        let (offset, memory) = admitted(&disk, Mode::Sync, start, count, buffer)?;
        let struck = disk.strike("Read", "Read", memory.length)?;
        // SAFETY: the caller's promise.
        disk.read("Read", struck, offset, unsafe { memory.as_mut() })
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
    guarded("Write", || {
        let disk = library::current()?.disk(disk as usize)?;
        let (offset, memory) = admitted(&disk, Mode::Sync, start, count, buffer.cast_mut())?;
        let struck = disk.strike("Write", "Write", memory.length)?;
        // SAFETY: the caller's promise.
        disk.write("Write", struck, offset, unsafe { memory.as_ref() })
    })
}

/// # Safety
/// `buffer` must have room for `count` sectors until the callback is called with `data`: by another thread, or before this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_ReadAsync(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *mut u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
) -> u64 {
    let request = Asked { disk, start, count, buffer, callback, data };
    queued("ReadAsync", "Read", request, |disk, struck, offset, memory| {
        // SAFETY: the caller's promise lasts until the callback, which comes after this.
        disk.read("ReadAsync", struck, offset, unsafe { memory.as_mut() })
    })
}

/// # Safety
/// `buffer` must hold `count` sectors until the callback is called with `data`: by another thread, or before this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn VixDiskLib_WriteAsync(
    disk: VddkDisk,
    start: VddkSectors,
    count: VddkSectors,
    buffer: *const u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
) -> u64 {
    let request = Asked { disk, start, count, buffer: buffer.cast_mut(), callback, data };
    queued("WriteAsync", "Write", request, |disk, struck, offset, memory| {
        // SAFETY: the caller's promise lasts until the callback, which comes after this.
        disk.write("WriteAsync", struck, offset, unsafe { memory.as_ref() })
    })
}

/// Waits until every asynchronous request of the disk has called back.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Wait(disk: VddkDisk) -> u64 {
    guarded("Wait", || library::current()?.disk(disk as usize)?.wait())
}

/// Brings what was written to the host's disk.
#[unsafe(no_mangle)]
pub extern "C" fn VixDiskLib_Flush(disk: VddkDisk) -> u64 {
    guarded("Flush", || library::current()?.disk(disk as usize)?.flush())
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
        strict::in_callback(|| unsafe { (self.callback)(self.data, word(answer)) });
    }
}

/// What an asynchronous call was given.
struct Asked {
    disk: VddkDisk,
    start: u64,
    count: u64,
    buffer: *mut u8,
    callback: VddkCompletionCallback,
    data: *mut c_void,
}

/// Queues a request; whatever is wrong with it before that is answered at once, without a callback.
fn queued(
    function: &'static str,
    either: &'static str,
    asked: Asked,
    transfer: impl FnOnce(&OpenDisk, Struck, u64, &Memory) -> Answer<()> + Send + 'static,
) -> u64 {
    guarded(function, || {
        let disk = library::current()?.disk(asked.disk as usize)?;
        let (offset, memory) = admitted(&disk, Mode::Async, asked.start, asked.count, asked.buffer)?;
        let client = Client { callback: asked.callback.ok_or(Code::INVALID_ARG)?, data: asked.data };
        let struck = disk.strike(function, either, memory.length)?;
        if struck.effect() == Some(FaultEffect::Refuse) {
            return struck.suffer(disk.faults(), function, memory.length as u64)?.settle();
        }
        let effect = struck.effect();
        let worked_on = disk.share();
        let work = move || {
            let memory = memory;
            contained(Err(Code::FAIL), || transfer(&worked_on, struck, offset, &memory))
        };
        let tell = move |answer| {
            let client = client;
            client.tell(answer);
        };
        disk.submit(Request { work: Box::new(work), tell: Box::new(tell) }, effect)?;
        Err(Code::ASYNC_QUEUED)
    })
}

/// Settles whether a transfer may take place, and where.
fn admitted(disk: &OpenDisk, mode: Mode, start: u64, count: u64, buffer: *mut u8) -> Answer<(u64, Memory)> {
    let offset = disk.admit(mode, start, count)?;
    let memory = Memory::new(buffer, count)?;
    disk.admit_memory(buffer as usize)?;
    Ok((offset, memory))
}
