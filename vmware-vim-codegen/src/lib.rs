//! Turns the vSphere WSDL into the Rust of vim-api.
//!
//! ```text
//! vim.wsdl, *.xsd ──┐
//!                   ├─ load ─> Model ─ emit ─> Rust
//! vim-sidecar.json ─┘
//! ```
//!
//! Services beside the main one, such as storage policies, are loaded on top of it and come out in the same tables.
//!
//! A tool, never a build dependency: what it writes is committed. The WSDL says what travels; the sidecar adds what a
//! WSDL cannot say (which managed object owns an operation, managed properties, what a reference points to, since
//! when). `input/PROVENANCE.md` tells where both come from.
#![forbid(unsafe_code)]

pub mod emit;
pub mod model;

mod error;
mod generate;
mod load;
mod schema;
mod sidecar;
mod wsdl;

pub use error::{Error, ErrorKind, Result};
pub use generate::{Options, Report, generate};
pub use load::{load, load_beside};
