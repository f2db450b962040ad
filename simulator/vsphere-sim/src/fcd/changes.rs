//! What of a disk can be changed: its size and its space, its name, its flags, its metadata, its tags.

use std::sync::PoisonError;

use sim_store::Provisioning;
use vim_api::dynamic::Element;
use vim_api::types as t;

use super::hold::Held;
use super::making::{bytes, name_of, pairs};
use super::operation::Operation;
use super::{id, invalid_state, missing, show};
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument};
use crate::recovery::{self, Intent};
use crate::tagging::Object;
use crate::tasks::{Progress, Work};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// What REST calls the objects that tags are on, for first-class disks. [K, uncertain]
const TAGGED: &str = "VStorageObject";

/// `ExtendDisk_Task`.
pub(super) fn extend(call: &Call) -> Outcome<Work> {
    let id: t::ID = call.required("id")?;
    let capacity = bytes("newCapacityInMB", call.required("newCapacityInMB")?)?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &id.id, progress.task())?;
        held.check_no_snapshots()?;
        if capacity <= held.disk.capacity {
            return Err(invalid_argument("newCapacityInMB", "A disk can only become larger."));
        }
        progress.fail_early()?;
        change_file(&held, || sim_store::grow(&held.host()?, capacity).map_err(|error| of(&held, &error)))?;
        tracing::info!(disk = id.id, capacity, "first-class disk grown");
        Ok(None)
    }))
}

/// `InflateDisk_Task`: a thin disk becomes one that is zeroed at once.
pub(super) fn inflate(call: &Call) -> Outcome<Work> {
    let id: t::ID = call.required("id")?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &id.id, progress.task())?;
        held.check_no_snapshots()?;
        if held.disk.provisioning != Provisioning::Thin {
            return Err(invalid_state("Only a thin disk can be inflated."));
        }
        progress.fail_early()?;
        change_file(&held, || {
            sim_store::set_provisioning(&held.host()?, Provisioning::EagerThick)
                .map_err(|error| of(&held, &error))
        })?;
        Ok(None)
    }))
}

/// Changes what the file of a disk is like; the disk, and the machine that has it, show it afterwards.
fn change_file(held: &Held<'_>, change: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let stun = held.stun();
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    recovery::carry_out(held.shared, Intent::default().shows(&held.disk.path), |_| change())
}

fn of(held: &Held<'_>, error: &sim_store::Error) -> Fault {
    from_store(error, &held.disk.path.to_string())
}

/// `RenameVStorageObject`.
pub(super) fn rename(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let id: t::ID = call.required("id")?;
    let name = name_of("name", &call.required::<String>("name")?)?;
    let held = Held::take(shared, &id.id, "")?;
    shared.update(|world| {
        if let Some(disk) = world.first_class.get_mut(&held.disk.id) {
            disk.name = name;
        }
    });
    Ok(Answer::void())
}

/// `SetVStorageObjectControlFlags` and `ClearVStorageObjectControlFlags`.
pub(super) fn flags(shared: &Shared, call: &Call, on: bool) -> Outcome<Answer> {
    let id: t::ID = call.required("id")?;
    let flags: Vec<String> = call.list("controlFlags")?;
    let mut held = Held::take(shared, &id.id, "")?;
    for flag in &flags {
        match flag.as_str() {
            "keepAfterDeleteVm" => held.disk.keep_after_delete_vm = on,
            "disableRelocation" => held.disk.relocation_disabled = on,
            "enableChangedBlockTracking" => held.disk.tracked = on,
            other => return Err(invalid_argument("controlFlags", format!("There is no flag {other:?}."))),
        }
    }
    let stun = held.stun();
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    recovery::carry_out(shared, held.intent()?, |_| {
        held.apply_tracking()?;
        shared.update(|world| {
            if let Some(disk) = world.first_class.get_mut(&held.disk.id) {
                disk.keep_after_delete_vm = held.disk.keep_after_delete_vm;
                disk.relocation_disabled = held.disk.relocation_disabled;
                disk.tracked = held.disk.tracked;
            }
        });
        Ok(())
    })?;
    Ok(Answer::void())
}

/// `UpdateVStorageObjectMetadata_Task`, of which a younger form answers the disk.
pub(super) fn metadata(call: &Call, answers: bool) -> Outcome<Work> {
    let id: t::ID = call.required("id")?;
    let changed = pairs(call.list("metadata")?);
    let deleted: Vec<String> = call.list("deleteKeys")?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &id.id, progress.task())?;
        progress.fail_early()?;
        shared.update(|world| {
            if let Some(disk) = world.first_class.get_mut(&held.disk.id) {
                disk.metadata.retain(|key, _| !deleted.contains(key));
                disk.metadata.extend(changed);
            }
        });
        let shown = || shared.read(|world| show::object(world, &id.id)).map(|disk| Some(disk.to_value()));
        if answers { shown() } else { Ok(None) }
    }))
}

/// The four methods about tags, which go by the names of tags and their categories.
pub(super) fn tags(shared: &Shared, call: &Call, operation: Operation) -> Outcome<Answer> {
    let disk = |id: &t::ID| Object::new(TAGGED, &id.id);
    if operation == Operation::TagsOf {
        let of: t::ID = call.required("id")?;
        let names = shared.read(|world| {
            world.first_class.get(&of.id).ok_or_else(|| missing("disk", &of.id))?;
            Ok(world.tagging.names_on(&disk(&of)))
        })?;
        let entry = |(parent_category_name, tag_name)| t::VslmTagEntry {
            tag_name,
            parent_category_name,
            ..Default::default()
        };
        return Ok(Answer::many(call, &names.into_iter().map(entry).collect::<Vec<_>>()));
    }
    let (category, name): (String, String) = (call.required("category")?, call.required("tag")?);
    let unknown =
        || fault(t::NotFound::default(), format!("There is no tag {name:?} of a category {category:?}."));
    let tag = shared.read(|world| world.tagging.tag_named(&category, &name)).ok_or_else(unknown)?;
    if operation == Operation::TaggedWith {
        let found = shared.read(|world| {
            let tagged = world.tagging.on_tag(&tag, TAGGED);
            tagged.into_iter().filter(|found| world.first_class.get(found).is_some()).collect::<Vec<_>>()
        });
        return Ok(Answer::many(call, &found.iter().map(|found| id(found)).collect::<Vec<_>>()));
    }
    let on: t::ID = call.required("id")?;
    shared.update(|world| {
        world.first_class.get(&on.id).ok_or_else(|| missing("disk", &on.id))?;
        let done = match operation {
            Operation::AttachTag => world.tagging.attach(&tag, disk(&on)),
            _ => world.tagging.detach(&tag, disk(&on)),
        };
        done.map_err(|refusal| fault(t::NotSupported::default(), refusal.message))
    })?;
    Ok(Answer::void())
}
