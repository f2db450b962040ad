//! What an open disk reads and writes: a disk of the simulator, or files of this machine.

use sim_store::{ErrorKind, SECTOR, Scope};

use crate::code::{Answer, Code};
use crate::disk::Info;
use crate::ffi::log;
use crate::local::LocalDisk;

/// The bytes behind a handle.
#[allow(clippy::large_enum_variant, reason = "there is one for each open disk, on the heap")]
pub(crate) enum Content {
    Store(Box<StoreDisk>),
    File(LocalDisk),
}

/// A disk of a simulated server.
pub(crate) struct StoreDisk {
    pub(crate) disk: sim_store::Disk,
    pub(crate) scope: Scope,
}

impl Content {
    /// In bytes.
    pub(crate) fn capacity(&self) -> u64 {
        match self {
            Content::Store(store) => store.disk.capacity(),
            Content::File(file) => file.capacity(),
        }
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Answer<()> {
        match self {
            Content::Store(store) => told(store.disk.read_at(offset, buffer)),
            Content::File(file) => file.read_at(offset, buffer),
        }
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Answer<()> {
        match self {
            Content::Store(store) => told(store.disk.write_at(offset, bytes)),
            Content::File(file) => file.write_at(offset, bytes),
        }
    }

    pub(crate) fn flush(&self) -> Answer<()> {
        match self {
            Content::Store(store) => told(store.disk.flush()),
            Content::File(file) => file.flush(),
        }
    }

    pub(crate) fn close(&self) -> Answer<()> {
        match self {
            Content::Store(_) => Ok(()),
            Content::File(file) => file.close(),
        }
    }

    /// The allocated runs of a range, offset and length in bytes, ascending.
    pub(crate) fn allocated(&self, offset: u64, length: u64) -> Answer<Vec<(u64, u64)>> {
        match self {
            Content::Store(store) => {
                let extents = told(store.disk.allocated(offset, length))?;
                Ok(extents.into_iter().map(|extent| (extent.offset, extent.length)).collect())
            }
            Content::File(file) => file.allocated(offset, length),
        }
    }

    pub(crate) fn info(&self) -> Answer<Info> {
        match self {
            Content::Store(store) => Ok(store.info()),
            Content::File(file) => file.info(),
        }
    }

    pub(crate) fn metadata(&self, key: &str) -> Answer<String> {
        match self {
            Content::Store(store) => store.disk.metadata(key).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Code::KEY_NOT_FOUND,
                _ => Code::of(&error),
            }),
            Content::File(file) => file.metadata(key),
        }
    }

    pub(crate) fn metadata_keys(&self) -> Answer<Vec<String>> {
        match self {
            Content::Store(store) => told(store.disk.metadata_keys()),
            Content::File(file) => file.metadata_keys(),
        }
    }

    pub(crate) fn set_metadata(&self, key: &str, value: &str) -> Answer<()> {
        match self {
            Content::Store(store) => told(store.disk.set_metadata(key, value)),
            Content::File(file) => file.set_metadata(key, value),
        }
    }
}

impl StoreDisk {
    fn info(&self) -> Info {
        let links = self.disk.links();
        let number =
            |key: &str| self.disk.metadata(key).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
        let adapter = match self.disk.metadata("adapterType").as_deref() {
            Ok("ide") => 1,
            Ok("buslogic") => 2,
            Ok("lsilogic") => 3,
            _ => 256,
        };
        let geometry = [number("geometry.cylinders"), number("geometry.heads"), number("geometry.sectors")];
        let bios = ["geometry.biosCylinders", "geometry.biosHeads", "geometry.biosSectors"].map(number);
        let parent = links.get(1).map(|parent| parent.descriptor.display().to_string());
        let visible = if self.scope == Scope::TopLink { 1 } else { links.len() };
        Info {
            sectors: self.disk.capacity() / SECTOR,
            adapter,
            links: i32::try_from(visible).unwrap_or(i32::MAX),
            geometry,
            bios_geometry: if bios.contains(&0) { geometry } else { bios },
            parent,
            uuid: self.disk.uuid().ok().map(|uuid| uuid.to_string()),
            sector_bytes: SECTOR as u32,
        }
    }
}

/// Turns a failure of the store into its code, and says in the log what it was.
fn told<T>(result: sim_store::Result<T>) -> Answer<T> {
    result.map_err(|error| {
        log::warn(&error.to_string());
        Code::of(&error)
    })
}
