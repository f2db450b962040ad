//! The state of a machine, in types of its own: it is stored, and wire types are not.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sim_store::DatastorePath;
use sim_store::state::{DisabledMethod, SnapshotRecord, VmDisk, VmRecord};

use crate::clock::Moment;

/// A machine with its snapshots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Managed object id, such as `vm-101`.
    pub(crate) id: String,
    pub(crate) instance_uuid: String,
    pub(crate) bios_uuid: String,
    pub(crate) created: Moment,
    /// Counts the changes of the configuration: `config.changeVersion`.
    pub(crate) generation: u64,
    pub(crate) vmx: DatastorePath,
    pub(crate) power: Power,
    pub(crate) booted: Option<Moment>,
    pub(crate) clean_power_off: bool,
    pub(crate) settings: Settings,
    /// In the order of creation, parents before their children.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) current_snapshot: Option<String>,
    /// Number of the last snapshot ever taken.
    pub(crate) last_snapshot: u32,
    pub(crate) consolidation_needed: bool,
    pub(crate) disabled_methods: Vec<DisabledMethod>,
    /// The task that holds the machine.
    #[serde(skip)]
    pub(crate) busy: Option<String>,
    /// Held while the disks' chains change or the guest writes: the guest stands still meanwhile.
    #[serde(skip)]
    pub(crate) stun: Arc<Mutex<()>>,
}

/// What a snapshot copies and a revert brings back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) annotation: String,
    pub(crate) guest_id: String,
    pub(crate) cpus: i32,
    pub(crate) memory_mb: i32,
    /// As configured. It takes effect when the machine is stunned next.
    pub(crate) change_tracking: bool,
    pub(crate) disks: Vec<DiskState>,
    pub(crate) mac: String,
}

/// A disk of a machine or of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiskState {
    /// Device key, 2000 and up.
    pub(crate) key: i32,
    /// Unit on the SCSI controller; 7 is the controller's own.
    pub(crate) unit: i32,
    /// Bytes.
    pub(crate) capacity: u64,
    /// Descriptor of the live top link, or of a snapshot's frozen one.
    pub(crate) path: DatastorePath,
    /// `backing.uuid`.
    pub(crate) uuid: String,
    pub(crate) thin: bool,
    pub(crate) eager: bool,
    /// For a snapshot's disk: the change id that the snapshot stamped.
    pub(crate) change_id: Option<String>,
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
    pub(crate) power: Power,
    pub(crate) quiesced: bool,
    pub(crate) parent: Option<String>,
    pub(crate) settings: Settings,
}

/// Power state of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Power {
    Off,
    On,
}

impl Machine {
    /// A snapshot by its managed object id.
    pub(crate) fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.id == id)
    }

    /// The snapshots taken over `parent`; with `None` those at the root.
    pub(crate) fn children(&self, parent: Option<&str>) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(move |snapshot| snapshot.parent.as_deref() == parent)
    }

    /// What other processes are told of the machine.
    pub(crate) fn record(&self) -> VmRecord {
        let disks = |settings: &Settings| {
            settings.disks.iter().map(|disk| VmDisk { key: disk.key, path: disk.path.clone() }).collect()
        };
        let snapshot = |snapshot: &Snapshot| SnapshotRecord {
            moref: snapshot.id.clone(),
            disks: disks(&snapshot.settings),
        };
        VmRecord {
            moref: self.id.clone(),
            instance_uuid: self.instance_uuid.clone(),
            name: self.settings.name.clone(),
            power_on: self.power == Power::On,
            vmx: self.vmx.clone(),
            disks: disks(&self.settings),
            snapshots: self.snapshots.iter().map(snapshot).collect(),
            disabled_methods: self.disabled_methods.clone(),
        }
    }
}
