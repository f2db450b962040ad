//! `vsphere-sim`: a vSphere to try a backup program on.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use secrecy::SecretString;
use sim_store::guest::writer::Workload;
use tokio::signal::unix::{SignalKind, signal};
use vsphere_sim::{Clock, DatastoreSpec, FaultRule, Generated, Sim, Topology, TrackingRules, WireStyle};

/// A vSphere that holds real disks. It prints its URL, its control port and its thumbprints, and runs until it is
/// told to stop.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen for SOAP over TLS.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to open the control port: plain HTTP without login, loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// How many machines there shall be, each with two thin disks of 1 GiB and 256 MiB.
    /// They are the same at every start, and take no space before they are used.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    vms: u32,
    /// Datacenters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    datacenters: u32,
    /// Clusters, in turns over the datacenters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clusters: u32,
    /// Hosts, in turns over the clusters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    hosts: u32,
    /// Resource pools beside the one that each cluster has.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pools: u32,
    /// Datastores, in turns over the datacenters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    datastores: u32,
    /// Networks, in turns over the datacenters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    networks: u32,
    /// Folders for machines, in turns over the datacenters.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    folders: u32,
    /// The folder for state and datastores; one that was used before is taken up again.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Who may log in.
    #[arg(long, default_value = "administrator@vsphere.local")]
    user: String,
    /// Name of the environment variable with the user's password.
    #[arg(long, default_value = "VSPHERE_SIM_PASSWORD")]
    password_env: String,
    /// How answers are written, such as `prefix=local,chunked=always,gzip=never,fraction=9`.
    #[arg(long, default_value = "")]
    wire: WireStyle,
    /// Seconds since 1970: the server's clock shows them at first, and moves only when the control port moves it.
    #[arg(long)]
    clock_start: Option<u32>,
    /// What a datastore is like, such as `datastore1,type=nfs,capacity=20G,all=whole`: vmfs or nfs; bytes, after which
    /// nothing fits; and what `*` answers to who asks for changed areas: allocated, whole or refused. May be given several
    /// times.
    #[arg(long)]
    datastore: Vec<DatastoreSpec>,
    /// Change ids of before are refused after a machine was powered off without a shutdown.
    #[arg(long)]
    power_loss_renews_tracking: bool,
    /// Change ids of before are answered after a machine's files moved to another datastore.
    #[arg(long)]
    relocation_keeps_tracking: bool,
    /// Has the guests of all machines that are on write by themselves, each so often: milliseconds of the server's clock.
    /// The machines get their files then.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    guest_writers: Option<u64>,
    /// A file with fault rules: a JSON array.
    #[arg(long)]
    faults: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("vsphere-sim: {error}");
            let mut at = error.source();
            while let Some(cause) = at {
                eprint!(": {cause}");
                at = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let password = std::env::var(&arguments.password_env).map_err(|_| {
        format!(
            "set the environment variable {} to the password of {}",
            arguments.password_env, arguments.user
        )
    })?;
    let rules = arguments.faults.as_deref().map(rules).transpose()?.unwrap_or_default();
    let mut builder = Sim::builder()
        .listen(arguments.listen)
        .control(arguments.control)
        .user(&arguments.user, SecretString::from(password))
        .wire(arguments.wire);
    if let Some(start) = arguments.clock_start {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(start.into());
        builder = builder.clock(Clock::Virtual { start });
    }
    if let Some(data) = arguments.data {
        builder = builder.data_dir(data);
    }
    builder = builder.generate(Generated::new(arguments.vms)).topology(Topology {
        datacenters: arguments.datacenters,
        clusters: arguments.clusters,
        hosts: arguments.hosts,
        pools: arguments.pools,
        datastores: arguments.datastores,
        networks: arguments.networks,
        folders: arguments.folders,
    });
    for spec in arguments.datastore {
        builder = builder.datastore(spec);
    }
    builder = builder.tracking(TrackingRules {
        renewed_by_power_loss: arguments.power_loss_renews_tracking,
        renewed_by_relocation: !arguments.relocation_keeps_tracking,
    });
    // Listened for before anything is printed: who reads the lines may stop the program at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let sim = builder.start().await?;
    for rule in rules {
        sim.add_fault(rule)?;
    }
    if let Some(interval) = arguments.guest_writers.map(Duration::from_millis) {
        for vm in sim.vms().iter().filter(|vm| vm.is_powered_on()) {
            vm.guest_writer(Workload::default(), Some(interval))?;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "url {}", sim.url())?;
    writeln!(out, "control {}", sim.control_url().unwrap_or_default())?;
    writeln!(out, "sha1 {}", sim.thumbprint_sha1())?;
    writeln!(out, "sha256 {}", sim.thumbprint_sha256())?;
    out.flush()?;
    drop(out);
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// The rules of a file.
fn rules(path: &Path) -> Result<Vec<FaultRule>, Box<dyn std::error::Error>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("reading {name}: {error}"))?;
    let rules: Vec<serde_json::Value> = serde_json::from_str(&text)
        .map_err(|error| format!("{name} is no JSON array of fault rules: {error}"))?;
    let read = |(at, json)| {
        FaultRule::from_json(json).map_err(|error| format!("rule {at} of {name}: {error}").into())
    };
    (1_usize..).zip(&rules).map(read).collect()
}
