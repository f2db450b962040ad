//! Volumes of a disk set, and volumes that are mounted.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vixdisklib::{Error, ErrorKind, Result};

use crate::Access;
use crate::api::MountApi;
use crate::disk_set::DiskSet;
use crate::ffi::{CallError, Mounted, RawVolumes};
use crate::info::{OsInfo, VolumeInfo, VolumeInfoEx, VolumeKind};

const MOUNT: &str = "mount";
const DISMOUNT: &str = "dismount";

/// The volumes of a disk set: their handles come and go together. From [`DiskSet::volumes`].
///
/// Dropping it dismounts what is still mounted, and blocks while it does.
pub struct Volumes<'s> {
    api: Arc<MountApi>,
    raw: Arc<RawVolumes>,
    path: String,
    access: Access,
    set: PhantomData<&'s mut DiskSet>,
}

/// One volume of a list.
#[derive(Clone, Copy)]
pub struct Volume<'v> {
    list: &'v Volumes<'v>,
    index: usize,
}

/// A volume that is mounted: a folder of files, for as long as this lives.
///
/// Dropping it dismounts it, blocks while it does, and logs a failure, such as that of a program which still has a file open.
/// The list of volumes tries again when it goes. [`MountedVolume::dismount`] reports it.
pub struct MountedVolume<'v> {
    volume: Volume<'v>,
    path: PathBuf,
    mounted: bool,
}

impl<'s> Volumes<'s> {
    pub(crate) fn new(set: &'s mut DiskSet, raw: RawVolumes) -> Volumes<'s> {
        Volumes {
            api: Arc::clone(set.api()),
            raw: Arc::new(raw),
            path: set.path().to_owned(),
            access: set.access(),
            set: PhantomData,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The volume at a position, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Volume<'_>> {
        (index < self.len()).then_some(Volume { list: self, index })
    }

    /// All of them, in the order of the library.
    pub fn iter(&self) -> impl Iterator<Item = Volume<'_>> {
        (0..self.len()).map(|index| Volume { list: self, index })
    }

    /// What system is on the disk. Useful for Windows guests only; VMware recognises those on a proxy of their kind.
    ///
    /// **This mounts volumes**, since the answer is in their files, and leaves them mounted. A later [`Volume::mount`] for
    /// reading takes such a mount over; one for writing is refused with 24305, since how it was mounted cannot be known. All
    /// of them are dismounted when the list goes.
    ///
    /// # Errors
    /// What the library reports; 24311 (`Unsupported`) when it recognises no system.
    pub fn os_info(&self) -> Result<OsInfo> {
        let raw = Arc::clone(&self.raw);
        let info = self.api.call("recognise the system on", &self.path, move || {
            // Even a failed search may have mounted something.
            raw.may_all_be_mounted();
            raw.set().os_info()
        })?;
        Ok(OsInfo::from(info))
    }
}

impl<'v> Volume<'v> {
    /// Its position in the list.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What it is, and where it is mounted. Most of it is known only while it is mounted.
    ///
    /// # Errors
    /// What the library reports.
    pub fn info(&self) -> Result<VolumeInfo> {
        let index = self.index;
        self.call("ask about", move |raw| raw.info(index)).map(VolumeInfo::from)
    }

    /// The same with sizes.
    ///
    /// # Errors
    /// What the library reports; [`ErrorKind::Unsupported`] from kits before the interface 1.1, somewhere between 7.0 and
    /// 8.0.
    pub fn info_ex(&self) -> Result<VolumeInfoEx> {
        let index = self.index;
        self.call("ask for the sizes of", move |raw| raw.info_ex(index)).map(VolumeInfoEx::from)
    }

    /// Mounts the volume.
    ///
    /// # Errors
    /// Before the library is asked to: [`ErrorKind::AlreadyExists`] when it is mounted through this list already,
    /// [`ErrorKind::InvalidArgument`] for writing to a set that was opened for reading, [`ErrorKind::Unsupported`] for a
    /// volume of LVM or of a dynamic disk. Otherwise what the library reports, such as 24010 for swap, and 24322 when it is
    /// not writable.
    pub fn mount(&self, access: Access) -> Result<MountedVolume<'v>> {
        let refuse = |kind, text: &str| Err(Error::new(kind, MOUNT, text).with_subject(self.name()));
        if self.list.raw.is_mounted(self.index) == Mounted::Yes {
            return refuse(ErrorKind::AlreadyExists, "it is mounted already");
        }
        if access == Access::ReadWrite && self.list.access == Access::ReadOnly {
            return refuse(ErrorKind::InvalidArgument, "the disk set was opened for reading only");
        }
        match self.info() {
            Ok(VolumeInfo { kind: kind @ (VolumeKind::Lvm | VolumeKind::Dynamic), .. }) => {
                return refuse(
                    ErrorKind::Unsupported,
                    &format!("VixMntapi does not mount {kind:?} volumes on Linux"),
                );
            }
            Ok(_) => {}
            // The documentation wants this question after the mount; a library that minds gets to mount all the same.
            Err(error) => tracing::debug!(%error, "a volume tells nothing before it is mounted"),
        }
        let (index, read_only) = (self.index, access == Access::ReadOnly);
        self.call(MOUNT, move |raw| raw.mount(index, read_only))?;
        // From here on its drop dismounts.
        let mut mounted = MountedVolume { volume: *self, path: PathBuf::new(), mounted: true };
        match self.info()?.path {
            Some(path) => mounted.path = path,
            None => return refuse(ErrorKind::Failed, "it is mounted, but the library does not say where"),
        }
        Ok(mounted)
    }

    fn call<R: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&RawVolumes) -> std::result::Result<R, CallError> + Send + 'static,
    ) -> Result<R> {
        let raw = Arc::clone(&self.list.raw);
        self.list.api.call(operation, &self.name(), move || job(&raw))
    }

    fn name(&self) -> String {
        format!("volume {} of {}", self.index, self.list.path)
    }
}

impl<'v> MountedVolume<'v> {
    /// The folder under which its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The volume that is mounted.
    #[must_use]
    pub fn volume(&self) -> Volume<'v> {
        self.volume
    }

    /// Dismounts it; by force even while programs have files open there, which then fail to read them.
    ///
    /// # Errors
    /// What the library reports, such as 24009 while files are open: the volume stays mounted and can be dismounted again.
    /// [`ErrorKind::Closed`] when it was dismounted before.
    pub fn dismount(&mut self, force: bool) -> Result<()> {
        if !self.mounted {
            return Err(Error::new(ErrorKind::Closed, DISMOUNT, "it was dismounted before")
                .with_subject(self.volume.name()));
        }
        let index = self.volume.index;
        self.volume.call(DISMOUNT, move |raw| raw.dismount(index, force))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for MountedVolume<'_> {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.dismount(false)
        {
            tracing::warn!(%error, "a volume stays mounted");
        }
    }
}

impl std::fmt::Debug for Volumes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volumes").field("path", &self.path).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Volume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Volume").field(&self.name()).finish()
    }
}

impl std::fmt::Debug for MountedVolume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountedVolume")
            .field("volume", &self.volume)
            .field("path", &self.path)
            .field("mounted", &self.mounted)
            .finish()
    }
}
