//! The stored types. What was optional on the wire is optional here; nothing else is.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a list of machines shows of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Essentials {
    /// Display name.
    pub name: String,
    /// BIOS uuid.
    pub bios_uuid: String,
    /// instanceUuid.
    pub instance_uuid: Option<String>,
    /// The API's name of the guest's system, such as `debian12_64Guest`.
    pub guest_id: String,
    /// The same for people.
    pub guest_name: String,
    /// `bios` or `efi`.
    pub firmware: Option<String>,
    /// Version of the virtual hardware, such as `vmx-19`.
    pub hardware_version: String,
    /// Virtual processors.
    pub cpus: i32,
    /// Of them in each socket.
    pub cores_per_socket: Option<i32>,
    /// Memory in MiB.
    pub memory_mib: i32,
    /// Notes.
    pub annotation: Option<String>,
    /// Whether it is a template.
    pub template: bool,
    /// Datastore path of the VMX file.
    pub vmx_path: Option<String>,
    /// The extension that manages it, and as what.
    pub managed_by: Option<(String, String)>,
    /// Id of the key that encrypts its home, and the key provider's id.
    pub encryption_key: Option<(String, Option<String>)>,
    /// Whether its disks' changes were tracked.
    pub change_tracking: Option<bool>,
    /// Name and URL of each datastore that it uses: the URL tells the same one after a rename.
    pub datastores: Vec<(String, String)>,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// A device of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Device {
    /// The API's type.
    pub kind: String,
    /// Device key.
    pub key: i32,
    /// Label, such as "Network adapter 1".
    pub label: Option<String>,
    /// What it is, in the server's words.
    pub summary: Option<String>,
    /// Key of its controller.
    pub controller: Option<i32>,
    /// Its place on the controller.
    pub unit: Option<i32>,
    /// The API's type of its backing.
    pub backing: Option<String>,
}

/// A file of the machine, with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MachineFile {
    /// Datastore path.
    pub path: String,
    /// The content.
    pub content: Content,
}

/// Bytes that are base64 in JSON, and are not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

/// A file as `layoutEx` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayoutFile {
    /// The list's own number.
    pub key: i32,
    /// Datastore path.
    pub path: String,
    /// The API's word for it, such as `nvram` or `diskExtent`.
    pub kind: String,
    /// Bytes.
    pub size: i64,
    /// Of them those that no other machine shares.
    pub unique_size: Option<i64>,
}

/// A custom attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attribute {
    /// Name of the attribute.
    pub name: String,
    /// Type of the objects that may have it; `None` for all.
    pub on: Option<String>,
    /// Its value here.
    pub value: String,
}

/// Storage policies of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Policies {
    /// That of its home; `None`: the datastore's default.
    pub home: Option<Policy>,
    /// Those of its disks by device key; those that are not here have the datastore's default.
    pub disks: BTreeMap<i32, Policy>,
}

/// A storage policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// Id, which another vCenter does not know.
    pub id: String,
    /// Name.
    pub name: String,
}

/// Where a machine is. Paths are inventory paths, such as `/DC0/vm/prod`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Place {
    /// The datacenter's path.
    pub datacenter: Option<String>,
    /// The folder's path; `None` for a machine that is in a vApp only.
    pub folder: Option<String>,
    /// The path of the vApp that it is in.
    pub vapp: Option<String>,
    /// The resource pool's path; `None` for a template.
    pub pool: Option<String>,
    /// Name of the host that it runs on.
    pub host: Option<String>,
    /// Path of that host's cluster, or of the host's own compute resource.
    pub compute: Option<String>,
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Grant {
    /// The user or group, such as `EXAMPLE\backup`.
    pub principal: String,
    /// Whether it is a group.
    pub group: bool,
    /// Name of the role; its number where the name could not be read.
    pub role: String,
    /// Whether it holds for what is below as well.
    pub propagate: bool,
}

/// A network adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Nic {
    /// Device key.
    pub key: i32,
    /// Label, such as "Network adapter 1".
    pub label: Option<String>,
    /// Its MAC address.
    pub mac: Option<String>,
    /// Who has chosen it: `assigned`, `generated` or `manual`.
    pub address_type: Option<String>,
    /// What it was connected to.
    pub network: Network,
}

/// What a network adapter is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Network {
    /// A portgroup of a host's own switch.
    Standard {
        /// Its name.
        name: String,
    },
    /// A portgroup of a distributed switch.
    Distributed {
        /// The portgroup's key, which its vCenter alone knows.
        portgroup_key: Option<String>,
        /// The portgroup's name, if it could be read.
        portgroup: Option<String>,
        /// The switch's uuid.
        switch_uuid: String,
        /// The switch's name, if it could be read.
        switch: Option<String>,
    },
    /// A network of NSX, or another that vSphere does not look into.
    Opaque {
        /// Its id.
        id: String,
        /// Its type, such as `nsx.LogicalSwitch`.
        of: String,
    },
    /// Something else.
    Other {
        /// The API's type of the backing.
        backing: String,
    },
}

/// What a cluster says of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Drs {
    /// Rules that name it, or a group that it is in.
    pub rules: Vec<DrsRule>,
    /// Groups of machines that it is in.
    pub groups: Vec<String>,
    /// Its own level of automation, where it differs from the cluster's.
    pub automation: Option<String>,
    /// When HA starts it again, where that differs from the cluster's.
    pub restart_priority: Option<String>,
}

/// A rule of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrsRule {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// Whether it has to be kept, or only should.
    pub mandatory: Option<bool>,
    /// What it says.
    pub rule: DrsRuleKind,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum DrsRuleKind {
    /// These machines belong on one host.
    Together {
        /// Their names.
        machines: Vec<String>,
    },
    /// These machines belong on different hosts.
    Apart {
        /// Their names.
        machines: Vec<String>,
    },
    /// A group of machines belongs on a group of hosts, or does not.
    OnHosts {
        /// The group of machines.
        machines: String,
        /// The hosts where they belong.
        on: Option<String>,
        /// The hosts where they do not.
        not_on: Option<String>,
    },
    /// Another one.
    Other {
        /// The API's type of it.
        of: String,
    },
}

/// The vApp options of a machine. All of them are in the configuration's XML; these are what a person looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct VApp {
    /// Products.
    pub products: Vec<VAppProduct>,
    /// Properties.
    pub properties: Vec<VAppProperty>,
    /// How the guest is given its properties.
    pub transports: Vec<String>,
    /// How addresses are assigned.
    pub ip_policy: Option<String>,
}

/// A product of a machine's vApp options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VAppProduct {
    /// Its name.
    pub name: Option<String>,
    /// Who makes it.
    pub vendor: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// A property of a machine's vApp options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VAppProperty {
    /// Its whole id, `class.id.instance`.
    pub id: String,
    /// Its type.
    pub of: Option<String>,
    /// Its value; never that of a password, which is in the configuration's XML alone.
    pub value: Option<String>,
    /// The value that holds where there is none, with the same exception.
    pub default: Option<String>,
}

/// A snapshot that a machine had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotNode {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// When it was taken, as the server writes it.
    pub created: String,
    /// Whether the guest was at rest.
    pub quiesced: bool,
    /// Index in the list of the one that it is based on.
    pub parent: Option<usize>,
}

/// What a guest said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Guest {
    /// Its host name.
    pub host_name: Option<String>,
    /// Its first address.
    pub address: Option<String>,
    /// All addresses, by MAC address of the adapter.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// The API's name of the system that runs.
    pub guest_id: Option<String>,
    /// The same for people.
    pub system: Option<String>,
    /// Version of VMware Tools.
    pub tools_version: Option<String>,
    /// Whether they ran.
    pub tools_running: Option<String>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}
