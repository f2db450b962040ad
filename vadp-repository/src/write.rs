//! Writing restore points, see docs/repository-format.md, "Write order".

mod baseline;
mod disk;
mod packer;
mod point;
mod receipt;
mod run;

pub(crate) use packer::Packer;
pub(crate) use run::PAGE_PACK_BYTES;

pub use disk::{DiskSpec, DiskWriter};
pub use point::{PointDraft, PointWriter};
