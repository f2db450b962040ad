//! Changed block tracking by hand: switch it on, begin it anew, look at it, and see whether it tells the truth.
//!
//! ```text
//! cargo run --example cbt -- show
//! export VSPHERE_PASSWORD=... VADP_REPOSITORY_PASSWORD=...
//! cargo run --example cbt -- audit --url ... --user ... --repository DIR --journal DIR --kit DIR --chunks 1000 web-01
//! ```
//!
//! Without a server, `audit` backs up a machine of the simulator first, so that there is a restore point to compare with.

mod connect;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use vadp::cbt::{self, Audit, ChangeId, Decision};
use vadp::{Backup, Journal, ProtectedVm, Vddk, VddkCredentials, VmSelector};
use vadp_repository::{InitOptions, MachineId, Repository, RestorePoint, Secret, StoredPoint};
use vixdisklib::{Library, LibraryOptions};

/// Looks after the changed block tracking of a machine.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Switch it on, if it is off. The machine must have no snapshots.
    Enable(Common),
    /// Begin it anew: no id of before is accepted any more. The machine must have no snapshots.
    Reset(Common),
    /// Say how it stands for each disk, and whether the latest restore point can be built upon.
    Show(Common),
    /// Compare a share of what it calls unchanged with the latest restore point.
    Audit(Common),
}

#[derive(Args)]
struct Common {
    #[command(flatten)]
    server: connect::Server,
    /// The machine's name.
    #[arg(default_value = "web-01")]
    machine: String,
    /// The journal's folder: the snapshots that are taken stand there first.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// The repository with the machine's restore points. Its password is in VADP_REPOSITORY_PASSWORD.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// The unpacked VDDK, for `audit`.
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// How many chunks of each disk `audit` compares; 0 for all.
    #[arg(long, default_value_t = 256)]
    chunks: u32,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let what = Options::parse().what;
    let (What::Enable(options) | What::Reset(options) | What::Show(options) | What::Audit(options)) = &what;
    let connection = options.server.connect().await?;
    let vm = ProtectedVm::resolve(&connection.client, &VmSelector::Name(options.machine.clone())).await?;
    // For whatever is not named in the simulator's case; it goes away with the simulator.
    let scratch = tempfile::tempdir()?;
    let folder = match (&options.journal, &connection.sim) {
        (Some(folder), _) => folder.clone(),
        (None, Some(_)) => scratch.path().join("journal"),
        (None, None) => bail!("say with --journal where it is"),
    };
    let journal = Journal::open(folder)?;
    let repository = match (&options.repository, &connection.sim) {
        (Some(folder), _) => {
            let password = env::var("VADP_REPOSITORY_PASSWORD").context("set VADP_REPOSITORY_PASSWORD")?;
            Some(Repository::open_local(folder, &Secret::password(password)).await?)
        }
        (None, Some(_)) => {
            let folder = scratch.path().join("repository");
            Some(Repository::init_local(folder, &Secret::random()?, InitOptions::default()).await?)
        }
        (None, None) => None,
    };
    match &what {
        What::Enable(_) => cbt::enable(&vm, &journal).await?,
        What::Reset(_) => cbt::reset(&vm, &journal).await?,
        What::Show(_) => {}
        What::Audit(_) => {
            let repository = repository.as_ref().context("say with --repository what to compare with")?;
            let kit = connection.kit(options.kit.as_deref(), scratch.path())?;
            let (user, password) = options.server.credentials(&connection)?;
            let library = Library::open(LibraryOptions::new(kit))?;
            let vddk = Vddk::new(library, VddkCredentials::password(user, password));
            if let Some(sim) = &connection.sim {
                let guest = sim.vm(&options.machine)?;
                let key = guest.disks()?.first().context("the machine has no disk")?.key;
                guest.with_live_disk(key, |disk| disk.write_at(1 << 20, &[0x5a; 4 << 20]))??;
                Backup::full(&vm, repository, &vddk, &journal).run(|_| ()).await?;
            }
            let point = latest(repository, &vm).await?.context("the machine has no restore point")?;
            let share = if options.chunks == 0 { Audit::All } else { Audit::Chunks(options.chunks) };
            let audited = cbt::audit(&vm, &point, &vddk, &journal, share).await?;
            show_audit(&audited, options.json);
            connection.client.logout().await?;
            // For scripts: 0 when nothing was found.
            std::process::exit(i32::from(audited.iter().any(|disk| disk.lie.is_some())));
        }
    }
    let latest = match &repository {
        Some(repository) => latest(repository, &vm).await?,
        None => None,
    };
    let latest = latest.as_ref().map(|point| point as &dyn StoredPoint);
    show_status(&cbt::status(&vm, latest).await?, options.json);
    connection.client.logout().await?;
    Ok(())
}

async fn latest(repository: &Repository, vm: &ProtectedVm) -> anyhow::Result<Option<RestorePoint>> {
    Ok(repository.latest(&MachineId::new(vm.identity().machine_id())?).await?)
}

fn show_status(status: &cbt::Status, json: bool) {
    let text = |id: &Option<ChangeId>| id.as_ref().map(ChangeId::to_string);
    if json {
        let disks = status.disks.iter().map(|disk| {
            json!({
                "key": disk.key, "label": disk.label, "capacity": disk.capacity, "change_id": text(&disk.change_id),
                "restore_point_id": text(&disk.restore_point_id), "next": disk.decision.to_string(),
                "comparable": matches!(disk.decision, Decision::Incremental(_)),
            })
        });
        println!("{}", json!({ "enabled": status.enabled, "disks": disks.collect::<Vec<_>>() }));
        return;
    }
    println!("changed block tracking is {}", if status.enabled { "on" } else { "off" });
    if let Some(fault) = status.signs.known_fault(None) {
        println!("not to be trusted: {} ({})", fault.what, fault.source);
    }
    for disk in &status.disks {
        let epoch = disk.change_id.as_ref().or(disk.restore_point_id.as_ref());
        let epoch = epoch.map_or_else(|| "none".to_owned(), |id| format!("{:02x?}", &id.epoch()[..4]));
        println!("{:>6} {:<14} {:>14} bytes  epoch {epoch}", disk.key, disk.label, disk.capacity);
        println!(
            "       change id     {}",
            text(&disk.change_id).unwrap_or_else(|| "told in snapshots only".into())
        );
        println!("       restore point {}", text(&disk.restore_point_id).unwrap_or_else(|| "none".into()));
        println!("       next backup   {}", disk.decision);
    }
}

fn show_audit(audited: &[cbt::AuditedDisk], json: bool) {
    for disk in audited {
        if json {
            let decision = disk.decision.to_string();
            println!(
                "{}",
                json!({ "key": disk.key, "compared": disk.compared, "decision": decision, "lie": disk.lie })
            );
        } else if let Some(chunk) = disk.lie {
            println!("{}: chunk {chunk} has changed, and tracking did not tell: reset it", disk.label);
        } else if matches!(disk.decision, Decision::Incremental(_)) {
            println!("{}: {} bytes compared, no lie found", disk.label, disk.compared);
        } else {
            println!("{}: nothing to audit, the next backup is {}", disk.label, disk.decision);
        }
    }
}
