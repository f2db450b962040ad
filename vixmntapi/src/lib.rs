//! Mounts the volumes of VMware VDDK disks, so that single files can be read from them.
//!
//! This crate drives `libvixMntapi.so.1` of a VDDK kit, 6.5 to 9.x, on Linux x86-64, over connections of the crate
//! `vixdisklib`. The library comes from VMware, is found beside VixDiskLib at run time, and is needed neither to build nor to
//! test. VixMntapi works on the VixDiskLib of its own process, so that one is opened with `LibraryOptions::in_process`. It shows a disk as a flat file through FUSE, puts loop devices over its partitions, and has the kernel mount what the
//! kernel can: this crate never reads a file system.
//!
//! ```text
//!   vixdisklib::Library ──▶ MountApi            started once for each process, after VixDiskLib, from the same kit
//!                              │ open_disks       (preflight: what does this machine lack?)
//!   vixdisklib::Connection ─▶ DiskSet           one at a time; keeps the connection open
//!                              │ volumes          info: a flat file of the whole disk
//!                              ▼
//!                            Volumes            borrowed from the set; os_info (mounts!)
//!                              │ get, iter
//!                              ▼
//!                            Volume             borrowed from the list; info, info_ex
//!                              │ mount
//!                              ▼
//!                            MountedVolume      borrowed from the list; path() is a folder: std::fs does the rest
//! ```
//!
//! # Example
//! ```no_run
//! use vixdisklib::{ConnectOptions, ConnectParams, Library, LibraryOptions};
//! use vixmntapi::{Access, MountApi, MountOptions};
//!
//! # fn main() -> vixmntapi::Result<()> {
//! let library = Library::open(LibraryOptions::new("/opt/vmware-vix-disklib-distrib").in_process())?;
//! let connection = library.connect(&ConnectParams::local(), ConnectOptions::new().read_only(true))?;
//! let mounting = MountApi::open(&library, MountOptions::new())?;
//! let mut set = mounting.open_disks(&connection, &["/disks/web.vmdk"], Access::ReadOnly)?;
//! let volumes = set.volumes()?;
//! for volume in volumes.iter() {
//!     match volume.mount(Access::ReadOnly) {
//!         Ok(mounted) => println!("{:?}: {}", volume.info()?.kind, mounted.path().display()),
//!         Err(error) => println!("volume {} has no files for us: {error}", volume.index()),
//!     }
//! }
//! drop(volumes);
//! set.close()
//! # }
//! ```
//!
//! # Order
//! The library wants what it gave back in the opposite order: volumes dismounted, infos and handles freed, the set closed,
//! the connection ended, itself ended, and only then VixDiskLib. Types keep that. A mounted volume cannot outlive its list:
//! ```compile_fail,E0505
//! # fn f(mut set: vixmntapi::DiskSet) -> vixmntapi::Result<()> {
//! let volumes = set.volumes()?;
//! let first = volumes.get(0).unwrap();
//! let mounted = first.mount(vixmntapi::Access::ReadOnly)?;
//! drop(volumes);
//! println!("{}", mounted.path().display());
//! # Ok(()) }
//! ```
//! nor a list its set, and a set has one list at a time:
//! ```compile_fail,E0505
//! # fn f(mut set: vixmntapi::DiskSet) -> vixmntapi::Result<()> {
//! let volumes = set.volumes()?;
//! set.close()?;
//! println!("{}", volumes.len());
//! # Ok(()) }
//! ```
//! ```compile_fail,E0499
//! # fn f(mut set: vixmntapi::DiskSet) -> vixmntapi::Result<()> {
//! let one = set.volumes()?;
//! let two = set.volumes()?;
//! println!("{} {}", one.len(), two.len());
//! # Ok(()) }
//! ```
//! Underneath, each part holds the one that it came from, so that a value which is leaked on purpose (`mem::forget`) keeps
//! open what it needs, instead of leaving handles that point nowhere. What is dropped is given back, and a failure then is
//! logged; `close` and `dismount` report it.
//!
//! # Threads
//! Every call into the library is made on the control thread of `vixdisklib`. VixMntapi opens and closes disks inside its own
//! calls, and such calls must be serialised with every other open and close of the process, on one thread. So a mount that
//! takes long holds up connects and opens elsewhere in the program, but no reads and writes. All types are `Send` and
//! `Sync`: handles are names that nobody but the control thread uses. Methods and drops block.
//!
//! # Limits on Linux
//! - Root, FUSE, loop devices, `/var/run/vmware/fuse` and `umount` are needed: [`preflight`] says what is missing, and
//!   [`MountApi::open`] refuses to begin without.
//! - One disk in a set, one set in a process ([`MountApi::open_disks`]), one program on a machine (code 24014).
//! - LVM, swap, extended containers and dynamic disks are not mounted, nor are encrypted and compressed disks. Which file
//!   systems are is the kernel's matter; VMware names ext2, ext3 and ext4.
//! - A snapshot's disk is mounted read-only, and not reverted to while it is. A running machine's disk is not mounted, its
//!   snapshot's is.
//! - A kit before 6.7.1 mounts over `file` and NBD only, and logs nothing.
//! - `VixMntapi_OpenDiskSet`, which takes open disks, exists on Windows only, and is not offered here.
//!
//! # Errors
//! [`Error`] is that of `vixdisklib`: the codes 24000 to 24322 are in its table, with what to check.

#![deny(unsafe_code)]

mod api;
mod disk_set;
pub mod ffi;
mod info;
mod preflight;
mod volume;

pub use api::{MountApi, MountOptions};
pub use disk_set::{DiskSet, DiskSetInfo};
pub use ffi::{Since, SymbolInfo};
pub use info::{OsFamily, OsInfo, VolumeInfo, VolumeInfoEx, VolumeKind, VolumeSizes};
pub use preflight::{Requirement, preflight};
pub use vixdisklib::{Error, ErrorKind, Result};
pub use volume::{MountedVolume, Volume, Volumes};

/// Whether a disk or a volume is only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing on the disk changes.
    ReadOnly,
    /// What is written through the mount is written to the disk.
    ReadWrite,
}
