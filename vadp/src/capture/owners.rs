//! What people and services have attached to the machine, by names.

use vim_api::mo::{AuthorizationManager, Managed, ManagedEntity, VirtualMachine};
use vim_api::rest::TagAssignment;
use vim_api::types::CustomFieldStringValue;
use vim_api::{Error, MoRef};

use super::types::{Attribute, Grant, Policies, Policy};
use super::{Part, Why};
use crate::machine::ProtectedVm;

const HOST_ALONE: &str = "a host without a vCenter has none";

pub(super) async fn tags(vm: &ProtectedVm) -> Part<Vec<TagAssignment>> {
    if !vm.client().is_vcenter() {
        return Part::absent(Why::NotOnThisServer, HOST_ALONE);
    }
    let moref = vm.vm().moref();
    let read = vm.client().rest().tags().read_assignments(std::slice::from_ref(&moref)).await;
    Part::from(read.map(|objects| objects.into_iter().flat_map(|(_, tags)| tags).collect()))
}

pub(super) async fn attributes(vm: &ProtectedVm) -> Part<Vec<Attribute>> {
    if !vm.client().is_vcenter() {
        return Part::absent(Why::NotOnThisServer, HOST_ALONE);
    }
    let read = async {
        let values = vm.vm().get(VirtualMachine::CUSTOM_VALUE).await?.unwrap_or_default();
        let fields = vm.vm().get(VirtualMachine::AVAILABLE_FIELD).await?.unwrap_or_default();
        let named = values.iter().filter_map(|value| {
            let value = value.downcast_ref::<CustomFieldStringValue>()?;
            let field = fields.iter().find(|field| field.key == value.key);
            // A value whose attribute is not told is kept under its number: better than not at all.
            let name = field.map_or_else(|| format!("key {}", value.key), |field| field.name.clone());
            let on = field.and_then(|field| field.managed_object_type.clone());
            Some(Attribute { name, on, value: value.value.clone() })
        });
        Ok::<_, Error>(named.collect())
    };
    Part::from(read.await)
}

pub(super) async fn policies(vm: &ProtectedVm, disks: &[i32]) -> Part<Policies> {
    if !vm.client().is_vcenter() {
        return Part::absent(Why::NotOnThisServer, HOST_ALONE);
    }
    let read = async {
        let found = vm.client().storage_policies().await?.of_machine(&vm.vm().moref(), disks).await?;
        let policy = |policy: vim_api::StoragePolicy| Policy { id: policy.id, name: policy.name };
        Ok::<_, Error>(Policies {
            home: found.home.map(policy),
            disks: found.disks.into_iter().map(|(key, found)| (key, policy(found))).collect(),
        })
    };
    Part::from(read.await)
}

pub(super) async fn permissions(vm: &ProtectedVm) -> Part<Vec<Grant>> {
    let Some(manager) = &vm.client().content().authorization_manager else {
        return Part::absent(Why::NotOnThisServer, "the server has no AuthorizationManager");
    };
    let read = async {
        let manager: AuthorizationManager = vm.client().bind(manager);
        let entity: MoRef<ManagedEntity> = vm.vm().moref().cast();
        let found = manager.retrieve_entity_permissions(&entity, false).await?;
        if found.is_empty() {
            return Ok::<_, Error>(Vec::new());
        }
        let roles = manager.get(AuthorizationManager::ROLE_LIST).await?.unwrap_or_default();
        let grant = |permission: vim_api::types::Permission| {
            let role = roles.iter().find(|role| role.role_id == permission.role_id);
            Grant {
                principal: permission.principal,
                group: permission.group,
                role: role.map_or_else(|| permission.role_id.to_string(), |role| role.name.clone()),
                propagate: permission.propagate,
            }
        };
        Ok(found.into_iter().map(grant).collect())
    };
    Part::from(read.await)
}
