//! VMDK disks in safe Rust, both ways.

#![forbid(unsafe_code)]

mod descriptor;
mod error;
mod geometry;
mod io;
pub mod name;
mod sparse;

pub use descriptor::{Access, Cid, CreateType, Descriptor, ExtentKind, ExtentLine};
pub use error::{Error, ErrorKind, Result};
pub use geometry::{AdapterType, Geometry};
pub use io::{Memory, ReadAt, Window, WriteAt};

/// Bytes of a sector. Everything in a VMDK counts in these, also on disks whose guest sees 4 KiB sectors.
pub const SECTOR: u64 = 512;

/// A number of sectors, as descriptors and headers have them.
pub type Sectors = u64;
