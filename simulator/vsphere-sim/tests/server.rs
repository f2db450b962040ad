//! The simulator over real TLS, asked by the client of this project.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

#[path = "server/authorization.rs"]
mod authorization;
#[path = "server/beside.rs"]
mod beside;
#[path = "server/browse.rs"]
mod browse;
#[path = "server/calls.rs"]
mod calls;
#[path = "server/changed_areas.rs"]
mod changed_areas;
#[path = "server/clock.rs"]
mod clock;
#[path = "server/collector.rs"]
mod collector;
#[path = "server/control.rs"]
mod control;
#[path = "server/disabled_methods.rs"]
mod disabled_methods;
#[path = "server/events.rs"]
mod events;
#[path = "server/fault_table.rs"]
mod fault_table;
#[path = "server/faults.rs"]
mod faults;
#[path = "server/find.rs"]
mod find;
#[path = "server/first_class_disks.rs"]
mod first_class_disks;
#[path = "server/folder.rs"]
mod folder;
#[path = "server/full.rs"]
mod full;
#[path = "server/groups.rs"]
mod groups;
#[path = "server/guest_writers.rs"]
mod guest_writers;
#[path = "server/history.rs"]
mod history;
#[path = "server/host_agent.rs"]
mod host_agent;
#[path = "server/hostile_paths.rs"]
mod hostile_paths;
#[path = "server/linked_clones.rs"]
mod linked_clones;
#[path = "server/live.rs"]
mod live;
#[path = "server/machines.rs"]
mod machines;
#[path = "server/managed_disks.rs"]
mod managed_disks;
#[path = "server/managed_files.rs"]
mod managed_files;
#[path = "server/managers.rs"]
mod managers;
#[path = "server/privileges.rs"]
mod privileges;
#[path = "server/properties.rs"]
mod properties;
#[path = "server/raw.rs"]
mod raw;
#[path = "server/relocation.rs"]
mod relocation;
#[path = "server/replica.rs"]
mod replica;
#[path = "server/requests.rs"]
mod requests;
#[path = "server/rest.rs"]
mod rest;
#[path = "server/retrieval.rs"]
mod retrieval;
#[path = "server/sessions.rs"]
mod sessions;
#[path = "server/signed_tokens.rs"]
mod signed_tokens;
#[path = "server/snapshots.rs"]
mod snapshots;
#[path = "server/status.rs"]
mod status;
#[path = "server/sts.rs"]
mod sts;
#[path = "server/styles.rs"]
mod styles;
#[path = "server/tasks.rs"]
mod tasks;
#[path = "server/tls.rs"]
mod tls;
#[path = "server/traced.rs"]
mod traced;
#[path = "server/typed.rs"]
mod typed;
#[path = "server/updates.rs"]
mod updates;
#[path = "server/versions.rs"]
mod versions;
#[path = "server/wire_faults.rs"]
mod wire_faults;

use vim_api::{Client, mo};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

const MIB: u64 = 1 << 20;

/// A simulator with `count` machines `vm-1` .. of one 64 MiB disk, tracked from the start. Its answers are written as the
/// environment variable `VSPHERE_SIM_WIRE` says, so that every test can be run in every style.
async fn start(count: usize) -> Sim {
    let style = std::env::var("VSPHERE_SIM_WIRE").unwrap_or_default();
    let mut builder = Sim::builder().wire(style.parse().unwrap());
    for number in 1..=count {
        builder = builder.vm(VmSpec::new(&format!("vm-{number}")).disk(DiskSpec::empty(64 * MIB)).cbt());
    }
    builder.start().await.unwrap()
}

async fn connect(sim: &Sim) -> Client {
    Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse().unwrap()).await.unwrap()
}

async fn log_in(sim: &Sim) -> Client {
    let client = connect(sim).await;
    client.login(sim.user(), sim.password()).await.unwrap();
    client
}

fn machine(client: &Client, sim: &Sim) -> mo::VirtualMachine {
    client.bind(&sim.vm("vm-1").unwrap().moref())
}
