//! How a disk is opened.

use crate::ffi::bindings;
use crate::units::SECTOR_BYTES;

/// How to open a disk. Made by [`OpenOptions::read_only`] or [`OpenOptions::read_write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    change_id: Option<String>,
    read_only: bool,
    single_link: bool,
    unbuffered: bool,
    compression: Compression,
    io_mode: IoMode,
    queue_depth: usize,
    max_request: usize,
}

/// Compression on the wire, for the network transports (NBD, NBDSSL) of vSphere 6.5 and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Bytes as they are.
    #[default]
    None,
    /// zlib: small and slow.
    Zlib,
    /// FastLZ: cheap.
    FastLz,
    /// SkipZ: leaves out runs of zeros.
    SkipZ,
}

/// Which of the library's two families of read and write calls a handle uses. They cannot be mixed on one handle (code 26000),
/// so this is settled when it is opened. Both serve all methods of [`Disk`](crate::Disk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoMode {
    /// One request at a time.
    #[default]
    Sync,
    /// Several requests at once, which over the network hides its delay (VDDK and ESXi 6.7 and later). Other transports
    /// complete them one by one.
    Async,
}

impl OpenOptions {
    /// For reading.
    #[must_use]
    pub fn read_only() -> OpenOptions {
        OpenOptions {
            change_id: None,
            read_only: true,
            single_link: false,
            unbuffered: false,
            compression: Compression::None,
            io_mode: IoMode::Sync,
            queue_depth: 8,
            max_request: 2 << 20,
        }
    }

    /// For reading and writing.
    #[must_use]
    pub fn read_write() -> OpenOptions {
        OpenOptions { read_only: false, ..OpenOptions::read_only() }
    }

    /// Opens only the named link of a chain, without its parents. A hole then means "look in the parent", not zeros.
    #[must_use]
    pub fn single_link(mut self, single: bool) -> OpenOptions {
        self.single_link = single;
        self
    }

    /// Opens the disk so that [`Disk::changed_areas`](crate::Disk::changed_areas) tells what changed since this change id;
    /// `*` asks for what is in use. From VDDK 9.0 on; an older library refuses with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    #[must_use]
    pub fn changed_since(mut self, change_id: impl Into<String>) -> OpenOptions {
        self.change_id = Some(change_id.into());
        self
    }

    /// Goes past the host's cache, which HotAdd and SAN need for speed. Memory at a multiple of 512 bytes, as
    /// [`AlignedBuf`](crate::AlignedBuf) is, then spares a copy.
    #[must_use]
    pub fn unbuffered(mut self, unbuffered: bool) -> OpenOptions {
        self.unbuffered = unbuffered;
        self
    }

    /// Compresses on the wire.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> OpenOptions {
        self.compression = compression;
        self
    }

    /// Chooses the family of calls.
    #[must_use]
    pub fn io_mode(mut self, mode: IoMode) -> OpenOptions {
        self.io_mode = mode;
        self
    }

    /// Requests that may be queued or under way at once, at least 1; 8 unless set. Together with the size of a request it
    /// bounds the bytes in flight: a request beyond it waits.
    #[must_use]
    pub fn queue_depth(mut self, requests: usize) -> OpenOptions {
        self.queue_depth = requests.max(1);
        self
    }

    /// The largest request that the library gets, in bytes; rounded down to whole sectors, at least one. 2 MiB unless set,
    /// which is what hosts and vCenter's proxy take without running out of buffers. Larger transfers are split.
    #[must_use]
    pub fn max_request(mut self, bytes: usize) -> OpenOptions {
        let sector = SECTOR_BYTES as usize;
        self.max_request = (bytes / sector).max(1) * sector;
        self
    }

    /// Whether the disk is for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn is_unbuffered(&self) -> bool {
        self.unbuffered
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }

    pub(super) fn change_id(&self) -> Option<&str> {
        self.change_id.as_deref()
    }

    pub(super) fn is_async(&self) -> bool {
        self.io_mode == IoMode::Async
    }

    pub(super) fn depth(&self) -> usize {
        self.queue_depth
    }

    pub(super) fn request_limit(&self) -> usize {
        self.max_request
    }

    /// The bits for the library.
    pub(super) fn flags(&self) -> u32 {
        let bit = |on: bool, flag: u32| if on { flag } else { 0 };
        let compression = match self.compression {
            Compression::None => 0,
            Compression::Zlib => bindings::VDDK_OPEN_COMPRESS_ZLIB,
            Compression::FastLz => bindings::VDDK_OPEN_COMPRESS_FASTLZ,
            Compression::SkipZ => bindings::VDDK_OPEN_COMPRESS_SKIPZ,
        };
        bit(self.read_only, bindings::VDDK_OPEN_READ_ONLY)
            | bit(self.single_link, bindings::VDDK_OPEN_SINGLE_LINK)
            | bit(self.unbuffered, bindings::VDDK_OPEN_UNBUFFERED)
            | compression
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_documented_values() {
        assert_eq!(OpenOptions::read_write().flags(), 0);
        assert_eq!(OpenOptions::read_only().unbuffered(true).single_link(true).flags(), 7);
        assert_eq!(OpenOptions::read_write().compression(Compression::FastLz).flags(), 0x20);
    }

    #[test]
    fn requests_are_whole_sectors() {
        assert_eq!(OpenOptions::read_only().max_request(1000).request_limit(), 512);
        assert_eq!(OpenOptions::read_only().max_request(0).request_limit(), 512);
    }
}
