//! From a saved configuration to the specifications that make a machine of it: a pure function, which asks no server.
//!
//! What becomes of each type of device, of each type of backing and of each property stands in the tables of the capture
//! (`capture::convert::tables`), and this is what carries them out. What they call lost is not sent, and is in the list of losses;
//! what they do not know is treated the same.
//!
//! ```text
//!  VirtualMachineConfigInfo ─┬─► create   everything that needs no disk and no address of a device
//!        + Design            ├─► disks    one after the other, each a reconfiguration of its own
//!                            ├─► late     what refers to the disks, and what stands in the way of writing them
//!                            └─► losses
//! ```
//!
//! Devices are named by what stays: keys of a specification are made up and negative, and the server gives others. Afterwards they are
//! found again by type, bus and unit ([`NewMachine::keys`]).

mod devices;
mod extra_config;
mod hardware;
mod late;
mod newer;
mod settings;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vim_api::ApiVersion;
use vim_api::types::{
    OptionValue, VirtualDevice, VirtualDisk, VirtualMachineConfigInfo, VirtualMachineConfigSpec,
};

use crate::capture::Loss;
use crate::error::{Error, ErrorKind};
use vim_api::dynamic::{Poly, Value};

/// Whether the new machine is the old one again, or another one beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The old one again, which must be gone: with its uuids, MAC addresses and everything else by which others know it.
    #[default]
    Same,
    /// Another one with the same content: whatever has to be unique is made anew.
    Copy,
}

/// How the space of a disk is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisioning {
    /// When something is written to it.
    Thin,
    /// At once, and zeroed when something is written to it.
    LazyThick,
    /// At once, and zeroed at once.
    EagerThick,
}

/// Where a disk goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskDesign {
    /// Name of its datastore.
    pub datastore: String,
    /// How its space is taken; `None`: as it was.
    pub provisioning: Option<Provisioning>,
    /// Bytes that it has in the restore point.
    pub capacity: u64,
    /// Id of its storage policy; `None` for the datastore's default.
    pub policy: Option<String>,
}

/// A network of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum NewNetwork {
    /// A portgroup of the hosts' own switches.
    Standard {
        /// Its name.
        name: String,
    },
    /// A portgroup of a distributed switch.
    Distributed {
        /// Its name.
        name: String,
        /// Its key.
        portgroup_key: String,
        /// The switch's uuid.
        switch_uuid: String,
    },
    /// A network of NSX or the like.
    Opaque {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// Its type.
        of: String,
    },
}

/// What the new machine is to be, with what has to be known of its target.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Design {
    /// Whether it is the old one again.
    pub identity: Identity,
    /// Its name, as the API writes it: `%`, `/` and `\` as `%25`, `%2f` and `%5c`.
    pub name: String,
    /// Name of the datastore of its home.
    pub home: String,
    /// Its disks by the device key that they had. Others are lost.
    pub disks: BTreeMap<i32, DiskDesign>,
    /// The network of each adapter, by the device key that it had. An adapter without one is an error: it would be no adapter.
    pub networks: BTreeMap<i32, NewNetwork>,
    /// The API version that the target speaks. What is newer is lost.
    pub version: ApiVersion,
    /// Whether the target is a vCenter. A host alone makes up MAC addresses of another kind.
    pub is_vcenter: bool,
    /// Whether it is the very server from which the machine was backed up. Another one has not handed out its MAC addresses.
    pub is_same_server: bool,
    /// MAC addresses that other machines of the target have, in lower case.
    pub macs_in_use: BTreeSet<String>,
    /// BIOS and instance uuids that other machines of the target have, in lower case.
    pub uuids_in_use: BTreeSet<String>,
    /// Datastore paths of media that are there, such as `[iso] debian.iso`.
    pub files_there: BTreeSet<String>,
    /// Whether to ask for what only some hosts have: passed-through devices, memory encryption, persistent memory. A host that does not
    /// have it refuses the machine.
    pub keep_host_devices: bool,
    /// Whether to encrypt it with the key that it had, which the target's key provider has to know.
    pub keep_key: bool,
    /// Whether its adapters are not to be connected when it is switched on.
    pub disconnected: bool,
    /// Id of the storage policy of its home; `None` for the datastore's default.
    pub home_policy: Option<String>,
    /// Key and value that stand in its extra configuration until it is whole.
    pub mark: Option<(String, String)>,
}

impl Design {
    /// The machine again, on one datastore, without disks and networks as yet.
    pub fn new(name: impl Into<String>, home: impl Into<String>) -> Self {
        Self {
            identity: Identity::Same,
            name: name.into(),
            home: home.into(),
            disks: BTreeMap::new(),
            networks: BTreeMap::new(),
            version: ApiVersion::LATEST,
            is_vcenter: true,
            is_same_server: true,
            macs_in_use: BTreeSet::new(),
            uuids_in_use: BTreeSet::new(),
            files_there: BTreeSet::new(),
            keep_host_devices: false,
            keep_key: false,
            disconnected: false,
            home_policy: None,
            mark: None,
        }
    }
}

/// The specifications of a machine that is to be made, and what it lacks.
#[derive(Debug, Clone)]
pub struct NewMachine {
    create: VirtualMachineConfigSpec,
    disks: Vec<NewDisk>,
    late: late::Late,
    sent: Vec<Sent>,
    is_template: bool,
    losses: Vec<Loss>,
    notes: Vec<String>,
}

/// A disk that is to be added.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewDisk {
    /// The device key that it had.
    pub key: i32,
    /// Its label then.
    pub label: String,
    /// Its size in bytes.
    pub capacity: u64,
    /// How its space is taken.
    pub provisioning: Provisioning,
    /// Name of its datastore.
    pub datastore: String,
    /// The key that its controller had.
    controller: i32,
    unit: i32,
    device: VirtualDisk,
    profile: Option<String>,
    crypto: Option<Box<vim_api::types::VirtualDeviceConfigSpecBackingSpec>>,
}

/// A device that the new machine has, by what it is found again.
#[derive(Debug, Clone)]
struct Sent {
    /// The key that it had.
    saved: i32,
    type_name: String,
    /// A controller's bus.
    bus: Option<i32>,
    /// The key that its controller had.
    controller: Option<i32>,
    unit: Option<i32>,
}

/// What is being put together.
struct Draft<'a> {
    config: &'a VirtualMachineConfigInfo,
    design: &'a Design,
    create: VirtualMachineConfigSpec,
    disks: Vec<NewDisk>,
    late: late::Late,
    sent: Vec<Sent>,
    losses: Vec<Loss>,
    notes: Vec<String>,
}

impl NewMachine {
    /// Makes the specifications of a machine.
    ///
    /// # Errors
    /// [`ErrorKind::NotEligible`] when the machine is to be the old one again and one of its uuids is in use, or a network adapter has no
    /// network; [`ErrorKind::RestorePoint`] when the configuration contradicts itself.
    pub fn of(saved: &VirtualMachineConfigInfo, design: &Design) -> Result<Self, Error> {
        let mut config = saved.clone();
        let mut losses = Vec::new();
        unknown::strip(&mut config, &mut losses);
        let mut draft = Draft {
            config: &config,
            design,
            create: VirtualMachineConfigSpec::default(),
            disks: Vec::new(),
            late: late::Late::default(),
            sent: Vec::new(),
            losses,
            notes: Vec::new(),
        };
        draft.settings()?;
        draft.devices()?;
        draft.boot_order();
        draft.extra_config();
        let Draft { mut create, disks, mut late, sent, mut losses, notes, .. } = draft;
        // The devices were looked at one by one.
        let changes = std::mem::take(&mut create.device_change);
        newer::note(&create, "", design.version, &mut losses);
        newer::note(&late.spec, "", design.version, &mut losses);
        create.device_change = changes;
        if let Some((key, value)) = &design.mark {
            create.extra_config.push(option(key, value));
            late.spec.extra_config.push(option(key, ""));
        }
        Ok(Self { create, disks, late, sent, is_template: config.template, losses, notes })
    }

    /// The specification of the machine without disks.
    pub fn create_spec(&self) -> &VirtualMachineConfigSpec {
        &self.create
    }

    /// Its disks, in the order in which they are added.
    pub fn disks(&self) -> &[NewDisk] {
        &self.disks
    }

    /// Whether it is to be a template when it is whole.
    pub fn is_template(&self) -> bool {
        self.is_template
    }

    /// What the new machine does not have as it was.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// What is no loss, and worth a look.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The device keys of the new machine, by those that the old one had, as far as its devices are there.
    pub fn keys(&self, live: &VirtualMachineConfigInfo) -> BTreeMap<i32, i32> {
        let mut keys = BTreeMap::new();
        let mut claimed = BTreeSet::new();
        for sent in &self.sent {
            let on = sent.controller.map(|key| keys.get(&key).copied());
            let fits = |device: &&Poly<VirtualDevice>| {
                let on_it = on.is_none_or(|on| on.is_none() || device.controller_key == on);
                !claimed.contains(&device.key)
                    && device.type_name() == sent.type_name
                    && on_it
                    && sent.bus.is_none_or(|bus| devices::bus_of(device) == Some(bus))
            };
            let all = || live.hardware.device.iter().filter(fits);
            let found = all().find(|device| device.unit_number == sent.unit).or_else(|| all().next());
            // A disk is where it was put, or it is another.
            let found = found.filter(|device| !device.is::<VirtualDisk>() || device.unit_number == sent.unit);
            if let Some(found) = found {
                let key = found.key;
                claimed.insert(key);
                keys.insert(sent.saved, key);
            }
        }
        keys
    }

    /// The specification that adds a disk to the machine as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotEligible`] when the disk's controller is not there.
    pub fn disk_spec(
        &self,
        disk: &NewDisk,
        live: &VirtualMachineConfigInfo,
    ) -> Result<VirtualMachineConfigSpec, Error> {
        let keys = self.keys(live);
        let Some(controller) = keys.get(&disk.controller) else {
            let text = format!("{}: the server has made no controller for it", disk.label);
            return Err(Error::new(ErrorKind::NotEligible, text));
        };
        Ok(disk.spec(*controller))
    }

    /// The last specification, for the machine that has its disks: boot order, change tracking, reservations, and what else has to
    /// come late. It also takes the mark away.
    pub fn late_spec(&self, live: &VirtualMachineConfigInfo) -> VirtualMachineConfigSpec {
        self.late.spec(live, &self.keys(live))
    }
}

fn option(key: &str, value: &str) -> Poly<OptionValue> {
    let value = Some(Value::String(value.to_owned()));
    Poly::new(OptionValue { key: key.to_owned(), value, ..Default::default() })
}
