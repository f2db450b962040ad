//! Backup and restore of VMware vSphere machines: the workflows that a backup product embeds.
//!
//! ```text
//! Backup ── journal ─► snapshot ─► decide: Incremental | Full(reason) ─► copy ─► commit ─► snapshot gone, journal settled
//!                                        │                                │
//!                                   ChangedMap                        pipeline: DiskSource ─► repository
//!                              (complete, or an error)                 (bounded bytes in flight)
//!
//! Restore ── plan: disks matched by key and uuid ─► snapshot ─► write what changed or differs ─► read back ─► keep, or undo
//!
//! Recover ── plan: place, identity, losses ─► marked machine ─► disk by disk ─► read back ─► NVRAM, late settings ─► whole
//! ```
//!
//! A backup is either visible and complete, or invisible. A snapshot that was taken is removed, or stands in the
//! [`Journal`], and the next run removes it, even after `kill -9`. A restore reports success only for bytes that it has read
//! back, and a recovery removes what it could not make whole.
//!
//! ```no_run
//! use vadp::{Backup, Journal, ProtectedVm, Restore, Vddk, VddkCredentials, VmSelector};
//! # async fn example(
//! #     client: vim_api::Client,
//! #     library: std::sync::Arc<vixdisklib::Library>,
//! #     repository: vadp_repository::Repository,
//! #     password: secrecy::SecretString,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let vm = ProtectedVm::resolve(&client, &VmSelector::Name("web-01".into())).await?;
//! let vddk = Vddk::new(library, VddkCredentials::password("backup@vsphere.local", password));
//! let journal = Journal::open("/var/lib/my-backup/journal")?;
//! let done = Backup::incremental(&vm, &repository, &vddk, &journal).run(|event| println!("{event:?}")).await?;
//! for disk in &done.disks {
//!     println!("disk {}: {}, {} bytes read", disk.key, disk.decision, disk.read);
//! }
//! Restore::revert(&done.point, &vm, &vddk, &journal).plan().await?.run(|_| ()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! All futures are `Send` and want a tokio runtime with threads: VixDiskLib blocks.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cbt;
#[cfg(feature = "files")]
pub mod files;
pub mod privileges;
pub mod recover;
pub mod transport;

mod backup;
mod cancel;
mod compare;
mod eligibility;
mod error;
mod extent;
mod flow;
mod held;
mod journal;
mod machine;
mod pipeline;
mod preflight;
mod progress;
mod restore;
mod resume;
mod snapshot;
mod stored;
mod throttle;
mod verify;

pub use backup::{Backup, BackupOutcome, BackupPlan, DiskOutcome, PlannedDisk};
pub use cancel::CancelToken;
pub use eligibility::{Obstacle, UnprotectedDisk};
pub use error::{Error, ErrorKind};
pub use extent::{ByteRange, Extents};
pub use flow::Flow;
pub use journal::{Entry, Intent, Journal};
pub use machine::{ProtectedVm, VmIdentity, VmSelector};
pub use preflight::{Finding, Level, Preflight, PreflightReport, Topic};
pub use progress::{Event, Phase};
pub use recover::Recover;
pub use restore::{PowerPolicy, Restore, RestoreOutcome, RestorePlan, RestoredDisk, TentativeRestore};
pub use snapshot::{
    Consistency, Consolidation, ForeignSnapshot, Quiesce, QuiescePolicy, SnapshotAttempt, Sweeper, Swept,
    VssBackup, VssContext, VssSpec,
};
pub use stored::{DiskMetadata, MachineMetadata};
pub use throttle::{Throttle, TimeOfDay};
pub use transport::{Vddk, VddkCredentials};
pub use verify::Verify;

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
