//! A vSphere that holds real disks.
//!
//! It speaks SOAP over TLS on a loopback socket, as a vCenter does: sessions, the inventory, the PropertyCollector,
//! tasks, snapshots, power, change tracking. Its machines have disks that are files; snapshots freeze real links,
//! `QueryChangedDiskAreas` answers from real change maps, and the fake VDDK library reads and writes the same bytes.
//! It is for tests, examples and trials of backup programs, and not a product to keep data in.
//!
//! ```text
//!  any SOAP client ──TLS──► /sdk ─► World (sessions, inventory, tasks)        DATA/inventory.json ─► fake VDDK
//!  tests ── Sim, SimVm ─────────────► sim-store: links, change maps, locks ◄── DATA/datastores/.. ◄──┘
//!  shell ── control port ───────────►
//! ```
//!
//! ```
//! use vsphere_sim::{DiskSpec, Sim, VmSpec};
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let sim = Sim::builder().vm(VmSpec::new("web").disk(DiskSpec::empty(1 << 30)).cbt()).start().await?;
//! let pin = sim.thumbprint_sha256().parse().map_err(|_| "no thumbprint")?;
//! let client = vim_api::Client::connect(&sim.url()).thumbprint(pin).await?;
//! client.login(sim.user(), sim.password()).await?;
//! sim.vm("web")?.with_live_disk(2000, |disk| disk.write_at(0, b"guest data"))??;
//! assert_eq!(sim.session_count(), 1);
//! client.logout().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod authorization;
mod beside;
mod browser;
mod cbt;
mod chain;
mod clock;
mod configure;
mod console;
mod control;
mod custom_fields;
mod datastores;
mod disks;
mod dispatch;
mod environment;
mod error;
mod events;
mod extensions;
mod fault;
mod faults;
mod fcd;
mod files;
mod guest;
mod guest_operations;
mod hardware;
mod history;
mod host_datastores;
mod host_file;
mod in_use;
mod inventory;
mod lease;
mod lifecycle;
mod machine;
mod mode;
mod options;
mod ovf;
mod population;
mod power;
mod property_collector;
mod random;
mod recovery;
mod server;
mod service_ticket;
mod session;
mod signed;
mod sim;
mod snapshots;
mod state_file;
mod storage_pods;
mod stored_xml;
mod style;
mod tagging;
mod tasks;
mod topology;
mod users;
mod vmx;
mod wire;
mod world;

pub use clock::Clock;
pub use datastores::{AllAreas, DatastoreKind, DatastoreSpec};
pub use error::{Error, ErrorKind, Result};
pub use faults::{Action, Effect, Endpoint, FaultPlace, FaultRule, FaultState, LeaseEnd, Mutation};
pub use guest::{GuestWriter, GuestWriterState};
pub use mode::Mode;
pub use sim::{
    Builder, Content, DiskSpec, Generated, Sim, SimDisk, SimVm, TrackingRules, Unregistered, VmSpec,
};
pub use style::{Chunked, Gzip, Prefix, WireStyle};
pub use topology::Topology;
