//! Disk sets: a disk that was opened to be mounted.

use std::path::PathBuf;
use std::sync::Arc;

use vixdisklib::{Error, ErrorKind, Result};

use crate::Access;
use crate::api::MountApi;
use crate::ffi::{RawSet, RawVolumes};
use crate::volume::Volumes;

/// A disk that is open for mounting. From [`MountApi::open_disks`].
///
/// Dropping it closes it, blocks while it does, and logs a failure; [`DiskSet::close`] reports it.
pub struct DiskSet {
    api: Arc<MountApi>,
    raw: Arc<RawSet>,
    path: String,
    access: Access,
}

/// Where a disk set can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskSetInfo {
    /// The flags that the disk was opened with: those of `VixDiskLib_Open`.
    pub open_flags: u32,
    /// A file of the whole disk's bytes, one behind the other: partition tables, file systems and all. Gone when the set
    /// closes.
    pub flat_file: Option<PathBuf>,
}

impl DiskSet {
    pub(crate) fn new(api: Arc<MountApi>, raw: Arc<RawSet>, path: String, access: Access) -> DiskSet {
        DiskSet { api, raw, path, access }
    }

    /// Where the disk can be seen.
    ///
    /// # Errors
    /// What the library reports.
    pub fn info(&self) -> Result<DiskSetInfo> {
        let raw = Arc::clone(&self.raw);
        let info = self.api.call("ask for the flat file of", &self.path, move || raw.info())?;
        Ok(DiskSetInfo { open_flags: info.open_flags, flat_file: info.mount_path })
    }

    /// The disk's volumes. While the list lives the set cannot be used otherwise: it has one list at a time.
    ///
    /// # Errors
    /// What the library reports; 24007 for a disk without a partition table that it can read.
    pub fn volumes(&mut self) -> Result<Volumes<'_>> {
        let raw = Arc::clone(&self.raw);
        let volumes = self.api.call("list the volumes of", &self.path, move || RawVolumes::of(raw))?;
        Ok(Volumes::new(self, volumes))
    }

    /// The path of the disk, as it was given.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How the disk was opened.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Closes the set and says how that went.
    ///
    /// # Errors
    /// What the library reports; the set is gone all the same. [`ErrorKind::Misuse`] when a list of its volumes was leaked on
    /// purpose: the set then stays open until the process ends.
    pub fn close(self) -> Result<()> {
        const OPERATION: &str = "close the disk set of";
        let Some(raw) = Arc::into_inner(self.raw) else {
            return Err(Error::new(ErrorKind::Misuse, OPERATION, "a list of its volumes was leaked")
                .with_subject(self.path));
        };
        self.api.call(OPERATION, &self.path, move || raw.close())
    }

    pub(crate) fn api(&self) -> &Arc<MountApi> {
        &self.api
    }
}

impl std::fmt::Debug for DiskSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskSet")
            .field("path", &self.path)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}
