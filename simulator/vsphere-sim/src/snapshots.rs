//! Snapshot operations. What happens to disks is `sim_store`'s; here is the tree, and who owns which link.

mod create;
mod remove;
mod revert;
mod vss;

use std::sync::Arc;

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;

use crate::fault::{Outcome, describe, fault, invalid_argument, not_found, task_in_progress};
use crate::recovery::{self, Intent};
use crate::sim::SimVm;
use crate::wire::{Answer, Call};
use crate::world::Shared;
use crate::{guest, lease, tasks};

pub(crate) use remove::follow;

/// `CreateSnapshot_Task` and `CreateSnapshotEx_Task`.
pub(crate) fn create(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let mut vss = false;
    let quiesce = if call.method == "CreateSnapshotEx_Task" {
        let spec: Option<vim_api::dynamic::Poly<t::VirtualMachineGuestQuiesceSpec>> =
            call.optional("quiesceSpec")?;
        // Minutes, by the reference of the API.
        if spec.as_ref().and_then(|spec| spec.timeout).is_some_and(|minutes| !(5..=240).contains(&minutes)) {
            return Err(invalid_argument("quiesceSpec.timeout", "It lies between 5 and 240 minutes."));
        }
        vss = spec.as_ref().is_some_and(|spec| spec.type_name() == "VirtualMachineWindowsQuiesceSpec");
        spec.is_some()
    } else {
        call.required("quiesce")?
    };
    let wish = create::Wish {
        name: name_of(call.required("name")?)?,
        description: call.optional("description")?.unwrap_or_default(),
        memory: call.required("memory")?,
        quiesce,
        vss,
    };
    let id = call.this.value().to_owned();
    let vm = SimVm::new(Arc::clone(shared), id.clone());
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        let writer = guest::handle(&vm).filter(|_| wish.quiesce && vm.is_powered_on());
        // The guest goes on when the snapshot is taken.
        let _frozen = writer.as_ref().map(guest::GuestWriter::freeze).transpose().map_err(|error| {
            let message = format!("The guest could not be quiesced: {}", describe(&error));
            fault(t::ApplicationQuiesceFault::default(), message)
        })?;
        create::create(shared, &id, wish, progress).map(Some)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.createSnapshot", work)
}

/// `RemoveSnapshot_Task`.
pub(crate) fn remove(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let children: bool = call.required("removeChildren")?;
    let consolidate = call.optional("consolidate")?.unwrap_or(true);
    let (machine, snapshot) = owner(shared, call)?;
    lease::check_chains(shared, &machine)?;
    let id = machine.clone();
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        let doomed = if children { remove::Doomed::Subtree(snapshot) } else { remove::Doomed::One(snapshot) };
        remove::remove(shared, &id, &doomed, consolidate, progress).map(|()| None)
    });
    tasks::start(shared, &machine, call, user, "vm.Snapshot.remove", work)
}

/// `RemoveAllSnapshots_Task`.
pub(crate) fn remove_all(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let consolidate = call.optional("consolidate")?.unwrap_or(true);
    lease::check_chains(shared, call.this.value())?;
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        remove::remove(shared, &id, &remove::Doomed::All, consolidate, progress).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.removeAllSnapshots", work)
}

/// `ConsolidateVMDisks_Task`.
pub(crate) fn consolidate(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    lease::check_chains(shared, &id)?;
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        remove::consolidate(shared, &id, progress).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.consolidateDisks", work)
}

/// `EstimateStorageForConsolidateSnapshots_Task`: the space that is needed on each datastore while links are merged.
pub(crate) fn estimate(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        progress.fail_early()?;
        let needed = remove::space_to_consolidate(shared, &id)?;
        let needed = needed.into_iter().map(|needed| needed.to_value()).collect();
        Ok(Some(Value::array("StorageRequirement", needed)))
    });
    tasks::start(
        shared,
        call.this.value(),
        call,
        user,
        "VirtualMachine.estimateStorageRequirementForConsolidate",
        work,
    )
}

/// `RevertToSnapshot_Task`.
pub(crate) fn revert(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (machine, snapshot) = owner(shared, call)?;
    start_revert(shared, call, user, &machine, Some(snapshot), "vm.Snapshot.revert")
}

/// `RevertToCurrentSnapshot_Task`.
pub(crate) fn revert_to_current(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let machine = call.this.value().to_owned();
    start_revert(shared, call, user, &machine, None, "VirtualMachine.revertToCurrentSnapshot")
}

/// `RenameSnapshot`.
pub(crate) fn rename(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let name: Option<String> = call.optional("name")?;
    let description: Option<String> = call.optional("description")?;
    let name = name.map(name_of).transpose()?;
    let (machine, snapshot) = owner(shared, call)?;
    recovery::carry_out(shared, Intent::of(&machine), |_| {
        shared.update(|world| {
            let machine = world.machine_mut(&machine).ok_or_else(|| not_found(&call.this))?;
            if let Some(task) = &machine.busy {
                return Err(task_in_progress(task));
            }
            let found = machine.snapshots.iter_mut().find(|found| found.id == snapshot);
            let found = found.ok_or_else(|| not_found(&call.this))?;
            if let Some(name) = name {
                found.name = name;
            }
            if let Some(description) = description {
                found.description = description;
            }
            Ok(())
        })
    })?;
    Ok(Answer::void())
}

fn start_revert(
    shared: &Arc<Shared>,
    call: &Call,
    user: &str,
    machine: &str,
    snapshot: Option<String>,
    description_id: &str,
) -> Outcome<Answer> {
    lease::check_chains(shared, machine)?;
    let id = machine.to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut tasks::Progress<'_>| {
        revert::revert(shared, &id, snapshot.as_deref(), progress).map(|()| None)
    });
    tasks::start(shared, machine, call, user, description_id, work)
}

/// The machine of the snapshot that is called, and the snapshot.
fn owner(shared: &Shared, call: &Call) -> Outcome<(String, String)> {
    let id = call.this.value();
    let machine = shared.read(|world| world.snapshot(id).map(|(machine, _)| machine.id.clone()));
    machine.map(|machine| (machine, id.to_owned())).ok_or_else(|| not_found(&call.this))
}

fn name_of(name: String) -> Outcome<String> {
    if name.is_empty() || name.chars().count() > 80 {
        let value = t::InvalidName { name: name.clone(), ..Default::default() };
        return Err(fault(
            value,
            format!("The name \"{name}\" is invalid: it must have 1 to 80 characters."),
        ));
    }
    Ok(name)
}

/// Takes the ids that snapshots stamped from disks, by their keys.
pub(crate) fn forget_change_ids(config: &mut t::VirtualMachineConfigInfo, of: &dyn Fn(i32) -> bool) {
    for device in config.hardware.device.iter_mut().filter(|device| of(device.key)) {
        let disk = device.downcast_mut::<t::VirtualDisk>();
        let backing = disk.and_then(|disk| disk.base.backing.as_mut());
        if let Some(flat) =
            backing.and_then(|backing| backing.downcast_mut::<t::VirtualDiskFlatVer2BackingInfo>())
        {
            flat.change_id = None;
        }
    }
}
