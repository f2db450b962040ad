//! Changed block tracking: what changed between two snapshots, as a proof or not at all.
//!
//! A [`ChangedMap`] exists only when the windows that the server returned cover the disk exactly, in order. Whatever falls
//! short of that is an error, never a smaller map: four other tools lost data by taking the first page for the whole
//! answer. A server that refuses the change id is another matter: then the answer is [`Decision::Full`], with a reason.

mod audit;
mod change_id;
mod changed_map;
mod decision;
mod distrust;
mod status;
mod tracking;

pub use audit::Audit;
pub use change_id::{ChangeId, ChangeIdError};
pub use changed_map::{ChangedMap, CoverageError, MapBuilder, Window};
pub use decision::{Decision, Facts, ParentFacts, Reason, decide};
pub use distrust::{KNOWN, KnownFault, Signs, When};
pub use status::{AuditedDisk, Status, TrackedDisk, audit, status};
pub(crate) use status::{judge, signs_since};
pub(crate) use tracking::{Answer, end_epoch, query};
pub use tracking::{enable, is_enabled, reset};
