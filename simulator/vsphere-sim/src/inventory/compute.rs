//! The cluster, its host, its resource pool and its network.

use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::{ids, machine_ref, moref, refs};
use crate::world::World;

const MEMORY: i64 = 256 << 30;
const CORES: i16 = 32;
const MHZ: i32 = 2600;

impl World {
    pub(super) fn cluster_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "resourcePool" => moref::<mo::ResourcePool>(ids::POOL).to_value(),
            "host" => refs([moref::<mo::HostSystem>(ids::HOST)]),
            "datastore" => refs(self.datastore_refs()),
            "network" => refs([moref::<mo::Network>(ids::NETWORK)]),
            "environmentBrowser" => moref::<mo::EnvironmentBrowser>(ids::BROWSER).to_value(),
            "summary" => cluster_summary().to_value(),
            _ => {
                let parent = Some(moref::<mo::Folder>(ids::HOST_FOLDER).cast());
                let this = moref::<mo::ClusterComputeResource>(ids::CLUSTER).cast();
                return self.entity_property(&this, "Cluster0", parent, name);
            }
        })
    }

    pub(super) fn pool_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "owner" => moref::<mo::ClusterComputeResource>(ids::CLUSTER).to_value(),
            "resourcePool" => refs(Vec::<vim_api::MoRef<mo::ResourcePool>>::new()),
            "vm" => refs(self.stored.machines.values().map(machine_ref)),
            "config" => pool_config().to_value(),
            "runtime" => pool_runtime().to_value(),
            "summary" => t::ResourcePoolSummary {
                name: "Resources".to_owned(),
                config: pool_config(),
                runtime: pool_runtime(),
                ..Default::default()
            }
            .to_value(),
            _ => {
                let parent = Some(moref::<mo::ClusterComputeResource>(ids::CLUSTER).cast());
                return self.entity_property(
                    &moref::<mo::ResourcePool>(ids::POOL).cast(),
                    "Resources",
                    parent,
                    name,
                );
            }
        })
    }

    pub(super) fn host_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "datastore" => refs(self.datastore_refs()),
            "network" => refs([moref::<mo::Network>(ids::NETWORK)]),
            "vm" => refs(self.stored.machines.values().map(machine_ref)),
            "runtime" => host_runtime().to_value(),
            "summary" => self.host_summary().to_value(),
            _ => {
                let parent = Some(moref::<mo::ClusterComputeResource>(ids::CLUSTER).cast());
                return self.entity_property(
                    &moref::<mo::HostSystem>(ids::HOST).cast(),
                    "127.0.0.1",
                    parent,
                    name,
                );
            }
        })
    }

    pub(super) fn network_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "host" => refs([moref::<mo::HostSystem>(ids::HOST)]),
            "vm" => refs(self.stored.machines.values().map(machine_ref)),
            "summary" => t::NetworkSummary {
                network: Some(moref(ids::NETWORK)),
                name: super::devices::NETWORK_NAME.to_owned(),
                accessible: true,
                ..Default::default()
            }
            .to_value(),
            _ => {
                let parent = Some(moref::<mo::Folder>(ids::NETWORK_FOLDER).cast());
                let this = moref::<mo::Network>(ids::NETWORK).cast();
                return self.entity_property(&this, super::devices::NETWORK_NAME, parent, name);
            }
        })
    }

    fn host_summary(&self) -> t::HostListSummary {
        let hardware = t::HostHardwareSummary {
            vendor: "VADP suite".to_owned(),
            model: "Simulated host".to_owned(),
            uuid: self.stored.instance_uuid.clone(),
            memory_size: MEMORY,
            cpu_model: "Simulated CPU".to_owned(),
            cpu_mhz: MHZ,
            num_cpu_pkgs: 2,
            num_cpu_cores: CORES,
            num_cpu_threads: CORES * 2,
            num_nics: 1,
            num_hbas: 1,
            ..Default::default()
        };
        let config = t::HostConfigSummary {
            name: "127.0.0.1".to_owned(),
            port: 443,
            product: Some(Box::new(super::service::about_host(self.version))),
            vmotion_enabled: false,
            fault_tolerance_enabled: Some(false),
            ..Default::default()
        };
        t::HostListSummary {
            host: Some(moref(ids::HOST)),
            hardware: Some(Box::new(hardware)),
            runtime: Some(Box::new(host_runtime())),
            config,
            overall_status: t::ManagedEntityStatus::Green,
            reboot_required: false,
            maintenance_mode_required: Some(false),
            management_server_ip: Some("127.0.0.1".to_owned()),
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

fn cluster_summary() -> t::ClusterComputeResourceSummary {
    let base = t::ComputeResourceSummary {
        total_cpu: i32::from(CORES) * MHZ,
        total_memory: MEMORY,
        num_cpu_cores: CORES,
        num_cpu_threads: CORES * 2,
        effective_cpu: i32::from(CORES) * MHZ,
        effective_memory: MEMORY >> 20,
        num_hosts: 1,
        num_effective_hosts: 1,
        overall_status: t::ManagedEntityStatus::Green,
        ..Default::default()
    };
    t::ClusterComputeResourceSummary { base, ..Default::default() }
}

fn pool_config() -> t::ResourceConfigSpec {
    let allocation = |shares| t::ResourceAllocationInfo {
        reservation: Some(0),
        expandable_reservation: Some(true),
        limit: Some(-1),
        shares: Some(Box::new(t::SharesInfo { shares, level: t::SharesLevel::Normal, ..Default::default() })),
        ..Default::default()
    };
    t::ResourceConfigSpec {
        entity: Some(moref::<mo::ResourcePool>(ids::POOL).cast()),
        cpu_allocation: allocation(4000),
        memory_allocation: allocation(163_840),
        ..Default::default()
    }
}

fn pool_runtime() -> t::ResourcePoolRuntimeInfo {
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
