//! Comparative benchmarks.
//!
//! Each bench is a program (`harness = false`) that compares two ways in the same run and takes turns between them, so that
//! what else the machine does hits both. It prints a table for people; with `--json` its last line is one JSON object of
//! figures for programs. Ratios are what to compare between machines, seconds are not.
#![forbid(unsafe_code)]

pub mod image;
pub mod inventory;
pub mod stages;

mod answer;
mod backup_set;
mod options;
mod place;
mod process;
mod turns;

pub use answer::decode;
pub use backup_set::BACKUP_SET;
pub use options::Options;
pub use place::roomy_folder;
pub use process::{MEASURE, Usage, ourselves, timed};
pub use turns::{Best, take_turns};

/// Whatever keeps a bench from measuring.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Keeps a figure for `--json`.
pub fn keep(
    figures: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    value: impl Into<serde_json::Value>,
) {
    figures.insert(name.to_owned(), value.into());
}
