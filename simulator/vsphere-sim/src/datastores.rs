//! What datastores are like: VMFS or NFS, how much they hold, and what `QueryChangedDiskAreas` with `*` says of their disks.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sim_store::{DatastorePath, Space, space};

use crate::host_datastores::Remote;
use crate::inventory::tree::{Entity, Kind};
use crate::sim::Sim;
use crate::world::{Shared, Stored, World};
use crate::{Error, ErrorKind, Result};

/// A datastore that is to be otherwise than usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastoreSpec {
    /// Its name: `datastore1` and so on, as [`Topology`](crate::Topology) makes them.
    pub name: String,
    /// What it is made on.
    pub kind: DatastoreKind,
    /// Bytes that it holds; what does not fit is refused. Without, it says 4 TiB and refuses nothing.
    pub capacity: Option<u64>,
    /// What `*` answers; by default what is usual for its kind.
    pub all_areas: Option<AllAreas>,
}

/// What a datastore is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatastoreKind {
    /// The file system of ESXi on a disk.
    #[default]
    Vmfs,
    /// A folder of a file server.
    Nfs,
}

/// What `QueryChangedDiskAreas` with `*` answers for the disks of a datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllAreas {
    /// What is allocated; all of a disk that is eagerly zeroed. Usual on VMFS.
    Allocated,
    /// All of the disk. Usual on NFS.
    Whole,
    /// A `FileFault`.
    Refused,
}

/// What a datastore's entity keeps of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    pub(crate) all_areas: Option<AllAreas>,
    /// Whether what does not fit is refused.
    pub(crate) limited: bool,
}

impl DatastoreSpec {
    /// A datastore on VMFS without a limit.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), kind: DatastoreKind::Vmfs, capacity: None, all_areas: None }
    }

    /// It is on NFS.
    #[must_use]
    pub fn nfs(self) -> Self {
        Self { kind: DatastoreKind::Nfs, ..self }
    }

    /// It holds so many bytes.
    #[must_use]
    pub fn capacity(self, bytes: u64) -> Self {
        Self { capacity: Some(bytes), ..self }
    }

    /// What `*` answers.
    #[must_use]
    pub fn all_areas(self, answer: AllAreas) -> Self {
        Self { all_areas: Some(answer), ..self }
    }
}

impl FromStr for DatastoreSpec {
    type Err = Error;

    /// `NAME[,type=vmfs|nfs][,capacity=BYTES][,all=allocated|whole|refused]`; bytes may end in `M`, `G` or `T`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::InvalidArgument, what);
        let mut parts = text.split(',');
        let mut spec = Self::new(parts.next().unwrap_or_default());
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match (key, value) {
                ("type", "vmfs") => spec.kind = DatastoreKind::Vmfs,
                ("type", "nfs") => spec.kind = DatastoreKind::Nfs,
                ("all", "allocated") => spec.all_areas = Some(AllAreas::Allocated),
                ("all", "whole") => spec.all_areas = Some(AllAreas::Whole),
                ("all", "refused") => spec.all_areas = Some(AllAreas::Refused),
                ("capacity", bytes) => {
                    let wrong = || wrong(format!("{bytes:?} is no number of bytes"));
                    spec.capacity = Some(number(bytes).ok_or_else(wrong)?);
                }
                _ => {
                    let known = "type=vmfs, type=nfs, capacity=BYTES, all=allocated, all=whole, all=refused";
                    return Err(wrong(format!("a datastore knows no {part:?}, only {known}")));
                }
            }
        }
        Ok(spec)
    }
}

fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix(['M', 'G', 'T']) {
        Some(digits) if text.ends_with('M') => (digits, 20),
        Some(digits) if text.ends_with('G') => (digits, 30),
        Some(digits) => (digits, 40),
        None => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Makes the datastores of a new server what they are to be.
pub(crate) fn shape(stored: &mut Stored, specs: &[DatastoreSpec]) -> Result<()> {
    for spec in specs {
        let id = stored.tree.datastore(&spec.name).map(|(entity, _)| entity.id.clone());
        let found = id.and_then(|id| stored.tree.get_mut(&id));
        let Some(Entity { kind: Kind::Datastore { files, capacity, volume, remote, .. }, .. }) = found else {
            let what = format!("there is no datastore {:?}; the topology says how many there are", spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, what));
        };
        *volume = Volume { all_areas: spec.all_areas, limited: spec.capacity.is_some() };
        // A folder of a file server that nobody needs to reach.
        *remote = (spec.kind == DatastoreKind::Nfs)
            .then(|| Remote { host: "nas.sim.example".to_owned(), path: format!("/export/{}", spec.name) });
        if let Some(bytes) = spec.capacity {
            *capacity = bytes;
            limit(files, bytes)?;
        }
    }
    Ok(())
}

/// Has a datastore hold so many bytes from now on, and refuse what does not fit.
pub(crate) fn set_capacity(shared: &Shared, name: &str, bytes: u64) -> Result<()> {
    let id = shared.read(|world| world.stored.tree.datastore(name).map(|(entity, _)| entity.id.clone()));
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no datastore {name:?}"));
    let id = id.ok_or_else(missing)?;
    shared.update(|world| match world.tree_mut().get_mut(&id).map(|entity| &mut entity.kind) {
        Some(Kind::Datastore { files, capacity, volume, .. }) => {
            limit(files, bytes)?;
            *capacity = bytes;
            volume.limited = true;
            Ok(())
        }
        _ => Err(missing()),
    })
}

fn limit(files: &sim_store::Datastore, bytes: u64) -> Result<()> {
    Space::set_limit(files.root(), Some(bytes))
        .map_err(|error| Error::store(format!("limiting the datastore {}", files.name()), error))
}

impl Sim {
    /// Has a datastore hold so many bytes from now on: what does not fit is refused. What is there already stays.
    ///
    /// # Errors
    /// `NotFound` for an unknown name; `Store` if the limit cannot be written.
    pub fn set_datastore_capacity(&self, name: &str, bytes: u64) -> Result<()> {
        set_capacity(&self.shared, name, bytes)
    }
}

impl World {
    /// What `*` answers for a disk, by its datastore path.
    pub(crate) fn all_areas(&self, file: &str) -> AllAreas {
        let path = file.parse::<DatastorePath>().ok();
        let found = path.and_then(|path| self.stored.tree.datastore(path.datastore()));
        match found {
            Some((Entity { kind: Kind::Datastore { volume, remote, .. }, .. }, _)) => {
                volume.all_areas.unwrap_or(match remote {
                    None => AllAreas::Allocated,
                    Some(_) => AllAreas::Whole,
                })
            }
            _ => AllAreas::Allocated,
        }
    }

    /// Bytes that everything on a limited datastore takes; `None` where nobody counts them.
    pub(crate) fn counted_on(&self, datastore: &Entity) -> Option<u64> {
        match &datastore.kind {
            Kind::Datastore { files, volume, .. } if volume.limited => space::used(files.root())
                .inspect_err(|error| tracing::warn!(%error, "a datastore's files cannot be counted"))
                .ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_as_text() {
        let spec: DatastoreSpec = "datastore2,type=nfs,capacity=3G,all=refused".parse().unwrap();
        let wanted = DatastoreSpec::new("datastore2").nfs().capacity(3 << 30).all_areas(AllAreas::Refused);
        assert_eq!(spec, wanted);
        assert_eq!("a,capacity=512".parse::<DatastoreSpec>().unwrap().capacity, Some(512));
        for bad in ["a,capacity=", "a,capacity=-1", "a,capacity=99999999T", "a,type=vsan", "a,b"] {
            assert_eq!(bad.parse::<DatastoreSpec>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
