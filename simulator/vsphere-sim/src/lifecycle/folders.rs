//! Folders: making them, moving things into them, renaming and removing what is in the inventory.

use std::sync::Arc;

use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::check_name;
use crate::fault::{Outcome, fault, not_found};
use crate::inventory::tree::{Entity, Kind};
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `Folder.CreateFolder`: one of the same kind.
pub(crate) fn create_folder(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let name: String = call.required("name")?;
    let parent = call.this.value();
    let shown = check_name(shared, parent, &name, None)?;
    let made = shared.update(|world| {
        let found = world.stored.tree.find(&call.this).ok_or_else(|| not_found(&call.this))?;
        let kind = found.kind.clone();
        let prefix = match &kind {
            Kind::Folder(holds) => holds.id_prefix(),
            _ => return Err(fault(t::NotSupported::default(), "Only folders hold folders.")),
        };
        let id = world.next_entity(prefix);
        let entity = Entity { id: id.clone(), name: shown, parent: Some(parent.to_owned()), kind };
        world.tree_mut().insert(entity);
        Ok(id)
    })?;
    Ok(Answer::one(call, &MoRef::<mo::Folder>::new(made)))
}

/// `ResourcePool.CreateResourcePool`. What the pool may use is not kept: nothing here uses much.
pub(crate) fn create_pool(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let name: String = call.required("name")?;
    let _: t::ResourceConfigSpec = call.required("spec")?;
    let parent = call.this.value();
    let name = check_name(shared, parent, &name, None)?;
    let made = shared.update(|world| {
        world.stored.tree.find(&call.this).ok_or_else(|| not_found(&call.this))?;
        let id = world.next_entity("resgroup-");
        let entity = Entity { id: id.clone(), name, parent: Some(parent.to_owned()), kind: Kind::Pool };
        world.tree_mut().insert(entity);
        Ok::<_, crate::fault::Fault>(id)
    })?;
    Ok(Answer::one(call, &MoRef::<mo::ResourcePool>::new(made)))
}

/// `Folder.MoveIntoFolder_Task`.
pub(crate) fn move_into(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let list: Vec<MoRef> = call.list("list")?;
    let folder = call.this.clone();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        for (at, object) in list.iter().enumerate() {
            move_one(shared, object, &folder)?;
            progress.step(at as u64 + 1, list.len() as u64)?;
        }
        Ok(None)
    });
    tasks::start_about(shared, &call.this, call, user, "Folder.moveInto", work)
}

fn move_one(shared: &Shared, object: &MoRef, folder: &MoRef) -> Outcome<()> {
    shared.update(|world| {
        let tree = &world.stored.tree;
        let target = tree.find(folder).ok_or_else(|| not_found(folder))?;
        let refused = || Err(fault(t::NotSupported::default(), format!("{folder} does not hold {object}.")));
        let held: Vec<&str> = match &target.kind {
            Kind::Folder(holds) => holds.child_types(world.mode()).collect(),
            Kind::Pod => vec!["Datastore"],
            _ => return refused(),
        };
        let fits = held.iter().any(|name| {
            vim_api::dynamic::managed_type(object.type_name()).is_some_and(|info| info.is_a(name))
        });
        if !fits {
            return refused();
        }
        if object.type_name() == "VirtualMachine" {
            let machine = world.machine_mut(object.value()).ok_or_else(|| not_found(object))?;
            folder.value().clone_into(&mut machine.folder);
            return Ok(());
        }
        tree.find(object).ok_or_else(|| not_found(object))?;
        if tree.upwards(folder.value()).any(|above| above.id == object.value()) {
            let message = "A folder cannot be put into itself, or below itself.";
            return Err(fault(t::InvalidFolder { target: folder.cast(), ..Default::default() }, message));
        }
        world.tree_mut().moved(object.value(), folder.value());
        Ok(())
    })
}

/// `ManagedEntity.Rename_Task`.
pub(crate) fn rename(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let name: String = call.required("newName")?;
    let object = call.this.clone();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        rename_entity(shared, &object, &name).map(|()| None)
    });
    match call.this.type_name() {
        "VirtualMachine" => tasks::start(shared, call.this.value(), call, user, "ManagedEntity.rename", work),
        _ => tasks::start_about(shared, &call.this, call, user, "ManagedEntity.rename", work),
    }
}

fn rename_entity(shared: &Shared, object: &MoRef, name: &str) -> Outcome<()> {
    let parent = shared.read(|world| world.parent_of(object)).ok_or_else(|| not_found(object))?;
    let shown = check_name(shared, parent.value(), name, Some(object.value()))?;
    if object.type_name() == "VirtualMachine" {
        return recovery::carry_out(shared, Intent::of(object.value()), |_| {
            shared.update(|world| {
                let machine = world.machine_mut(object.value()).ok_or_else(|| not_found(object))?;
                machine.config_mut().name = shown;
                Ok(())
            })
        });
    }
    shared.update(|world| {
        let entity = world.tree_mut().get_mut(object.value()).ok_or_else(|| not_found(object))?;
        if matches!(entity.kind, Kind::Datastore { .. }) {
            return Err(fault(t::NotSupported::default(), "The simulator's datastores keep their names."));
        }
        entity.name = shown;
        Ok(())
    })
}

/// `ManagedEntity.Destroy_Task` of a folder, pool or the like; machines in it go with it.
pub(crate) fn destroy_entity(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let object = call.this.clone();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        let machines = shared.read(|world| {
            let entity = world.stored.tree.find(&object).ok_or_else(|| not_found(&object))?;
            let fixed = match &entity.kind {
                Kind::Folder(_) => entity.parent.as_ref().is_none_or(|parent| {
                    world.stored.tree.get(parent).is_none_or(|above| matches!(above.kind, Kind::Datacenter))
                }),
                Kind::Pool => {
                    world.stored.tree.owner_of(&entity.id).map(|owner| &owner.id) == entity.parent.as_ref()
                }
                _ => true,
            };
            if fixed {
                return Err(fault(t::NotSupported::default(), format!("{object} cannot be removed.")));
            }
            let mut places = vec![entity.id.clone()];
            places.extend(world.stored.tree.below(&entity.id).iter().map(|below| below.id.clone()));
            let machines = world.machines().filter(|machine| {
                places.contains(&machine.folder)
                    || machine.pool.as_ref().is_some_and(|pool| places.contains(pool))
            });
            Ok((machines.map(|machine| machine.id.clone()).collect::<Vec<_>>(), places))
        });
        let (machines, places) = machines?;
        if object.type_name() == "Folder" {
            for machine in &machines {
                super::destroy_machine(shared, machine)?;
            }
        }
        shared.update(|world| {
            let above = world.parent_of(&object).map(|parent| parent.value().to_owned());
            if object.type_name() == "ResourcePool" {
                for machine in &machines {
                    if let Some(machine) = world.machine_mut(machine) {
                        machine.pool.clone_from(&above);
                    }
                }
            }
            for place in places.iter().rev() {
                world.tree_mut().remove(place);
            }
        });
        Ok(None)
    });
    tasks::start_about(shared, &call.this, call, user, "ManagedEntity.destroy", work)
}
