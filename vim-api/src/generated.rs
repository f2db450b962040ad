//! What `cargo xtask codegen` writes. Nothing in the folder is edited by hand.

#[rustfmt::skip]
pub mod managed;
#[rustfmt::skip]
pub mod methods;
#[rustfmt::skip]
pub mod registry;
#[rustfmt::skip]
pub mod types;
#[rustfmt::skip]
mod versions;

pub(crate) use versions::{BESIDE, VERSIONS};
