//! What is told of disks.

use std::collections::BTreeMap;

use sim_store::{Descriptor, Provisioning};
use vim_api::dynamic::Poly;
use vim_api::{MoRef, types as t};

use super::making::name_of_datastore;
use super::snapshots::find;
use super::{DiskSnapshot, FirstClassDisk, id, missing};
use crate::fault::{Outcome, fault, from_store};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `ListVStorageObject`: the disks of a datastore.
pub(super) fn list(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let datastore: MoRef = call.required("datastore")?;
    let found = shared.read(|world| {
        let name = name_of_datastore(world, &datastore)?;
        let there = world.first_class.iter().filter(|disk| disk.path.datastore() == name);
        Ok(there.map(|disk| id(&disk.id)).collect::<Vec<_>>())
    })?;
    Ok(Answer::many(call, &found))
}

/// `RetrieveVStorageObject`, whose flags for what to leave out are not heeded.
pub(super) fn retrieve(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let found = shared.read(|world| {
        let disk = named(world, call)?;
        let failed = |error: sim_store::Error| from_store(&error, &disk.path.to_string());
        Descriptor::load(&world.resolve(&disk.path).map_err(failed)?).map_err(failed)?;
        object(world, &disk.id)
    })?;
    Ok(Answer::one(call, &found))
}

/// `RetrieveVStorageObjectState`. A disk here is never half made.
pub(super) fn state(shared: &Shared, call: &Call) -> Outcome<Answer> {
    shared.read(|world| named(world, call).map(|_| ()))?;
    Ok(Answer::one(call, &t::VStorageObjectStateInfo { tentative: Some(false), ..Default::default() }))
}

/// `RetrieveVStorageObjectAssociations`: which machine has each disk. The two services have types of their own for it.
pub(super) fn associations(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let consumer = |id: &str| {
        shared.read(|world| {
            world.first_class.get(id).ok_or_else(|| missing("disk", id))?;
            Ok(world.consumer_of(id).map(|(machine, key)| (machine.id.clone(), key)))
        })
    };
    if call.method.starts_with("Vslm") {
        let ids: Vec<t::ID> = call.list("ids")?;
        let told = ids.into_iter().map(|id| {
            let mut told = t::VslmVsoVStorageObjectAssociations { id: id.clone(), ..Default::default() };
            match consumer(&id.id) {
                Ok(found) => {
                    let of = |(vm_id, disk_key)| t::VslmVsoVStorageObjectAssociationsVmDiskAssociation {
                        vm_id,
                        disk_key,
                        ..Default::default()
                    };
                    told.vm_disk_association = found.into_iter().map(of).collect();
                }
                Err(fault) => told.fault = Some(Box::new(crate::fault::localized(&fault))),
            }
            told
        });
        return Ok(Answer::many(call, &told.collect::<Vec<_>>()));
    }
    let ids: Vec<t::RetrieveVStorageObjSpec> = call.list("ids")?;
    let told = ids.into_iter().map(|asked| {
        let mut told = t::VStorageObjectAssociations { id: asked.id.clone(), ..Default::default() };
        match consumer(&asked.id.id) {
            Ok(found) => {
                let of = |(vm_id, disk_key)| t::VStorageObjectAssociationsVmDiskAssociations {
                    vm_id,
                    disk_key,
                    ..Default::default()
                };
                told.vm_disk_associations = found.into_iter().map(of).collect();
            }
            Err(fault) => told.fault = Some(Box::new(crate::fault::localized(&fault))),
        }
        told
    });
    Ok(Answer::many(call, &told.collect::<Vec<_>>()))
}

/// `RetrieveSnapshotInfo`.
pub(super) fn snapshots(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let info = |snapshot: &DiskSnapshot| t::VStorageObjectSnapshotInfoVStorageObjectSnapshot {
        id: Some(Box::new(id(&snapshot.id))),
        create_time: snapshot.created.date_time(),
        description: snapshot.description.clone(),
        ..Default::default()
    };
    let snapshots = shared.read(|world| Ok(named(world, call)?.snapshots.iter().map(info).collect()))?;
    Ok(Answer::one(call, &t::VStorageObjectSnapshotInfo { snapshots, ..Default::default() }))
}

/// `RetrieveSnapshotDetails`.
pub(super) fn snapshot_details(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let snapshot: t::ID = call.required("snapshotId")?;
    let details = shared.read(|world| {
        let found = find(named(world, call)?, &snapshot.id)?;
        Ok(t::VStorageObjectSnapshotDetails {
            path: Some(found.path.to_string()),
            changed_block_tracking_id: found.change_id.clone(),
            ..Default::default()
        })
    })?;
    Ok(Answer::one(call, &details))
}

/// `RetrieveVStorageObjectMetadata`: of the disk, or of a snapshot.
pub(super) fn metadata(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let prefix: String = call.optional("prefix")?.unwrap_or_default();
    let mut found = metadata_of(shared, call)?;
    found.retain(|key, _| key.starts_with(&prefix));
    Ok(Answer::many(call, &to_pairs(&found)))
}

/// `RetrieveVStorageObjectMetadataValue`.
pub(super) fn metadata_value(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let key: String = call.required("key")?;
    let found = metadata_of(shared, call)?.remove(&key);
    let unknown = || {
        let value = t::KeyNotFound { key: key.clone(), ..Default::default() };
        fault(value, format!("The disk has no metadata {key:?}."))
    };
    Ok(Answer::one(call, &found.ok_or_else(unknown)?))
}

fn metadata_of(shared: &Shared, call: &Call) -> Outcome<BTreeMap<String, String>> {
    let snapshot: Option<t::ID> = call.optional("snapshotId")?;
    shared.read(|world| {
        let disk = named(world, call)?;
        Ok(match snapshot {
            Some(snapshot) => find(disk, &snapshot.id)?.metadata.clone(),
            None => disk.metadata.clone(),
        })
    })
}

pub(crate) fn to_pairs(metadata: &BTreeMap<String, String>) -> Vec<t::KeyValue> {
    let pair = |(key, value): (&String, &String)| t::KeyValue {
        key: key.clone(),
        value: value.clone(),
        ..Default::default()
    };
    metadata.iter().map(pair).collect()
}

fn named<'w>(world: &'w World, call: &Call) -> Outcome<&'w FirstClassDisk> {
    let id: t::ID = call.required("id")?;
    world.first_class.get(&id.id).ok_or_else(|| missing("disk", &id.id))
}

/// A disk as the API and VSLM show it.
pub(crate) fn object(world: &World, id_text: &str) -> Outcome<t::VStorageObject> {
    let disk = world.first_class.get(id_text).ok_or_else(|| missing("disk", id_text))?;
    let datastore = world.stored.tree.datastore(disk.path.datastore()).map(|(entity, _)| entity.typed());
    let file = t::BaseConfigInfoFileBackingInfo {
        base: t::BaseConfigInfoBackingInfo { datastore: datastore.unwrap_or_default(), ..Default::default() },
        file_path: disk.path.to_string(),
        ..Default::default()
    };
    let provisioning = match disk.provisioning {
        Provisioning::Thin => "thin",
        Provisioning::LazyThick => "lazyZeroedThick",
        Provisioning::EagerThick => "eagerZeroedThick",
    };
    let backing =
        t::BaseConfigInfoDiskFileBackingInfo { base: file, provisioning_type: provisioning.to_owned() };
    let base = t::BaseConfigInfo {
        id: id(&disk.id),
        name: disk.name.clone(),
        create_time: disk.created.date_time(),
        keep_after_delete_vm: Some(disk.keep_after_delete_vm),
        relocation_disabled: Some(disk.relocation_disabled),
        native_snapshot_supported: Some(false),
        changed_block_tracking_enabled: Some(disk.tracked),
        backing: Poly::new(backing),
        metadata: to_pairs(&disk.metadata),
        ..Default::default()
    };
    // A machine is known by its instance uuid here.
    let consumer = world.consumer_of(&disk.id).and_then(|(machine, _)| machine.config.instance_uuid.clone());
    let config = t::VStorageObjectConfigInfo {
        base,
        capacity_in_mb: mebibytes(disk.capacity),
        consumption_type: vec!["disk".to_owned()],
        consumer_id: consumer.iter().map(|uuid| id(uuid)).collect(),
        ..Default::default()
    };
    Ok(t::VStorageObject { config, ..Default::default() })
}

pub(crate) fn mebibytes(bytes: u64) -> i64 {
    i64::try_from(bytes >> 20).unwrap_or(i64::MAX)
}
