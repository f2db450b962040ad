//! A `libvixMntapi.so.1` over the VixDiskLib of the same process, for tests and examples without VMware's.
//!
//! `fake_vddk::install` puts it into a kit when it was built. Like the real one it opens disks through `VixDiskLib_Open`, on
//! the connection that it is given, so it mounts whatever that VixDiskLib can open: the simulator's disks and local ones.
//! Unlike it, it needs no root, no FUSE and no loop devices (`vixmntapi::MountOptions::assume_ready`): volumes are copies.
//!
//! # What it does
//! - Reads MBRs with their extended partitions, and GPTs; lists volumes with their kind.
//! - "Mounts" FAT volumes: unpacks their files into a folder below `tmpDirectory` and makes a symbolic link to it, which is
//!   what `symbolicLink` says. Dismounting removes both.
//! - `GetDiskSetInfo` copies the disk into a sparse flat file, at the first asking.
//! - `GetOsInfo` mounts every volume that it can, looks for a folder `Windows`, and reads what to say from the file
//!   `Windows/simulated-os.json` in it; without such a folder it answers 24311.
//!
//! # What it refuses
//! | code | when |
//! |---|---|
//! | 3 | null pointers, no disk, several disks |
//! | 1000 | a handle that is not open (any more) |
//! | 16001 | not started, or ended |
//! | 24002, 24005, 24006 | VixDiskLib says that there is no such disk, that it is locked, anything else |
//! | 24004 | closing a set, or freeing its volumes, while one is mounted |
//! | 24007, 24010 | no partition table; no partition in it |
//! | 24009 | dismounting while a file in it is open in this process, unless by force |
//! | 24010, 24020 | mounting LVM, swap or dynamic volumes; a file system that is not FAT, or broken |
//! | 24014 | another process has a set open with the same `tmpDirectory` |
//! | 24022 | no VixDiskLib runs in this process |
//! | 24304, 24305 | dismounting what is not mounted, mounting what is |
//! | 24308 | the disk is open already; the volumes were listed already and not freed |
//! | 24322 | mounting for writing: what is written to a copy would not reach the disk |
//!
//! Calls that return nothing tell the log: freeing what was freed or never given, and `Exit` while a set is open, which is
//! then ignored.

#![deny(unsafe_code)]

mod code;
mod disk_set;
mod ffi;
mod library;
mod partitions;
mod system;

pub use ffi::{Outstanding, outstanding};
