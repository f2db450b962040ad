//! The boundary to VixMntapi, and the only place of this crate with unsafe code.
//!
//! Public because the fake library of this project's simulator exports functions of exactly these types. It is the
//! binary interface of a foreign library and changes with it; programs use the safe API of the crate's root.

#![allow(unsafe_code)]

mod info;
mod library;
mod loader;
mod set;
mod symbols;
mod types;
mod volumes;

pub use symbols::{Since, Symbol, SymbolInfo, Table, raw};
pub use types::*;

pub(crate) use info::{RawOsInfo, RawVolumeInfo, RawVolumeInfoEx};
pub(crate) use library::{Api, CallError};
pub(crate) use loader::load;
pub(crate) use set::RawSet;
pub(crate) use volumes::{Mounted, RawVolumes};
