//! The boundary to VixDiskLib, and the only place of this crate with unsafe code.
//!
//! Public because the fake library of this project's simulator exports functions of exactly these types. It is the
//! binary interface of a foreign library and changes with it; programs use the safe API of the crate's root.

#![allow(unsafe_code)]

mod access;
mod aligned;
mod batch;
#[allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::unreadable_literal,
    clippy::useless_transmute
)]
pub mod bindings;
mod connection;
mod disk;
#[cfg(target_pointer_width = "64")]
mod layout;
mod library;
mod loader;
mod management;
mod process;
mod shared;
mod stats;
mod symbols;
mod trampoline;

pub use aligned::AlignedBuf;
pub use symbols::{Since, Symbol, SymbolInfo, Table, raw};

pub(crate) use batch::{Batch, Direction, Failure, Piece};
pub(crate) use connection::{Block, ParamsBlock, RawConnection};
pub(crate) use disk::{RawChanges, RawDisk, RawInfo};
pub(crate) use library::{Api, CallError};
pub(crate) use loader::{load, open as open_library};
pub(crate) use process::{end_at_once, inherit, prepare};
pub(crate) use shared::{Mapping, PAGE, SharedFile};
pub(crate) use stats::Missing;
pub(crate) use trampoline::log_callbacks;
