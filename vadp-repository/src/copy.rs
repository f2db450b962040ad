//! Copying a restore point into another repository. See docs/repository-format.md, "Copies".

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;

use futures::{Stream, StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::ids::{Origin, PointId};
use crate::read::{Chunk, DiskReader, PointInfo, RestorePoint};
use crate::repository::Repository;
use crate::write::{DiskSpec, PointDraft};

/// Chunks that are read at a time.
pub(crate) const READ_AHEAD: usize = 8;

/// How far a copy, an export or an import has come.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the disks that lie behind, holes and what did not have to be moved included.
    pub done_bytes: u64,
    /// Bytes of all disks.
    pub total_bytes: u64,
}

/// What a copy or an import has come to.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct Copied {
    /// The restore point in the repository that it was to come to.
    pub point: RestorePoint,
    /// Whether it was written now; `false` when it was there already.
    pub is_new: bool,
}

impl Repository {
    /// Copies a restore point into another repository, which has other keys. Nothing but the two stores is read: neither the disks that
    /// were backed up, nor of the other repository what it has already. When it has a copy of another point of the machine that is still
    /// here, only the chunks that differ are read. Every chunk is verified on the way. Machine, time, tags and metadata stay, and so does
    /// the name of the original ([`PointInfo::origin`]): a point of which the other repository has a copy is not copied again.
    ///
    /// May be dropped at any time; then nothing is visible, and what was stored is found by the next try.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when both are the same repository or have chunks of different sizes;
    /// [`Damaged`](crate::ErrorKind::Damaged) when the point cannot be read to its end; those of [`Repository::point`], of
    /// [`PointWriter::commit`](crate::PointWriter::commit), and of either store.
    pub async fn copy_point(
        &self,
        point: PointId,
        to: &Repository,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Copied> {
        if self.id() == to.id() {
            return Err(Error::invalid("a restore point cannot be copied into the repository that it is in"));
        }
        to.require_chunk_size(self.chunk_size())?;
        let source = self.point(point).await?;
        let origin = source.info().identity(self.id());
        let there = to.list_points(Some(source.machine())).await?.points;
        if let Some(copied) = to.copy_of(&there, origin).await? {
            return Ok(copied);
        }
        let base = match self.common_point(to, &source, &there).await? {
            Some(base) => copy(&source, origin, to, Some(&base), &progress).await,
            None => return copy(&source, origin, to, None, &progress).await,
        };
        match base {
            // What the other repository has of it may have lost something: then all of it is given once more.
            Err(error) if error.is_damage() => copy(&source, origin, to, None, &progress).await,
            done => done,
        }
    }

    pub(crate) fn require_chunk_size(&self, chunk_size: u32) -> Result<()> {
        match self.chunk_size() == chunk_size {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "the restore point has chunks of {chunk_size} bytes, and {} has chunks of {}: its chunks cannot be taken over; use a \
                 repository with the same chunk size",
                self.location(),
                self.chunk_size()
            ))),
        }
    }

    /// The point of this repository that is the same as `origin`.
    pub(crate) async fn copy_of(&self, points: &[PointInfo], origin: Origin) -> Result<Option<Copied>> {
        match points.iter().find(|point| point.identity(self.id()) == origin) {
            Some(info) => Ok(Some(Copied { point: self.point(info.id).await?, is_new: false })),
            None => Ok(None),
        }
    }

    /// The newest point of the other repository that is also in this one: here, and there.
    async fn common_point(
        &self,
        to: &Repository,
        source: &RestorePoint,
        there: &[PointInfo],
    ) -> Result<Option<(RestorePoint, RestorePoint)>> {
        let here = self.list_points(Some(source.machine())).await?.points;
        let here: HashMap<Origin, PointId> =
            here.iter().map(|point| (point.identity(self.id()), point.id)).collect();
        for point in there.iter().rev() {
            if let Some(id) = here.get(&point.identity(to.id())) {
                return Ok(Some((self.point(*id).await?, to.point(point.id).await?)));
            }
        }
        Ok(None)
    }
}

async fn copy(
    source: &RestorePoint,
    origin: Origin,
    to: &Repository,
    base: Option<&(RestorePoint, RestorePoint)>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Copied> {
    let mut draft = PointDraft::new(source.machine().clone()).created(source.created());
    draft.tags = source.tags().clone();
    draft.origin = Some(origin);
    let writer = to.begin(draft).await?;
    let mut passed = Passed::new(source, progress);
    let mut metadata = BTreeMap::new();
    for info in source.disks() {
        let from = source.disk(&info.key)?;
        let spec = DiskSpec { key: info.key.clone(), capacity_bytes: info.capacity_bytes };
        let base =
            base.and_then(|(here, there)| Some((here.disk(&info.key).ok()?, there.disk(&info.key).ok()?)));
        let base = base.filter(|(here, there)| {
            here.capacity() == there.capacity() && here.capacity() <= info.capacity_bytes
        });
        let mut disk = writer.disk(spec, base.as_ref().map(|(_, there)| there.map()))?;
        let chunks = match &base {
            Some((here, _)) => {
                futures::stream::iter(from.map().diff(here.map()).await?.into_iter().map(Ok)).boxed()
            }
            None => allocated(&from),
        };
        let read = chunks.map_ok(|chunk| {
            let from = from.clone();
            async move { Ok((chunk, from.read_chunk(chunk).await?)) }
        });
        let mut read = read.try_buffered(READ_AHEAD);
        while let Some((chunk, content)) = read.try_next().await? {
            match content {
                Chunk::Zero => disk.put_zero(chunk)?,
                Chunk::Data(bytes) => disk.put(chunk, bytes).await?,
            }
            passed.on_disk(from.map().geometry().bytes_of(chunk)?.end);
        }
        disk.finish().await?;
        passed.end_of_disk(info.capacity_bytes);
        metadata.insert(info.key.clone(), from.metadata().clone());
    }
    let point = writer.commit(source.metadata().clone(), metadata).await?;
    Ok(Copied { point, is_new: true })
}

/// Indexes of chunks, in rising order.
pub(crate) type ChunkStream = Pin<Box<dyn Stream<Item = Result<u64>> + Send>>;

/// The chunks of a disk that hold data.
pub(crate) fn allocated(disk: &DiskReader) -> ChunkStream {
    let walk = disk.allocated_chunks();
    futures::stream::try_unfold(
        walk,
        |mut walk| async move { Ok(walk.next().await?.map(|chunk| (chunk, walk))) },
    )
    .boxed()
}

/// Adds progress up over the disks of a point.
pub(crate) struct Passed<'a> {
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    total: u64,
    disks: u64,
}

impl<'a> Passed<'a> {
    pub(crate) fn new(point: &RestorePoint, progress: &'a (dyn Fn(Progress) + Send + Sync)) -> Self {
        Self::over(point.disks().iter().map(|disk| disk.capacity_bytes), progress)
    }

    pub(crate) fn over(
        capacities: impl Iterator<Item = u64>,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Self {
        let passed = Self { progress, total: capacities.fold(0, u64::saturating_add), disks: 0 };
        passed.on_disk(0);
        passed
    }

    /// All up to this byte of the current disk is done.
    pub(crate) fn on_disk(&self, bytes: u64) {
        let done_bytes = self.disks.saturating_add(bytes);
        (self.progress)(Progress { done_bytes, total_bytes: self.total });
    }

    pub(crate) fn end_of_disk(&mut self, capacity: u64) {
        self.disks = self.disks.saturating_add(capacity);
        self.on_disk(0);
    }
}
