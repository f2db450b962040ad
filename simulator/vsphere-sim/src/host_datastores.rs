//! `HostDatastoreSystem`: the datastores of a host, which here are those of its datacenter.

use std::fs;

use serde::{Deserialize, Serialize};
use sim_store::Datastore;
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, from_store, not_found};
use crate::inventory::tree::{Entity, Holds, Kind};
use crate::lifecycle::file_stem;
use crate::topology;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// What stands before the id of a host in the id of its datastore system.
const PREFIX: &str = "datastoreSystem-";

/// Where the files of a datastore are that is on another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remote {
    pub(crate) host: String,
    pub(crate) path: String,
}

/// The id of the datastore system of a host.
pub(crate) fn id_of(host: &Entity) -> String {
    format!("{PREFIX}{}", host.id)
}

impl World {
    /// The host whose datastore system this is.
    pub(crate) fn storage_host(&self, id: &str) -> Option<&Entity> {
        let host = self.stored.tree.get(id.strip_prefix(PREFIX)?)?;
        matches!(host.kind, Kind::Host { .. }).then_some(host)
    }

    pub(crate) fn host_datastores_property(&self, host: &Entity, name: &str) -> Option<Value> {
        Some(match name {
            "datastore" => crate::inventory::refs(self.datastores_of(&host.id)),
            "capabilities" => t::HostDatastoreSystemCapabilities {
                nfs_mount_creation_required: false,
                nfs_mount_creation_supported: true,
                local_datastore_supported: true,
                vmfs_extent_expansion_supported: Some(false),
                ..Default::default()
            }
            .to_value(),
            _ => return None,
        })
    }
}

/// Carries out a call to a host's datastore system.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        // Where the files are on the host is the simulator's business: the path names nothing here.
        "CreateLocalDatastore" => {
            let name: String = call.required("name")?;
            let _: String = call.required("path")?;
            add(shared, call, &name, None)
        }
        "CreateNasDatastore" => {
            let spec: t::HostNasVolumeSpec = call.required("spec")?;
            add(
                shared,
                call,
                &spec.local_path,
                Some(Remote { host: spec.remote_host, path: spec.remote_path }),
            )
        }
        "RemoveDatastore" => {
            let datastore: MoRef<mo::Datastore> = call.required("datastore")?;
            shared.update(|world| {
                let host = world.storage_host(call.this.value()).ok_or_else(|| not_found(&call.this))?;
                if !world.datastores_of(&host.id).contains(&datastore) {
                    let message = format!("The host does not have {datastore}.");
                    return Err(fault(t::NotFound::default(), message));
                }
                remove(world, &datastore)
            })
        }
        // The host has no disks beside those of its datastores.
        "QueryAvailableDisksForVmfs" => Ok(Answer::void()),
        "CreateVmfsDatastore" => Err(fault(
            t::HostConfigFault::default(),
            "The host has no disk that a datastore could be made on.",
        )),
        _ => Err(method_not_found(call)),
    }
}

/// `Datastore.DestroyDatastore`.
pub(crate) fn destroy(shared: &Shared, call: &Call) -> Outcome<Answer> {
    shared.update(|world| remove(world, &call.this.cast()))
}

fn add(shared: &Shared, call: &Call, name: &str, remote: Option<Remote>) -> Outcome<Answer> {
    if name.chars().count() > 42 || file_stem(name) != name {
        let value = t::InvalidName { name: name.to_owned(), ..Default::default() };
        return Err(fault(value, format!("A datastore cannot be called \"{name}\".")));
    }
    shared.update(|world| {
        let host = world.storage_host(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        let tree = &world.stored.tree;
        let home = tree.datacenter_of(&host.id).ok_or_else(|| not_found(&call.this))?;
        let folder = tree.folder_of(&home.id, Holds::Datastores).ok_or_else(|| not_found(&home.reference()))?;
        if let Some((taken, _)) = tree.datastore(name) {
            let value =
                t::DuplicateName { name: name.to_owned(), object: taken.reference().cast(), ..Default::default() };
            return Err(fault(value, format!("The name '{name}' already exists.")));
        }
        let mounted = tree.datastores().find(|(entity, _)| {
            matches!(&entity.kind, Kind::Datastore { remote: Some(known), .. } if Some(known) == remote.as_ref())
        });
        if let Some((mounted, _)) = mounted {
            let value = t::AlreadyExists { name: Some(mounted.name.clone()), ..Default::default() };
            return Err(fault(value, format!("It is mounted as '{}' already.", mounted.name)));
        }
        let parent = folder.id.clone();
        let root = shared.settings.data_dir.join("datastores").join(name);
        let failed = |error: std::io::Error| {
            fault(t::HostConfigFault::default(), format!("The datastore's folder cannot be made: {error}"))
        };
        let root = fs::create_dir_all(&root).and_then(|()| fs::canonicalize(&root)).map_err(failed)?;
        let files = Datastore::new(name, root).map_err(|error| from_store(&error, name))?;
        let kind = topology::datastore_kind(files, remote);
        if let Kind::Datastore { files, uuid, .. } = &kind {
            sim_store::volumes::add(files.root(), uuid).map_err(|error| from_store(&error, name))?;
        }
        let id = world.next_entity("datastore-");
        let entity = Entity { id: id.clone(), name: name.to_owned(), parent: Some(parent), kind };
        world.tree_mut().insert(entity);
        Ok(Answer::one(call, &MoRef::<mo::Datastore>::new(id)))
    })
}

/// Takes a datastore that no machine uses out of the inventory. Its files stay, as on a server that is mounted no more.
fn remove(world: &mut World, datastore: &MoRef<mo::Datastore>) -> Outcome<Answer> {
    let found = world.stored.tree.get(datastore.value());
    let files = found.and_then(Entity::files).ok_or_else(|| not_found(&datastore.cast()))?;
    let name = files.name().to_owned();
    if world.machines().any(|machine| crate::inventory::uses(machine, &name)) {
        return Err(in_use(name));
    }
    world.tree_mut().remove(datastore.value());
    world.forget(&datastore.cast());
    Ok(Answer::void())
}

fn in_use(name: String) -> Fault {
    let message = format!("Machines use the datastore {name}.");
    let value =
        t::ResourceInUse { r#type: Some("Datastore".to_owned()), name: Some(name), ..Default::default() };
    fault(value, message)
}
