//! A repository as a store of backups.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::{BackupStore, ChunkSink, PointSink, StoredDisk, StoredPoint};
use crate::error::{Error, Result};
use crate::ids::{MachineId, PointId};
use crate::read::{Chunk, DiskReader, PointInfo, RestorePoint};
use crate::repository::Repository;
use crate::store::StoreFuture;
use crate::summary::DiskSummary;
use crate::write::{DiskSpec, DiskWriter, PointDraft, PointWriter};

/// A writer that remembers the parent, which all disks of a point have in common.
struct Sink {
    repository: Repository,
    writer: PointWriter,
    parent: OnceCell<RestorePoint>,
}

impl BackupStore for Repository {
    fn describe(&self) -> String {
        self.location()
    }

    fn begin(&self, draft: PointDraft) -> StoreFuture<'_, Box<dyn PointSink>> {
        Box::pin(async move {
            let writer = Repository::begin(self, draft).await?;
            let sink = Sink { repository: self.clone(), writer, parent: OnceCell::new() };
            Ok(Box::new(sink) as Box<dyn PointSink>)
        })
    }

    fn points<'a>(&'a self, machine: Option<&'a MachineId>) -> StoreFuture<'a, Vec<PointInfo>> {
        Box::pin(Repository::points(self, machine))
    }

    fn point(&self, id: PointId) -> StoreFuture<'_, Arc<dyn StoredPoint>> {
        Box::pin(async move { Ok(Arc::new(Repository::point(self, id).await?) as Arc<dyn StoredPoint>) })
    }
}

impl Sink {
    async fn parent(&self, id: PointId) -> Result<RestorePoint> {
        let first = self.parent.get_or_try_init(|| self.repository.point(id)).await?;
        match first.id() == id {
            true => Ok(first.clone()),
            false => self.repository.point(id).await,
        }
    }
}

impl PointSink for Sink {
    fn disk(&self, spec: DiskSpec, parent: Option<PointId>) -> StoreFuture<'_, Box<dyn ChunkSink>> {
        Box::pin(async move {
            let parent = match parent {
                Some(id) => Some(self.parent(id).await?.disk(&spec.key).map_err(|error| {
                    Error::invalid("a disk has no parent in the point that was named").with_source(error)
                })?),
                None => None,
            };
            let writer = self.writer.disk(spec, parent.as_ref().map(DiskReader::map))?;
            Ok(Box::new(writer) as Box<dyn ChunkSink>)
        })
    }

    fn commit(
        self: Box<Self>,
        metadata: Bytes,
        disk_metadata: BTreeMap<String, Bytes>,
    ) -> StoreFuture<'static, Arc<dyn StoredPoint>> {
        Box::pin(async move {
            let point = self.writer.commit(metadata, disk_metadata).await?;
            Ok(Arc::new(point) as Arc<dyn StoredPoint>)
        })
    }
}

impl ChunkSink for DiskWriter {
    fn chunk_size(&self) -> u32 {
        DiskWriter::chunk_size(self)
    }

    fn put(&mut self, chunk: u64, data: Bytes) -> StoreFuture<'_, ()> {
        Box::pin(DiskWriter::put(self, chunk, data))
    }

    fn put_zero(&mut self, chunk: u64) -> Result<()> {
        DiskWriter::put_zero(self, chunk)
    }

    fn receipt(&mut self) -> StoreFuture<'_, Bytes> {
        Box::pin(DiskWriter::receipt(self))
    }

    fn resume<'a>(&'a mut self, receipt: &'a Bytes) -> StoreFuture<'a, Vec<u64>> {
        Box::pin(DiskWriter::resume(self, receipt))
    }

    fn finish(self: Box<Self>) -> StoreFuture<'static, DiskSummary> {
        Box::pin(DiskWriter::finish(*self))
    }
}

impl StoredPoint for RestorePoint {
    fn info(&self) -> &PointInfo {
        RestorePoint::info(self)
    }

    fn metadata(&self) -> &Bytes {
        RestorePoint::metadata(self)
    }

    fn disk<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Arc<dyn StoredDisk>> {
        let opened = RestorePoint::disk(self, key);
        Box::pin(async move { Ok(Arc::new(opened?) as Arc<dyn StoredDisk>) })
    }
}

impl StoredDisk for DiskReader {
    fn capacity(&self) -> u64 {
        DiskReader::capacity(self)
    }

    fn chunk_size(&self) -> u32 {
        DiskReader::chunk_size(self)
    }

    fn metadata(&self) -> &Bytes {
        DiskReader::metadata(self)
    }

    fn chunks(&self, range: Range<u64>) -> StoreFuture<'_, Vec<u64>> {
        Box::pin(async move { self.map().data_in(range).await })
    }

    fn read_chunk(&self, chunk: u64) -> StoreFuture<'_, Chunk> {
        Box::pin(DiskReader::read_chunk(self, chunk))
    }

    fn matches<'a>(&'a self, chunk: u64, bytes: &'a Bytes) -> StoreFuture<'a, bool> {
        Box::pin(DiskReader::matches(self, chunk, bytes))
    }
}
