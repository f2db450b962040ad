//! A `libvixDiskLib.so` over the simulator's disks.
//!
//! The shared library that this crate builds exports the whole VixDiskLib interface, so that the production path (`dlopen`,
//! C structures, foreign threads, log callbacks with real `va_list`s) runs without VMware's kit. It is a stand-in for tests
//! and demonstrations, not a VDDK: it knows only the machines of this project's simulator and local disks.
//!
//! ```text
//!   KIT/lib64/libvixDiskLib.so.8.0.3 this library, put there by install() or install_version()
//!   KIT/servers/HOST_PORT.json       which data folder stands behind host:port (written by the simulated server)
//!   KIT/faults.json                  failures to play for local disks and InitEx
//!   DATA/inventory.json              users, sessions, machines, snapshots, datastores
//!   DATA/faults.json                 failures to play for this server
//!   DATA/access.json                 machines prepared with PrepareForAccess, by whom
//! ```
//!
//! # What it does
//! - Logs in with a password or a session cookie (wrong: 35), checks the thumbprint when a disk is opened (wrong or missing:
//!   1), resolves machine, snapshot and `[datastore] path` (unknown: 25 or 4), refuses a second writer and writing to a
//!   running machine's disk or a snapshot's (15).
//! - Reads and writes, synchronously or on a thread of its own, and refuses both on one handle (26000); queries of allocated
//!   blocks with the strict alignment rules (3); information, metadata, transport modes, access, texts of errors.
//! - Local disks are files of every form that the crate `vmdk` reads. They are created (all types but 6 and 8), cloned (from
//!   servers too, to streams too), given children, grown, shrunk, defragmented, renamed, checked, attached and deleted. A disk
//!   that is open for writing has a lock file `NAME.vmdk.lck`; a second writer gets 15, one that a crash left is taken over.
//! - Changed areas of a server's disks by `OpenEx` and `QueryChangedAreas`, over the simulator's change tracking.
//! - Writes log lines like the real library's, the two that other programs parse among them.
//!
//! # Releases
//! It is one of five releases, the one in its own file's name: [`install_version`] puts it into a kit under that name, without
//! the functions that the release lacks. Sizes of structures, kinds of specifications, codes and texts follow the release.
//!
//! # Rules
//! What the real library documents and does not check is checked here. A broken rule is a line in the log; with the line
//! `fakeVddk.strict = "1"` in the configuration file of InitEx it ends the process with a message. The rules, and the other
//! lines, are in `docs/simulator.md`.
//!
//! # Faults
//! Rules of [`sim_store::state::FaultRule`] name a function without its prefix (`Open`, `Flush`, ...) and say what it suffers:
//! codes, delays, hangs, crashes, lost sessions, other transports, another order. `docs/simulator-faults.md` has them all.
//!
//! # Limits
//! First-class disks are found by id, datastore and snapshot. Certificates are taken, and there are none to compare.
//! Strict mode knows nothing of buffers that a client frees too early, nor of machines that stay prepared.
//! One process may start it once. All data goes through the files of `sim-store`; the library holds no state that another
//! process could not see, except open handles.

#![deny(unsafe_code)]

mod access;
mod allocated;
mod changed;
mod code;
mod connection;
mod content;
mod disk;
mod elf;
mod faults;
mod ffi;
mod hotadd;
mod install;
mod library;
mod local;
mod open;
mod queue;
mod release;
mod settings;
mod strict;
mod transport;

pub use install::{install, install_lacking, install_version, library_file};
pub use release::Release;
