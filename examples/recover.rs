//! Makes a new machine from a restore point: the old one again, or a copy beside it.
//!
//! ```text
//! cargo run --example recover
//! export VSPHERE_PASSWORD=... VADP_REPOSITORY_PASSWORD=...
//! cargo run --release --example recover -- --url https://vcenter.example.org/sdk --user me@vsphere.local \
//!     --kit /opt/vmware-vix-disklib-distrib --repository /srv/backups --journal /var/lib/my-backup/journal web-01 \
//!     --copy --name web-01-test --network "VM Network=isolated" --plan
//! ```
//!
//! Without a server it backs up a machine of the simulator, and makes a copy of it there.

mod connect;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::json;
use vadp::recover::{Identity, Provisioning, Recover};
use vadp::{Backup, Event, Journal, ProtectedVm, Vddk, VddkCredentials, Verify, VmSelector};
use vadp_repository::{InitOptions, PointQuery, Repository, RestorePoint, Secret};
use vixdisklib::{Library, LibraryOptions};

/// Makes a new machine from a restore point. Status 0 means that it is whole.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// The name that the machine had.
    #[arg(default_value = "web-01")]
    machine: String,
    /// The unpacked VDDK. Needed for a server; the simulator has a fake one.
    #[arg(long, value_name = "DIR")]
    kit: Option<PathBuf>,
    /// The repository. Its password is in VADP_REPOSITORY_PASSWORD.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// What is half made stands here. Keep it: a sweep cleans up by it.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// The restore point; the latest of the machine unless said.
    #[arg(long, value_name = "ID")]
    point: Option<String>,
    /// Make a copy, with uuids and addresses of its own.
    #[arg(long)]
    copy: bool,
    /// Its name, if not the one that it had.
    #[arg(long)]
    name: Option<String>,
    /// Inventory path of its folder.
    #[arg(long)]
    folder: Option<String>,
    /// Inventory path of its resource pool.
    #[arg(long)]
    pool: Option<String>,
    /// Name of its host.
    #[arg(long)]
    host: Option<String>,
    /// Its datastore.
    #[arg(long)]
    datastore: Option<String>,
    /// The datastore of one disk, such as 2001=fast; may be given several times.
    #[arg(long, value_name = "KEY=NAME")]
    disk_datastore: Vec<String>,
    /// Make all disks thin.
    #[arg(long)]
    thin: bool,
    /// A network that takes the place of another; may be given several times.
    #[arg(long, value_name = "FROM=TO")]
    network: Vec<String>,
    /// The network of adapters whose own is not there.
    #[arg(long)]
    other_networks: Option<String>,
    /// Do not connect its adapters when it is switched on.
    #[arg(long)]
    disconnected: bool,
    /// Ask for what only some hosts have, such as passed-through devices.
    #[arg(long)]
    keep_host_devices: bool,
    /// Encrypt it with the key that it had.
    #[arg(long)]
    keep_key: bool,
    /// How much is read back, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    verify: u8,
    /// Switch it on when it is whole.
    #[arg(long)]
    power_on: bool,
    /// Say what would be made and what would be lost, and stop.
    #[arg(long)]
    plan: bool,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let mut options = Options::parse();
    let connection = options.server.connect().await?;
    let (client, scratch) = (&connection.client, tempfile::tempdir()?);
    let kit = connection.kit(options.kit.as_deref(), scratch.path())?;
    let (user, password) = options.server.credentials(&connection)?;
    let vddk = Vddk::new(Library::open(LibraryOptions::new(kit))?, VddkCredentials::password(user, password));
    let journal = match &options.journal {
        Some(folder) => Journal::open(folder)?,
        None if connection.sim.is_some() => Journal::open(scratch.path().join("journal"))?,
        None => bail!("say with --journal where it is"),
    };
    let repository = match (&options.repository, &connection.sim) {
        (Some(folder), _) => {
            let secret = env::var("VADP_REPOSITORY_PASSWORD").context("set VADP_REPOSITORY_PASSWORD")?;
            Repository::open_local(folder, &Secret::password(secret)).await?
        }
        (None, Some(_)) => {
            let folder = scratch.path().join("repository");
            Repository::init_local(folder, &Secret::random()?, InitOptions::default()).await?
        }
        (None, None) => bail!("say with --repository where it is"),
    };
    if let Some(sim) = &connection.sim {
        let guest = sim.vm(&options.machine)?;
        let key = guest.disks()?.first().context("the machine has no disk")?.key;
        guest.with_live_disk(key, |disk| disk.write_at(1 << 20, &[0x5a; 100 << 10]))??;
        let vm = ProtectedVm::resolve(client, &VmSelector::Name(options.machine.clone())).await?;
        Backup::full(&vm, &repository, &vddk, &journal).run(|_| ()).await?;
        // The machine is there yet.
        options.copy = true;
        options.name.get_or_insert_with(|| format!("{}-recovered", options.machine));
    }
    let point = point(&repository, &options).await?;
    let plan = describe(&options, Recover::new(&point, client, &vddk, &journal))?.plan().await?;
    match options.json {
        true if options.plan => println!("{}", serde_json::to_string(plan.planned())?),
        false => println!("{plan}"),
        true => {}
    }
    if !options.plan {
        let done = plan
            .run(|event| match event {
                Event::DiskProgress { .. } => {}
                event => eprintln!("{event:?}"),
            })
            .await?;
        for warning in &done.warnings {
            eprintln!("warning: {warning}");
        }
        let sum = |of: fn(&vadp::recover::RecoveredDisk) -> u64| done.disks.iter().map(of).sum::<u64>();
        let (written, verified) = (sum(|disk| disk.written), sum(|disk| disk.verified));
        if options.json {
            println!(
                "{}",
                json!({
                    "machine": done.vm.name(), "instance_uuid": done.vm.identity().instance_uuid, "disks": done.disks.len(),
                    "written": written, "verified": verified, "losses": done.losses, "warnings": done.warnings,
                    "powered_on": done.powered_on,
                })
            );
        } else {
            println!("{} is there: {written} bytes written, {verified} verified", done.vm.name());
        }
    }
    client.logout().await?;
    Ok(())
}

/// The restore point that is named, or the latest of the machine.
async fn point(repository: &Repository, options: &Options) -> anyhow::Result<RestorePoint> {
    let mut query = PointQuery::default();
    query.tags.insert("name".to_owned(), Some(options.machine.clone()));
    let found = repository.find(&query).await?;
    let wanted = |id: String| options.point.as_ref().is_none_or(|point| *point == id);
    let found = found.iter().rev().find(|point| wanted(point.id.to_string()));
    let found = found.with_context(|| format!("there is no such restore point of {}", options.machine))?;
    Ok(repository.point(found.id).await?)
}

/// Says one thing of a recovery.
type Say<'a> = fn(Recover<'a>, String) -> Recover<'a>;

fn describe<'a>(options: &Options, mut recover: Recover<'a>) -> anyhow::Result<Recover<'a>> {
    if options.copy {
        recover = recover.identity(Identity::Copy);
    }
    let named: [(&Option<String>, Say<'a>); 6] = [
        (&options.name, |recover, name| recover.name(name)),
        (&options.folder, |recover, path| recover.folder(path)),
        (&options.pool, |recover, path| recover.pool(path)),
        (&options.host, |recover, name| recover.host(name)),
        (&options.datastore, |recover, name| recover.datastore(name)),
        (&options.other_networks, |recover, name| recover.other_networks(name)),
    ];
    for (option, set) in named {
        if let Some(value) = option {
            recover = set(recover, value.clone());
        }
    }
    for pair in &options.disk_datastore {
        let (key, name) = pair.split_once('=').context("--disk-datastore takes KEY=NAME")?;
        recover = recover.disk_datastore(key.parse()?, name);
    }
    for pair in &options.network {
        let (from, to) = pair.split_once('=').context("--network takes FROM=TO")?;
        recover = recover.network(from, to);
    }
    if options.thin {
        recover = recover.provisioning(Provisioning::Thin);
    }
    if options.disconnected {
        recover = recover.disconnected();
    }
    if options.keep_host_devices {
        recover = recover.keep_host_devices();
    }
    if options.keep_key {
        recover = recover.keep_key();
    }
    let verify = match options.verify {
        0 => Verify::None,
        1..=99 => Verify::Sample { percent: options.verify },
        _ => Verify::Full,
    };
    Ok(recover.verify(verify).power_on(options.power_on))
}
