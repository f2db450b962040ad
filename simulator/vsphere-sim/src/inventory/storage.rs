//! Datastores.

use sim_store::Datastore;
use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::tree::{Entity, Kind};
use super::{machine_ref, moref, refs};
use crate::browser;
use crate::datastores::{DatastoreKind, Volume};
use crate::hardware::signed;
use crate::machine::Machine;
use crate::world::World;

/// The URL by which a datastore is mounted on its hosts.
pub(crate) fn datastore_url(uuid: &str) -> String {
    format!("ds:///vmfs/volumes/{uuid}/")
}

impl World {
    pub(super) fn datastore_property(
        &self,
        datastore: &Entity,
        files: &Datastore,
        uuid: &str,
        (capacity, volume): (u64, Volume),
        name: &str,
    ) -> Option<Value> {
        let label = files.name();
        let free = || capacity.saturating_sub(self.used_on(datastore, label));
        Some(match name {
            "summary" => t::DatastoreSummary {
                datastore: Some(datastore.typed()),
                name: datastore.name.clone(),
                url: datastore_url(uuid),
                capacity: signed(capacity),
                free_space: signed(free()),
                uncommitted: Some(signed(self.uncommitted_on(label))),
                accessible: true,
                multiple_host_access: Some(self.hosts_in(&datastore.id).len() > 1),
                r#type: volume.type_name().to_owned(),
                maintenance_mode: Some("normal".to_owned()),
                ..Default::default()
            }
            .to_value(),
            "info" => match volume.kind {
                DatastoreKind::Vmfs => vmfs_info(datastore, uuid, capacity, free()).to_value(),
                DatastoreKind::Nfs => nas_info(datastore, uuid, capacity, free()).to_value(),
            },
            "capability" => t::DatastoreCapability {
                directory_hierarchy_supported: true,
                raw_disk_mappings_supported: false,
                per_file_thin_provisioning_supported: true,
                storage_iorm_supported: Some(false),
                native_snapshot_supported: Some(false),
                ..Default::default()
            }
            .to_value(),
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

    pub(super) fn pod_property(&self, pod: &Entity, name: &str) -> Option<Value> {
        Some(match name {
            "childType" => super::strings(["Datastore"]),
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
    fn used_on(&self, datastore: &Entity, label: &str) -> u64 {
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
pub(super) fn uses(machine: &Machine, label: &str) -> bool {
    is_at_home(machine, label) || machine.disks().iter().any(|disk| disk.path.datastore() == label)
}

/// Whether a machine's folder is on a datastore. Its path is looked at as text: there may be thousands of them.
fn is_at_home(machine: &Machine, label: &str) -> bool {
    let path = machine.config.files.vm_path_name.as_deref().unwrap_or_default();
    path.strip_prefix('[').and_then(|rest| rest.strip_prefix(label)).is_some_and(|rest| rest.starts_with(']'))
}

/// A folder of a file server that nobody needs to reach.
fn nas_info(datastore: &Entity, uuid: &str, capacity: u64, free: u64) -> t::NasDatastoreInfo {
    let volume = t::HostNasVolume {
        base: t::HostFileSystemVolume {
            r#type: "NFS".to_owned(),
            name: datastore.name.clone(),
            capacity: signed(capacity),
            ..Default::default()
        },
        remote_host: "nas.sim.example".to_owned(),
        remote_path: format!("/export/{}", datastore.name),
        remote_host_names: vec!["nas.sim.example".to_owned()],
        security_type: Some("AUTH_SYS".to_owned()),
        protocol_endpoint: Some(false),
        ..Default::default()
    };
    t::NasDatastoreInfo { base: base_info(datastore, uuid, free), nas: Some(Box::new(volume)) }
}

fn base_info(datastore: &Entity, uuid: &str, free: u64) -> t::DatastoreInfo {
    t::DatastoreInfo {
        name: datastore.name.clone(),
        url: datastore_url(uuid),
        free_space: signed(free),
        max_file_size: signed(sim_store::MAX_CAPACITY),
        max_virtual_disk_capacity: Some(signed(sim_store::MAX_CAPACITY)),
        max_memory_file_size: Some(signed(sim_store::MAX_CAPACITY)),
        ..Default::default()
    }
}

fn vmfs_info(datastore: &Entity, uuid: &str, capacity: u64, free: u64) -> t::VmfsDatastoreInfo {
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
        base: base_info(datastore, uuid, free),
        vmfs: Some(Box::new(volume)),
        max_physical_rdm_file_size: Some(signed(sim_store::MAX_CAPACITY)),
        max_virtual_rdm_file_size: Some(signed(sim_store::MAX_CAPACITY)),
    }
}
