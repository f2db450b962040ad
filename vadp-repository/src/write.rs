//! Writing restore points, see docs/repository-format.md, "Write order".

mod baseline;
mod disk;
mod packer;
mod pages;
mod point;
mod receipt;
mod run;

pub(crate) use packer::{Packers, full_pack_bytes};

pub use disk::{DiskSpec, DiskWriter};
pub use point::{PointDraft, PointWriter};
