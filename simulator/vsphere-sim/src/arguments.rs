//! The command line of the program, and what a simulator it describes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Parser;
use vim_api::ApiVersion;
use vsphere_sim::{
    Builder, Clock, DatastoreSpec, FaultRule, Generated, Mode, Sim, Topology, TrackingRules, WireStyle,
};

use crate::logs::{Filter, Format};
use crate::principals;

const SERVER: &str = "What it is";
const LISTENING: &str = "Where it listens";
const LOGIN: &str = "Who may log in";
const INVENTORY: &str = "What is in the inventory (a data folder in use already keeps what it has)";
const BEHAVIOUR: &str = "How it behaves";
const LOGS: &str = "What it logs, to the standard error";

/// Shown at the end of `--help`. Its commands are run by a test.
const MORE: &str = "\
Examples:
  Two machines on free ports, gone when it stops:
    VSPHERE_SIM_PASSWORD=secret vsphere-sim

  A fixed place, state that is kept, and each call in the log as one line of JSON:
    VSPHERE_SIM_PASSWORD=secret vsphere-sim --listen 127.0.0.1:8989 --control 127.0.0.1:8990 --data sim-data --log-format json --log-level info

  A large inventory, with a clock that moves only when it is moved:
    VSPHERE_SIM_PASSWORD=secret vsphere-sim --vms 10000 --hosts 100 --clusters 10 --folders 50 --clock-start 1893456000

Output:
  Five lines as soon as clients may come, each a word and its value:
    url      where the API is, for clients of vSphere
    control  where the control port is, for programs
    sha1, sha256
             thumbprints of the certificate, which is new at each start
    page     the status page, for a browser on this machine

Environment:
  VSPHERE_SIM_PASSWORD  the user's password; --password-env names another variable, the file of --principals those of
                        other users
  RUST_LOG              what is logged where --log-level is not given

Exit status:
  0  it was told to stop, by SIGTERM or SIGINT
  1  it could not start, or failed
  2  the arguments are wrong

The control port: docs/simulator.md. Fault rules: docs/simulator-faults.md.";

fn more() -> String {
    format!("{MORE}\n\nThe file of --principals, without what is not needed:\n{}", principals::FORM)
}

/// A vSphere that holds real disks.
///
/// It speaks SOAP over TLS as a vCenter does, with an inventory, sessions, tasks, snapshots and changed block tracking.
/// The disks are files: what a guest writes, a backup reads. It runs until it is told to stop.
#[derive(Parser)]
#[command(name = "vsphere-sim", version, after_help = "--help says more, with examples.", after_long_help = more())]
pub(crate) struct Arguments {
    /// Be an ESXi host by itself instead of a vCenter
    ///
    /// One host in one datacenter, with a host's ids, and without what only a vCenter does.
    #[arg(long, help_heading = SERVER)]
    esxi: bool,
    /// The newest API version to speak, from 6.7 to 9.1
    ///
    /// What is newer than it is not there: fields, properties, methods. Release, build and virtual hardware go with it.
    #[arg(long, value_name = "VERSION", value_parser = api_version, default_value = "8.0.3.0",
        help_heading = SERVER)]
    api_version: ApiVersion,

    /// Address and port for the API: SOAP, REST and files over TLS
    ///
    /// Port 0 takes a free one; `url` says which.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = address,
        help_heading = LISTENING)]
    listen: SocketAddr,
    /// Address and port for the status page and the control port, loopback only
    ///
    /// Plain HTTP without a login: whoever can reach it may do everything. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback,
        help_heading = LISTENING)]
    control: SocketAddr,

    /// The user, who may do everything [default: administrator@vsphere.local, or root with --esxi]
    #[arg(long, value_name = "NAME", help_heading = LOGIN)]
    user: Option<String>,
    /// Name of the environment variable with the user's password
    ///
    /// A password on the command line could be read by everybody on the machine.
    #[arg(long, value_name = "VARIABLE", default_value = "VSPHERE_SIM_PASSWORD", help_heading = LOGIN)]
    password_env: String,
    /// File with further users, roles and groups: a JSON object, whose form is shown below
    ///
    /// Roles and permissions are enforced. A role is one of the file or Admin, ReadOnly, NoAccess or NoCryptoAdmin; it is given
    /// on the root folder and all below, and what is to be finer is set by the API. Passwords come from the environment.
    #[arg(long, value_name = "FILE", help_heading = LOGIN)]
    principals: Option<PathBuf>,

    /// Folder for state and datastores
    ///
    /// One that was used before is taken up again, with all that is in it. Without one there is a temporary folder, which
    /// goes when the simulator stops.
    #[arg(long, value_name = "FOLDER", help_heading = INVENTORY)]
    data: Option<PathBuf>,
    /// Machines, up to 100000, each with two thin disks of 1 GiB and 256 MiB
    ///
    /// They are the same at every start, and take no space before they are used.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100_000),
        help_heading = INVENTORY)]
    vms: u32,
    /// Datacenters, up to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = INVENTORY)]
    datacenters: u32,
    /// Clusters, up to 1000, in turns over the datacenters
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = INVENTORY)]
    clusters: u32,
    /// Hosts, up to 10000, in turns over the clusters
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000),
        help_heading = INVENTORY)]
    hosts: u32,
    /// Resource pools, up to 10000, beside the one that each cluster has
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000),
        help_heading = INVENTORY)]
    pools: u32,
    /// Datastores, up to 1000, in turns over the datacenters
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = INVENTORY)]
    datastores: u32,
    /// Networks, up to 1000, in turns over the datacenters
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = INVENTORY)]
    networks: u32,
    /// Folders for machines, up to 10000, in turns over the datacenters
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000),
        help_heading = INVENTORY)]
    folders: u32,

    /// How answers are written, such as `prefix=local,chunked=always,gzip=never,fraction=9`
    ///
    /// prefix is xsi, local (as vcsim does it) or vim25; chunked is never, large or always; gzip is never, offered or always;
    /// fraction is 6, 8 or 9 digits of a second. What is left out stays as a vCenter has it.
    #[arg(long, value_name = "STYLE", default_value = "", hide_default_value = true, help_heading = BEHAVIOUR)]
    wire: WireStyle,
    /// Stops the server's clock at this moment, in seconds since 1970
    ///
    /// It moves only when the control port moves it. Sessions, leases and tasks go by it.
    #[arg(long, value_name = "SECONDS", help_heading = BEHAVIOUR)]
    clock_start: Option<u32>,
    /// What a datastore is like, such as `datastore1,type=nfs,capacity=20G,all=whole`; may be given several times
    ///
    /// type is vmfs or nfs; capacity is the bytes after which nothing fits any more, with M, G or T; all is what `*` answers to
    /// who asks for changed areas: allocated, whole or refused.
    #[arg(long, value_name = "NAME,KEY=VALUE", help_heading = BEHAVIOUR)]
    datastore: Vec<DatastoreSpec>,
    /// Refuse change ids of before after a machine was powered off without a shutdown
    #[arg(long, help_heading = BEHAVIOUR)]
    power_loss_renews_tracking: bool,
    /// Answer change ids of before after a machine's files moved to another datastore
    #[arg(long, help_heading = BEHAVIOUR)]
    relocation_keeps_tracking: bool,
    /// Most changed areas in one answer, so that small disks take several too
    #[arg(long, value_name = "COUNT", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=2000),
        help_heading = BEHAVIOUR)]
    areas_in_answer: u32,
    /// Has the guests of all machines that are on write by themselves, each so often: milliseconds of the server's clock
    ///
    /// The machines get their files then.
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..),
        help_heading = BEHAVIOUR)]
    pub(crate) guest_writers: Option<u64>,
    /// File with fault rules that hold from the start: a JSON array
    #[arg(long, value_name = "FILE", help_heading = BEHAVIOUR)]
    faults: Option<PathBuf>,

    /// Least level: off, error, warn, info, debug or trace, or by module [default: RUST_LOG, or warn]
    ///
    /// By module it is a list such as warn,vsphere_sim=info. info has a line for each call, session, task, change of a disk and fault rule that strikes; debug has each HTTP
    /// request too. Secrets are in none of them.
    #[arg(long, value_name = "LEVEL", help_heading = LOGS)]
    pub(crate) log_level: Option<Filter>,
    /// How a line is written: for people, or as an object of JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, help_heading = LOGS)]
    pub(crate) log_format: Format,
}

impl Arguments {
    /// The simulator that is asked for, and the fault rules that hold from its start.
    pub(crate) fn builder(self) -> Result<(Builder, Vec<FaultRule>), Box<dyn std::error::Error>> {
        let mode = if self.esxi { Mode::HostAgent } else { Mode::VirtualCenter };
        let user = self.user.as_deref().unwrap_or_else(|| mode.first_user());
        let password = principals::password(&self.password_env, user)?;
        let rules = self.faults.as_deref().map(rules).transpose()?.unwrap_or_default();
        let mut builder = Sim::builder()
            .mode(mode)
            .api_version(self.api_version)
            .listen(self.listen)
            .control(self.control)
            .user(user, password)
            .wire(self.wire);
        if let Some(file) = &self.principals {
            builder = principals::add(builder, file)?;
        }
        if let Some(start) = self.clock_start {
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(start.into());
            builder = builder.clock(Clock::Virtual { start });
        }
        if let Some(data) = self.data {
            builder = builder.data_dir(data);
        }
        builder = builder.generate(Generated::new(self.vms)).topology(Topology {
            datacenters: self.datacenters,
            clusters: self.clusters,
            hosts: self.hosts,
            pools: self.pools,
            datastores: self.datastores,
            networks: self.networks,
            folders: self.folders,
        });
        for spec in self.datastore {
            builder = builder.datastore(spec);
        }
        builder = builder.tracking(TrackingRules {
            renewed_by_power_loss: self.power_loss_renews_tracking,
            renewed_by_relocation: !self.relocation_keeps_tracking,
            areas_in_answer: self.areas_in_answer as usize,
        });
        Ok((builder, rules))
    }
}

/// An address and a port; a name stands for the first of its addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        "this is no address with a port, such as 127.0.0.1:8989 or [::1]:8989; port 0 takes a free one"
            .to_owned()
    })
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let found = address(text)?;
    match found.ip().is_loopback() {
        true => Ok(found),
        false => Err(
            "the control port has no login, so it must be on a loopback address, such as 127.0.0.1:8990; \
                      from elsewhere it can be reached through ssh -L"
                .to_owned(),
        ),
    }
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
