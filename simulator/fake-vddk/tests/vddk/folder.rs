//! The folder of the shared cases, and what the fake library makes in it beyond them.

use vixdisklib::DiskType;

pub(crate) use super::local::folder::{Folder, SECTORS};

/// The types that can be created.
pub(crate) const CREATABLE: [DiskType; 6] = [
    DiskType::MonolithicSparse,
    DiskType::MonolithicFlat,
    DiskType::SplitSparse,
    DiskType::SplitFlat,
    DiskType::VmfsFlat,
    DiskType::VmfsThin,
];
