//! Single files out of a disk: lists them, and copies the ones that are asked for.
//!
//! ```text
//! cargo run --example mount_files
//! cargo run --example mount_files -- --copy home0/docs0 --to ./out
//! cargo run --example mount_files -- --kit /opt/vmware-vix-disklib-distrib --disk /disks/web.vmdk
//! VSPHERE_PASSWORD=... cargo run --example mount_files -- --kit /opt/vmware-vix-disklib-distrib \
//!     --server vcenter.example.org --user me@vsphere.local --thumbprint AA:BB:... --vm vm-16 --snapshot snapshot-20 \
//!     --disk '[datastore1] web/web.vmdk'
//! ```
//!
//! Without a kit it takes a snapshot of a machine of the simulator, and mounts its disk with the fake libraries: no root, no
//! FUSE. With one, VMware's library mounts, and what it needs of this machine is checked first.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use secrecy::SecretString;
use serde_json::json;
use sim_store::guest::image::ImagePlan;
use tempfile::TempDir;
use vim_api::Client;
use vixdisklib::{ConnectOptions, ConnectParams, Connection, Credentials, Library, LibraryOptions, VmSpec};
use vixmntapi::{Access, MountApi, MountOptions};
use vsphere_sim::{DiskSpec, Sim};

/// Lists the files of a disk, and copies some.
#[derive(Parser)]
struct Options {
    /// The folder of a VDDK kit; without it the simulator and the fake libraries are used.
    #[arg(long, requires = "disk")]
    kit: Option<PathBuf>,
    /// The disk: a path on this machine, or one on a datastore with --server.
    #[arg(long, requires = "kit")]
    disk: Option<String>,
    /// The vCenter or ESXi host; without it the disk is on this machine.
    #[arg(long, requires_all = ["kit", "user", "vm"])]
    server: Option<String>,
    /// Who logs in; the password is in VSPHERE_PASSWORD.
    #[arg(long, requires = "server")]
    user: Option<String>,
    /// SHA-1 of the server's certificate.
    #[arg(long, requires = "server")]
    thumbprint: Option<vixdisklib::Thumbprint>,
    /// The machine's managed object id, such as vm-16.
    #[arg(long, requires = "server")]
    vm: Option<String>,
    /// The snapshot's managed object id, such as snapshot-20; a running machine needs one.
    #[arg(long, requires = "server")]
    snapshot: Option<String>,
    /// Copy the files whose path begins with this. May be given several times.
    #[arg(long, requires = "to")]
    copy: Vec<String>,
    /// Where to copy them: a new or empty folder. Each volume gets a folder of its own there.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A disk that can be reached, and what must live as long as it is.
struct Source {
    connection: Connection,
    disk: String,
    options: MountOptions,
    stage: Option<(Sim, TempDir)>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(folder) = &options.to {
        fs::create_dir_all(folder)?;
        ensure!(fs::read_dir(folder)?.next().is_none(), "{} is not empty", folder.display());
    }
    // Mounting blocks, so only the simulator gets a runtime, and it is on other threads than this one.
    let runtime = tokio::runtime::Runtime::new()?;
    let source = match &options.kit {
        Some(kit) => kit_source(kit, &options)?,
        None => runtime.block_on(simulated())?,
    };
    let mounting = MountApi::open(source.connection.library(), source.options)?;
    let mut set = mounting.open_disks(&source.connection, &[&source.disk], Access::ReadOnly)?;
    let volumes = set.volumes()?;
    let mut told = Vec::new();
    for volume in volumes.iter() {
        let kind = volume.info()?.kind;
        let mounted = match volume.mount(Access::ReadOnly) {
            Ok(mounted) => mounted,
            Err(error) => {
                eprintln!("volume {} ({kind:?}) has no files for us: {error}", volume.index());
                continue;
            }
        };
        let files = files_below(mounted.path())?;
        let mut copied = 0;
        for (path, bytes) in &files {
            if !options.json {
                println!("{}: {path} ({bytes} bytes)", volume.index());
            }
            if let Some(to) = &options.to
                && options.copy.iter().any(|wanted| path.starts_with(wanted.as_str()))
            {
                copy(mounted.path(), path, &to.join(volume.index().to_string()))?;
                copied += 1;
            }
        }
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        told.push(json!({
            "volume": volume.index(), "kind": format!("{kind:?}"), "files": files.len(), "bytes": bytes, "copied": copied
        }));
        if !options.json {
            println!(
                "volume {} ({kind:?}): {} files, {bytes} bytes, {copied} copied",
                volume.index(),
                files.len()
            );
        }
    }
    drop(volumes);
    set.close()?;
    source.connection.close()?;
    if options.json {
        println!("{}", json!({ "disk": source.disk, "volumes": told }));
    }
    drop(source.stage);
    if told.is_empty() {
        bail!("no volume of {} could be mounted", source.disk);
    }
    Ok(())
}

/// A disk that VMware's library reaches.
fn kit_source(kit: &Path, options: &Options) -> anyhow::Result<Source> {
    let library = Library::open(LibraryOptions::new(kit).in_process())?;
    let disk = options.disk.clone().context("say with --disk which one")?;
    let mut connect = ConnectOptions::new().read_only(true);
    let params = match (&options.server, &options.user, &options.vm) {
        (Some(server), Some(user), Some(vm)) => {
            let password = std::env::var("VSPHERE_PASSWORD").context("set VSPHERE_PASSWORD")?;
            let credentials =
                Credentials::Password { user: user.clone(), password: SecretString::from(password) };
            let mut params = ConnectParams::remote(server, VmSpec::moref(vm)?, credentials);
            if let Some(thumbprint) = &options.thumbprint {
                params = params.thumbprint(thumbprint.clone());
            }
            if let Some(snapshot) = &options.snapshot {
                connect = connect.snapshot(snapshot);
            }
            params.build()?
        }
        _ => ConnectParams::local(),
    };
    let connection = library.connect(&params, connect)?;
    Ok(Source { connection, disk, options: MountOptions::new(), stage: None })
}

/// A machine of the simulator that runs, with files on its disk and a snapshot.
async fn simulated() -> anyhow::Result<Source> {
    eprintln!("no kit was named, so these are the simulator and the fake libraries");
    let folder = TempDir::new()?;
    let plan = ImagePlan { seed: 1, files: 20, bytes_total: 2 << 20, label: "web".into() };
    let machine = vsphere_sim::VmSpec::new("web").disk(DiskSpec::image(64 << 20, plan));
    let sim = Sim::builder().vm(machine).data_dir(folder.path().join("vsphere")).start().await?;
    let kit = folder.path().join("kit");
    fake_vddk::install(&kit)?;
    ensure!(kit.join("lib64/libvixMntapi.so.1").exists(), "build it with `cargo build -p fake-vixmntapi`");
    sim.install_vddk_entry(&kit)?;

    let vm = sim.vm("web")?;
    // The path before the snapshot is that of the disk which the snapshot freezes.
    let disk = vm.disks()?.pop().context("the machine has no disk")?.path;
    let client = Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse()?).await?;
    client.login(sim.user(), sim.password()).await?;
    let task = client.bind(&vm.moref()).create_snapshot_task("files", None, false, false).await?;
    let snapshot = task.wait().await?;
    client.logout().await?;

    let library: Arc<Library> =
        Library::open(LibraryOptions::new(&kit).in_process().temp_directory(folder.path().join("state")))?;
    let credentials = Credentials::Password { user: sim.user().to_owned(), password: sim.password().clone() };
    let params = ConnectParams::remote(sim.host(), VmSpec::moref(vm.moref().value())?, credentials)
        .port(sim.port())
        .thumbprint(sim.thumbprint_sha1().parse()?)
        .build()?;
    let options = ConnectOptions::new().read_only(true).snapshot(snapshot.value());
    let connection = library.connect(&params, options)?;
    // The fake copies files: it needs nothing of what VMware's library needs.
    let ready = MountOptions::new().assume_ready(true);
    Ok(Source { connection, disk, options: ready, stage: Some((sim, folder)) })
}

/// Paths and sizes of all files, sorted. Links are left alone: in a guest's file system they lead anywhere.
fn files_below(root: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path().strip_prefix(root)?.to_string_lossy().into_owned();
                found.push((path, entry.metadata()?.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(root: &Path, path: &str, to: &Path) -> anyhow::Result<()> {
    let from = root.join(path);
    ensure!(
        Path::new(path).components().all(|part| matches!(part, Component::Normal(_))),
        "{path} leads outside"
    );
    let target = to.join(path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(&from, &target).with_context(|| format!("{path} could not be copied"))?;
    Ok(())
}
