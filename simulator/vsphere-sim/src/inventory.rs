//! The managed objects: which there are, how they hang together, and what their properties say.
//!
//! Properties are made when they are asked for, out of the state, as typed structs of `vim_api`.

mod compute;
mod defaults;
mod devices;
mod entity;
mod files;
mod guest;
pub(crate) mod search;
mod service;
mod storage;
pub(crate) mod views;
mod vm;

use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::mo::{self, Managed};

use crate::lease::Lease;
use crate::machine::{Machine, Snapshot};
use crate::session::Session;
use crate::tasks::TaskState;
use crate::world::{DatastoreState, World};

pub(crate) use devices::{FIRST_DISK, SCSI_OWN_UNIT};
pub(crate) use service::default_version;
pub(crate) use vm::power_state;

/// Ids of the objects that every server has.
pub(crate) mod ids {
    pub(crate) const ROOT: &str = "group-d1";
    pub(crate) const DATACENTER: &str = "datacenter-2";
    pub(crate) const VM_FOLDER: &str = "group-v3";
    pub(crate) const HOST_FOLDER: &str = "group-h4";
    pub(crate) const DATASTORE_FOLDER: &str = "group-s5";
    pub(crate) const NETWORK_FOLDER: &str = "group-n6";
    pub(crate) const CLUSTER: &str = "domain-c8";
    pub(crate) const POOL: &str = "resgroup-9";
    pub(crate) const HOST: &str = "host-21";
    pub(crate) const NETWORK: &str = "network-31";
    pub(crate) const BROWSER: &str = "envbrowser-8";
}

/// A managed object with what its properties are made of.
#[derive(Clone, Copy)]
pub(crate) enum Node<'w> {
    /// The service instance and the managers.
    Service(service::Singleton),
    Folder(entity::Folder),
    Datacenter,
    Cluster,
    Pool,
    Host,
    Network,
    Browser,
    Datastore(&'w DatastoreState),
    Machine(&'w Machine),
    Snapshot(&'w Machine, &'w Snapshot),
    Task(&'w TaskState),
    Lease(&'w Lease),
    View(&'w views::View),
    Collector(&'w crate::property_collector::Collector),
    Filter(&'w crate::property_collector::Filter),
}

impl World {
    /// The object behind a reference, if there is one of that type. Some objects are seen by their session only.
    pub(crate) fn node<'w>(&'w self, object: &MoRef, session: Option<&'w Session>) -> Option<Node<'w>> {
        let id = object.value();
        match object.type_name() {
            "Folder" => entity::Folder::of(id).map(Node::Folder),
            "Datacenter" => (id == ids::DATACENTER).then_some(Node::Datacenter),
            "ClusterComputeResource" => (id == ids::CLUSTER).then_some(Node::Cluster),
            "ResourcePool" => (id == ids::POOL).then_some(Node::Pool),
            "HostSystem" => (id == ids::HOST).then_some(Node::Host),
            "Network" => (id == ids::NETWORK).then_some(Node::Network),
            "EnvironmentBrowser" => (id == ids::BROWSER).then_some(Node::Browser),
            "Datastore" => self.stored.datastores.iter().find(|store| store.id == id).map(Node::Datastore),
            "VirtualMachine" => self.machine(id).map(Node::Machine),
            "VirtualMachineSnapshot" => {
                self.snapshot(id).map(|(machine, snapshot)| Node::Snapshot(machine, snapshot))
            }
            "Task" => self.tasks.get(id).map(Node::Task),
            "HttpNfcLease" => self.leases.seen_by(session?, id).map(Node::Lease),
            "ContainerView" => session?.views.get(id).map(Node::View),
            "PropertyCollector" => match session {
                Some(session) => session.collectors.get(id).map(Node::Collector),
                None => service::Singleton::of(object).map(Node::Service),
            },
            "PropertyFilter" => {
                let mut collectors = session?.collectors.values();
                collectors.find_map(|collector| collector.filter(id)).map(Node::Filter)
            }
            _ => service::Singleton::of(object).map(Node::Service),
        }
    }

    /// A property of an object, by its first name. `None` if it is not set, or if the simulator does not have it.
    pub(crate) fn property(&self, node: Node<'_>, name: &str, session: Option<&Session>) -> Option<Value> {
        match node {
            Node::Service(manager) => self.service_property(manager, name, session),
            Node::Folder(folder) => self.folder_property(folder, name),
            Node::Datacenter => self.datacenter_property(name),
            Node::Cluster => self.cluster_property(name),
            Node::Pool => self.pool_property(name),
            Node::Host => self.host_property(name),
            Node::Network => self.network_property(name),
            Node::Browser => None,
            Node::Datastore(datastore) => self.datastore_property(datastore, name),
            Node::Machine(machine) => self.machine_property(machine, name),
            Node::Snapshot(machine, snapshot) => self.snapshot_property(machine, snapshot, name),
            Node::Lease(lease) => lease.property(self, name),
            Node::Task(task) => (name == "info").then(|| task.info().to_value()),
            Node::View(view) => self.view_property(view, name),
            Node::Collector(collector) => (name == "filter").then(|| refs(collector.filters())),
            Node::Filter(filter) => filter.property(name),
        }
    }
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
