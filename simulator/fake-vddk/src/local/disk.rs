//! An open local disk.

use std::fs::File;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::SeekFrom;
use vmdk::name::{Reference, resolve};
use vmdk::{Disk, ExtentKind, Link, OpenOptions, SECTOR, State};

use super::lock::Lock;
use super::{name_of, root, told, told_io};
use crate::code::{Answer, Code};
use crate::disk::Info;

/// A local disk.
pub(crate) struct LocalDisk {
    /// Nothing after it was closed, or when it could not be opened again after its files were rewritten.
    disk: RwLock<Option<Disk>>,
    /// As the client named it.
    pub(super) path: String,
    /// Below the root folder.
    pub(super) name: String,
    writable: bool,
    alone: RwLock<bool>,
    capacity: u64,
    _lock: Option<Lock>,
}

impl LocalDisk {
    /// Opens a disk, for writing under its lock.
    pub(crate) fn open(path: &str, writable: bool, alone: bool) -> Answer<LocalDisk> {
        let name = name_of(path)?;
        // Reading it first tells a missing file from one that cannot be locked.
        let disk = told(path, options(false, alone).open(&root()?, &name))?;
        let (lock, disk) = if writable {
            let lock = Lock::take(path)?;
            drop(disk);
            (Some(lock), told(path, options(true, alone).open(&root()?, &name))?)
        } else {
            (None, disk)
        };
        let capacity = disk.capacity();
        Ok(LocalDisk {
            disk: RwLock::new(Some(disk)),
            path: path.to_owned(),
            name,
            writable,
            alone: RwLock::new(alone),
            capacity,
            _lock: lock,
        })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) fn is_alone(&self) -> bool {
        *self.alone.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Answer<()> {
        self.with(|disk| told(&self.path, disk.read_exact_at(buffer, offset)))
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Answer<()> {
        self.with(|disk| told(&self.path, disk.write_all_at(bytes, offset)))
    }

    pub(crate) fn flush(&self) -> Answer<()> {
        self.with(|disk| told(&self.path, disk.flush()))
    }

    /// Closes the files, so that sparse ones say that they were.
    pub(crate) fn close(&self) -> Answer<()> {
        let disk = self.disk.write().unwrap_or_else(PoisonError::into_inner).take();
        disk.map_or(Ok(()), |disk| told(&self.path, disk.close()))
    }

    /// The parts of a range, in bytes, that the opened chain holds. For a whole chain what reads as zeros for sure is left out;
    /// for a single link what its parents have.
    pub(crate) fn allocated(&self, offset: u64, length: u64) -> Answer<Vec<(u64, u64)>> {
        let alone = self.is_alone();
        self.with(|disk| {
            let mut runs = Vec::new();
            for span in disk.map(offset..offset.saturating_add(length)) {
                let span = told(&self.path, span)?;
                let end = span.offset + span.length;
                match (span.state, span.link.and_then(|link| disk.links().get(link))) {
                    (State::Data, Some(link)) => stored(link, span.offset, end, &mut runs)?,
                    (State::Zero, Some(_)) if alone => runs.push((span.offset, span.length)),
                    _ => {}
                }
            }
            Ok(runs)
        })
    }

    pub(crate) fn info(&self) -> Answer<Info> {
        let alone = self.is_alone();
        self.with(|disk| {
            let top = disk.links().first().ok_or(Code::FAIL)?;
            // Children keep neither adapter nor geometry; what they are made for stands in the base.
            let base = disk.links().last().unwrap_or(top);
            let descriptor =
                if top.descriptor().adapter().is_some() { top.descriptor() } else { base.descriptor() };
            let numbers = |geometry: vmdk::Geometry| [geometry.cylinders, geometry.heads, geometry.sectors];
            let geometry = descriptor.geometry().map_or([0; 3], numbers);
            Ok(Info {
                sectors: disk.capacity() / SECTOR,
                adapter: match descriptor.adapter() {
                    Some(vmdk::AdapterType::Ide) => 1,
                    Some(vmdk::AdapterType::BusLogic) => 2,
                    Some(vmdk::AdapterType::LsiLogic) => 3,
                    _ => 256,
                },
                links: if alone { 1 } else { i32::try_from(disk.links().len()).unwrap_or(i32::MAX) },
                geometry,
                bios_geometry: descriptor.bios_geometry().map_or(geometry, numbers),
                parent: top.descriptor().parent_hint().map(str::to_owned),
                uuid: top.descriptor().uuid().map(str::to_owned),
                sector_bytes: SECTOR as u32,
            })
        })
    }

    pub(crate) fn metadata(&self, key: &str) -> Answer<String> {
        self.with(|disk| {
            let value = disk.links().first().and_then(|link| link.descriptor().ddb(key));
            value.map(str::to_owned).ok_or(Code::KEY_NOT_FOUND)
        })
    }

    pub(crate) fn metadata_keys(&self) -> Answer<Vec<String>> {
        self.with(|disk| {
            let keys =
                disk.links().first().map(|link| link.descriptor().ddb_keys().map(str::to_owned).collect());
            keys.ok_or(Code::FAIL)
        })
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Answer<()> {
        self.edit(|descriptor| descriptor.set_ddb(key, value))
    }

    /// Changes the descriptor of the top link.
    pub(super) fn edit(&self, edit: impl FnOnce(&mut vmdk::Descriptor) -> vmdk::Result<()>) -> Answer<()> {
        let mut guard = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        let disk = guard.as_mut().ok_or(Code::INVALID_HANDLE)?;
        told(&self.path, disk.edit_descriptor(edit))
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&Disk) -> Answer<R>) -> Answer<R> {
        let guard: RwLockReadGuard<'_, Option<Disk>> =
            self.disk.read().unwrap_or_else(PoisonError::into_inner);
        look(guard.as_ref().ok_or(Code::INVALID_HANDLE)?)
    }

    /// Closes the disk, lets `rewrite` change its files, and opens it again, from now on with its parents or without.
    pub(super) fn reopen_after(&self, alone: bool, rewrite: impl FnOnce() -> Answer<()>) -> Answer<()> {
        let mut guard = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        let disk = guard.take().ok_or(Code::INVALID_HANDLE)?;
        told(&self.path, disk.close())?;
        let rewritten = rewrite();
        let mode = if rewritten.is_ok() { alone } else { self.is_alone() };
        *guard = Some(told(&self.path, options(self.writable, mode).open(&root()?, &self.name))?);
        *self.alone.write().unwrap_or_else(PoisonError::into_inner) = mode;
        rewritten
    }
}

pub(super) fn options(writable: bool, alone: bool) -> OpenOptions {
    OpenOptions::new().writable(writable).without_parents(alone).follow_outside(true)
}

/// What of a range the link's files hold: all of it in formats with tables, which were asked before, and in flat files what the
/// file system has.
fn stored(link: &Link, start: u64, end: u64, runs: &mut Vec<(u64, u64)>) -> Answer<()> {
    let mut first = 0;
    for extent in link.descriptor().extents() {
        let (from, to) = (start.max(first), end.min(first + extent.sectors * SECTOR));
        if from < to {
            match (&extent.kind, &extent.file) {
                (ExtentKind::Flat | ExtentKind::Vmfs, Some(file)) => {
                    let file = match told(link.name(), resolve(link.name(), file))? {
                        Reference::Inside(name) | Reference::Outside(name) => name,
                    };
                    let shift = extent.offset.unwrap_or(0) * SECTOR;
                    in_file(&file, from - first + shift, to - first + shift, |at, length| {
                        runs.push((at - shift + first, length));
                    })?;
                }
                _ => runs.push((from, to - from)),
            }
        }
        first += extent.sectors * SECTOR;
    }
    Ok(())
}

/// The parts of a file that are no holes. A file system that cannot tell has none.
fn in_file(name: &str, start: u64, end: u64, mut visit: impl FnMut(u64, u64)) -> Answer<()> {
    let path = std::path::Path::new("/").join(name);
    let file = told_io(name, File::open(path))?;
    let mut at = start;
    while at < end {
        let data = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => {
                visit(at, end - at);
                break;
            }
        };
        if data >= end {
            break;
        }
        let hole = rustix::fs::seek(&file, SeekFrom::Hole(data)).map_or(end, |hole| hole.min(end));
        if hole <= data {
            break;
        }
        visit(data, hole - data);
        at = hole;
    }
    Ok(())
}
