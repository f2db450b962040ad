//! Writing a restore point: disks first, the point itself last. That last write is the commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::disk::{DiskSpec, DiskWriter};
use super::run::Run;
use crate::crypto::random;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::ObjectKind;
use crate::format::point::{self, DiskBody, DiskHead, MAX_DISKS, PointBody, PointHead};
use crate::geometry::Geometry;
use crate::ids::{ChunkId, MAX_NAME_BYTES, MachineId, Origin, PointId};
use crate::read::{DiskMap, RestorePoint};
use crate::repository::{Repository, point_name};

const MAX_METADATA_BYTES: usize = 64 << 20;
const MAX_TAG_BYTES: usize = 1 << 20;

/// What is known of a restore point before its disks are written.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointDraft {
    /// The machine that it is of.
    pub machine: MachineId,
    /// The moment that the point shows. Kept to the microsecond.
    pub created: SystemTime,
    /// For people and for lookup; at most 1 MiB in all. Encrypted like everything else.
    pub tags: BTreeMap<String, String>,
    /// Of what a copy is one.
    pub(crate) origin: Option<Origin>,
}

impl PointDraft {
    /// A draft of this moment, without tags.
    pub fn new(machine: MachineId) -> Self {
        Self { machine, created: SystemTime::now(), tags: BTreeMap::new(), origin: None }
    }

    /// The draft with another moment.
    #[must_use]
    pub fn created(mut self, created: SystemTime) -> Self {
        self.created = created;
        self
    }

    /// The draft with one more tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

/// Writes a restore point. Nothing of it is visible before [`commit`](Self::commit); dropping it leaves no point.
pub struct PointWriter {
    run: Arc<Run>,
    id: PointId,
    draft: PointDraft,
    slots: Arc<DiskSlots>,
}

impl Repository {
    /// Begins a restore point. Any number of points may be written at the same time.
    ///
    /// # Errors
    /// [`UnsupportedFormat`](ErrorKind::UnsupportedFormat) when the repository has features that this version cannot write;
    /// [`Store`](ErrorKind::Store); [`InvalidInput`](ErrorKind::InvalidInput) for too many tags.
    pub async fn begin(&self, draft: PointDraft) -> Result<PointWriter> {
        self.shared.require_writable()?;
        if draft.tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_TAG_BYTES {
            return Err(Error::invalid("the tags of a restore point have at most 1 MiB"));
        }
        let run = Run::begin(Arc::clone(&self.shared)).await?;
        Ok(PointWriter { run, id: PointId::from_bytes(random()?), draft, slots: Arc::default() })
    }
}

impl PointWriter {
    /// The name that the point will have.
    pub fn id(&self) -> PointId {
        self.id
    }

    /// Begins a disk. With a parent, chunks that are not put are taken from it; without one, they are zero. The disks of a point may
    /// be written at the same time.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a bad or repeated key, a capacity of zero, or a parent that is larger or of
    /// another repository.
    pub fn disk(&self, spec: DiskSpec, parent: Option<&DiskMap>) -> Result<DiskWriter> {
        let geometry = Geometry::new(spec.capacity_bytes, self.run.shared.config.chunk_size)?;
        if let Some(parent) = parent {
            if parent.shared().config.repository != self.run.shared.config.repository {
                return Err(Error::invalid("the parent map belongs to another repository"));
            }
            if parent.capacity() > spec.capacity_bytes {
                return Err(Error::invalid(format!(
                    "the parent of disk {:?} is larger than the disk: take a full backup",
                    spec.key
                )));
            }
        }
        let number = self.slots.reserve(&spec.key)?;
        let (run, slots) = (Arc::clone(&self.run), Arc::clone(&self.slots));
        Ok(DiskWriter::new(run, slots, number, spec, geometry, parent.cloned()))
    }

    /// Stores what is left and then the point. When this returns `Ok`, the point is visible, complete and durable. On an error it
    /// is not there, with one exception: when the very last write reached the store and its answer did not reach us.
    ///
    /// `metadata` and `disk_metadata` (by disk key; disks may be left out) are opaque, at most 64 MiB together, stored
    /// encrypted and authenticated.
    ///
    /// # Errors
    /// [`Incomplete`](ErrorKind::Incomplete) when a disk was not finished or failed; [`Conflict`](ErrorKind::Conflict) when a prune
    /// has taken away what it builds on; [`InvalidInput`](ErrorKind::InvalidInput) for metadata of a disk that is not there, or too much of it;
    /// [`Store`](ErrorKind::Store).
    pub async fn commit(
        self,
        metadata: Bytes,
        disk_metadata: BTreeMap<String, Bytes>,
    ) -> Result<RestorePoint> {
        let Self { run, id, draft, slots } = self;
        let (head, body) = slots.assemble(draft, metadata, disk_metadata)?;
        run.flush().await?;
        let began = Moment::now();
        run.verify(&body).await?;
        let (head, body, object) = run
            .shared
            .compute(move |shared| {
                let header = shared.new_header(ObjectKind::Point)?;
                let object = point::seal(id, &header, &shared.keyring(), &head, &body)?;
                Ok((head, body, object))
            })
            .await?;
        run.shared.store.create(&point_name(id)?, object.into()).await?;
        if began.is_past(run.shared.limits.commit_window) {
            // Long enough for a prune to have marked and deleted what was seen above: a machine that slept, a store that stood still.
            if let Err(error) = run.verify(&body).await {
                run.shared.store.remove(&point_name(id)?).await?;
                return Err(error);
            }
        }
        Ok(RestorePoint::new(Arc::clone(&run.shared), id, head, body))
    }
}

/// A moment by two clocks: one goes on while the machine sleeps, the other is never set.
struct Moment(Instant, SystemTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// Whether more than this time has passed, by either clock. A clock that was set back counts as much time.
    fn is_past(&self, time: Duration) -> bool {
        self.0.elapsed() > time || self.1.elapsed().map_or(true, |passed| passed > time)
    }
}

impl fmt::Debug for PointWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PointWriter")
            .field("id", &self.id)
            .field("draft", &self.draft)
            .finish_non_exhaustive()
    }
}

/// The disks of a point, begun and finished.
#[derive(Default)]
pub(super) struct DiskSlots {
    disks: Mutex<Vec<(String, Option<FinishedDisk>)>>,
}

/// What a disk writer hands over at its end.
pub(super) struct FinishedDisk {
    pub(super) capacity: u64,
    pub(super) parent: Option<PointId>,
    pub(super) counters: [u64; 10],
    pub(super) pages: Vec<ChunkId>,
}

impl DiskSlots {
    fn reserve(&self, key: &str) -> Result<usize> {
        if key.is_empty() || key.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "a disk's key has 1 to 1024 bytes, this one has {}",
                key.len()
            )));
        }
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if disks.iter().any(|(other, _)| other == key) {
            return Err(Error::invalid(format!("disk {key:?} was begun twice")));
        }
        if disks.len() == MAX_DISKS {
            return Err(Error::invalid(format!("a restore point has at most {MAX_DISKS} disks")));
        }
        disks.push((key.to_owned(), None));
        Ok(disks.len() - 1)
    }

    pub(super) fn fill(&self, number: usize, disk: FinishedDisk) {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = disks.get_mut(number) {
            *place = Some(disk);
        }
    }

    fn assemble(
        &self,
        draft: PointDraft,
        metadata: Bytes,
        mut disk_metadata: BTreeMap<String, Bytes>,
    ) -> Result<(PointHead, PointBody)> {
        let metadata_bytes = metadata.len() + disk_metadata.values().map(Bytes::len).sum::<usize>();
        if metadata_bytes > MAX_METADATA_BYTES {
            return Err(Error::invalid(format!("{metadata_bytes} bytes of metadata, at most 64 MiB fit")));
        }
        let finished = std::mem::take(&mut *self.disks.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut heads, mut bodies) = (Vec::new(), Vec::new());
        for (key, disk) in finished {
            let Some(FinishedDisk { capacity, parent, counters, pages }) = disk else {
                let message = format!("disk {key:?} was not finished, so the restore point is not committed");
                return Err(Error::new(ErrorKind::Incomplete, message));
            };
            bodies.push(DiskBody { metadata: disk_metadata.remove(&key).unwrap_or_default(), pages });
            heads.push(DiskHead { key, capacity, parent, counters });
        }
        if let Some(key) = disk_metadata.keys().next() {
            return Err(Error::invalid(format!(
                "there is metadata for disk {key:?}, which the point does not have"
            )));
        }
        let PointDraft { machine, created, tags, origin } = draft;
        let created = crate::time::to_micros(created);
        let head = PointHead { machine, created, tags, disks: heads, origin };
        Ok((head, PointBody { metadata, disks: bodies }))
    }
}
