//! `AuthorizationManager`.

use vim_api::MoRef;
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;

use super::roles::{self, Role};
use super::{Permission, disabled, lineage, privileges};
use crate::dispatch::method_not_found;
use crate::events::Draft;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Carries a call out.
pub(crate) fn call(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "RetrieveEntityPermissions" => entity_permissions(shared, call),
        "RetrieveAllPermissions" => {
            Ok(Answer::many(call, &shared.read(|world| permissions(world, |_| true))))
        }
        "RetrieveRolePermissions" => {
            let role: i32 = call.required("roleId")?;
            shared.read(|world| {
                existing(world, role)?;
                Ok(Answer::many(call, &permissions(world, |permission| permission.role == role)))
            })
        }
        "SetEntityPermissions" => set(shared, user, call, false),
        "ResetEntityPermissions" => set(shared, user, call, true),
        "RemoveEntityPermission" => remove(shared, user, call),
        "MergePermissions" => merge(shared, call),
        "AddAuthorizationRole" => add_role(shared, call),
        "UpdateAuthorizationRole" => update_role(shared, call),
        "RemoveAuthorizationRole" => remove_role(shared, call),
        "HasPrivilegeOnEntity" => {
            let entity: MoRef = call.required("entity")?;
            shared.read(|world| {
                let user = user_of_session(world, call)?;
                let asked = asked_privileges(call)?;
                let rights = world.rights(&user);
                let has: Vec<bool> = asked.iter().map(|privilege| rights.has(&entity, privilege)).collect();
                Ok(Answer::many(call, &has))
            })
        }
        "HasPrivilegeOnEntities" => shared.read(|world| {
            let user = user_of_session(world, call)?;
            availability(world, call, "entity", &user)
        }),
        "HasUserPrivilegeOnEntities" => shared.read(|world| {
            let user: String = call.required("userName")?;
            availability(world, call, "entities", &user)
        }),
        "FetchUserPrivilegeOnEntities" => fetch(shared, call),
        name if disabled::METHODS.contains(&name) => disabled::call(shared, call),
        _ => Err(method_not_found(call)),
    }
}

impl World {
    /// A property of the manager.
    pub(crate) fn authorization_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "privilegeList" => {
                let list = privileges::list().map(|privilege| privilege.to_value()).collect();
                Value::array("AuthorizationPrivilege", list)
            }
            "roleList" => {
                Value::array("AuthorizationRole", roles::list(self).map(|role| role.to_value()).collect())
            }
            "description" => privileges::description().to_value(),
            _ => return None,
        })
    }
}

fn permissions(world: &World, wanted: impl Fn(&Permission) -> bool) -> Vec<t::Permission> {
    let all = world.stored.authorization.permissions.iter();
    all.filter(|permission| wanted(permission)).map(Permission::to_wire).collect()
}

fn existing(world: &World, role: i32) -> Outcome<()> {
    if roles::exists(world, role) {
        return Ok(());
    }
    Err(fault(t::NotFound::default(), format!("There is no role {role}.")))
}

/// With `inherited` also those of the objects above that reach down to it.
fn entity_permissions(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let entity: MoRef = call.required("entity")?;
    let inherited: bool = call.required("inherited")?;
    shared.read(|world| {
        if world.node(&entity, None).is_none() {
            return Err(not_found(&entity));
        }
        let above = if inherited { lineage(world, &entity) } else { vec![entity.clone()] };
        let reaches = |permission: &Permission| {
            permission.is_on(&entity)
                || (permission.propagate && above.iter().any(|object| permission.is_on(object)))
        };
        Ok(Answer::many(call, &permissions(world, reaches)))
    })
}

/// `SetEntityPermissions` changes and adds, `ResetEntityPermissions` replaces all that the object has.
fn set(shared: &Shared, user: &str, call: &Call, reset: bool) -> Outcome<Answer> {
    let entity: MoRef = call.required("entity")?;
    let wanted: Vec<t::Permission> = call.list("permission")?;
    shared.update(|world| {
        if world.node(&entity, None).is_none() {
            return Err(not_found(&entity));
        }
        for permission in &wanted {
            existing(world, permission.role_id)?;
            if !roles::can_be_granted(world, permission.role_id) {
                return Err(invalid_argument("permission.roleId", "The role cannot be granted."));
            }
            let is_known = match permission.group {
                true => world.has_group(&permission.principal),
                false => world.has_user(&permission.principal),
            };
            if !is_known {
                let kind = if permission.group { "group" } else { "user" };
                let value = t::UserNotFound {
                    principal: permission.principal.clone(),
                    unresolved: true,
                    ..Default::default()
                };
                return Err(fault(value, format!("There is no {kind} \"{}\".", permission.principal)));
            }
        }
        let mut next = world.stored.authorization.clone();
        if reset {
            next.forget(&entity);
        }
        for permission in &wanted {
            next.grant(Permission::of_wire(&entity, permission));
        }
        replace(world, next)?;
        for permission in wanted {
            let event = permission_event(world, &entity, &permission.principal, permission.group);
            let role = role_argument(world, permission.role_id);
            let added = t::PermissionAddedEvent { base: event, role, propagate: permission.propagate };
            let what = format!(
                "Permission created for {} on {}, role is {}",
                permission.principal, added.base.entity.name, added.role.name
            );
            world.post(Draft::new(added, &what).by(user).on(&entity));
        }
        Ok(Answer::void())
    })
}

fn remove(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let entity: MoRef = call.required("entity")?;
    let principal: String = call.required("user")?;
    let group: bool = call.required("isGroup")?;
    shared.update(|world| {
        let mut next = world.stored.authorization.clone();
        let before = next.permissions.len();
        next.permissions.retain(|known| !(known.is_on(&entity) && known.is_of(&principal, group)));
        if next.permissions.len() == before {
            let message = format!("\"{principal}\" has no permission on this object.");
            return Err(fault(t::NotFound::default(), message));
        }
        replace(world, next)?;
        let event = t::PermissionRemovedEvent { base: permission_event(world, &entity, &principal, group) };
        let what = format!("Permission rule removed for {principal} on {}", event.base.entity.name);
        world.post(Draft::new(event, &what).by(user).on(&entity));
        Ok(Answer::void())
    })
}

/// Puts the new permissions in place of the old ones, if somebody who may do everything remains.
fn replace(world: &mut World, next: super::Authorization) -> Outcome<()> {
    let root = world.root();
    let admin = |permission: &Permission| {
        let is_admin = permission.role == roles::ADMIN && permission.propagate;
        // A group may be empty.
        is_admin && !permission.group && permission.is_on(&root)
    };
    if !next.permissions.iter().any(admin) {
        let message = "At least one user has to keep the role Admin on the root folder.";
        return Err(fault(t::AuthMinimumAdminPermission::default(), message));
    }
    world.stored.authorization = next;
    world.touch_all();
    Ok(())
}

fn merge(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let from: i32 = call.required("srcRoleId")?;
    let to: i32 = call.required("dstRoleId")?;
    shared.update(|world| {
        existing(world, from)?;
        existing(world, to)?;
        let mut next = world.stored.authorization.clone();
        let merged = next.permissions.iter_mut().filter(|permission| permission.role == from);
        merged.for_each(|permission| permission.role = to);
        replace(world, next)?;
        Ok(Answer::void())
    })
}

fn add_role(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let name = role_name(call.required("name")?)?;
    let privileges = role_privileges(call.list("privIds")?)?;
    shared.update(|world| Ok(Answer::one(call, &world.add_role(name, privileges)?)))
}

impl World {
    /// Adds a role and answers its id.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub(crate) fn add_role(&mut self, name: String, privileges: Vec<String>) -> Outcome<i32> {
        unused(self, &name)?;
        let last = self.stored.authorization.roles.iter().map(|role| role.id).max();
        // Below are the sample roles that a vCenter comes with.
        let id = last.unwrap_or(999) + 1;
        self.stored.authorization.roles.push(Role { id, name, privileges });
        self.touch();
        Ok(id)
    }
}

fn unused(world: &World, name: &str) -> Outcome<()> {
    if roles::id_of_name(world, name).is_none() {
        return Ok(());
    }
    let value = t::AlreadyExists { name: Some(name.to_owned()), ..Default::default() };
    Err(fault(value, format!("There is a role \"{name}\" already.")))
}

fn role_name(name: String) -> Outcome<String> {
    if name.is_empty() || name.chars().count() > 80 {
        let value = t::InvalidName { name, ..Default::default() };
        return Err(fault(value, "A role has a name of 1 to 80 characters."));
    }
    Ok(name)
}

/// What a role has: the privileges asked for, and those that each has.
pub(crate) fn role_privileges(mut privileges: Vec<String>) -> Outcome<Vec<String>> {
    known(&privileges)?;
    privileges.extend(roles::ALWAYS.map(str::to_owned));
    privileges.sort();
    privileges.dedup();
    Ok(privileges)
}

fn known(privileges: &[String]) -> Outcome<()> {
    match privileges.iter().find(|id| !privileges::is_known(id)) {
        Some(unknown) => Err(invalid_argument("privId", format!("There is no privilege \"{unknown}\"."))),
        None => Ok(()),
    }
}

fn added_role(world: &mut World, id: i32) -> Outcome<&mut Role> {
    existing(world, id)?;
    let mut added = world.stored.authorization.roles.iter_mut();
    added.find(|role| role.id == id).ok_or_else(|| invalid_argument("roleId", "The role is the system's."))
}

fn update_role(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let id: i32 = call.required("roleId")?;
    let name = role_name(call.required("newName")?)?;
    let privileges = role_privileges(call.list("privIds")?)?;
    shared.update(|world| {
        if added_role(world, id)?.name != name {
            unused(world, &name)?;
        }
        let role = added_role(world, id)?;
        (role.name, role.privileges) = (name, privileges);
        world.touch_all();
        Ok(Answer::void())
    })
}

fn remove_role(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let id: i32 = call.required("roleId")?;
    let fail_if_used: bool = call.required("failIfUsed")?;
    shared.update(|world| {
        added_role(world, id)?;
        let mut next = world.stored.authorization.clone();
        next.permissions.retain(|permission| permission.role != id);
        if fail_if_used && next.permissions.len() < world.stored.authorization.permissions.len() {
            return Err(fault(t::RemoveFailed::default(), "The role is in use."));
        }
        next.roles.retain(|role| role.id != id);
        replace(world, next)?;
        Ok(Answer::void())
    })
}

fn user_of_session(world: &World, call: &Call) -> Outcome<String> {
    let key: String = call.required("sessionId")?;
    let found = world.sessions.iter().find(|(_, session)| session.key == key);
    found
        .map(|(_, session)| session.user.clone())
        .ok_or_else(|| invalid_argument("sessionId", "There is no such session."))
}

fn asked_privileges(call: &Call) -> Outcome<Vec<String>> {
    let asked: Vec<String> = call.list("privId")?;
    known(&asked)?;
    Ok(asked)
}

fn availability(world: &World, call: &Call, argument: &str, user: &str) -> Outcome<Answer> {
    let entities: Vec<MoRef> = call.list(argument)?;
    let asked = asked_privileges(call)?;
    let rights = world.rights(user);
    let of_entity = |entity: &MoRef| t::EntityPrivilege {
        entity: entity.cast(),
        priv_availability: asked
            .iter()
            .map(|privilege| t::PrivilegeAvailability {
                priv_id: privilege.clone(),
                is_granted: rights.has(entity, privilege),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    Ok(Answer::many(call, &entities.iter().map(of_entity).collect::<Vec<_>>()))
}

fn fetch(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let entities: Vec<MoRef> = call.list("entities")?;
    let user: String = call.required("userName")?;
    let results: Vec<t::UserPrivilegeResult> = shared.read(|world| {
        let rights = world.rights(&user);
        let of_entity = |entity: &MoRef| t::UserPrivilegeResult {
            entity: entity.cast(),
            privileges: privileges::ids().filter(|privilege| rights.has(entity, privilege)).collect(),
            ..Default::default()
        };
        entities.iter().map(of_entity).collect()
    });
    Ok(Answer::many(call, &results))
}

fn permission_event(world: &World, entity: &MoRef, principal: &str, group: bool) -> t::PermissionEvent {
    t::PermissionEvent {
        entity: world.entity_argument(entity),
        principal: principal.to_owned(),
        group,
        ..Default::default()
    }
}

fn role_argument(world: &World, role: i32) -> t::RoleEventArgument {
    t::RoleEventArgument { role_id: role, name: roles::name_of(world, role), ..Default::default() }
}
