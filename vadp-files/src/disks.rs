//! The disks of a machine and the volumes on them.

use std::fmt;
use std::sync::Arc;

use vmdk::{ReadAt, Window};

use crate::btrfs::Btrfs;
use crate::detect::detect;
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::exfat::ExFat;
use crate::ext::Ext;
use crate::fat::Fat;
use crate::lvm::{self, Member};
use crate::ntfs::Ntfs;
use crate::partition::partitions;
use crate::system::{FileSystem, Kind};
use crate::tree::Tree;
use crate::xfs::Xfs;

/// The disks of one machine: a volume may reach over several of them.
#[derive(Default)]
pub struct Disks {
    disks: Vec<(String, Arc<dyn ReadAt>)>,
}

/// A part of a disk, or of several, that has a content of its own.
#[derive(Clone)]
pub struct Volume {
    name: String,
    label: String,
    kind: Kind,
    size: u64,
    source: Arc<dyn ReadAt>,
    problem: Option<String>,
    /// Those that a file system of several devices could have beside this one.
    others: Vec<Arc<dyn ReadAt>>,
}

impl Disks {
    /// No disks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a disk; its volumes will be called by `name` and their number.
    pub fn add(&mut self, name: impl Into<String>, source: Arc<dyn ReadAt>) {
        self.disks.push((name.into(), source));
    }

    /// All volumes: partitions, whole disks that have none, logical volumes. What is encrypted or unknown is among them, under that
    /// kind; a disk whose partitions cannot be told is one, too, with its [`problem`](Volume::problem).
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) when a disk cannot be read.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for (name, source) in &self.disks {
            let device = Device::new(source.clone())?;
            // The boot sector of a file system on a whole disk ends as a partition table does.
            let whole = detect(&device)?;
            let found = match whole {
                Kind::Ntfs | Kind::ExFat | Kind::Fat | Kind::BitLocker | Kind::Refs => Ok(None),
                _ => partitions(&device),
            };
            match found {
                Ok(None) => volumes.push(Volume::new(name.clone(), source.clone(), device.size(), whole)),
                Ok(Some(found)) => {
                    for partition in found {
                        let window = Window::new(source.clone(), partition.start, partition.size);
                        let source: Arc<dyn ReadAt> = Arc::new(window);
                        let kind = detect(&Device::new(source.clone())?)?;
                        let name = format!("{name}/{}", partition.number);
                        let mut volume = Volume::new(name, source, partition.size, kind);
                        volume.label = partition.name;
                        volumes.push(volume);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                Err(error) => {
                    let mut volume = Volume::new(name.clone(), source.clone(), device.size(), Kind::Unknown);
                    volume.problem = Some(error.to_string());
                    volumes.push(volume);
                }
            }
        }
        logical(&mut volumes)?;
        let btrfs = |volume: &&mut Volume| volume.kind == Kind::Btrfs;
        let devices: Vec<_> = volumes.iter_mut().filter(btrfs).map(|volume| volume.source.clone()).collect();
        for volume in volumes.iter_mut().filter(btrfs) {
            volume.others.clone_from(&devices);
        }
        Ok(volumes)
    }
}

/// Adds the logical volumes of what is a part of LVM.
fn logical(volumes: &mut Vec<Volume>) -> Result<()> {
    let mut members = Vec::new();
    for volume in volumes.iter_mut().filter(|volume| volume.kind == Kind::LvmMember) {
        match Member::read(volume.source.clone()) {
            Ok(member) => members.push(member),
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => volume.problem = Some(error.to_string()),
        }
    }
    let found = match lvm::volumes(&members) {
        Ok(found) => found,
        Err(error) => {
            for volume in volumes.iter_mut().filter(|volume| volume.kind == Kind::LvmMember) {
                volume.problem.get_or_insert_with(|| error.to_string());
            }
            return Ok(());
        }
    };
    for logical in found {
        let volume = match logical.source {
            Ok(source) => {
                let kind = detect(&Device::new(source.clone())?)?;
                Volume::new(logical.name, source, logical.size, kind)
            }
            Err(error) => {
                let mut volume = Volume::new(logical.name, Arc::new(Vec::new()), logical.size, Kind::Unknown);
                volume.problem = Some(error.to_string());
                volume
            }
        };
        volumes.push(volume);
    }
    Ok(())
}

impl Volume {
    fn new(name: String, source: Arc<dyn ReadAt>, size: u64, kind: Kind) -> Self {
        Self { name, label: String::new(), kind, size, source, problem: None, others: Vec::new() }
    }

    /// What it is called: the disk, `disk/2` for its second partition, `group/volume` for a logical volume.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name that the partition table has for it; empty for others than GPT.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is on it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes.
    pub fn source(&self) -> &Arc<dyn ReadAt> {
        &self.source
    }

    /// Why it is not what it should be: a partition table that is damaged, a disk of a group that is missing.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Opens its file system.
    ///
    /// # Errors
    /// [`Encrypted`](crate::ErrorKind::Encrypted) and [`Unsupported`](crate::ErrorKind::Unsupported) for a kind that cannot be read;
    /// [`Damaged`](crate::ErrorKind::Damaged) when it is not what it seems to be; [`Io`](crate::ErrorKind::Io).
    pub fn open(&self) -> Result<Tree> {
        let source = self.source.clone();
        let system: Arc<dyn FileSystem> = match self.kind {
            Kind::Ext => Arc::new(Ext::open(source)?),
            Kind::Btrfs => Arc::new(Btrfs::open(source, &self.others)?),
            Kind::Xfs => Arc::new(Xfs::open(source)?),
            Kind::Ntfs => Arc::new(Ntfs::open(source)?),
            Kind::Fat => Arc::new(Fat::open(source)?),
            Kind::ExFat => Arc::new(ExFat::open(source)?),
            kind if kind.is_encrypted() => {
                let what =
                    format!("{} is encrypted ({kind:?}); it has to be opened with its key before", self.name);
                return Err(Error::new(ErrorKind::Encrypted, what));
            }
            kind => {
                let why = self.problem.clone().unwrap_or_else(|| format!("{kind:?}"));
                return Err(Error::unsupported(format!("{} holds no file system to read: {why}", self.name)));
            }
        };
        Ok(Tree::new(system))
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.disks.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
