//! The inventory of a new server: how many of what, and how they hang together.

use std::fs;
use std::path::Path;

use sim_store::Datastore;

use crate::datastores::Volume;
use crate::host_datastores::Remote;
use crate::inventory::places::HOST_DATACENTER;
use crate::inventory::tree::{Entity, Holds, Kind, Tree};
use crate::mode::Mode;
use crate::world::Stored;
use crate::{Error, ErrorKind, Result, random};

/// What a datastore says of its size in bytes, whatever the host's disk has.
const CAPACITY: u64 = 4 << 40;

/// The first machine of a vCenter is `vm-101`, and of a host `1`.
const FIRST_MACHINE: u32 = 101;
const FIRST_MACHINE_OF_HOST: u32 = 1;

/// What a host is called that nobody gave a name.
const HOST_NAME: &str = "localhost.localdomain";

/// What has no id of its own counts from here.
const FIRST_ENTITY: u32 = 1001;

/// How many of each there shall be, over the whole server. Of what a datacenter cannot do without, each gets one at
/// least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Datacenters, `DC0` and so on.
    pub datacenters: u32,
    /// Clusters, `Cluster0` and so on, in turns over the datacenters.
    pub clusters: u32,
    /// Hosts, in turns over the clusters.
    pub hosts: u32,
    /// Resource pools beside the one that each cluster has, in turns over the clusters.
    pub pools: u32,
    /// Datastores, `datastore1` and so on, in turns over the datacenters.
    pub datastores: u32,
    /// Networks, `VM Network` and so on, in turns over the datacenters.
    pub networks: u32,
    /// Folders for machines, `Folder0` and so on, in turns over the datacenters.
    pub folders: u32,
}

impl Default for Topology {
    /// One of each, and no folders or pools beyond those that have to be.
    fn default() -> Self {
        Self { datacenters: 1, clusters: 1, hosts: 1, pools: 0, datastores: 1, networks: 1, folders: 0 }
    }
}

impl Topology {
    /// # Errors
    /// `InvalidArgument` for more than a host by itself has.
    pub(crate) fn check(&self, mode: Mode) -> Result<()> {
        let most = [
            ("datacenters", self.datacenters, 1),
            ("clusters", self.clusters, 1),
            ("hosts", self.hosts, 1),
            ("pools", self.pools, 0),
            ("folders", self.folders, 0),
        ];
        let too_many = most.iter().find(|(_, wanted, most)| mode.is_host() && wanted > most);
        let Some((what, wanted, _)) = too_many else { return Ok(()) };
        let message = format!(
            "{wanted} {what} do not fit {}: it has one datacenter, one host and one resource pool, and only datastores, \
             networks and machines can be chosen",
            mode.title()
        );
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }
}

/// Makes the state of a new server and the folders of its datastores.
pub(crate) fn new_state(data_dir: &Path, mode: Mode, topology: &Topology) -> Result<Stored> {
    let mut maker = Maker { tree: Tree::default(), next: FIRST_ENTITY, data_dir };
    match mode {
        Mode::VirtualCenter => maker.center(topology)?,
        Mode::HostAgent => maker.host(topology)?,
    }
    Ok(Stored {
        instance_uuid: random::uuid(),
        users: Vec::new(),
        groups: Vec::new(),
        tree: maker.tree,
        population: None,
        mode,
        authorization: Default::default(),
        extensions: Default::default(),
        custom_fields: Default::default(),
        options: Default::default(),
        next_id: if mode.is_host() { FIRST_MACHINE_OF_HOST } else { FIRST_MACHINE },
        next_entity: maker.next,
    })
}

/// A new datastore over its files.
pub(crate) fn datastore_kind(files: Datastore, remote: Option<Remote>) -> Kind {
    let uuid = format!("{}-{}-{}-{}", random::hex(4), random::hex(4), random::hex(2), random::hex(6));
    Kind::Datastore { files, uuid, capacity: CAPACITY, remote, volume: Volume::default() }
}

struct Maker<'a> {
    tree: Tree,
    next: u32,
    data_dir: &'a Path,
}

impl Maker<'_> {
    fn center(&mut self, wish: &Topology) -> Result<()> {
        self.add("group-d", Some("group-d1"), "Datacenters", None, Kind::Folder(Holds::Datacenters));
        let datacenters: Vec<_> =
            (0..wish.datacenters.max(1)).map(|number| self.datacenter(number)).collect();
        let turn = |number: u32, count: usize| number as usize % count;
        let mut clusters = Vec::new();
        for number in 0..wish.clusters.max(wish.datacenters) {
            let parent = datacenters[turn(number, datacenters.len())].hosts.clone();
            let first = number == 0;
            let name = format!("Cluster{number}");
            let id = self.add("domain-c", first.then_some("domain-c8"), &name, Some(&parent), Kind::Cluster);
            let pool =
                self.add("resgroup-", first.then_some("resgroup-9"), "Resources", Some(&id), Kind::Pool);
            clusters.push((id, pool));
        }
        for number in 0..wish.hosts.max(wish.clusters) {
            let (cluster, _) = clusters[turn(number, clusters.len())].clone();
            // The first is where the data paths of backup programs lead, which resolve its name.
            let (id, name) = match number {
                0 => (Some("host-21"), "127.0.0.1".to_owned()),
                _ => (None, format!("esx{number:03}.sim.example")),
            };
            self.add("host-", id, &name, Some(&cluster), Kind::Host { uuid: random::uuid() });
        }
        for number in 0..wish.pools {
            let (_, root) = clusters[turn(number, clusters.len())].clone();
            self.add("resgroup-", None, &format!("Pool{number}"), Some(&root), Kind::Pool);
        }
        for number in 0..wish.folders {
            let parent = datacenters[turn(number, datacenters.len())].vms.clone();
            self.add("group-v", None, &format!("Folder{number}"), Some(&parent), Kind::Folder(Holds::Vms));
        }
        for number in 0..wish.networks.max(wish.datacenters) {
            let parent = datacenters[turn(number, datacenters.len())].networks.clone();
            let id = (number == 0).then_some("network-31");
            self.add("network-", id, &network_name(number), Some(&parent), Kind::Network);
        }
        for number in 0..wish.datastores.max(wish.datacenters) {
            let parent = datacenters[turn(number, datacenters.len())].datastores.clone();
            let id = (number == 0).then_some("datastore-11");
            let name = format!("datastore{}", number + 1);
            let kind = self.datastore(&name)?;
            self.add("datastore-", id, &name, Some(&parent), kind);
        }
        Ok(())
    }

    /// A host names its objects by what they are, its networks by their names, and its datastores by their uuids.
    fn host(&mut self, wish: &Topology) -> Result<()> {
        let mut named = |id: &str, name: &str, parent, kind| {
            self.add("", Some(id), name, parent, kind);
        };
        named("ha-folder-root", "ha-folder-root", None, Kind::Folder(Holds::Datacenters));
        named(HOST_DATACENTER, HOST_DATACENTER, Some("ha-folder-root"), Kind::Datacenter);
        for (id, name, holds) in [
            ("ha-folder-vm", "vm", Holds::Vms),
            ("ha-folder-host", "host", Holds::Hosts),
            ("ha-folder-datastore", "datastore", Holds::Datastores),
            ("ha-folder-network", "network", Holds::Networks),
        ] {
            named(id, name, Some(HOST_DATACENTER), Kind::Folder(holds));
        }
        named("ha-compute-res", HOST_NAME, Some("ha-folder-host"), Kind::Standalone);
        named("ha-root-pool", "Resources", Some("ha-compute-res"), Kind::Pool);
        named("ha-host", HOST_NAME, Some("ha-compute-res"), Kind::Host { uuid: random::uuid() });
        for number in 0..wish.networks.max(1) {
            let name = network_name(number);
            let id = format!("HaNetwork-{name}");
            self.add("", Some(&id), &name, Some("ha-folder-network"), Kind::Network);
        }
        for number in 0..wish.datastores.max(1) {
            let name = format!("datastore{}", number + 1);
            let kind = self.datastore(&name)?;
            let Kind::Datastore { uuid, .. } = &kind else { continue };
            let id = uuid.clone();
            self.add("", Some(&id), &name, Some("ha-folder-datastore"), kind);
        }
        Ok(())
    }

    fn datacenter(&mut self, number: u32) -> Folders {
        let first = number == 0;
        let id = self.add(
            "datacenter-",
            first.then_some("datacenter-2"),
            &format!("DC{number}"),
            Some("group-d1"),
            Kind::Datacenter,
        );
        let mut folder = |prefix: &str, fixed: &str, name: &str, holds| {
            self.add(prefix, first.then_some(fixed), name, Some(&id), Kind::Folder(holds))
        };
        Folders {
            vms: folder("group-v", "group-v3", "vm", Holds::Vms),
            hosts: folder("group-h", "group-h4", "host", Holds::Hosts),
            datastores: folder("group-s", "group-s5", "datastore", Holds::Datastores),
            networks: folder("group-n", "group-n6", "network", Holds::Networks),
        }
    }

    fn datastore(&self, name: &str) -> Result<Kind> {
        let root = self.data_dir.join("datastores").join(name);
        let root = fs::create_dir_all(&root)
            .and_then(|()| fs::canonicalize(&root))
            .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", root.display()), error))?;
        let files =
            Datastore::new(name, root).map_err(|error| Error::store("naming the datastore", error))?;
        Ok(datastore_kind(files, None))
    }

    fn add(
        &mut self,
        prefix: &str,
        fixed: Option<&str>,
        name: &str,
        parent: Option<&str>,
        kind: Kind,
    ) -> String {
        let id = match fixed {
            Some(id) => id.to_owned(),
            None => {
                self.next += 1;
                format!("{prefix}{}", self.next - 1)
            }
        };
        let (name, parent) = (name.to_owned(), parent.map(str::to_owned));
        self.tree.insert(Entity { id: id.clone(), name, parent, kind });
        id
    }
}

fn network_name(number: u32) -> String {
    match number {
        0 => "VM Network".to_owned(),
        _ => format!("VM Network {number}"),
    }
}

/// The folders of a datacenter.
struct Folders {
    vms: String,
    hosts: String,
    datastores: String,
    networks: String,
}
