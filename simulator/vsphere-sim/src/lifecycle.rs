//! Machines that come and go: creating, registering, copying, moving, removing; and folders.

mod copy;
mod folders;
mod moves;
mod register;

use std::fs;
use std::sync::{Arc, PoisonError};

use sim_store::DatastorePath;
use vim_api::dynamic::{Element, Poly};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::chain::{self, Held};
use crate::configure::{self, Target};
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument, no_disk_space, not_found};
use crate::fcd;
use crate::hardware;
use crate::host_file;
use crate::inventory::tree::{Entity, Holds, Kind};
use crate::inventory::{escaped_name, machine_ref, moref, plain};
use crate::lease;
use crate::machine::{Config, Machine, Place, Power};
use crate::random;
use crate::recovery::{self, Begun, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

pub(crate) use copy::{clone, relocate};
pub(crate) use folders::{create_folder, create_pool, destroy_entity, move_into, rename};
pub(crate) use register::{register, reload};

/// `Folder.CreateVM_Task`.
pub(crate) fn create(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let spec: t::VirtualMachineConfigSpec = call.required("config")?;
    let pool: MoRef<mo::ResourcePool> = call.required("pool")?;
    let host: Option<MoRef<mo::HostSystem>> = call.optional("host")?;
    let place = shared.read(|world| place(world, &call.this, Some(&pool), host.as_ref()))?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 4)?;
        let (id, begun) = create_machine(shared, &place, &spec, progress)?;
        begun.finish(shared)?;
        Ok(Some(moref::<mo::VirtualMachine>(&id).to_value()))
    });
    tasks::start_about(shared, &call.this, call, user, "Folder.createVm", work)
}

/// Makes a machine of a specification and answers its id. If anything fails, nothing of it stays; nor does it, until
/// the change that has begun is confirmed.
pub(crate) fn create_machine(
    shared: &Shared,
    place: &Place,
    spec: &t::VirtualMachineConfigSpec,
    progress: &mut Progress<'_>,
) -> Outcome<(String, Begun)> {
    let wish =
        spec.name.as_deref().ok_or_else(|| invalid_argument("config.name", "A machine has a name."))?;
    let name = check_name(shared, &place.folder, wish, None)?;
    let vmx = home(shared, place, &name, spec.files.as_deref())?;
    let guest_id = spec.guest_id.as_deref().unwrap_or("otherGuest64");
    let mut base = hardware::new_config(&name, &vmx, guest_id, shared.settings.version);
    base.version = spec.version.clone().unwrap_or(base.version);
    new_identity(shared, &mut base);
    let id = shared.update(|world| world.next_machine_id());
    let target = Target { vmx: &vmx, power: Power::Off, has_snapshots: false };
    let plan = shared.read(|world| configure::plan(world, &target, &base, spec))?;
    let folder = host_of(shared, &vmx.parent())?;
    let intent = Intent::provisional(&id).makes_home(shared, &vmx)?;
    let begun = recovery::begin(shared, plan.intent(shared, intent)?)?;
    let made = fs::create_dir_all(&folder).map_err(|error| file_fault(&vmx, &error));
    let made = made.and_then(|()| configure::make(shared, &plan.files, progress)).and_then(|()| {
        let mut config = plan.config;
        config.name.clone_from(&name);
        let config = configure::finished(shared, &id, Power::Off, config);
        insert(shared, &id, place, config)
    });
    match made {
        Ok(()) => {
            shared.update(|world| world.post_of_machine(&id, t::VmCreatedEvent::default(), "is created"));
            Ok((id, begun))
        }
        Err(fault) => {
            begun.give_up(shared);
            Err(fault)
        }
    }
}

/// Puts a configured machine into the inventory, off, and writes its files.
fn insert(shared: &Shared, id: &str, place: &Place, config: Config) -> Outcome<()> {
    shared.update(|world| {
        let created = world.clock.now();
        world.insert_machine(Machine::new(id, place, created, Power::Off, config));
    });
    chain::write_text_files(shared, id)
}

/// The firmware's settings, which a host writes when a machine is started first.
pub(crate) fn write_nvram(shared: &Shared, id: &str) -> Outcome<()> {
    let machine = Held::take(shared, id)?.machine;
    let Some(vmx) = machine.vmx() else { return Ok(()) };
    let host = host_of(shared, &vmx)?.with_extension("nvram");
    if host.exists() {
        return Ok(());
    }
    host_file::replace(&host, b"MRVN").map_err(|error| chain::unwritable(&machine, &error))
}

/// Gives a configuration uuids of its own, and the times of its making.
fn new_identity(shared: &Shared, config: &mut t::VirtualMachineConfigInfo) {
    let bios = random::uuid();
    config.location_id = Some(format!("564d{}", bios.get(4..).unwrap_or_default()));
    config.uuid = bios;
    config.instance_uuid = Some(random::uuid());
    let now = shared.read(|world| world.clock.now()).date_time();
    config.change_version = format!("{}#0", now.as_str());
    config.create_date = Some(now.clone());
    config.modified = now;
}

/// `VirtualMachine.UnregisterVM`: the machine leaves the inventory, its files stay.
pub(crate) fn unregister(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let id = call.this.value();
    lease::check_chains(shared, id)?;
    crate::population::materialize(shared, id)?;
    shared.update(|world| {
        let machine = world.machine(id).ok_or_else(|| not_found(&call.this))?;
        if let Some(task) = &machine.busy {
            return Err(crate::fault::task_in_progress(task));
        }
        if machine.power != Power::Off {
            return Err(crate::power::wrong_state(Power::Off, machine.power));
        }
        world.post_of_machine(id, t::VmRemovedEvent::default(), "is removed");
        world.remove_machine(id);
        Ok(Answer::void())
    })
}

/// `ManagedEntity.Destroy_Task` of a machine: it goes with its files.
pub(crate) fn destroy(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    lease::check_chains(shared, &id)?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        destroy_machine(shared, &id).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.destroy", work)
}

/// Removes a machine and its files, but for links on which another machine or disk stands. What else is in its folder
/// stays there.
pub(crate) fn destroy_machine(shared: &Shared, id: &str) -> Outcome<()> {
    lease::check_chains(shared, id)?;
    let Held { machine, stun } = Held::take(shared, id)?;
    if machine.power != Power::Off {
        return Err(crate::power::wrong_state(Power::Off, machine.power));
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    for link in chain::links(shared, &machine.disks())? {
        chain::check_free(&link.host, &link.path)?;
    }
    let intent = Intent::default().removes_all(shared, &machine)?;
    recovery::carry_out(shared, intent, |_| {
        shared.update(|world| {
            world.post_of_machine(id, t::VmRemovedEvent::default(), "is removed");
            if let Some(machine) = world.remove_machine(id) {
                fcd::go_with(world, &machine);
            }
        });
        Ok(())
    })
}

/// `MarkAsTemplate`.
pub(crate) fn mark_as_template(shared: &Shared, call: &Call) -> Outcome<Answer> {
    crate::population::materialize(shared, call.this.value())?;
    change_off(shared, call, |machine| {
        machine.config_mut().template = true;
        machine.pool = None;
    })
}

/// `MarkAsVirtualMachine`.
pub(crate) fn mark_as_machine(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let pool: MoRef<mo::ResourcePool> = call.required("pool")?;
    let host: Option<MoRef<mo::HostSystem>> = call.optional("host")?;
    let place = shared.read(|world| {
        let machine = world.machine(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        let folder: MoRef = moref::<mo::Folder>(&machine.folder).cast();
        place(world, &folder, Some(&pool), host.as_ref())
    })?;
    change_off(shared, call, |machine| {
        machine.config_mut().template = false;
        machine.pool = place.pool;
        machine.host = place.host;
    })
}

fn change_off(shared: &Shared, call: &Call, change: impl FnOnce(&mut Machine)) -> Outcome<Answer> {
    shared.update(|world| {
        let machine = world.machine(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        if let Some(task) = &machine.busy {
            return Err(crate::fault::task_in_progress(task));
        }
        if machine.power != Power::Off {
            return Err(crate::power::wrong_state(Power::Off, machine.power));
        }
        if let Some(machine) = world.machine_mut(call.this.value()) {
            change(machine);
        }
        Ok(Answer::void())
    })
}

/// Where a machine goes that is to be in a folder: a pool names a cluster, of which the host is any if none is named.
pub(crate) fn place(
    world: &World,
    folder: &MoRef,
    pool: Option<&MoRef<mo::ResourcePool>>,
    host: Option<&MoRef<mo::HostSystem>>,
) -> Outcome<Place> {
    let tree = &world.stored.tree;
    let found = tree.find(folder).ok_or_else(|| not_found(folder))?;
    if !matches!(found.kind, Kind::Folder(Holds::Vms)) {
        return Err(fault(t::NotSupported::default(), "The folder does not hold machines."));
    }
    let entity = |object: MoRef| tree.find(&object).ok_or_else(|| not_found(&object));
    let pool = pool.map(|pool| entity(pool.cast())).transpose()?;
    let host = host.map(|host| entity(host.cast())).transpose()?;
    let owner = |id: &Entity| tree.owner_of(&id.id).map(|owner| owner.id.clone());
    if let (Some(pool), Some(host)) = (pool, host)
        && owner(pool) != owner(host)
    {
        return Err(invalid_argument("host", "The host is not in the cluster of the resource pool."));
    }
    let cluster = pool.or(host).and_then(owner);
    let cluster = cluster.ok_or_else(|| invalid_argument("pool", "A pool or a host has to be named."))?;
    let host = match host {
        Some(host) => host,
        None => tree
            .hosts_of(&cluster)
            .next()
            .ok_or_else(|| invalid_argument("pool", "The cluster has no host."))?,
    };
    if tree.datacenter_of(&found.id).map(|home| &home.id) != tree.datacenter_of(&host.id).map(|home| &home.id)
    {
        return Err(invalid_argument("host", "The folder is in another datacenter."));
    }
    let root = tree.root_pool(&cluster).map(|pool| pool.id.clone());
    Ok(Place {
        folder: found.id.clone(),
        pool: pool.map(|pool| pool.id.clone()).or(root),
        host: host.id.clone(),
    })
}

/// A name that a machine or folder can have in a folder, as the API shows it.
pub(crate) fn check_name(shared: &Shared, folder: &str, name: &str, except: Option<&str>) -> Outcome<String> {
    let shown = escaped_name(name);
    let length = plain(&shown).chars().count();
    if !(1..=80).contains(&length) {
        let value = t::InvalidName { name: name.to_owned(), ..Default::default() };
        return Err(fault(
            value,
            format!("The name \"{name}\" is invalid: it must have 1 to 80 characters."),
        ));
    }
    let taken = shared.read(|world| {
        let mut machines = world.machines();
        let machine = machines
            .find(|other| {
                other.folder == folder && other.name() == shown && Some(other.id.as_str()) != except
            })
            .map(|other| machine_ref(other).cast());
        let mut entities = world.stored.tree.children(folder);
        machine.or_else(|| {
            let other = entities.find(|other| other.name == shown && Some(other.id.as_str()) != except);
            other.map(Entity::reference)
        })
    });
    match taken {
        None => Ok(shown),
        Some(object) => {
            let value = t::DuplicateName { name: shown, object: object.cast(), ..Default::default() };
            Err(fault(value, format!("The name '{name}' already exists.")))
        }
    }
}

/// The `.vmx` of a new machine: where its specification says, or in a folder of its name on the first datastore.
fn home(
    shared: &Shared,
    place: &Place,
    name: &str,
    files: Option<&t::VirtualMachineFileInfo>,
) -> Outcome<DatastorePath> {
    let wish = files.and_then(|files| files.vm_path_name.as_deref()).unwrap_or_default();
    let invalid = |text: &str| {
        let value = t::InvalidDatastorePath { datastore_path: text.to_owned(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{text}'."))
    };
    let wish: Option<DatastorePath> = match wish.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid(text))?),
    };
    if let Some(path) = wish.as_ref().filter(|path| path.file_name().ends_with(".vmx")) {
        let host = host_of(shared, path)?;
        if host.exists() {
            let base = t::FileFault { file: path.to_string(), ..Default::default() };
            return Err(fault(t::FileAlreadyExists { base }, format!("File {path} already exists")));
        }
        return Ok(path.clone());
    }
    let datastore = match &wish {
        Some(path) => path.datastore().to_owned(),
        None => shared
            .read(|world| {
                let first = world.datastores_of(&place.host).into_iter().next()?;
                Some(world.stored.tree.get(first.value())?.files()?.name().to_owned())
            })
            .ok_or_else(|| invalid_argument("config.files", "The host has no datastore."))?,
    };
    let stem = file_stem(&plain(name));
    let parent = wish.map(|path| path.relative().to_owned()).filter(|folder| !folder.is_empty());
    for number in 0..1000 {
        let folder = match (&parent, number) {
            (Some(parent), 0) => parent.clone(),
            (Some(parent), number) => format!("{parent}_{number}"),
            (None, 0) => stem.clone(),
            (None, number) => format!("{stem}_{number}"),
        };
        let path = DatastorePath::new(&datastore, &format!("{folder}/{stem}.vmx"))
            .map_err(|error| from_store(&error, &folder))?;
        let is_free = !host_of(shared, &path.parent())?.exists()
            || parent.is_some() && !host_of(shared, &path)?.exists();
        if is_free && crate::population::untouched_in(shared, &path).is_none() {
            return Ok(path);
        }
    }
    Err(invalid_argument("config.files", "All folders of that name are taken."))
}

/// A machine's name as the name of files: what cannot stand in one becomes an underscore.
pub(crate) fn file_stem(name: &str) -> String {
    let plain = |c: char| if c.is_control() || "/\\\"[]".contains(c) { '_' } else { c };
    let stem: String = name.chars().map(plain).collect();
    match stem.trim_matches(['.', ' ']) {
        "" => "vm".to_owned(),
        stem => stem.to_owned(),
    }
}

fn host_of(shared: &Shared, path: &DatastorePath) -> Outcome<std::path::PathBuf> {
    shared.read(|world| {
        if world.stored.tree.datastore(path.datastore()).is_none() {
            let name = path.datastore().to_owned();
            let message = format!("There is no datastore \"{name}\".");
            return Err(fault(t::InvalidDatastore { name: Some(name), ..Default::default() }, message));
        }
        world.resolve(path).map_err(|error| from_store(&error, &path.to_string()))
    })
}

fn file_fault(path: &DatastorePath, error: &std::io::Error) -> Fault {
    let base = t::FileFault { file: path.to_string(), ..Default::default() };
    let message = format!("{path}: {error}");
    match error.kind() {
        std::io::ErrorKind::NotFound => fault(t::FileNotFound { base }, message),
        std::io::ErrorKind::StorageFull => no_disk_space(&path.to_string(), message),
        _ => fault(base, message),
    }
}

/// Gives every network adapter whose address was handed out another one.
fn new_addresses(config: &mut t::VirtualMachineConfigInfo) {
    for device in &mut config.hardware.device {
        if let Some(card) = device.downcast_mut::<t::VirtualEthernetCard>()
            && card.address_type.as_deref() != Some("manual")
        {
            card.mac_address = Some(random::mac());
        }
    }
}

/// A disk's device with another backing.
fn with_file(disk: &mut t::VirtualDisk, path: &DatastorePath, uuid: String) {
    if let Some(before) = crate::machine::flat(disk) {
        let mut backing = before.clone();
        backing.base.file_name = path.to_string();
        backing.base.datastore = None;
        backing.uuid = Some(uuid);
        backing.parent = None;
        backing.change_id = None;
        disk.base.backing = Some(Poly::new(backing));
        disk.disk_object_id = None;
    }
}
