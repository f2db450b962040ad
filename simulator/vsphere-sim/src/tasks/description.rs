//! The tasks that there are, as `TaskManager.description` lists them.

use vim_api::dynamic::Poly;
use vim_api::types as t;

/// `TaskInfo.descriptionId` and what people read in its place.
const METHODS: &[(&str, &str)] = &[
    ("Datacenter.powerOnVm", "Power on virtual machines"),
    ("FileManager.copyFile", "Copy file"),
    ("FileManager.deleteFile", "Delete file"),
    ("FileManager.moveFile", "Move file"),
    ("Folder.createVm", "Create virtual machine"),
    ("Folder.moveInto", "Move entities"),
    ("Folder.registerVm", "Register virtual machine"),
    ("HostDatastoreBrowser.search", "Search datastore"),
    ("HostDatastoreBrowser.searchSubFolders", "Search datastore and its folders"),
    ("ManagedEntity.destroy", "Delete entity"),
    ("ManagedEntity.rename", "Rename entity"),
    ("ResourcePool.ImportVAppLRO", "Deploy OVF template"),
    ("VStorageObjectManager.cloneVStorageObject", "Clone a virtual storage object"),
    ("VStorageObjectManager.createDisk", "Create a virtual disk object"),
    ("VStorageObjectManager.createDiskFromSnapshot", "Create a virtual disk object from a snapshot"),
    ("VStorageObjectManager.createSnapshot", "Create a snapshot of a virtual storage object"),
    ("VStorageObjectManager.deleteSnapshot", "Delete a snapshot of a virtual storage object"),
    ("VStorageObjectManager.deleteVStorageObject", "Delete a virtual storage object"),
    ("VStorageObjectManager.extendDisk", "Extend a virtual disk object"),
    ("VStorageObjectManager.inflateDisk", "Inflate a virtual disk object"),
    ("VStorageObjectManager.reconcileDatastoreInventory", "Reconcile the inventory of a datastore"),
    ("VStorageObjectManager.relocateVStorageObject", "Relocate a virtual storage object"),
    ("VStorageObjectManager.revertVStorageObject", "Revert a virtual storage object to a snapshot"),
    ("VStorageObjectManager.updateMetadata", "Update the metadata of a virtual storage object"),
    ("VirtualDiskManager.copyVirtualDisk", "Copy virtual disk"),
    ("VirtualDiskManager.createVirtualDisk", "Create virtual disk"),
    ("VirtualDiskManager.defragmentVirtualDisk", "Defragment virtual disk"),
    ("VirtualDiskManager.deleteVirtualDisk", "Delete virtual disk"),
    ("VirtualDiskManager.eagerZeroVirtualDisk", "Zero out virtual disk"),
    ("VirtualDiskManager.extendVirtualDisk", "Extend virtual disk"),
    ("VirtualDiskManager.inflateVirtualDisk", "Inflate virtual disk"),
    ("VirtualDiskManager.moveVirtualDisk", "Move virtual disk"),
    ("VirtualDiskManager.queryVirtualDiskInfo", "Query virtual disk"),
    ("VirtualDiskManager.shrinkVirtualDisk", "Shrink virtual disk"),
    ("VirtualDiskManager.zeroFillVirtualDisk", "Zero fill virtual disk"),
    ("VirtualMachine.attachDisk", "Attach a virtual disk object"),
    ("VirtualMachine.clone", "Clone virtual machine"),
    ("VirtualMachine.consolidateDisks", "Consolidate virtual machine disk files"),
    ("VirtualMachine.createSnapshot", "Create virtual machine snapshot"),
    ("VirtualMachine.detachDisk", "Detach a virtual disk object"),
    ("VirtualMachine.destroy", "Delete virtual machine"),
    (
        "VirtualMachine.estimateStorageRequirementForConsolidate",
        "Estimate storage for consolidating virtual machine disk files",
    ),
    ("VirtualMachine.exportVm", "Export OVF template"),
    ("VirtualMachine.powerOff", "Power off virtual machine"),
    ("VirtualMachine.powerOn", "Power on virtual machine"),
    ("VirtualMachine.reconfigure", "Reconfigure virtual machine"),
    ("VirtualMachine.reloadFromPath", "Reload virtual machine from path"),
    ("VirtualMachine.relocate", "Relocate virtual machine"),
    ("VirtualMachine.removeAllSnapshots", "Remove all snapshots"),
    ("VirtualMachine.rename", "Rename virtual machine"),
    ("VirtualMachine.reset", "Reset virtual machine"),
    ("VirtualMachine.revertToCurrentSnapshot", "Revert to current snapshot"),
    ("VirtualMachine.suspend", "Suspend virtual machine"),
    ("VirtualMachine.unregister", "Unregister virtual machine"),
    ("vm.Snapshot.exportSnapshot", "Export snapshot"),
    ("vm.Snapshot.remove", "Remove snapshot"),
    ("vm.Snapshot.revert", "Revert snapshot"),
];

const STATES: [(&str, &str); 4] =
    [("queued", "Queued"), ("running", "Running"), ("success", "Success"), ("error", "Error")];

const REASONS: [(&str, &str); 4] = [
    ("TaskReasonAlarm", "Alarm task"),
    ("TaskReasonSchedule", "Scheduled task"),
    ("TaskReasonSystem", "System task"),
    ("TaskReasonUser", "User task"),
];

/// What people call a task; its id if it is of an extension's own type.
pub(crate) fn label(description_id: &str) -> &str {
    METHODS.iter().find(|(id, _)| *id == description_id).map_or(description_id, |(_, label)| label)
}

/// `TaskManager.description`.
pub(crate) fn description() -> t::TaskDescription {
    let text = |label: &str| t::Description {
        label: label.to_owned(),
        summary: label.to_owned(),
        ..Default::default()
    };
    let element = |(key, label): &(&str, &str)| {
        Poly::new(t::ElementDescription { base: text(label), key: (*key).to_owned() })
    };
    let reason = |(key, label): &(&str, &str)| {
        Poly::new(t::TypeDescription { base: text(label), key: (*key).to_owned() })
    };
    t::TaskDescription {
        method_info: METHODS.iter().map(element).collect(),
        state: STATES.iter().map(element).collect(),
        reason: REASONS.iter().map(reason).collect(),
        ..Default::default()
    }
}
