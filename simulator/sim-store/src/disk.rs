//! Virtual disks: making, opening, reading and writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chain::Chain;
use crate::descriptor::{Cid, Descriptor, LinkKind, Provisioning, SECTOR};
use crate::extent::Collector;
use crate::files::{self, FolderLock};
use crate::link::Link;
use crate::space::{NEW_FILE, Space};
use crate::tracking::map::Map;
use crate::{DiskUuid, Error, ErrorKind, Extent, Result, sharing, snapshot, tracking};

/// The largest disk in bytes: 62 TiB, as in vSphere.
pub const MAX_CAPACITY: u64 = 62 << 40;

/// Whether a disk is opened for writing too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading only; never waits and never blocks anybody.
    ReadOnly,
    /// Reading and writing; only one such opener at a time, over all processes.
    ReadWrite,
}

/// How much of its chain an opened disk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The disk as a guest sees it: all links.
    WholeChain,
    /// Only the named link: what it does not hold reads as zeros and is not allocated.
    TopLink,
}

/// What a new disk shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Capacity in bytes, a multiple of 512 and at most [`MAX_CAPACITY`].
    pub capacity: u64,
    /// Provisioning.
    pub provisioning: Provisioning,
    /// `ddb.adapterType`, such as `lsilogic` or `ide`.
    pub adapter: String,
    /// `ddb.virtualHWVersion`.
    pub hardware_version: u32,
    /// `ddb.uuid`; drawn at random if absent.
    pub uuid: Option<DiskUuid>,
}

impl DiskSpec {
    /// A thin disk of `capacity` bytes on an `lsilogic` adapter, hardware version 21.
    pub fn thin(capacity: u64) -> Self {
        Self {
            capacity,
            provisioning: Provisioning::Thin,
            adapter: "lsilogic".to_owned(),
            hardware_version: 21,
            uuid: None,
        }
    }
}

/// One link of an opened disk and its files, for listings such as `layoutEx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// The descriptor.
    pub descriptor: PathBuf,
    /// The data file: `-flat.vmdk`, `-delta.vmdk` or `-sesparse.vmdk`.
    pub extent: PathBuf,
    /// The change tracking file, while tracking is on.
    pub change_track: Option<PathBuf>,
    /// Base disk or child.
    pub kind: LinkKind,
    /// The content id.
    pub cid: Cid,
}

/// An opened disk. All methods take `&self` and may be called from several threads; writes take turns.
pub struct Disk {
    chain: Chain,
    path: PathBuf,
    capacity: u64,
    access: Access,
    map: Option<Map>,
    /// The room on its datastore, if it is limited and the disk is open for writing.
    space: Option<Space>,
    written: Mutex<bool>,
}

impl Disk {
    /// Makes a new base disk, `path` being its descriptor (`vm.vmdk`), and opens it for writing.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument` for a capacity or name that cannot be; `NoSpace`, `Io`.
    pub fn create(path: impl AsRef<Path>, spec: &DiskSpec) -> Result<Self> {
        let path = path.as_ref();
        if spec.capacity == 0 || !spec.capacity.is_multiple_of(SECTOR) || spec.capacity > MAX_CAPACITY {
            let what = format!("a capacity of {} bytes is not a multiple of 512 up to 62 TiB", spec.capacity);
            return Err(Error::new(ErrorKind::InvalidArgument, what).at(path));
        }
        let extent_file = format!("{}-flat.vmdk", stem(path)?);
        let mut descriptor = Descriptor {
            cid: Cid::NO_PARENT,
            parent_cid: Cid::NO_PARENT,
            parent_hint: None,
            change_track: None,
            kind: LinkKind::Flat,
            sectors: spec.capacity / SECTOR,
            extent_file,
            provisioning: spec.provisioning,
            ddb: BTreeMap::new(),
            other: Vec::new(),
        };
        descriptor.renew_content()?;
        descriptor.set_geometry(spec.capacity / SECTOR);
        let uuid = spec.uuid.map_or_else(DiskUuid::random, Ok)?;
        let mut set = |key: &str, value: String| {
            check_metadata(key, &value)?;
            descriptor.ddb.insert(key.to_owned(), value);
            Ok(())
        };
        set("adapterType", spec.adapter.clone())?;
        set("virtualHWVersion", spec.hardware_version.to_string())?;
        set("uuid", uuid.to_string())?;
        if spec.provisioning == Provisioning::Thin {
            set("thinProvisioned", "1".to_owned())?;
        }
        let held = FolderLock::exclusive(files::folder_of(path))?;
        if path.exists() {
            return Err(Error::new(ErrorKind::AlreadyExists, "a file of that name exists already").at(path));
        }
        let room = if spec.provisioning == Provisioning::Thin { NEW_FILE } else { spec.capacity };
        claim(path, room)?;
        let extent = files::sibling(path, &descriptor.extent_file);
        files::create_sparse(&extent, spec.capacity)?;
        if let Err(error) = descriptor.store(path, &held) {
            files::remove(&extent)?;
            return Err(error);
        }
        drop(held);
        Self::open(path, Access::ReadWrite, Scope::WholeChain)
    }

    /// Opens a disk by the descriptor of the link that is to be on top.
    ///
    /// # Errors
    /// `NotFound`; `Locked` if it is open for writing elsewhere; `ChainBroken` if a parent is missing, was changed
    /// since or has another capacity; `InUse` for writing under a link in another folder; `Corrupt`, `Truncated`.
    pub fn open(path: impl AsRef<Path>, access: Access, scope: Scope) -> Result<Self> {
        let path = path.as_ref();
        let write = access == Access::ReadWrite;
        let chain = Chain::open(path, write, scope == Scope::TopLink)?;
        if write && !sharing::children(path)?.is_empty() {
            let what = "disks of other folders are built over this one, which cannot be written under them";
            return Err(Error::new(ErrorKind::InUse, what).at(path));
        }
        let map = if write && chain.top().descriptor.change_track.is_some() {
            // The first write makes sure that a broken map stays broken: queries refuse it, so nobody is misled.
            Map::open_for(chain.top(), true)
                .inspect_err(|error| tracing::warn!(%error, "writing a disk whose change tracking is broken"))
                .ok()
        } else {
            None
        };
        let capacity = chain.top().descriptor.capacity();
        let space = if write { Space::of(path)? } else { None };
        Ok(Self { chain, path: path.to_owned(), capacity, access, map, space, written: Mutex::new(false) })
    }

    /// Capacity in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The descriptor that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk's uuid, found on the topmost link that carries one.
    ///
    /// # Errors
    /// `Corrupt` if no link has one.
    pub fn uuid(&self) -> Result<DiskUuid> {
        let mut links = self.chain.links().iter();
        links.find_map(|link| link.descriptor.uuid()).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "no link of the disk carries a uuid").at(&self.path)
        })
    }

    /// The provisioning of the base disk.
    pub fn provisioning(&self) -> Provisioning {
        self.chain.links().last().map_or(Provisioning::Thin, |base| base.descriptor.provisioning)
    }

    /// The links, top first. With [`Scope::TopLink`] parents may be missing.
    pub fn links(&self) -> Vec<LinkInfo> {
        let info = |link: &Link| LinkInfo {
            descriptor: link.path.clone(),
            extent: files::sibling(&link.path, &link.descriptor.extent_file),
            change_track: link.descriptor.change_track.as_ref().map(|name| files::sibling(&link.path, name)),
            kind: link.descriptor.kind,
            cid: link.descriptor.cid,
        };
        self.chain.links().iter().map(info).collect()
    }

    /// Reads `buffer.len()` bytes from byte `offset` on. What was never written reads as zeros.
    ///
    /// # Errors
    /// `OutOfRange`; `Truncated` if a data file lost its end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check_range(offset, buffer.len() as u64)?;
        if buffer.is_empty() {
            return Ok(());
        }
        self.chain.read(offset, buffer)
    }

    /// Writes to the top link, any bytes inside the capacity; noted in the change map first.
    ///
    /// # Errors
    /// `ReadOnly`, `OutOfRange`, `Truncated`, `NoSpace`, `Io`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check_range(offset, bytes.len() as u64)?;
        self.claim(offset, bytes.len() as u64)?;
        let _turn = self.begin_write(offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.chain.write(offset, bytes)
    }

    /// Zeroes a range and gives its space back: it is not allocated any more, where it covers whole blocks of the
    /// host's file system. Counts as a change, like a guest's UNMAP.
    ///
    /// # Errors
    /// As for [`Disk::write_at`].
    pub fn zero_at(&self, offset: u64, length: u64) -> Result<()> {
        self.check_range(offset, length)?;
        let _turn = self.begin_write(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        self.chain.zero(offset, length)
    }

    /// The allocated areas of a range: every byte that is not zero is inside one. Cut to the range, ascending,
    /// joined where they touch.
    ///
    /// # Errors
    /// `OutOfRange`, `Io`.
    pub fn allocated(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.check_range(offset, length)?;
        let end = offset + length;
        let mut collector = Collector::new(Extent::between(offset, end), 1, usize::MAX);
        if length > 0 {
            let _: ControlFlow<()> =
                self.chain.allocated(offset, end, &mut |from, to| Ok(collector.push(from, to)))?;
        }
        Ok(collector.finish().0)
    }

    /// Visits the allocated runs of the whole disk, ascending; neighbours may touch.
    pub(crate) fn visit_allocated(
        &self,
        visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.chain.allocated(0, self.capacity, visit).map(|_| ())
    }

    /// Waits until everything written is on the host's disk.
    ///
    /// # Errors
    /// `Io`.
    pub fn flush(&self) -> Result<()> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        self.chain
            .top()
            .file()
            .sync_data()
            .map_err(|source| Error::io("the disk's data cannot be flushed", source).at(&self.path))
    }

    /// A value of the disk data base; `key` without `ddb.`, such as `adapterType`. The topmost link that has the key
    /// answers.
    ///
    /// # Errors
    /// `NotFound` if no link has the key.
    pub fn metadata(&self, key: &str) -> Result<String> {
        for link in self.chain.links() {
            if let Some(value) = current(link)?.ddb.remove(key) {
                return Ok(value);
            }
        }
        Err(Error::new(ErrorKind::NotFound, format!("the disk has no metadata key {key:?}")).at(&self.path))
    }

    /// All keys of the disk data base over all links, sorted, without `ddb.`.
    ///
    /// # Errors
    /// Those of reading the descriptors.
    pub fn metadata_keys(&self) -> Result<Vec<String>> {
        let mut keys = BTreeSet::new();
        for link in self.chain.links() {
            keys.extend(current(link)?.ddb.into_keys());
        }
        Ok(keys.into_iter().collect())
    }

    /// Sets a value in the top link's disk data base.
    ///
    /// # Errors
    /// `ReadOnly`; `InvalidArgument` for a key or value that a descriptor line cannot hold.
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        check_metadata(key, value)?;
        self.check_writable()?;
        Descriptor::update(&self.path, |descriptor| {
            descriptor.ddb.insert(key.to_owned(), value.to_owned());
            Ok(())
        })?;
        Ok(())
    }

    /// Everything that comes before a write: access, new content id, change map. The guard makes writers take turns.
    fn begin_write(&self, offset: u64, length: u64) -> Result<MutexGuard<'_, bool>> {
        self.check_writable()?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !*written && length > 0 {
            if self.map.is_none() && self.chain.top().descriptor.change_track.is_some() {
                tracking::give_up(self.chain.top())?;
            }
            Descriptor::update(&self.path, |descriptor| {
                // A merge that died has left the parent with this link's content id; see `chain::open_parent`.
                if let Some(parent) = self.chain.links().get(1) {
                    descriptor.parent_cid = parent.descriptor.cid;
                }
                descriptor.renew_content()
            })?;
            *written = true;
        }
        if let Some(map) = &self.map {
            map.mark(offset, length)?;
        }
        Ok(written)
    }

    /// Sees that there is room for a write on a datastore with a limit.
    fn claim(&self, offset: u64, length: u64) -> Result<()> {
        match &self.space {
            Some(space) if length > 0 => self.chain.top().claim(space, offset, offset + length),
            _ => Ok(()),
        }
    }

    fn check_writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => {
                Err(Error::new(ErrorKind::ReadOnly, "the disk was opened read-only").at(&self.path))
            }
        }
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.capacity => Ok(()),
            _ => {
                let what =
                    format!("{length} bytes at {offset} are not inside the disk's {} bytes", self.capacity);
                Err(Error::new(ErrorKind::OutOfRange, what).at(&self.path))
            }
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .field("capacity", &self.capacity)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Grows a base disk without children to `capacity` bytes; change tracking starts anew.
///
/// # Errors
/// `InvalidArgument` if the capacity is not larger or not a multiple of 512; `InUse` if the disk is a child or has
/// children; `Locked`.
pub fn grow(path: &Path, capacity: u64) -> Result<()> {
    let link = Link::open(path, true)?;
    let wrong = |kind, what: &str| Err(Error::new(kind, what).at(path));
    if !capacity.is_multiple_of(SECTOR) || capacity > MAX_CAPACITY || capacity <= link.descriptor.capacity() {
        return wrong(
            ErrorKind::InvalidArgument,
            "the new capacity must be larger, a multiple of 512 and at most 62 TiB",
        );
    }
    let held = FolderLock::exclusive(files::folder_of(path))?;
    if link.descriptor.kind != LinkKind::Flat || !snapshot::children(path)?.is_empty() {
        return wrong(ErrorKind::InUse, "a disk with snapshots cannot grow; remove its snapshots first");
    }
    let mut descriptor = Descriptor::load(path)?;
    if descriptor.provisioning != Provisioning::Thin {
        claim(path, capacity - link.descriptor.capacity())?;
    }
    link.file()
        .set_len(capacity)
        .map_err(|source| Error::io("the disk's data file cannot grow", source).at(path))?;
    crate::crash::point();
    descriptor.set_geometry(capacity / SECTOR);
    descriptor.renew_content()?;
    tracking::restart_grown(path, &descriptor)?;
    descriptor.store(path, &held)
}

/// Sees that a file at this path may take so many bytes more.
pub(crate) fn claim(path: &Path, bytes: u64) -> Result<()> {
    match Space::of(path)? {
        Some(space) => space.claim(bytes),
        None => Ok(()),
    }
}

/// Deletes the files of one link: descriptor, data and change map.
///
/// # Errors
/// `InUse` if other links are built over it, `Locked` if it is open for writing.
pub fn delete(path: &Path) -> Result<()> {
    let link = Link::open(path, true)?;
    let held = FolderLock::exclusive(files::folder_of(path))?;
    if !snapshot::children(path)?.is_empty() {
        return Err(
            Error::new(ErrorKind::InUse, "other disks are built over this one; delete them first").at(path)
        );
    }
    snapshot::remove_files(&link, &held)
}

/// The descriptor as it is now, since another process may have changed it; as it was, if the link was merged away.
fn current(link: &Link) -> Result<Descriptor> {
    match Descriptor::load(&link.path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(link.descriptor.clone()),
        loaded => loaded,
    }
}

/// `vm` of `vm.vmdk`.
pub(crate) fn stem(path: &Path) -> Result<&str> {
    match files::file_name(path)?.strip_suffix(".vmdk") {
        Some(stem) if !stem.is_empty() && !stem.contains(['"', '\\', '\n', '\r']) => Ok(stem),
        _ => Err(Error::new(ErrorKind::BadPath, "a disk's file name must end in .vmdk and hold no quotes")
            .at(path)),
    }
}

fn check_metadata(key: &str, value: &str) -> Result<()> {
    let key_fits =
        !key.is_empty() && !key.contains(|c: char| c == '=' || c == '"' || c == '#' || c.is_whitespace());
    if !key_fits || value.contains(['"', '\n', '\r', '\0']) || value.trim() != value {
        let what = format!("the metadata {key:?} = {value:?} cannot stand in a disk descriptor");
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    Ok(())
}
