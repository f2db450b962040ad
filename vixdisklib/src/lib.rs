//! Safe VMware VDDK disks, loaded at run time.
//!
//! This crate drives `libvixDiskLib.so`, 6.5 to 9.x, on Linux x86-64: virtual disks on vCenter, on ESXi hosts and in local
//! files, read and written by sectors. It is not a VDDK and does not contain one: the library comes from VMware, is found in
//! a folder at run time, and is needed neither to build nor to test. It knows neither SOAP nor backups nor any runtime.
//!
//! ```text
//!   LibraryOptions ──open──▶ Library          one for each process, started once, never stopped
//!                              │ connect        ▲ control thread: start, connect, open, close, disconnect,
//!                              ▼                │ prepare and end access
//!   ConnectParams ─────────▶ Connection       ends when it and all its disks are gone
//!                              │ open
//!                              ▼
//!   OpenOptions ───────────▶ Disk ──────────▶ worker thread: everything else on the handle, in order
//!                              │ read, write, read_async, write_async, flush, allocated_blocks, metadata
//!                              ▼
//!                            close
//! ```
//!
//! # Example
//! ```no_run
//! use vixdisklib::{ConnectOptions, ConnectParams, Library, LibraryOptions, OpenOptions, Sectors};
//!
//! # fn main() -> vixdisklib::Result<()> {
//! let library = Library::open(LibraryOptions::new("/opt/vmware-vix-disklib-distrib"))?;
//! let connection = library.connect(&ConnectParams::local(), ConnectOptions::new().read_only(true))?;
//! let disk = connection.open("/disks/web.vmdk", OpenOptions::read_only())?;
//! let mut boot_sector = [0u8; 512];
//! disk.read(Sectors::ZERO, &mut boot_sector)?;
//! disk.close()?;
//! connection.close()
//! # }
//! ```
//!
//! # Threads
//! The foreign library has rules about threads, most of them unwritten (section 1.3 of the project's fact sheet). They are
//! kept here, not by the caller:
//! - Starting, connecting, opening, closing and disconnecting happen on one thread of this crate, one after the other.
//! - Each open disk has a thread of its own that makes all other calls on its handle. Requests queue in order, and their
//!   number is bounded.
//! - [`Library`], [`Connection`] and [`Disk`] are `Send` and `Sync`. Methods block, except for the futures of
//!   [`Disk::read_async`] and [`Disk::write_async`], which need no particular runtime.
//! - Dropping a connection or a disk blocks until it is closed. A `tracing` subscriber must not call this crate: it runs on
//!   whatever thread the library logs from.
//! - Start the library after the last `fork`.
//!
//! # Units
//! The library counts in sectors of 512 bytes: [`Sectors`]. Positions in bytes are [`ByteOffset`]. Buffers may be any memory;
//! [`AlignedBuf`] is what unbuffered transports want.
//!
//! # Errors
//! [`Error`] has a [kind](ErrorKind) to act on, the library's code, name and text, what is known about its causes, and the
//! warnings that the library logged during the operation. Passwords and cookies appear in none of it.

#![deny(unsafe_code)]

mod access;
mod config;
mod connection;
mod control;
mod disk;
mod error;
pub mod ffi;
mod library;
mod log;
mod params;
mod permits;
#[doc(hidden)]
pub mod sibling;
mod transport;
mod units;
mod version;

pub use access::{AccessGuard, CleanupReport};
pub use connection::{ConnectOptions, Connection};
pub use disk::{Adapter, AllocatedBlocks, Compression, Disk, DiskInfo, Geometry, IoMode, OpenOptions};
pub use error::{CODES, CodeInfo, Error, ErrorKind, Result, lookup};
pub use ffi::{AlignedBuf, Since, SymbolInfo};
pub use library::{CallStatistics, Capability, Library, LibraryOptions};
pub use params::{ConnectParams, Credentials, RemoteBuilder, Thumbprint, VmSpec};
pub use transport::TransportMode;
pub use units::{ByteOffset, SECTOR_BYTES, SectorRange, Sectors};
pub use version::Version;
