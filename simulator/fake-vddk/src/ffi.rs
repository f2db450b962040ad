//! The C side: exported functions, and the only unsafe code of this crate.

#![allow(unsafe_code)]

mod arguments;
mod blocks;
mod connections;
mod disks;
mod lifetime;
pub(crate) mod log;
mod management;
mod memory;
mod proof;
#[cfg(test)]
mod tests;
mod transfers;
