//! Hosted sparse extents, `KDMV`: monolithicSparse, the parts of a split sparse disk, streamOptimized.

pub(crate) mod header;
