//! Storage pods, and on which datastore of one a machine is best put.

use vim_api::dynamic::Poly;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::inventory::tree::{Entity, Holds, Kind};
use crate::lifecycle::check_name;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `Folder.CreateStoragePod`.
pub(crate) fn create(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let name: String = call.required("name")?;
    let name = check_name(shared, call.this.value(), &name, None)?;
    shared.update(|world| {
        let folder = world.stored.tree.find(&call.this).ok_or_else(|| not_found(&call.this))?;
        if !matches!(folder.kind, Kind::Folder(Holds::Datastores)) {
            return Err(fault(t::NotSupported::default(), "The folder does not hold datastores."));
        }
        let parent = Some(folder.id.clone());
        let id = world.next_entity("group-p");
        world.tree_mut().insert(Entity { id: id.clone(), name, parent, kind: Kind::Pod });
        Ok(Answer::one(call, &MoRef::<mo::StoragePod>::new(id)))
    })
}

/// Carries out a call to the `StorageResourceManager`.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "RecommendDatastores" => recommend(shared, call),
        "ApplyStorageDrsRecommendation_Task" => {
            let message = "Recommendations are not kept: put the machine on the datastore that one names.";
            Err(fault(t::NotSupported::default(), message))
        }
        _ => Err(method_not_found(call)),
    }
}

/// The datastores of the pod, the one with the most space first.
fn recommend(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let spec: t::StoragePlacementSpec = call.required("storageSpec")?;
    let reason = match spec.r#type.as_str() {
        "create" | "clone" | "relocate" | "reconfigure" => "storagePlacement",
        other => {
            return Err(invalid_argument("storageSpec.type", format!("There is no placement \"{other}\".")));
        }
    };
    let wanted = spec.pod_selection_spec.storage_pod;
    let wanted = wanted
        .or_else(|| spec.pod_selection_spec.initial_vm_config.first().map(|first| first.storage_pod.clone()));
    let pod = wanted.ok_or_else(|| invalid_argument("storageSpec.podSelectionSpec", "No pod is named."))?;
    shared.read(|world| {
        let pod = world.stored.tree.find(&pod.cast()).ok_or_else(|| not_found(&pod.cast()))?;
        let mut places: Vec<(u64, u64, &Entity)> = world
            .stored
            .tree
            .children(&pod.id)
            .filter_map(|child| match &child.kind {
                Kind::Datastore { files, capacity, .. } => {
                    Some((capacity.saturating_sub(world.used_on(child, files.name())), *capacity, child))
                }
                _ => None,
            })
            .collect();
        places.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.2.id.cmp(&other.2.id)));
        let now = world.clock.now().date_time();
        let best = places.len();
        let recommendations = places.into_iter().enumerate().map(|(at, (free, capacity, datastore))| {
            let used = 100.0 - 100.0 * (free as f32) / (capacity.max(1) as f32);
            let action = t::StoragePlacementAction {
                base: t::ClusterAction { r#type: "StoragePlacementV1".to_owned(), ..Default::default() },
                vm: spec.vm.clone(),
                relocate_spec: t::VirtualMachineRelocateSpec {
                    datastore: Some(datastore.typed()),
                    ..Default::default()
                },
                destination: datastore.typed(),
                space_util_before: Some(used),
                space_util_after: Some(used),
                ..Default::default()
            };
            t::ClusterRecommendation {
                key: (at + 1).to_string(),
                r#type: "V1".to_owned(),
                time: now.clone(),
                // From 1 to 5, and the best place has the highest.
                rating: i32::try_from((best - at).min(5)).unwrap_or(1),
                reason: reason.to_owned(),
                reason_text: "Satisfy storage initial placement requests".to_owned(),
                action: vec![Poly::new(action)],
                target: Some(pod.reference().cast()),
                ..Default::default()
            }
        });
        let recommendations = recommendations.collect();
        Ok(Answer::one(call, &t::StoragePlacementResult { recommendations, ..Default::default() }))
    })
}
