//! The workspace's own chores: regenerate what is generated, and hold the house rules.
//!
//! `cargo xtask codegen [--check]`, `cargo xtask bindings [--check]`, `cargo xtask field-tables`, `cargo xtask campaign
//! fuzz | disks | files | cbt | kills | repository`, `cargo xtask tidy`, `cargo xtask vddk-check DIR`.
#![forbid(unsafe_code)]

mod bindings;
mod campaign;
mod codegen;
mod field_tables;
mod tidy;
mod vddk_check;
mod workspace;

use std::path::PathBuf;
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
    /// Search for inputs that break something, for a bounded time.
    Campaign {
        #[command(subcommand)]
        search: Search,
    },
    /// Write the table of types that the tests of vim-api read, from a WSDL set.
    FieldTables {
        /// The folder that holds vim.wsdl.
        wsdl: PathBuf,
        /// The file to write.
        out: PathBuf,
        /// The WSDL file of a service beside, such as pbm.wsdl. May be given several times.
        #[arg(long)]
        beside: Vec<PathBuf>,
        /// Change nothing; fail if the committed file is not what the WSDL gives.
        #[arg(long)]
        check: bool,
    },
    /// Check the house rules over every tracked file, and print the figures.
    Tidy,
    /// Compare the headers of a VDDK kit with our description of the interface: what differs, what an older kit lacks, what a
    /// newer one has more. Fails if anything differs. Needs libclang.
    VddkCheck {
        /// The folder vmware-vix-disklib-distrib of an unpacked kit, or that of its headers.
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
enum Search {
    /// Changed block tracking of the simulator over the wire, in lives of a machine by chance
    /// (simulator/vsphere-sim/tests/cbt_model.rs).
    Cbt {
        /// Lives.
        #[arg(long, default_value_t = 500)]
        cases: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Disks that are written, stopped at any write, chained and streamed by chance (vmdk/tests).
    Disks {
        /// Cases of each property.
        #[arg(long, default_value_t = 5000)]
        cases: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Images of file systems with some bytes changed (vadp-files/tests/corrupt.rs).
    Files {
        /// Variants of each image.
        #[arg(long, default_value_t = 10_000)]
        variants: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Kill the simulator at any moment, and see what it has kept.
    Kills {
        /// Kills at random moments.
        #[arg(long, default_value_t = 300)]
        count: u32,
        /// Have qemu-img read every disk after each kill.
        #[arg(long)]
        qemu: bool,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Kill backups at every step and at random, and have them meet every fault that the simulator knows.
    Backup {
        /// Kills at random moments.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Kill restores at every step and at random: afterwards a machine is as it was, or restored.
    Restore {
        /// Kills at random moments.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Back up a machine incrementally through lives by chance: every restore point has to be the disks of its moment.
    Generations {
        /// Lives of a machine.
        #[arg(long, default_value_t = 200)]
        lives: u32,
        /// Steps of each.
        #[arg(long, default_value_t = 40)]
        steps: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Back up and prune by chance, with crashes and kills, beside an oracle.
    Repository {
        /// Lives of a repository.
        #[arg(long, default_value_t = 100)]
        lives: u32,
        /// Lives that end with a crash at each operation of the store.
        #[arg(long, default_value_t = 10)]
        crashes: u32,
        /// Runs of two writers and a pruner that are killed.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Repeat the run that printed this seed.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Run the fuzz targets in fuzz/, on Linux.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Run this one only.
        #[arg(long)]
        target: Option<String>,
        /// Where chance begins, as an earlier run printed it; else the clock says.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        seed: Option<u32>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Codegen { check } => codegen::run(check),
        Chore::Bindings { check } => bindings::run(check),
        Chore::Campaign { search: Search::Fuzz { seconds, target, seed } } => {
            campaign::fuzz(seconds, target.as_deref(), seed)
        }
        Chore::Campaign { search: Search::Backup { kills, seed } } => campaign::backup(kills, seed),
        Chore::Campaign { search: Search::Restore { kills, seed } } => campaign::restore(kills, seed),
        Chore::Campaign { search: Search::Generations { lives, steps, seed } } => {
            campaign::generations(lives, steps, seed)
        }
        Chore::Campaign { search: Search::Cbt { cases, seed } } => campaign::cbt(cases, seed),
        Chore::Campaign { search: Search::Disks { cases, seed } } => campaign::disks(cases, seed),
        Chore::Campaign { search: Search::Files { variants, seed } } => campaign::files(variants, seed),
        Chore::Campaign { search: Search::Kills { count, qemu, seed } } => campaign::kills(count, qemu, seed),
        Chore::Campaign { search: Search::Repository { lives, crashes, kills, seed } } => {
            campaign::repository(lives, crashes, kills, seed)
        }
        Chore::FieldTables { wsdl, out, beside, check } => field_tables::run(&wsdl, &beside, &out, check),
        Chore::Tidy => tidy::run(),
        Chore::VddkCheck { directory } => vddk_check::run(&directory),
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
