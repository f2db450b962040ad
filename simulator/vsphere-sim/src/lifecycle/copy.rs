//! `CloneVM_Task` and `RelocateVM_Task`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use sim_store::{DatastorePath, DiskSpec, DiskUuid, tracking};
use vim_api::dynamic::Element;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{check_name, file_fault, home, host_of, insert, new_addresses, new_identity, place, with_file};
use crate::chain::{self, Held};
use crate::configure::{self, Target};
use crate::disks;
use crate::fault::{Outcome, fault, from_store, invalid_argument, not_found};
use crate::hardware;
use crate::host_file;
use crate::inventory::moref;
use crate::lease;
use crate::machine::{self, DiskState, Machine, Place, Power};
use crate::power;
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `VirtualMachine.CloneVM_Task`: of the live disks, or of those of a snapshot.
pub(crate) fn clone(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let folder: MoRef<mo::Folder> = call.required("folder")?;
    let name: String = call.required("name")?;
    let spec: t::VirtualMachineCloneSpec = call.required("spec")?;
    check_moves(&spec.location)?;
    let id = call.this.value().to_owned();
    let place = shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        destination(world, machine, &folder.cast(), &spec.location, spec.template)
    })?;
    let name = check_name(shared, &place.folder, &name, None)?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let made = clone_machine(shared, &id, &place, &name, &spec, progress)?;
        if spec.power_on {
            power::power_on(shared, &made)?;
        }
        Ok(Some(moref::<mo::VirtualMachine>(&made).to_value()))
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.clone", work)
}

fn clone_machine(
    shared: &Shared,
    id: &str,
    place: &Place,
    name: &str,
    spec: &t::VirtualMachineCloneSpec,
    progress: &mut Progress<'_>,
) -> Outcome<String> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let source = match &spec.snapshot {
        Some(snapshot) => {
            let found = machine.snapshot(snapshot.value());
            found.ok_or_else(|| not_found(&snapshot.cast()))?.config.clone()
        }
        None => machine.config.clone(),
    };
    // The guest stands still while its live disks are read, so that the copy is of one moment.
    let _stunned = spec.snapshot.is_none().then(|| stun.lock().unwrap_or_else(PoisonError::into_inner));
    let wish = spec.location.datastore.as_ref().and_then(|datastore| on(shared, datastore));
    let files = t::VirtualMachineFileInfo { vm_path_name: wish, ..Default::default() };
    let vmx = home(shared, place, name, Some(&files))?;
    let folder = host_of(shared, &vmx.parent())?;
    let made = shared.update(World::next_machine_id);
    let intent = Intent::provisional(&made).makes_home(shared, &vmx)?;
    recovery::carry_out(shared, makes_copies(shared, intent, &source, &vmx)?, |begun| {
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
        copy_disks(shared, &mut config, &vmx, true, progress)?;
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

/// `VirtualMachine.RelocateVM_Task`: to another host or pool at once; to another datastore by copying.
pub(crate) fn relocate(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let spec: t::VirtualMachineRelocateSpec = call.required("spec")?;
    check_moves(&spec)?;
    let id = call.this.value().to_owned();
    lease::check_chains(shared, &id)?;
    let place = shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        let folder = spec.folder.as_ref().map_or(machine.folder.as_str(), |folder| folder.value());
        let folder: MoRef = moref::<mo::Folder>(folder).cast();
        destination(world, machine, &folder, &spec, machine.config.template)
    })?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 100)?;
        match moved_home(shared, &id, spec.datastore.as_ref())? {
            Some(target) => move_files(shared, &id, &target, &place, progress)?,
            None => shared.update(|world| {
                if let Some(machine) = world.machine_mut(&id) {
                    settle_at(machine, &place);
                }
            }),
        }
        Ok(None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.relocate", work)
}

/// Where the files of a machine go that is moved to a datastore, unless they are there.
fn moved_home(
    shared: &Shared,
    id: &str,
    datastore: Option<&MoRef<mo::Datastore>>,
) -> Outcome<Option<String>> {
    let Some(datastore) = datastore else { return Ok(None) };
    let machine = Held::take(shared, id)?.machine;
    let old = machine.vmx().ok_or_else(|| invalid_argument("datastore", "The machine has no files."))?;
    let target = on(shared, datastore).ok_or_else(|| not_found(&datastore.cast()))?;
    Ok((target != format!("[{}]", old.datastore())).then_some(target))
}

fn settle_at(machine: &mut Machine, place: &Place) {
    machine.folder.clone_from(&place.folder);
    machine.pool.clone_from(&place.pool);
    machine.host.clone_from(&place.host);
}

fn move_files(
    shared: &Shared,
    id: &str,
    target: &str,
    place: &Place,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    if !machine.snapshots.is_empty() {
        let message = "The simulator does not move a machine with snapshots to another datastore.";
        return Err(fault(t::NotSupported::default(), message));
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    for link in chain::links(shared, &machine.disks())? {
        chain::check_free(&link.host, &link.path)?;
    }
    let files = t::VirtualMachineFileInfo { vm_path_name: Some(target.to_owned()), ..Default::default() };
    let vmx = home(shared, place, machine.name(), Some(&files))?;
    let folder = host_of(shared, &vmx.parent())?;
    // The disks are others, so their changes are tracked anew, unless that is not wanted.
    let intent = Intent::of(id).stunned().removes_all(shared, &machine)?.makes_home(shared, &vmx)?;
    recovery::carry_out(shared, makes_copies(shared, intent, &machine.config, &vmx)?, |_| {
        fs::create_dir_all(&folder).map_err(|error| file_fault(&vmx, &error))?;
        copy_nvram(shared, &machine, &vmx)?;
        let mut config = (*machine.config).clone();
        hardware::set_home(&mut config, &vmx);
        copy_disks(shared, &mut config, &vmx, false, progress)?;
        let config = configure::finished(shared, id, machine.power, config);
        shared.update(|world| {
            if let Some(machine) = world.machine_mut(id) {
                machine.config = config;
                settle_at(machine, place);
            }
        });
        match shared.settings.tracking.renewed_by_relocation {
            true => Ok(()),
            false => keep_tracking(shared, &machine, &Held::take(shared, id)?.machine),
        }
    })
}

/// Has the moved disks go on with the changes that were tracked before.
fn keep_tracking(shared: &Shared, before: &Machine, moved: &Machine) -> Outcome<()> {
    let (from, to) = (chain::links(shared, &before.disks())?, chain::links(shared, &moved.disks())?);
    for (from, to) in from.iter().zip(&to) {
        match tracking::carry_over(&from.host, &to.host) {
            Err(error) if error.is_file_fault() => {}
            done => done.map_err(|error| from_store(&error, &to.path.to_string()))?,
        }
    }
    Ok(())
}

fn copy_nvram(shared: &Shared, machine: &Machine, vmx: &DatastorePath) -> Outcome<()> {
    let Some(old) = machine.vmx() else { return Ok(()) };
    let from = host_of(shared, &old)?.with_extension("nvram");
    if !from.exists() {
        return Ok(());
    }
    let to = host_of(shared, vmx)?.with_extension("nvram");
    host_file::copy(&from, &to).map_err(|error| file_fault(vmx, &error))
}

/// The copies of a configuration's disks beside a `.vmx`, in the order of the disks.
fn copies(config: &t::VirtualMachineConfigInfo, vmx: &DatastorePath) -> Outcome<Vec<DatastorePath>> {
    let stem = vmx.file_name().trim_end_matches(".vmx");
    let names = (0..machine::disks(config).len()).map(|at| machine::disk_name(stem, at));
    names.map(|name| vmx.sibling(&name).map_err(|error| from_store(&error, &name))).collect()
}

fn makes_copies(
    shared: &Shared,
    intent: Intent,
    config: &t::VirtualMachineConfigInfo,
    vmx: &DatastorePath,
) -> Outcome<Intent> {
    copies(config, vmx)?.iter().try_fold(intent, |intent, path| intent.makes_disk(shared, path))
}

/// Copies the disks of a configuration beside another `.vmx`, and lets it name the copies.
fn copy_disks(
    shared: &Shared,
    config: &mut t::VirtualMachineConfigInfo,
    vmx: &DatastorePath,
    new_uuid: bool,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let disks: Vec<DiskState> = machine::disks(config);
    for (path, link) in copies(config, vmx)?.into_iter().zip(chain::links(shared, &disks)?) {
        let name = path.file_name();
        let host: PathBuf = host_of(shared, &path)?;
        let uuid = match new_uuid {
            true => DiskUuid::random().map_err(|error| from_store(&error, name))?,
            false => disks
                .iter()
                .find(|disk| disk.key == link.key)
                .and_then(|disk| crate::population::parse_dashed(&disk.uuid))
                .map_or_else(DiskUuid::random, Ok)
                .map_err(|error| from_store(&error, name))?,
        };
        let spec = DiskSpec { uuid: Some(uuid), ..DiskSpec::thin(link.capacity) };
        disks::copy_to(&link.host, &link.path.to_string(), &host, &path.to_string(), spec, progress)?;
        let device = config.hardware.device.iter_mut().find(|device| device.key == link.key);
        if let Some(disk) = device.and_then(|device| device.downcast_mut::<t::VirtualDisk>()) {
            with_file(disk, &path, uuid.dashed());
        }
    }
    Ok(())
}

fn on(shared: &Shared, datastore: &MoRef<mo::Datastore>) -> Option<String> {
    shared.read(|world| Some(format!("[{}]", world.stored.tree.get(datastore.value())?.files()?.name())))
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

/// What of a specification would need more than the simulator does.
fn check_moves(spec: &t::VirtualMachineRelocateSpec) -> Outcome<()> {
    let refuse = |what: &str| Err(fault(t::NotSupported::default(), format!("The simulator has no {what}.")));
    if spec.service.is_some() {
        return refuse("moves to another vCenter");
    }
    match spec.disk_move_type.as_deref() {
        None
        | Some("moveAllDiskBackingsAndAllowSharing" | "moveAllDiskBackingsAndDisallowSharing")
        | Some("moveAllDiskBackingsAndConsolidate") => Ok(()),
        Some(_) => refuse("linked clones"),
    }
}
