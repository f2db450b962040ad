//! What a guest does to its disks: recomputable patterns, a guest that works by itself, and a real file system with real files.

pub mod cursor;
pub mod image;
mod pattern;
mod random;
pub mod writer;

pub use cursor::DiskCursor;
pub use pattern::{expected_sector, write_pattern};
