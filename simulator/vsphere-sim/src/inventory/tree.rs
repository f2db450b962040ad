//! The inventory tree without its machines: datacenters, folders, clusters, hosts, pools, networks and datastores.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sim_store::Datastore;
use vim_api::MoRef;

use crate::datastores::Volume;
use crate::host_datastores::Remote;
use crate::mode::Mode;

/// The tree. Machines are leaves that name their folder, host and pool themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entity>", into = "Vec<Entity>")]
pub(crate) struct Tree {
    entities: HashMap<String, Entity>,
    /// The ids, in the order in which the entities were made.
    order: Vec<String>,
    children: HashMap<String, Vec<String>>,
    root: String,
}

/// An inventory object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entity {
    /// Managed object id, such as `host-21`.
    pub(crate) id: String,
    /// As the API shows it: `/`, `\` and `%` are escaped.
    pub(crate) name: String,
    /// `None` for the root folder.
    pub(crate) parent: Option<String>,
    pub(crate) kind: Kind,
}

/// What an entity is, with what belongs to it alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Kind {
    Folder(Holds),
    Datacenter,
    Cluster,
    /// A host by itself: a `ComputeResource` that is no cluster.
    Standalone,
    Host {
        uuid: String,
    },
    Pool,
    Network,
    Datastore {
        files: Datastore,
        /// The uuid in its URL.
        uuid: String,
        /// What it says of its size, in bytes, whatever the host's disk has.
        capacity: u64,
        /// Where the files are said to be, if not on disks of the hosts.
        #[serde(default)]
        remote: Option<Remote>,
        #[serde(default)]
        volume: Volume,
    },
    Pod,
}

/// What a folder is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Holds {
    Datacenters,
    Vms,
    Hosts,
    Datastores,
    Networks,
}

impl Holds {
    /// `Folder.childType`.
    pub(crate) fn child_types(self, mode: Mode) -> impl Iterator<Item = &'static str> {
        let (own, of_center) = match self {
            Self::Datacenters => ("Datacenter", None),
            Self::Vms => ("VirtualMachine", Some("VirtualApp")),
            Self::Hosts => ("ComputeResource", None),
            Self::Datastores => ("Datastore", Some("StoragePod")),
            Self::Networks => ("Network", Some("DistributedVirtualSwitch")),
        };
        // The folders of a host hold no folders, and nothing that only a vCenter has.
        let is_center = !mode.is_host();
        let folder = is_center.then_some("Folder");
        folder.into_iter().chain([own]).chain(of_center.filter(move |_| is_center))
    }

    /// What stands before the number in a folder's id.
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Self::Datacenters => "group-d",
            Self::Vms => "group-v",
            Self::Hosts => "group-h",
            Self::Datastores => "group-s",
            Self::Networks => "group-n",
        }
    }
}

impl Entity {
    /// The managed object type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Folder(_) => "Folder",
            Kind::Datacenter => "Datacenter",
            Kind::Cluster => "ClusterComputeResource",
            Kind::Standalone => "ComputeResource",
            Kind::Host { .. } => "HostSystem",
            Kind::Pool => "ResourcePool",
            Kind::Network => "Network",
            Kind::Datastore { .. } => "Datastore",
            Kind::Pod => "StoragePod",
        }
    }

    /// Its reference.
    pub(crate) fn reference(&self) -> MoRef {
        MoRef::of_type(self.type_name(), self.id.as_str())
    }

    /// Its reference, by the type that the caller knows it to be of.
    pub(crate) fn typed<M: vim_api::mo::Managed>(&self) -> MoRef<M> {
        super::moref(&self.id)
    }

    /// The files of a datastore.
    pub(crate) fn files(&self) -> Option<&Datastore> {
        match &self.kind {
            Kind::Datastore { files, .. } => Some(files),
            _ => None,
        }
    }
}

impl Tree {
    /// An entity by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Entity> {
        self.entities.get(id)
    }

    /// An entity by its id, to be renamed and the like; its place changes by [`moved`](Self::moved) alone.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Entity> {
        self.entities.get_mut(id)
    }

    /// An entity by its reference; the type has to be right.
    pub(crate) fn find(&self, object: &MoRef) -> Option<&Entity> {
        self.get(object.value()).filter(|entity| entity.type_name() == object.type_name())
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// All entities, in the order in which they were made; those of the same parent also after another start.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.order.iter().filter_map(|id| self.entities.get(id))
    }

    /// What is directly below an entity, in the order in which it was made.
    pub(crate) fn children(&self, id: &str) -> impl Iterator<Item = &Entity> {
        self.children.get(id).into_iter().flatten().filter_map(|child| self.get(child))
    }

    /// The datastores, in the order in which they were made.
    pub(crate) fn datastores(&self) -> impl Iterator<Item = (&Entity, &Datastore)> {
        self.iter().filter_map(|entity| entity.files().map(|files| (entity, files)))
    }

    /// A datastore by its name.
    pub(crate) fn datastore(&self, name: &str) -> Option<(&Entity, &Datastore)> {
        self.datastores().find(|(_, files)| files.name() == name)
    }

    /// The entity itself and what is above it, up to the root.
    pub(crate) fn upwards(&self, id: &str) -> impl Iterator<Item = &Entity> + use<'_> {
        std::iter::successors(self.get(id), |entity| self.get(entity.parent.as_deref()?))
    }

    /// All that is below an entity: level by level, and in the order in which it was made.
    pub(crate) fn below(&self, id: &str) -> Vec<&Entity> {
        let mut found = Vec::new();
        let mut open: VecDeque<&Entity> = self.children(id).collect();
        while let Some(entity) = open.pop_front() {
            open.extend(self.children(&entity.id));
            found.push(entity);
        }
        found
    }

    /// The datacenter that an entity is in.
    pub(crate) fn datacenter_of(&self, id: &str) -> Option<&Entity> {
        self.upwards(id).find(|entity| matches!(entity.kind, Kind::Datacenter))
    }

    /// The folder of a datacenter for one kind of objects.
    pub(crate) fn folder_of(&self, datacenter: &str, holds: Holds) -> Option<&Entity> {
        let is_it = |entity: &&Entity| matches!(entity.kind, Kind::Folder(found) if found == holds);
        self.children(datacenter).find(is_it)
    }

    /// The pool that a cluster or host has by itself.
    pub(crate) fn root_pool(&self, compute: &str) -> Option<&Entity> {
        self.children(compute).find(|entity| matches!(entity.kind, Kind::Pool))
    }

    /// The cluster, or host by itself, that a pool or host belongs to.
    pub(crate) fn owner_of(&self, id: &str) -> Option<&Entity> {
        self.upwards(id).find(|entity| matches!(entity.kind, Kind::Cluster | Kind::Standalone))
    }

    /// The hosts of a cluster, or of a host by itself.
    pub(crate) fn hosts_of(&self, compute: &str) -> impl Iterator<Item = &Entity> {
        self.children(compute).filter(|entity| matches!(entity.kind, Kind::Host { .. }))
    }

    /// Adds an entity, or replaces it where it is.
    pub(crate) fn insert(&mut self, entity: Entity) {
        match &entity.parent {
            Some(parent) => {
                let siblings = self.children.entry(parent.clone()).or_default();
                if !siblings.contains(&entity.id) {
                    siblings.push(entity.id.clone());
                }
            }
            None => self.root.clone_from(&entity.id),
        }
        if self.entities.insert(entity.id.clone(), entity.clone()).is_none() {
            self.order.push(entity.id);
        }
    }

    /// Takes an entity without children out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Entity> {
        let entity = self.entities.remove(id)?;
        self.order.retain(|other| other != id);
        if let Some(siblings) = entity.parent.as_ref().and_then(|parent| self.children.get_mut(parent)) {
            siblings.retain(|sibling| sibling != id);
        }
        self.children.remove(id);
        Some(entity)
    }

    /// Puts an entity below another.
    pub(crate) fn moved(&mut self, id: &str, parent: &str) {
        let Some(entity) = self.entities.get_mut(id) else { return };
        if let Some(siblings) = entity.parent.as_ref().and_then(|old| self.children.get_mut(old)) {
            siblings.retain(|sibling| sibling != id);
        }
        entity.parent = Some(parent.to_owned());
        self.children.entry(parent.to_owned()).or_default().push(id.to_owned());
    }
}

impl From<Vec<Entity>> for Tree {
    fn from(entities: Vec<Entity>) -> Self {
        let mut tree = Self::default();
        entities.into_iter().for_each(|entity| tree.insert(entity));
        tree
    }
}

impl From<Tree> for Vec<Entity> {
    /// Parents come before their children, and these in their order.
    fn from(mut tree: Tree) -> Self {
        let mut list = Vec::with_capacity(tree.entities.len());
        let mut open = VecDeque::from([tree.root.clone()]);
        while let Some(id) = open.pop_front() {
            open.extend(tree.children.remove(&id).unwrap_or_default());
            list.extend(tree.entities.remove(&id));
        }
        list
    }
}
