//! `vsphere-sim`: a vSphere to try a backup program on.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use vim_api::ApiVersion;
use vsphere_sim::{Builder, Clock, FaultRule, Generated, Mode, Sim, Topology, WireStyle};

/// A vSphere that holds real disks. It prints its URL, its control port and its thumbprints, and runs until it is
/// told to stop.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Be an ESXi host by itself instead of a vCenter: one host in one datacenter, without what only a vCenter does.
    #[arg(long)]
    esxi: bool,
    /// The newest API version to speak, from 6.7 to 9.1: what is newer than it is not there.
    #[arg(long, value_parser = api_version, default_value = "8.0.3.0")]
    api_version: ApiVersion,
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
    /// Who may log in: administrator@vsphere.local, or root with --esxi, unless this says otherwise.
    #[arg(long)]
    user: Option<String>,
    /// Name of the environment variable with the user's password.
    #[arg(long, default_value = "VSPHERE_SIM_PASSWORD")]
    password_env: String,
    /// How answers are written, such as `prefix=local,chunked=always,gzip=never,fraction=9`.
    #[arg(long, default_value = "")]
    wire: WireStyle,
    /// Seconds since 1970: the server's clock shows them at first, and moves only when the control port moves it.
    #[arg(long)]
    clock_start: Option<u32>,
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
    let mode = if arguments.esxi { Mode::HostAgent } else { Mode::VirtualCenter };
    let user = arguments.user.as_deref().unwrap_or_else(|| mode.first_user());
    let password = std::env::var(&arguments.password_env).map_err(|_| {
        format!("set the environment variable {} to the password of {user}", arguments.password_env)
    })?;
    let rules = arguments.faults.as_deref().map(rules).transpose()?.unwrap_or_default();
    let mut builder = Sim::builder()
        .mode(mode)
        .api_version(arguments.api_version)
        .listen(arguments.listen)
        .control(arguments.control)
        .user(user, SecretString::from(password))
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
    // Listened for before anything is printed: who reads the lines may stop the program at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let sim = builder.start().await?;
    for rule in rules {
        sim.add_fault(rule)?;
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

/// A version by its id, of which zeroes at the end may be left out.
fn api_version(text: &str) -> Result<ApiVersion, String> {
    let served = |id: &str| Builder::api_versions().find(|version| version.id() == id);
    let found = ["", ".0", ".0.0"].iter().find_map(|zeroes| served(&format!("{text}{zeroes}")));
    found.ok_or_else(|| {
        let known: Vec<&str> = Builder::api_versions().map(ApiVersion::id).collect();
        format!("there are {}", known.join(", "))
    })
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
