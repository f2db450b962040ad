//! Brings a machine back to a restore point, in place.
//!
//! ```text
//! cargo run --example restore
//! export VSPHERE_PASSWORD=... VADP_REPOSITORY_PASSWORD=...
//! cargo run --release --example restore -- --url https://vcenter.example.org/sdk --user me@vsphere.local \
//!     --kit /opt/vmware-vix-disklib-distrib --repository /srv/backups --journal /var/lib/my-backup/journal web-01 --plan
//! ```
//!
//! Without a server it backs up a machine of the simulator, has its guest write, and brings that back.

mod connect;

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use vadp::{
    Backup, Event, Journal, Phase, PowerPolicy, ProtectedVm, Restore, RestoreOutcome, RestorePlan, Vddk,
    VddkCredentials, Verify, VmSelector,
};
use vadp_repository::{BackupStore, InitOptions, MachineId, PointId, Repository, Secret, StoredPoint};
use vixdisklib::{Library, LibraryOptions};

/// Brings a machine's disks back to a restore point. Status 0 means that all of it was written and read back; otherwise the machine
/// is as it was, or the text says what to do.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// The machine's name.
    #[arg(default_value = "web-01")]
    machine: String,
    /// The unpacked VDDK. Needed for a server; the simulator has a fake one.
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// The repository. Its password is in VADP_REPOSITORY_PASSWORD.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Where it stands what is to be undone if this process dies. The same as that of the backups.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// The restore point; the machine's latest unless given.
    #[arg(long, value_name = "ID")]
    point: Option<String>,
    /// What is done with a machine that runs.
    #[arg(long, value_enum, default_value = "refuse")]
    power: Power,
    /// How long a guest may take to shut down.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    deadline: u64,
    /// How many percent of the chunks are read back afterwards.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    verify: u8,
    /// Compare all of each disk, whatever change tracking says.
    #[arg(long)]
    whole: bool,
    /// Leave the disk with this device key as it is; may be given several times.
    #[arg(long, value_name = "KEY")]
    leave_out: Vec<i32>,
    /// Say what would be done, and stop.
    #[arg(long)]
    plan: bool,
    /// Undo it once it is done: a rehearsal.
    #[arg(long)]
    rehearse: bool,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Power {
    Refuse,
    Shutdown,
    ShutdownThenOff,
    Off,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let scratch = tempfile::tempdir()?;
    let vm = ProtectedVm::resolve(&connection.client, &VmSelector::Name(options.machine.clone())).await?;
    let kit = connection.kit(options.kit.as_deref(), scratch.path())?;
    let (user, password) = options.server.credentials(&connection)?;
    let vddk = Vddk::new(Library::open(LibraryOptions::new(kit))?, VddkCredentials::password(user, password));
    let named = |folder: &Option<PathBuf>, name: &str| {
        folder.clone().with_context(|| format!("say with --{name} where it is"))
    };
    let (repository, journal) = match &connection.sim {
        None => {
            let password = env::var("VADP_REPOSITORY_PASSWORD").context("set VADP_REPOSITORY_PASSWORD")?;
            let folder = named(&options.repository, "repository")?;
            let repository = Repository::open_local(folder, &Secret::password(password)).await?;
            (repository, Journal::open(named(&options.journal, "journal")?)?)
        }
        Some(sim) => {
            let folder = scratch.path().join("repository");
            let repository =
                Repository::init_local(folder, &Secret::random()?, InitOptions::default()).await?;
            let journal = Journal::open(scratch.path().join("journal"))?;
            Backup::full(&vm, &repository, &vddk, &journal).run(|_| ()).await?;
            let guest = sim.vm(&options.machine)?;
            let key = guest.disks()?.first().context("the machine has no disk")?.key;
            guest.with_live_disk(key, |disk| disk.write_at(1 << 20, &[0x5a; 100 << 10]))??;
            (repository, journal)
        }
    };
    let point = find(&repository, &vm, &options).await?;
    let deadline = Duration::from_secs(options.deadline);
    // The simulator's machine runs, and nobody would miss it.
    let power = match options.power {
        Power::Refuse if connection.sim.is_some() => PowerPolicy::PowerOff,
        Power::Refuse => PowerPolicy::Refuse,
        Power::Shutdown => PowerPolicy::Shutdown { deadline },
        Power::ShutdownThenOff => PowerPolicy::ShutdownThenOff { deadline },
        Power::Off => PowerPolicy::PowerOff,
    };
    let verify = match options.verify {
        0 => Verify::None,
        1..=99 => Verify::Sample { percent: options.verify },
        _ => Verify::Full,
    };
    let plan = Restore::revert(&*point, &vm, &vddk, &journal)
        .power(power)
        .verify(verify)
        .differential(!options.whole)
        .leave_out(options.leave_out.clone())
        .plan()
        .await?;
    if options.plan || !options.json {
        println!("{plan}");
    }
    if !options.plan {
        carry_out(plan, &options).await?;
    }
    connection.client.logout().await?;
    Ok(())
}

async fn find(
    repository: &Repository,
    vm: &ProtectedVm,
    options: &Options,
) -> anyhow::Result<Arc<dyn StoredPoint>> {
    let store: &dyn BackupStore = repository;
    if let Some(id) = &options.point {
        return Ok(store.point(PointId::parse(id)?).await?);
    }
    let latest = store.latest(&MachineId::new(vm.identity().machine_id())?).await?;
    latest.with_context(|| format!("the repository has no restore point of {}", options.machine))
}

async fn carry_out(plan: RestorePlan<'_>, options: &Options) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{prefix} [{wide_bar}] {bytes}/{total_bytes} {eta}")?);
    let tentative = plan.apply(|event| match event {
        Event::DiskProgress { key, phase, done, total, .. } => {
            let what = if phase == Phase::Verify { "reading back" } else { "writing" };
            bar.set_prefix(format!("disk {key}, {what}"));
            bar.set_length(total);
            bar.set_position(done);
        }
        Event::SnapshotStarted { name } => bar.set_prefix(name.to_owned()),
        _ => {}
    });
    let tentative = tentative.await?;
    bar.finish_and_clear();
    if options.rehearse {
        let written: u64 = tentative.disks().iter().map(|disk| disk.written).sum();
        tentative.rollback().await?;
        println!("{} were written and read back, and undone again", HumanBytes(written));
        return Ok(());
    }
    report(&tentative.accept().await?, options)
}

fn report(done: &RestoreOutcome, options: &Options) -> anyhow::Result<()> {
    if options.json {
        let disks = done.disks.iter().map(|disk| {
            json!({
                "key": disk.key, "capacity": disk.capacity, "decision": disk.decision.to_string(), "written": disk.written,
                "skipped": disk.skipped, "verified": disk.verified, "digest": disk.digest.map(hex),
            })
        });
        println!("{}", json!({ "disks": disks.collect::<Vec<_>>(), "tracking_off": done.tracking_off }));
    } else {
        for disk in &done.disks {
            let (written, verified) = (HumanBytes(disk.written), HumanBytes(disk.verified));
            println!("disk {}: {}; {written} written, {verified} verified", disk.key, disk.decision);
        }
    }
    if let Some(why) = &done.tracking_off {
        eprintln!("changed block tracking is off now: {why}");
    }
    if let Some(why) = &done.power_error {
        bail!("the machine is restored, and could not be started again: {why}");
    }
    Ok(())
}

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
