//! What every inventory object has, and the folders and datacenters.

use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::mo;
use vim_api::types as t;

use super::tree::{Entity, Holds, Kind};
use super::{Wanted, machine_ref, refs, strings};
use crate::world::World;

impl World {
    /// A property of an entity of the tree.
    pub(super) fn tree_property(&self, entity: &Entity, wanted: Wanted<'_>) -> Option<Value> {
        let name = wanted.name;
        let own = match &entity.kind {
            Kind::Folder(holds) => self.folder_property(entity, *holds, name),
            Kind::Datacenter => self.datacenter_property(entity, name),
            Kind::Cluster | Kind::Standalone => self.compute_property(entity, name),
            Kind::Host { uuid } => self.host_property(entity, uuid, name),
            Kind::Pool => self.pool_property(entity, name),
            Kind::Network => self.network_property(entity, name),
            Kind::Datastore { files, uuid, capacity, remote, .. } => {
                self.datastore_property(entity, files, uuid, *capacity, remote.as_ref(), name)
            }
            Kind::Pod => self.pod_property(entity, name),
        };
        own.or_else(|| self.entity_property(&entity.reference(), &entity.name, name))
    }

    fn folder_property(&self, folder: &Entity, holds: Holds, name: &str) -> Option<Value> {
        Some(match name {
            "childType" => strings(holds.child_types(self.mode())),
            "childEntity" => refs(self.children_of(folder)),
            _ => return None,
        })
    }

    /// What a folder, datacenter, cluster, host or pool holds, the way views see it.
    pub(crate) fn children_of(&self, entity: &Entity) -> Vec<MoRef> {
        let mut found: Vec<MoRef> =
            self.stored.tree.children(&entity.id).map(|child| child.reference()).collect();
        match entity.kind {
            Kind::Folder(Holds::Vms) => {
                let machines = self.machines().filter(|machine| machine.folder == entity.id);
                found.extend(machines.map(|machine| machine_ref(machine).cast()));
            }
            Kind::Host { .. } => {
                let machines = self.machines().filter(|machine| machine.host == entity.id);
                found.extend(machines.map(|machine| machine_ref(machine).cast()));
            }
            Kind::Pool => {
                let machines = self.machines().filter(|machine| machine.pool.as_ref() == Some(&entity.id));
                found.extend(machines.map(|machine| machine_ref(machine).cast()));
            }
            _ => {}
        }
        found
    }

    fn datacenter_property(&self, datacenter: &Entity, name: &str) -> Option<Value> {
        let folder = |holds| {
            let folder = self.stored.tree.folder_of(&datacenter.id, holds);
            folder.map(|folder| folder.typed::<mo::Folder>().to_value())
        };
        Some(match name {
            "vmFolder" => folder(Holds::Vms)?,
            "hostFolder" => folder(Holds::Hosts)?,
            "datastoreFolder" => folder(Holds::Datastores)?,
            "networkFolder" => folder(Holds::Networks)?,
            "datastore" => refs(self.datastores_of(&datacenter.id)),
            "network" => refs(self.networks_of(&datacenter.id)),
            "configuration" => t::DatacenterConfigInfo::default().to_value(),
            _ => return None,
        })
    }

    /// The datastores of the datacenter that something is in: all hosts of a datacenter mount all of them.
    pub(crate) fn datastores_of(&self, id: &str) -> Vec<MoRef<mo::Datastore>> {
        self.in_datacenter(id, |kind| matches!(kind, Kind::Datastore { .. }))
    }

    /// The networks of the datacenter that something is in.
    pub(crate) fn networks_of(&self, id: &str) -> Vec<MoRef<mo::Network>> {
        self.in_datacenter(id, |kind| matches!(kind, Kind::Network))
    }

    /// The hosts of the datacenter that something is in.
    pub(crate) fn hosts_in(&self, id: &str) -> Vec<MoRef<mo::HostSystem>> {
        self.in_datacenter(id, |kind| matches!(kind, Kind::Host { .. }))
    }

    fn in_datacenter<M: mo::Managed>(&self, id: &str, suits: impl Fn(&Kind) -> bool) -> Vec<MoRef<M>> {
        let tree = &self.stored.tree;
        let Some(datacenter) = tree.datacenter_of(id) else { return Vec::new() };
        tree.below(&datacenter.id)
            .into_iter()
            .filter(|entity| suits(&entity.kind))
            .map(Entity::typed)
            .collect()
    }

    /// The properties of `ManagedEntity`. `entity_name` is escaped already.
    pub(super) fn entity_property(&self, this: &MoRef, entity_name: &str, name: &str) -> Option<Value> {
        Some(match name {
            "name" => Value::String(entity_name.to_owned()),
            "parent" => Value::MoRef(self.parent_of(this)?),
            "overallStatus" | "configStatus" => t::ManagedEntityStatus::Green.to_value(),
            "disabledMethod" => strings(self.disabled_methods(this)),
            "recentTask" => refs(self.tasks.of_entity(this)),
            "alarmActionsEnabled" if !self.mode().is_host() => Value::Bool(true),
            "value" | "customValue" => array("CustomFieldValue", self.custom_values(this)),
            "availableField" => array("CustomFieldDef", self.custom_fields_of(this)),
            "permission" => array("Permission", self.permissions_on(this)),
            "declaredAlarmState" | "triggeredAlarmState" => Value::array("AlarmState", Vec::new()),
            "configIssue" => Value::array("Event", Vec::new()),
            "tag" => Value::array("Tag", Vec::new()),
            _ => return None,
        })
    }
}

fn array(item_name: &str, items: Vec<impl Element>) -> Value {
    Value::array(item_name, items.iter().map(Element::to_value).collect())
}
