//! The state of a machine. Its configuration is kept as the API shows it: what a client has set is what it reads again,
//! and what a snapshot keeps is a copy.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sim_store::DatastorePath;
use sim_store::state::{DisabledMethod, SnapshotRecord, VmDisk, VmRecord};
use vim_api::dynamic::Poly;
use vim_api::types as t;

use crate::clock::Moment;
use crate::stored_xml;

/// A configuration, shared until somebody changes it.
pub(crate) type Config = Arc<t::VirtualMachineConfigInfo>;

/// A machine with its snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Managed object id, such as `vm-101`.
    pub(crate) id: String,
    /// Id of the folder that it is in.
    pub(crate) folder: String,
    /// Id of its resource pool; a template has none.
    pub(crate) pool: Option<String>,
    /// Id of its host.
    pub(crate) host: String,
    pub(crate) created: Moment,
    pub(crate) power: Power,
    pub(crate) booted: Option<Moment>,
    pub(crate) suspended: Option<Moment>,
    pub(crate) clean_power_off: bool,
    #[serde(with = "stored_xml")]
    pub(crate) config: Config,
    /// In the order of creation, parents before their children.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) current_snapshot: Option<String>,
    /// Number of the last snapshot ever taken.
    pub(crate) last_snapshot: u32,
    pub(crate) consolidation_needed: bool,
    pub(crate) disabled_methods: Vec<DisabledMethod>,
    /// It was generated and nobody has touched it: it has no files yet, and none on record.
    #[serde(skip)]
    pub(crate) untouched: bool,
    /// When it was changed last, by [`World::revision`](crate::world::World::revision).
    #[serde(skip)]
    pub(crate) revision: u64,
    /// The task that holds the machine.
    #[serde(skip)]
    pub(crate) busy: Option<String>,
    /// Held while the disks' chains change or the guest writes: the guest stands still meanwhile.
    #[serde(skip)]
    pub(crate) stun: Arc<Mutex<()>>,
}

/// Where a machine is to be in the inventory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) folder: String,
    pub(crate) pool: Option<String>,
    pub(crate) host: String,
}

/// A disk, as far as its files go.
#[derive(Debug, Clone)]
pub(crate) struct DiskState {
    /// Device key, such as 2000.
    pub(crate) key: i32,
    /// Bytes.
    pub(crate) capacity: u64,
    /// Descriptor of the live top link, or of a snapshot's frozen one.
    pub(crate) path: DatastorePath,
    /// `backing.uuid`.
    pub(crate) uuid: String,
    /// Snapshots leave it out.
    pub(crate) independent: bool,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Managed object id, such as `snapshot-102`.
    pub(crate) id: String,
    /// `VirtualMachineSnapshotTree.id`, and the number in the file's name.
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created: Moment,
    /// The state that a revert brings back: off, unless the memory was kept.
    pub(crate) power: Power,
    pub(crate) quiesced: bool,
    pub(crate) parent: Option<String>,
    #[serde(with = "stored_xml")]
    pub(crate) config: Config,
}

/// Power state of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Power {
    Off,
    On,
    Suspended,
}

impl Machine {
    /// A machine without snapshots that nobody holds, and whose files there are.
    pub(crate) fn new(id: &str, place: &Place, created: Moment, power: Power, config: Config) -> Self {
        Self {
            id: id.to_owned(),
            folder: place.folder.clone(),
            pool: place.pool.clone(),
            host: place.host.clone(),
            created,
            power,
            booted: (power == Power::On).then_some(created),
            suspended: None,
            clean_power_off: true,
            config,
            snapshots: Vec::new(),
            current_snapshot: None,
            last_snapshot: 0,
            consolidation_needed: false,
            disabled_methods: Vec::new(),
            untouched: false,
            revision: 0,
            busy: None,
            stun: Arc::default(),
        }
    }

    /// The name, as the API shows it.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// The name as people write it.
    pub(crate) fn plain_name(&self) -> String {
        crate::inventory::plain(&self.config.name)
    }

    /// The configuration, to be changed.
    pub(crate) fn config_mut(&mut self) -> &mut t::VirtualMachineConfigInfo {
        Arc::make_mut(&mut self.config)
    }

    /// The `.vmx` file.
    pub(crate) fn vmx(&self) -> Option<DatastorePath> {
        self.config.files.vm_path_name.as_deref()?.parse().ok()
    }

    /// The text files of a machine, and what its host writes beside them.
    pub(crate) fn text_files(vmx: &DatastorePath) -> Vec<DatastorePath> {
        let stem = vmx.file_name().strip_suffix(".vmx").unwrap_or(vmx.file_name());
        let names = ["vmx", "vmxf", "vmsd", "nvram"].map(|suffix| format!("{stem}.{suffix}"));
        let log = "vmware.log".to_owned();
        names.into_iter().chain([log]).filter_map(|name| vmx.sibling(&name).ok()).collect()
    }

    /// What a host keeps the devices' state and the memory of a snapshot in, and what VSS said of a guest that was brought to rest for it.
    pub(crate) fn snapshot_files(&self, number: u32) -> Vec<DatastorePath> {
        let Some(state) = crate::inventory::vmsn(self, number) else { return Vec::new() };
        let memory = state.sibling(&state.file_name().replace(".vmsn", ".vmem"));
        let manifest = crate::inventory::vss_manifest(self, number);
        std::iter::once(state).chain(memory.ok()).chain(manifest).collect()
    }

    /// All files of the machine but for those of its disks.
    pub(crate) fn own_files(&self) -> Vec<DatastorePath> {
        let mut files = self.vmx().map(|vmx| Self::text_files(&vmx)).unwrap_or_default();
        files.extend(self.snapshots.iter().flat_map(|snapshot| self.snapshot_files(snapshot.number)));
        files
    }

    /// The disks that have files.
    pub(crate) fn disks(&self) -> Vec<DiskState> {
        disks(&self.config)
    }

    /// Whether changes of blocks are tracked, as configured. It takes effect when the machine is stunned next.
    pub(crate) fn is_tracked(&self) -> bool {
        self.config.change_tracking_enabled == Some(true)
    }

    /// A snapshot by its managed object id.
    pub(crate) fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.id == id)
    }

    /// The snapshots taken over `parent`; with `None` those at the root.
    pub(crate) fn children(&self, parent: Option<&str>) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(move |snapshot| snapshot.parent.as_deref() == parent)
    }

    /// What other processes are told of the machine; `None` for one without a `.vmx`.
    pub(crate) fn record(&self) -> Option<VmRecord> {
        let disks = |disks: Vec<DiskState>| {
            disks.into_iter().map(|disk| VmDisk { key: disk.key, path: disk.path }).collect()
        };
        let snapshot = |snapshot: &Snapshot| SnapshotRecord {
            moref: snapshot.id.clone(),
            disks: disks(snapshot.disks()),
        };
        Some(VmRecord {
            moref: self.id.clone(),
            instance_uuid: self.config.instance_uuid.clone().unwrap_or_default(),
            name: self.plain_name(),
            power_on: self.power == Power::On,
            vmx: self.vmx()?,
            disks: disks(self.disks()),
            snapshots: self.snapshots.iter().map(snapshot).collect(),
            disabled_methods: self.disabled_methods.clone(),
        })
    }
}

impl Snapshot {
    /// The disks that it owns: the independent ones are not among them.
    pub(crate) fn disks(&self) -> Vec<DiskState> {
        disks(&self.config)
    }
}

/// The name of a machine's disk by its number, beside a `.vmx` whose name without the ending is `stem`.
pub(crate) fn disk_name(stem: &str, number: usize) -> String {
    match number {
        0 => format!("{stem}.vmdk"),
        number => format!("{stem}_{number}.vmdk"),
    }
}

/// The disks of a configuration that have files.
pub(crate) fn disks(config: &t::VirtualMachineConfigInfo) -> Vec<DiskState> {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    disks.filter_map(disk_state).collect()
}

fn disk_state(disk: &t::VirtualDisk) -> Option<DiskState> {
    let backing = flat(disk)?;
    Some(DiskState {
        key: disk.base.key,
        capacity: capacity(disk),
        path: backing.base.file_name.parse().ok()?,
        uuid: backing.uuid.clone().unwrap_or_default(),
        independent: backing.disk_mode.starts_with("independent"),
    })
}

/// Capacity of a disk in bytes.
pub(crate) fn capacity(disk: &t::VirtualDisk) -> u64 {
    let bytes = disk.capacity_in_bytes.unwrap_or_else(|| disk.capacity_in_kb.saturating_mul(1024));
    u64::try_from(bytes).unwrap_or(0)
}

/// The backing of a disk in files.
pub(crate) fn flat(disk: &t::VirtualDisk) -> Option<&t::VirtualDiskFlatVer2BackingInfo> {
    disk.base.backing.as_ref()?.downcast_ref()
}

/// Gives a disk another backing in files.
pub(crate) fn set_backing(
    config: &mut t::VirtualMachineConfigInfo,
    key: i32,
    backing: t::VirtualDiskFlatVer2BackingInfo,
) {
    if let Some(device) = config.hardware.device.iter_mut().find(|device| device.key == key) {
        device.backing = Some(Poly::new(backing));
    }
}
