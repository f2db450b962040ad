//! Disaster recovery: a new machine from a restore point, where nothing is left of the old one, or beside it.
//!
//! ```text
//! capsule ─► plan: place, networks, datastores, identity ─► what is made, what is lost   (nothing was touched)
//!              │
//!              ▼ run
//!  journal: intent ─► machine without disks, marked ─► disks one by one ─► descriptor, data, read back ─► NVRAM
//!                                                                                                    │
//!     on, by choice ◄── tags, attributes, permissions ◄── journal settled ◄── late settings, mark gone ◄┘
//! ```
//!
//! Until it is whole, the machine bears a mark in its extra configuration, and an intent stands in the journal. A failure removes
//! it with its disks; what a process that died has left, the next [`Sweeper`](crate::Sweeper) removes. It is not switched on before it is
//! whole.

mod after;
mod choices;
mod disk;
mod half_made;
mod place;
mod plan;
mod run;
mod spec;

pub use choices::Recover;
pub use plan::{PlannedAdapter, PlannedRecovery, RecoverPlan, RecoveryDisk};
pub use run::{RecoverOutcome, RecoveredDisk};
pub use spec::{Design, DiskDesign, Identity, NewDisk, NewMachine, NewNetwork, Provisioning};

pub(crate) use half_made::{marked, owner_of, remove};
