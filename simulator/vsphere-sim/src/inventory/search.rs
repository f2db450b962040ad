//! SearchIndex: finding machines and inventory objects.

use vim_api::{MoRef, mo};

use super::{ids, machine_ref, moref};
use crate::authorization;
use crate::fault::{Outcome, not_found};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `FindByUuid`, for machines: by BIOS uuid, or with `instanceUuid` by that.
pub(crate) fn by_uuid(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    Ok(Answer::maybe(call, matching(shared, cookie, call)?.first()))
}

/// `FindAllByUuid`, for machines.
pub(crate) fn all_by_uuid(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    Ok(Answer::many(call, &matching(shared, cookie, call)?))
}

fn matching(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Vec<MoRef>> {
    let uuid: String = call.required("uuid")?;
    let machines: bool = call.required("vmSearch")?;
    let by_instance = call.optional::<bool>("instanceUuid")?.unwrap_or(false);
    Ok(shared.read(|world| {
        let all = world.stored.machines.values().filter(|_| machines);
        let matching = all.filter(|machine| {
            let own = if by_instance { &machine.instance_uuid } else { &machine.bios_uuid };
            own.eq_ignore_ascii_case(&uuid)
        });
        let found = matching.map(|machine| machine_ref(machine).cast());
        found.filter(|machine| authorization::sees(world, world.sessions.get(cookie), machine)).collect()
    }))
}

/// `FindByInventoryPath`, such as `DC0/vm/name`.
pub(crate) fn by_inventory_path(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let path: String = call.required("inventoryPath")?;
    let found = shared.read(|world| {
        let mut at: MoRef = moref::<mo::Folder>(ids::ROOT).cast();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = world.child_named(&at, name)?;
        }
        authorization::sees(world, world.sessions.get(cookie), &at).then_some(at)
    });
    Ok(Answer::maybe(call, found.as_ref()))
}

/// `FindChild`.
pub(crate) fn child(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let parent: MoRef = call.required("entity")?;
    let name: String = call.required("name")?;
    shared.read(|world| {
        if world.node(&parent, None).is_none() {
            return Err(not_found(&parent));
        }
        let session = world.sessions.get(cookie);
        let child = world.child_named(&parent, &name);
        Ok(Answer::maybe(call, child.filter(|child| authorization::sees(world, session, child)).as_ref()))
    })
}
