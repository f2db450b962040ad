//! The volumes of a disk set: handles that come and go together.

use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vixdisklib::sibling;

use super::info::{RawVolumeInfo, RawVolumeInfoEx};
use super::library::{Api, CallError, check};
use super::set::RawSet;
use super::types::{E_INVALID_ARG, E_VOLUME_ALREADY_MOUNTED, E_VOLUME_NOT_MOUNTED, MntVolume};

/// Most volumes that a disk may claim to have.
const VOLUME_LIMIT: usize = 65_536;

/// What is known of a volume's mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounted {
    No,
    /// Asking for the operating system may have mounted it.
    Perhaps,
    Yes,
}

/// All volumes of a set. Keeps the set open; when dropped, dismounts what is mounted and frees the handles.
pub(crate) struct RawVolumes {
    set: Arc<RawSet>,
    list: List,
    mounted: Mutex<Vec<Mounted>>,
}

/// The library's array of handles.
#[derive(Clone, Copy)]
struct List {
    first: *mut MntVolume,
    count: usize,
}

// SAFETY: names for things inside the library, used on the control thread only; the array itself is never written by us.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl RawVolumes {
    /// Asks for the volumes. To be called on the control thread, as everything here; at most one list of a set at a time.
    pub(crate) fn of(set: Arc<RawSet>) -> Result<RawVolumes, CallError> {
        let (mut first, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the set is open, and the results have places to go.
        let raw = unsafe { set.api.calls.get_volume_handles(set.handle(), &raw mut count, &raw mut first) }?;
        check(raw)?;
        let believed = count <= VOLUME_LIMIT && !(count > 0 && first.is_null());
        let count = if believed { count } else { 0 };
        // From here on its drop gives the list back.
        let volumes =
            RawVolumes { set, list: List { first, count }, mounted: Mutex::new(vec![Mounted::No; count]) };
        if believed { Ok(volumes) } else { Err(CallError::Nonsense("its list of volumes cannot be true")) }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.count
    }

    pub(crate) fn set(&self) -> &Arc<RawSet> {
        &self.set
    }

    pub(crate) fn is_mounted(&self, index: usize) -> Mounted {
        self.state().get(index).copied().unwrap_or(Mounted::No)
    }

    /// From now on every volume may be mounted.
    pub(crate) fn may_all_be_mounted(&self) {
        for volume in self.state().iter_mut().filter(|volume| **volume == Mounted::No) {
            *volume = Mounted::Perhaps;
        }
    }

    pub(crate) fn info(&self, index: usize) -> Result<RawVolumeInfo, CallError> {
        let volume = self.list.get(index)?;
        // SAFETY: the list is not freed while this exists.
        unsafe { self.set.api.volume_info(volume) }
    }

    pub(crate) fn info_ex(&self, index: usize) -> Result<RawVolumeInfoEx, CallError> {
        let volume = self.list.get(index)?;
        // SAFETY: the list is not freed while this exists.
        unsafe { self.set.api.volume_info_ex(volume) }
    }

    /// Mounts a volume. That it is mounted already is fine when it may be by our own doing, and when reading is all that was
    /// asked for.
    pub(crate) fn mount(&self, index: usize, read_only: bool) -> Result<(), CallError> {
        let volume = self.list.get(index)?;
        // SAFETY: the list is not freed while this exists.
        let raw = unsafe { self.set.api.calls.mount_volume(volume, read_only.into()) }?;
        let tolerated = read_only && self.is_mounted(index) == Mounted::Perhaps;
        if !(tolerated && raw & 0xFFFF == E_VOLUME_ALREADY_MOUNTED) {
            check(raw)?;
        }
        self.note(index, Mounted::Yes);
        Ok(())
    }

    /// Dismounts a volume. It counts as mounted until that succeeds.
    pub(crate) fn dismount(&self, index: usize, force: bool) -> Result<(), CallError> {
        dismount(self.set.api, self.list.get(index)?, force)?;
        self.note(index, Mounted::No);
        Ok(())
    }

    fn note(&self, index: usize, mounted: Mounted) {
        if let Some(volume) = self.state().get_mut(index) {
            *volume = mounted;
        }
    }

    fn state(&self) -> MutexGuard<'_, Vec<Mounted>> {
        // Each change is one assignment: a panic elsewhere leaves the list whole.
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RawVolumes {
    fn drop(&mut self) {
        let (api, list, states) = (self.set.api, self.list, self.state().clone());
        // The set is in `self`, so it is open until this has come back.
        if let Err(error) = sibling::on_control_thread(move || give_back(api, list, &states)) {
            tracing::warn!(%error, "volumes could not be given back");
        }
    }
}

impl List {
    fn get(self, index: usize) -> Result<MntVolume, CallError> {
        if index >= self.count {
            return Err(CallError::Code(E_INVALID_ARG));
        }
        // SAFETY: within the array that the library gave.
        let place = unsafe { self.first.add(index) };
        // SAFETY: as above; it lives until the list is freed, which is when the owner of this value goes.
        Ok(unsafe { place.read() })
    }
}

fn give_back(api: &Api, list: List, states: &[Mounted]) {
    for (index, state) in states.iter().enumerate().filter(|(_, state)| **state != Mounted::No) {
        match list.get(index).and_then(|volume| dismount(api, volume, false)) {
            Ok(()) => {}
            Err(CallError::Code(raw)) if *state == Mounted::Perhaps && is_not_mounted(raw) => {}
            Err(error) => tracing::warn!(index, ?error, "a volume could not be dismounted"),
        }
    }
    if list.first.is_null() {
        return;
    }
    // SAFETY: the list came from `get_volume_handles` and its owner goes; nobody has a handle of it any more.
    if let Err(error) = unsafe { api.calls.free_volume_handles(list.first) } {
        tracing::warn!(?error, "volumes could not be freed");
    }
}

fn dismount(api: &Api, volume: MntVolume, force: bool) -> Result<(), CallError> {
    // SAFETY: a volume of a list that is not freed.
    check(unsafe { api.calls.dismount_volume(volume, force.into()) }?)
}

/// Not documented for this call, so all codes that say it are taken: not mounted, disk not mounted, no such mount point.
fn is_not_mounted(raw: u64) -> bool {
    matches!(raw & 0xFFFF, E_VOLUME_NOT_MOUNTED | 24003 | 24000)
}
