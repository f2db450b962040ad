//! streamOptimized: the compressed form in which disks travel (docs/vmdk.md, "streamOptimized").
//!
//! A file that can be sought in opens as a [`Disk`](crate::Disk) like every other. What comes through a pipe is read by a
//! [`StreamReader`], and written by a [`StreamWriter`].

mod deflate;
mod read;
mod record;
mod told;
mod write;

pub use read::{Grain, StreamReader};
pub(crate) use record::read_packed;
pub use write::{StreamOptions, StreamSummary, StreamWriter};
