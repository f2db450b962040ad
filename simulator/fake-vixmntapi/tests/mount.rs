//! The wrapper and the fake against each other, through the real `dlopen` path: one process, one library, many disks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

#[path = "mount/bad_input.rs"]
mod bad_input;
#[path = "mount/files.rs"]
mod files;
#[path = "mount/order.rs"]
mod order;
#[path = "mount/snapshot.rs"]
mod snapshot;
#[path = "mount/world.rs"]
mod world;
