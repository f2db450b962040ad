//! The exported functions, and the calls to VixDiskLib: all unsafe code of this crate.

#![allow(unsafe_code)]

mod disk_library;
mod exports;
pub(crate) mod log;
mod memory;
mod outstanding;
#[cfg(test)]
mod tests;

pub(crate) use disk_library::{DiskLibrary, RawDisk};
pub use outstanding::{Outstanding, outstanding};
