//! Datastores.

use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::devices::signed;
use super::{ids, machine_ref, moref, refs};
use crate::browser;
use crate::world::{DatastoreState, World};

/// What a datastore says of its size in bytes, whatever the host's disk has.
const CAPACITY: u64 = 4 << 40;

impl DatastoreState {
    /// The URL by which it is mounted on the host.
    pub(crate) fn url(&self) -> String {
        format!("ds:///vmfs/volumes/{}/", self.uuid)
    }
}

impl World {
    pub(super) fn datastore_property(&self, datastore: &DatastoreState, name: &str) -> Option<Value> {
        let label = datastore.files.name();
        let on_it = || {
            let machines = self.stored.machines.values();
            machines.filter(move |machine| machine.vmx.datastore() == label)
        };
        let free = || CAPACITY.saturating_sub(on_it().map(|machine| self.usage(machine).committed).sum());
        Some(match name {
            "summary" => t::DatastoreSummary {
                datastore: Some(moref(&datastore.id)),
                name: label.to_owned(),
                url: datastore.url(),
                capacity: signed(CAPACITY),
                free_space: signed(free()),
                uncommitted: Some(0),
                accessible: true,
                multiple_host_access: Some(false),
                r#type: "VMFS".to_owned(),
                maintenance_mode: Some("normal".to_owned()),
                ..Default::default()
            }
            .to_value(),
            "info" => info(datastore, free()).to_value(),
            "capability" => t::DatastoreCapability {
                directory_hierarchy_supported: true,
                raw_disk_mappings_supported: false,
                per_file_thin_provisioning_supported: true,
                ..Default::default()
            }
            .to_value(),
            "host" => {
                let mount_info = t::HostMountInfo {
                    path: Some(format!("/vmfs/volumes/{}", datastore.uuid)),
                    access_mode: "readWrite".to_owned(),
                    mounted: Some(true),
                    accessible: Some(true),
                    ..Default::default()
                };
                let mount = t::DatastoreHostMount { key: moref(ids::HOST), mount_info, ..Default::default() };
                Value::array("DatastoreHostMount", vec![mount.to_value()])
            }
            "vm" => refs(on_it().map(machine_ref)),
            "browser" => moref::<mo::HostDatastoreBrowser>(&browser::id_of(datastore)).to_value(),
            _ => {
                let parent = Some(moref::<mo::Folder>(ids::DATASTORE_FOLDER).cast());
                let this = moref::<mo::Datastore>(&datastore.id).cast();
                return self.entity_property(&this, label, parent, name);
            }
        })
    }
}

pub(super) fn browser_property(datastore: &DatastoreState, name: &str) -> Option<Value> {
    match name {
        "datastore" => Some(refs([moref::<mo::Datastore>(&datastore.id)])),
        "supportedType" => Some(browser::supported()),
        _ => None,
    }
}

fn info(datastore: &DatastoreState, free: u64) -> t::VmfsDatastoreInfo {
    let volume = t::HostVmfsVolume {
        base: t::HostFileSystemVolume {
            r#type: "VMFS".to_owned(),
            name: datastore.files.name().to_owned(),
            capacity: signed(CAPACITY),
            ..Default::default()
        },
        block_size_mb: 1,
        block_size: Some(1024),
        max_blocks: 63_963_136,
        major_version: 6,
        version: "6.82".to_owned(),
        uuid: datastore.uuid.clone(),
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
        base: t::DatastoreInfo {
            name: datastore.files.name().to_owned(),
            url: datastore.url(),
            free_space: signed(free),
            max_file_size: signed(sim_store::MAX_CAPACITY),
            max_virtual_disk_capacity: Some(signed(sim_store::MAX_CAPACITY)),
            ..Default::default()
        },
        vmfs: Some(Box::new(volume)),
        ..Default::default()
    }
}
