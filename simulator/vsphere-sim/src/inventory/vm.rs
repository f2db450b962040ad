//! A machine's properties, and a snapshot's.

use vim_api::dynamic::{Element, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::tree::{Entity, Kind};
use super::{Wanted, escaped, machine_ref, moref, refs};
use crate::hardware::{capability, is_nic, signed};
use crate::machine::{Machine, Power, Snapshot};
use crate::world::World;

impl World {
    pub(super) fn machine_property(&self, machine: &Machine, wanted: Wanted<'_>) -> Option<Value> {
        Some(match wanted.name {
            "capability" => capability().to_value(),
            "config" => machine.config.as_ref().to_value(),
            "layoutEx" => self.layout_ex(machine).to_value(),
            "layout" => self.layout(machine).to_value(),
            "storage" => self.storage(machine).to_value(),
            "environmentBrowser" => self.stored.tree.owner_of(&machine.host)?.browser().to_value(),
            "resourcePool" => moref::<mo::ResourcePool>(machine.pool.as_deref()?).to_value(),
            "resourceConfig" => resource_config(machine).to_value(),
            "runtime" => runtime(machine).to_value(),
            "guest" => machine.guest().to_value(),
            "guestHeartbeatStatus" => machine.heartbeat().to_value(),
            "summary" => self.summary(machine, wanted).to_value(),
            "datastore" => {
                let used = self.stored.tree.datastores();
                let used = used.filter(|(_, files)| super::storage::uses(machine, files.name()));
                refs(used.map(|(entity, _)| entity.typed::<mo::Datastore>()))
            }
            "network" => {
                let mut networks: Vec<_> =
                    machine.config.hardware.device.iter().filter_map(network_of).collect();
                networks.dedup();
                refs(networks)
            }
            "snapshot" => snapshot_info(machine)?.to_value(),
            "rootSnapshot" => refs(machine.children(None).map(snapshot_ref)),
            "parentVApp" => return None,
            name => return self.entity_property(&machine_ref(machine).cast(), machine.name(), name),
        })
    }

    pub(super) fn snapshot_property(
        &self,
        machine: &Machine,
        snapshot: &Snapshot,
        name: &str,
    ) -> Option<Value> {
        Some(match name {
            "config" => snapshot.config.as_ref().to_value(),
            "childSnapshot" => refs(machine.children(Some(&snapshot.id)).map(snapshot_ref)),
            "vm" => machine_ref(machine).to_value(),
            "value" => Value::array("CustomFieldValue", Vec::new()),
            "availableField" => Value::array("CustomFieldDef", Vec::new()),
            _ => return None,
        })
    }

    /// The URL by which a datastore is mounted.
    pub(crate) fn url_of(&self, datastore: &Entity) -> Option<String> {
        match &datastore.kind {
            Kind::Datastore { uuid, .. } => Some(self.mode().datastore_url(uuid)),
            _ => None,
        }
    }

    /// The URLs of the datastores that a configuration names.
    pub(crate) fn datastore_urls(
        &self,
        config: &t::VirtualMachineConfigInfo,
    ) -> Vec<t::VirtualMachineConfigInfoDatastoreUrlPair> {
        let mut names: Vec<String> =
            crate::machine::disks(config).iter().map(|disk| disk.path.datastore().to_owned()).collect();
        let home = config.files.vm_path_name.as_deref().and_then(|path| path.parse().ok());
        names.extend(home.map(|path: sim_store::DatastorePath| path.datastore().to_owned()));
        names.sort();
        names.dedup();
        let url = |name: String| {
            let url = self.url_of(self.stored.tree.datastore(&name)?.0)?;
            Some(t::VirtualMachineConfigInfoDatastoreUrlPair { name, url, ..Default::default() })
        };
        names.into_iter().filter_map(url).collect()
    }

    fn summary(&self, machine: &Machine, wanted: Wanted<'_>) -> t::VirtualMachineSummary {
        let of = &machine.config;
        let mut summary = t::VirtualMachineSummary {
            vm: Some(machine_ref(machine)),
            overall_status: t::ManagedEntityStatus::Green,
            custom_value: self
                .custom_values(&machine_ref(machine).cast())
                .into_iter()
                .map(Poly::new)
                .collect(),
            quick_stats: t::VirtualMachineQuickStats {
                guest_heartbeat_status: machine.heartbeat(),
                ..Default::default()
            },
            ..Default::default()
        };
        if wanted.needs("runtime") {
            summary.runtime = runtime(machine);
        }
        if wanted.needs("config") {
            let devices = &of.hardware.device;
            let disks = devices.iter().filter(|device| device.is::<t::VirtualDisk>()).count();
            summary.config = t::VirtualMachineConfigSummary {
                name: of.name.clone(),
                template: of.template,
                vm_path_name: of.files.vm_path_name.clone().unwrap_or_default(),
                memory_size_mb: Some(of.hardware.memory_mb),
                cpu_reservation: Some(0),
                memory_reservation: Some(0),
                num_cpu: Some(of.hardware.num_cpu),
                num_ethernet_cards: count(devices.iter().filter(|device| is_nic(device)).count()),
                num_virtual_disks: count(disks),
                uuid: Some(of.uuid.clone()),
                instance_uuid: of.instance_uuid.clone(),
                guest_id: Some(of.guest_id.clone()),
                guest_full_name: Some(of.guest_full_name.clone()),
                annotation: of.annotation.clone(),
                managed_by: of.managed_by.clone(),
                install_boot_required: Some(false),
                num_vmiop_backings: Some(0),
                hw_version: Some(of.version.clone()),
                ..Default::default()
            };
        }
        if wanted.needs("guest") {
            let guest = machine.guest();
            summary.guest = Some(Box::new(t::VirtualMachineGuestSummary {
                guest_id: guest.guest_id,
                guest_full_name: guest.guest_full_name,
                tools_status: guest.tools_status,
                tools_version_status: guest.tools_version_status,
                tools_version_status2: guest.tools_version_status2,
                tools_running_status: guest.tools_running_status,
                host_name: guest.host_name,
                ip_address: guest.ip_address,
                hw_version: guest.hw_version,
                ..Default::default()
            }));
        }
        if wanted.needs("storage") {
            let usage = self.usage(machine);
            summary.storage = Some(Box::new(t::VirtualMachineStorageSummary {
                committed: signed(usage.committed),
                uncommitted: signed(usage.uncommitted),
                unshared: signed(usage.committed),
                timestamp: self.clock.now().date_time(),
                ..Default::default()
            }));
        }
        summary
    }
}

fn count(number: usize) -> Option<i32> {
    i32::try_from(number).ok()
}

/// The network that a device is connected to, if it is a network adapter.
pub(crate) fn network_of(device: &Poly<t::VirtualDevice>) -> Option<MoRef<mo::Network>> {
    let backing = device.backing.as_ref()?;
    backing.downcast_ref::<t::VirtualEthernetCardNetworkBackingInfo>()?.network.clone()
}

fn resource_config(machine: &Machine) -> t::ResourceConfigSpec {
    let allocation =
        |found: &Option<Box<t::ResourceAllocationInfo>>| found.as_deref().cloned().unwrap_or_default();
    t::ResourceConfigSpec {
        entity: Some(machine_ref(machine).cast()),
        change_version: Some(machine.config.change_version.clone()),
        cpu_allocation: allocation(&machine.config.cpu_allocation),
        memory_allocation: allocation(&machine.config.memory_allocation),
        ..Default::default()
    }
}

/// A snapshot's reference.
pub(crate) fn snapshot_ref(snapshot: &Snapshot) -> vim_api::MoRef<mo::VirtualMachineSnapshot> {
    moref(&snapshot.id)
}

/// The power state as the API names it.
pub(crate) fn power_state(power: Power) -> t::VirtualMachinePowerState {
    match power {
        Power::Off => t::VirtualMachinePowerState::PoweredOff,
        Power::On => t::VirtualMachinePowerState::PoweredOn,
        Power::Suspended => t::VirtualMachinePowerState::Suspended,
    }
}

fn runtime(machine: &Machine) -> t::VirtualMachineRuntimeInfo {
    let hardware = &machine.config.hardware;
    t::VirtualMachineRuntimeInfo {
        host: Some(moref(&machine.host)),
        connection_state: t::VirtualMachineConnectionState::Connected,
        power_state: power_state(machine.power),
        fault_tolerance_state: Some(t::VirtualMachineFaultToleranceState::NotConfigured),
        tools_installer_mounted: false,
        boot_time: machine.booted.filter(|_| machine.power == Power::On).map(|moment| moment.date_time()),
        suspend_time: machine.suspended.map(|moment| moment.date_time()),
        max_cpu_usage: Some(hardware.num_cpu.saturating_mul(2600)),
        max_memory_usage: Some(hardware.memory_mb),
        num_mks_connections: 0,
        record_replay_state: Some(t::VirtualMachineRecordReplayState::Inactive),
        clean_power_off: (machine.power == Power::Off).then_some(machine.clean_power_off),
        online_standby: Some(false),
        consolidation_needed: Some(machine.consolidation_needed),
        paused: Some(false),
        snapshot_in_background: Some(false),
        ..Default::default()
    }
}

fn snapshot_info(machine: &Machine) -> Option<t::VirtualMachineSnapshotInfo> {
    if machine.snapshots.is_empty() {
        return None;
    }
    Some(t::VirtualMachineSnapshotInfo {
        current_snapshot: machine.current_snapshot.as_deref().map(moref),
        root_snapshot_list: snapshot_tree(machine, None),
        ..Default::default()
    })
}

fn snapshot_tree(machine: &Machine, parent: Option<&str>) -> Vec<t::VirtualMachineSnapshotTree> {
    let branch = |snapshot: &Snapshot| t::VirtualMachineSnapshotTree {
        snapshot: snapshot_ref(snapshot),
        vm: machine_ref(machine),
        name: escaped(&snapshot.name),
        description: snapshot.description.clone(),
        id: i32::try_from(snapshot.number).ok(),
        create_time: snapshot.created.date_time(),
        state: power_state(snapshot.power),
        quiesced: snapshot.quiesced,
        child_snapshot_list: snapshot_tree(machine, Some(&snapshot.id)),
        replay_supported: Some(false),
        ..Default::default()
    };
    machine.children(parent).map(branch).collect()
}
