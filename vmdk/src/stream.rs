//! streamOptimized: the compressed form in which disks travel (docs/vmdk.md, "streamOptimized").

mod record;

pub(crate) use record::read_packed;
