//! What each method needs, and on which objects.
//!
//! Where the API's schema names a method's privilege, it is needed on the object that is called, and no row stands
//! here. The rows are for the other methods, and for those that need more, or it elsewhere. A method with neither is
//! refused as unknown: what nobody has thought about is not carried out.

mod disks;
mod machines;

use vim_api::MoRef;
use vim_api::dynamic::{get_path, method};
use vim_api::types as t;

use super::{VIEW, subject_of};
use crate::dispatch::method_not_found;
use crate::fault::Outcome;
use crate::fcd::operation::Operation;
use crate::inventory;
use crate::server::folder::Wanted;
use crate::session::Session;
use crate::wire::Call;
use crate::world::World;

/// Privileges by the objects on which they are needed.
type Needs = Vec<(MoRef, String)>;

/// A call with all that its needs may depend on.
struct Asked<'a> {
    world: &'a World,
    session: &'a Session,
    call: &'a Call,
}

enum Rule {
    /// Nothing: the object belongs to the session, or the method looks by itself.
    Session,
    /// A privilege on the object that is called.
    This(&'static str),
    /// A privilege on each object in an argument.
    Each(&'static str, &'static str),
    /// A privilege on the datastore of each path in one of the arguments.
    Stores(&'static str, &'static [&'static str]),
    /// It depends.
    By(fn(&Asked<'_>) -> Outcome<Needs>),
}

const FILES: &str = "Datastore.FileManagement";
const PERMISSIONS: &str = "Authorization.ModifyPermissions";
const NAMES: &[&str] = &["name", "sourceName", "destinationName", "destName"];

const RULES: &[(&str, Rule)] = &[
    ("Fetch", Rule::Session),
    ("DestroyPropertyFilter", Rule::Session),
    ("ModifyListView", Rule::Session),
    ("ResetListView", Rule::Session),
    ("ResetListViewFromView", Rule::Session),
    ("OpenInventoryViewFolder", Rule::Session),
    ("CloseInventoryViewFolder", Rule::Session),
    ("CreateContainerView", Rule::Each(VIEW, "container")),
    // Collectors of events and tasks.
    ("DestroyCollector", Rule::Session),
    ("ReadNextEvents", Rule::Session),
    ("ReadNextTasks", Rule::Session),
    ("ReadPreviousEvents", Rule::Session),
    ("ReadPreviousTasks", Rule::Session),
    ("ResetCollector", Rule::Session),
    ("RewindCollector", Rule::Session),
    ("SetCollectorPageSize", Rule::Session),
    // Leases are as good as the reference to them.
    ("HttpNfcLeaseAbort", Rule::Session),
    ("HttpNfcLeaseComplete", Rule::Session),
    ("HttpNfcLeaseGetManifest", Rule::Session),
    ("HttpNfcLeaseProbeUrls", Rule::Session),
    ("HttpNfcLeasePullFromUrls_Task", Rule::Session),
    ("HttpNfcLeaseProgress", Rule::Session),
    ("HttpNfcLeaseSetManifestChecksumType", Rule::Session),
    ("RetrieveUserGroups", Rule::Session),
    // Authorization itself.
    ("RetrieveEntityPermissions", Rule::Each(VIEW, "entity")),
    ("SetEntityPermissions", Rule::Each(PERMISSIONS, "entity")),
    ("ResetEntityPermissions", Rule::Each(PERMISSIONS, "entity")),
    ("RemoveEntityPermission", Rule::Each(PERMISSIONS, "entity")),
    ("HasPrivilegeOnEntity", Rule::Each(VIEW, "entity")),
    ("HasPrivilegeOnEntities", Rule::Each(VIEW, "entity")),
    ("HasUserPrivilegeOnEntities", Rule::Each(VIEW, "entities")),
    ("FetchUserPrivilegeOnEntities", Rule::Each(VIEW, "entities")),
    ("DisableMethods", Rule::Each("Global.DisableMethods", "entity")),
    ("EnableMethods", Rule::Each("Global.EnableMethods", "entity")),
    ("QueryDisabledMethods", Rule::Each(VIEW, "entity")),
    // Events, tasks, settings, attributes.
    ("LogUserEvent", Rule::Each("Global.LogEvent", "entity")),
    ("CancelTask", Rule::By(cancel)),
    ("UpdateOptions", Rule::This("Global.Settings")),
    ("SetField", Rule::Each("Global.SetCustomField", "entity")),
    ("setCustomValue", Rule::This("Global.SetCustomField")),
    // What would run in guests.
    ("ValidateCredentialsInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("AcquireCredentialsInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("ReleaseCredentialsInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("ListFilesInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("InitiateFileTransferFromGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("ListProcessesInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("ReadEnvironmentVariableInGuest", Rule::Each("VirtualMachine.GuestOperations.Query", "vm")),
    ("MakeDirectoryInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("DeleteFileInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("DeleteDirectoryInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("MoveDirectoryInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("MoveFileInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("CreateTemporaryFileInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("CreateTemporaryDirectoryInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("ChangeFileAttributesInGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("InitiateFileTransferToGuest", Rule::Each("VirtualMachine.GuestOperations.Modify", "vm")),
    ("StartProgramInGuest", Rule::Each("VirtualMachine.GuestOperations.Execute", "vm")),
    ("TerminateProcessInGuest", Rule::Each("VirtualMachine.GuestOperations.Execute", "vm")),
    ("AcquireTicket", Rule::This("VirtualMachine.Interact.ConsoleInteract")),
    ("RetrieveInternalContent", Rule::Session),
    // Files.
    ("MakeDirectory", Rule::Stores(FILES, NAMES)),
    ("CreateDirectory", Rule::Each(FILES, "datastore")),
    // On VMFS, and so here, these two are refused whoever calls.
    ("DeleteDirectory", Rule::Session),
    ("ReparentDisks_Task", Rule::Session),
    ("ChangeOwner", Rule::Stores(FILES, NAMES)),
    ("CopyDatastoreFile_Task", Rule::Stores(FILES, NAMES)),
    ("MoveDatastoreFile_Task", Rule::Stores(FILES, NAMES)),
    ("DeleteDatastoreFile_Task", Rule::Stores(FILES, NAMES)),
    ("SearchDatastore_Task", Rule::Stores("Datastore.Browse", &["datastorePath"])),
    ("SearchDatastoreSubFolders_Task", Rule::Stores("Datastore.Browse", &["datastorePath"])),
    ("CreateVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("CopyVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("CreateChildDisk_Task", Rule::Stores(FILES, NAMES)),
    ("QueryVirtualDiskInfo_Task", Rule::Stores(FILES, NAMES)),
    ("MoveVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("DeleteVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("ExtendVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("InflateVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("ShrinkVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("DefragmentVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("EagerZeroVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("ZeroFillVirtualDisk_Task", Rule::Stores(FILES, NAMES)),
    ("QueryVirtualDiskUuid", Rule::Stores(FILES, NAMES)),
    ("SetVirtualDiskUuid", Rule::Stores(FILES, NAMES)),
    ("QueryVirtualDiskFragmentation", Rule::Stores(FILES, NAMES)),
    ("QueryVirtualDiskGeometry", Rule::Stores(FILES, NAMES)),
    // Machines, and what else is in the inventory.
    ("AttachDisk_Task", Rule::By(disks::attach)),
    ("ReconfigVM_Task", Rule::By(machines::reconfigure)),
    ("CreateVM_Task", Rule::By(machines::create)),
    ("RegisterVM_Task", Rule::By(machines::register)),
    ("CloneVM_Task", Rule::By(machines::copy)),
    ("RelocateVM_Task", Rule::By(machines::relocate)),
    ("MigrateVM_Task", Rule::By(machines::relocate)),
    ("MarkAsVirtualMachine", Rule::By(machines::mark_as_machine)),
    ("Destroy_Task", Rule::By(destroy)),
    ("Rename_Task", Rule::By(rename)),
    ("MoveIntoFolder_Task", Rule::By(move_into)),
    ("MoveIntoResourcePool", Rule::By(move_into)),
];

/// What a call needs.
///
/// # Errors
/// `MethodNotFound` for a method that nothing is known about, `InvalidArgument` and `InvalidRequest` for arguments that
/// cannot be read.
pub(super) fn needs(world: &World, session: &Session, call: &Call) -> Outcome<Needs> {
    let asked = Asked { world, session, call };
    if let Some(operation) = Operation::of(&call.method) {
        return disks::operate(&asked, operation);
    }
    let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == call.method) else {
        return match privilege_of(&call.method) {
            Some(privilege) => Ok(vec![(call.this.clone(), privilege.to_owned())]),
            None => Err(method_not_found(call)),
        };
    };
    Ok(match rule {
        Rule::Session => Vec::new(),
        Rule::This(privilege) => vec![(call.this.clone(), (*privilege).to_owned())],
        Rule::Each(privilege, argument) => {
            let objects: Vec<MoRef> = call.list(argument)?;
            objects.into_iter().map(|object| (object, (*privilege).to_owned())).collect()
        }
        Rule::Stores(privilege, arguments) => asked.on_stores(privilege, arguments)?,
        Rule::By(rule) => rule(&asked)?,
    })
}

/// What a call to VSLM needs.
///
/// # Errors
/// `MethodNotFound` for a method that nothing is known about; those of arguments that cannot be read.
pub(super) fn needs_at_disks(world: &World, session: &Session, call: &Call) -> Outcome<Needs> {
    let asked = Asked { world, session, call };
    match (call.this.type_name(), call.method.as_str()) {
        ("VslmTask", _) => Ok(Vec::new()),
        _ => disks::by_service(&asked),
    }
}

/// The privilege that the schema names.
fn privilege_of(name: &str) -> Option<&'static str> {
    method(name).and_then(|method| method.privilege)
}

impl Asked<'_> {
    /// What the schema says, on the object that is called.
    fn by_schema(&self) -> Needs {
        let own = privilege_of(&self.call.method).unwrap_or(VIEW);
        vec![self.on_this(own)]
    }

    fn on_this(&self, privilege: &str) -> (MoRef, String) {
        (self.call.this.clone(), privilege.to_owned())
    }

    fn on_stores(&self, privilege: &str, arguments: &[&str]) -> Outcome<Needs> {
        let mut needs = Vec::new();
        for argument in arguments {
            for path in self.call.list::<String>(argument)? {
                needs.push((self.store_of(&path), privilege.to_owned()));
            }
        }
        Ok(needs)
    }

    /// The datastore of a path such as `[datastore1] vm/vm.vmdk`. A path that names none is judged as if it were
    /// everywhere, and its method says what is wrong with it.
    fn store_of(&self, path: &str) -> MoRef {
        let name = path.trim_start().strip_prefix('[').and_then(|rest| rest.split(']').next());
        match name.and_then(|name| self.world.stored.tree.datastore(name)) {
            Some((store, _)) => store.reference(),
            None => self.world.root(),
        }
    }

    /// The same of a file that is named by such a path or by the URL of its download.
    fn store_of_file(&self, file: &str) -> MoRef {
        let path = Wanted::parse(file).and_then(Wanted::into_file).ok().map(|(_, path)| path.to_string());
        self.store_of(path.as_deref().unwrap_or(file))
    }

    /// A privilege on an argument, if it is given.
    fn on_argument(&self, argument: &str, privilege: &str) -> Outcome<Option<(MoRef, String)>> {
        let object: Option<MoRef> = self.call.optional(argument)?;
        Ok(object.map(|object| (object, privilege.to_owned())))
    }
}

/// One's own task, or the privilege to cancel any.
fn cancel(asked: &Asked<'_>) -> Outcome<Needs> {
    let task = asked.world.tasks.get(asked.call.this.value());
    let reason = task.and_then(|task| task.info().reason.downcast_ref::<t::TaskReasonUser>());
    if reason.is_some_and(|reason| reason.user_name == asked.session.user) {
        return Ok(Vec::new());
    }
    Ok(vec![asked.on_this("Global.CancelTask")])
}

/// The object itself, and what it is taken out of.
fn destroy(asked: &Asked<'_>) -> Outcome<Needs> {
    let privilege = match asked.call.this.type_name() {
        "VirtualMachine" => "VirtualMachine.Inventory.Delete",
        "Folder" | "StoragePod" => "Folder.Delete",
        "Datacenter" => "Datacenter.Delete",
        "Datastore" => "Datastore.Delete",
        "ResourcePool" => "Resource.DeletePool",
        "VirtualApp" => "VApp.Delete",
        "ClusterComputeResource" | "ComputeResource" => "Host.Inventory.DeleteCluster",
        "HostSystem" => "Host.Inventory.RemoveHostFromCluster",
        "Network" | "OpaqueNetwork" => "Network.Delete",
        "DistributedVirtualPortgroup" => "DVPortgroup.Delete",
        "DistributedVirtualSwitch" | "VmwareDistributedVirtualSwitch" => "DVSwitch.Delete",
        _ => return Err(method_not_found(asked.call)),
    };
    let mut needs = vec![asked.on_this(privilege)];
    needs.extend(asked.world.parent_of(&asked.call.this).map(|parent| (parent, privilege.to_owned())));
    Ok(needs)
}

fn rename(asked: &Asked<'_>) -> Outcome<Needs> {
    let privilege = match asked.call.this.type_name() {
        "VirtualMachine" => "VirtualMachine.Config.Rename",
        "Folder" | "StoragePod" => "Folder.Rename",
        "Datacenter" => "Datacenter.Rename",
        "Datastore" => "Datastore.Rename",
        "ResourcePool" => "Resource.RenamePool",
        "VirtualApp" => "VApp.Rename",
        "ClusterComputeResource" | "ComputeResource" => "Host.Inventory.RenameCluster",
        "Network" | "OpaqueNetwork" => "Network.Config",
        "DistributedVirtualPortgroup" => "DVPortgroup.Modify",
        "DistributedVirtualSwitch" | "VmwareDistributedVirtualSwitch" => "DVSwitch.Modify",
        _ => return Err(method_not_found(asked.call)),
    };
    Ok(vec![asked.on_this(privilege)])
}

/// On what is moved, where it was, and where it goes.
fn move_into(asked: &Asked<'_>) -> Outcome<Needs> {
    let to_pool = asked.call.method == "MoveIntoResourcePool";
    let mut needs = Needs::new();
    for object in asked.call.list::<MoRef>("list")? {
        let privilege = match object.type_name() {
            "VirtualMachine" if to_pool => "Resource.AssignVMToPool",
            "VirtualMachine" => "VirtualMachine.Inventory.Move",
            "VirtualApp" if to_pool => "Resource.AssignVAppToPool",
            "VirtualApp" => "VApp.Move",
            "ResourcePool" => "Resource.MovePool",
            "Folder" | "StoragePod" => "Folder.Move",
            "Datacenter" => "Datacenter.Move",
            "Datastore" => "Datastore.Move",
            "Network" | "OpaqueNetwork" => "Network.Move",
            "HostSystem" => "Host.Inventory.MoveHost",
            "DistributedVirtualSwitch" | "VmwareDistributedVirtualSwitch" => "DVSwitch.Move",
            _ => "Host.Inventory.MoveCluster",
        };
        needs.push(asked.on_this(privilege));
        if !to_pool {
            needs.extend(asked.world.parent_of(&object).map(|from| (from, privilege.to_owned())));
        }
        needs.push((object, privilege.to_owned()));
    }
    Ok(needs)
}

/// Whether a machine is on, or of another state, as the property says.
fn property_path(
    world: &World,
    object: &MoRef,
    property: &str,
    path: &str,
) -> Option<vim_api::dynamic::Value> {
    let subject = subject_of(world, object);
    let value = world.property(world.node(&subject, None)?, inventory::Wanted::whole(property), None)?;
    get_path(value.as_object()?, path).ok().flatten()
}

#[cfg(test)]
mod tests;
