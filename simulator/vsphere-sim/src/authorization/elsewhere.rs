//! What is needed where no method of the API is called: for files over HTTP, for tags, and at the services beside.

use vim_api::dynamic::method;
use vim_api::types as t;

use super::{READ, VIEW, table};
use crate::fault::{Outcome, fault, not_authenticated};
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

/// Refuses a call about storage policies, as the schema says.
///
/// # Errors
/// `NotAuthenticated`, `PbmFaultNoPermission`: they have a fault of their own for it.
pub(crate) fn admit_to_policies(world: &World, cookie: &str, call: &Call) -> Outcome<()> {
    let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    let privilege = method(&call.method).and_then(|method| method.privilege).unwrap_or(READ);
    if world.rights(&session.user).has(&world.root(), privilege) {
        return Ok(());
    }
    let missing = t::PbmFaultNoPermissionEntityPrivileges {
        privilege_ids: vec![privilege.to_owned()],
        ..Default::default()
    };
    let value = t::PbmFaultNoPermission { missing_privileges: vec![missing], ..Default::default() };
    Err(fault(value, "Permission to perform this operation was denied."))
}

/// Refuses a call to VSLM, whose disks are those of the API.
///
/// # Errors
/// `NotAuthenticated`, `NoPermission`.
pub(crate) fn admit_to_disks(world: &World, cookie: &str, call: &Call) -> Outcome<()> {
    let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    let rights = world.rights(&session.user);
    let needs = table::needs_at_disks(world, session, call)?;
    needs.iter().try_for_each(|(object, privilege)| rights.require(object, privilege))
}
