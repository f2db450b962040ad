//! Calls about first-class disks, by the API's managers and by VSLM: what they do to files takes a privilege on the
//! datastores. [K: `Datastore.FileManagement` for changes, and to read the datastore for the rest]

use vim_api::MoRef;
use vim_api::types as t;

use super::{Asked, FILES, Needs};
use crate::authorization::READ;
use crate::dispatch::method_not_found;
use crate::fault::Outcome;
use crate::fcd::operation::Operation;

/// On each datastore that a call names, that its disk is on, or that it makes a disk on.
pub(super) fn operate(asked: &Asked<'_>, operation: Operation) -> Outcome<Needs> {
    let privilege = if operation.only_reads() { READ } else { FILES };
    let call = asked.call;
    let mut stores: Vec<MoRef> = call.list("datastore")?;
    stores.extend(call.optional::<MoRef>("targetDatastore")?);
    match operation {
        Operation::Create => {
            stores.push(call.required::<t::VslmCreateSpec>("spec")?.backing_spec.datastore.cast());
        }
        Operation::Clone => {
            stores.push(call.required::<t::VslmCloneSpec>("spec")?.backing_spec.datastore.cast());
        }
        Operation::Relocate => {
            stores.push(call.required::<t::VslmRelocateSpec>("spec")?.backing_spec.datastore.cast());
        }
        Operation::Register => stores.push(asked.store_of_file(&call.required::<String>("path")?)),
        Operation::Associations if call.method.starts_with("Vslm") => {
            stores.extend(call.list::<t::ID>("ids")?.iter().filter_map(|id| store_of_disk(asked, &id.id)));
        }
        Operation::Associations => {
            let asked: Vec<t::RetrieveVStorageObjSpec> = call.list("ids")?;
            stores.extend(asked.into_iter().map(|asked| asked.datastore.cast()));
        }
        Operation::TaggedWith => {}
        // VSLM knows by itself where its disks are.
        _ if stores.is_empty() => {
            let id: Option<t::ID> = call.optional("id")?;
            stores.extend(id.and_then(|id| store_of_disk(asked, &id.id)));
        }
        _ => {}
    }
    Ok(stores.into_iter().map(|store| (store, privilege.to_owned())).collect())
}

/// Calls to VSLM.
pub(super) fn by_service(asked: &Asked<'_>) -> Outcome<Needs> {
    let call = asked.call;
    let stores = |ids: &[&str]| ids.iter().filter_map(|id| store_of_disk(asked, id)).collect::<Vec<_>>();
    Ok(match call.method.as_str() {
        // A list shows what there is: who sees no datastore sees no disks on it either.
        "VslmListVStorageObjectForSpec" => Vec::new(),
        "VslmRetrieveVStorageObjects" => {
            let ids: Vec<t::ID> = call.list("ids")?;
            let ids: Vec<&str> = ids.iter().map(|id| id.id.as_str()).collect();
            stores(&ids).into_iter().map(|store| (store, READ.to_owned())).collect()
        }
        "VslmAttachDisk_Task" => {
            let id: t::ID = call.required("id")?;
            let vm: MoRef = call.required("vm")?;
            let mut needs = vec![(vm, "VirtualMachine.Config.AddExistingDisk".to_owned())];
            needs.extend(stores(&[&id.id]).into_iter().map(|store| (store, FILES.to_owned())));
            needs
        }
        method => operate(asked, Operation::of(method).ok_or_else(|| method_not_found(call))?)?,
    })
}

/// `AttachDisk_Task`: on the machine as for any disk that there is, and on the datastore.
pub(super) fn attach(asked: &Asked<'_>) -> Outcome<Needs> {
    let mut needs = asked.by_schema();
    needs.extend(asked.on_argument("datastore", FILES)?);
    Ok(needs)
}

fn store_of_disk(asked: &Asked<'_>, id: &str) -> Option<MoRef> {
    let disk = asked.world.first_class.get(id)?;
    asked.world.stored.tree.datastore(disk.path.datastore()).map(|(entity, _)| entity.reference())
}
