//! Clusters, hosts, resource pools and networks.

use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::tree::{Entity, Kind};
use super::{machine_ref, moref, refs};
use crate::world::World;

/// What stands before the id of a cluster in the id of its environment browser.
pub(crate) const BROWSER_PREFIX: &str = "envbrowser-";

const MEMORY: i64 = 256 << 30;
const PACKAGES: i16 = 2;
pub(crate) const CORES: i16 = 32;
const MHZ: i32 = 2600;

impl Entity {
    /// Whether it has an environment browser.
    pub(crate) fn has_browser(&self) -> bool {
        matches!(self.kind, Kind::Cluster | Kind::Standalone)
    }

    /// The reference of its environment browser.
    pub(super) fn browser(&self) -> MoRef<mo::EnvironmentBrowser> {
        moref(&format!("{BROWSER_PREFIX}{}", self.id))
    }
}

impl World {
    pub(super) fn compute_property(&self, compute: &Entity, name: &str) -> Option<Value> {
        let tree = &self.stored.tree;
        let is_cluster = matches!(compute.kind, Kind::Cluster);
        Some(match name {
            "resourcePool" => tree.root_pool(&compute.id)?.typed::<mo::ResourcePool>().to_value(),
            "host" => refs(tree.hosts_of(&compute.id).map(Entity::typed::<mo::HostSystem>)),
            "datastore" => refs(self.datastores_of(&compute.id)),
            "network" => refs(self.networks_of(&compute.id)),
            "environmentBrowser" => compute.browser().to_value(),
            "summary" => {
                let base = compute_summary(tree.hosts_of(&compute.id).count());
                match is_cluster {
                    true => t::ClusterComputeResourceSummary { base, ..Default::default() }.to_value(),
                    false => base.to_value(),
                }
            }
            "configuration" if is_cluster => cluster_configuration().to_value(),
            "configurationEx" => {
                let base = t::ComputeResourceConfigInfo {
                    vm_swap_placement: "vmDirectory".to_owned(),
                    spbm_enabled: Some(false),
                    default_hardware_version_key: Some(
                        crate::hardware::newest_version(self.version).to_owned(),
                    ),
                    ..Default::default()
                };
                match is_cluster {
                    true => t::ClusterConfigInfoEx {
                        base,
                        das_config: t::ClusterDasConfigInfo { enabled: Some(false), ..Default::default() },
                        drs_config: t::ClusterDrsConfigInfo { enabled: Some(false), ..Default::default() },
                        ..Default::default()
                    }
                    .to_value(),
                    false => base.to_value(),
                }
            }
            "drsRecommendation" | "recommendation" | "migrationHistory" | "actionHistory" | "drsFault"
                if is_cluster =>
            {
                let item = match name {
                    "drsRecommendation" => "ClusterDrsRecommendation",
                    "recommendation" => "ClusterRecommendation",
                    "migrationHistory" => "ClusterDrsMigration",
                    "actionHistory" => "ClusterActionHistory",
                    _ => "ClusterDrsFaults",
                };
                Value::array(item, Vec::new())
            }
            _ => return None,
        })
    }

    pub(super) fn pool_property(&self, pool: &Entity, name: &str) -> Option<Value> {
        let tree = &self.stored.tree;
        Some(match name {
            "owner" => {
                let owner = tree.owner_of(&pool.id)?;
                Value::MoRef(owner.reference())
            }
            "resourcePool" => {
                let pools = tree.children(&pool.id).filter(|child| matches!(child.kind, Kind::Pool));
                refs(pools.map(Entity::typed::<mo::ResourcePool>))
            }
            "vm" => {
                let machines = self.machines().filter(|machine| machine.pool.as_ref() == Some(&pool.id));
                refs(machines.map(machine_ref))
            }
            "config" => pool_config(pool).to_value(),
            "childConfiguration" => {
                let pools = tree.children(&pool.id).filter(|child| matches!(child.kind, Kind::Pool));
                Value::array("ResourceConfigSpec", pools.map(|child| pool_config(child).to_value()).collect())
            }
            "runtime" => pool_runtime().to_value(),
            "summary" => t::ResourcePoolSummary {
                name: pool.name.clone(),
                config: pool_config(pool),
                runtime: pool_runtime(),
                configured_memory_mb: Some(MEMORY.try_into().map_or(i32::MAX, |memory: i32| memory)),
                ..Default::default()
            }
            .to_value(),
            _ => return None,
        })
    }

    pub(super) fn host_property(&self, host: &Entity, uuid: &str, name: &str) -> Option<Value> {
        Some(match name {
            "datastore" => refs(self.datastores_of(&host.id)),
            "datastoreBrowser" => moref::<mo::HostDatastoreBrowser>(&crate::browser::id_of(host)).to_value(),
            "network" => refs(self.networks_of(&host.id)),
            "vm" => refs(self.machines().filter(|machine| machine.host == host.id).map(machine_ref)),
            "runtime" => host_runtime().to_value(),
            "summary" => self.host_summary(host, uuid).to_value(),
            "hardware" => host_hardware(uuid).to_value(),
            "config" => self.host_config(host).to_value(),
            "capability" => host_capability().to_value(),
            "configManager" => t::HostConfigManager {
                datastore_system: Some(moref(&crate::host_datastores::id_of(host))),
                ..Default::default()
            }
            .to_value(),
            "licensableResource" => t::HostLicensableResourceInfo {
                resource: vec![t::KeyAnyValue {
                    key: "numCpuPackages".to_owned(),
                    value: Value::Int(PACKAGES.into()),
                    ..Default::default()
                }],
                ..Default::default()
            }
            .to_value(),
            "systemResources" => t::HostSystemResourceInfo {
                key: "host".to_owned(),
                config: Some(Box::new(pool_config(host))),
                ..Default::default()
            }
            .to_value(),
            _ => return None,
        })
    }

    pub(super) fn network_property(&self, network: &Entity, name: &str) -> Option<Value> {
        Some(match name {
            "host" => refs(self.hosts_in(&network.id)),
            "vm" => {
                let on_it = |machine: &&crate::machine::Machine| {
                    machine.config.hardware.device.iter().any(|device| {
                        super::vm::network_of(device).is_some_and(|found| found.value() == network.id)
                    })
                };
                refs(self.machines().filter(on_it).map(machine_ref))
            }
            "summary" => self.network_summary(network).to_value(),
            _ => return None,
        })
    }

    pub(crate) fn network_summary(&self, network: &Entity) -> t::NetworkSummary {
        t::NetworkSummary {
            network: Some(network.typed()),
            name: network.name.clone(),
            accessible: true,
            ip_pool_name: Some(String::new()),
            ..Default::default()
        }
    }

    fn host_summary(&self, host: &Entity, uuid: &str) -> t::HostListSummary {
        let hardware = t::HostHardwareSummary {
            vendor: "VADP suite".to_owned(),
            model: "Simulated host".to_owned(),
            uuid: uuid.to_owned(),
            memory_size: MEMORY,
            cpu_model: "Simulated CPU".to_owned(),
            cpu_mhz: MHZ,
            num_cpu_pkgs: PACKAGES,
            num_cpu_cores: CORES,
            num_cpu_threads: CORES * 2,
            num_nics: 1,
            num_hbas: 1,
            ..Default::default()
        };
        let config = t::HostConfigSummary {
            name: host.name.clone(),
            port: 443,
            product: Some(Box::new(super::service::about_host(self.version))),
            vmotion_enabled: false,
            fault_tolerance_enabled: Some(false),
            ..Default::default()
        };
        t::HostListSummary {
            host: Some(host.typed()),
            hardware: Some(Box::new(hardware)),
            runtime: Some(Box::new(host_runtime())),
            config,
            overall_status: t::ManagedEntityStatus::Green,
            reboot_required: false,
            maintenance_mode_required: Some(false),
            management_server_ip: (!self.mode().is_host()).then(|| "127.0.0.1".to_owned()),
            max_evc_mode_key: None,
            ..Default::default()
        }
    }

    fn host_config(&self, host: &Entity) -> t::HostConfigInfo {
        t::HostConfigInfo {
            host: host.typed(),
            product: super::service::about_host(self.version),
            ..Default::default()
        }
    }
}

fn host_runtime() -> t::HostRuntimeInfo {
    t::HostRuntimeInfo {
        connection_state: t::HostSystemConnectionState::Connected,
        power_state: t::HostSystemPowerState::PoweredOn,
        standby_mode: Some("none".to_owned()),
        in_maintenance_mode: false,
        in_quarantine_mode: Some(false),
        host_max_virtual_disk_capacity: i64::try_from(sim_store::MAX_CAPACITY).ok(),
        ..Default::default()
    }
}

fn host_hardware(uuid: &str) -> t::HostHardwareInfo {
    t::HostHardwareInfo {
        system_info: t::HostSystemInfo {
            vendor: "VADP suite".to_owned(),
            model: "Simulated host".to_owned(),
            uuid: uuid.to_owned(),
            ..Default::default()
        },
        cpu_info: t::HostCpuInfo {
            num_cpu_packages: PACKAGES,
            num_cpu_cores: CORES,
            num_cpu_threads: CORES * 2,
            hz: i64::from(MHZ) * 1_000_000,
            ..Default::default()
        },
        cpu_pkg: (0..PACKAGES).map(cpu_package).collect(),
        memory_size: MEMORY,
        smc_present: Some(false),
        ..Default::default()
    }
}

fn cpu_package(index: i16) -> t::HostCpuPackage {
    let threads = CORES * 2 / PACKAGES;
    t::HostCpuPackage {
        index,
        vendor: "unknown".to_owned(),
        hz: i64::from(MHZ) * 1_000_000,
        bus_hz: 100_000_000,
        description: "Simulated CPU".to_owned(),
        thread_id: (index * threads..(index + 1) * threads).collect(),
        ..Default::default()
    }
}

pub(crate) fn host_capability() -> t::HostCapability {
    t::HostCapability {
        vmotion_supported: true,
        max_supported_vms: Some(1024),
        // Later versions of the API added these; a server says each, as strict clients ask for them.
        storage_v_motion_supported: Some(true),
        vmotion_with_storage_v_motion_supported: Some(false),
        hbr_nic_selection_supported: Some(false),
        vr_nfc_nic_selection_supported: Some(false),
        record_replay_supported: Some(false),
        ft_supported: Some(false),
        smp_ft_supported: Some(false),
        clone_from_snapshot_supported: Some(true),
        delta_disk_backings_supported: Some(true),
        per_vm_network_traffic_shaping_supported: Some(false),
        tpm_supported: Some(false),
        virtual_exec_usage_supported: Some(false),
        storage_iorm_supported: Some(false),
        v_storage_capable: Some(false),
        snapshot_relayout_supported: Some(false),
        vmfs_datastore_mount_capable: Some(false),
        eight_plus_host_vmfs_shared_access_supported: Some(false),
        nested_hv_supported: Some(false),
        v_pmc_supported: Some(false),
        inter_vm_communication_through_vmci_supported: Some(false),
        feature_capabilities_supported: Some(false),
        latency_sensitivity_supported: Some(false),
        accel3d_supported: Some(false),
        provisioning_nic_selection_supported: Some(false),
        ..Default::default()
    }
}

fn compute_summary(hosts: usize) -> t::ComputeResourceSummary {
    let count = i16::try_from(hosts).unwrap_or(i16::MAX);
    let hosts = i32::try_from(hosts).unwrap_or(i32::MAX);
    let cpu = i32::from(CORES).saturating_mul(MHZ).saturating_mul(hosts);
    let memory = MEMORY.saturating_mul(i64::from(hosts));
    t::ComputeResourceSummary {
        total_cpu: cpu,
        total_memory: memory,
        num_cpu_cores: CORES.saturating_mul(count),
        num_cpu_threads: (CORES * 2).saturating_mul(count),
        effective_cpu: cpu,
        effective_memory: memory >> 20,
        num_hosts: hosts,
        num_effective_hosts: hosts,
        overall_status: t::ManagedEntityStatus::Green,
        ..Default::default()
    }
}

fn cluster_configuration() -> t::ClusterConfigInfo {
    t::ClusterConfigInfo {
        das_config: t::ClusterDasConfigInfo { enabled: Some(false), ..Default::default() },
        drs_config: t::ClusterDrsConfigInfo { enabled: Some(false), ..Default::default() },
        ..Default::default()
    }
}

fn pool_config(entity: &Entity) -> t::ResourceConfigSpec {
    let allocation = |shares| t::ResourceAllocationInfo {
        reservation: Some(0),
        expandable_reservation: Some(true),
        limit: Some(-1),
        shares: Some(Box::new(t::SharesInfo { shares, level: t::SharesLevel::Normal, ..Default::default() })),
        ..Default::default()
    };
    t::ResourceConfigSpec {
        entity: Some(entity.reference().cast()),
        cpu_allocation: allocation(4000),
        memory_allocation: allocation(163_840),
        ..Default::default()
    }
}

pub(crate) fn pool_runtime() -> t::ResourcePoolRuntimeInfo {
    let usage = |max_usage| t::ResourcePoolResourceUsage {
        unreserved_for_pool: max_usage,
        unreserved_for_vm: max_usage,
        max_usage,
        ..Default::default()
    };
    t::ResourcePoolRuntimeInfo {
        memory: usage(MEMORY),
        cpu: usage(i64::from(CORES) * i64::from(MHZ)),
        overall_status: t::ManagedEntityStatus::Green,
        ..Default::default()
    }
}
