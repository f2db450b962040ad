//! What is needed where no method of the API is called: for files over HTTP, for tags, and at the services beside.

use vim_api::dynamic::method;
use vim_api::types as t;
use vim_api::xml::Service;

use super::{READ, VIEW, table};
use crate::fault::{Fault, Outcome, fault, not_authenticated};
use crate::tagging::Operation;
use crate::wire::Call;
use crate::world::World;

/// To list and to read files of a datastore over HTTP.
pub(crate) const READ_FILES: &str = "Datastore.Browse";
/// To write and to delete them.
pub(crate) const CHANGE_FILES: &str = "Datastore.FileManagement";
/// To see that a datacenter is there.
pub(crate) const SEE: &str = VIEW;
/// To see the tags of an object, and to change which it has.
pub(crate) const SEE_TAGS: &str = READ;

/// What an operation on categories and tags takes, which are below the root: reading, where nothing else is said. What it
/// takes on the objects that tags are on, it asks for by itself.
pub(crate) fn of_tags(operation: &Operation<'_>) -> &'static str {
    match (operation.method, operation.resource, operation.action) {
        ("POST", "category", None) => "InventoryService.Tagging.CreateCategory",
        ("DELETE", "category", _) => "InventoryService.Tagging.DeleteCategory",
        ("POST", "tag", None) => "InventoryService.Tagging.CreateTag",
        ("DELETE", "tag", _) => "InventoryService.Tagging.DeleteTag",
        ("POST", "tag-association", Some("attach" | "detach" | "attach-multiple-tags-to-object")) => {
            "InventoryService.Tagging.AttachTag"
        }
        _ => READ,
    }
}

/// Refuses a call at a service beside that the session's user has no privilege for.
///
/// # Errors
/// `NotAuthenticated`, `NoPermission`, `PbmFaultNoPermission`.
pub(crate) fn admit_beside(world: &World, cookie: Option<&str>, call: &Call) -> Outcome<()> {
    let session =
        cookie.and_then(|cookie| world.sessions.get(cookie)).ok_or_else(|| not_authenticated(&call.this))?;
    let rights = world.rights(&session.user);
    let name = call.method.as_str();
    if call.service == Service::Pbm {
        let privilege = method(name).and_then(|method| method.privilege).unwrap_or(READ);
        return match rights.has(&world.root(), privilege) {
            true => Ok(()),
            false => Err(no_policy_permission(privilege)),
        };
    }
    let needs = table::needs_at_disks(world, session, call)?;
    needs.iter().try_for_each(|(object, privilege)| rights.require(object, privilege))
}

/// Storage policies have a fault of their own for it.
fn no_policy_permission(privilege: &str) -> Fault {
    let missing = t::PbmFaultNoPermissionEntityPrivileges {
        privilege_ids: vec![privilege.to_owned()],
        ..Default::default()
    };
    let value = t::PbmFaultNoPermission { missing_privileges: vec![missing], ..Default::default() };
    fault(value, "Permission to perform this operation was denied.")
}
