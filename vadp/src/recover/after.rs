//! What is attached to a machine once it is whole: tags, custom attributes, permissions. What cannot be attached costs a warning, and not the
//! machine.

use vim_api::mo::{AuthorizationManager, CustomFieldsManager, Managed, ManagedEntity};
use vim_api::rest::TagAssignment;
use vim_api::types::Permission;
use vim_api::{Error, MoRef};

use crate::capture::{Attribute, Grant, Parts};
use crate::machine::ProtectedVm;

pub(super) async fn attach(vm: &ProtectedVm, parts: &Parts) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_vcenter = vm.client().is_vcenter();
    for tag in parts.tags.get().into_iter().flatten().filter(|_| is_vcenter) {
        if let Err(why) = tagged(vm, tag).await {
            warnings.push(format!("the tag {}/{} is not attached: {why}", tag.category, tag.tag));
        }
    }
    for attribute in parts.attributes.get().into_iter().flatten().filter(|_| is_vcenter) {
        if let Err(why) = set(vm, attribute).await {
            warnings.push(format!("the attribute {} is not set: {why}", attribute.name));
        }
    }
    let grants = parts.permissions.get().map(Vec::as_slice).unwrap_or_default();
    for grant in grants {
        if let Err(why) = granted(vm, grant).await {
            warnings.push(format!("{} is not given the role {}: {why}", grant.principal, grant.role));
        }
    }
    warnings
}

async fn tagged(vm: &ProtectedVm, tag: &TagAssignment) -> Result<(), String> {
    let tags = vm.client().rest().tags();
    let found = tags.find_tag(&tag.category, &tag.tag).await.map_err(|e| e.to_string())?;
    let found = found.ok_or("there is none of this name: make it, and attach it")?;
    tags.attach(&found.id, &vm.vm().moref()).await.map_err(|e| e.to_string())
}

async fn set(vm: &ProtectedVm, attribute: &Attribute) -> Result<(), String> {
    let client = vm.client();
    let manager = client.content().custom_fields_manager.as_ref().ok_or("the server has none")?;
    let manager: CustomFieldsManager = client.bind(manager);
    let write = async {
        let fields = manager.get(CustomFieldsManager::FIELD).await?.unwrap_or_default();
        let fits = |of: &Option<String>| of.as_deref().is_none_or(|of| of == "VirtualMachine");
        let field =
            fields.iter().find(|field| field.name == attribute.name && fits(&field.managed_object_type));
        let key = match field {
            Some(field) => field.key,
            None => {
                let made = manager.add_custom_field_def(&attribute.name, attribute.on.as_deref(), None, None);
                made.await?.key
            }
        };
        manager.set_field(&entity(vm), key, &attribute.value).await
    };
    write.await.map_err(|e: Error| e.to_string())
}

async fn granted(vm: &ProtectedVm, grant: &Grant) -> Result<(), String> {
    let client = vm.client();
    let manager = client.content().authorization_manager.as_ref().ok_or("the server has none")?;
    let manager: AuthorizationManager = client.bind(manager);
    let roles = manager.get(AuthorizationManager::ROLE_LIST).await.map_err(|e| e.to_string())?;
    let role = roles.unwrap_or_default().into_iter().find(|role| role.name == grant.role);
    let role = role.ok_or("there is no role of this name: make it, and give it")?;
    let permission = Permission {
        principal: grant.principal.clone(),
        group: grant.group,
        role_id: role.role_id,
        propagate: grant.propagate,
        ..Default::default()
    };
    manager.set_entity_permissions(&entity(vm), &[permission]).await.map_err(|e| e.to_string())
}

fn entity(vm: &ProtectedVm) -> MoRef<ManagedEntity> {
    vm.vm().moref().cast()
}
