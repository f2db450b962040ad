//! Backs up a machine: in full the first time, then what changed.
//!
//! ```text
//! cargo run --example backup
//! export VSPHERE_PASSWORD=... VADP_REPOSITORY_PASSWORD=...
//! cargo run --release --example backup -- --url https://vcenter.example.org/sdk --user me@vsphere.local \
//!     --kit /opt/vmware-vix-disklib-distrib --repository /srv/backups --journal /var/lib/my-backup/journal web-01
//! ```
//!
//! Without a server it backs up a machine of the simulator, twice, into a folder that goes away.

mod connect;

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use vadp::cbt::Audit;
use vadp::{Backup, BackupOutcome, Event, Journal, ProtectedVm, Quiesce, Vddk, VddkCredentials, VmSelector};
use vadp_repository::{InitOptions, Repository, Secret};
use vixdisklib::{Library, LibraryOptions};

/// Backs up a machine into a repository. Status 0 means a complete restore point.
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
    /// The repository, which is made if nothing is there. Its password is in VADP_REPOSITORY_PASSWORD.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// What the backup takes from the vSphere stands here first. Keep it: the next run cleans up by it.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Copy all that is allocated, whatever is there already.
    #[arg(long)]
    full: bool,
    /// Bring the guest to rest.
    #[arg(long, value_enum, default_value = "none")]
    quiesce: Wish,
    /// Leave out the disk with this device key; may be given several times.
    #[arg(long, value_name = "KEY")]
    exclude: Vec<i32>,
    /// How many chunks of each disk are compared although tracking calls them unchanged.
    #[arg(long, value_name = "CHUNKS", default_value_t = 16)]
    audit: u32,
    /// Say what would be done, and stop.
    #[arg(long)]
    plan: bool,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wish {
    None,
    Prefer,
    Require,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let options = Options::parse();
    let connection = options.server.connect().await?;
    // For whatever is not named. With a server everything is.
    let scratch = tempfile::tempdir()?;
    let client = &connection.client;
    let vm = ProtectedVm::resolve(client, &VmSelector::Name(options.machine.clone())).await?;
    let kit = connection.kit(options.kit.as_deref(), scratch.path())?;
    let (user, password) = options.server.credentials(&connection)?;
    let vddk = Vddk::new(Library::open(LibraryOptions::new(kit))?, VddkCredentials::password(user, password));
    let simulated = connection.sim.is_some();
    let folder = |named: &Option<PathBuf>, name: &str| match named {
        Some(named) => Ok(named.clone()),
        None if simulated => Ok(scratch.path().join(name)),
        None => bail!("say with --{name} where it is"),
    };
    let repository = open_repository(&folder(&options.repository, "repository")?, simulated).await?;
    let journal = Journal::open(folder(&options.journal, "journal")?)?;
    let backup = || {
        let backup = match options.full {
            true => Backup::full(&vm, &repository, &vddk, &journal),
            false => Backup::incremental(&vm, &repository, &vddk, &journal),
        };
        let quiesce = match options.quiesce {
            Wish::None => Quiesce::None,
            Wish::Prefer => Quiesce::Prefer,
            Wish::Require => Quiesce::Require,
        };
        backup.quiesce(quiesce).exclude(options.exclude.clone()).audit(Audit::Chunks(options.audit))
    };
    if options.plan {
        println!("{}", backup().plan().await?);
        client.logout().await?;
        return Ok(());
    }
    let mut done = run(backup(), &options).await?;
    if let Some(sim) = &connection.sim {
        // So that there is something to see, the guest writes, and it is backed up again.
        let guest = sim.vm(&options.machine)?;
        let key = guest.disks()?.first().context("the machine has no disk")?.key;
        guest.with_live_disk(key, |disk| disk.write_at(1 << 20, &[0x5a; 100 << 10]))??;
        done = run(backup(), &options).await?;
    }
    client.logout().await?;
    if let Some(error) = done.cleanup_error {
        bail!(
            "the restore point is complete, but something was left behind, and the next run removes it: {error:#}"
        );
    }
    Ok(())
}

/// Opens what is there, or makes one. In the simulator's case it goes away, so its key may be forgotten.
async fn open_repository(folder: &Path, simulated: bool) -> anyhow::Result<Repository> {
    let secret = match env::var("VADP_REPOSITORY_PASSWORD") {
        Ok(password) => Secret::password(password),
        Err(_) if simulated => Secret::random()?,
        Err(_) => bail!("set VADP_REPOSITORY_PASSWORD: without it nobody could read the backup"),
    };
    let is_empty = !folder.exists() || folder.read_dir()?.next().is_none();
    Ok(match is_empty {
        true => Repository::init_local(folder, &secret, InitOptions::default()).await?,
        false => Repository::open_local(folder, &secret).await?,
    })
}

async fn run(backup: Backup<'_>, options: &Options) -> anyhow::Result<BackupOutcome> {
    let show = Show::default();
    let done = backup.run(|event| show.tell(&event)).await?;
    for attempt in &done.snapshot_attempts {
        eprintln!("not quiesced: {}", attempt.fault);
    }
    for point in &done.suspects {
        eprintln!("restore point {point} may lack changes: change tracking was found to lie");
    }
    for (part, missing) in &done.not_captured {
        eprintln!("not captured: {part} ({missing})");
    }
    for loss in &done.losses {
        eprintln!("made anew elsewhere, {loss}");
    }
    if options.json {
        let disks: Vec<_> = done
            .disks
            .iter()
            .map(|disk| {
                json!({
                    "key": disk.key, "capacity": disk.capacity, "decision": disk.decision.to_string(), "read": disk.read,
                    "audited": disk.audited, "stored": disk.summary.stored_bytes, "transport": disk.transport,
                })
            })
            .collect();
        let point = done.point.id().to_string();
        let not_captured: Vec<_> = done.not_captured.iter().map(|(part, _)| part).collect();
        println!(
            "{}",
            json!({
                "point": point, "consistency": done.consistency, "disks": disks, "not_captured": not_captured,
                "losses": done.losses,
            })
        );
    } else {
        println!("restore point {}, {}", done.point.id(), done.consistency);
        for disk in &done.disks {
            println!(
                "  disk {}: {}; {} read through {}",
                disk.key,
                disk.decision,
                HumanBytes(disk.read),
                disk.transport
            );
        }
    }
    Ok(done)
}

/// Bars on a terminal; elsewhere they draw nothing.
#[derive(Default)]
struct Show {
    bars: MultiProgress,
    open: Mutex<HashMap<i32, ProgressBar>>,
}

impl Show {
    fn tell(&self, event: &Event<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::DiskPlanned { key, label, decision, to_read, .. } => {
                let bar = self.bars.add(ProgressBar::new(to_read));
                let shape = "{prefix} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                bar.set_style(
                    ProgressStyle::with_template(shape).unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_prefix(format!("{label}, {decision}"));
                open.insert(key, bar);
            }
            Event::DiskProgress { key, done, .. } => {
                if let Some(bar) = open.get(&key) {
                    bar.set_position(done);
                }
            }
            Event::DiskDone { key } => {
                if let Some(bar) = open.remove(&key) {
                    bar.finish();
                }
            }
            Event::QuiesceFailed { attempt, fault } => {
                eprintln!("the guest did not come to rest ({attempt}): {fault}")
            }
            Event::TrackingLied { label, .. } => {
                eprintln!("{label}: change tracking did not tell of a change; all of it is read")
            }
            _ => {}
        }
    }
}
