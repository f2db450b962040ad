//! Who may do what: roles, permissions on inventory objects, and the one place where both are enforced.
//!
//! A permission gives a user a role on an object, and below it if it propagates. The one that is nearest to an object
//! decides alone. Whoever may see an object also sees the way that leads to it.
//!
//! ```text
//!  dispatch ─► admit ─► table: what a method needs, and on which objects
//!  property_collector ─► property, visible       │
//!                                 └─► Rights ◄───┘   permissions, roles, the tree above an object
//! ```

pub(crate) mod disabled;
pub(crate) mod manager;
mod principals;
mod privileges;
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

/// A role that a user has on an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permission {
    /// Type and id of the object.
    entity: (String, String),
    principal: String,
    role: i32,
    propagate: bool,
}

impl Permission {
    fn entity(&self) -> MoRef {
        MoRef::of_type(&self.entity.0, self.entity.1.clone())
    }

    fn is_on(&self, object: &MoRef) -> bool {
        self.entity.0 == object.type_name() && self.entity.1 == object.value()
    }

    fn is_of(&self, principal: &str) -> bool {
        same_principal(&self.principal, principal)
    }

    fn to_wire(&self) -> t::Permission {
        t::Permission {
            entity: Some(self.entity().cast()),
            principal: self.principal.clone(),
            group: false,
            role_id: self.role,
            propagate: self.propagate,
            ..Default::default()
        }
    }
}

impl Authorization {
    /// Gives a user a role on an object, in place of the one that it has there.
    pub(crate) fn grant(&mut self, entity: &MoRef, principal: &str, role: i32, propagate: bool) {
        self.permissions.retain(|known| !(known.is_on(entity) && known.is_of(principal)));
        self.permissions.push(Permission {
            entity: (entity.type_name().to_owned(), entity.value().to_owned()),
            principal: principal.to_owned(),
            role,
            propagate,
        });
    }

    /// Forgets the permissions on an object that is gone.
    pub(crate) fn forget(&mut self, entity: &MoRef) {
        self.permissions.retain(|known| !known.is_on(entity));
    }

    /// Whether a user has a role anywhere.
    pub(crate) fn knows(&self, principal: &str) -> bool {
        self.permissions.iter().any(|permission| permission.is_of(principal))
    }
}

/// What one user may do.
pub(crate) struct Rights<'w> {
    world: &'w World,
    own: Vec<&'w Permission>,
    /// The role that the user has everywhere: there is nothing to look up then.
    everywhere: Option<i32>,
}

impl Rights<'_> {
    /// The role that decides on an object.
    pub(crate) fn role_on(&self, object: &MoRef) -> i32 {
        if let Some(role) = self.everywhere {
            return role;
        }
        let entity = subject_of(self.world, object);
        let own_on = |at: &MoRef| self.own.iter().find(|permission| permission.is_on(at));
        if let Some(own) = own_on(&entity) {
            return own.role;
        }
        let inherited = lineage(self.world, &entity)
            .into_iter()
            .skip(1)
            .find_map(|above| own_on(&above).filter(|permission| permission.propagate));
        if let Some(inherited) = inherited {
            return inherited.role;
        }
        // Somewhere below is something that the user may see.
        let leads_to = self.own.iter().any(|permission| {
            roles::holds(self.world, permission.role, VIEW)
                && lineage(self.world, &permission.entity()).contains(&entity)
        });
        if leads_to { roles::VIEW } else { roles::NO_ACCESS }
    }

    /// Whether the user has a privilege on an object.
    pub(crate) fn has(&self, object: &MoRef, privilege: &str) -> bool {
        match privilege {
            ANONYMOUS => true,
            // Managers, sessions' own objects and tasks about nothing are there for all who are logged in.
            VIEW if !is_guarded(self.world, object) => true,
            _ => roles::holds(self.world, self.role_on(object), privilege),
        }
    }

    /// Whether the user sees an object at all.
    pub(crate) fn sees(&self, object: &MoRef) -> bool {
        self.has(object, VIEW)
    }

    /// # Errors
    /// `NoPermission`.
    pub(crate) fn require(&self, object: &MoRef, privilege: &str) -> Outcome<()> {
        if self.has(object, privilege) {
            Ok(())
        } else {
            Err(no_permission(&subject_of(self.world, object), privilege))
        }
    }
}

impl World {
    /// What a user may do.
    pub(crate) fn rights(&self, user: &str) -> Rights<'_> {
        let all = self.stored.authorization.permissions.iter();
        let own: Vec<&Permission> = all.filter(|permission| permission.is_of(user)).collect();
        let everywhere = match own.as_slice() {
            [one] if one.propagate && one.is_on(&self.root()) => Some(one.role),
            _ => None,
        };
        Rights { world: self, own, everywhere }
    }

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

/// The same for a call to VSLM, whose disks are those of the API.
pub(crate) fn admit_to_disks(world: &World, cookie: &str, call: &Call) -> Outcome<()> {
    let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    let rights = world.rights(&session.user);
    for (object, privilege) in table::needs_at_disks(world, session, call)? {
        rights.require(&object, &privilege)?;
    }
    Ok(())
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
        return Ok(Some(Value::array("int", vec![Value::Int(rights.role_on(object))])));
    }
    let Some(value) = read() else { return Ok(None) };
    if rights.everywhere.is_some() {
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
    if rights.everywhere == Some(roles::ADMIN) {
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
