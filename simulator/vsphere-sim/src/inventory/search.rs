//! SearchIndex: finding machines and inventory objects.

use sim_store::DatastorePath;
use vim_api::MoRef;

use super::machine_ref;
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
        if !machines {
            return world.hosts_by_uuid(&uuid);
        }
        let matching = world.machines().filter(|machine| {
            let config = &machine.config;
            let own = if by_instance { config.instance_uuid.as_deref() } else { Some(config.uuid.as_str()) };
            own.is_some_and(|own| own.eq_ignore_ascii_case(&uuid))
        });
        let found = matching.map(|machine| machine_ref(machine).cast());
        found.filter(|machine| authorization::sees(world, world.sessions.get(cookie), machine)).collect()
    }))
}

/// `FindByInventoryPath`, such as `DC0/vm/name`.
pub(crate) fn by_inventory_path(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let path: String = call.required("inventoryPath")?;
    let found = shared.read(|world| {
        let mut at = world.stored.tree.get(world.stored.tree.root())?.reference();
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

/// `FindByDatastorePath`: the machine whose `.vmx` is there.
pub(crate) fn by_datastore_path(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let datacenter: MoRef = call.required("datacenter")?;
    let path: String = call.required("path")?;
    let path: Option<DatastorePath> = path.parse().ok();
    let found = shared.read(|world| {
        let mut machines = world.machines();
        let wanted = path?;
        let is_it = |machine: &&crate::machine::Machine| {
            machine.vmx().as_ref() == Some(&wanted)
                && world
                    .stored
                    .tree
                    .datacenter_of(&machine.folder)
                    .is_some_and(|found| found.id == datacenter.value())
        };
        let found: MoRef = machines.find(is_it).map(|machine| machine_ref(machine).cast())?;
        authorization::sees(world, world.sessions.get(cookie), &found).then_some(found)
    });
    Ok(Answer::maybe(call, found.as_ref()))
}

/// `FindByIp` and `FindByDnsName`, with their `FindAll` forms: what the guests' tools tell, or what hosts are called.
pub(crate) fn by_guest(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let wanted: String = match call.method.as_str() {
        "FindByIp" | "FindAllByIp" => call.required("ip")?,
        _ => call.required("dnsName")?,
    };
    let by_address = call.method.ends_with("Ip");
    let machines: bool = call.required("vmSearch")?;
    let mut found: Vec<MoRef> = shared.read(|world| {
        if !machines {
            let hosts = world.stored.tree.iter().filter(|entity| {
                matches!(entity.kind, super::tree::Kind::Host { .. })
                    && entity.name.eq_ignore_ascii_case(&wanted)
            });
            return hosts.map(super::tree::Entity::reference).collect();
        }
        let matching = world.machines().filter(|machine| {
            let guest = machine.guest();
            let told = if by_address { guest.ip_address } else { guest.host_name };
            told.is_some_and(|told| told.eq_ignore_ascii_case(&wanted))
        });
        matching.map(|machine| machine_ref(machine).cast()).collect()
    });
    shared.read(|world| {
        let session = world.sessions.get(cookie);
        found.retain(|object| authorization::sees(world, session, object));
    });
    Ok(match call.method.starts_with("FindAll") {
        true => Answer::many(call, &found),
        false => Answer::maybe(call, found.first()),
    })
}

impl crate::world::World {
    fn hosts_by_uuid(&self, wanted: &str) -> Vec<MoRef> {
        let is_it = |entity: &&super::tree::Entity| match &entity.kind {
            super::tree::Kind::Host { uuid } => uuid.eq_ignore_ascii_case(wanted),
            _ => false,
        };
        self.stored.tree.iter().filter(is_it).map(super::tree::Entity::reference).collect()
    }
}
