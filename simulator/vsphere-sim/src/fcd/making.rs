//! Disks that come and go: made new, taken over from a file, deleted, or found to be gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sim_store::{Access, DatastorePath, Disk, DiskSpec, LinkKind, Provisioning, Scope};
use vim_api::dynamic::{Element, Poly};
use vim_api::{MoRef, types as t};

use super::hold::Held;
use super::operation::no_datastore;
use super::{FOLDER, FirstClassDisk, invalid_state, show};
use crate::chain::{self, host_of};
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument};
use crate::files;
use crate::machine::{Machine, Snapshot};
use crate::random;
use crate::recovery::{self, Intent};
use crate::tasks::{Progress, Work};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// What a new disk shall be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Where its file goes.
    pub(crate) path: DatastorePath,
    pub(crate) keep_after_delete_vm: bool,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Where a specification wants a disk, and how it takes its space.
pub(super) struct Backing {
    pub(super) path: DatastorePath,
    /// As another disk does, if it does not say.
    pub(super) provisioning: Option<Provisioning>,
}

impl Wish {
    /// A disk in the usual folder of a datastore.
    ///
    /// # Errors
    /// For a name that no datastore can have.
    pub(crate) fn new(name: &str, datastore: &str) -> Outcome<Self> {
        let id = random::uuid();
        let path = file_of(datastore, FOLDER, &id)?;
        Ok(Self { name: name.to_owned(), path, id, keep_after_delete_vm: false, metadata: BTreeMap::new() })
    }
}

/// `CreateDisk_Task`.
pub(super) fn start(shared: &Shared, call: &Call) -> Outcome<Work> {
    let spec: t::VslmCreateSpec = call.required("spec")?;
    let id = match &spec.id {
        Some(id) => new_id("spec.id", &id.id)?,
        None => random::uuid(),
    };
    if spec.crypto.is_some() {
        return Err(unsupported("Disks are not encrypted here."));
    }
    let backing = shared.read(|world| backing(world, &spec.backing_spec, &id))?;
    let capacity = bytes("spec.capacityInMB", spec.capacity_in_mb)?;
    let wish = Wish {
        id,
        name: name_of("spec.name", &spec.name)?,
        path: backing.path,
        keep_after_delete_vm: spec.keep_after_delete_vm.unwrap_or(false),
        metadata: pairs(spec.metadata),
    };
    let provisioning = backing.provisioning.unwrap_or_default();
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        let id = wish.id.clone();
        create(shared, wish, &DiskSpec { provisioning, ..DiskSpec::thin(capacity) })?;
        Ok(Some(shared.read(|world| show::object(world, &id))?.to_value()))
    }))
}

/// Makes an empty disk.
///
/// # Errors
/// Those of making its file; `AlreadyExists` for an id that is in use.
pub(crate) fn create(shared: &Shared, wish: Wish, spec: &DiskSpec) -> Outcome<()> {
    make(shared, wish, |host, text| {
        Disk::create(host, spec).map(|_| ()).map_err(|error| from_store(&error, text))
    })
}

/// Makes a disk, whose file `fill` makes: it is told where, on this machine and on the datastore.
pub(super) fn make(
    shared: &Shared,
    wish: Wish,
    fill: impl FnOnce(&Path, &str) -> Outcome<()>,
) -> Outcome<()> {
    let (host, text) = (host_of(shared, &wish.path)?, wish.path.to_string());
    recovery::carry_out(shared, Intent::default().makes_disk(shared, &wish.path)?, |_| {
        if let Some(folder) = host.parent() {
            fs::create_dir_all(folder).map_err(|error| files::from_io(&error, &text))?;
        }
        fill(&host, &text)?;
        insert(shared, wish)
    })
}

/// Takes a disk, whose file there is, into the catalogue.
fn insert(shared: &Shared, wish: Wish) -> Outcome<()> {
    let failed = |error| from_store(&error, &wish.path.to_string());
    let opened =
        Disk::open(host_of(shared, &wish.path)?, Access::ReadOnly, Scope::WholeChain).map_err(failed)?;
    let tracked = opened.links().first().is_some_and(|link| link.change_track.is_some());
    shared.update(|world| {
        if world.first_class.get(&wish.id).is_some() {
            return Err(exists(&wish.id));
        }
        let disk = FirstClassDisk {
            id: wish.id,
            name: wish.name,
            created: world.clock.now(),
            path: wish.path,
            capacity: opened.capacity(),
            provisioning: opened.provisioning(),
            keep_after_delete_vm: wish.keep_after_delete_vm,
            relocation_disabled: false,
            tracked,
            metadata: wish.metadata,
            snapshots: Vec::new(),
            busy: None,
        };
        world.first_class.insert(disk);
        Ok(())
    })
}

/// `RegisterDisk`: a disk in a file becomes a first-class disk, and stays where it is.
pub(super) fn register(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let file = files::named(shared, call, "path", "datacenter")?;
    let name: Option<String> = call.optional("name")?;
    let id = match call.optional::<t::ID>("id")? {
        Some(id) => new_id("id", &id.id)?,
        None => random::uuid(),
    };
    let opened = Disk::open(&file.host, Access::ReadOnly, Scope::WholeChain)
        .map_err(|error| from_store(&error, &file.text))?;
    let base = t::FileFault { file: file.text.clone(), ..Default::default() };
    if opened.links().first().is_none_or(|link| link.kind != LinkKind::Flat) {
        return Err(fault(base, "The link of a chain is no disk of its own."));
    }
    let is_it = |disk: &FirstClassDisk| disk.paths().any(|path| *path == file.path);
    let known =
        shared.read(|world| world.first_class.iter().find(|disk| is_it(disk)).map(|disk| disk.id.clone()));
    if let Some(known) = known {
        return Err(exists(&known));
    }
    if let Some(machine) = shared.read(|world| user_of(world, &file.path)) {
        return Err(fault(t::FileLocked { base }, format!("The disk is one of the machine {machine}.")));
    }
    let stem = file.path.file_name().trim_end_matches(".vmdk");
    let wish = Wish {
        name: name_of("name", name.as_deref().unwrap_or(stem))?,
        path: file.path.clone(),
        id: id.clone(),
        keep_after_delete_vm: false,
        metadata: BTreeMap::new(),
    };
    insert(shared, wish)?;
    Ok(Answer::one(call, &shared.read(|world| show::object(world, &id))?))
}

/// The machine that has a file as a disk, now or in a snapshot.
fn user_of(world: &World, path: &DatastorePath) -> Option<String> {
    let has = |machine: &&Machine| {
        let kept = machine.snapshots.iter().flat_map(Snapshot::disks);
        machine.disks().into_iter().chain(kept).any(|disk| disk.path == *path)
    };
    let mut machines = world.machines().filter(|machine| !machine.untouched);
    machines.find(has).map(Machine::plain_name)
}

/// `DeleteVStorageObject_Task`: the disk goes with its snapshots and its files.
pub(super) fn delete(call: &Call) -> Outcome<Work> {
    let id: t::ID = call.required("id")?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &id.id, progress.task())?;
        held.check_detached()?;
        if let Some(machine) = shared.read(|world| world.kept_by(&id.id).map(Machine::plain_name).next()) {
            return Err(invalid_state(format!("A snapshot of the machine {machine} has the disk.")));
        }
        progress.fail_early()?;
        chain::check_free(&held.host()?, &held.disk.path)?;
        let intent = Intent::default().removes_links(shared, held.disk.paths())?;
        recovery::carry_out(shared, intent, |_| {
            shared.update(|world| world.first_class.remove(&id.id));
            Ok(())
        })?;
        Ok(None)
    }))
}

/// `ReconcileDatastoreInventory_Task`: disks whose files are gone are none any more.
pub(super) fn reconcile(shared: &Shared, call: &Call) -> Outcome<Work> {
    let datastore = reconciled(shared, call)?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        drop_lost(shared, &datastore);
        Ok(None)
    }))
}

/// `ScheduleReconcileDatastoreInventory`: here it is done at once.
pub(super) fn schedule_reconcile(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let datastore = reconciled(shared, call)?;
    drop_lost(shared, &datastore);
    Ok(Answer::void())
}

fn reconciled(shared: &Shared, call: &Call) -> Outcome<String> {
    let datastore: MoRef = call.required("datastore")?;
    shared.read(|world| name_of_datastore(world, &datastore))
}

fn drop_lost(shared: &Shared, datastore: &str) {
    shared.update(|world| {
        let lost = |disk: &&FirstClassDisk| {
            let is_gone = world.resolve(&disk.path).is_ok_and(|host| !host.exists());
            disk.path.datastore() == datastore
                && is_gone
                && disk.busy.is_none()
                && world.consumer_of(&disk.id).is_none()
        };
        let lost: Vec<String> = world.first_class.iter().filter(lost).map(|disk| disk.id.clone()).collect();
        for id in lost {
            world.first_class.remove(&id);
        }
    });
}

/// What a backing specification says about a disk's file.
pub(super) fn backing(
    world: &World,
    spec: &Poly<t::VslmCreateSpecBackingSpec>,
    id: &str,
) -> Outcome<Backing> {
    if spec.is::<t::VslmCreateSpecRawDiskMappingBackingSpec>() {
        return Err(unsupported("The host has no devices that a disk could be mapped to."));
    }
    let datastore = name_of_datastore(world, &spec.datastore.cast())?;
    let file = spec.downcast_ref::<t::VslmCreateSpecDiskFileBackingSpec>();
    let provisioning = match file.and_then(|file| file.provisioning_type.as_deref()) {
        None => None,
        Some(text) => Some(provisioning_of(text)?),
    };
    let folder = spec.path.as_deref().map(|path| path.trim_matches('/')).filter(|path| !path.is_empty());
    Ok(Backing { path: file_of(&datastore, folder.unwrap_or(FOLDER), id)?, provisioning })
}

/// How a disk of this `provisioningType` takes its space.
pub(super) fn provisioning_of(text: &str) -> Outcome<Provisioning> {
    match text {
        "thin" => Ok(Provisioning::Thin),
        "lazyZeroedThick" => Ok(Provisioning::LazyThick),
        "eagerZeroedThick" => Ok(Provisioning::EagerThick),
        other => {
            Err(invalid_argument("provisioningType", format!("There is no provisioning type {other:?}.")))
        }
    }
}

/// The file of a disk in a folder.
pub(super) fn file_of(datastore: &str, folder: &str, id: &str) -> Outcome<DatastorePath> {
    DatastorePath::new(datastore, &format!("{folder}/{id}.vmdk"))
        .map_err(|error| invalid_argument("backingSpec.path", error.to_string()))
}

pub(super) fn name_of_datastore(world: &World, datastore: &MoRef) -> Outcome<String> {
    let found = world.stored.tree.find(datastore).and_then(|found| found.files());
    found.map(|files| files.name().to_owned()).ok_or_else(|| no_datastore(datastore))
}

pub(super) fn name_of(argument: &str, name: &str) -> Outcome<String> {
    match name.chars().count() {
        1..=80 => Ok(name.to_owned()),
        _ => Err(invalid_argument(argument, "A disk has a name of 1 to 80 characters.")),
    }
}

pub(super) fn pairs(metadata: Vec<t::KeyValue>) -> BTreeMap<String, String> {
    metadata.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// An id that a caller gives a new disk: a uuid, as the server's own are.
pub(super) fn new_id(argument: &str, id: &str) -> Outcome<String> {
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    let parts: Vec<&str> = id.split('-').collect();
    let is_uuid =
        parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| digits(part, length));
    match is_uuid {
        true => Ok(id.to_owned()),
        false => Err(invalid_argument(argument, format!("{id:?} is no uuid."))),
    }
}

pub(super) fn bytes(argument: &str, mebibytes: i64) -> Outcome<u64> {
    let bytes = u64::try_from(mebibytes).ok().and_then(|mebibytes| mebibytes.checked_mul(1 << 20));
    let fits = |bytes: &u64| (1..=sim_store::MAX_CAPACITY).contains(bytes);
    bytes.filter(fits).ok_or_else(|| invalid_argument(argument, "A disk has 1 MB to 62 TB."))
}

pub(super) fn unsupported(why: &str) -> Fault {
    fault(t::NotSupported::default(), why)
}

fn exists(id: &str) -> Fault {
    let value = t::AlreadyExists { name: Some(id.to_owned()), ..Default::default() };
    fault(value, format!("The disk {id} exists already."))
}
