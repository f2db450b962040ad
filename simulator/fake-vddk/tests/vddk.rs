//! The wrapper and the fake against each other, through the real `dlopen` path: one process, one library, many servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "vddk/access.rs"]
mod access;
#[path = "vddk/asynchronous.rs"]
mod asynchronous;
#[path = "vddk/blocks.rs"]
mod blocks;
#[path = "vddk/library.rs"]
mod library;
#[path = "vddk/login.rs"]
mod login;
#[path = "vddk/metadata.rs"]
mod metadata;
#[path = "vddk/transfer.rs"]
mod transfer;
#[path = "vddk/world.rs"]
mod world;
