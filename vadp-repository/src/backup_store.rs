//! The seam at the level of restore points: a store of backups that is not a [`Repository`](crate::Repository), and need not know
//! chunks, packs or keys: a tape, an appliance, a database.
//!
//! ```text
//!   BackupStore::begin -> PointSink -+- disk -> ChunkSink: put .. put, finish -+
//!                                    +- disk -> ChunkSink: put .. put, finish -+- commit
//!                                                                                |
//!   BackupStore::point, latest -> StoredPoint::disk -> StoredDisk: read_chunk <--+
//! ```

mod repository;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::ids::{MachineId, PointId};
use crate::read::{Chunk, PointInfo};
use crate::store::StoreFuture;
use crate::summary::DiskSummary;
use crate::write::{DiskSpec, PointDraft};

/// A place for restore points. Implement it to keep backups in a product of your own, and have
/// [`conformance::run_backup_store`](crate::conformance::run_backup_store) judge it; [`Repository`](crate::Repository) is one.
///
/// A point is visible and complete, or not there. Points never change. What one call has acknowledged, every later one sees, from
/// whatever machine. All methods may be called at the same time from many tasks, and any number of points may be written at a time.
///
/// Errors have the kinds of [`ErrorKind`](crate::ErrorKind), by the same meaning: above all, what cannot be had is
/// [`Damaged`](crate::ErrorKind::Damaged) and never zeros.
pub trait BackupStore: Send + Sync {
    /// Where this is, for messages: a path or address without credentials.
    fn describe(&self) -> String;

    /// Begins a restore point, of which nothing is visible until [`PointSink::commit`].
    fn begin(&self, draft: PointDraft) -> StoreFuture<'_, Box<dyn PointSink>>;

    /// Restore points, of one machine or of all, oldest first by [`PointInfo::created`].
    ///
    /// # Errors
    /// When any of them cannot be listed: an incomplete list would look like a complete one.
    fn points<'a>(&'a self, machine: Option<&'a MachineId>) -> StoreFuture<'a, Vec<PointInfo>>;

    /// Opens a restore point.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is none of this id.
    fn point(&self, id: PointId) -> StoreFuture<'_, Arc<dyn StoredPoint>>;
}

/// A restore point that is being written. Dropping it leaves no point.
pub trait PointSink: Send + Sync {
    /// Begins a disk. Chunks that are not put are as in the disk of the same key of the point `parent`, or zero without one. The
    /// disks of a point may be written at the same time.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a key that was begun before, a capacity of zero, or a parent that has no
    /// such disk or a larger one; [`NotFound`](crate::ErrorKind::NotFound) when there is no such parent.
    fn disk(&self, spec: DiskSpec, parent: Option<PointId>) -> StoreFuture<'_, Box<dyn ChunkSink>>;

    /// Makes the point visible. On `Ok` it is complete and durable; on an error it is not there. The metadata is opaque, that of disks by
    /// their keys; disks may be left out.
    ///
    /// # Errors
    /// [`Incomplete`](crate::ErrorKind::Incomplete) unless every disk that was begun is finished;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for metadata of a disk that is not there.
    fn commit(
        self: Box<Self>,
        metadata: Bytes,
        disk_metadata: BTreeMap<String, Bytes>,
    ) -> StoreFuture<'static, Arc<dyn StoredPoint>>;
}

/// A disk that is being written, in chunks, each at most once and in any order. Dropping it unfinished makes the commit of its
/// point impossible.
pub trait ChunkSink: Send {
    /// Bytes of a chunk, at least 512 and at most 4 MiB; the last one of the disk may be shorter. With a parent, that of the parent.
    fn chunk_size(&self) -> u32;

    /// Gives the bytes of a whole chunk. It need not be stored when this returns, and its error may come out of a later call.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end, for a wrong length, or when the chunk was put before; the sink
    /// stays usable. Any other error is final for the point.
    fn put(&mut self, chunk: u64, data: Bytes) -> StoreFuture<'_, ()>;

    /// Says that all bytes of a chunk are zero, whatever the parent has.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end or when the chunk was put before.
    fn put_zero(&mut self, chunk: u64) -> Result<()>;

    /// Makes durable what it can of what was put since the last receipt, and gives a proof of it that [`resume`](Self::resume) takes, in a
    /// sink of another point, after this process has died. The bytes mean something to the store alone. A store that cannot resume
    /// gives none.
    fn receipt(&mut self) -> StoreFuture<'_, Bytes>;

    /// Puts what a receipt proves, without its bytes, and gives the chunks. What the store does not have any more, or never had, is left out.
    ///
    /// # Errors
    /// Not for a receipt that is damaged, foreign or of another disk: it proves nothing.
    fn resume<'a>(&'a mut self, receipt: &'a Bytes) -> StoreFuture<'a, Vec<u64>>;

    /// Waits until every chunk is where it belongs, and says what was done.
    ///
    /// # Errors
    /// [`Damaged`](crate::ErrorKind::Damaged) when something that would be taken from the parent is missing. Any error is final for the point.
    fn finish(self: Box<Self>) -> StoreFuture<'static, DiskSummary>;
}

/// A restore point that is there, complete and never changing.
pub trait StoredPoint: Send + Sync {
    /// What a listing shows of it.
    fn info(&self) -> &PointInfo;

    /// The metadata that it was committed with.
    fn metadata(&self) -> &Bytes;

    /// Opens a disk by its key.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the point has no such disk.
    fn disk<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Arc<dyn StoredDisk>>;
}

/// A disk of a restore point. Every byte that it hands out was verified.
pub trait StoredDisk: Send + Sync {
    /// Bytes of the disk.
    fn capacity(&self) -> u64;

    /// Bytes of a chunk; the last one may be shorter.
    fn chunk_size(&self) -> u32;

    /// The disk's metadata, as given to [`PointSink::commit`].
    fn metadata(&self) -> &Bytes;

    /// The chunks of a range of them that may hold anything but zeros, in rising order. What is left out is zero. Chunks beyond the
    /// end are none.
    fn chunks(&self, range: Range<u64>) -> StoreFuture<'_, Vec<u64>>;

    /// Reads a chunk.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end; [`Damaged`](crate::ErrorKind::Damaged) when its bytes are missing
    /// or altered.
    fn read_chunk(&self, chunk: u64) -> StoreFuture<'_, Chunk>;

    /// Whether `bytes` are the content of a chunk; `false` for another length. By a digest where there is one, so that nothing is read.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) beyond the end; and when the store cannot tell.
    fn matches<'a>(&'a self, chunk: u64, bytes: &'a Bytes) -> StoreFuture<'a, bool>;
}

impl dyn BackupStore + '_ {
    /// The newest restore point of a machine; `None` when it has none.
    ///
    /// # Errors
    /// As [`points`](BackupStore::points) and [`point`](BackupStore::point).
    pub async fn latest(&self, machine: &MachineId) -> Result<Option<Arc<dyn StoredPoint>>> {
        match self.points(Some(machine)).await?.last() {
            Some(info) => self.point(info.id).await.map(Some),
            None => Ok(None),
        }
    }
}

impl dyn StoredPoint + '_ {
    /// The point's name.
    pub fn id(&self) -> PointId {
        self.info().id
    }
}

/// So that what a backup returns can be handed on as it is.
impl<P: StoredPoint + ?Sized> StoredPoint for Arc<P> {
    fn info(&self) -> &PointInfo {
        (**self).info()
    }

    fn metadata(&self) -> &Bytes {
        (**self).metadata()
    }

    fn disk<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Arc<dyn StoredDisk>> {
        (**self).disk(key)
    }
}
