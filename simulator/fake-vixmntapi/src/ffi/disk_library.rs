//! The VixDiskLib of this process, found where the dynamic linker has it, and disks opened through it.

use std::collections::VecDeque;
use std::ffi::{CString, c_int};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::ptr;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use vixdisklib::ffi::bindings::{VddkConnection, VddkDisk};
use vixdisklib::ffi::raw::{
    VixDiskLib_Close, VixDiskLib_FreeInfo, VixDiskLib_GetInfo, VixDiskLib_Open, VixDiskLib_Read,
};

use super::log;
use crate::code::{Answer, Code};

const SECTOR: u64 = 512;
/// Bytes that are read and kept at a time, and how many such blocks are kept.
const BLOCK: u64 = 64 << 10;
const KEPT: usize = 64;

/// The functions that are needed of it.
#[derive(Clone, Copy)]
pub(crate) struct DiskLibrary {
    open: VixDiskLib_Open,
    close: VixDiskLib_Close,
    get_info: VixDiskLib_GetInfo,
    free_info: VixDiskLib_FreeInfo,
    read: VixDiskLib_Read,
}

/// An open disk: a stream of its bytes.
pub(crate) struct RawDisk {
    library: DiskLibrary,
    handle: Handle,
    length: u64,
    position: u64,
    /// Blocks by number, the latest last.
    kept: VecDeque<(u64, Vec<u8>)>,
    open: bool,
}

struct Handle(VddkDisk);

// SAFETY: a handle may be used from any thread, one at a time; the state that holds it is behind a lock.
unsafe impl Send for Handle {}

impl DiskLibrary {
    /// The library that is loaded already: among what is visible to all, or else in `kit/lib64` or `kit`. Nothing is loaded.
    pub(crate) fn find(kit: Option<&Path>) -> Option<DiskLibrary> {
        let places = kit.into_iter().flat_map(|kit| [kit.join("lib64"), kit.to_owned()]);
        let names = places.flat_map(|place| {
            [
                "libvixDiskLib.so",
                "libvixDiskLib.so.9",
                "libvixDiskLib.so.8",
                "libvixDiskLib.so.7",
                "libvixDiskLib.so.6",
            ]
            .map(|name| place.join(name))
        });
        DiskLibrary::of(Library::this())
            .or_else(|| names.filter_map(|file| loaded(&file)).find_map(DiskLibrary::of))
    }

    fn of(library: Library) -> Option<DiskLibrary> {
        let found = DiskLibrary {
            // SAFETY: a symbol of this name has this type, here and below.
            open: *unsafe { symbol(&library, b"VixDiskLib_Open") }?,
            // SAFETY: as above.
            close: *unsafe { symbol(&library, b"VixDiskLib_Close") }?,
            // SAFETY: as above.
            get_info: *unsafe { symbol(&library, b"VixDiskLib_GetInfo") }?,
            // SAFETY: as above.
            free_info: *unsafe { symbol(&library, b"VixDiskLib_FreeInfo") }?,
            // SAFETY: as above.
            read: *unsafe { symbol(&library, b"VixDiskLib_Read") }?,
        };
        // Its functions are used until the process ends.
        std::mem::forget(library);
        Some(found)
    }

    /// Opens a disk over a connection of that library.
    pub(crate) fn open(self, connection: usize, name: &str, flags: u32) -> Answer<RawDisk> {
        let c_name = CString::new(name).map_err(|_| Code::INVALID_ARG)?;
        let connection: VddkConnection = ptr::with_exposed_provenance_mut(connection);
        let mut handle = ptr::null_mut();
        // SAFETY: the connection is the client's, and VixDiskLib checks it; name and result live through the call.
        let code = unsafe { (self.open)(connection, c_name.as_ptr(), flags, &raw mut handle) };
        if code != 0 {
            log::warn(&format!("VixDiskLib cannot open {name}: code {}", code & 0xFFFF));
            return Err(match code & 0xFFFF {
                4 | 25 => Code::DISK_NOT_FOUND,
                15 => Code::DISK_NOT_SAFE,
                _ => Code::DISK_CANT_OPEN,
            });
        }
        let handle = Handle(handle);
        let mut disk =
            RawDisk { library: self, handle, length: 0, position: 0, kept: VecDeque::new(), open: true };
        disk.length = disk.capacity()?;
        Ok(disk)
    }
}

impl RawDisk {
    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Closes it.
    pub(crate) fn close(mut self) -> Answer<()> {
        self.open = false;
        // SAFETY: the handle is open, and not used again.
        match unsafe { (self.library.close)(self.handle.0) } {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }

    fn capacity(&self) -> Answer<u64> {
        let mut info = ptr::null_mut();
        // SAFETY: the handle is open, and the result has a place.
        let code = unsafe { (self.library.get_info)(self.handle.0, &raw mut info) };
        if code != 0 || info.is_null() {
            return Err(Code::DISK_CANT_OPEN);
        }
        // SAFETY: not null, from the library, not yet freed.
        let sectors = unsafe { (*info).capacity };
        // SAFETY: from the library, and not used again.
        unsafe { (self.library.free_info)(info) };
        sectors.checked_mul(SECTOR).ok_or(Code::DISK_CANT_OPEN)
    }

    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        match self.kept.iter().position(|(kept, _)| *kept == number) {
            Some(place) => {
                let block = self.kept.remove(place);
                self.kept.extend(block);
            }
            None => {
                let start = number * BLOCK;
                let length = BLOCK.min(self.length - start);
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
                let (sector, count) = (start / SECTOR, length / SECTOR);
                // SAFETY: the handle is open; the memory is as long as the sectors that are asked for.
                let code = unsafe { (self.library.read)(self.handle.0, sector, count, bytes.as_mut_ptr()) };
                if code != 0 {
                    let what = format!("VixDiskLib cannot read sector {sector}: code {}", code & 0xFFFF);
                    return Err(io::Error::other(what));
                }
                if self.kept.len() == KEPT {
                    self.kept.pop_front();
                }
                self.kept.push_back((number, bytes));
            }
        }
        self.kept.back().map(|(_, bytes)| bytes.as_slice()).ok_or_else(|| io::Error::other("no block"))
    }
}

impl Read for RawDisk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        let (number, inside) = (self.position / BLOCK, (self.position % BLOCK) as usize);
        let block = self.block(number)?;
        let count = buffer.len().min(block.len() - inside);
        buffer[..count].copy_from_slice(&block[inside..inside + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for RawDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.length.checked_add_signed(delta),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the start of the disk")
        })?;
        Ok(self.position)
    }
}

impl Drop for RawDisk {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: the handle is open, and not used again.
            let code = unsafe { (self.library.close)(self.handle.0) };
            if code != 0 {
                log::warn(&format!("a disk did not close well: code {code}"));
            }
        }
    }
}

/// The library in `file`, if it is loaded.
fn loaded(file: &Path) -> Option<Library> {
    const RTLD_NOLOAD: c_int = libc::RTLD_NOLOAD;
    // SAFETY: with this flag nothing is loaded, so nothing of the file runs.
    unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) }.ok()
}

/// # Safety
/// The symbol of this name must have the type `T`.
unsafe fn symbol<T>(library: &Library, name: &[u8]) -> Option<Symbol<T>> {
    // SAFETY: the caller's promise.
    unsafe { library.get(name) }.ok()
}
