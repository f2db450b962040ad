//! `CloneVM_Task` and `RelocateVM_Task`.

use std::fs;
use std::sync::{Arc, PoisonError};

use vim_api::dynamic::Element;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::moves::{Moves, Planner, Way, Wishes};
use super::{check_name, file_fault, home, host_of, insert, new_addresses, new_identity, place, with_file};
use crate::chain::{self, Held};
use crate::configure::{self, Target};
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::hardware;
use crate::host_file;
use crate::inventory::moref;
use crate::lease;
use crate::machine::{self, Config, Machine, Place, Power};
use crate::power;
use crate::recovery::{self, Intent};
use crate::snapshots;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `VirtualMachine.CloneVM_Task`: of the live disks, or of those of a snapshot.
pub(crate) fn clone(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let folder: MoRef<mo::Folder> = call.required("folder")?;
    let name: String = call.required("name")?;
    let spec: t::VirtualMachineCloneSpec = call.required("spec")?;
    check_service(&spec.location)?;
    let id = call.this.value().to_owned();
    let source = source(shared, &id, spec.snapshot.as_ref())?;
    let wishes = Wishes::of(shared, &source, &spec.location, Way::Flat)?;
    if wishes.make_children() && spec.snapshot.is_none() {
        // The words of a vCenter 5.5. [K]
        return Err(invalid_argument(
            "spec.snapshot",
            "A specified parameter was not correct: spec.snapshot",
        ));
    }
    let place = shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        destination(world, machine, &folder.cast(), &spec.location, spec.template)
    })?;
    let name = check_name(shared, &place.folder, &name, None)?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let made = clone_machine(shared, &id, &place, &name, &spec, &wishes, progress)?;
        if spec.power_on {
            power::power_on(shared, &made)?;
        }
        Ok(Some(moref::<mo::VirtualMachine>(&made).to_value()))
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.clone", work)
}

/// What is cloned: the machine as it is, or as it was at a snapshot of its own.
fn source(
    shared: &Shared,
    id: &str,
    snapshot: Option<&MoRef<mo::VirtualMachineSnapshot>>,
) -> Outcome<Config> {
    let machine = Held::take(shared, id)?.machine;
    match snapshot {
        Some(snapshot) => {
            let found = machine.snapshot(snapshot.value());
            Ok(found.ok_or_else(|| not_found(&snapshot.cast()))?.config.clone())
        }
        None => Ok(machine.config),
    }
}

fn clone_machine(
    shared: &Shared,
    id: &str,
    place: &Place,
    name: &str,
    spec: &t::VirtualMachineCloneSpec,
    wishes: &Wishes,
    progress: &mut Progress<'_>,
) -> Outcome<String> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let source = source(shared, id, spec.snapshot.as_ref())?;
    // The guest stands still while its live disks are read, so that the copy is of one moment.
    let _stunned = spec.snapshot.is_none().then(|| stun.lock().unwrap_or_else(PoisonError::into_inner));
    let wish = wishes.datastore().map(|datastore| format!("[{datastore}]"));
    let files = t::VirtualMachineFileInfo { vm_path_name: wish, ..Default::default() };
    let vmx = home(shared, place, name, Some(&files))?;
    let folder = host_of(shared, &vmx.parent())?;
    let made = shared.update(World::next_machine_id);
    let moves = Planner::new(shared, place, &vmx, true).copy(&source, wishes)?;
    let intent = Intent::provisional(&made).makes_home(shared, &vmx)?;
    recovery::carry_out(shared, moves.intent(shared, intent)?, |begun| {
        fs::create_dir_all(&folder).map_err(|error| file_fault(&vmx, &error))?;
        let mut config = (*source).clone();
        name.clone_into(&mut config.name);
        config.template = spec.template;
        config.managed_by = None;
        new_identity(shared, &mut config);
        hardware::set_home(&mut config, &vmx);
        new_addresses(&mut config);
        // A copy is tracked anew, once somebody asks for it.
        config.change_tracking_enabled = Some(false);
        moves.carry_out(shared, false, progress)?;
        name_copies(&mut config, &moves);
        if let Some(wish) = &spec.config {
            let target = Target { vmx: &vmx, power: Power::Off, has_snapshots: false };
            let plan = shared.read(|world| configure::plan(world, &target, &config, wish))?;
            begun.replace(shared, plan.intent(shared, begun.intent().clone())?)?;
            configure::make(shared, &plan.files, progress)?;
            config = plan.config;
        }
        let config = configure::finished(shared, &made, Power::Off, config);
        insert(shared, &made, place, config)?;
        shared.update(|world| {
            let source = t::VmEventArgument {
                vm: moref(id),
                base: t::EntityEventArgument { name: machine.name().to_owned(), ..Default::default() },
            };
            let event = t::VmClonedEvent { source_vm: source, ..Default::default() };
            world.post_of_machine(&made, event, "is cloned");
        });
        Ok(made.clone())
    })
}

/// Lets the disks of a copied configuration be the copies.
fn name_copies(config: &mut t::VirtualMachineConfigInfo, moves: &Moves) {
    for disk in machine::disks(config) {
        let (Some(path), Some(uuid)) = (moves.renamed.get(&disk.path), moves.uuid_of(&disk.path)) else {
            continue;
        };
        let device = config.hardware.device.iter_mut().find(|device| device.key == disk.key);
        if let Some(device) = device.and_then(|device| device.downcast_mut::<t::VirtualDisk>()) {
            with_file(device, path, uuid.dashed());
        }
    }
}

/// `VirtualMachine.RelocateVM_Task`: to another host or pool at once; to other datastores by copying.
pub(crate) fn relocate(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let spec: t::VirtualMachineRelocateSpec = call.required("spec")?;
    check_service(&spec)?;
    let id = call.this.value().to_owned();
    lease::check_chains(shared, &id)?;
    let place = shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        let folder = spec.folder.as_ref().map_or(machine.folder.as_str(), |folder| folder.value());
        let folder: MoRef = moref::<mo::Folder>(folder).cast();
        destination(world, machine, &folder, &spec, machine.config.template)
    })?;
    let config = source(shared, &id, None)?;
    let wishes = Wishes::of(shared, &config, &spec, Way::All)?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 100)?;
        relocate_machine(shared, &id, &place, &wishes, progress).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.relocate", work)
}

fn relocate_machine(
    shared: &Shared,
    id: &str,
    place: &Place,
    wishes: &Wishes,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let old = machine.vmx().ok_or_else(|| invalid_argument("spec", "The machine has no files."))?;
    let goes = wishes.datastore().filter(|datastore| *datastore != old.datastore());
    let vmx = match goes {
        Some(datastore) => {
            let wish = Some(format!("[{datastore}]"));
            let files = t::VirtualMachineFileInfo { vm_path_name: wish, ..Default::default() };
            home(shared, place, machine.name(), Some(&files))?
        }
        None => old.clone(),
    };
    let moves = Planner::new(shared, place, &vmx, false).relocate(&machine, wishes)?;
    let moved = |machine: &mut Machine| {
        machine.folder.clone_from(&place.folder);
        machine.pool.clone_from(&place.pool);
        machine.host.clone_from(&place.host);
    };
    if goes.is_none() && moves.is_empty() {
        shared.update(|world| world.machine_mut(id).map(moved));
        return Ok(());
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    for link in chain::links(shared, &machine.disks())? {
        chain::check_free(&link.host, &link.path)?;
    }
    let mut after = machine.clone();
    hardware::set_home(after.config_mut(), &vmx);
    after.snapshots.iter_mut().for_each(|kept| hardware::set_home(Arc::make_mut(&mut kept.config), &vmx));
    let mut intent = moves.intent(shared, Intent::of(id).stunned().removes_all(shared, &machine)?)?;
    if goes.is_some() {
        intent = intent.makes_home(shared, &vmx)?;
        for snapshot in &machine.snapshots {
            intent = intent.makes_snapshot(shared, &after, snapshot.number)?;
        }
    }
    // The disks of a machine that is off are others then, whose changes are tracked anew, unless that is not wanted. One
    // that is on goes on with its own.
    let tracked = machine.power == Power::On || !shared.settings.tracking.renewed_by_relocation;
    recovery::carry_out(shared, intent, |_| {
        let folder = host_of(shared, &vmx.parent())?;
        fs::create_dir_all(&folder).map_err(|error| file_fault(&vmx, &error))?;
        if goes.is_some() {
            copy_states(shared, &machine, &after)?;
        }
        moves.carry_out(shared, tracked, progress)?;
        shared.read(|world| {
            for config in std::iter::once(&mut after.config)
                .chain(after.snapshots.iter_mut().map(|kept| &mut kept.config))
            {
                follow_moves(world, Arc::make_mut(config), &moves, tracked);
            }
        });
        let config = configure::finished(shared, id, machine.power, (*after.config).clone());
        shared.update(|world| {
            if let Some(machine) = world.machine_mut(id) {
                machine.config = config;
                machine.snapshots = after.snapshots;
                moved(machine);
            }
        });
        Ok(())
    })
}

/// Lets a configuration name the links that its disks have become.
fn follow_moves(world: &World, config: &mut t::VirtualMachineConfigInfo, moves: &Moves, tracked: bool) {
    let disks = machine::disks(config);
    let path_of = |key| {
        let disk = disks.iter().find(|disk| disk.key == key)?;
        moves.renamed.get(&disk.path).cloned()
    };
    chain::follow(world, config, &path_of);
    if !tracked {
        // What they were tracked by is gone.
        snapshots::forget_change_ids(config, &|key| path_of(key).is_some());
    }
    config.datastore_url = world.datastore_urls(config);
}

/// Copies what a host keeps beside a machine's disks: the firmware's settings, and the states of snapshots.
fn copy_states(shared: &Shared, before: &Machine, after: &Machine) -> Outcome<()> {
    let nvram = |machine: &Machine| {
        let vmx = machine.vmx()?;
        vmx.sibling(&format!("{}.nvram", vmx.file_name().trim_end_matches(".vmx"))).ok()
    };
    let numbers = || before.snapshots.iter().map(|snapshot| snapshot.number);
    let old = nvram(before).into_iter().chain(numbers().flat_map(|number| before.snapshot_files(number)));
    let new = nvram(after).into_iter().chain(numbers().flat_map(|number| after.snapshot_files(number)));
    for (from, to) in old.zip(new) {
        let (source, target) = (host_of(shared, &from)?, host_of(shared, &to)?);
        if source.exists() {
            let metadata = fs::metadata(&source).map_err(|error| file_fault(&from, &error))?;
            host_file::claim(&target, metadata.len()).map_err(|error| file_fault(&to, &error))?;
            host_file::copy(&source, &target).map_err(|error| file_fault(&to, &error))?;
        }
    }
    Ok(())
}

fn destination(
    world: &World,
    machine: &Machine,
    folder: &MoRef,
    spec: &t::VirtualMachineRelocateSpec,
    template: bool,
) -> Outcome<Place> {
    let host = match (&spec.host, &spec.pool) {
        (Some(host), _) => Some(host.clone()),
        // Any host of the pool's cluster will do; the present one is best.
        (None, Some(pool)) => {
            let tree = &world.stored.tree;
            let owner = |id: &str| tree.owner_of(id).map(|owner| owner.id.clone());
            (owner(pool.value()) == owner(&machine.host)).then(|| moref(&machine.host))
        }
        (None, None) => Some(moref(&machine.host)),
    };
    let mine = machine.pool.as_deref().map(moref::<mo::ResourcePool>);
    let pool = spec.pool.clone().or_else(|| mine.filter(|_| spec.host.is_none()));
    let mut found = place(world, folder, pool.as_ref(), host.as_ref())?;
    if template {
        found.pool = None;
    }
    Ok(found)
}

fn check_service(spec: &t::VirtualMachineRelocateSpec) -> Outcome<()> {
    match &spec.service {
        Some(_) => Err(fault(t::NotSupported::default(), "The simulator has no moves to another vCenter.")),
        None => Ok(()),
    }
}
