//! Disks, snapshots and change tracking of the vSphere simulator.
//!
//! Two consumers use the same files at the same time, possibly from different processes: the SOAP server
//! (`vsphere-sim`) and the fake VixDiskLib (`fake-vddk`). So all state is in files and nothing authoritative is
//! cached: a disk may be snapshotted by one process between two reads of another. Small files are replaced in one
//! step; a disk opened for writing carries an operating system lock that dies with its process.
//!
//! ```text
//! vm.vmdk          vm-000001.vmdk            descriptors (text): content ids, parent, metadata
//! vm-flat.vmdk     vm-000001-delta.vmdk      data: sparse host files; a delta holds the grains written since
//!                  (or -sesparse.vmdk)
//! vm-ctk.vmdk      vm-000001-ctk.vmdk        change maps: for each grain the number of its last write
//!   base  <── parent ──  child (live top)
//! ```
//!
//! The parent of a linked clone is in another folder ([`volumes`]), which knows of it ([`sharing`]).
//!
//! It is not a VMDK library: it writes the few forms that ESXi has on its datastores, and reads those back. `qemu-img`
//! and `vadp-vmdk` read all of them (tests/foreign.rs). Change maps have a format of our own, described where they are
//! written: no client ever reads the real one. Everything is synchronous.
//!
//! ```
//! use sim_store::{Access, Disk, DiskSpec, Scope, snapshot, tracking};
//! # let folder = tempfile::tempdir()?;
//! let base = folder.path().join("vm.vmdk");
//! let disk = Disk::create(&base, &DiskSpec::thin(1 << 30))?;
//! disk.write_at(4096, b"before the snapshot")?;
//! drop(disk);
//! tracking::enable(&base, None)?;
//!
//! let snapshot = snapshot::create(&base)?;
//! let disk = Disk::open(&snapshot.child, Access::ReadWrite, Scope::WholeChain)?;
//! disk.write_at(70_000, b"after it")?;
//!
//! let since = snapshot.change_id.expect("the disk is tracked").to_string();
//! let window = tracking::query(&snapshot.child, &since, 0, tracking::DEFAULT_MAX_EXTENTS)?;
//! assert_eq!((window.extents[0].offset, window.extents[0].length), (65536, 65536));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod chain;
pub mod crash;
mod datastore;
mod descriptor;
mod digest;
mod disk;
mod disk_uuid;
pub mod elsewhere;
mod error;
mod extent;
mod files;
pub mod guest;
mod hex;
mod import;
mod link;
mod provision;
pub mod sharing;
pub mod snapshot;
pub mod space;
pub mod state;
pub mod tracking;
pub mod volumes;

pub use chain::MAX_LINKS;
pub use datastore::{Datastore, DatastorePath};
pub use descriptor::{Cid, DeltaFormat, Descriptor, LinkKind, Provisioning, SECTOR};
pub use digest::Sha256;
pub use disk::{Access, Disk, DiskSpec, LinkInfo, MAX_CAPACITY, Scope, delete, grow};
pub use disk_uuid::DiskUuid;
pub use error::{Error, ErrorKind, Result};
pub use extent::Extent;
pub use provision::set_provisioning;
pub use space::Space;
