//! Everything the server knows, behind one lock.
//!
//! Work on disks takes place outside of the lock: a task reads what it needs, works, and writes down the outcome.
//! Every change counts [`Shared`]'s counter up, which wakes those who wait for updates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim_store::guest::image::Manifest;
use sim_store::state::{CookieHash, Inventory, SessionRecord, UserRecord};
use sim_store::{Datastore, DatastorePath};
use tokio::sync::watch;
use vim_api::ApiVersion;

use crate::beside::disks::Disks;
use crate::beside::policies::Policies;
use crate::clock::Clock;
use crate::faults::FaultBook;
use crate::lease::Leases;
use crate::machine::{Machine, Snapshot};
use crate::server::rest::RestSessions;
use crate::session::Sessions;
use crate::tagging::Tagging;
use crate::tasks::Tasks;

/// The state of one server, shared by all its connections.
pub(crate) struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    /// Fault rules, with their counters.
    pub(crate) faults: FaultBook,
    /// Settings that never change.
    pub(crate) settings: Settings,
}

/// What was decided when the server was started.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where `inventory.json`, `vsphere.json` and the datastores are.
    pub(crate) data_dir: PathBuf,
    /// The newest API version that is spoken.
    pub(crate) version: ApiVersion,
    /// How long a task takes at least.
    pub(crate) task_duration: Duration,
    /// Most objects in one answer of `RetrievePropertiesEx`.
    pub(crate) property_page: usize,
    /// Where the STS is.
    pub(crate) sts: LookupEntry,
}

/// A service as the lookup service knows it.
#[derive(Debug, Clone)]
pub(crate) struct LookupEntry {
    pub(crate) url: String,
    /// In base64, of several lines.
    pub(crate) certificate: String,
    /// It is on an address of its own, and not at the API's.
    pub(crate) apart: bool,
}

/// Everything that changes.
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// The newest API version that is spoken.
    pub(crate) version: ApiVersion,
    pub(crate) stored: Stored,
    pub(crate) sessions: Sessions,
    pub(crate) tasks: Tasks,
    pub(crate) leases: Leases,
    pub(crate) rest: RestSessions,
    pub(crate) tagging: Tagging,
    pub(crate) policies: Policies,
    pub(crate) disks: Disks,
    /// The cookies that the services beside have given out.
    pub(crate) beside: BTreeSet<String>,
    /// Those of them whose sessions have ended.
    pub(crate) ended_beside: BTreeSet<String>,
    /// What was put on new disks, by machine and device key.
    pub(crate) manifests: BTreeMap<(String, i32), Manifest>,
    /// Whether files have to be written.
    dirty: bool,
}

/// The part of the state that outlives the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) instance_uuid: String,
    pub(crate) users: Vec<UserRecord>,
    pub(crate) datastores: Vec<DatastoreState>,
    pub(crate) machines: BTreeMap<String, Machine>,
    /// Machines that are being imported: what is still here at the next start goes.
    #[serde(default)]
    pub(crate) half_made: Vec<String>,
    /// Number of the machine or snapshot made next.
    pub(crate) next_id: u32,
}

/// A datastore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DatastoreState {
    /// Managed object id, such as `datastore-11`.
    pub(crate) id: String,
    pub(crate) files: Datastore,
    /// The uuid in its URL.
    pub(crate) uuid: String,
}

impl Shared {
    pub(crate) fn new(stored: Stored, settings: Settings, faults: FaultBook) -> Self {
        let world = World {
            clock: Clock::default(),
            version: settings.version,
            stored,
            sessions: Sessions::default(),
            tasks: Tasks::default(),
            leases: Leases::default(),
            rest: RestSessions::default(),
            tagging: Tagging::default(),
            policies: Policies::default(),
            disks: Disks::default(),
            beside: BTreeSet::new(),
            ended_beside: BTreeSet::new(),
            manifests: BTreeMap::new(),
            dirty: true,
        };
        Self { world: Mutex::new(world), changes: watch::Sender::new(0), faults, settings }
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state, writes the files if that is due, and wakes who waits.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        let answer = change(&mut world);
        if std::mem::take(&mut world.dirty)
            && let Err(error) = world.store(&self.settings)
        {
            // The change itself stands; the next one tries to write again.
            tracing::error!(%error, "the simulator's state could not be written");
            world.dirty = true;
        }
        drop(world);
        self.changes.send_modify(|count| *count += 1);
        answer
    }

    /// Like [`update`](Self::update), for a change that may turn out to be none: it answers whether there was one.
    pub(crate) fn update_if(&self, change: impl FnOnce(&mut World) -> bool) {
        let mut world = self.lock();
        if change(&mut world) {
            drop(world);
            self.update(|_| ());
        }
    }

    /// Changes what only one session can see and nobody waits for: nothing is written, nobody is woken.
    pub(crate) fn read_mut<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        change(&mut self.lock())
    }

    /// Is told of each change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Says that what is on file has changed.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// The next number for a machine or snapshot.
    pub(crate) fn next_id(&mut self) -> u32 {
        let id = self.stored.next_id;
        self.stored.next_id += 1;
        id
    }

    /// A machine by its managed object id.
    pub(crate) fn machine(&self, id: &str) -> Option<&Machine> {
        self.stored.machines.get(id)
    }

    /// A machine by its managed object id, to be changed: the files will be written.
    pub(crate) fn machine_mut(&mut self, id: &str) -> Option<&mut Machine> {
        self.dirty = true;
        self.stored.machines.get_mut(id)
    }

    /// A snapshot and its machine.
    pub(crate) fn snapshot(&self, id: &str) -> Option<(&Machine, &Snapshot)> {
        let mut machines = self.stored.machines.values();
        machines.find_map(|machine| machine.snapshot(id).map(|snapshot| (machine, snapshot)))
    }

    /// The host path of a datastore path.
    pub(crate) fn resolve(&self, path: &DatastorePath) -> sim_store::Result<PathBuf> {
        let mut datastores = self.stored.datastores.iter();
        match datastores.find(|datastore| datastore.files.name() == path.datastore()) {
            Some(datastore) => datastore.files.resolve(path),
            // Lets the store say in its own words that there is no such datastore.
            None => Inventory::default().resolve(path),
        }
    }

    fn store(&self, settings: &Settings) -> crate::Result<()> {
        let session = |(cookie, session): (&String, &crate::session::Session)| {
            CookieHash::new(cookie).ok().map(|cookie| SessionRecord { cookie, user: session.user.clone() })
        };
        let inventory = Inventory {
            server_uuid: self.stored.instance_uuid.clone(),
            users: self.stored.users.clone(),
            sessions: self.sessions.iter().filter_map(session).collect(),
            datastores: self.stored.datastores.iter().map(|datastore| datastore.files.clone()).collect(),
            vms: self.stored.machines.values().map(Machine::record).collect(),
        };
        crate::state_file::store(&settings.data_dir, &self.stored)?;
        inventory
            .store(&settings.data_dir)
            .map_err(|error| crate::Error::store("writing the inventory for other processes", error))
    }
}
