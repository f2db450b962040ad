//! Disks that are made of others: clones, disks of a snapshot's content, and disks that move to another datastore.

use sim_store::{Access, DatastorePath, Disk, DiskSpec, Provisioning, Scope, tracking};
use vim_api::dynamic::Element;
use vim_api::{MoRef, types as t};

use super::hold::Held;
use super::making::{
    Wish, backing, file_of, make, name_of, name_of_datastore, new_id, pairs, provisioning_of, unsupported,
};
use super::{FOLDER, invalid_state, missing, show};
use crate::chain::{self, host_of};
use crate::disks;
use crate::fault::{Outcome, fault, from_store};
use crate::machine::Power;
use crate::random;
use crate::recovery::{self, Intent};
use crate::tasks::{Progress, Work};
use crate::wire::Call;
use crate::world::Shared;

/// `CloneVStorageObject_Task`: of the disk as it is now.
pub(super) fn clone(shared: &Shared, call: &Call) -> Outcome<Work> {
    let source: t::ID = call.required("id")?;
    let spec: t::VslmCloneSpec = call.required("spec")?;
    check_migration(&spec.base)?;
    let id = random::uuid();
    let backing = shared.read(|world| backing(world, &spec.backing_spec, &id))?;
    let wish = Wish {
        id,
        name: name_of("spec.name", &spec.name)?,
        path: backing.path,
        keep_after_delete_vm: spec.keep_after_delete_vm.unwrap_or(false),
        metadata: pairs(spec.metadata),
    };
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &source.id, progress.task())?;
        check_still(&held)?;
        let id = wish.id.clone();
        let provisioning = backing.provisioning.unwrap_or(held.disk.provisioning);
        copy(shared, &held.disk.path, wish, provisioning, progress)?;
        Ok(Some(shared.read(|world| show::object(world, &id))?.to_value()))
    }))
}

/// `CreateDiskFromSnapshot_Task`.
pub(super) fn from_snapshot(shared: &Shared, call: &Call) -> Outcome<Work> {
    let source: t::ID = call.required("id")?;
    let snapshot: t::ID = call.required("snapshotId")?;
    let name = name_of("name", &call.required::<String>("name")?)?;
    if call.optional("isLinkedClone")? == Some(true) {
        return Err(unsupported("The simulator makes no linked clones of first-class disks."));
    }
    if call.raw("crypto").is_some() {
        return Err(unsupported("Disks are not encrypted here."));
    }
    let id = match call.optional::<t::ID>("targetId")? {
        Some(id) => new_id("targetId", &id.id)?,
        None => random::uuid(),
    };
    let folder: Option<String> = call.optional("path")?;
    let provisioning =
        call.optional::<String>("provisioningType")?.map(|text| provisioning_of(&text)).transpose()?;
    let target: Option<MoRef> = call.optional("targetDatastore")?;
    let target = target.map(|target| shared.read(|world| name_of_datastore(world, &target))).transpose()?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &source.id, progress.task())?;
        let found = held.disk.snapshots.iter().find(|found| found.id == snapshot.id);
        let from = found.ok_or_else(|| missing("snapshot", &snapshot.id))?;
        let datastore = target.as_deref().unwrap_or(held.disk.path.datastore());
        let path = file_of(datastore, folder.as_deref().unwrap_or(FOLDER).trim_matches('/'), &id)?;
        let wish = Wish {
            id: id.clone(),
            name,
            path,
            keep_after_delete_vm: held.disk.keep_after_delete_vm,
            metadata: from.metadata.clone(),
        };
        let provisioning = provisioning.unwrap_or(held.disk.provisioning);
        copy(shared, &from.path, wish, provisioning, progress)?;
        Ok(Some(shared.read(|world| show::object(world, &id))?.to_value()))
    }))
}

/// `RelocateVStorageObject_Task`: the disk keeps its id, and its uuid.
pub(super) fn relocate(shared: &Shared, call: &Call) -> Outcome<Work> {
    let id: t::ID = call.required("id")?;
    let spec: t::VslmRelocateSpec = call.required("spec")?;
    check_migration(&spec.base)?;
    let backing = shared.read(|world| backing(world, &spec.backing_spec, &id.id))?;
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take(shared, &id.id, progress.task())?;
        held.check_detached()?;
        held.check_no_snapshots()?;
        if held.disk.relocation_disabled {
            return Err(invalid_state("The disk must not be relocated."));
        }
        let from = held.disk.path.clone();
        if from == backing.path {
            return Err(invalid_state("The disk is there already."));
        }
        let from_host = held.host()?;
        chain::check_free(&from_host, &from)?;
        let (to, text) = (host_of(shared, &backing.path)?, backing.path.to_string());
        let intent = Intent::default().makes_disk(shared, &backing.path)?.removes_links(shared, [&from])?;
        recovery::carry_out(shared, intent, |_| {
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).map_err(|error| crate::files::from_io(&error, &text))?;
            }
            let source = open(shared, &from)?;
            let spec = DiskSpec {
                provisioning: backing.provisioning.unwrap_or(held.disk.provisioning),
                uuid: Some(source.uuid().map_err(|error| from_store(&error, &from.to_string()))?),
                ..shape_of(&source, &from)?
            };
            progress.allow_cancel();
            disks::fill(&source, &from.to_string(), &to, &text, &spec, &mut |done, of| {
                progress.step(done, of)
            })?;
            progress.forbid_cancel()?;
            let provisioning = spec.provisioning;
            track(shared, &held, &backing.path)?;
            shared.update(|world| {
                if let Some(disk) = world.first_class.get_mut(&id.id) {
                    (disk.path, disk.provisioning) = (backing.path.clone(), provisioning);
                }
            });
            Ok(())
        })?;
        tracing::info!(disk = id.id, from = %from, to = text, "first-class disk relocated");
        Ok(Some(shared.read(|world| show::object(world, &id.id))?.to_value()))
    }))
}

/// The tracking of a disk that has moved goes on, or begins anew: as it does with machines.
fn track(shared: &Shared, held: &Held<'_>, path: &DatastorePath) -> Outcome<()> {
    if !held.disk.tracked {
        return Ok(());
    }
    let (from, to) = (held.host()?, host_of(shared, path)?);
    let carried = match shared.settings.tracking.renewed_by_relocation {
        true => false,
        false => match tracking::carry_over(&from, &to) {
            Err(error) if error.is_file_fault() => false,
            done => done.map(|()| true).map_err(|error| from_store(&error, &path.to_string()))?,
        },
    };
    match carried {
        true => Ok(()),
        false => tracking::enable(&to, None).map_err(|error| from_store(&error, &path.to_string())),
    }
}

/// A copy of what is written at the same time would be of no moment.
fn check_still(held: &Held<'_>) -> Outcome<()> {
    match &held.machine {
        Some((machine, _)) if machine.power == Power::On => {
            Err(invalid_state(format!("The disk is in use by the machine {}.", machine.plain_name())))
        }
        _ => Ok(()),
    }
}

/// Makes a disk with the content of a link and of those below it.
fn copy(
    shared: &Shared,
    from: &DatastorePath,
    wish: Wish,
    provisioning: Provisioning,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let source = open(shared, from)?;
    let spec = DiskSpec { provisioning, ..shape_of(&source, from)? };
    make(shared, wish, |host, text| {
        progress.allow_cancel();
        disks::fill(&source, &from.to_string(), host, text, &spec, &mut |done, of| progress.step(done, of))?;
        progress.forbid_cancel()
    })
}

fn open(shared: &Shared, path: &DatastorePath) -> Outcome<Disk> {
    Disk::open(host_of(shared, path)?, Access::ReadOnly, Scope::WholeChain)
        .map_err(|error| from_store(&error, &path.to_string()))
}

/// A disk of the same size on the same adapter.
fn shape_of(source: &Disk, path: &DatastorePath) -> Outcome<DiskSpec> {
    let adapter = source.metadata("adapterType").map_err(|error| from_store(&error, &path.to_string()))?;
    Ok(DiskSpec { adapter, ..DiskSpec::thin(source.capacity()) })
}

/// What of a specification would need more than the simulator does.
fn check_migration(spec: &t::VslmMigrateSpec) -> Outcome<()> {
    if spec.service.is_some() {
        return Err(fault(t::NotSupported::default(), "The simulator moves no disks to another vCenter."));
    }
    match spec.disks_crypto {
        Some(_) => Err(unsupported("Disks are not encrypted here.")),
        None => Ok(()),
    }
}
