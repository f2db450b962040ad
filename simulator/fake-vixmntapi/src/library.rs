//! The one state of the process: what Init was told, which sets are open, what was handed out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::code::{Answer, Code};
use crate::disk_set::DiskSet;
use crate::ffi::{DiskLibrary, log};
use crate::system::{self, Windows};

/// Interface versions that Init takes.
const LEVELS: [(u32, u32); 2] = [(1, 0), (1, 1)];

/// The running library.
pub(crate) struct Library {
    disk_library: DiskLibrary,
    temporary: PathBuf,
    /// Held while a set is open: one program on a machine.
    lock: Option<File>,
    sets: BTreeMap<usize, DiskSet>,
    /// Handles of volumes: their set, and their place in it.
    volumes: BTreeMap<usize, (usize, usize)>,
    /// Arrays of volume handles that were handed out, by address: their set.
    lists: BTreeMap<usize, usize>,
    /// Structures that were handed out, by address.
    infos: BTreeMap<usize, Info>,
    next_handle: usize,
}

/// Kinds of structures that are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Info {
    Set,
    Os,
    Volume,
    VolumeEx,
}

enum Life {
    NotStarted,
    Running(Box<Library>),
    Ended,
}

static LIFE: Mutex<Life> = Mutex::new(Life::NotStarted);

/// Starts the library.
pub(crate) fn init(level: (u32, u32), kit: Option<&str>, config: Option<&str>) -> Answer<()> {
    let mut life = life();
    match &*life {
        Life::NotStarted => {}
        Life::Running(_) | Life::Ended => {
            log::warn("Init was called twice; once is all a process may");
            return Err(Code::IN_PROGRESS);
        }
    }
    if !LEVELS.contains(&level) {
        log::warn(&format!("there is no interface {}.{}", level.0, level.1));
        return Err(Code::INCOMPATIBLE_VERSION);
    }
    let disk_library = DiskLibrary::find(kit.map(Path::new)).ok_or_else(|| {
        log::warn("VixDiskLib does not run in this process");
        Code::NO_CONNECTION_DETAILS
    })?;
    let temporary = match config {
        Some(config) => temporary_folder(config)?,
        None => std::env::temp_dir(),
    };
    *life = Life::Running(Box::new(Library {
        disk_library,
        temporary,
        lock: None,
        sets: BTreeMap::new(),
        volumes: BTreeMap::new(),
        lists: BTreeMap::new(),
        infos: BTreeMap::new(),
        // Far from null, and with gaps, so that handles look like the pointers they are passed as.
        next_handle: 0x1000,
    }));
    Ok(())
}

/// Ends the library, unless a set is open.
pub(crate) fn exit() {
    let mut life = life();
    let Life::Running(library) = &*life else {
        log::warn("Exit was called without Init");
        return;
    };
    if !library.sets.is_empty() {
        log::warn(&format!("Exit is ignored: {} disk sets are open", library.sets.len()));
        return;
    }
    if !library.infos.is_empty() {
        log::warn(&format!("{} structures were never freed", library.infos.len()));
    }
    *life = Life::Ended;
}

/// Runs `work` on the library, alone.
pub(crate) fn with<R>(work: impl FnOnce(&mut Library) -> Answer<R>) -> Answer<R> {
    match &mut *life() {
        Life::Running(library) => work(library),
        Life::NotStarted | Life::Ended => {
            log::warn("VixMntapi does not run");
            Err(Code::NOT_INITIALISED)
        }
    }
}

impl Library {
    pub(crate) fn open(&mut self, connection: usize, name: &str, flags: u32) -> Answer<usize> {
        let identity = (connection, name.to_owned());
        if self.sets.values().any(|set| set.identity == identity) {
            log::warn(&format!("{name} is open already"));
            return Err(Code::ALREADY_OPENED);
        }
        self.take_lock()?;
        let opened = self.open_set(identity, flags);
        self.drop_unused_lock();
        opened
    }

    fn open_set(&mut self, identity: (usize, String), flags: u32) -> Answer<usize> {
        let disk = self.disk_library.open(identity.0, &identity.1, flags)?;
        let handle = self.new_handle();
        let folder = self.temporary.join(format!("vixmntapi-{}-{handle:x}", std::process::id()));
        self.sets.insert(handle, DiskSet::new(identity, flags, disk, folder)?);
        Ok(handle)
    }

    pub(crate) fn close(&mut self, handle: usize) -> Answer<()> {
        let set = self.set(handle)?;
        if set.mounts() > 0 || self.lists.values().any(|set| *set == handle) {
            log::warn("the disk set has volumes that are mounted or not freed");
            return Err(Code::DISK_IS_MOUNTED);
        }
        let result = self.sets.remove(&handle).map_or(Err(Code::INVALID_HANDLE), DiskSet::close);
        self.drop_unused_lock();
        result
    }

    pub(crate) fn set(&mut self, handle: usize) -> Answer<&mut DiskSet> {
        self.sets.get_mut(&handle).ok_or_else(|| {
            log::warn("a disk set was used that is not open");
            Code::INVALID_HANDLE
        })
    }

    /// Lists the volumes of a set: their new handles.
    pub(crate) fn list(&mut self, set: usize) -> Answer<Vec<usize>> {
        if self.lists.values().any(|owner| *owner == set) {
            log::warn("the volumes were listed already and not freed");
            return Err(Code::ALREADY_OPENED);
        }
        let count = self.set(set)?.list()?;
        Ok((0..count)
            .map(|index| {
                let handle = self.new_handle();
                self.volumes.insert(handle, (set, index));
                handle
            })
            .collect())
    }

    /// Remembers the array in which the handles of a set's volumes were handed out.
    pub(crate) fn handed_out_list(&mut self, address: usize, set: usize) {
        self.lists.insert(address, set);
    }

    /// Forgets an array and its volumes; says whether the memory may be freed.
    pub(crate) fn take_list(&mut self, address: usize) -> bool {
        let Some(&owner) = self.lists.get(&address) else {
            log::warn("volume handles were freed that are not given out");
            return false;
        };
        if let Some(set) = self.sets.get_mut(&owner) {
            if set.mounts() > 0 {
                log::warn("volume handles are not freed: a volume is mounted");
                return false;
            }
            set.forget_volumes();
        }
        self.lists.remove(&address);
        self.volumes.retain(|_, (set, _)| *set != owner);
        true
    }

    /// The set of a volume, and its place there.
    pub(crate) fn volume(&mut self, handle: usize) -> Answer<(&mut DiskSet, usize)> {
        let Some(&(set, index)) = self.volumes.get(&handle) else {
            log::warn("a volume was used that is not given out");
            return Err(Code::INVALID_HANDLE);
        };
        Ok((self.set(set)?, index))
    }

    /// Looks for a system on all volumes that can be mounted, and leaves them mounted.
    pub(crate) fn recognise(&mut self, handle: usize) -> Answer<Windows> {
        let set = self.set(handle)?;
        for index in 0..set.volumes().len() {
            // What cannot be mounted has no system for us; the log has the reason.
            if let Err(code) = set.mount(index, true)
                && code != Code::VOLUME_ALREADY_MOUNTED
            {
                log::line(&format!("volume {index} is passed over: {}", code.0));
            }
        }
        let mounted = set.volumes().iter().filter_map(|volume| volume.mounted.as_ref());
        mounted.map(|mounted| &mounted.link).find_map(|link| system::find(link)).ok_or_else(|| {
            log::warn("no volume has a folder Windows");
            Code::UNSUPPORTED_OS
        })
    }

    pub(crate) fn handed_out(&mut self, address: usize, info: Info) {
        self.infos.insert(address, info);
    }

    /// Forgets a structure; says whether its memory may be freed.
    pub(crate) fn take_info(&mut self, address: usize, info: Info) -> bool {
        if self.infos.get(&address) != Some(&info) {
            log::warn(&format!("a structure ({info:?}) was freed that is not given out"));
            return false;
        }
        self.infos.remove(&address);
        true
    }

    /// Open sets, mounted volumes, volume handles and structures.
    pub(crate) fn outstanding(&self) -> [usize; 4] {
        let mounts = self.sets.values().map(DiskSet::mounts).sum();
        [self.sets.len(), mounts, self.volumes.len(), self.infos.len()]
    }

    fn new_handle(&mut self) -> usize {
        self.next_handle += 0x10;
        self.next_handle
    }

    fn take_lock(&mut self) -> Answer<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.temporary.join("vixmntapi.lock");
        let file = File::create(&path).map_err(|error| {
            log::warn(&format!("{}: {error}", path.display()));
            Code::SYSTEM
        })?;
        file.try_lock().map_err(|error| {
            log::warn(&format!("{} is held by another process: {error}", path.display()));
            Code::DICT_LOCKED
        })?;
        self.lock = Some(file);
        Ok(())
    }

    fn drop_unused_lock(&mut self) {
        if self.sets.is_empty() {
            self.lock = None;
        }
    }
}

/// The value of `tmpDirectory` in the configuration file.
fn temporary_folder(config: &str) -> Answer<PathBuf> {
    let text = fs::read_to_string(config).map_err(|error| {
        log::warn(&format!("the configuration file {config} cannot be read: {error}"));
        Code::SYSTEM
    })?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "tmpDirectory").then(|| value.trim().trim_matches('"'))
    });
    Ok(value.map_or_else(std::env::temp_dir, PathBuf::from))
}

fn life() -> MutexGuard<'static, Life> {
    // Every step leaves the maps whole.
    LIFE.lock().unwrap_or_else(PoisonError::into_inner)
}
