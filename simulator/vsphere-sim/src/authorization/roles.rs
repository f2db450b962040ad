//! Roles: those that every server has, and those that were added.

use serde::{Deserialize, Serialize};
use vim_api::dynamic::Poly;
use vim_api::types as t;

use super::{ANONYMOUS, privileges};
use crate::world::World;

pub(super) const ADMIN: i32 = -1;
pub(super) const READ_ONLY: i32 = -2;
pub(super) const VIEW: i32 = -3;
pub(super) const NO_ACCESS: i32 = -5;
const NOBODY: i32 = -4;
const NO_CRYPTO: i32 = -6;

/// What each role has that was added, beside what it was given.
pub(super) const ALWAYS: [&str; 3] = [ANONYMOUS, super::READ, super::VIEW];

/// Those that every server has: id, name, label and summary.
const SYSTEM: [(i32, &str, &str, &str); 6] = [
    (
        NO_CRYPTO,
        "NoCryptoAdmin",
        "No cryptography administrator",
        "Full access without cryptographic operations",
    ),
    (NO_ACCESS, "NoAccess", "No access", "Takes access away that was given above"),
    (NOBODY, "Anonymous", "Anonymous", "Who is not logged in (cannot be granted)"),
    (VIEW, "View", "View", "Sees that an object is there (cannot be granted)"),
    (READ_ONLY, "ReadOnly", "Read-only", "Sees objects in detail and changes nothing"),
    (ADMIN, "Admin", "Administrator", "Full access"),
];

/// What a server without cryptography keeps from its administrators, beside the group itself.
const CRYPTO: [&str; 4] = [
    "Host.Inventory.AddHostToCluster",
    "Host.Inventory.AddStandaloneHost",
    "Host.Local.ManageUserGroups",
    "VirtualMachine.Interact.GuestControl",
];

/// A role that was added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(super) id: i32,
    pub(super) name: String,
    /// Ids of privileges, sorted.
    pub(super) privileges: Vec<String>,
}

/// Whether the role has the privilege. A role that is gone has none.
pub(super) fn holds(world: &World, role: i32, privilege: &str) -> bool {
    if role >= 0 {
        let mut added = world.stored.authorization.roles.iter();
        return added
            .find(|known| known.id == role)
            .is_some_and(|known| known.privileges.iter().any(|own| own == privilege));
    }
    match role {
        ADMIN => true,
        NO_CRYPTO => !privilege.starts_with("Cryptographer.") && !CRYPTO.contains(&privilege),
        READ_ONLY => ALWAYS.contains(&privilege),
        VIEW => [ANONYMOUS, super::VIEW].contains(&privilege),
        NOBODY => privilege == ANONYMOUS,
        _ => false,
    }
}

/// Whether a permission may give the role.
pub(super) fn can_be_granted(world: &World, role: i32) -> bool {
    exists(world, role) && role != VIEW && role != NOBODY
}

pub(super) fn exists(world: &World, role: i32) -> bool {
    SYSTEM.iter().any(|(id, ..)| *id == role)
        || world.stored.authorization.roles.iter().any(|known| known.id == role)
}

/// The id of a role by its name.
pub(crate) fn id_of_name(world: &World, name: &str) -> Option<i32> {
    let system = SYSTEM.iter().find(|(_, known, ..)| *known == name).map(|(id, ..)| *id);
    let mut added = world.stored.authorization.roles.iter();
    system.or_else(|| added.find(|role| role.name == name).map(|role| role.id))
}

/// The name of a role.
pub(super) fn name_of(world: &World, role: i32) -> String {
    list(world).find(|known| known.role_id == role).map(|known| known.name).unwrap_or_default()
}

/// `AuthorizationManager.roleList`.
pub(super) fn list(world: &World) -> impl Iterator<Item = t::AuthorizationRole> {
    let info = |label: &str, summary: &str| {
        let (label, summary) = (label.to_owned(), summary.to_owned());
        Poly::new(t::Description { label, summary, ..Default::default() })
    };
    let system = SYSTEM.iter().map(move |(id, name, label, summary)| t::AuthorizationRole {
        role_id: *id,
        system: true,
        name: (*name).to_owned(),
        info: info(label, summary),
        privilege: privileges::ids().filter(|privilege| holds(world, *id, privilege)).collect(),
        ..Default::default()
    });
    let added = world.stored.authorization.roles.iter().map(move |role| t::AuthorizationRole {
        role_id: role.id,
        system: false,
        name: role.name.clone(),
        info: info(&role.name, &role.name),
        privilege: role.privileges.clone(),
        ..Default::default()
    });
    system.chain(added)
}
