//! `VirtualDiskManager`: disks of a datastore, without a machine.

mod ask;
mod content;

use std::path::Path;
use std::sync::Arc;

use sim_store::{Access, DatastorePath, Disk, DiskSpec, DiskUuid, Provisioning, Scope};
use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use crate::chain;
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument};
use crate::fcd;
use crate::files::{self, Named};
use crate::machine::Machine;
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// Carries out a call to the manager.
pub(crate) fn call(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    match call.method.as_str() {
        "CreateVirtualDisk_Task" => create(shared, call, user),
        "CopyVirtualDisk_Task" => copy(shared, call, user),
        "MoveVirtualDisk_Task" => rename(shared, call, user),
        "DeleteVirtualDisk_Task" => delete(shared, call, user),
        "ExtendVirtualDisk_Task" => extend(shared, call, user),
        "InflateVirtualDisk_Task" => content::inflate(shared, call, user),
        "EagerZeroVirtualDisk_Task" => content::eager_zero(shared, call, user),
        "ZeroFillVirtualDisk_Task" => content::zero_fill(shared, call, user),
        "ShrinkVirtualDisk_Task" => content::shrink(shared, call, user),
        "DefragmentVirtualDisk_Task" => content::defragment(shared, call, user),
        "QueryVirtualDiskUuid" => ask::uuid(shared, call),
        "QueryVirtualDiskGeometry" => ask::geometry(shared, call),
        "QueryVirtualDiskFragmentation" => ask::fragmentation(shared, call),
        "QueryVirtualDiskInfo_Task" => ask::info(shared, call, user),
        "SetVirtualDiskUuid" => set_uuid(shared, call),
        "ImportUnmanagedSnapshot" | "ReleaseManagedSnapshot" => {
            Err(unsupported("Only virtual volumes have snapshots of their own."))
        }
        "CreateChildDisk_Task" | "ReparentDisks_Task" => {
            Err(unsupported("Children of disks are made by snapshots of machines only."))
        }
        _ => Err(method_not_found(call)),
    }
}

/// `CreateVirtualDisk_Task`.
fn create(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let spec: Poly<t::VirtualDiskSpec> = call.required("spec")?;
    let file = check_spec("spec", &spec)?;
    let Some(file) = file else { return Err(unsupported("A new disk is made in a file, with a capacity.")) };
    let spec = DiskSpec {
        provisioning: provisioning("spec.diskType", &spec.disk_type)?,
        adapter: adapter("spec.adapterType", &spec.adapter_type)?,
        ..DiskSpec::thin(bytes("spec.capacityKb", file.capacity_kb)?)
    };
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        recovery::carry_out(shared, Intent::default().makes_disk(shared, &disk.path)?, |begun| {
            Disk::create(&disk.host, &spec).map_err(|error| from_store(&error, &disk.text))?;
            begun.replace(shared, Intent::default())
        })?;
        tracing::info!(disk = disk.text, capacity = spec.capacity, "disk made");
        Ok(Some(Value::String(disk.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.createVirtualDisk", Box::new(work)))
}

/// `CopyVirtualDisk_Task`. The copy is a disk of its own, with another uuid and without parents; `destSpec` may give it
/// another format and adapter, but not another capacity.
fn copy(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let mut shape = Shape::default();
    if let Some(spec) = call.optional::<Poly<t::VirtualDiskSpec>>("destSpec")? {
        check_spec("destSpec", &spec)?;
        shape.provisioning = Some(provisioning("destSpec.diskType", &spec.disk_type)?);
        shape.adapter = Some(adapter("destSpec.adapterType", &spec.adapter_type)?);
    }
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        files::check_readable(shared, &from)?;
        copy_disk(shared, &from, &to, force, shape, progress, |_| Ok(Intent::default()))?;
        tracing::info!(from = from.text, to = to.text, "disk copied");
        Ok(Some(Value::String(to.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.copyVirtualDisk", Box::new(work)))
}

/// `MoveVirtualDisk_Task`.
fn rename(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let (from, to, force) = pair(shared, call)?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        files::check_unused(shared, &from)?;
        let shape = Shape { same_uuid: true, ..Shape::default() };
        chain::check_free(&from.host, &from.path)?;
        let after = |shared: &Shared| Intent::default().removes_link(shared, &from.path);
        copy_disk(shared, &from, &to, force, shape, progress, after)?;
        tracing::info!(from = from.text, to = to.text, "disk moved");
        Ok(Some(Value::String(to.text)))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.moveVirtualDisk", Box::new(work)))
}

/// `DeleteVirtualDisk_Task`.
fn delete(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        files::check_unused(shared, &disk)?;
        recovery::carry_out(shared, Intent::default().removes_link(shared, &disk.path)?, |_| {
            sim_store::delete(&disk.host).map_err(|error| from_store(&error, &disk.text))
        })?;
        tracing::info!(disk = disk.text, "disk deleted");
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.deleteVirtualDisk", Box::new(work)))
}

/// `ExtendVirtualDisk_Task`. What is added to an eagerly zeroed disk is zeroed only if that is asked for; otherwise the
/// disk does not count as eagerly zeroed any more. [K, uncertain]
fn extend(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let capacity = bytes("newCapacityKb", call.required("newCapacityKb")?)?;
    let eager = call.optional("eagerZero")?.unwrap_or(false);
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        files::check_unused(shared, &disk)?;
        let failed = |error| from_store(&error, &disk.text);
        let provisioning = open(&disk, Access::ReadOnly)?.provisioning();
        recovery::carry_out(shared, Intent::default().shows(&disk.path), |_| {
            sim_store::grow(&disk.host, capacity).map_err(failed)?;
            if provisioning == Provisioning::EagerThick && !eager {
                sim_store::set_provisioning(&disk.host, Provisioning::LazyThick).map_err(failed)?;
            }
            Ok(())
        })?;
        tracing::info!(disk = disk.text, capacity, "disk grown");
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.extendVirtualDisk", Box::new(work)))
}

/// `SetVirtualDiskUuid`.
fn set_uuid(shared: &Shared, call: &Call) -> Outcome<Answer> {
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

/// Lets the machines that have a disk, and the first-class disk that it is, show what it has become.
pub(crate) fn show_machines(shared: &Shared, path: &DatastorePath) -> Outcome<()> {
    let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
    let opened =
        Disk::open(&chain::host_of(shared, path)?, Access::ReadOnly, Scope::WholeChain).map_err(failed)?;
    let (capacity, provisioning) = (opened.capacity(), opened.provisioning());
    shared.update(|world| {
        fcd::show(world, path, capacity, provisioning);
        let has = |machine: &&Machine| machine.disks().iter().any(|found| found.path == *path);
        let owners: Vec<_> = world.machines().filter(has).map(|machine| machine.id.clone()).collect();
        for id in owners {
            let Some(machine) = world.machine_mut(&id) else { continue };
            let devices = machine.config_mut().hardware.device.iter_mut();
            for found in devices.filter_map(|device| device.downcast_mut::<t::VirtualDisk>()) {
                show(found, path, capacity, provisioning);
            }
        }
    });
    Ok(())
}

/// Shows a disk as it is now, if it is the one at that path.
fn show(disk: &mut t::VirtualDisk, path: &DatastorePath, capacity: u64, provisioning: Provisioning) {
    let backing = disk.base.backing.as_mut();
    let Some(backing) = backing.and_then(|b| b.downcast_mut::<t::VirtualDiskFlatVer2BackingInfo>()) else {
        return;
    };
    if backing.file_name != path.to_string() {
        return;
    }
    backing.thin_provisioned = Some(provisioning == Provisioning::Thin);
    backing.eagerly_scrub = Some(provisioning == Provisioning::EagerThick);
    disk.capacity_in_kb = i64::try_from(capacity / 1024).unwrap_or(i64::MAX);
    disk.capacity_in_bytes = i64::try_from(capacity).ok();
}

fn pair(shared: &Shared, call: &Call) -> Outcome<(Named, Named, bool)> {
    let from = files::named(shared, call, "sourceName", "sourceDatacenter")?;
    let to = files::named(shared, call, "destName", "destDatacenter")?;
    if from.host == to.host {
        return Err(invalid_argument("destName", "It is the source itself."));
    }
    Ok((from, to, call.optional("force")?.unwrap_or(false)))
}

/// In what a copy differs from its source.
#[derive(Default)]
struct Shape {
    provisioning: Option<Provisioning>,
    adapter: Option<String>,
    same_uuid: bool,
}

fn copy_disk(
    shared: &Shared,
    from: &Named,
    to: &Named,
    force: bool,
    shape: Shape,
    progress: &mut Progress<'_>,
    after: impl FnOnce(&Shared) -> Outcome<Intent>,
) -> Outcome<()> {
    let source = open(from, Access::ReadOnly)?;
    let of_source = |error| from_store(&error, &from.text);
    let of_target = |error| from_store(&error, &to.text);
    let spec = DiskSpec {
        provisioning: shape.provisioning.unwrap_or(source.provisioning()),
        adapter: match shape.adapter {
            Some(adapter) => adapter,
            None => source.metadata("adapterType").map_err(of_source)?,
        },
        uuid: if shape.same_uuid { Some(source.uuid().map_err(of_source)?) } else { None },
        ..DiskSpec::thin(source.capacity())
    };
    let mut intent = Intent::default();
    let replaces = force && to.host.exists();
    if replaces {
        files::check_unused(shared, to)?;
        intent = intent.removes_link(shared, &to.path)?;
    }
    recovery::carry_out(shared, intent.makes_disk(shared, &to.path)?, |begun| {
        if replaces {
            sim_store::delete(&to.host).map_err(of_target)?;
        }
        progress.allow_cancel();
        fill(&source, &from.text, &to.host, &to.text, &spec, &mut |done, of| progress.step(done, of))?;
        progress.forbid_cancel()?;
        begun.replace(shared, after(shared)?)
    })
}

/// Makes a disk with the bytes of another, on an adapter and with space as there. `from_text` and `to_text` are the
/// datastore paths, for what goes wrong.
pub(crate) fn copy_to(
    from: &Path,
    from_text: &str,
    to: &Path,
    to_text: &str,
    spec: DiskSpec,
    progress: &mut dyn FnMut(u64, u64) -> Outcome<()>,
) -> Outcome<()> {
    let of_source = |error| from_store(&error, from_text);
    let source = Disk::open(from, Access::ReadOnly, Scope::WholeChain).map_err(of_source)?;
    let spec = DiskSpec {
        provisioning: source.provisioning(),
        adapter: source.metadata("adapterType").map_err(of_source)?,
        ..spec
    };
    fill(&source, from_text, to, to_text, &spec, progress)
}

/// Makes a disk of a specification with the bytes of another.
pub(crate) fn fill(
    source: &Disk,
    from_text: &str,
    to: &Path,
    to_text: &str,
    spec: &DiskSpec,
    progress: &mut dyn FnMut(u64, u64) -> Outcome<()>,
) -> Outcome<()> {
    let of_target = |error| from_store(&error, to_text);
    let target = Disk::create(to, spec).map_err(of_target)?;
    copy_bytes(source, &target, progress, &|error| from_store(&error, from_text), &of_target)
}

fn copy_bytes(
    source: &Disk,
    target: &Disk,
    progress: &mut dyn FnMut(u64, u64) -> Outcome<()>,
    of_source: &dyn Fn(sim_store::Error) -> Fault,
    of_target: &dyn Fn(sim_store::Error) -> Fault,
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
            // An eagerly zeroed disk is allocated everywhere, and mostly zeros.
            if piece.iter().any(|&byte| byte != 0) {
                target.write_at(at, piece).map_err(of_target)?;
            }
            at += length;
            progress(at, capacity)?;
        }
    }
    Ok(())
}

/// Refuses the kinds of disks that are not made here. Answers what a spec says of a disk in a file.
fn check_spec<'s>(
    argument: &str,
    spec: &'s Poly<t::VirtualDiskSpec>,
) -> Outcome<Option<&'s t::FileBackedVirtualDiskSpec>> {
    if spec.is::<t::DeviceBackedVirtualDiskSpec>() {
        return Err(unsupported("The host has no devices that a disk could be mapped to."));
    }
    if spec.is::<t::SeSparseVirtualDiskSpec>() {
        return Err(unsupported("The format seSparse is for snapshots, and not for disks of their own."));
    }
    let file = spec.downcast_ref::<t::FileBackedVirtualDiskSpec>();
    if file.is_some_and(|file| file.crypto.is_some()) {
        return Err(unsupported("Disks are not encrypted here."));
    }
    match file.and_then(|file| file.sector_format.as_deref()) {
        None | Some("native_512" | "emulated_512") => Ok(file),
        Some("native_4k") => Err(unsupported("Disks have sectors of 512 bytes here.")),
        Some(other) => Err(invalid_argument(
            &format!("{argument}.sectorFormat"),
            format!("There is no format {other:?}."),
        )),
    }
}

fn provisioning(argument: &str, disk_type: &str) -> Outcome<Provisioning> {
    match disk_type {
        "thin" => Ok(Provisioning::Thin),
        "preallocated" | "thick" => Ok(Provisioning::LazyThick),
        "eagerZeroedThick" => Ok(Provisioning::EagerThick),
        "seSparse" | "delta" => Err(unsupported(&format!(
            "The format {disk_type} is for snapshots, and not for disks of their own."
        ))),
        "rdm" | "rdmp" | "raw" => Err(unsupported("The host has no devices that a disk could be mapped to.")),
        "sparse2Gb" | "thick2Gb" | "sparseMonolithic" | "flatMonolithic" => {
            Err(unsupported(&format!("Disks of the format {disk_type} are not for datastores.")))
        }
        other => Err(invalid_argument(argument, format!("There is no disk type {other:?}."))),
    }
}

/// As descriptors write it.
fn adapter(argument: &str, adapter: &str) -> Outcome<String> {
    let known = ["ide", "buslogic", "lsilogic", "pvscsi"];
    let wanted = adapter.to_lowercase();
    if known.contains(&wanted.as_str()) {
        return Ok(wanted);
    }
    Err(invalid_argument(argument, format!("There is no adapter type {adapter:?}.")))
}

fn unsupported(why: &str) -> Fault {
    fault(t::NotSupported::default(), why)
}

fn bytes(property: &str, kib: i64) -> Outcome<u64> {
    let bytes = u64::try_from(kib).ok().and_then(|kib| kib.checked_mul(1024));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| invalid_argument(property, "The capacity makes no sense."))
}
