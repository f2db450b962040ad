//! Who may do what: roles, permissions on inventory objects, and the one place where both are enforced.
//!
//! A permission gives a user or a group a role on an object, and below it if it propagates. Which of them decide is said in
//! [`rights`].
//!
//! ```text
//!  dispatch ─► admit ─► table: what a method needs, and on which objects
//!  property_collector ─► property, visible       │
//!                                 └─► Rights ◄───┘   permissions, roles, the tree above an object
//!  /folder, tags, services beside ─► elsewhere ─► Rights
//!  the inventory for other processes ─► disk_rights ─► Rights
//! ```

pub(crate) mod disabled;
mod disk_rights;
pub(crate) mod elsewhere;
pub(crate) mod manager;
mod principals;
mod privileges;
mod rights;
mod roles;
mod table;

use serde::{Deserialize, Serialize};
use vim_api::MoRef;
use vim_api::dynamic::{PropertyInfo, Value, managed_type};
use vim_api::types as t;

use crate::fault::{Fault, Outcome, fault, not_authenticated};
use crate::session::Session;
use crate::wire::Call;
use crate::world::World;

pub(crate) use principals::same as same_principal;
pub(crate) use rights::Rights;
use roles::Role;
pub(crate) use roles::id_of_name as role_named;

/// Longest way up a tree. An inventory is not as deep; a ring in it would be an error of ours.
const MAX_DEPTH: usize = 64;

pub(crate) const VIEW: &str = "System.View";
const ANONYMOUS: &str = "System.Anonymous";
const READ: &str = "System.Read";

/// Roles and permissions, as they are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Authorization {
    /// The roles beside those that every server has.
    pub(crate) roles: Vec<Role>,
    permissions: Vec<Permission>,
}

/// A role that a user or a group has on an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permission {
    /// Type and id of the object.
    entity: (String, String),
    principal: String,
    /// Whether the principal is a group.
    #[serde(default)]
    group: bool,
    role: i32,
    propagate: bool,
}

impl Permission {
    /// A permission on an object and all below it.
    pub(crate) fn propagating(entity: &MoRef, principal: &str, group: bool, role: i32) -> Self {
        let entity = (entity.type_name().to_owned(), entity.value().to_owned());
        Self { entity, principal: principal.to_owned(), group, role, propagate: true }
    }

    fn of_wire(entity: &MoRef, wanted: &t::Permission) -> Self {
        let permission = Self::propagating(entity, &wanted.principal, wanted.group, wanted.role_id);
        Self { propagate: wanted.propagate, ..permission }
    }

    fn entity(&self) -> MoRef {
        MoRef::of_type(&self.entity.0, self.entity.1.clone())
    }

    fn is_on(&self, object: &MoRef) -> bool {
        self.entity.0 == object.type_name() && self.entity.1 == object.value()
    }

    fn is_of(&self, principal: &str, group: bool) -> bool {
        self.group == group && same_principal(&self.principal, principal)
    }

    fn to_wire(&self) -> t::Permission {
        t::Permission {
            entity: Some(self.entity().cast()),
            principal: self.principal.clone(),
            group: self.group,
            role_id: self.role,
            propagate: self.propagate,
            ..Default::default()
        }
    }
}

impl Authorization {
    /// Gives a permission, in place of the one that the principal has on the object.
    pub(crate) fn grant(&mut self, new: Permission) {
        self.permissions
            .retain(|known| known.entity != new.entity || !known.is_of(&new.principal, new.group));
        self.permissions.push(new);
    }

    /// Forgets the permissions on an object that is gone.
    pub(crate) fn forget(&mut self, entity: &MoRef) {
        self.permissions.retain(|known| !known.is_on(entity));
    }

    /// Whether a user or a group has a role of its own anywhere.
    pub(crate) fn knows(&self, principal: &str, group: bool) -> bool {
        self.permissions.iter().any(|permission| permission.is_of(principal, group))
    }
}

impl World {
    /// Forgets what is kept beside an inventory object that is gone: permissions on it, and its custom values.
    pub(crate) fn forget(&mut self, entity: &MoRef) {
        self.stored.authorization.forget(entity);
        self.stored.custom_fields.forget(entity);
        self.touch();
    }

    /// `ManagedEntity.permission`: those on the object itself.
    pub(crate) fn permissions_on(&self, entity: &MoRef) -> Vec<t::Permission> {
        let all = self.stored.authorization.permissions.iter();
        all.filter(|permission| permission.is_on(entity)).map(Permission::to_wire).collect()
    }
}

/// The fault for a privilege that is missing on an object.
pub(crate) fn no_permission(object: &MoRef, privilege: &str) -> Fault {
    let missing = t::NoPermissionEntityPrivileges {
        entity: object.clone(),
        privilege_ids: vec![privilege.to_owned()],
        ..Default::default()
    };
    let value = t::NoPermission {
        object: Some(object.clone()),
        privilege_id: Some(privilege.to_owned()),
        missing_privileges: vec![missing],
        ..Default::default()
    };
    fault(value, "Permission to perform this operation was denied.")
}

/// Refuses a call that the session's user has no privilege for, or whose method is disabled on the object.
pub(crate) fn admit(world: &World, cookie: &str, call: &Call) -> Outcome<()> {
    let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    let rights = world.rights(&session.user);
    for (object, privilege) in table::needs(world, session, call)? {
        rights.require(&object, &privilege)?;
    }
    disabled::check(world, call)
}

/// Reads a property as far as a session may: `read` is asked only if its user has the property's privilege, and
/// references to what the user does not see are left out.
///
/// # Errors
/// `NoPermission`, and what `read` fails with.
pub(crate) fn property(
    world: &World,
    session: Option<&Session>,
    object: &MoRef,
    info: &PropertyInfo,
    read: impl FnOnce() -> Option<Value>,
) -> Outcome<Option<Value>> {
    may_read(world, session, object, info)?;
    let Some(session) = session else { return Ok(read()) };
    let rights = world.rights(&session.user);
    if info.name == "effectiveRole" {
        let roles = rights.roles_on(object).iter().map(|role| Value::Int(*role)).collect();
        return Ok(Some(Value::array("int", roles)));
    }
    let Some(value) = read() else { return Ok(None) };
    if rights.are_alike_everywhere() {
        return Ok(Some(value));
    }
    Ok(match value {
        Value::MoRef(one) => rights.sees(&one).then_some(Value::MoRef(one)),
        Value::Array(array) if array.item_name() == "ManagedObjectReference" => {
            let seen = |item: &Value| matches!(item, Value::MoRef(one) if rights.sees(one));
            Some(Value::array(
                "ManagedObjectReference",
                array.into_items().into_iter().filter(seen).collect(),
            ))
        }
        value => Some(value),
    })
}

/// Whether a session may read a property.
///
/// # Errors
/// `NoPermission`, or `NotAuthenticated` without a session.
pub(crate) fn may_read(
    world: &World,
    session: Option<&Session>,
    object: &MoRef,
    info: &PropertyInfo,
) -> Outcome<()> {
    let Some(session) = session else {
        return match info.privilege {
            None | Some(ANONYMOUS) => Ok(()),
            Some(_) => Err(not_authenticated(object)),
        };
    };
    let rights = world.rights(&session.user);
    if rights.are_all() {
        return Ok(());
    }
    // What the schema says nothing about takes the privilege to read, where there is one to give.
    let otherwise = if is_guarded(world, object) { READ } else { VIEW };
    rights.require(object, info.privilege.unwrap_or(otherwise))
}

/// Whether a session sees an object. Without a session there is nothing to hide: only the front door answers.
pub(crate) fn sees(world: &World, session: Option<&Session>, object: &MoRef) -> bool {
    session.is_none_or(|session| world.rights(&session.user).sees(object))
}

/// An inventory object and all that is above it, the root last.
pub(crate) fn lineage(world: &World, entity: &MoRef) -> Vec<MoRef> {
    std::iter::successors(Some(entity.clone()), |at| world.parent_of(at)).take(MAX_DEPTH).collect()
}

/// The inventory object that decides about an object: a snapshot's machine, a task's entity, the root for managers.
pub(crate) fn subject_of(world: &World, object: &MoRef) -> MoRef {
    let owner = match object.type_name() {
        "VirtualMachineSnapshot" => world.parent_of(object),
        "Task" => {
            world.tasks.get(object.value()).and_then(|task| task.info().entity.as_ref().map(MoRef::cast))
        }
        _ => is_entity(object).then(|| object.clone()),
    };
    owner.unwrap_or_else(|| world.root())
}

/// Whether seeing an object takes a permission.
fn is_guarded(world: &World, object: &MoRef) -> bool {
    let subject = subject_of(world, object);
    is_entity(object) || subject != world.root()
}

/// Whether an object is of the inventory.
pub(crate) fn is_entity(object: &MoRef) -> bool {
    managed_type(object.type_name()).is_some_and(|info| info.is_a("ManagedEntity"))
}
