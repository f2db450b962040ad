//! `VirtualDiskManager`: disks of a datastore, without a machine.

use std::sync::Arc;

use sim_store::{Access, Disk, DiskSpec, DiskUuid, Provisioning, Scope};
use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use crate::fault::{Outcome, from_store, invalid_argument};
use crate::files::{self, Named};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// `CreateVirtualDisk_Task`.
pub(crate) fn create(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let spec: Poly<t::VirtualDiskSpec> = call.required("spec")?;
    let Some(spec) = spec.downcast_ref::<t::FileBackedVirtualDiskSpec>() else {
        return Err(invalid_argument("spec", "Only disks in files are made here."));
    };
    let provisioning = match spec.disk_type.as_str() {
        "thin" => Provisioning::Thin,
        "preallocated" => Provisioning::LazyThick,
        "eagerZeroedThick" => Provisioning::EagerThick,
        other => return Err(invalid_argument("spec.diskType", format!("{other} is not made here."))),
    };
    let spec = DiskSpec {
        provisioning,
        adapter: spec.adapter_type.to_lowercase(),
        ..DiskSpec::thin(bytes("spec.capacityKb", spec.capacity_kb)?)
    };
    let work = move |_: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        Disk::create(&disk.host, &spec).map_err(|error| from_store(&error, &disk.text))?;
        Ok(Some(Value::String(disk.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.createVirtualDisk", Box::new(work)))
}

/// `CopyVirtualDisk_Task`. The copy is a disk of its own, with another uuid.
pub(crate) fn copy(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |_: &Shared, progress: &mut Progress<'_>| {
        copy_disk(&from, &to, force, false, progress)?;
        Ok(Some(Value::String(to.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.copyVirtualDisk", Box::new(work)))
}

/// `MoveVirtualDisk_Task`.
pub(crate) fn rename(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        files::check_unused(shared, &from)?;
        copy_disk(&from, &to, force, true, progress)?;
        sim_store::delete(&from.host).map_err(|error| from_store(&error, &from.text))?;
        Ok(Some(Value::String(to.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.moveVirtualDisk", Box::new(work)))
}

/// `DeleteVirtualDisk_Task`.
pub(crate) fn delete(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        files::check_unused(shared, &disk)?;
        sim_store::delete(&disk.host).map_err(|error| from_store(&error, &disk.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.deleteVirtualDisk", Box::new(work)))
}

/// `ExtendVirtualDisk_Task`.
pub(crate) fn extend(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let capacity = bytes("newCapacityKb", call.required("newCapacityKb")?)?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        files::check_unused(shared, &disk)?;
        sim_store::grow(&disk.host, capacity).map_err(|error| from_store(&error, &disk.text))?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.extendVirtualDisk", Box::new(work)))
}

/// `QueryVirtualDiskUuid`, in the form of the descriptor.
pub(crate) fn uuid(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let uuid = open(&disk, Access::ReadOnly)?.uuid().map_err(|error| from_store(&error, &disk.text))?;
    Ok(Answer::one(call, &uuid.to_string()))
}

/// `SetVirtualDiskUuid`.
pub(crate) fn set_uuid(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let uuid: String = call.required("uuid")?;
    let uuid: DiskUuid =
        uuid.parse().map_err(|error: sim_store::Error| invalid_argument("uuid", error.to_string()))?;
    let opened = open(&disk, Access::ReadWrite)?;
    opened.set_metadata("uuid", &uuid.to_string()).map_err(|error| from_store(&error, &disk.text))?;
    Ok(Answer::void())
}

fn open(disk: &Named, access: Access) -> Outcome<Disk> {
    Disk::open(&disk.host, access, Scope::WholeChain).map_err(|error| from_store(&error, &disk.text))
}

fn pair(shared: &Shared, call: &Call) -> Outcome<(Named, Named, bool)> {
    let from = files::named(shared, call, "sourceName", "sourceDatacenter")?;
    let to = files::named(shared, call, "destName", "destDatacenter")?;
    if from.host == to.host {
        return Err(invalid_argument("destName", "It is the source itself."));
    }
    Ok((from, to, call.optional("force")?.unwrap_or(false)))
}

fn copy_disk(
    from: &Named,
    to: &Named,
    force: bool,
    same_uuid: bool,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let source = open(from, Access::ReadOnly)?;
    let of_source = |error| from_store(&error, &from.text);
    let spec = DiskSpec {
        uuid: if same_uuid { Some(source.uuid().map_err(of_source)?) } else { None },
        ..DiskSpec::thin(source.capacity())
    };
    if force && to.host.exists() {
        sim_store::delete(&to.host).map_err(|error| from_store(&error, &to.text))?;
    }
    copy_to(&from.host, &from.text, &to.host, &to.text, spec, progress)
}

/// Makes a disk with the bytes of another, on an adapter and with space as there. `from_text` and `to_text` are the
/// datastore paths, for what goes wrong; what was made of the copy is deleted then.
pub(crate) fn copy_to(
    from: &std::path::Path,
    from_text: &str,
    to: &std::path::Path,
    to_text: &str,
    spec: DiskSpec,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let of_source = |error| from_store(&error, from_text);
    let of_target = |error| from_store(&error, to_text);
    let source = Disk::open(from, Access::ReadOnly, Scope::WholeChain).map_err(of_source)?;
    let spec = DiskSpec {
        provisioning: source.provisioning(),
        adapter: source.metadata("adapterType").map_err(of_source)?,
        ..spec
    };
    let target = Disk::create(to, &spec).map_err(of_target)?;
    let copied = copy_bytes(&source, &target, progress, &of_source, &of_target);
    if copied.is_err() {
        drop(target);
        sim_store::delete(to).map_err(of_target)?;
    }
    copied
}

fn copy_bytes(
    source: &Disk,
    target: &Disk,
    progress: &mut Progress<'_>,
    of_source: &dyn Fn(sim_store::Error) -> crate::fault::Fault,
    of_target: &dyn Fn(sim_store::Error) -> crate::fault::Fault,
) -> Outcome<()> {
    let capacity = source.capacity();
    let mut buffer = vec![0; usize::try_from(PIECE).unwrap_or(usize::MAX)];
    for extent in source.allocated(0, capacity).map_err(of_source)? {
        let end = extent.offset + extent.length;
        let mut at = extent.offset;
        while at < end {
            let length = PIECE.min(end - at);
            let piece = &mut buffer[..usize::try_from(length).unwrap_or(usize::MAX)];
            source.read_at(at, piece).map_err(of_source)?;
            target.write_at(at, piece).map_err(of_target)?;
            at += length;
            progress.step(at, capacity)?;
        }
    }
    Ok(())
}

fn bytes(property: &str, kib: i64) -> Outcome<u64> {
    let bytes = u64::try_from(kib).ok().and_then(|kib| kib.checked_mul(1024));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| invalid_argument(property, "The capacity makes no sense."))
}
