//! What a simulator is to be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use sim_store::guest::image::ImagePlan;
use vim_api::ApiVersion;

use super::{Sim, setup};
use crate::Result;
use crate::clock::Clock;
use crate::datastores::DatastoreSpec;
use crate::mode::Mode;
use crate::style::WireStyle;
use crate::topology::Topology;
use crate::users::Group;

/// A simulator that is being described.
#[must_use = "nothing runs until it is started"]
pub struct Builder {
    pub(super) mode: Mode,
    pub(super) vms: Vec<VmSpec>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    /// Further users: name, password, name of the role.
    pub(super) users: Vec<(String, SecretString, Option<String>)>,
    pub(super) groups: Vec<(Group, Option<String>)>,
    /// Roles with the ids of their privileges.
    pub(super) roles: Vec<(String, Vec<String>)>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listen: SocketAddr,
    pub(super) control: Option<SocketAddr>,
    pub(super) version: ApiVersion,
    pub(super) task_duration: Duration,
    pub(super) property_page: usize,
    pub(super) sts_apart: bool,
    pub(super) topology: Topology,
    pub(super) generated: Option<Generated>,
    pub(super) clock: Clock,
    pub(super) style: WireStyle,
    pub(super) datastores: Vec<DatastoreSpec>,
    pub(super) tracking: TrackingRules,
}

/// How changed blocks are told of, where servers differ, by release and by storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackingRules {
    /// Tracking begins anew, so that change ids of before are refused, when the power goes while the guest runs, by
    /// `PowerOffVM_Task`. Not so by default.
    pub renewed_by_power_loss: bool,
    /// The same when the files of the machine move to another datastore. So by default.
    pub renewed_by_relocation: bool,
    /// Most areas in one answer, at least 1; 2,000 by default. With fewer the answers about small disks have several windows too.
    pub areas_in_answer: usize,
}

impl Default for TrackingRules {
    fn default() -> Self {
        let areas_in_answer = sim_store::tracking::DEFAULT_MAX_EXTENTS;
        Self { renewed_by_power_loss: false, renewed_by_relocation: true, areas_in_answer }
    }
}

/// Machines by the thousand, alike but for their names (`vm-1` and so on), uuids and places, and the same at every start.
/// Their disks are empty, and take no space before somebody uses the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// How many there are.
    pub count: u32,
    /// What their uuids and addresses are drawn from.
    pub seed: u64,
    /// Capacities of their disks, in bytes, multiples of 512.
    pub disks: Vec<u64>,
    /// Whether change tracking is on from the start.
    pub cbt: bool,
    /// Whether they are on.
    pub powered_on: bool,
}

impl Generated {
    /// `count` machines that are on, of two disks of 1 GiB and 256 MiB.
    pub fn new(count: u32) -> Self {
        Self { count, seed: 0, disks: vec![1 << 30, 256 << 20], cbt: false, powered_on: true }
    }
}

/// A machine to be made.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// Display name.
    pub name: String,
    /// Its disks; the first gets the device key 2000.
    pub disks: Vec<DiskSpec>,
    /// Whether it is on.
    pub powered_on: bool,
    /// Whether change tracking is on from the start.
    pub cbt: bool,
}

/// A disk to be made.
#[derive(Debug, Clone)]
pub struct DiskSpec {
    /// Capacity in bytes, a multiple of 512. Not looked at for a raw image, which has its own.
    pub capacity_bytes: u64,
    /// Whether it takes space only where it was written.
    pub thin: bool,
    /// What is on it.
    pub content: Content,
}

/// What is on a new disk.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing.
    Empty,
    /// A partition with a file system and files, made from a plan; see [`SimVm::image_manifest`](super::SimVm).
    Image(ImagePlan),
    /// A copy of a raw image, as large as that and thin; runs of zeros are left unallocated.
    RawFile(PathBuf),
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            vms: Vec::new(),
            user: None,
            password: None,
            users: Vec::new(),
            groups: Vec::new(),
            roles: Vec::new(),
            data_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: None,
            version: crate::inventory::default_version(),
            task_duration: Duration::from_millis(30),
            property_page: 1000,
            sts_apart: false,
            topology: Topology::default(),
            generated: None,
            clock: Clock::Real,
            style: WireStyle::default(),
            datastores: Vec::new(),
            tracking: TrackingRules::default(),
        }
    }
}

impl Builder {
    /// What the simulator is: a vCenter unless this says otherwise. A data folder is of one mode for good.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Adds a machine. With a data folder that is in use already, machines that it has by that name are kept as
    /// they are.
    pub fn vm(mut self, spec: VmSpec) -> Self {
        self.vms.push(spec);
        self
    }

    /// Adds machines by the thousand. With a data folder that is in use already, it has those that it was made with.
    pub fn generate(mut self, machines: Generated) -> Self {
        self.generated = Some(machines);
        self
    }

    /// How many datacenters, hosts and the like there are; by default one of each. With a data folder that is in use
    /// already, it has those that it was made with. A host by itself has one of each; only its datastores and networks can
    /// be more.
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Who may log in; by default `administrator@vsphere.local`, or `root` on a host, with a random password.
    pub fn user(mut self, name: &str, password: SecretString) -> Self {
        self.user = Some(name.to_owned());
        self.password = Some(password);
        self
    }

    /// Adds a user who has a role on the root folder and all below it. The role is one that every server has (`Admin`,
    /// `ReadOnly`, `NoAccess`, `NoCryptoAdmin`), or one of [`add_role`](Self::add_role). A user whose permissions are in
    /// a data folder already keeps those. With `None` as the role the user has what its groups have, and without any of
    /// that no way in.
    pub fn add_user<'a>(
        mut self,
        name: &str,
        password: SecretString,
        role: impl Into<Option<&'a str>>,
    ) -> Self {
        self.users.push((name.to_owned(), password, role.into().map(str::to_owned)));
        self
    }

    /// Adds a group of users, who have its role on the root folder and all below it. On an object where a user and its
    /// groups have permissions, the user's own counts alone; where only groups have some, what any of them may do. `members`
    /// are users of this builder. As with users, permissions in a data folder stay, and `None` gives none.
    pub fn add_group<'a>(mut self, name: &str, members: &[&str], role: impl Into<Option<&'a str>>) -> Self {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.push((Group { name: name.to_owned(), members }, role.into().map(str::to_owned)));
        self
    }

    /// Adds a role with these privileges, given by their ids, and with those that each role has. A role of that name in
    /// a data folder stays as it is.
    pub fn add_role(mut self, name: &str, privileges: &[&str]) -> Self {
        self.roles.push((name.to_owned(), privileges.iter().map(|id| (*id).to_owned()).collect()));
        self
    }

    /// Where state and datastores are kept; by default a temporary folder that goes when the simulator stops.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Where to listen; by default on a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Opens the control port, plain HTTP without any login. The address must be a loopback one.
    pub fn control(mut self, address: SocketAddr) -> Self {
        self.control = Some(address);
        self
    }

    /// The versions of the API that a simulator can be started with, the oldest first: 6.7 to 9.1.
    pub fn api_versions() -> impl DoubleEndedIterator<Item = ApiVersion> {
        crate::inventory::served_versions()
    }

    /// The newest API version that the server speaks, one of [`api_versions`](Self::api_versions); 8.0.3.0 by default. What
    /// is newer is not there: fields, types, properties and methods. The release, build and hardware that such a server has
    /// come with it. A client that speaks an older version is answered in that one.
    pub fn api_version(mut self, version: ApiVersion) -> Self {
        self.version = version;
        self
    }

    /// How long a task takes at least, 30 ms by default.
    pub fn task_duration(mut self, duration: Duration) -> Self {
        self.task_duration = duration;
        self
    }

    /// Most objects in one answer of `RetrievePropertiesEx`, at least 1; 1000 by default. A server may send fewer than
    /// it was asked for.
    pub fn property_page(mut self, objects: usize) -> Self {
        self.property_page = objects.max(1);
        self
    }

    /// Puts the STS on a port of its own with a certificate of its own, as on a platform services controller of 6.7: the
    /// lookup service tells where.
    pub fn sts_apart(mut self) -> Self {
        self.sts_apart = true;
        self
    }

    /// What the server's clock goes by; by default the real time.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How answers are written.
    pub fn wire(mut self, style: WireStyle) -> Self {
        self.style = style;
        self
    }

    /// Makes a datastore otherwise than usual. With a data folder that is in use already, datastores stay what they are.
    pub fn datastore(mut self, spec: DatastoreSpec) -> Self {
        self.datastores.push(spec);
        self
    }

    /// How changed blocks are told of.
    pub fn tracking(mut self, rules: TrackingRules) -> Self {
        self.tracking = rules;
        self
    }

    /// Makes the disks and starts to listen.
    ///
    /// # Errors
    /// `InvalidArgument` for machines that cannot be, for an API version that is not served, and for a topology that does
    /// not fit the mode; `InvalidState` for a data folder of the other mode, or in use; `Store` when a file cannot be read or written; `Network` when
    /// no socket can be bound.
    pub async fn start(self) -> Result<Sim> {
        setup::start(self).await
    }
}

impl VmSpec {
    /// A machine without disks that is on.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), disks: Vec::new(), powered_on: true, cbt: false }
    }

    /// Adds a disk.
    #[must_use]
    pub fn disk(mut self, disk: DiskSpec) -> Self {
        self.disks.push(disk);
        self
    }

    /// Change tracking is on from the start.
    #[must_use]
    pub fn cbt(mut self) -> Self {
        self.cbt = true;
        self
    }

    /// The machine is off.
    #[must_use]
    pub fn powered_off(mut self) -> Self {
        self.powered_on = false;
        self
    }
}

impl DiskSpec {
    /// An empty thin disk of `capacity_bytes`.
    pub fn empty(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, thin: true, content: Content::Empty }
    }

    /// A thin disk of `capacity_bytes` with a partition, a file system and files.
    pub fn image(capacity_bytes: u64, plan: ImagePlan) -> Self {
        Self { capacity_bytes, thin: true, content: Content::Image(plan) }
    }

    /// A thin disk with a copy of a raw image, as large as the image.
    pub fn raw_file(path: impl Into<PathBuf>) -> Self {
        Self { capacity_bytes: 0, thin: true, content: Content::RawFile(path.into()) }
    }
}
