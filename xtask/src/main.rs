//! The workspace's own chores: regenerate what is generated, and hold the house rules.
//!
//! `cargo xtask codegen [--check]`, `cargo xtask bindings [--check]`, `cargo xtask tidy`.
#![forbid(unsafe_code)]

mod bindings;
mod codegen;
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
    /// Write vim-api/src/generated from the WSDL set in vmware-vim-codegen/input.
    Codegen {
        /// Change nothing; fail if the committed files are not what the generator gives.
        #[arg(long)]
        check: bool,
    },
    /// Write vixdisklib/src/ffi/bindings.rs from our own header of the VDDK interface. Needs libclang.
    Bindings {
        /// Change nothing; fail if the committed file is not what bindgen gives.
        #[arg(long)]
        check: bool,
    },
    /// Check the house rules over every tracked file, and print the figures.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Codegen { check } => codegen::run(check),
        Chore::Bindings { check } => bindings::run(check),
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
