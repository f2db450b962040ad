//! What a caller says of a recovery. What is not said is as it was.

use std::collections::BTreeMap;

use vadp_repository::StoredPoint;
use vim_api::Client;

use super::spec::{Identity, Provisioning};
use crate::journal::Journal;
use crate::transport::Vddk;
use crate::verify::Verify;

/// A recovery that is being described.
///
/// ```no_run
/// # use vadp::recover::{Identity, Recover};
/// # async fn example(
/// #     point: &dyn vadp_repository::StoredPoint,
/// #     client: &vim_api::Client,
/// #     vddk: &vadp::Vddk,
/// #     journal: &vadp::Journal,
/// # ) -> Result<(), vadp::Error> {
/// let plan = Recover::new(point, client, vddk, journal)
///     .identity(Identity::Copy)
///     .name("web-01 (recovered)")
///     .datastore("fast")
///     .network("VM Network", "isolated")
///     .plan()
///     .await?;
/// println!("{plan}");
/// let made = plan.run(|event| println!("{event:?}")).await?;
/// println!("{} is there", made.vm.name());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is recovered until it is planned and run"]
pub struct Recover<'a> {
    pub(super) point: &'a dyn StoredPoint,
    pub(super) client: &'a Client,
    pub(super) transport: &'a Vddk,
    pub(super) journal: &'a Journal,
    pub(super) identity: Identity,
    pub(super) name: Option<String>,
    pub(super) folder: Option<String>,
    pub(super) pool: Option<String>,
    pub(super) host: Option<String>,
    pub(super) datastore: Option<String>,
    pub(super) disk_datastores: BTreeMap<i32, String>,
    pub(super) provisioning: Option<Provisioning>,
    pub(super) disk_provisioning: BTreeMap<i32, Provisioning>,
    pub(super) networks: BTreeMap<String, String>,
    pub(super) adapters: BTreeMap<i32, String>,
    pub(super) other_networks: Option<String>,
    pub(super) disconnected: bool,
    pub(super) keep_host_devices: bool,
    pub(super) keep_key: bool,
    pub(super) verify: Verify,
    pub(super) power_on: bool,
}

impl<'a> Recover<'a> {
    /// A machine made of the restore point, on the server that `client` speaks to, which may be another than the one of the backup.
    pub fn new(
        point: &'a dyn StoredPoint,
        client: &'a Client,
        transport: &'a Vddk,
        journal: &'a Journal,
    ) -> Self {
        Self {
            point,
            client,
            transport,
            journal,
            identity: Identity::Same,
            name: None,
            folder: None,
            pool: None,
            host: None,
            datastore: None,
            disk_datastores: BTreeMap::new(),
            provisioning: None,
            disk_provisioning: BTreeMap::new(),
            networks: BTreeMap::new(),
            adapters: BTreeMap::new(),
            other_networks: None,
            disconnected: false,
            keep_host_devices: false,
            keep_key: false,
            verify: Verify::Full,
            power_on: false,
        }
    }

    /// Whether it is the old machine again, which has to be gone, or a copy. Unless said, it is the old one again.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Its name, if not the one that it had.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Inventory path of its folder, such as `/DC0/vm/prod`, if not the one where it was.
    pub fn folder(mut self, path: impl Into<String>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Inventory path of its resource pool, such as `/DC0/host/Cluster0/Resources`, if not the one where it was.
    pub fn pool(mut self, path: impl Into<String>) -> Self {
        self.pool = Some(path.into());
        self
    }

    /// Name of its host. Unless said it is the old one, if that is there, or one that the cluster chooses.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// Name of the datastore of its home and of all disks for which no other is named. Unless said, everything goes to datastores with
    /// the URLs, or else the names, of those where it was.
    pub fn datastore(mut self, name: impl Into<String>) -> Self {
        self.datastore = Some(name.into());
        self
    }

    /// Name of the datastore of a disk, by the device key that it had.
    pub fn disk_datastore(mut self, key: i32, name: impl Into<String>) -> Self {
        self.disk_datastores.insert(key, name.into());
        self
    }

    /// How the space of all disks is taken for which nothing else is said. Unless said, as it was.
    pub fn provisioning(mut self, provisioning: Provisioning) -> Self {
        self.provisioning = Some(provisioning);
        self
    }

    /// How the space of a disk is taken, by the device key that it had.
    pub fn disk_provisioning(mut self, key: i32, provisioning: Provisioning) -> Self {
        self.disk_provisioning.insert(key, provisioning);
        self
    }

    /// The network that takes the place of another, both by name.
    pub fn network(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.networks.insert(from.into(), to.into());
        self
    }

    /// The network of one adapter, by the device key that it had.
    pub fn adapter_network(mut self, key: i32, to: impl Into<String>) -> Self {
        self.adapters.insert(key, to.into());
        self
    }

    /// The network of adapters whose own is not there. Unless said, one that is not there is an error.
    pub fn other_networks(mut self, to: impl Into<String>) -> Self {
        self.other_networks = Some(to.into());
        self
    }

    /// Its adapters are not connected when it is switched on: for a machine whose twin may run somewhere.
    pub fn disconnected(mut self) -> Self {
        self.disconnected = true;
        self
    }

    /// Asks for what only some hosts have: passed-through devices, SR-IOV, memory encryption, persistent memory, affinity to processors.
    /// A host that does not have it refuses the machine. Unless said, all of that is lost.
    pub fn keep_host_devices(mut self) -> Self {
        self.keep_host_devices = true;
        self
    }

    /// Encrypts it with the key that it had, which the target's key provider has to know. Unless said, it is not encrypted, and has no TPM.
    pub fn keep_key(mut self) -> Self {
        self.keep_key = true;
        self
    }

    /// How much of the disks is read back. Everything, unless said.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Whether it is switched on when it is whole. Unless said, it is not.
    pub fn power_on(mut self, power_on: bool) -> Self {
        self.power_on = power_on;
        self
    }
}
