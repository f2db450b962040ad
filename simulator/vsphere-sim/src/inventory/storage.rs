//! Datastores.

use sim_store::Datastore;
use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::tree::{Entity, Kind};
use super::{machine_ref, moref, refs};
use crate::browser;
use crate::hardware::signed;
use crate::host_datastores::Remote;
use crate::machine::Machine;
use crate::world::World;

impl World {
    pub(super) fn datastore_property(
        &self,
        datastore: &Entity,
        files: &Datastore,
        uuid: &str,
        capacity: u64,
        remote: Option<&Remote>,
        name: &str,
    ) -> Option<Value> {
        let label = files.name();
        let free = || capacity.saturating_sub(self.used_on(datastore, label));
        Some(match name {
            "summary" => self.datastore_summary(datastore, files, uuid, capacity, remote).to_value(),
            "info" => {
                let url = self.mode().datastore_url(uuid);
                match remote {
                    Some(remote) => nas_info(datastore, url, capacity, free(), remote).to_value(),
                    None => info(datastore, uuid, url, capacity, free()).to_value(),
                }
            }
            "capability" => datastore_capability().to_value(),
            "iormConfiguration" => t::StorageIORMInfo {
                enabled: false,
                congestion_threshold_mode: Some("automatic".to_owned()),
                congestion_threshold: 30,
                stats_collection_enabled: Some(false),
                reservation_enabled: Some(false),
                ..Default::default()
            }
            .to_value(),
            "host" => {
                let mount = |key: MoRef<mo::HostSystem>| {
                    let mount_info = t::HostMountInfo {
                        path: Some(format!("/vmfs/volumes/{uuid}")),
                        access_mode: "readWrite".to_owned(),
                        mounted: Some(true),
                        accessible: Some(true),
                        ..Default::default()
                    };
                    t::DatastoreHostMount { key, mount_info, ..Default::default() }.to_value()
                };
                let mounts = self.hosts_in(&datastore.id).into_iter().map(mount).collect();
                Value::array("DatastoreHostMount", mounts)
            }
            "vm" => {
                let on_it = self.machines().filter(|machine| uses(machine, label));
                refs(on_it.map(machine_ref))
            }
            "browser" => moref::<mo::HostDatastoreBrowser>(&browser::id_of(datastore)).to_value(),
            _ => return None,
        })
    }

    pub(crate) fn datastore_summary(
        &self,
        datastore: &Entity,
        files: &Datastore,
        uuid: &str,
        capacity: u64,
        remote: Option<&Remote>,
    ) -> t::DatastoreSummary {
        t::DatastoreSummary {
            datastore: Some(datastore.typed()),
            name: datastore.name.clone(),
            url: self.mode().datastore_url(uuid),
            capacity: signed(capacity),
            free_space: signed(capacity.saturating_sub(self.used_on(datastore, files.name()))),
            uncommitted: Some(signed(self.uncommitted_on(files.name()))),
            accessible: true,
            multiple_host_access: Some(self.hosts_in(&datastore.id).len() > 1),
            r#type: if remote.is_some() { "NFS" } else { "VMFS" }.to_owned(),
            maintenance_mode: Some("normal".to_owned()),
            ..Default::default()
        }
    }

    pub(super) fn pod_property(&self, pod: &Entity, name: &str) -> Option<Value> {
        Some(match name {
            "childType" => super::strings(["Datastore"]),
            "podStorageDrsEntry" => {
                let pod_config = t::StorageDrsPodConfigInfo {
                    default_vm_behavior: "manual".to_owned(),
                    ..Default::default()
                };
                let storage_drs_config = t::StorageDrsConfigInfo { pod_config, ..Default::default() };
                t::PodStorageDrsEntry { storage_drs_config, ..Default::default() }.to_value()
            }
            "childEntity" => refs(self.children_of(pod)),
            "summary" => {
                let mut summary = t::StoragePodSummary { name: pod.name.clone(), ..Default::default() };
                for child in self.stored.tree.children(&pod.id) {
                    if let Kind::Datastore { files, capacity, .. } = &child.kind {
                        summary.capacity += signed(*capacity);
                        summary.free_space +=
                            signed(capacity.saturating_sub(self.used_on(child, files.name())));
                    }
                }
                summary.to_value()
            }
            _ => return None,
        })
    }

    pub(super) fn browser_property(&self, owner: &Entity, name: &str) -> Option<Value> {
        match name {
            "datastore" => Some(refs(self.browsed(owner))),
            "supportedType" => Some(browser::supported()),
            _ => None,
        }
    }

    /// Bytes that are taken on a datastore: all that is there where there is a limit, else what machines take.
    pub(crate) fn used_on(&self, datastore: &Entity, label: &str) -> u64 {
        self.counted_on(datastore).unwrap_or_else(|| {
            let on_it = self.machines().filter(|machine| is_at_home(machine, label));
            on_it.map(|machine| self.usage(machine).committed).sum()
        })
    }

    /// Bytes that the thin disks of machines may still take on a datastore.
    fn uncommitted_on(&self, label: &str) -> u64 {
        let on_it = self.machines().filter(|machine| is_at_home(machine, label));
        on_it.map(|machine| self.usage(machine).uncommitted).sum()
    }
}

/// Whether a machine has any file on a datastore.
pub(crate) fn uses(machine: &Machine, label: &str) -> bool {
    let kept = machine.snapshots.iter().map(|snapshot| &snapshot.config);
    is_at_home(machine, label) || kept.chain([&machine.config]).any(|config| has_disks_on(config, label))
}

/// Whether a link of a disk is on a datastore.
fn has_disks_on(config: &t::VirtualMachineConfigInfo, label: &str) -> bool {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    disks.filter_map(crate::machine::flat).any(|top| {
        let mut links = std::iter::successors(Some(top), |link| link.parent.as_deref());
        links.any(|link| is_on(&link.base.file_name, label))
    })
}

/// Whether a machine's folder is on a datastore. Its path is looked at as text: there may be thousands of them.
fn is_at_home(machine: &Machine, label: &str) -> bool {
    is_on(machine.config.files.vm_path_name.as_deref().unwrap_or_default(), label)
}

fn is_on(path: &str, label: &str) -> bool {
    path.strip_prefix('[').and_then(|rest| rest.strip_prefix(label)).is_some_and(|rest| rest.starts_with(']'))
}

/// What all datastores can do.
pub(crate) fn datastore_capability() -> t::DatastoreCapability {
    t::DatastoreCapability {
        directory_hierarchy_supported: true,
        raw_disk_mappings_supported: false,
        per_file_thin_provisioning_supported: true,
        storage_iorm_supported: Some(false),
        native_snapshot_supported: Some(false),
        ..Default::default()
    }
}

fn datastore_info(datastore: &Entity, url: String, free: u64) -> t::DatastoreInfo {
    t::DatastoreInfo {
        name: datastore.name.clone(),
        url,
        free_space: signed(free),
        max_file_size: signed(sim_store::MAX_CAPACITY),
        max_virtual_disk_capacity: Some(signed(sim_store::MAX_CAPACITY)),
        max_memory_file_size: Some(signed(sim_store::MAX_CAPACITY)),
        ..Default::default()
    }
}

fn nas_info(
    datastore: &Entity,
    url: String,
    capacity: u64,
    free: u64,
    remote: &Remote,
) -> t::NasDatastoreInfo {
    let base = t::HostFileSystemVolume {
        r#type: "NFS".to_owned(),
        name: datastore.name.clone(),
        capacity: signed(capacity),
        ..Default::default()
    };
    let volume = t::HostNasVolume {
        base,
        remote_host: remote.host.clone(),
        remote_path: remote.path.clone(),
        remote_host_names: vec![remote.host.clone()],
        security_type: Some("AUTH_SYS".to_owned()),
        protocol_endpoint: Some(false),
        ..Default::default()
    };
    t::NasDatastoreInfo { base: datastore_info(datastore, url, free), nas: Some(Box::new(volume)) }
}

fn info(datastore: &Entity, uuid: &str, url: String, capacity: u64, free: u64) -> t::VmfsDatastoreInfo {
    let volume = t::HostVmfsVolume {
        base: t::HostFileSystemVolume {
            r#type: "VMFS".to_owned(),
            name: datastore.name.clone(),
            capacity: signed(capacity),
            ..Default::default()
        },
        block_size_mb: 1,
        block_size: Some(1024),
        max_blocks: 63_963_136,
        major_version: 6,
        version: "6.82".to_owned(),
        uuid: uuid.to_owned(),
        extent: vec![t::HostScsiDiskPartition {
            disk_name: "mpx.vmhba0:C0:T0:L0".to_owned(),
            partition: 1,
            ..Default::default()
        }],
        vmfs_upgradable: false,
        ssd: Some(true),
        local: Some(true),
        ..Default::default()
    };
    t::VmfsDatastoreInfo {
        base: datastore_info(datastore, url, free),
        vmfs: Some(Box::new(volume)),
        max_physical_rdm_file_size: Some(signed(sim_store::MAX_CAPACITY)),
        max_virtual_rdm_file_size: Some(signed(sim_store::MAX_CAPACITY)),
    }
}
