//! The bytes of every object, one file each, see docs/repository-format.md. No input or output happens here.

pub(crate) mod bytes;
pub(crate) mod config;
pub(crate) mod export;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod key_slot;
pub(crate) mod pack;
pub(crate) mod page;
pub(crate) mod point;

/// The format version that this crate reads and writes.
pub(crate) const VERSION: u16 = 1;
