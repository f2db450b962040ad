//! The managed objects: which there are, how they hang together, and what their properties say.
//!
//! Properties are made when they are asked for, out of the state, as typed structs of `vim_api`.

pub(crate) mod compute;
mod entity;
mod files;
mod guest;
pub(crate) mod places;
pub(crate) mod search;
pub(crate) mod service;
mod storage;
pub(crate) mod tree;
pub(crate) mod views;
mod vm;

use vim_api::MoRef;
use vim_api::dynamic::{Element, Object, Value};
use vim_api::mo::{self, Managed};

use crate::lease::Lease;
use crate::machine::{Machine, Snapshot};
use crate::session::Session;
use crate::tasks::TaskState;
use crate::world::World;
use tree::Entity;

pub(crate) use files::{vmsn, vss_manifest};
pub(crate) use service::{default_version, served_versions, versions_before};
pub(crate) use storage::{datastore_capability, uses};
pub(crate) use vm::{network_of, power_state};

/// A managed object with what its properties are made of.
#[derive(Clone, Copy)]
pub(crate) enum Node<'w> {
    /// The service instance and the managers.
    Service(service::Singleton),
    Entity(&'w Entity),
    DatastoreBrowser(&'w Entity),
    /// Of a cluster, or of a host by itself.
    Environment(&'w Entity),
    /// Of a host.
    HostDatastores(&'w Entity),
    Machine(&'w Machine),
    Snapshot(&'w Machine, &'w Snapshot),
    Task(&'w TaskState),
    Lease(&'w Lease),
    View(&'w views::View),
    Collector(&'w crate::property_collector::Collector),
    Filter(&'w crate::property_collector::Filter),
    History(&'w crate::history::collector::Collector),
}

/// What a property is asked for: its name, and the path behind it if not all of it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'p> {
    pub(crate) name: &'p str,
    pub(crate) rest: Option<&'p str>,
}

impl<'p> Wanted<'p> {
    /// All of a property.
    pub(crate) fn whole(name: &'p str) -> Self {
        Self { name, rest: None }
    }

    /// Whether a field of the property is needed.
    pub(crate) fn needs(self, field: &str) -> bool {
        self.rest.is_none_or(|rest| rest.split(['.', '[']).next() == Some(field))
    }
}

impl World {
    /// The object behind a reference, if there is one of that type. Some objects are seen by their session only.
    pub(crate) fn node<'w>(&'w self, object: &MoRef, session: Option<&'w Session>) -> Option<Node<'w>> {
        let id = object.value();
        match object.type_name() {
            "VirtualMachine" => self.machine(id).map(Node::Machine),
            "VirtualMachineSnapshot" => {
                self.snapshot(id).map(|(machine, snapshot)| Node::Snapshot(machine, snapshot))
            }
            "EnvironmentBrowser" => self.environment(id).map(Node::Environment),
            "HostDatastoreSystem" => self.storage_host(id).map(Node::HostDatastores),
            "HostDatastoreBrowser" => self.browsing(id).map(Node::DatastoreBrowser),
            "Task" => self.tasks.get(id).map(Node::Task),
            "ContainerView" | "ListView" | "InventoryView" => {
                session?.views.get(id).filter(|view| view.type_name() == object.type_name()).map(Node::View)
            }
            "HttpNfcLease" => self.leases.seen_by(session?, id).map(Node::Lease),
            "PropertyCollector" => match session {
                Some(session) => session.collectors.get(id).map(Node::Collector),
                None => service::Singleton::of(object, self.mode()).map(Node::Service),
            },
            kind @ ("EventHistoryCollector" | "TaskHistoryCollector") => {
                session?.histories.get(id).filter(|collector| collector.is_a(kind)).map(Node::History)
            }
            "PropertyFilter" => {
                let mut collectors = session?.collectors.values();
                collectors.find_map(|collector| collector.filter(id)).map(Node::Filter)
            }
            _ => match self.stored.tree.find(object) {
                Some(entity) => Some(Node::Entity(entity)),
                None => service::Singleton::of(object, self.mode()).map(Node::Service),
            },
        }
    }

    /// A property of an object. `None` if it is not set, or if the simulator does not have it. Where only a part is
    /// wanted, the others may be missing.
    pub(crate) fn property(
        &self,
        node: Node<'_>,
        wanted: Wanted<'_>,
        session: Option<&Session>,
    ) -> Option<Value> {
        let name = wanted.name;
        match node {
            Node::Service(manager) => self.service_property(manager, name, session),
            Node::Entity(entity) => self.tree_property(entity, wanted),
            Node::DatastoreBrowser(datastore) => self.browser_property(datastore, name),
            Node::Environment(compute) => self.environment_property(compute, name),
            Node::HostDatastores(host) => self.host_datastores_property(host, name),
            Node::Machine(machine) => self.machine_property(machine, wanted),
            Node::Snapshot(machine, snapshot) => self.snapshot_property(machine, snapshot, name),
            Node::Lease(lease) => lease.property(self, name),
            Node::Task(task) => (name == "info").then(|| task.info().to_value()),
            Node::View(view) => self.view_property(view, name),
            Node::Collector(collector) => (name == "filter").then(|| refs(collector.filters())),
            Node::Filter(filter) => filter.property(name),
            Node::History(collector) => collector.property(self, name, session),
        }
    }

    /// A property that is kept as it is shown: a part of it can be read without a copy of the whole.
    pub(crate) fn kept<'w>(&self, node: Node<'w>, name: &str) -> Option<&'w dyn Object> {
        match node {
            Node::Machine(machine) if name == "config" => Some(&*machine.config),
            Node::Snapshot(_, snapshot) if name == "config" => Some(&*snapshot.config),
            _ => None,
        }
    }

    /// When an object was changed last, by [`World::revision`]; `None` for what can change without being counted.
    pub(crate) fn changed_at(&self, object: &MoRef) -> Option<u64> {
        match object.type_name() {
            "VirtualMachine" => {
                self.machine(object.value()).map(|machine| machine.revision.max(self.all_changed()))
            }
            _ => None,
        }
    }
}

/// Names of inventory objects show three characters as their codes, so that they can stand in a path.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f").replace('\\', "%5c")
}

/// A name as a client gives it: a `%` that begins no code stands for itself.
pub(crate) fn escaped_name(name: &str) -> String {
    escaped(&plain(name))
}

/// The name behind an escaped one.
pub(crate) fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).unwrap_or_default().to_ascii_lowercase();
        let (c, length) = match code.as_str() {
            "2f" => ('/', 3),
            "5c" => ('\\', 3),
            "25" => ('%', 3),
            _ => ('%', 1),
        };
        text.push(c);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    text
}

/// A reference of a known type.
pub(crate) fn moref<M: Managed>(id: &str) -> MoRef<M> {
    MoRef::new(id)
}

/// An array of references.
pub(crate) fn refs<M>(items: impl IntoIterator<Item = MoRef<M>>) -> Value {
    Value::array("ManagedObjectReference", items.into_iter().map(|item| Value::MoRef(item.cast())).collect())
}

/// An array of strings.
pub(crate) fn strings(items: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::array("string", items.into_iter().map(|item| Value::String(item.into())).collect())
}

/// A machine's reference.
pub(crate) fn machine_ref(machine: &Machine) -> MoRef<mo::VirtualMachine> {
    moref(&machine.id)
}
