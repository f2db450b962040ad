//! Making, growing and checking disks.

use std::fs::OpenOptions;
use std::path::Path;

use sim_store::DiskUuid;
use vmdk::{AdapterType, Create, CreateType, Disk, ExtentKind, Geometry, SECTOR, Variant};

use super::disk::{LocalDisk, options};
use super::files::{exists, remove};
use super::lock::Lock;
use super::{Progress, check, name_of, rebuild, root, told, told_io};
use crate::code::{Answer, Code};
use crate::connection::{Connection, Target};
use crate::content::Content;
use crate::disk::OpenDisk;
use crate::ffi::log;

const MONOLITHIC_SPARSE: u32 = 1;
pub(super) const MONOLITHIC_FLAT: u32 = 2;
const SPLIT_SPARSE: u32 = 3;
pub(super) const SPLIT_FLAT: u32 = 4;
pub(super) const VMFS_FLAT: u32 = 5;
pub(super) const STREAM_OPTIMIZED: u32 = 6;
const VMFS_THIN: u32 = 7;
const VMFS_SPARSE: u32 = 8;

/// What to create.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) disk_type: u32,
    pub(crate) adapter: u32,
    pub(crate) hardware_version: u16,
    pub(crate) sectors: u64,
}

pub(crate) fn create(connection: &Connection, path: &str, spec: &Spec, progress: Progress<'_>) -> Answer<()> {
    check(connection, "Create", path)?;
    if spec.sectors == 0 {
        return Err(Code::INVALID_ARG);
    }
    let _lock = Lock::take(path)?;
    progress(0);
    told(path, make(path, spec)?.close())?;
    progress(100);
    Ok(())
}

/// Makes the files of a disk and opens it for writing; the lock is the caller's.
pub(super) fn make(path: &str, spec: &Spec) -> Answer<Disk> {
    let capacity = spec.sectors.checked_mul(SECTOR).ok_or(Code::INVALID_ARG)?;
    let create = Create::new(variant(spec.disk_type)?, capacity).adapter(adapter_of(spec.adapter)?);
    let mut disk = told(path, create.create(&root()?, &name_of(path)?))?;
    let marked = disk.edit_descriptor(|descriptor| {
        descriptor.set_ddb("virtualHWVersion", &spec.hardware_version.to_string())?;
        if let Ok(uuid) = DiskUuid::random() {
            descriptor.set_ddb("uuid", &uuid.to_string())?;
            let digits: String = uuid.to_string().chars().filter(char::is_ascii_hexdigit).take(24).collect();
            let cid = descriptor.cid();
            descriptor.set_ddb("longContentID", &format!("{digits}{cid}"))?;
        }
        Ok(())
    });
    match told(path, marked) {
        Ok(()) => Ok(disk),
        Err(code) => {
            drop(disk);
            remove(path);
            Err(code)
        }
    }
}

pub(crate) fn create_child(
    parent: &OpenDisk,
    path: &str,
    disk_type: u32,
    progress: Progress<'_>,
) -> Answer<()> {
    parent.faults().suffer("CreateChild", path)?.settle()?;
    let Content::File(disk) = &parent.content else { return Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT) };
    let variant = match disk_type {
        MONOLITHIC_SPARSE => Variant::MonolithicSparse,
        SPLIT_SPARSE => Variant::SplitSparse,
        _ => {
            log::warn("a child is of type 1 or 3");
            return Err(Code::INVALID_ARG);
        }
    };
    let child = name_of(path)?;
    // The child remembers the content id, which a write that is not in the file yet would change.
    disk.flush()?;
    let _lock = Lock::take(path)?;
    progress(0);
    let made = told(path, vmdk::create_child_as(&root()?, &disk.name, &child, variant))?;
    told(path, made.close())?;
    progress(100);
    Ok(())
}

/// Grows a disk that nobody has open: a flat one where it is, others by writing them anew.
pub(crate) fn grow(
    connection: &Connection,
    path: &str,
    sectors: u64,
    update_geometry: bool,
    progress: Progress<'_>,
) -> Answer<()> {
    check(connection, "Grow", path)?;
    exists(path)?;
    let capacity = sectors.checked_mul(SECTOR).ok_or(Code::INVALID_ARG)?;
    let _lock = Lock::take(path)?;
    let disk = told(path, options(false, true).open(&root()?, &name_of(path)?))?;
    let link = disk.links().first().ok_or(Code::FAIL)?;
    let descriptor = link.descriptor();
    if descriptor.parent_cid().is_some() {
        log::warn("a disk with a parent cannot grow");
        return Err(Code::TYPE_NOT_SUPPORTED);
    }
    if capacity < disk.capacity() {
        log::warn("a disk cannot be made smaller");
        return Err(Code::INVALID_ARG);
    }
    let flat = match descriptor.extents() {
        [one] if matches!(one.kind, ExtentKind::Flat | ExtentKind::Vmfs) => Some(one.clone()),
        _ => None,
    };
    let Some(mut extent) = flat else {
        drop(disk);
        return rebuild::rebuild(path, Some(capacity), update_geometry, progress);
    };
    let mut descriptor = descriptor.clone();
    drop(disk);
    progress(0);
    let file = Path::new(path).with_file_name(extent.file.as_deref().ok_or(Code::FAIL)?);
    let size = capacity + extent.offset.unwrap_or(0) * SECTOR;
    told_io(path, OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(size)))?;
    extent.sectors = sectors;
    told(path, descriptor.set_extents(vec![extent]))?;
    if update_geometry {
        let adapter = descriptor.adapter().unwrap_or(AdapterType::LsiLogic);
        descriptor.set_geometry(Geometry::of(sectors, adapter));
    }
    told_io(path, root()?.replace(&name_of(path)?, &descriptor.to_bytes()))?;
    progress(100);
    Ok(())
}

/// Checks, and perhaps repairs. What was found is told in the log; the answer is about the call.
pub(crate) fn check_repair(connection: &Connection, path: &str, repair: bool) -> Answer<()> {
    connection.faults.suffer("CheckRepair", path)?.settle()?;
    match connection.target {
        Target::Remote(_) => return Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT),
        Target::Local if repair && connection.read_only => return Err(Code::FILE_READ_ONLY),
        Target::Local => exists(path)?,
    }
    let name = name_of(path)?;
    let _lock = Lock::take(path)?;
    let folder = root()?;
    let report = told(path, vmdk::check(&folder, &name, &options(false, true), true))?;
    for finding in &report.findings {
        log::warn(&format!("{}: {}", finding.file, finding.problem));
    }
    if repair && !report.is_clean() {
        let repaired = told(path, vmdk::repair(&folder, &name))?.repaired;
        log::line(&format!("{path}: {repaired} of {} problems were mended", report.problems));
    }
    Ok(())
}

/// The number of a disk's own type.
pub(super) fn type_of(disk: &LocalDisk) -> Answer<u32> {
    disk.with(|open| {
        let link = open.links().first().ok_or(Code::FAIL)?;
        Ok(match link.descriptor().create_type() {
            CreateType::MonolithicSparse => MONOLITHIC_SPARSE,
            CreateType::MonolithicFlat => MONOLITHIC_FLAT,
            CreateType::TwoGbMaxExtentSparse => SPLIT_SPARSE,
            CreateType::TwoGbMaxExtentFlat => SPLIT_FLAT,
            CreateType::StreamOptimized => STREAM_OPTIMIZED,
            CreateType::Vmfs if link.descriptor().is_thin() => VMFS_THIN,
            CreateType::Vmfs => VMFS_FLAT,
            _ => VMFS_SPARSE,
        })
    })
}

pub(super) fn adapter_of(number: u32) -> Answer<AdapterType> {
    Ok(match number {
        1 => AdapterType::Ide,
        2 => AdapterType::BusLogic,
        3 => AdapterType::LsiLogic,
        _ => return Err(Code::INVALID_ARG),
    })
}

fn variant(disk_type: u32) -> Answer<Variant> {
    Ok(match disk_type {
        MONOLITHIC_SPARSE => Variant::MonolithicSparse,
        MONOLITHIC_FLAT => Variant::MonolithicFlat,
        SPLIT_SPARSE => Variant::SplitSparse,
        SPLIT_FLAT => Variant::SplitFlat,
        VMFS_FLAT => Variant::Vmfs,
        VMFS_THIN => Variant::VmfsThin,
        STREAM_OPTIMIZED | VMFS_SPARSE => {
            log::warn(&format!("disks of type {disk_type} cannot be created"));
            return Err(Code::TYPE_NOT_SUPPORTED);
        }
        _ => return Err(Code::INVALID_ARG),
    })
}
