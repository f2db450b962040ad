//! What can be asked about first-class disks, by whatever name: the managers of a vCenter and of a host, and VSLM, have
//! the same operations under names of their own.

use std::sync::Arc;

use vim_api::MoRef;
use vim_api::types as t;

use super::{changes, copies, making, show, snapshots};
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, not_found};
use crate::mode::Mode;
use crate::tasks::{self, Work};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Register,
    List,
    Retrieve,
    State,
    Associations,
    Delete,
    Extend,
    Inflate,
    Rename,
    Clone,
    Relocate,
    Reconcile,
    ScheduleReconcile,
    SetFlags,
    ClearFlags,
    AttachTag,
    DetachTag,
    TagsOf,
    TaggedWith,
    UpdateMetadata,
    UpdateMetadataEx,
    Metadata,
    MetadataValue,
    CreateSnapshot,
    DeleteSnapshot,
    Revert,
    Snapshots,
    SnapshotDetails,
    FromSnapshot,
    ChangedAreas,
}

use Operation as O;

/// Each with its names at a vCenter, at a host and at VSLM; an empty one where there is none.
const NAMES: [(Operation, [&str; 3]); 31] = [
    (O::Create, ["CreateDisk_Task", "HostCreateDisk_Task", "VslmCreateDisk_Task"]),
    (O::Register, ["RegisterDisk", "HostRegisterDisk", "VslmRegisterDisk"]),
    (O::List, ["ListVStorageObject", "HostListVStorageObject", ""]),
    (O::Retrieve, ["RetrieveVStorageObject", "HostRetrieveVStorageObject", "VslmRetrieveVStorageObject"]),
    (
        O::State,
        ["RetrieveVStorageObjectState", "HostRetrieveVStorageObjectState", "VslmRetrieveVStorageObjectState"],
    ),
    (O::Associations, ["RetrieveVStorageObjectAssociations", "", "VslmRetrieveVStorageObjectAssociations"]),
    (
        O::Delete,
        ["DeleteVStorageObject_Task", "HostDeleteVStorageObject_Task", "VslmDeleteVStorageObject_Task"],
    ),
    (O::Extend, ["ExtendDisk_Task", "HostExtendDisk_Task", "VslmExtendDisk_Task"]),
    (O::Inflate, ["InflateDisk_Task", "HostInflateDisk_Task", "VslmInflateDisk_Task"]),
    (O::Rename, ["RenameVStorageObject", "HostRenameVStorageObject", "VslmRenameVStorageObject"]),
    (O::Clone, ["CloneVStorageObject_Task", "HostCloneVStorageObject_Task", "VslmCloneVStorageObject_Task"]),
    (
        O::Relocate,
        ["RelocateVStorageObject_Task", "HostRelocateVStorageObject_Task", "VslmRelocateVStorageObject_Task"],
    ),
    (
        O::Reconcile,
        [
            "ReconcileDatastoreInventory_Task",
            "HostReconcileDatastoreInventory_Task",
            "VslmReconcileDatastoreInventory_Task",
        ],
    ),
    (
        O::ScheduleReconcile,
        [
            "ScheduleReconcileDatastoreInventory",
            "HostScheduleReconcileDatastoreInventory",
            "VslmScheduleReconcileDatastoreInventory",
        ],
    ),
    (
        O::SetFlags,
        [
            "SetVStorageObjectControlFlags",
            "HostSetVStorageObjectControlFlags",
            "VslmSetVStorageObjectControlFlags",
        ],
    ),
    (
        O::ClearFlags,
        [
            "ClearVStorageObjectControlFlags",
            "HostClearVStorageObjectControlFlags",
            "VslmClearVStorageObjectControlFlags",
        ],
    ),
    (O::AttachTag, ["AttachTagToVStorageObject", "", "VslmAttachTagToVStorageObject"]),
    (O::DetachTag, ["DetachTagFromVStorageObject", "", "VslmDetachTagFromVStorageObject"]),
    (O::TagsOf, ["ListTagsAttachedToVStorageObject", "", "VslmListTagsAttachedToVStorageObject"]),
    (O::TaggedWith, ["ListVStorageObjectsAttachedToTag", "", "VslmListVStorageObjectsAttachedToTag"]),
    (
        O::UpdateMetadata,
        ["", "HostUpdateVStorageObjectMetadata_Task", "VslmUpdateVStorageObjectMetadata_Task"],
    ),
    (
        O::UpdateMetadataEx,
        ["VCenterUpdateVStorageObjectMetadataEx_Task", "HostUpdateVStorageObjectMetadataEx_Task", ""],
    ),
    (O::Metadata, ["", "HostRetrieveVStorageObjectMetadata", "VslmRetrieveVStorageObjectMetadata"]),
    (
        O::MetadataValue,
        ["", "HostRetrieveVStorageObjectMetadataValue", "VslmRetrieveVStorageObjectMetadataValue"],
    ),
    (
        O::CreateSnapshot,
        [
            "VStorageObjectCreateSnapshot_Task",
            "HostVStorageObjectCreateSnapshot_Task",
            "VslmCreateSnapshot_Task",
        ],
    ),
    (
        O::DeleteSnapshot,
        ["DeleteSnapshot_Task", "HostVStorageObjectDeleteSnapshot_Task", "VslmDeleteSnapshot_Task"],
    ),
    (
        O::Revert,
        ["RevertVStorageObject_Task", "HostVStorageObjectRevert_Task", "VslmRevertVStorageObject_Task"],
    ),
    (
        O::Snapshots,
        ["RetrieveSnapshotInfo", "HostVStorageObjectRetrieveSnapshotInfo", "VslmRetrieveSnapshotInfo"],
    ),
    (O::SnapshotDetails, ["RetrieveSnapshotDetails", "", "VslmRetrieveSnapshotDetails"]),
    (
        O::FromSnapshot,
        [
            "CreateDiskFromSnapshot_Task",
            "HostVStorageObjectCreateDiskFromSnapshot_Task",
            "VslmCreateDiskFromSnapshot_Task",
        ],
    ),
    (O::ChangedAreas, ["VstorageObjectVCenterQueryChangedDiskAreas", "", "VslmQueryChangedDiskAreas"]),
];

/// What an operation comes to.
pub(crate) enum Done {
    Answer(Answer),
    /// A task, about a datastore.
    Task {
        about: MoRef,
        description_id: &'static str,
        work: Work,
    },
}

impl Operation {
    /// The operation of a method's name.
    pub(crate) fn of(method: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, names)| !method.is_empty() && names.contains(&method));
        found.map(|(operation, _)| *operation)
    }

    /// Whether it leaves everything as it was.
    pub(crate) fn only_reads(self) -> bool {
        matches!(
            self,
            O::List
                | O::Retrieve
                | O::State
                | O::Associations
                | O::TagsOf
                | O::TaggedWith
                | O::Metadata
                | O::MetadataValue
                | O::Snapshots
                | O::SnapshotDetails
                | O::ChangedAreas
        )
    }

    /// The work of the task that the operation is, for the disk of that id.
    fn work(self, shared: &Shared, call: &Call) -> Outcome<Option<(&'static str, Work)>> {
        Ok(Some(match self {
            O::Create => ("VStorageObjectManager.createDisk", making::start(shared, call)?),
            O::Delete => ("VStorageObjectManager.deleteVStorageObject", making::delete(call)?),
            O::Extend => ("VStorageObjectManager.extendDisk", changes::extend(call)?),
            O::Inflate => ("VStorageObjectManager.inflateDisk", changes::inflate(call)?),
            O::Clone => ("VStorageObjectManager.cloneVStorageObject", copies::clone(shared, call)?),
            O::Relocate => ("VStorageObjectManager.relocateVStorageObject", copies::relocate(shared, call)?),
            O::FromSnapshot => {
                ("VStorageObjectManager.createDiskFromSnapshot", copies::from_snapshot(shared, call)?)
            }
            O::Reconcile => {
                ("VStorageObjectManager.reconcileDatastoreInventory", making::reconcile(shared, call)?)
            }
            O::UpdateMetadata => ("VStorageObjectManager.updateMetadata", changes::metadata(call, false)?),
            O::UpdateMetadataEx => ("VStorageObjectManager.updateMetadata", changes::metadata(call, true)?),
            O::CreateSnapshot => ("VStorageObjectManager.createSnapshot", snapshots::create(call)?),
            O::DeleteSnapshot => ("VStorageObjectManager.deleteSnapshot", snapshots::delete(call)?),
            O::Revert => ("VStorageObjectManager.revertVStorageObject", snapshots::revert(call)?),
            _ => return Ok(None),
        }))
    }

    /// What is answered at once.
    async fn answer(self, shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
        match self {
            O::Register => making::register(shared, call),
            O::List => show::list(shared, call),
            O::Retrieve => show::retrieve(shared, call),
            O::State => show::state(shared, call),
            O::Associations => show::associations(shared, call),
            O::Rename => changes::rename(shared, call),
            O::ScheduleReconcile => making::schedule_reconcile(shared, call),
            O::SetFlags => changes::flags(shared, call, true),
            O::ClearFlags => changes::flags(shared, call, false),
            O::AttachTag | O::DetachTag | O::TagsOf | O::TaggedWith => changes::tags(shared, call, self),
            O::Metadata => show::metadata(shared, call),
            O::MetadataValue => show::metadata_value(shared, call),
            O::Snapshots => show::snapshots(shared, call),
            O::SnapshotDetails => show::snapshot_details(shared, call),
            O::ChangedAreas => snapshots::changed_areas(shared, call).await,
            _ => Err(method_not_found(call)),
        }
    }
}

/// Carries an operation out, but for the work of a task. The API's methods name the datastore of the disk: it has to be
/// there.
pub(crate) async fn carry_out(shared: &Arc<Shared>, call: &Call, operation: Operation) -> Outcome<Done> {
    let about = shared.read(|world| place(world, call))?;
    match operation.work(shared, call)? {
        Some((description_id, work)) => Ok(Done::Task { about, description_id, work }),
        None => operation.answer(shared, call).await.map(Done::Answer),
    }
}

/// A call to the API's manager.
pub(crate) async fn call(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let column = match shared.read(World::mode) {
        Mode::VirtualCenter => 0,
        Mode::HostAgent => 1,
    };
    let found = NAMES.iter().find(|(_, names)| names[column] == call.method);
    let Some((operation, _)) = found else { return Err(method_not_found(call)) };
    match carry_out(shared, call, *operation).await? {
        Done::Answer(answer) => Ok(answer),
        Done::Task { about, description_id, work } => {
            tasks::start_about(shared, &about, call, user, description_id, work)
        }
    }
}

/// The datastore that a call is about: the one that it names, or where its disk is. A disk that is not on the datastore
/// which is named is not found.
fn place(world: &World, call: &Call) -> Outcome<MoRef> {
    let named: Option<MoRef> = call.optional("datastore")?;
    if let Some(named) = &named
        && world.stored.tree.find(named).and_then(|found| found.files()).is_none()
    {
        return Err(not_found(named));
    }
    let disk = match Operation::of(&call.method) {
        Some(O::Create) => {
            let spec: t::VslmCreateSpec = call.required("spec")?;
            return Ok(spec.backing_spec.datastore.cast());
        }
        // The id is that of a disk which is to be.
        Some(O::Register) => None,
        _ => call.optional::<t::ID>("id")?,
    };
    let Some(id) = disk else { return Ok(named.unwrap_or_else(|| world.root())) };
    let found = world.first_class.get(&id.id).ok_or_else(|| super::missing("disk", &id.id))?;
    let store = world.stored.tree.datastore(found.path.datastore()).map(|(entity, _)| entity.reference());
    match named {
        Some(named) if store.as_ref() != Some(&named) => {
            Err(super::missing(&format!("disk on {named} with the id"), &id.id))
        }
        _ => Ok(store.unwrap_or_else(|| world.root())),
    }
}

/// The fault for a datastore that does not do.
pub(super) fn no_datastore(datastore: &MoRef) -> Fault {
    let value = t::InvalidDatastore { datastore: Some(datastore.cast()), ..Default::default() };
    fault(value, format!("There is no datastore {datastore}."))
}

#[cfg(test)]
mod tests {
    use vim_api::dynamic::method;
    use vim_api::xml::Service;

    use super::{NAMES, Operation};

    #[test]
    fn names_are_those_of_methods_and_each_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (operation, names) in NAMES {
            for (name, column) in names.into_iter().zip(0..).filter(|(name, _)| !name.is_empty()) {
                let known = method(name).unwrap_or_else(|| panic!("{name}"));
                assert_eq!(known.service == Service::Vslm, column == 2, "{name}");
                assert_eq!(Operation::of(name), Some(operation), "{name}");
                assert!(seen.insert(name), "{name} stands twice");
            }
        }
    }
}
