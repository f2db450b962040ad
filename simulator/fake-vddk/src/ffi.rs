//! The C side: exported functions, and the only unsafe code of this crate.

#![allow(unsafe_code)]

mod arguments;
mod blocks;
mod connections;
pub(crate) mod crash;
mod disks;
mod lifetime;
pub(crate) mod log;
mod management;
pub(crate) mod memory;
pub(crate) mod origin;
mod proof;
#[cfg(test)]
mod tests;
mod transfers;
