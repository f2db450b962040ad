//! What is in a VMDK, what is wrong with it, and turning it into another one.
//!
//! ```text
//! cargo run --release -p vadp-vmdk --example vmdk -- info disk.vmdk
//! cargo run --release -p vadp-vmdk --example vmdk -- map --json disk-000003.vmdk
//! cargo run --release -p vadp-vmdk --example vmdk -- convert --to streamOptimized disk.vmdk disk-export.vmdk
//! curl https://.../disk.vmdk | cargo run --release -p vadp-vmdk --example vmdk -- convert --to raw - disk.raw
//! ```

mod check;
mod convert;
mod diff;
mod info;
mod map;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmdk::{EntryOne, Journal, OpenOptions, Policy, Unmapped};

/// Works on VMDK disks: descriptors, sparse, flat, streamOptimized, snapshots of ESXi, and chains of all of these.
#[derive(Parser)]
#[command(name = "vmdk")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows what a disk is: capacity, links, extents, geometry.
    Info {
        #[command(flatten)]
        disk: DiskArguments,
    },
    /// Lists what each range of a disk is (data, zero, unallocated), and which link has it.
    Map {
        #[command(flatten)]
        disk: DiskArguments,
    },
    /// Copies a disk, with all of its parents, into another format.
    Convert(convert::Arguments),
    /// Finds what is wrong with a disk's files; changes nothing unless told.
    Check(check::Arguments),
    /// Compares what two disks have, and lists the ranges where that differs. The status is 1 if there are any.
    Diff(diff::Arguments),
    /// Copies a disk into one that needs no parent, in the format of its base unless told.
    Flatten(convert::FlattenArguments),
}

#[derive(Args, Clone)]
struct DiskArguments {
    /// The disk's descriptor, or the file if it has its own.
    path: PathBuf,
    #[command(flatten)]
    open: OpenArguments,
    /// Prints one JSON object instead of a text.
    #[arg(long)]
    json: bool,
}

/// How disks are opened.
#[derive(Args, Clone)]
struct OpenArguments {
    /// Lets extents and parents be outside of the disk's folder. For descriptors that you trust.
    #[arg(long)]
    follow_outside: bool,
    /// Leaves out the parents.
    #[arg(long)]
    without_parents: bool,
    /// What an undeclared table entry 1 is; by default it is refused.
    #[arg(long, value_enum)]
    entry_one: Option<EntryOneChoice>,
    /// What an unmapped grain of SESparse is; by default it is refused.
    #[arg(long, value_enum)]
    unmapped: Option<UnmappedChoice>,
    /// Reads SESparse files without the changes in their journals.
    #[arg(long)]
    ignore_journal: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum EntryOneChoice {
    Zero,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnmappedChoice {
    Zero,
    Parent,
}

impl OpenArguments {
    fn options(&self) -> OpenOptions {
        let mut policy = Policy::default();
        if self.entry_one.is_some() {
            policy.entry_one = EntryOne::Zero;
        }
        policy.unmapped = match self.unmapped {
            None => policy.unmapped,
            Some(UnmappedChoice::Zero) => Unmapped::Zero,
            Some(UnmappedChoice::Parent) => Unmapped::Parent,
        };
        if self.ignore_journal {
            policy.journal = Journal::Ignore;
        }
        OpenOptions::new()
            .follow_outside(self.follow_outside)
            .without_parents(self.without_parents)
            .policy(policy)
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Info { disk } => info::run(&disk),
        Command::Map { disk } => map::run(&disk),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Flatten(arguments) => convert::flatten(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
