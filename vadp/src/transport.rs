//! Where disk bytes come from and go to.
//!
//! [`DiskSource`] and [`DiskSink`] are the seams: VDDK is one way through them, others will stand beside it. All offsets
//! and lengths are bytes, and multiples of 512.

pub(crate) mod retry;
mod vddk;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Error;
use crate::extent::{ByteRange, Extents};

pub use vddk::{Vddk, VddkCredentials};

/// A disk that can be read. All methods may be called at the same time; how many reads are really in flight is the
/// source's own business.
pub trait DiskSource: Send + Sync {
    /// Size in bytes.
    fn capacity(&self) -> u64;

    /// Name of the way the bytes take, such as `nbdssl`.
    fn transport(&self) -> &str;

    /// The parts of `range` that may hold anything but zeros. What is left out reads as zeros. A source that cannot tell
    /// returns all of `range`.
    fn allocated(&self, range: ByteRange) -> BoxFuture<'_, Result<Extents, Error>>;

    /// The bytes of `range`, all of them: fewer are an error. `range` has at most a few MiB.
    fn read(&self, range: ByteRange) -> BoxFuture<'_, Result<Bytes, Error>>;

    /// All keys of the disk's descriptor with their values, such as `ddb.uuid`: what a disk made anew is given. A way that does
    /// not tell them returns an error, and the backup goes on without.
    fn descriptor(&self) -> BoxFuture<'_, Result<BTreeMap<String, String>, Error>>;

    /// Closes the disk and says how that went. Dropping closes it too.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>>;
}

/// A disk that can be written, and read back.
pub trait DiskSink: DiskSource {
    /// Writes `data` at `offset`.
    fn write(&self, offset: u64, data: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// Sets keys of the disk's descriptor, such as `ddb.uuid`, and leaves the others. A way that cannot returns an error.
    fn set_descriptor(&self, keys: BTreeMap<String, String>) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes what was written durable.
    fn flush(&self) -> BoxFuture<'_, Result<(), Error>>;
}
