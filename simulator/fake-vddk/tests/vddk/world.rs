//! A simulated server with two machines, written by hand as the SOAP server would.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use secrecy::SecretString;
use sim_store::state::rights::UserRights;
use sim_store::state::{
    CookieHash, FaultRule, FirstClassDiskRecord, FirstClassSnapshotRecord, Inventory, PasswordHash,
    ServerRecord, SessionRecord, SnapshotRecord, UserRecord, VmDisk, VmRecord, store_faults,
};
use sim_store::{Access, Datastore, Disk, DiskSpec, Scope, snapshot};
use tempfile::TempDir;
use vixdisklib::{ConnectOptions, ConnectParams, Connection, Credentials, OpenOptions, Thumbprint, VmSpec};

pub(crate) use super::local::folder::pattern;
use super::setup::kit;
pub(crate) use super::setup::library;

pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const COOKIE: &str = "52ab99cc";
/// The disk under the snapshot of the running machine `vm-101`.
pub(crate) const FROZEN: &str = "[ds] on/on.vmdk";
/// The live disk of the running machine.
pub(crate) const LIVE: &str = "[ds] on/on-000001.vmdk";
/// The disk of `vm-201`, which is off.
pub(crate) const OFF: &str = "[ds] off/off.vmdk";
/// A first-class disk with the snapshot `5-6`.
pub(crate) const FIRST_CLASS: &str = "1-2-3-4";
/// 8 MiB and a tail of 5 sectors that fills no chunk.
pub(crate) const CAPACITY: u64 = (8 << 20) + 5 * 512;

pub(crate) const HOST: &str = "127.0.0.1";

pub(crate) struct World {
    pub(crate) data: TempDir,
    pub(crate) port: u16,
}

impl World {
    pub(crate) fn new() -> World {
        static PORT: AtomicU16 = AtomicU16::new(20_000);
        let world = World { data: tempfile::tempdir().unwrap(), port: PORT.fetch_add(1, Ordering::Relaxed) };
        for name in ["on", "off"] {
            std::fs::create_dir_all(world.data.path().join("ds").join(name)).unwrap();
            let disk = Disk::create(world.host_path(name), &DiskSpec::thin(CAPACITY)).unwrap();
            disk.write_at(1 << 20, &pattern(1, 1 << 20)).unwrap();
        }
        snapshot::create(&world.host_path("on")).unwrap();
        let first_class = world.data.path().join("ds/fcd/disk.vmdk");
        std::fs::create_dir_all(first_class.parent().unwrap()).unwrap();
        Disk::create(&first_class, &DiskSpec::thin(CAPACITY)).unwrap().write_at(0, b"frozen").unwrap();
        let child = snapshot::create(&first_class).unwrap().child;
        Disk::open(child, Access::ReadWrite, Scope::WholeChain).unwrap().write_at(0, b"at now").unwrap();
        world.inventory().store(world.data.path()).unwrap();
        let record = ServerRecord {
            data_dir: world.data.path().to_owned(),
            thumbprint_sha1: thumbprint().as_str().to_owned(),
            thumbprint_sha256: "00".to_owned(),
        };
        record.store(&kit(), HOST, world.port).unwrap();
        world
    }

    /// The descriptor of a machine's base disk.
    pub(crate) fn host_path(&self, name: &str) -> PathBuf {
        self.data.path().join("ds").join(name).join(format!("{name}.vmdk"))
    }

    /// What the store itself reads from a machine's base disk.
    pub(crate) fn stored(&self, name: &str, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let disk = Disk::open(self.host_path(name), Access::ReadOnly, Scope::WholeChain).unwrap();
        disk.read_at(offset, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn faults(&self, rules: &[FaultRule]) {
        store_faults(self.data.path(), rules).unwrap();
    }

    /// What the user may do from now on, as the server would say it.
    pub(crate) fn grant(&self, rights: UserRights) {
        let mut inventory = self.inventory();
        inventory.rights.insert("root".to_owned(), rights);
        inventory.store(self.data.path()).unwrap();
    }

    pub(crate) fn params(&self, vm: &str) -> ConnectParams {
        self.params_with(vm, password(PASSWORD), thumbprint())
    }

    pub(crate) fn params_with(
        &self,
        vm: &str,
        credentials: Credentials,
        thumbprint: Thumbprint,
    ) -> ConnectParams {
        let vm = VmSpec::moref(vm).unwrap();
        params_at(self.port, vm, credentials, thumbprint)
    }

    /// Takes a snapshot of the machine that is off, and gives the path of its live disk from then on.
    pub(crate) fn snapshot_off(&self) -> &'static str {
        let live = "[ds] off/off-000001.vmdk";
        snapshot::create(&self.host_path("off")).unwrap();
        let mut inventory = Inventory::load(self.data.path()).unwrap();
        inventory.vms[1].disks[0].path = live.parse().unwrap();
        inventory.store(self.data.path()).unwrap();
        live
    }

    pub(crate) fn connect(&self, vm: &str) -> Connection {
        library().connect(&self.params(vm), ConnectOptions::new()).unwrap()
    }

    /// Over the snapshot of the running machine, as a backup does.
    pub(crate) fn connect_to_snapshot(&self) -> Connection {
        let options = ConnectOptions::new().read_only(true).snapshot("snapshot-102");
        library().connect(&self.params("vm-101"), options).unwrap()
    }

    /// The disk of the machine that is off, for writing.
    pub(crate) fn open_off(&self, options: OpenOptions) -> vixdisklib::Disk {
        self.connect("vm-201").open(OFF, options).unwrap()
    }

    fn inventory(&self) -> Inventory {
        let disk = |path: &str| vec![VmDisk { key: 2000, path: path.parse().unwrap() }];
        let vm = |moref: &str, name: &str, power_on, path: &str, snapshots| VmRecord {
            moref: moref.to_owned(),
            instance_uuid: moref.to_owned(),
            name: name.to_owned(),
            power_on,
            vmx: format!("[ds] {name}/{name}.vmx").parse().unwrap(),
            disks: disk(path),
            snapshots,
            disabled_methods: Vec::new(),
        };
        let frozen = SnapshotRecord { moref: "snapshot-102".to_owned(), disks: disk(FROZEN) };
        Inventory {
            server_uuid: "0".to_owned(),
            users: vec![UserRecord {
                name: "root".to_owned(),
                password: PasswordHash::new(PASSWORD).unwrap(),
            }],
            rights: [("root".to_owned(), UserRights::all())].into(),
            sessions: vec![SessionRecord {
                cookie: CookieHash::new(COOKIE).unwrap(),
                user: "root".to_owned(),
            }],
            datastores: vec![Datastore::new("ds", self.data.path().join("ds")).unwrap()],
            disks: vec![FirstClassDiskRecord {
                id: FIRST_CLASS.to_owned(),
                datastore: "datastore-1".to_owned(),
                path: "[ds] fcd/disk-000001.vmdk".parse().unwrap(),
                snapshots: vec![FirstClassSnapshotRecord {
                    id: "5-6".to_owned(),
                    path: "[ds] fcd/disk.vmdk".parse().unwrap(),
                }],
            }],
            vms: vec![
                vm("vm-101", "on", true, LIVE, vec![frozen]),
                vm("vm-201", "off", false, OFF, Vec::new()),
            ],
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        ServerRecord::remove(&kit(), HOST, self.port).unwrap();
    }
}

/// Parameters for the server behind a port, which may be another process's.
pub(crate) fn params_at(
    port: u16,
    vm: VmSpec,
    credentials: Credentials,
    thumbprint: Thumbprint,
) -> ConnectParams {
    ConnectParams::remote(HOST, vm, credentials).port(port).thumbprint(thumbprint).build().unwrap()
}

/// In a process that a test has started: the machine that is off, on the server of its parent.
pub(crate) fn connect_to_parent(port: &str) -> Connection {
    let vm = VmSpec::moref("vm-201").unwrap();
    let params = params_at(port.parse().unwrap(), vm, password(PASSWORD), thumbprint());
    library().connect(&params, ConnectOptions::new()).unwrap()
}

/// A rule for a function, to be filled in.
pub(crate) fn rule(function: &str) -> FaultRule {
    FaultRule { function: function.to_owned(), ..FaultRule::default() }
}

pub(crate) fn password(password: &str) -> Credentials {
    Credentials::Password { user: "root".to_owned(), password: SecretString::from(password) }
}

pub(crate) fn cookie(cookie: &str) -> Credentials {
    Credentials::SessionCookie {
        cookie: SecretString::from(cookie),
        user: "root".to_owned(),
        key: SecretString::from(PASSWORD),
    }
}

pub(crate) fn thumbprint() -> Thumbprint {
    Thumbprint::from_sha1([0xA7; 20])
}
