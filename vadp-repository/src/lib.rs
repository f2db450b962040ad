//! Content-addressed, encrypted backup repository for block devices.
//!
//! It stores *restore points*: the disks of a machine at one moment, with opaque metadata. Each point is a full one, and shares
//! with all others what they have in common. It knows nothing of virtual machines, of who reads the disks, or of how; and it is no
//! archive of files. What the bytes on the store mean is written down in `docs/repository-format.md`, to which the modules refer.
//!
//! ```text
//!   backup    Repository::begin -> PointWriter -+- disk() -> DiskWriter: put .. put, finish -+
//!                                               +- disk() -> DiskWriter: put .. put, finish -+- commit
//!                                                                                                 |
//!   restore   Repository::point, latest -> RestorePoint::disk -> DiskReader: read_chunk, read_at <-+
//! ```
//!
//! - A point is visible and complete, or not there: its own object is written last.
//! - Nothing is handed out that was not verified. Damage is an [`Error`] that names pack, chunk, disk and byte range.
//! - Chunks of zeros cost nothing, equal chunks are stored once, and an incremental reads and stores only what it is given.
//! - Encryption is always on. Whoever runs the store can destroy backups, but neither read nor change them.
//! - [`Repository::plan_prune`] says what no point needs any more, and [`PrunePlan::apply`] gives it back, beside backups that go on.
//! - A [`ChunkStore`] is a directory, a bucket, or what you make of one; [`conformance`] judges it.
//! - Memory is bounded by [`Limits`], besides the index: some 55 MB for each TiB of stored 1 MiB chunks, or 8 MB with a
//!   folder for it ([`OpenOptions::index_cache`]).
//!
//! ```
//! use std::collections::BTreeMap;
//! use bytes::Bytes;
//! use vadp_repository::{Chunk, DiskSpec, InitOptions, MachineId, PointDraft, Repository, Secret};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let repo = Repository::init_local(path, &Secret::password("long and unguessable"), InitOptions::default()).await?;
//! let machine = MachineId::new("web-01")?;
//!
//! // A full backup: what is not put is zero.
//! let writer = repo.begin(PointDraft::new(machine.clone())).await?;
//! let mut disk = writer.disk(DiskSpec { key: "2000".into(), capacity_bytes: 8 << 20 }, None)?;
//! disk.put(3, Bytes::from(vec![1; 1 << 20])).await?;
//! disk.finish().await?;
//! let first = writer.commit(Bytes::from("the machine's settings"), BTreeMap::new()).await?;
//!
//! // An incremental one: what is not put is as in the parent.
//! let parent = first.disk("2000")?;
//! let writer = repo.begin(PointDraft::new(machine.clone())).await?;
//! let mut disk = writer.disk(DiskSpec { key: "2000".into(), capacity_bytes: 8 << 20 }, Some(parent.map()))?;
//! disk.put(5, Bytes::from(vec![2; 1 << 20])).await?;
//! let summary = disk.finish().await?;
//! assert_eq!((summary.read_chunks, summary.inherited_chunks), (1, 1));
//! writer.commit(Bytes::new(), BTreeMap::new()).await?;
//!
//! // A restore.
//! let disk = repo.latest(&machine).await?.ok_or("no backup")?.disk("2000")?;
//! let mut chunks = disk.allocated_chunks();
//! while let Some(chunk) = chunks.next().await? {
//!     if let Chunk::Data(bytes) = disk.read_chunk(chunk).await? {
//!         println!("{} verified bytes for offset {}", bytes.len(), chunk * u64::from(disk.chunk_size()));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod backup_store;
mod buffers;
mod check;
mod codec;
pub mod conformance;
mod copy;
mod crypto;
mod error;
mod export;
mod format;
mod geometry;
mod ids;
mod index;
#[cfg(feature = "nbd")]
pub mod nbd;
mod prune;
mod read;
mod repair;
mod repository;
#[doc(hidden)]
pub mod seam;
mod secret;
mod statistics;
mod store;
mod summary;
mod time;
mod write;

pub use backup_store::{BackupStore, ChunkSink, PointSink, StoredDisk, StoredPoint};
pub use check::{CheckDepth, CheckReport, Damage, Leftovers, LostRange};
pub use copy::{Copied, Progress};
pub use error::{DamageLocation, Error, ErrorKind, Result};
pub use export::Exported;
pub use ids::{ChunkId, IndexId, KeySlotId, MachineId, Origin, PackId, PointId, RepositoryId};
pub use prune::{
    KeepReason, PackAction, PackPlan, PointVerdict, PruneOptions, PrunePlan, PruneReport, RebuildReport,
    Retention, SHORTEST_GRACE,
};
pub use read::{
    AllocatedChunks, Chunk, DamagedPoint, DiskMap, DiskReader, DiskStream, Extent, MapEntry, PointDisk,
    PointInfo, PointListing, PointQuery, RestorePoint,
};
pub use repair::{PackRepair, RepairPlan, RepairReport};
pub use repository::{InitOptions, KeyRotation, KeySlotInfo, KeySlotKind, Limits, OpenOptions, Repository};
pub use secret::{KeyFuture, KeyProvider, Secret};
pub use statistics::{DayGrowth, Statistics};
pub use store::{
    Backoff, CachePlace, ChunkStore, FaultPlan, FaultStore, LocalStore, MemoryStore, ObjectName, ReadCache,
    Retry, StoreFuture, StoredObject, Throttle,
};
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
pub use store::{CloudOptions, CloudStore};
pub use summary::DiskSummary;
pub use write::{DiskSpec, DiskWriter, PointDraft, PointWriter};
