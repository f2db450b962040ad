//! What every inventory object has, and the folders.

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{ids, moref, refs, strings};
use crate::world::World;

/// The folders that every server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Root,
    Vms,
    Hosts,
    Datastores,
    Networks,
}

impl Folder {
    /// The folder with this id.
    pub(super) fn of(id: &str) -> Option<Self> {
        Some(match id {
            ids::ROOT => Self::Root,
            ids::VM_FOLDER => Self::Vms,
            ids::HOST_FOLDER => Self::Hosts,
            ids::DATASTORE_FOLDER => Self::Datastores,
            ids::NETWORK_FOLDER => Self::Networks,
            _ => return None,
        })
    }

    fn id(self) -> &'static str {
        match self {
            Self::Root => ids::ROOT,
            Self::Vms => ids::VM_FOLDER,
            Self::Hosts => ids::HOST_FOLDER,
            Self::Datastores => ids::DATASTORE_FOLDER,
            Self::Networks => ids::NETWORK_FOLDER,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Root => "Datacenters",
            Self::Vms => "vm",
            Self::Hosts => "host",
            Self::Datastores => "datastore",
            Self::Networks => "network",
        }
    }

    fn child_types(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["Folder", "Datacenter"],
            Self::Vms => &["Folder", "VirtualMachine", "VirtualApp"],
            Self::Hosts => &["Folder", "ComputeResource"],
            Self::Datastores => &["Folder", "Datastore", "StoragePod"],
            Self::Networks => &["Folder", "Network", "DistributedVirtualSwitch"],
        }
    }
}

impl World {
    pub(super) fn folder_property(&self, folder: Folder, name: &str) -> Option<Value> {
        Some(match name {
            "childType" => strings(folder.child_types().iter().copied()),
            "childEntity" => refs(self.folder_children(folder)),
            _ => {
                let parent = match folder {
                    Folder::Root => None,
                    _ => Some(moref::<mo::Datacenter>(ids::DATACENTER).cast()),
                };
                return self.entity_property(
                    &moref::<mo::Folder>(folder.id()).cast(),
                    folder.name(),
                    parent,
                    name,
                );
            }
        })
    }

    /// What a folder holds.
    pub(super) fn folder_children(&self, folder: Folder) -> Vec<MoRef> {
        match folder {
            Folder::Root => vec![moref::<mo::Datacenter>(ids::DATACENTER).cast()],
            Folder::Vms => {
                self.stored.machines.values().map(|machine| super::machine_ref(machine).cast()).collect()
            }
            Folder::Hosts => vec![moref::<mo::ClusterComputeResource>(ids::CLUSTER).cast()],
            Folder::Datastores => self.datastore_refs().map(|datastore| datastore.cast()).collect(),
            Folder::Networks => vec![moref::<mo::Network>(ids::NETWORK).cast()],
        }
    }

    pub(super) fn datacenter_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "vmFolder" => moref::<mo::Folder>(ids::VM_FOLDER).to_value(),
            "hostFolder" => moref::<mo::Folder>(ids::HOST_FOLDER).to_value(),
            "datastoreFolder" => moref::<mo::Folder>(ids::DATASTORE_FOLDER).to_value(),
            "networkFolder" => moref::<mo::Folder>(ids::NETWORK_FOLDER).to_value(),
            "datastore" => refs(self.datastore_refs()),
            "network" => refs([moref::<mo::Network>(ids::NETWORK)]),
            "configuration" => t::DatacenterConfigInfo::default().to_value(),
            _ => {
                let parent = Some(moref::<mo::Folder>(ids::ROOT).cast());
                let this = moref::<mo::Datacenter>(ids::DATACENTER).cast();
                return self.entity_property(&this, "DC0", parent, name);
            }
        })
    }

    /// The properties of `ManagedEntity`.
    pub(super) fn entity_property(
        &self,
        this: &MoRef,
        entity_name: &str,
        parent: Option<MoRef>,
        name: &str,
    ) -> Option<Value> {
        Some(match name {
            "name" => Value::String(escaped(entity_name)),
            "parent" => Value::MoRef(parent?),
            "overallStatus" | "configStatus" => t::ManagedEntityStatus::Green.to_value(),
            "disabledMethod" => strings(self.disabled_methods(this)),
            "recentTask" => refs(self.tasks.of_entity(this)),
            "alarmActionsEnabled" => Value::Bool(true),
            "value" | "customValue" => array("CustomFieldValue", self.custom_values(this)),
            "availableField" => array("CustomFieldDef", self.custom_fields_of(this)),
            "permission" => array("Permission", self.permissions_on(this)),
            "declaredAlarmState" | "triggeredAlarmState" => Value::array("AlarmState", Vec::new()),
            "tag" => Value::array("Tag", Vec::new()),
            _ => return None,
        })
    }

    pub(super) fn datastore_refs(&self) -> impl Iterator<Item = MoRef<mo::Datastore>> {
        self.stored.datastores.iter().map(|datastore| moref(&datastore.id))
    }
}

fn array(item_name: &str, items: Vec<impl Element>) -> Value {
    Value::array(item_name, items.iter().map(Element::to_value).collect())
}

/// Names of inventory objects show three characters as their codes, so that they can stand in a path.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f").replace('\\', "%5c")
}
