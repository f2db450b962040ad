//! The workspace's own chores: regenerate what is generated, and hold the house rules.
//!
//! `cargo xtask tidy` checks the house rules over every tracked file.
#![forbid(unsafe_code)]

mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the house rules over every tracked file, and print the figures.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not returned from main, which would add a backtrace that tells a developer nothing about a breach.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
