//! The machine that is protected: named by what stays true, not by a moRef.

use serde::{Deserialize, Serialize};
use vim_api::mo::{Managed, VirtualMachine};
use vim_api::types::{
    VirtualDevice, VirtualDisk, VirtualDiskFlatVer2BackingInfo, VirtualDiskRawDiskMappingVer1BackingInfo,
    VirtualDiskSeSparseBackingInfo, VirtualMachineConfigInfo, VirtualMachinePowerState,
    VirtualSCSIController, VirtualSCSISharing,
};
use vim_api::{Client, MoRef};

use crate::cbt::ChangeId;
use crate::eligibility::Obstacle;
use crate::error::{Error, ErrorKind};

/// What names a machine for good: its server and its instanceUuid. The moRef is a hint that saves a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmIdentity {
    /// instanceUuid of the vCenter; `None` for a host alone.
    pub vcenter: Option<String>,
    /// instanceUuid of the machine.
    pub instance_uuid: String,
    /// Where it was last seen.
    pub moref: String,
}

/// How a caller names a machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VmSelector {
    /// By name, which has to be unique on the server.
    Name(String),
    /// By instanceUuid.
    InstanceUuid(String),
    /// By reference, as it was just read from the server.
    MoRef(MoRef<VirtualMachine>),
}

impl VmIdentity {
    /// The name under which the machine's restore points stand in a repository.
    pub fn machine_id(&self) -> String {
        format!("{}/{}", self.vcenter.as_deref().unwrap_or("host"), self.instance_uuid)
    }

    /// Whether it is the same machine, wherever it was seen.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.vcenter, &self.instance_uuid) == (&other.vcenter, &other.instance_uuid)
    }
}

/// A machine on a server, with its identity.
#[derive(Debug, Clone)]
pub struct ProtectedVm {
    vm: VirtualMachine,
    name: String,
    identity: VmIdentity,
}

/// A disk as a machine's or a snapshot's configuration shows it.
#[derive(Debug, Clone)]
pub(crate) struct DiskConfig {
    pub(crate) key: i32,
    pub(crate) label: String,
    pub(crate) capacity: u64,
    pub(crate) file_name: String,
    pub(crate) backing_uuid: Option<String>,
    pub(crate) change_id: Option<ChangeId>,
    /// Why a snapshot does not protect it.
    pub(crate) obstacle: Option<Obstacle>,
}

impl ProtectedVm {
    /// Finds the machine.
    ///
    /// # Errors
    /// [`ErrorKind::Machine`] when there is none, or more than one, or it has no instanceUuid.
    pub async fn resolve(client: &Client, selector: &VmSelector) -> Result<Self, Error> {
        let paths = ["name", "config.instanceUuid"];
        let context = || format!("looking for the machine {selector:?}");
        let mut found = match selector {
            VmSelector::MoRef(moref) => client.properties(std::slice::from_ref(moref), &paths).await,
            _ => client.list::<VirtualMachine>(&client.content().root_folder.cast(), &paths).await,
        }
        .map_err(|e| Error::api(context(), e))?
        .into_iter()
        .map(|mut vm| {
            let name: String = vm.take_required("name")?;
            Ok((vm.object().clone(), name, vm.take::<String>("config.instanceUuid")?))
        })
        .collect::<Result<Vec<_>, vim_api::Error>>()
        .map_err(|e| Error::api(context(), e))?;
        found.retain(|(_, name, uuid)| match selector {
            VmSelector::Name(wanted) => name == wanted,
            VmSelector::InstanceUuid(wanted) => uuid.as_ref() == Some(wanted),
            VmSelector::MoRef(_) => true,
        });
        let (moref, name, uuid) = match (found.pop(), found.is_empty()) {
            (Some(one), true) => one,
            (None, _) => return Err(Error::new(ErrorKind::Machine, format!("{}: there is none", context()))),
            (Some(_), false) => {
                let hint = format!("{}: there are several; name it by its instanceUuid", context());
                return Err(Error::new(ErrorKind::Machine, hint));
            }
        };
        let Some(instance_uuid) = uuid.filter(|u| !u.is_empty()) else {
            let hint = format!("{}: it has no instanceUuid (its configuration may be unreadable)", context());
            return Err(Error::new(ErrorKind::Machine, hint));
        };
        let identity = VmIdentity {
            vcenter: client.content().about.instance_uuid.clone(),
            instance_uuid,
            moref: moref.value().to_owned(),
        };
        Ok(Self { vm: client.bind(&moref), name, identity })
    }

    /// Finds the machine of a stored identity, wherever it is now.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), and when the client speaks to another server.
    pub async fn find(client: &Client, identity: &VmIdentity) -> Result<Self, Error> {
        let server = &client.content().about.instance_uuid;
        if identity.vcenter != *server {
            let hint = format!(
                "the machine {} belongs to the server {}, and this is {}",
                identity.instance_uuid,
                identity.vcenter.as_deref().unwrap_or("without uuid"),
                server.as_deref().unwrap_or("a server without uuid")
            );
            return Err(Error::new(ErrorKind::Machine, hint));
        }
        let context = || format!("looking for the machine {}", identity.instance_uuid);
        let known = vim_api::VmIdentity {
            server: client.server_identity().await.map_err(|e| Error::api(context(), e))?,
            instance_uuid: Some(identity.instance_uuid.clone()),
            bios_uuid: None,
            moref: MoRef::new(identity.moref.as_str()),
            path: None,
        };
        let moref = match client.resolve(&known).await.and_then(vim_api::ResolvedVm::certain) {
            Ok(moref) => moref,
            // Several are not none: what belongs to a machine that is gone is given up for lost, so this must be sure.
            Err(error) if error.is_not_found() => {
                return Err(Error::new(ErrorKind::Machine, context()).because(error));
            }
            Err(error) => return Err(Error::api(context(), error)),
        };
        Self::resolve(client, &VmSelector::MoRef(moref)).await
    }

    /// The handle, to call methods on.
    pub fn vm(&self) -> &VirtualMachine {
        &self.vm
    }

    /// The client it was found through.
    pub fn client(&self) -> &Client {
        self.vm.client()
    }

    /// Its name when it was found.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity.
    pub fn identity(&self) -> &VmIdentity {
        &self.identity
    }

    pub(crate) async fn config(&self) -> Result<VirtualMachineConfigInfo, Error> {
        let config = self.vm.require(VirtualMachine::CONFIG).await;
        config.map_err(|e| Error::api(format!("reading the configuration of {}", self.name), e))
    }

    pub(crate) async fn is_powered_off(&self) -> Result<bool, Error> {
        let runtime = self.vm.require(VirtualMachine::RUNTIME).await;
        let runtime = runtime.map_err(|e| Error::api(format!("reading the state of {}", self.name), e))?;
        Ok(runtime.power_state == VirtualMachinePowerState::PoweredOff)
    }
}

/// The disks of a configuration, with what stands in the way of protecting them.
pub(crate) fn disks(config: &VirtualMachineConfigInfo) -> Vec<DiskConfig> {
    let devices = &config.hardware.device;
    let shared: Vec<i32> = devices
        .iter()
        .filter_map(|device| device.downcast_ref::<VirtualSCSIController>())
        .filter(|controller| controller.shared_bus != VirtualSCSISharing::NoSharing)
        .map(|controller| controller.key)
        .collect();
    devices
        .iter()
        .filter_map(|device| device.downcast_ref::<VirtualDisk>().map(|disk| (device, disk)))
        .map(|(device, disk)| disk_config(device, disk, &shared))
        .collect()
}

/// What the backings that can be read have in common.
struct Backing<'a> {
    file_name: &'a str,
    uuid: Option<&'a str>,
    change_id: Option<&'a str>,
    mode: &'a str,
    sharing: Option<&'a str>,
    physical: bool,
}

impl<'a> Backing<'a> {
    fn of(device: &'a VirtualDevice) -> Option<Self> {
        let backing = device.backing.as_ref()?;
        if let Some(flat) = backing.downcast_ref::<VirtualDiskFlatVer2BackingInfo>() {
            return Some(Self {
                file_name: &flat.file_name,
                uuid: flat.uuid.as_deref(),
                change_id: flat.change_id.as_deref(),
                mode: &flat.disk_mode,
                sharing: flat.sharing.as_deref(),
                physical: false,
            });
        }
        if let Some(sparse) = backing.downcast_ref::<VirtualDiskSeSparseBackingInfo>() {
            return Some(Self {
                file_name: &sparse.file_name,
                uuid: sparse.uuid.as_deref(),
                change_id: sparse.change_id.as_deref(),
                mode: &sparse.disk_mode,
                sharing: None,
                physical: false,
            });
        }
        let raw = backing.downcast_ref::<VirtualDiskRawDiskMappingVer1BackingInfo>()?;
        Some(Self {
            file_name: &raw.file_name,
            uuid: raw.uuid.as_deref(),
            change_id: raw.change_id.as_deref(),
            mode: raw.disk_mode.as_deref().unwrap_or_default(),
            sharing: raw.sharing.as_deref(),
            physical: raw.compatibility_mode.as_deref() != Some("virtualMode"),
        })
    }
}

fn disk_config(device: &VirtualDevice, disk: &VirtualDisk, shared: &[i32]) -> DiskConfig {
    let label =
        device.device_info.as_ref().map_or_else(|| format!("disk {}", disk.key), |info| info.label.clone());
    let capacity = match disk.capacity_in_bytes {
        Some(bytes) => u64::try_from(bytes).ok(),
        None => u64::try_from(disk.capacity_in_kb).ok().and_then(|kb| kb.checked_mul(1024)),
    };
    let mut found = DiskConfig {
        key: disk.key,
        label,
        capacity: capacity.unwrap_or(0),
        file_name: String::new(),
        backing_uuid: None,
        change_id: None,
        obstacle: None,
    };
    let Some(backing) = Backing::of(device) else {
        let kind = device.backing.as_ref().map_or("no backing", |b| b.type_name()).to_owned();
        found.obstacle = Some(Obstacle::Backing { found: kind });
        return found;
    };
    backing.file_name.clone_into(&mut found.file_name);
    found.backing_uuid = backing.uuid.map(str::to_owned);
    let change_id = backing.change_id.filter(|id| !id.is_empty()).map(str::parse::<ChangeId>).transpose();
    found.obstacle = match &change_id {
        _ if found.capacity == 0 => Some(Obstacle::UnknownCapacity),
        _ if backing.physical => Some(Obstacle::PhysicalRawDevice),
        _ if backing.mode.starts_with("independent") => Some(Obstacle::Independent),
        _ if backing.sharing == Some("sharingMultiWriter") => Some(Obstacle::MultiWriter),
        _ if disk.controller_key.is_some_and(|key| shared.contains(&key)) => Some(Obstacle::SharedBus),
        Err(error) => Some(Obstacle::BadChangeId { found: error.to_string() }),
        Ok(_) => None,
    };
    found.change_id = change_id.ok().flatten();
    found
}
