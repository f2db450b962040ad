//! Files in the disks of virtual machines, read-only, without mounting anything and without the guest.
//!
//! ```text
//! Disks (any ReadAt: restore points, VMDKs, files)
//!   └─ volumes: partitions (MBR, GPT), logical volumes (LVM2), whole disks
//!        └─ Volume::open ─► Tree: find, stat, list, walk, open, xattrs ─► CopyOut::run ─► a folder here
//!                             └─ FileSystem: ext2/3/4, XFS, btrfs, NTFS, FAT, exFAT
//! ```
//!
//! A journal that was not written back, as in every snapshot of a running machine, is replayed in memory. What this crate cannot read
//! right it refuses by name: it never hands out fewer bytes than a file has, or others. What is on a disk is the work of strangers: every field
//! is checked, memory is bounded, loops end, and links and names lead nowhere outside the target.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vadp_files::{CopyOut, Disks};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut disks = Disks::new();
//! disks.add("disk", Arc::new(std::fs::File::open("disk.raw")?));
//! for volume in disks.volumes()?.iter().filter(|volume| volume.kind().is_readable()) {
//!     let tree = volume.open()?;
//!     if tree.stat("etc/hosts").is_ok() {
//!         CopyOut::new().run(&tree, "etc", "restored-etc".as_ref())?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything here blocks its thread.
#![forbid(unsafe_code)]

mod btrfs;
mod checksum;
mod clusters;
#[cfg(unix)]
mod copy_out;
mod detect;
mod device;
mod disks;
mod error;
mod exfat;
mod ext;
mod fat;
mod fields;
mod file;
mod lvm;
mod ntfs;
mod partition;
mod system;
mod tree;
mod xfs;

#[cfg(unix)]
pub use copy_out::{Copied, CopyOut, Failure};
pub use disks::{Disks, Volume};
pub use error::{Error, ErrorKind, Result};
pub use file::File;
pub use system::{Entry, FileSystem, Info, Kind, Node, NodeKind, Stat, Time, Xattr};
pub use tree::{Step, Tree};
pub use vmdk::ReadAt;
