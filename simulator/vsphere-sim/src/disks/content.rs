//! What the manager does with the space that a disk takes.

use std::sync::Arc;

use sim_store::{Access, Provisioning};

use super::{PIECE, open, unsupported};
use crate::fault::{Outcome, from_store};
use crate::files::{self, Named};
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// Zeros that lie together are given back in pieces of this many bytes.
const BLOCK: usize = 64 << 10;

/// `InflateVirtualDisk_Task`: a thin disk becomes one that is zeroed at once.
pub(super) fn inflate(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    begin(shared, call, user, "inflateVirtualDisk", |shared, disk, progress| {
        progress.fail_early()?;
        become_eager(shared, disk)
    })
}

/// `EagerZeroVirtualDisk_Task`: the same for a disk that is not thin.
pub(super) fn eager_zero(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    begin(shared, call, user, "eagerZeroVirtualDisk", |shared, disk, progress| {
        progress.fail_early()?;
        if open(disk, Access::ReadOnly)?.provisioning() == Provisioning::Thin {
            return Err(unsupported("A thin disk has to be inflated."));
        }
        become_eager(shared, disk)
    })
}

/// `ZeroFillVirtualDisk_Task`: everything on the disk is lost.
pub(super) fn zero_fill(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    begin(shared, call, user, "zeroFillVirtualDisk", |_, disk, progress| {
        progress.fail_early()?;
        let opened = open(disk, Access::ReadWrite)?;
        opened.zero_at(0, opened.capacity()).map_err(|error| from_store(&error, &disk.text))
    })
}

/// `ShrinkVirtualDisk_Task`: a thin disk gives back the space of what is zero.
pub(super) fn shrink(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    begin(shared, call, user, "shrinkVirtualDisk", |_, disk, progress| {
        let opened = open(disk, Access::ReadWrite)?;
        check_thin(opened.provisioning())?;
        let failed = |error| from_store(&error, &disk.text);
        let mut buffer = vec![0; usize::try_from(PIECE).unwrap_or(usize::MAX)];
        for extent in opened.allocated(0, opened.capacity()).map_err(failed)? {
            let end = extent.offset + extent.length;
            let mut at = extent.offset;
            while at < end {
                let piece = &mut buffer[..usize::try_from(PIECE.min(end - at)).unwrap_or(usize::MAX)];
                opened.read_at(at, piece).map_err(failed)?;
                for block in piece.chunks(BLOCK) {
                    if block.iter().all(|&byte| byte == 0) {
                        opened.zero_at(at, block.len() as u64).map_err(failed)?;
                    }
                    at += block.len() as u64;
                }
                progress.step(at, opened.capacity())?;
            }
        }
        Ok(())
    })
}

/// `DefragmentVirtualDisk_Task`. Files of the simulator have no blocks that could lie in disorder.
pub(super) fn defragment(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    begin(shared, call, user, "defragmentVirtualDisk", |_, disk, progress| {
        progress.fail_early()?;
        check_thin(open(disk, Access::ReadWrite)?.provisioning())
    })
}

/// Starts a task that changes a disk which no running machine has.
fn begin(
    shared: &Arc<Shared>,
    call: &Call,
    user: &str,
    name: &str,
    change: fn(&Shared, &Named, &mut Progress<'_>) -> Outcome<()>,
) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        files::check_unused(shared, &disk)?;
        change(shared, &disk, progress)?;
        Ok(None)
    };
    Ok(tasks::start_apart(shared, call, user, &format!("VirtualDiskManager.{name}"), Box::new(work)))
}

fn become_eager(shared: &Shared, disk: &Named) -> Outcome<()> {
    recovery::carry_out(shared, Intent::default().shows(&disk.path), |_| {
        sim_store::set_provisioning(&disk.host, Provisioning::EagerThick)
            .map_err(|error| from_store(&error, &disk.text))
    })
}

fn check_thin(provisioning: Provisioning) -> Outcome<()> {
    match provisioning {
        Provisioning::Thin => Ok(()),
        _ => Err(unsupported("Only sparse disks have anything to gain from that.")),
    }
}
