//! The main job, from start to end: a machine is backed up, changes, is backed up incrementally, loses its data, and
//! gets it back, twice.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --json
//! cargo run --release --example quickstart -- --disk my.raw --keep ./out
//! ```
//!
//! It needs no vCenter and no VDDK: it starts the simulator, and speaks to it as to the real thing, over TLS and through
//! `dlopen`.

mod guest;
mod report;
mod show;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use vadp::{Backup, Journal, ProtectedVm, Restore, Vddk, VddkCredentials, VmSelector};

use report::{Report, timed};
use show::Show;
use stage::Stage;

/// Backs up a simulated machine, changes it, backs up the changes, destroys its data and restores it.
#[derive(Parser)]
struct Options {
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Protect a copy of this raw image instead of the built-in disks. May be given several times; the file itself is
    /// only read.
    #[arg(long, value_name = "FILE")]
    disk: Vec<PathBuf>,
    /// Leave datastore and repository in this folder, which must be empty or new.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    // VixDiskLib runs in a process of its own, which is this program too.
    vixdisklib::worker::serve_if_asked();
    tell()
}

#[tokio::main]
async fn tell() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: something is not as it was; see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The whole story. `false` when anything differs from what it should be.
async fn run(options: Options) -> anyhow::Result<bool> {
    let show = Show::new();
    let mut stage = Stage::set_up(&options.disk, options.keep.as_deref(), &show).await?;
    let mut report = Report::new(stage.capacity()?, stage.allocated()?);

    // What a program does once: connect, log in, load the disk library, open repository and journal.
    let client = stage.connect().await?;
    let vm = ProtectedVm::resolve(&client, &VmSelector::Name(stage::VM.into())).await?;
    let vddk = Vddk::new(stage.library()?, VddkCredentials::password(stage.user(), stage.password()));
    let repository = stage.repository().await?;
    let journal = Journal::open(stage.folder().join("journal"))?;

    let first_moment = stage.moment()?;
    show.headline("full backup");
    let (full, seconds) = timed(Backup::full(&vm, &repository, &vddk, &journal).run(show.events())).await;
    let full = full.context("the full backup failed")?;
    report.full(&full, seconds)?;

    show.headline("the guest changes about 1 %");
    report.guest_changed_bytes = stage.change()?;
    let second_moment = stage.moment()?;

    show.headline("incremental backup");
    let (incremental, seconds) =
        timed(Backup::incremental(&vm, &repository, &vddk, &journal).run(show.events())).await;
    let incremental = incremental.context("the incremental backup failed")?;
    report.incremental(&incremental, seconds)?;

    show.headline("the guest's data is destroyed, and the machine powered off");
    stage.destroy()?;
    stage.power_off(&vm).await?;

    let steps = [("first", &full.point, &first_moment), ("second", &incremental.point, &second_moment)];
    for (name, point, moment) in steps {
        show.headline(&format!("restore of the {name} restore point"));
        let plan = Restore::revert(point, &vm, &vddk, &journal)
            .plan()
            .await
            .context("the restore cannot be planned")?;
        let (outcome, seconds) = timed(plan.run(show.events())).await;
        let outcome = outcome.with_context(|| format!("the restore of the {name} restore point failed"))?;
        // The bytes are compared by the simulator's own reading of its disks, not by anything that wrote them.
        let differences = stage.compare(moment)?;
        differences.iter().for_each(|difference| show.line(difference));
        report.restore(point, &outcome, seconds, differences.is_empty());
    }

    report.journal_entries_left = journal.entries()?.len();
    report.snapshots_left = stage.snapshots_left()?;
    client.logout().await?;
    report.sessions_left = stage.sessions_left();
    let good = report.is_good();
    show.finish(&report, options.json)?;
    stage.tear_down(&show)?;
    Ok(good)
}
