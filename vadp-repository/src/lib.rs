//! Content-addressed, encrypted backup repository for block devices.

#![forbid(unsafe_code)]

mod check;
mod codec;
mod crypto;
mod error;
mod format;
mod geometry;
mod ids;
mod index;
mod read;
mod repository;
#[doc(hidden)]
pub mod seam;
mod secret;
mod statistics;
mod store;
mod summary;
mod time;
mod write;

pub use check::{CheckDepth, CheckReport, Damage, Leftovers, LostRange};
pub use error::{DamageLocation, Error, ErrorKind, Result};
pub use ids::{ChunkId, IndexId, KeySlotId, MachineId, PackId, PointId, RepositoryId};
pub use read::{
    AllocatedChunks, Chunk, DamagedPoint, DiskMap, DiskReader, MapEntry, PointDisk, PointInfo, PointListing,
    RestorePoint,
};
pub use repository::{InitOptions, Limits, Repository};
pub use secret::{KeyFuture, KeyProvider, Secret};
pub use statistics::Statistics;
pub use store::{ChunkStore, LocalStore, ObjectName, StoreFuture, StoredObject};
pub use summary::DiskSummary;
pub use write::{DiskSpec, DiskWriter, PointDraft, PointWriter};
