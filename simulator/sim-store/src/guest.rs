//! What a guest does to its disks: recomputable patterns, and a real file system with real files.

pub mod cursor;
pub mod image;
mod pattern;
mod random;

pub use cursor::DiskCursor;
pub use pattern::{expected_sector, write_pattern};
