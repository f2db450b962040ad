//! Storage policies: which there are, and what has which.

use std::collections::BTreeMap;

use vim_api::types as t;

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, invalid_argument};
use crate::inventory::moref;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// The policies of the server.
#[derive(Default)]
pub(crate) struct Policies {
    /// By id.
    pub(crate) known: BTreeMap<String, Policy>,
    /// The ids by what has them: `vm-101`, or `vm-101:2000` for a disk.
    pub(crate) given: BTreeMap<String, String>,
}

#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) description: String,
}

pub(super) fn content(shared: &Shared, call: &Call) -> Answer {
    let content = t::PbmServiceInstanceContent {
        about_info: t::PbmAboutInfo {
            name: "PBM".to_owned(),
            version: "2.0".to_owned(),
            instance_uuid: shared.read(|world| world.stored.instance_uuid.clone()),
            ..Default::default()
        },
        session_manager: moref("SessionManager"),
        capability_metadata_manager: moref("CapabilityMetadataManager"),
        profile_manager: moref("ProfileManager"),
        compliance_manager: moref("complianceManager"),
        placement_solver: moref("placementSolver"),
        replication_manager: Some(moref("ReplicationManager")),
        ..Default::default()
    };
    Answer::one(call, &content)
}

pub(super) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "PbmQueryProfile" => {
            let kind: t::PbmProfileResourceType = call.required("resourceType")?;
            if kind.resource_type != "STORAGE" {
                return Err(invalid_argument("resourceType", "There are policies for STORAGE only."));
            }
            let ids: Vec<_> =
                shared.read(|world| world.policies.known.keys().map(|id| profile_id(id)).collect());
            Ok(Answer::many(call, &ids))
        }
        "PbmRetrieveContent" => {
            let ids: Vec<t::PbmProfileId> = call.list("profileIds")?;
            let found: Option<Vec<_>> = shared.read(|world| {
                let now = world.clock.now().date_time();
                let read = |id: &t::PbmProfileId| {
                    world.policies.known.get(&id.unique_id).map(|policy| profile(&id.unique_id, policy, &now))
                };
                ids.iter().map(read).collect()
            });
            let found = found.ok_or_else(|| invalid_argument("profileIds", "There is no such policy."))?;
            Ok(Answer::many(call, &found))
        }
        "PbmQueryAssociatedProfiles" => {
            let entities: Vec<t::PbmServerObjectRef> = call.list("entities")?;
            let found: Vec<_> =
                entities.into_iter().filter_map(|entity| associated(shared, entity)).collect();
            Ok(Answer::many(call, &found))
        }
        _ => Err(method_not_found(call)),
    }
}

/// The policy of a machine or disk. `None`, and no result at all, for what has none.
fn associated(shared: &Shared, entity: t::PbmServerObjectRef) -> Option<t::PbmQueryProfileResult> {
    let machine = entity.key.split(':').next().unwrap_or_default();
    shared.read(|world| {
        let mut result = t::PbmQueryProfileResult { object: entity.clone(), ..Default::default() };
        if world.machine(machine).is_none() {
            let gone = fault(t::PbmFaultNotFound::default(), "The entity is unknown.");
            let fault = t::LocalizedMethodFault {
                fault: gone.fault,
                localized_message: Some(gone.message),
                ..Default::default()
            };
            result.fault = Some(Box::new(fault));
        } else {
            result.profile_id = vec![profile_id(world.policies.given.get(&entity.key)?)];
        }
        Some(result)
    })
}

fn profile_id(id: &str) -> t::PbmProfileId {
    t::PbmProfileId { unique_id: id.to_owned(), ..Default::default() }
}

fn profile(
    id: &str,
    policy: &Policy,
    now: &vim_api::dynamic::DateTime,
) -> vim_api::dynamic::Poly<t::PbmProfile> {
    let base = t::PbmProfile {
        profile_id: profile_id(id),
        name: policy.name.clone(),
        description: Some(policy.description.clone()),
        creation_time: now.clone(),
        created_by: "Temporary user handle".to_owned(),
        last_updated_time: now.clone(),
        last_updated_by: "Temporary user handle".to_owned(),
        ..Default::default()
    };
    vim_api::dynamic::Poly::new(t::PbmCapabilityProfile {
        base,
        profile_category: "REQUIREMENT".to_owned(),
        resource_type: t::PbmProfileResourceType {
            resource_type: "STORAGE".to_owned(),
            ..Default::default()
        },
        constraints: vim_api::dynamic::Poly::new(t::PbmCapabilitySubProfileConstraints::default()),
        generation_id: Some(0),
        ..Default::default()
    })
}
