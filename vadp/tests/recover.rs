//! Machines made anew from restore points, held against what they were: bytes as the simulator's own files have them, configurations
//! property by property.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;

#[allow(dead_code)]
#[path = "workflow/oracle.rs"]
mod oracle;

#[path = "recover/configurations.rs"]
mod configurations;
#[path = "recover/failures.rs"]
mod failures;
#[path = "recover/killed.rs"]
mod killed;
#[path = "recover/likeness.rs"]
mod likeness;
#[path = "recover/machines.rs"]
mod machines;
#[path = "recover/scene.rs"]
mod scene;
