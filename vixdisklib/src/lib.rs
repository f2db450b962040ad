//! Safe VMware VDDK disks, loaded at run time.
//!
//! This crate drives `libvixDiskLib.so`, 6.5 to 9.x, on Linux x86-64: virtual disks on vCenter, on ESXi hosts and in local
//! files, read and written by sectors. It is not a VDDK and does not contain one: the library comes from VMware, is found in
//! a folder at run time, and is needed neither to build nor to test. It knows neither SOAP nor backups nor any runtime.
//!
//! ```text
//!   LibraryOptions ──open──▶ Library          in a worker process, or in this one
//!                              │ connect        ▲ control thread: start, connect, open, close, disconnect,
//!                              ▼                │ prepare and end access
//!   ConnectParams ─────────▶ Connection       ends when it and all its disks are gone
//!                              │ open
//!                              ▼
//!   OpenOptions ───────────▶ Disk ──────────▶ a thread for it: everything else on the handle, in order
//!                              │ read, write, read_async, write_async, flush, allocated_blocks, changed_areas, metadata
//!                              ▼
//!                            close
//! ```
//!
//! # Example
//! ```no_run
//! use vixdisklib::{ConnectOptions, ConnectParams, Library, LibraryOptions, OpenOptions, Sectors};
//!
//! fn main() -> vixdisklib::Result<()> {
//!     vixdisklib::worker::serve_if_asked();
//!     let library = Library::open(LibraryOptions::new("/opt/vmware-vix-disklib-distrib"))?;
//!     let connection = library.connect(&ConnectParams::local(), ConnectOptions::new().read_only(true))?;
//!     let disk = connection.open("/disks/web.vmdk", OpenOptions::read_only())?;
//!     let mut boot_sector = [0u8; 512];
//!     disk.read(Sectors::ZERO, &mut boot_sector)?;
//!     disk.close()?;
//!     connection.close()
//! }
//! ```
//!
//! # Processes
//! VixDiskLib runs in a worker process, so that its libraries do not meet the program's, and what it crashes or hangs is not
//! the program. [`worker`] says which program that is, and why `main` above begins as it does. With
//! [`LibraryOptions::in_process`] it is loaded into this process. Everything else is the same for both.
//!
//! # Threads
//! The foreign library has rules about threads, most of them unwritten (section 1.3 of the project's fact sheet). They are
//! kept here, not by the caller, and the same in a worker process:
//! - Starting, connecting, opening, closing and disconnecting happen on one thread of this crate, one after the other.
//! - Creating, cloning, growing, checking, renaming and deleting disks happen there too, since they open and close disks
//!   inside: while one of them runs, no other disk can be opened or closed. What hears of their progress runs on the caller's
//!   own thread, never below C.
//! - Each open disk has a thread of its own that makes all other calls on its handle. Requests queue in order, and their
//!   number is bounded. While the control thread works on an open disk (child, shrink, attach) that thread waits.
//! - [`Library`], [`Connection`] and [`Disk`] are `Send` and `Sync`. Methods block, except for the futures of
//!   [`Disk::read_async`] and [`Disk::write_async`], which need no particular runtime.
//! - Dropping a connection or a disk blocks until it is closed. A `tracing` subscriber must not call this crate: it runs on
//!   whatever thread the library logs from.
//! - In process, start the library after the last `fork`.
//!
//! # Units
//! The library counts in sectors of 512 bytes: [`Sectors`]. Positions in bytes are [`ByteOffset`]. Buffers may be any memory;
//! [`AlignedBuf`] is what unbuffered transports want.
//!
//! # What runs where
//! Creating, growing, shrinking, defragmenting, checking, deleting and attaching are for disks on this machine; over a
//! connection to a server they are refused before the library is asked. First-class disks want VDDK 6.7, folders of datastores
//! 8.0.1, certificates and changed areas 9.0; older libraries are not asked either. `GetConnectParams` and
//! `GetConnectionFromDisk` have no method here: the caller has the parameters, a disk keeps its connection, and nobody
//! documents who owns what they give.
//!
//! # Errors
//! [`Error`] has a [kind](ErrorKind) to act on, the library's code, name and text, what is known about its causes, and the
//! warnings that the library logged during the operation. Passwords and cookies appear in none of it.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("vixdisklib is for Linux: VDDK and its worker process are driven nowhere else");

mod access;
mod config;
mod connection;
mod control;
mod create;
mod disk;
mod engine;
mod error;
pub mod ffi;
mod isolation;
mod library;
mod log;
mod management;
mod params;
mod permits;
mod progress;
#[doc(hidden)]
pub mod sibling;
mod transport;
mod units;
mod version;
mod wait;
mod wire;
pub mod worker;

pub use access::{AccessGuard, CleanupReport};
pub use connection::{ConnectOptions, Connection};
pub use create::{CreateSpec, DiskType, HardwareVersion};
pub use disk::{Adapter, AllocatedBlocks, Compression, Disk, DiskInfo, Geometry, IoMode, OpenOptions};
pub use error::{CODES, CodeInfo, Error, ErrorKind, Result, lookup};
pub use ffi::{AlignedBuf, Since, SymbolInfo};
pub use isolation::TimeLimits;
pub use library::{CallStatistics, Capability, Library, LibraryOptions};
pub use params::{
    ConnectParams, Credentials, DatastoreFolder, RemoteBuilder, StorageObject, Thumbprint, VmSpec,
};
pub use transport::TransportMode;
pub use units::{ByteOffset, SECTOR_BYTES, SectorRange, Sectors};
pub use version::Version;
