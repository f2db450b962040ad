//! Comparative benchmarks.
//!
//! Each bench is a program (`harness = false`) that compares two ways in the same run and takes turns between them, so that
//! what else the machine does hits both. It prints a table for people; with `--json` its last line is one JSON object of
//! figures for programs. Ratios are what to compare between machines, seconds are not.
#![forbid(unsafe_code)]

pub mod inventory;

mod answer;
mod backup_set;
mod options;
mod process;
mod turns;

pub use answer::decode;
pub use backup_set::BACKUP_SET;
pub use options::Options;
pub use process::Usage;
pub use turns::{Best, take_turns};
