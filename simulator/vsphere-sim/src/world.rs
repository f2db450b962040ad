//! Everything the server knows, behind one lock.
//!
//! Work on disks takes place outside of the lock: a task reads what it needs, works, and writes down the outcome.
//! Every change counts [`Shared`]'s counter up, which wakes those who wait for updates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim_store::DatastorePath;
use sim_store::guest::image::Manifest;
use sim_store::state::{CookieHash, Inventory, SessionRecord, UserRecord};
use tokio::sync::watch;
use vim_api::{ApiVersion, MoRef};

use crate::authorization::Authorization;
use crate::beside::disks::DiskTasks;
use crate::beside::policies::Policies;
use crate::clock::{Clock, Moment, ServerClock};
use crate::custom_fields::CustomFields;
use crate::events::Events;
use crate::extensions::Extensions;
use crate::faults::FaultBook;
use crate::fcd::{Catalogue, FirstClassDisk};
use crate::guest::Guests;
use crate::history::TaskHistory;
use crate::inventory::tree::Tree;
use crate::lease::Leases;
use crate::machine::{Machine, Snapshot};
use crate::mode::Mode;
use crate::options::Options;
use crate::population::Population;
use crate::recovery::Journal;
use crate::server::rest::RestSessions;
use crate::service_ticket::ServiceTickets;
use crate::session::Sessions;
use crate::sim::TrackingRules;
use crate::style::WireStyle;
use crate::tagging::Tagging;
use crate::tasks::Tasks;
use crate::users::Group;

/// The state of one server, shared by all its connections.
pub(crate) struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    /// How answers are written.
    style: Mutex<WireStyle>,
    /// Fault rules, with their counters.
    pub(crate) faults: FaultBook,
    /// Settings that never change.
    pub(crate) settings: Settings,
    /// Changes of files that are under way.
    pub(crate) journal: Journal,
    /// The guests that write by themselves.
    pub(crate) guests: Guests,
    /// How often the state could not be written, and why not.
    unwritten: Mutex<(u64, String)>,
}

/// What was decided when the server was started.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where the state and the datastores are.
    pub(crate) data_dir: PathBuf,
    /// The newest API version that is spoken.
    pub(crate) version: ApiVersion,
    /// How long a task takes at least.
    pub(crate) task_duration: Duration,
    /// Most objects in one answer of `RetrievePropertiesEx`.
    pub(crate) property_page: usize,
    /// Where the STS is.
    pub(crate) sts: LookupEntry,
    /// What the server's clock goes by.
    pub(crate) clock: Clock,
    /// How answers are written at first.
    pub(crate) style: WireStyle,
    /// When change tracking begins anew.
    pub(crate) tracking: TrackingRules,
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
    pub(crate) clock: ServerClock,
    /// Where the state and the datastores are.
    pub(crate) data_dir: PathBuf,
    /// The newest API version that is spoken.
    pub(crate) version: ApiVersion,
    pub(crate) stored: Stored,
    /// The machines, by their managed object ids.
    machines: BTreeMap<String, Machine>,
    /// Counts every change of a machine or of the tree.
    revision: u64,
    /// When something changed last that every object shows.
    all_changed: u64,
    /// The version of the last update set that any collector gave out.
    last_version: u64,
    /// The machine that each snapshot is of.
    snapshots: BTreeMap<String, String>,
    pub(crate) sessions: Sessions,
    pub(crate) service_tickets: ServiceTickets,
    pub(crate) tasks: Tasks,
    pub(crate) history: TaskHistory,
    pub(crate) events: Events,
    pub(crate) leases: Leases,
    pub(crate) rest: RestSessions,
    pub(crate) tagging: Tagging,
    pub(crate) policies: Policies,
    /// The tasks of VSLM.
    pub(crate) disk_tasks: DiskTasks,
    pub(crate) first_class: Catalogue,
    /// The cookies that the services beside have given out.
    pub(crate) beside: BTreeSet<String>,
    /// Those of them whose sessions have ended.
    pub(crate) ended_beside: BTreeSet<String>,
    /// What was put on new disks, by machine and device key.
    pub(crate) manifests: BTreeMap<(String, i32), Manifest>,
    /// Whether the server's own file has to be written.
    dirty: bool,
    /// The machines whose files have to be written.
    changed: BTreeSet<String>,
}

/// The part of the state that outlives the process, but for the machines: these have a file each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) instance_uuid: String,
    pub(crate) users: Vec<UserRecord>,
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    pub(crate) tree: Tree,
    /// The machines that are made anew, the same ones, at each start until somebody changes them.
    pub(crate) population: Option<Population>,
    /// Number of the machine or snapshot made next.
    pub(crate) next_id: u32,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) authorization: Authorization,
    #[serde(default)]
    pub(crate) extensions: Extensions,
    #[serde(default)]
    pub(crate) custom_fields: CustomFields,
    #[serde(default)]
    pub(crate) options: Options,
    /// Number of the next entity of the tree.
    pub(crate) next_entity: u32,
}

impl Shared {
    pub(crate) fn new(
        stored: Stored,
        machines: BTreeMap<String, Machine>,
        disks: BTreeMap<String, FirstClassDisk>,
        settings: Settings,
        faults: FaultBook,
        journal: Journal,
    ) -> Self {
        let mut world = World {
            clock: ServerClock::new(settings.clock),
            data_dir: settings.data_dir.clone(),
            version: settings.version,
            stored,
            machines: BTreeMap::new(),
            revision: 1,
            all_changed: 0,
            last_version: 0,
            snapshots: BTreeMap::new(),
            sessions: Sessions::default(),
            service_tickets: ServiceTickets::default(),
            tasks: Tasks::default(),
            history: TaskHistory::default(),
            events: Events::default(),
            leases: Leases::default(),
            rest: RestSessions::default(),
            tagging: Tagging::default(),
            policies: Policies::default(),
            disk_tasks: DiskTasks::default(),
            first_class: Catalogue::new(disks),
            beside: BTreeSet::new(),
            ended_beside: BTreeSet::new(),
            manifests: BTreeMap::new(),
            dirty: true,
            changed: BTreeSet::new(),
        };
        for machine in machines.values() {
            world.note_snapshots(machine);
            world.first_class.follow(machine);
        }
        world.machines = machines;
        let style = Mutex::new(settings.style);
        Self {
            world: Mutex::new(world),
            changes: watch::Sender::new(0),
            style,
            faults,
            settings,
            journal,
            guests: Guests::new(),
            unwritten: Mutex::default(),
        }
    }

    /// What the server's clock shows.
    pub(crate) fn now(&self) -> Moment {
        self.read(|world| world.clock.now())
    }

    /// Moves the server's clock ahead, and ends the sessions that are idle for too long by it.
    pub(crate) fn advance_clock(&self, by: Duration) {
        self.update(|world| {
            world.clock.advance(by);
            world.expire_idle();
        });
    }

    /// How answers are written now.
    pub(crate) fn style(&self) -> WireStyle {
        *self.style.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has answers written otherwise from now on.
    pub(crate) fn set_style(&self, style: WireStyle) {
        *self.style.lock().unwrap_or_else(PoisonError::into_inner) = style;
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the state, writes the files if that is due, and wakes who waits.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        let answer = change(&mut world);
        if let Err(error) = world.store(&self.settings) {
            // The change itself stands, and the next one tries to write again. Who asked for it is not told that all is well.
            let why = crate::fault::describe(&error);
            tracing::error!(error = why, "the simulator's state could not be written");
            let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            *unwritten = (unwritten.0 + 1, why);
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

    /// How often the state could not be written so far.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether all changes were written since [`unwritten`](Self::unwritten) answered `before`.
    ///
    /// # Errors
    /// `Store`, with the file and why it could not be written.
    pub(crate) fn check_written(&self, before: u64) -> crate::Result<()> {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        match unwritten.0 == before {
            true => Ok(()),
            false => {
                let what = format!("the simulator's state could not be written: {}", unwritten.1);
                Err(crate::Error::new(crate::ErrorKind::Store, what))
            }
        }
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
    /// Says that the server's own file has to be written.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
        self.revision += 1;
    }

    /// The same for what every object shows, such as who may see it.
    pub(crate) fn touch_all(&mut self) {
        self.touch();
        self.all_changed = self.revision;
    }

    /// When something changed last that every object shows.
    pub(crate) fn all_changed(&self) -> u64 {
        self.all_changed
    }

    /// A version for an update set: no collector of any session has given it out before.
    pub(crate) fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }

    /// Counts the changes: an object that has not changed since a certain count need not be looked at again.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The next number for a machine or snapshot.
    pub(crate) fn next_id(&mut self) -> u32 {
        let id = self.stored.next_id;
        self.stored.next_id += 1;
        self.dirty = true;
        id
    }

    /// The id of a new machine, such as `vm-101`.
    pub(crate) fn next_machine_id(&mut self) -> String {
        let number = self.next_id();
        self.mode().machine_id(number)
    }

    /// The id of a new snapshot, which is the machine's one of that number.
    pub(crate) fn next_snapshot_id(&mut self, machine: &str, number: u32) -> String {
        match self.mode() {
            Mode::VirtualCenter => format!("snapshot-{}", self.next_id()),
            Mode::HostAgent => format!("{machine}-snapshot-{number}"),
        }
    }

    /// The tree, to be changed.
    pub(crate) fn tree_mut(&mut self) -> &mut Tree {
        self.touch();
        &mut self.stored.tree
    }

    /// A new id for an entity of the tree, such as `group-v1001`.
    pub(crate) fn next_entity(&mut self, prefix: &str) -> String {
        let number = self.stored.next_entity;
        self.stored.next_entity += 1;
        self.dirty = true;
        format!("{prefix}{number}")
    }

    /// All machines, by id.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// A machine by its managed object id.
    pub(crate) fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.get(id)
    }

    /// A machine by its name, escaped or not.
    pub(crate) fn machine_named(&self, name: &str) -> Option<&Machine> {
        let escaped = crate::inventory::escaped(name);
        self.machines.values().find(|machine| machine.name() == escaped || machine.name() == name)
    }

    /// A machine by its managed object id, to be changed: its file will be written.
    pub(crate) fn machine_mut(&mut self, id: &str) -> Option<&mut Machine> {
        let machine = self.machines.get_mut(id)?;
        self.changed.insert(id.to_owned());
        self.revision += 1;
        machine.revision = self.revision;
        Some(machine)
    }

    /// Notes that something about a machine is to be looked at again which is not in its file.
    pub(crate) fn bump(&mut self, id: &str) {
        self.revision += 1;
        if let Some(machine) = self.machines.get_mut(id) {
            machine.revision = self.revision;
        }
    }

    /// Holds a machine for a task, or sets it free.
    pub(crate) fn set_busy(&mut self, id: &str, task: Option<String>) {
        self.bump(id);
        if let Some(machine) = self.machines.get_mut(id) {
            machine.busy = task;
        }
    }

    /// Puts a machine into the inventory.
    pub(crate) fn insert_machine(&mut self, mut machine: Machine) {
        self.revision += 1;
        machine.revision = self.revision;
        self.adopt_disks(&mut machine);
        self.note_snapshots(&machine);
        self.changed.insert(machine.id.clone());
        tracing::info!(machine = machine.id, name = machine.name(), "machine added");
        self.machines.insert(machine.id.clone(), machine);
    }

    /// Takes a machine out of the inventory.
    pub(crate) fn remove_machine(&mut self, id: &str) -> Option<Machine> {
        let machine = self.machines.remove(id)?;
        tracing::info!(machine = id, name = machine.name(), "machine removed");
        self.forget(&crate::inventory::machine_ref(&machine).cast());
        self.revision += 1;
        self.changed.insert(id.to_owned());
        self.snapshots.retain(|_, owner| owner != id);
        Some(machine)
    }

    /// Adds a snapshot to its machine and makes it the current one.
    pub(crate) fn add_snapshot(&mut self, machine: &str, snapshot: Snapshot) {
        self.snapshots.insert(snapshot.id.clone(), machine.to_owned());
        tracing::info!(
            machine,
            snapshot = snapshot.id,
            name = snapshot.name,
            quiesced = snapshot.quiesced,
            "snapshot taken"
        );
        if let Some(machine) = self.machine_mut(machine) {
            machine.current_snapshot = Some(snapshot.id.clone());
            machine.snapshots.push(snapshot);
        }
    }

    /// A snapshot and its machine.
    pub(crate) fn snapshot(&self, id: &str) -> Option<(&Machine, &Snapshot)> {
        let machine = self.machines.get(self.snapshots.get(id)?)?;
        machine.snapshot(id).map(|snapshot| (machine, snapshot))
    }

    /// The host path of a datastore path.
    pub(crate) fn resolve(&self, path: &DatastorePath) -> sim_store::Result<PathBuf> {
        match self.stored.tree.datastore(path.datastore()) {
            Some((_, files)) => files.resolve(path),
            // Lets the store say in its own words that there is no such datastore.
            None => Inventory::default().resolve(path),
        }
    }

    /// The datastore path of a host path; `None` if it is on no datastore.
    pub(crate) fn path_of(&self, host: &Path) -> Option<DatastorePath> {
        self.stored.tree.datastores().find_map(|(_, files)| files.path_of(host).ok())
    }

    /// What is above an object in the inventory.
    pub(crate) fn parent_of(&self, object: &MoRef) -> Option<MoRef> {
        let parent = match object.type_name() {
            "VirtualMachine" => self.machine(object.value())?.folder.as_str(),
            "VirtualMachineSnapshot" => {
                return Some(crate::inventory::machine_ref(self.snapshot(object.value())?.0).cast());
            }
            _ => self.stored.tree.find(object)?.parent.as_deref()?,
        };
        self.stored.tree.get(parent).map(crate::inventory::tree::Entity::reference)
    }

    fn note_snapshots(&mut self, machine: &Machine) {
        for snapshot in &machine.snapshots {
            self.snapshots.insert(snapshot.id.clone(), machine.id.clone());
        }
    }

    /// Writes what has changed. What cannot be written stays noted.
    fn store(&mut self, settings: &Settings) -> crate::Result<()> {
        // A machine that is new or elsewhere may be one that users have other rights on.
        if self.dirty || (!self.changed.is_empty() && self.disk_rights_differ()) {
            self.store_server(settings)?;
            self.dirty = false;
        }
        for machine in self.changed.iter().filter_map(|id| self.machines.get(id)) {
            self.first_class.follow(machine);
        }
        // Before the machines: what a machine has let go of is where it was last.
        while let Some(id) = self.first_class.changed.first().cloned() {
            let tree = &self.stored.tree;
            let datastore =
                |name: &str| tree.datastore(name).map(|(found, _)| found.id.clone()).unwrap_or_default();
            crate::state_file::store_disk(&settings.data_dir, &id, self.first_class.get(&id), datastore)?;
            self.first_class.changed.remove(&id);
        }
        while let Some(id) = self.changed.first().cloned() {
            match self.machines.get(&id) {
                Some(machine) if machine.untouched => {}
                Some(machine) => crate::state_file::store_machine(&settings.data_dir, machine)?,
                None => {
                    let generated =
                        self.stored.population.as_ref().is_some_and(|population| population.has_made(&id));
                    crate::state_file::remove_machine(&settings.data_dir, &id, generated)?;
                }
            }
            self.changed.remove(&id);
        }
        Ok(())
    }

    fn store_server(&self, settings: &Settings) -> crate::Result<()> {
        let session = |(cookie, session): (&String, &crate::session::Session)| {
            CookieHash::new(cookie).ok().map(|cookie| SessionRecord { cookie, user: session.user.clone() })
        };
        let inventory = Inventory {
            server_uuid: self.stored.instance_uuid.clone(),
            users: self.stored.users.clone(),
            rights: self.disk_rights(),
            sessions: self.sessions.iter().filter_map(session).collect(),
            datastores: self.stored.tree.datastores().map(|(_, files)| files.clone()).collect(),
            vms: Vec::new(),
            disks: Vec::new(),
        };
        crate::state_file::store(&settings.data_dir, &self.stored)?;
        inventory
            .store(&settings.data_dir)
            .map_err(|error| crate::Error::store("writing the inventory for other processes", error))
    }
}
