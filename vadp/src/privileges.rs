//! The privileges that the workflows need, as data: to check them, and to make roles of them.
//!
//! Source: the VDDK guide's table of required permissions, and the calls that this crate makes. A test backs up and restores
//! on a simulator that enforces privileges, as a user who has these and no others.

/// A privilege, where it is needed, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Privilege {
    /// The privilege's id, such as `VirtualMachine.State.CreateSnapshot`.
    pub id: &'static str,
    /// On which object it has to be.
    pub on: Place,
    /// What does not work without it.
    pub needed_for: &'static str,
}

/// Where a privilege has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// On the machine, or on something above it, propagated.
    Machine,
    /// On the root folder, propagated.
    Root,
    /// On the machine's datastores, or on something above them, propagated.
    Datastore,
}

const fn on_machine(id: &'static str, needed_for: &'static str) -> Privilege {
    Privilege { id, on: Place::Machine, needed_for }
}

const fn on_root(id: &'static str, needed_for: &'static str) -> Privilege {
    Privilege { id, on: Place::Root, needed_for }
}

/// What a backup needs on a machine.
pub const BACKUP: &[Privilege] = &[
    on_machine("VirtualMachine.State.CreateSnapshot", "taking the snapshot"),
    on_machine("VirtualMachine.State.RemoveSnapshot", "removing the snapshot"),
    on_machine(
        "VirtualMachine.Provisioning.DiskRandomRead",
        "reading disks, and asking which blocks changed",
    ),
    on_machine("VirtualMachine.Config.DiskLease", "opening disks"),
    on_machine("VirtualMachine.Config.ChangeTracking", "switching on changed block tracking"),
];

/// What a restore in place needs on a machine that is off. One that runs and is to be switched off takes [`POWER`] besides.
pub const RESTORE: &[Privilege] = &[
    on_machine("VirtualMachine.Provisioning.DiskRandomAccess", "writing disks"),
    on_machine("VirtualMachine.Provisioning.DiskRandomRead", "reading back what was written"),
    on_machine("VirtualMachine.Config.DiskLease", "opening disks"),
    on_machine("VirtualMachine.Config.ChangeTracking", "beginning changed block tracking anew"),
    on_machine("VirtualMachine.State.CreateSnapshot", "the snapshot that a restore that fails goes back to"),
    on_machine("VirtualMachine.State.RevertToSnapshot", "undoing what a restore that fails has written"),
    on_machine("VirtualMachine.State.RemoveSnapshot", "keeping what was restored"),
];

/// What switching a machine off for its restore, and on again, needs besides.
pub const POWER: &[Privilege] = &[
    on_machine("VirtualMachine.Interact.PowerOff", "switching the machine off for its restore"),
    on_machine("VirtualMachine.Interact.PowerOn", "starting the machine again after its restore"),
];

/// What making a machine anew needs: on its folder, its resource pool, its datastores and its networks.
pub const RECOVER: &[Privilege] = &[
    on_root("VirtualMachine.Inventory.Create", "making the machine"),
    on_root("VirtualMachine.Inventory.Delete", "removing what is half made"),
    on_root("Resource.AssignVMToPool", "making the machine in a resource pool"),
    on_root("Datastore.AllocateSpace", "its files"),
    on_root("Datastore.Browse", "looking for its media, and its NVRAM"),
    on_root("Datastore.FileManagement", "putting its NVRAM back"),
    on_root("Network.Assign", "connecting its adapters"),
    on_root("VirtualMachine.Config.AddNewDisk", "its disks"),
    on_root("VirtualMachine.Config.AddRemoveDevice", "its devices"),
    on_root("VirtualMachine.Config.EditDevice", "its video card, and disks that are not persistent"),
    on_root(
        "VirtualMachine.Config.AdvancedConfig",
        "its extra configuration, and the mark of what is half made",
    ),
    on_root("VirtualMachine.Config.Settings", "its settings"),
    on_root("VirtualMachine.Config.Resource", "its reservations and shares"),
    on_root("VirtualMachine.Config.ChangeTracking", "its changed block tracking"),
    on_root("VirtualMachine.Config.ManagedBy", "the extension that manages it"),
    on_root("VirtualMachine.Config.DiskLease", "opening its disks"),
    on_root("VirtualMachine.Provisioning.DiskRandomAccess", "writing its disks"),
    on_root("VirtualMachine.Provisioning.DiskRandomRead", "reading back what was written"),
    on_root("StorageProfile.View", "its storage policies"),
];

/// What giving a new machine back what was attached to it needs besides. Without these it is whole, and a warning says what it lacks.
pub const REATTACH: &[Privilege] = &[
    on_root("InventoryService.Tagging.AttachTag", "its tags"),
    on_root("Global.SetCustomField", "its custom attributes"),
    on_root("Authorization.ModifyPermissions", "the permissions on it"),
];

/// What capturing a machine's configuration needs besides. Without these a backup works, and its restore point lacks parts
/// ([`vadp::capture`](crate::capture)).
pub const CAPTURE: &[Privilege] = &[
    Privilege {
        id: "Datastore.Browse",
        on: Place::Datastore,
        needed_for: "reading the machine's VMX and NVRAM files, and VSS' manifest",
    },
    Privilege {
        id: "Datastore.FileManagement",
        on: Place::Datastore,
        needed_for: "reading the machine's VMX and NVRAM files, and VSS' manifest",
    },
    Privilege { id: "StorageProfile.View", on: Place::Root, needed_for: "reading its storage policies" },
];

/// What barring a machine from migration during its backup needs besides. Without these VDDK says that "the host is not licensed
/// for this feature".
pub const MIGRATION_BAR: &[Privilege] = &[
    Privilege {
        id: "Global.DisableMethods",
        on: Place::Root,
        needed_for: "barring the machine from migration",
    },
    Privilege { id: "Global.EnableMethods", on: Place::Root, needed_for: "allowing its migration again" },
];

/// What backing up a template needs besides. The first is needed on the resource pool of the template's host.
pub const TEMPLATE: &[Privilege] = &[
    Privilege {
        id: "Resource.AssignVMToPool",
        on: Place::Root,
        needed_for: "making a machine of the template",
    },
    on_machine("VirtualMachine.Provisioning.MarkAsVM", "making a machine of the template"),
    on_machine("VirtualMachine.Provisioning.MarkAsTemplate", "making a template of it again"),
];

/// What reading the disks of an encrypted machine needs besides.
pub const ENCRYPTED: &[Privilege] =
    &[on_machine("Cryptographer.Access", "reading disks of an encrypted machine")];

/// The ids of all of these, each once, in order: a role.
///
/// ```
/// use vadp::privileges::{BACKUP, RESTORE, role};
///
/// assert!(role(&[BACKUP, RESTORE]).contains(&"VirtualMachine.Provisioning.DiskRandomAccess"));
/// ```
#[must_use]
pub fn role(sets: &[&[Privilege]]) -> Vec<&'static str> {
    let mut ids: Vec<_> = sets.iter().copied().flatten().map(|privilege| privilege.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
