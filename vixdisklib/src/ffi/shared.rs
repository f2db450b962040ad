//! Memory that two processes see: an anonymous file, and parts of it mapped.
//!
//! # Why a slice of it may be handed out
//! The other process can write into a mapped part at any time, which no `&[u8]` of Rust expects. So who uses a part is
//! settled by messages: it belongs to the program, except from the moment a transfer is submitted until it is answered, and
//! meanwhile nobody here holds a slice of it (it is lent out mutably, or owned by a future). The worker is this crate's own
//! code and keeps to that. What remains is a VixDiskLib that scribbles into memory after it has answered; loaded into the
//! program it could do so to every byte, here it reaches only bytes that hold a disk's content. Those are plain bytes, of
//! which every value is valid, and nothing in this crate decides by them; so the worst is wrong content, which is what a
//! library like that gives anyway. Bytes that were read over a slice of ordinary memory are copied, and stay as they are.
//!
//! The file is sealed against shrinking, and room is reserved before it is mapped: an access cannot fault.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

/// The unit of positions and lengths, in bytes.
pub(crate) const PAGE: usize = 4096;

/// An anonymous file that two processes have open.
pub(crate) struct SharedFile(File);

/// A part of a [`SharedFile`] in this process's memory, until it is dropped.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl SharedFile {
    /// An empty one that cannot be made smaller.
    pub(crate) fn create() -> io::Result<SharedFile> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name ends with a zero byte.
        let descriptor = unsafe { libc::memfd_create(c"vixdisklib".as_ptr(), flags) };
        check(descriptor)?;
        // SAFETY: a descriptor that was just opened, and that nobody else has.
        let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: an open descriptor, and a command that takes a number.
        check(unsafe {
            libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL)
        })?;
        Ok(SharedFile(File::from(file)))
    }

    /// The one behind a descriptor that came from the other process.
    pub(crate) fn adopt(file: OwnedFd) -> SharedFile {
        SharedFile(File::from(file))
    }

    /// Its number in this process.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes sure that there is memory behind a part; the file grows when it has to.
    pub(crate) fn reserve(&self, offset: u64, length: usize) -> io::Result<()> {
        let (offset, length) = (signed(offset)?, signed(length as u64)?);
        // SAFETY: an open descriptor and numbers.
        check(unsafe { libc::fallocate(self.0.as_raw_fd(), 0, offset, length) })
    }

    /// Gives the memory behind a part back.
    pub(crate) fn release(&self, offset: u64, length: usize) -> io::Result<()> {
        let (offset, length) = (signed(offset)?, signed(length as u64)?);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: an open descriptor and numbers.
        check(unsafe { libc::fallocate(self.0.as_raw_fd(), mode, offset, length) })
    }

    /// Maps a part. It must be within the file: who maps more than there is faults at the first access.
    pub(crate) fn map(&self, offset: u64, length: usize) -> io::Result<Mapping> {
        let end = offset.checked_add(length as u64);
        if length == 0 || end.is_none_or(|end| self.0.metadata().map_or(true, |file| end > file.len())) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let offset = signed(offset)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let descriptor = self.0.as_raw_fd();
        // SAFETY: no address is asked for, so nothing that exists is mapped over.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, descriptor, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Mapping { start, length })
    }
}

impl Mapping {
    /// The first byte. Valid for [`length`](Mapping::length) bytes while this lives; who may touch them is settled elsewhere.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this very length, and not unmapped before; whoever uses the bytes keeps this value.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert_eq!(unmapped, 0);
    }
}

// SAFETY: a mapping belongs to the process, not to a thread, and this value only names it.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing here reads or writes the bytes.
unsafe impl Sync for Mapping {}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn signed(number: u64) -> io::Result<i64> {
    i64::try_from(number).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_seen_through_every_mapping_and_only_within_the_file() {
        let file = SharedFile::create().unwrap();
        file.reserve(PAGE as u64, 2 * PAGE).unwrap();
        let (one, two) = (file.map(PAGE as u64, PAGE).unwrap(), file.map(0, 3 * PAGE).unwrap());
        // SAFETY: a byte of the mapping.
        unsafe { one.start().as_ptr().write(7) };
        // SAFETY: within the three pages.
        let place = unsafe { two.start().as_ptr().add(PAGE) };
        // SAFETY: as above; nobody writes now.
        assert_eq!(unsafe { place.read() }, 7);
        assert!(file.map(PAGE as u64, 3 * PAGE).is_err());
        assert!(file.map(u64::MAX, PAGE).is_err());
        assert!(file.map(0, 0).is_err());
        file.release(PAGE as u64, 2 * PAGE).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { place.read() }, 0);
        assert!(file.0.set_len(0).is_err());
    }
}
