//! Queries of changed areas, over the tracking of the simulator's disks.

use sim_store::{SECTOR, tracking};

use crate::code::{Answer, Code};
use crate::disk::OpenDisk;
use crate::ffi::log;

/// A window of a disk, in sectors, and what changed in it.
pub(crate) struct Changes {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) areas: Vec<(u64, u64)>,
}

/// What changed from sector `start` on, as far as one answer goes.
pub(crate) fn query(disk: &OpenDisk, start: u64) -> Answer<Changes> {
    disk.faults().suffer("QueryChangedAreas", &disk.path)?.settle()?;
    let Some((file, change_id)) = &disk.tracked else {
        log::warn("changed areas want a disk of a server, opened by OpenEx with a change id");
        return Err(Code::INVALID_ARG);
    };
    let offset = start.checked_mul(SECTOR).ok_or(Code::INVALID_ARG)?;
    let window =
        tracking::query(file, change_id, offset, tracking::DEFAULT_MAX_EXTENTS).map_err(|error| {
            log::warn(&format!("QueryChangedAreas on {} failed: {error}", disk.path));
            if error.is_file_fault() { Code::INVALID_ARG } else { Code::of(&error) }
        })?;
    let areas = window.extents.iter().map(|extent| (extent.offset / SECTOR, extent.length.div_ceil(SECTOR)));
    Ok(Changes { start: window.start / SECTOR, length: window.length / SECTOR, areas: areas.collect() })
}
