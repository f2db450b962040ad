//! `EnvironmentBrowser`: which machines a cluster, or a host by itself, can run.

use sim_store::DatastorePath;
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, invalid_argument, not_found};
use crate::hardware;
use crate::inventory::compute::{self, BROWSER_PREFIX, CORES};
use crate::inventory::moref;
use crate::inventory::tree::{Entity, Kind};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The versions of virtual hardware, with the first release of ESXi that has each.
const VERSIONS: [(&str, &str); 11] = [
    ("vmx-10", "5.5"),
    ("vmx-11", "6.0"),
    ("vmx-13", "6.5"),
    ("vmx-14", "6.7"),
    ("vmx-15", "6.7 U2"),
    ("vmx-17", "7.0"),
    ("vmx-18", "7.0 U1"),
    ("vmx-19", "7.0 U2"),
    ("vmx-20", "8.0"),
    ("vmx-21", "8.0 U2"),
    ("vmx-22", "9.0"),
];

/// Those that a server of an API version knows, the newest last.
fn known(api: ApiVersion) -> impl Iterator<Item = (&'static str, &'static str)> {
    let newest = hardware::newest_version(api);
    let end = VERSIONS.iter().position(|(version, _)| *version == newest).map_or(0, |at| at + 1);
    VERSIONS.into_iter().take(end)
}

/// Guests, with their families and full names.
const GUESTS: [(&str, &str, &str); 5] = [
    ("debian12_64Guest", "linuxGuest", "Debian GNU/Linux 12 (64-bit)"),
    ("otherLinux64Guest", "linuxGuest", "Other Linux (64-bit)"),
    ("ubuntu64Guest", "linuxGuest", "Ubuntu Linux (64-bit)"),
    ("windows2019srv_64Guest", "windowsGuest", "Microsoft Windows Server 2019 (64-bit)"),
    ("otherGuest64", "otherGuestFamily", "Other (64-bit)"),
];

/// In MiB.
const MOST_MEMORY: i32 = 256 << 10;

impl World {
    /// The cluster, or host by itself, whose browser this is.
    pub(crate) fn environment(&self, browser: &str) -> Option<&Entity> {
        self.stored.tree.get(browser.strip_prefix(BROWSER_PREFIX)?).filter(|compute| compute.has_browser())
    }

    pub(crate) fn environment_property(&self, compute: &Entity, name: &str) -> Option<Value> {
        let browser = || moref::<mo::HostDatastoreBrowser>(&crate::browser::id_of(compute));
        (name == "datastoreBrowser").then(|| browser().to_value())
    }

    /// Datastores and networks on which machines of a cluster can be.
    fn config_target(&self, compute: &Entity, hosts: i32) -> t::ConfigTarget {
        let datastore = |datastore: MoRef<mo::Datastore>| {
            let entity = self.stored.tree.get(datastore.value())?;
            let Kind::Datastore { files, uuid, capacity, remote, .. } = &entity.kind else { return None };
            let base = t::VirtualMachineTargetInfo { name: entity.name.clone(), ..Default::default() };
            let most = hardware::signed(sim_store::MAX_CAPACITY);
            Some(t::VirtualMachineDatastoreInfo {
                base,
                datastore: self.datastore_summary(entity, files, uuid, *capacity, remote.as_ref()),
                capability: crate::inventory::datastore_capability(),
                max_file_size: most,
                max_virtual_disk_capacity: Some(most),
                mode: "readWrite".to_owned(),
                ..Default::default()
            })
        };
        let network = |network: MoRef<mo::Network>| {
            let entity = self.stored.tree.get(network.value())?;
            let base = t::VirtualMachineTargetInfo { name: entity.name.clone(), ..Default::default() };
            let network = vim_api::dynamic::Poly::new(self.network_summary(entity));
            Some(t::VirtualMachineNetworkInfo { base, network, ..Default::default() })
        };
        let cores = i32::from(CORES);
        t::ConfigTarget {
            num_cpus: (cores * 2).saturating_mul(hosts),
            num_cpu_cores: cores.saturating_mul(hosts),
            num_numa_nodes: 2,
            max_cpus_per_host: Some(cores * 2),
            smc_present: Some(false),
            datastore: self.datastores_of(&compute.id).into_iter().filter_map(datastore).collect(),
            network: self.networks_of(&compute.id).into_iter().filter_map(network).collect(),
            max_mem_mb_optimal_perf: MOST_MEMORY,
            supported_max_mem_mb: Some(MOST_MEMORY),
            resource_pool: Some(Box::new(compute::pool_runtime())),
            auto_vmotion: Some(false),
            sev_supported: Some(false),
            ..Default::default()
        }
    }
}

/// Carries out a call to a browser.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    shared.read(|world| {
        let compute = world.environment(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        let hosts: Vec<MoRef<mo::HostSystem>> =
            world.stored.tree.hosts_of(&compute.id).map(Entity::typed).collect();
        let among = |host: Option<MoRef<mo::HostSystem>>| match host {
            Some(host) if !hosts.contains(&host) => {
                Err(invalid_argument("host", format!("{host} is not of {}.", compute.reference())))
            }
            _ => Ok(()),
        };
        Ok(match call.method.as_str() {
            "QueryConfigOptionDescriptor" => Answer::many(call, &descriptors(world.version, &hosts)),
            "QueryConfigOption" => {
                among(call.optional("host")?)?;
                Answer::one(
                    call,
                    &config_option(world.version, call.optional::<String>("key")?.as_deref(), &[])?,
                )
            }
            "QueryConfigOptionEx" => {
                let spec: t::EnvironmentBrowserConfigOptionQuerySpec =
                    call.optional("spec")?.unwrap_or_default();
                among(spec.host)?;
                Answer::one(call, &config_option(world.version, spec.key.as_deref(), &spec.guest_id)?)
            }
            "QueryConfigTarget" => {
                let host: Option<MoRef<mo::HostSystem>> = call.optional("host")?;
                let count = if host.is_some() { 1 } else { hosts.len() };
                among(host)?;
                Answer::one(call, &world.config_target(compute, i32::try_from(count).unwrap_or(i32::MAX)))
            }
            "QueryTargetCapabilities" => {
                among(call.optional("host")?)?;
                Answer::one(call, &compute::host_capability())
            }
            _ => return Err(method_not_found(call)),
        })
    })
}

fn descriptors(
    api: ApiVersion,
    hosts: &[MoRef<mo::HostSystem>],
) -> Vec<t::VirtualMachineConfigOptionDescriptor> {
    let descriptor = |(key, release): (&str, &str)| t::VirtualMachineConfigOptionDescriptor {
        key: key.to_owned(),
        description: Some(format!("ESXi {release} virtual machine")),
        host: hosts.to_vec(),
        create_supported: Some(true),
        default_config_option: Some(key == hardware::newest_version(api)),
        run_supported: Some(true),
        upgrade_supported: Some(true),
        ..Default::default()
    };
    known(api).map(descriptor).collect()
}

/// What a version of virtual hardware offers; the newest if none is named. With `guests`, only those are described.
fn config_option(
    api: ApiVersion,
    key: Option<&str>,
    guests: &[String],
) -> Outcome<t::VirtualMachineConfigOption> {
    let key = key.unwrap_or_else(|| hardware::newest_version(api));
    let Some((version, release)) = known(api).find(|(version, _)| *version == key) else {
        return Err(invalid_argument("key", format!("There is no virtual hardware \"{key}\".")));
    };
    let wanted = |id: &str| guests.is_empty() || guests.iter().any(|guest| guest == id);
    let home = DatastorePath::new("datastore", "machine/machine.vmx")
        .map_err(|error| crate::fault::from_store(&error, "[datastore] machine/machine.vmx"))?;
    Ok(t::VirtualMachineConfigOption {
        version: version.to_owned(),
        description: format!("ESXi {release} virtual machine"),
        guest_os_descriptor: GUESTS.into_iter().filter(|(id, ..)| wanted(id)).map(guest).collect(),
        hardware_options: hardware_options(version),
        capabilities: hardware::capability(),
        default_device: hardware::new_config("machine", &home, GUESTS[0].0, api).hardware.device,
        supported_monitor_type: vec!["release".to_owned()],
        ..Default::default()
    })
}

fn guest((id, family, name): (&str, &str, &str)) -> t::GuestOsDescriptor {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    t::GuestOsDescriptor {
        id: id.to_owned(),
        family: family.to_owned(),
        full_name: name.to_owned(),
        supported_max_cpus: 128,
        num_supported_physical_sockets: Some(128),
        num_supported_cores_per_socket: Some(64),
        supported_min_mem_mb: 32,
        supported_max_mem_mb: MOST_MEMORY,
        recommended_mem_mb: 2048,
        recommended_color_depth: 32,
        supported_disk_controller_list: names(&[
            "VirtualIDEController",
            "VirtualLsiLogicController",
            "VirtualLsiLogicSASController",
            "ParaVirtualSCSIController",
            "VirtualAHCIController",
            "VirtualNVMEController",
        ]),
        recommended_scsi_controller: Some("ParaVirtualSCSIController".to_owned()),
        recommended_disk_controller: "ParaVirtualSCSIController".to_owned(),
        supported_num_disks: 60,
        recommended_disk_size_mb: 16 << 10,
        recommended_cdrom_controller: Some("VirtualAHCIController".to_owned()),
        supported_ethernet_card: names(&["VirtualE1000", "VirtualE1000e", "VirtualVmxnet3"]),
        recommended_ethernet_card: Some("VirtualVmxnet3".to_owned()),
        supports_wake_on_lan: true,
        supported_firmware: names(&["bios", "efi"]),
        recommended_firmware: Some("efi".to_owned()),
        supported_for_create: Some(true),
        supports_secure_boot: Some(true),
        // Later versions of the API added these; a server says each, as strict clients ask for them.
        supports3_d: Some(false),
        recommended3_d: Some(false),
        smc_required: Some(false),
        smc_recommended: Some(false),
        ich7m_recommended: Some(false),
        usb_recommended: Some(true),
        support_level: Some("supported".to_owned()),
        v_ram_size_in_kb: Some(Box::new(t::IntOption {
            min: 2 << 10,
            max: 256 << 10,
            default_value: 8 << 10,
            ..Default::default()
        })),
        num_supported_floppy_devices: Some(2),
        supports_vmi: Some(false),
        supports_cpu_hot_add: Some(true),
        supports_cpu_hot_remove: Some(true),
        supports_memory_hot_add: Some(true),
        supports_pvscsi_controller_for_boot: Some(true),
        supports_hot_plug_pci: Some(true),
        disk_uuid_enabled: Some(false),
        default_secure_boot: Some(false),
        persistent_memory_supported: Some(false),
        persistent_memory_hot_add_supported: Some(false),
        persistent_memory_hot_remove_supported: Some(false),
        persistent_memory_cold_growth_supported: Some(false),
        persistent_memory_hot_growth_supported: Some(false),
        vsgx_remote_attestation_supported: Some(false),
        supports_tpm20: Some(false),
        recommended_tpm20: Some(false),
        vwdt_supported: Some(false),
        ..Default::default()
    }
}

fn hardware_options(version: &str) -> t::VirtualHardwareOption {
    let option = |most| t::IntOption { min: most, max: most, default_value: most, ..Default::default() };
    let upto = |max| t::IntOption { min: 0, max, default_value: 0, ..Default::default() };
    let shares = |levels: (i32, i32, i32)| t::ResourceAllocationOption {
        shares_option: t::SharesOption {
            shares_option: t::IntOption {
                min: levels.0,
                max: levels.1,
                default_value: levels.2,
                ..Default::default()
            },
            default_level: t::SharesLevel::Normal,
            ..Default::default()
        },
        ..Default::default()
    };
    t::VirtualHardwareOption {
        resource_config_option: Some(Box::new(t::ResourceConfigOption {
            cpu_allocation_option: shares((0, 1_000_000, 4000)),
            memory_allocation_option: shares((0, 1_000_000, 163_840)),
            ..Default::default()
        })),
        hw_version: version.trim_start_matches("vmx-").parse().unwrap_or_default(),
        num_cpu: (1..=128).collect(),
        num_cores_per_socket: Some(Box::new(t::IntOption {
            min: 1,
            max: 64,
            default_value: 1,
            ..Default::default()
        })),
        memory_mb: t::LongOption {
            min: 4,
            max: i64::from(MOST_MEMORY),
            default_value: 2048,
            ..Default::default()
        },
        num_pci_controllers: option(1),
        num_ide_controllers: option(2),
        num_usb_controllers: upto(1),
        num_usbxhci_controllers: Some(Box::new(upto(1))),
        num_sio_controllers: option(1),
        num_ps2_controllers: option(1),
        ..Default::default()
    }
}
