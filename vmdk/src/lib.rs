//! VMDK disks in safe Rust, both ways: the virtual disks of VMware, as ESXi, vCenter, Workstation and Fusion write them.
//!
//! No vSphere, no async runtime, no C: files go in, the bytes of a guest's disk come out, and the other way round. What the bytes
//! of each format mean, and which public source says so, is written down in `docs/vmdk.md`.
//!
//! ```text
//!                       Create, create_child            Disk::write_all_at, flush, close
//!                               |                                   |
//!   Folder -- descriptor --> OpenOptions::open --> Disk = link -> link -> base
//!   (local, memory,  |                                   |
//!    yours)          +-- extents: flat, sparse,          +-- read_exact_at, map, Copy::run -> raw, another Disk
//!                        COWD, SESparse, stream          +-- check, repair, commit
//!
//!   io::Read  --> StreamReader  (streamOptimized, forwards only)        StreamWriter --> io::Write
//! ```
//!
//! | format | read | write |
//! |---|---|---|
//! | monolithicFlat, twoGbMaxExtentFlat, vmfs (thick, thin) | yes | yes |
//! | monolithicSparse, twoGbMaxExtentSparse (header 1 and 2) | yes | yes |
//! | streamOptimized | yes, also from a pipe | once, also to a pipe |
//! | vmfsSparse (COWD), seSparse: snapshots of ESXi | yes | no |
//! | vmfsRawDeviceMap and other device mappings, vSAN, vVol, encrypted | named in the error | no |
//!
//! - A chain is one disk. Each child names its parent by content id (CID); one whose parent was changed is refused.
//! - What public sources contradict each other about is refused, unless a [`Policy`] says what to do.
//! - Names in descriptors do not lead out of the [`Folder`]. Tables are read piece by piece, so memory is bounded whatever a file
//!   says, and nothing that a file says makes this crate panic.
//! - What was flushed survives: grains are written before the tables that lead to them.
//!
//! Sizes and offsets are bytes, but for what descriptors and headers count: [`Sectors`].

#![forbid(unsafe_code)]

mod backing;
mod check;
mod commit;
mod copy;
mod cowd;
mod create;
mod descriptor;
mod disk;
mod error;
mod extent;
mod folder;
mod geometry;
mod io;
pub mod name;
mod policy;
mod sesparse;
mod slots;
mod sparse;
mod stream;

pub use check::{Finding, Problem, Report, check, repair};
pub use commit::commit;
pub use copy::{Copy, Source};
pub use create::{Create, SPLIT_SECTORS, Variant, create_child, create_child_as};
pub use descriptor::{Access, Cid, CreateType, Descriptor, ExtentKind, ExtentLine};
pub use disk::{Disk, Link, Map, OpenOptions, Span, State};
pub use error::{Error, ErrorKind, Result};
pub use folder::{Folder, LocalFolder, MemoryFolder};
pub use geometry::{AdapterType, Geometry};
pub use io::{Memory, ReadAt, Window, WriteAt};
pub use policy::{EntryOne, Journal, Policy, Unmapped};
pub use stream::{Grain, StreamOptions, StreamReader, StreamSummary, StreamWriter};

/// Bytes of a sector. Everything in a VMDK counts in these, also on disks whose guest sees 4 KiB sectors.
pub const SECTOR: u64 = 512;

/// A number of sectors, as descriptors and headers have them.
pub type Sectors = u64;
