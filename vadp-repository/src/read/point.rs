//! A restore point, opened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::format::point::{DiskHead, MAX_BYTES, PointBody, PointHead, SealedPoint};
use crate::geometry::Geometry;
use crate::ids::{MachineId, Origin, PointId};
use crate::read::disk::DiskReader;
use crate::read::list::PointInfo;
use crate::read::map::DiskMap;
use crate::repository::{Repository, Shared, load, point_name};
use crate::summary::DiskSummary;
use crate::write::DiskSpec;

/// A disk of a restore point, as a listing shows it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointDisk {
    /// The caller's name of the disk, unique in the point.
    pub key: String,
    /// Bytes of the disk.
    pub capacity_bytes: u64,
    /// The restore point from which unchanged chunks were taken. Information only: no point needs another.
    pub parent: Option<PointId>,
    /// What its backup did.
    pub summary: DiskSummary,
}

/// A committed restore point: complete, and never changing.
#[derive(Clone)]
pub struct RestorePoint {
    shared: Arc<Shared>,
    info: PointInfo,
    body: Arc<PointBody>,
}

impl Repository {
    /// Opens a restore point.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Damaged`](ErrorKind::Damaged), [`UnsupportedFormat`](ErrorKind::UnsupportedFormat) or
    /// [`Store`](ErrorKind::Store).
    pub async fn point(&self, id: PointId) -> Result<RestorePoint> {
        let point = open_point(&self.shared, id).await?;
        load::refresh(&self.shared).await?;
        Ok(point)
    }
}

/// Opens a restore point. What it needs may be in index objects that have not been loaded yet.
pub(crate) async fn open_point(shared: &Arc<Shared>, id: PointId) -> Result<RestorePoint> {
    let object = shared.store.get(&point_name(id)?, MAX_BYTES).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let message = format!("{} has no restore point {id}", shared.store.describe());
            Error::new(ErrorKind::NotFound, message).with_source(error)
        }
        _ => error,
    })?;
    let opened = shared.compute(move |shared| {
        let sealed = SealedPoint::parse(id, shared.config.repository, &object)?;
        let head = sealed.open_head(&shared.keyring())?;
        let body = sealed.open_body(&shared.keyring(), &head, shared.config.chunk_size)?;
        Ok((head, body))
    });
    let (head, body) = opened.await.map_err(|error| {
        Error::new(error.kind(), format!("restore point {id} cannot be used")).with_source(error)
    })?;
    Ok(RestorePoint::new(Arc::clone(shared), id, head, body))
}

impl RestorePoint {
    pub(crate) fn new(shared: Arc<Shared>, id: PointId, head: PointHead, body: PointBody) -> Self {
        Self { shared, info: PointInfo::new(id, head), body: Arc::new(body) }
    }

    /// The point's name.
    pub fn id(&self) -> PointId {
        self.info.id
    }

    /// The machine that it is of.
    pub fn machine(&self) -> &MachineId {
        &self.info.machine
    }

    /// The time that the caller gave it.
    pub fn created(&self) -> SystemTime {
        self.info.created
    }

    /// The caller's tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.info.tags
    }

    /// The point on which this one was built; `None` for a full backup.
    pub fn parent(&self) -> Option<PointId> {
        self.info.parent()
    }

    /// Of what the point is a copy; `None` when it was made in this repository.
    pub fn origin(&self) -> Option<Origin> {
        self.info.origin
    }

    /// What a listing shows of it.
    pub fn info(&self) -> &PointInfo {
        &self.info
    }

    /// The caller's metadata of the point.
    pub fn metadata(&self) -> &Bytes {
        &self.body.metadata
    }

    /// The disks, in the order in which they were begun.
    pub fn disks(&self) -> &[PointDisk] {
        &self.info.disks
    }

    /// A disk by its key.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the point has no such disk.
    pub fn disk(&self, key: &str) -> Result<DiskReader> {
        let disk = self.info.disks.iter().zip(&self.body.disks).find(|(disk, _)| disk.key == key);
        let (disk, body) = disk.ok_or_else(|| {
            let message = format!("restore point {} has no disk {:?}", self.info.id, key);
            Error::new(ErrorKind::NotFound, message)
        })?;
        let geometry = Geometry::new(disk.capacity_bytes, self.shared.config.chunk_size)?;
        let (shared, pages) = (Arc::clone(&self.shared), body.pages.clone());
        let map = DiskMap::new(shared, self.info.id, disk.key.clone(), geometry, pages);
        Ok(DiskReader::new(map, body.metadata.clone()))
    }
}

impl fmt::Debug for RestorePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestorePoint").field("info", &self.info).finish_non_exhaustive()
    }
}

impl PointDisk {
    /// What a [`BackupStore`](crate::BackupStore) shows of a disk that it was given.
    pub fn of_spec(spec: DiskSpec, parent: Option<PointId>, summary: DiskSummary) -> Self {
        let DiskSpec { key, capacity_bytes } = spec;
        Self { key, capacity_bytes, parent, summary }
    }

    pub(crate) fn new(head: DiskHead) -> Self {
        let DiskHead { key, capacity, parent, counters } = head;
        Self { key, capacity_bytes: capacity, parent, summary: DiskSummary::from_counters(counters) }
    }
}
