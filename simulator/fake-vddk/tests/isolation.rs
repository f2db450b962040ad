//! What only a worker process can do: die, hang, and leave the program unharmed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "isolation/death.rs"]
mod death;
#[path = "isolation/memory.rs"]
mod memory;
#[path = "isolation/program.rs"]
mod program;
#[path = "isolation/secrets.rs"]
mod secrets;
#[path = "isolation/stage.rs"]
mod stage;
