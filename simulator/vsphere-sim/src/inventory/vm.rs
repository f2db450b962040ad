//! A machine's properties, and a snapshot's.

use vim_api::dynamic::{Element, Poly, Value};
use vim_api::mo;
use vim_api::types as t;

use super::defaults::{allocation, capability, flags, guest_name, power_operations, tools};
use super::devices::signed;
use super::{ids, machine_ref, moref, refs};
use crate::machine::{Machine, Power, Settings, Snapshot};
use crate::world::World;

const HARDWARE_VERSION: &str = "vmx-21";

impl World {
    pub(super) fn machine_property(&self, machine: &Machine, name: &str) -> Option<Value> {
        Some(match name {
            "capability" => capability().to_value(),
            "config" => self.config(machine, &machine.settings, true).to_value(),
            "layoutEx" => self.layout_ex(machine).to_value(),
            "storage" => self.storage(machine).to_value(),
            "environmentBrowser" => moref::<mo::EnvironmentBrowser>(ids::BROWSER).to_value(),
            "resourcePool" => moref::<mo::ResourcePool>(ids::POOL).to_value(),
            "runtime" => runtime(machine).to_value(),
            "guest" => machine.guest().to_value(),
            "guestHeartbeatStatus" => machine.heartbeat().to_value(),
            "summary" => self.summary(machine).to_value(),
            "datastore" => {
                let used =
                    |name: &str| machine.settings.disks.iter().any(|disk| disk.path.datastore() == name);
                let is_used = |store: &&crate::world::DatastoreState| {
                    used(store.files.name()) || store.files.name() == machine.vmx.datastore()
                };
                let used = self.stored.datastores.iter().filter(is_used);
                refs(used.map(|store| moref::<mo::Datastore>(&store.id)))
            }
            "network" => refs([moref::<mo::Network>(ids::NETWORK)]),
            "snapshot" => snapshot_info(machine)?.to_value(),
            "rootSnapshot" => refs(machine.children(None).map(snapshot_ref)),
            _ => {
                let parent = Some(moref::<mo::Folder>(ids::VM_FOLDER).cast());
                return self.entity_property(
                    &machine_ref(machine).cast(),
                    &machine.settings.name,
                    parent,
                    name,
                );
            }
        })
    }

    pub(super) fn snapshot_property(
        &self,
        machine: &Machine,
        snapshot: &Snapshot,
        name: &str,
    ) -> Option<Value> {
        Some(match name {
            "config" => self.config(machine, &snapshot.settings, false).to_value(),
            "childSnapshot" => refs(machine.children(Some(&snapshot.id)).map(snapshot_ref)),
            "vm" => machine_ref(machine).to_value(),
            "value" => Value::array("CustomFieldValue", Vec::new()),
            "availableField" => Value::array("CustomFieldDef", Vec::new()),
            _ => return None,
        })
    }

    fn config(&self, machine: &Machine, settings: &Settings, live: bool) -> t::VirtualMachineConfigInfo {
        let folder = machine.vmx.parent();
        let files = t::VirtualMachineFileInfo {
            vm_path_name: Some(machine.vmx.to_string()),
            snapshot_directory: Some(format!("{folder}/")),
            suspend_directory: Some(format!("{folder}/")),
            log_directory: Some(format!("{folder}/")),
            ..Default::default()
        };
        let url = |store: &crate::world::DatastoreState| t::VirtualMachineConfigInfoDatastoreUrlPair {
            name: store.files.name().to_owned(),
            url: store.url(),
            ..Default::default()
        };
        t::VirtualMachineConfigInfo {
            change_version: format!("{}.{:06}Z", machine.created.date_time(), machine.generation),
            modified: machine.created.date_time(),
            name: super::entity::escaped(&settings.name),
            guest_full_name: guest_name(&settings.guest_id).to_owned(),
            version: HARDWARE_VERSION.to_owned(),
            uuid: machine.bios_uuid.clone(),
            create_date: Some(machine.created.date_time()),
            instance_uuid: Some(machine.instance_uuid.clone()),
            location_id: Some(format!("564d{}", machine.bios_uuid.get(4..).unwrap_or_default())),
            guest_id: settings.guest_id.clone(),
            alternate_guest_name: String::new(),
            annotation: Some(settings.annotation.clone()),
            files,
            tools: Some(Box::new(tools())),
            flags: flags(),
            default_power_ops: power_operations(),
            reboot_power_off: Some(false),
            hardware: t::VirtualHardware {
                num_cpu: settings.cpus,
                num_cores_per_socket: Some(1),
                memory_mb: settings.memory_mb,
                virtual_ich7_m_present: Some(false),
                virtual_smc_present: Some(false),
                device: self.devices(machine, settings, live),
                motherboard_layout: Some("i440bxHostBridge".to_owned()),
                simultaneous_threads: Some(1),
                ..Default::default()
            },
            cpu_allocation: Some(Box::new(allocation(settings.cpus.saturating_mul(1000)))),
            memory_allocation: Some(Box::new(allocation(settings.memory_mb.saturating_mul(10)))),
            memory_hot_add_enabled: Some(false),
            cpu_hot_add_enabled: Some(false),
            cpu_hot_remove_enabled: Some(false),
            extra_config: extra_config(settings),
            datastore_url: self.stored.datastores.iter().map(url).collect(),
            swap_placement: Some("inherit".to_owned()),
            boot_options: Some(Box::new(t::VirtualMachineBootOptions {
                boot_delay: Some(0),
                enter_bios_setup: Some(false),
                efi_secure_boot_enabled: Some(false),
                boot_retry_enabled: Some(false),
                boot_retry_delay: Some(10_000),
                ..Default::default()
            })),
            v_asserts_enabled: Some(false),
            change_tracking_enabled: Some(settings.change_tracking),
            firmware: Some("bios".to_owned()),
            max_mks_connections: Some(40),
            guest_auto_lock_enabled: Some(true),
            memory_reservation_locked_to_max: Some(false),
            nested_hv_enabled: Some(false),
            v_pmc_enabled: Some(false),
            message_bus_tunnel_enabled: Some(false),
            ..Default::default()
        }
    }

    fn summary(&self, machine: &Machine) -> t::VirtualMachineSummary {
        let settings = &machine.settings;
        let guest = machine.guest();
        let config = t::VirtualMachineConfigSummary {
            name: super::entity::escaped(&settings.name),
            template: false,
            vm_path_name: machine.vmx.to_string(),
            memory_size_mb: Some(settings.memory_mb),
            cpu_reservation: Some(0),
            memory_reservation: Some(0),
            num_cpu: Some(settings.cpus),
            num_ethernet_cards: Some(1),
            num_virtual_disks: i32::try_from(settings.disks.len()).ok(),
            uuid: Some(machine.bios_uuid.clone()),
            instance_uuid: Some(machine.instance_uuid.clone()),
            guest_id: Some(settings.guest_id.clone()),
            guest_full_name: Some(guest_name(&settings.guest_id).to_owned()),
            annotation: Some(settings.annotation.clone()),
            install_boot_required: Some(false),
            num_vmiop_backings: Some(0),
            hw_version: Some(HARDWARE_VERSION.to_owned()),
            ..Default::default()
        };
        let usage = self.usage(machine);
        t::VirtualMachineSummary {
            vm: Some(machine_ref(machine)),
            runtime: runtime(machine),
            guest: Some(Box::new(t::VirtualMachineGuestSummary {
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
            })),
            config,
            storage: Some(Box::new(t::VirtualMachineStorageSummary {
                committed: signed(usage.committed),
                uncommitted: signed(usage.uncommitted),
                unshared: signed(usage.committed),
                timestamp: self.clock.now().date_time(),
                ..Default::default()
            })),
            quick_stats: t::VirtualMachineQuickStats {
                guest_heartbeat_status: machine.heartbeat(),
                ..Default::default()
            },
            overall_status: t::ManagedEntityStatus::Green,
            custom_value: self
                .custom_values(&machine_ref(machine).cast())
                .into_iter()
                .map(Poly::new)
                .collect(),
            ..Default::default()
        }
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
    }
}

fn runtime(machine: &Machine) -> t::VirtualMachineRuntimeInfo {
    t::VirtualMachineRuntimeInfo {
        host: Some(moref(ids::HOST)),
        connection_state: t::VirtualMachineConnectionState::Connected,
        power_state: power_state(machine.power),
        fault_tolerance_state: Some(t::VirtualMachineFaultToleranceState::NotConfigured),
        tools_installer_mounted: false,
        boot_time: machine.booted.filter(|_| machine.power == Power::On).map(|moment| moment.date_time()),
        max_cpu_usage: Some(machine.settings.cpus.saturating_mul(2600)),
        max_memory_usage: Some(machine.settings.memory_mb),
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
        name: super::entity::escaped(&snapshot.name),
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

fn extra_config(settings: &Settings) -> Vec<Poly<t::OptionValue>> {
    let mut pairs = vec![("nvram".to_owned(), format!("{}.nvram", settings.name))];
    if settings.change_tracking {
        pairs.push(("ctkEnabled".to_owned(), "TRUE".to_owned()));
        pairs.extend(
            settings.disks.iter().map(|disk| (format!("scsi0:{}.ctkEnabled", disk.unit), "TRUE".to_owned())),
        );
    }
    let option = |(key, value)| {
        Poly::new(t::OptionValue { key, value: Some(Value::String(value)), ..Default::default() })
    };
    pairs.into_iter().map(option).collect()
}
