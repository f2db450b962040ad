//! Listing restore points by their heads, see docs/repository-format.md, "Point".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::format::point::{MAX_BYTES, PointHead, SealedPoint};
use crate::ids::{MachineId, Origin, PointId, RepositoryId};
use crate::read::point::{PointDisk, RestorePoint};
use crate::repository::{POINTS, Repository, Shared, id_of, point_name};
use crate::write::PointDraft;

/// Bytes that are read of a point at first; most heads are shorter.
const FIRST_READ: u64 = 4096;
/// Points that are read at a time.
const READ_AHEAD: usize = 16;

/// A restore point, as a listing shows it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointInfo {
    /// The point's name.
    pub id: PointId,
    /// The machine that it is of.
    pub machine: MachineId,
    /// The time that the caller gave it, to the microsecond.
    pub created: SystemTime,
    /// The caller's tags.
    pub tags: BTreeMap<String, String>,
    /// The disks, in the order in which they were begun.
    pub disks: Vec<PointDisk>,
    /// Of what it is a copy; `None` for a point that was made in this repository.
    pub origin: Option<Origin>,
}

/// All restore points, those that cannot be read apart.
#[non_exhaustive]
#[derive(Debug)]
pub struct PointListing {
    /// Readable points, oldest first.
    pub points: Vec<PointInfo>,
    /// Points whose head is damaged or of a newer format. What machine they are of is not known.
    pub unreadable: Vec<DamagedPoint>,
}

/// A restore point that a listing could not read.
#[non_exhaustive]
#[derive(Debug)]
pub struct DamagedPoint {
    /// The point's name.
    pub id: PointId,
    /// Why it cannot be read.
    pub error: Error,
}

/// Which restore points are looked for; all, unless told.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointQuery {
    /// Only those of this machine.
    pub machine: Option<MachineId>,
    /// Only those created at this time or later.
    pub since: Option<SystemTime>,
    /// Only those created at this time or earlier.
    pub until: Option<SystemTime>,
    /// Only those that have all these tags; with `None` whatever its value is.
    pub tags: BTreeMap<String, Option<String>>,
}

impl PointQuery {
    /// Whether a point is one of those that are looked for.
    pub fn matches(&self, point: &PointInfo) -> bool {
        let Self { machine, since, until, tags } = self;
        machine.as_ref().is_none_or(|machine| *machine == point.machine)
            && since.is_none_or(|since| since <= point.created)
            && until.is_none_or(|until| point.created <= until)
            && tags.iter().all(|(key, value)| match (point.tags.get(key), value) {
                (Some(found), Some(value)) => found == value,
                (found, None) => found.is_some(),
                (None, Some(_)) => false,
            })
    }
}

impl Repository {
    /// The restore points that a query matches, oldest first: the last is what the machine was like at the time `until`.
    ///
    /// # Errors
    /// As [`points`](Self::points).
    pub async fn find(&self, query: &PointQuery) -> Result<Vec<PointInfo>> {
        let mut points = self.points(query.machine.as_ref()).await?;
        points.retain(|point| query.matches(point));
        Ok(points)
    }

    /// Restore points, of one machine or of all, oldest first.
    ///
    /// # Errors
    /// The error of the first point that cannot be read: an incomplete list would look like a complete one. Use
    /// [`list_points`](Self::list_points) to get the others.
    pub async fn points(&self, machine: Option<&MachineId>) -> Result<Vec<PointInfo>> {
        let PointListing { points, unreadable } = self.list_points(machine).await?;
        match unreadable.into_iter().next() {
            Some(DamagedPoint { id, error }) => {
                Err(Error::new(error.kind(), format!("restore point {id} cannot be listed; run a check"))
                    .with_source(error))
            }
            None => Ok(points),
        }
    }

    /// Restore points, of one machine or of all, with those that cannot be read listed apart.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) when the store cannot be read.
    pub async fn list_points(&self, machine: Option<&MachineId>) -> Result<PointListing> {
        let ids = point_ids(&self.shared).await?;
        let heads = ids.into_iter().map(|id| {
            let shared = Arc::clone(&self.shared);
            async move { Ok::<_, Error>((id, read_head(&shared, id).await)) }
        });
        let heads: Vec<_> = futures::stream::iter(heads).buffered(READ_AHEAD).try_collect().await?;
        let mut listing = PointListing { points: Vec::new(), unreadable: Vec::new() };
        for (id, head) in heads {
            match head {
                Ok(head) if machine.is_none_or(|machine| *machine == head.machine) => {
                    listing.points.push(PointInfo::new(id, head));
                }
                Ok(_) => {}
                // A pruner may delete a point while it is being listed.
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => listing.unreadable.push(DamagedPoint { id, error }),
            }
        }
        listing.points.sort_by_key(|point| (point.created, point.id));
        Ok(listing)
    }

    /// The newest restore point of a machine; `None` when it has none.
    ///
    /// # Errors
    /// As [`points`](Self::points) and [`point`](Self::point).
    pub async fn latest(&self, machine: &MachineId) -> Result<Option<RestorePoint>> {
        match self.points(Some(machine)).await?.last() {
            Some(info) => self.point(info.id).await.map(Some),
            None => Ok(None),
        }
    }
}

impl PointInfo {
    /// The point on which this one was built, by the first disk that has one; `None` for a full backup.
    pub fn parent(&self) -> Option<PointId> {
        self.disks.iter().find_map(|disk| disk.parent)
    }

    /// What the point and all its copies have in common; `repository` is the one that it is in.
    pub(crate) fn identity(&self, repository: RepositoryId) -> Origin {
        self.origin.unwrap_or(Origin { repository, point: self.id })
    }

    /// What a [`BackupStore`](crate::BackupStore) shows of a point that it was given as `draft`, with the disks in the order in which
    /// they were begun.
    pub fn of_draft(id: PointId, draft: PointDraft, disks: Vec<PointDisk>) -> Self {
        let PointDraft { machine, created, tags, origin } = draft;
        Self { id, machine, created, tags, disks, origin }
    }

    pub(crate) fn new(id: PointId, head: PointHead) -> Self {
        let PointHead { machine, created, tags, disks, origin } = head;
        let disks = disks.into_iter().map(PointDisk::new).collect();
        Self { id, machine, created: crate::time::from_micros(created), tags, disks, origin }
    }
}

/// All restore points that the store lists, by name.
pub(crate) async fn point_ids(shared: &Shared) -> Result<Vec<PointId>> {
    let objects = shared.store.list(POINTS).await?;
    let mut ids: Vec<_> =
        objects.iter().filter_map(|object| PointId::parse(id_of(POINTS, &object.name)?).ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

async fn read_head(shared: &Arc<Shared>, id: PointId) -> Result<PointHead> {
    let (name, repository) = (point_name(id)?, shared.config.repository);
    let mut object = shared.store.get_range(&name, 0..FIRST_READ).await?;
    let end = SealedPoint::parse(id, repository, &object)?.head_end();
    if end > MAX_BYTES {
        return Err(Error::damaged("the head of the restore point is larger than a point may be"));
    }
    if end > object.len() as u64 && object.len() as u64 == FIRST_READ {
        object = shared.store.get_range(&name, 0..end).await?;
    }
    SealedPoint::parse(id, repository, &object)?.open_head(&shared.keyring())
}
