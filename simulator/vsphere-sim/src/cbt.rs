//! `QueryChangedDiskAreas`.

use std::path::PathBuf;
use std::sync::Arc;

use sim_store::tracking::{self, Window};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::datastores::AllAreas;
use crate::fault::{Fault, Outcome, describe, fault, from_store, invalid_argument, not_found};
use crate::faults::{Asked, Mutation};
use crate::hardware::signed;
use crate::machine::Power;
use crate::population;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `VirtualMachine.QueryChangedDiskAreas`.
pub(crate) async fn query(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let snapshot: Option<MoRef<mo::VirtualMachineSnapshot>> = call.optional("snapshot")?;
    let key: i32 = call.required("deviceKey")?;
    let (worker, id) = (Arc::clone(shared), call.this.value().to_owned());
    let made = tokio::task::spawn_blocking(move || population::materialize(&worker, &id)).await;
    made.map_err(|error| fault(t::SystemError::default(), format!("The query died: {error}")))??;
    let disk = find(shared, call, snapshot.as_ref(), key)?;
    answer(shared, call, disk, call.this.value()).await
}

/// The answer for a disk. `object` is what a rule that spoils it has to be for.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call, disk: Target, object: &str) -> Outcome<Answer> {
    let start: i64 = call.required("startOffset")?;
    let change_id: String = call.required("changeId")?;
    let start = u64::try_from(start)
        .ok()
        .filter(|start| *start < disk.capacity)
        .ok_or_else(|| invalid_argument("startOffset", "The start is not inside the disk."))?;
    let mutation = shared.faults.strike_areas(&Asked::on(call, object));
    let areas = shared.read(|world| world.all_areas(&disk.file));
    let refuses = mutation == Some(Mutation::RefuseAll) || areas == AllAreas::Refused;
    if refuses && change_id == "*" {
        let value = t::FileFault { file: disk.file.clone(), ..Default::default() };
        return Err(fault(
            value,
            format!("Error caused by file {}: what is allocated is not known.", disk.file),
        ));
    }
    let (host, since) = (disk.host.clone(), change_id.clone());
    let most = shared.settings.tracking.areas_in_answer.max(1);
    let job = move || tracking::query(&host, &since, start, most);
    let window = match tokio::task::spawn_blocking(job).await {
        Ok(Ok(window)) => window,
        Ok(Err(error)) => return Err(refused(&error, &disk.file)),
        Err(error) => return Err(fault(t::SystemError::default(), format!("The query died: {error}"))),
    };
    let info = match (change_id.as_str(), areas) {
        ("*", AllAreas::Whole) => {
            let length = disk.capacity - start;
            let extents = vec![sim_store::Extent { offset: start, length }];
            Window { start, length, extents }
        }
        _ => window,
    };
    let mut info = to_info(&info);
    if let Some(mutation) = mutation {
        spoil(&mut info, mutation, disk.capacity);
    }
    Ok(Answer::one(call, &info))
}

/// A disk whose changes are asked for.
pub(crate) struct Target {
    /// The link that the changes lead up to.
    pub(crate) host: PathBuf,
    /// Its datastore path.
    pub(crate) file: String,
    /// In bytes.
    pub(crate) capacity: u64,
}

fn find(
    shared: &Shared,
    call: &Call,
    snapshot: Option<&MoRef<mo::VirtualMachineSnapshot>>,
    key: i32,
) -> Outcome<Target> {
    shared.read(|world| {
        let machine = world.machine(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        let disks = match snapshot {
            Some(snapshot) => match (machine.snapshot(snapshot.value()), world.snapshot(snapshot.value())) {
                (Some(own), _) => own.disks(),
                (None, Some(_)) => {
                    return Err(invalid_argument("snapshotId", "The snapshot is of another machine."));
                }
                (None, None) => return Err(not_found(&snapshot.cast())),
            },
            None if machine.power == Power::On => {
                let message = "Without a snapshot only a machine that is powered off can be asked.";
                return Err(invalid_argument("snapshotId", message));
            }
            None => machine.disks(),
        };
        let disk = disks.into_iter().find(|disk| disk.key == key);
        let disk = disk.ok_or_else(|| invalid_argument("deviceKey", format!("There is no disk {key}.")))?;
        let file = disk.path.to_string();
        let host = world.resolve(&disk.path).map_err(|error| from_store(&error, &file))?;
        Ok(Target { host, file, capacity: disk.capacity })
    })
}

fn refused(error: &sim_store::Error, file: &str) -> Fault {
    if error.is_file_fault() {
        let value = t::FileFault { file: file.to_owned(), ..Default::default() };
        return fault(value, format!("Error caused by file {file}: {}", describe(error)));
    }
    if error.kind() == sim_store::ErrorKind::InvalidArgument {
        return invalid_argument("changeId", describe(error));
    }
    from_store(error, file)
}

fn to_info(window: &Window) -> t::DiskChangeInfo {
    let area = |extent: &sim_store::Extent| t::DiskChangeExtent {
        start: signed(extent.offset),
        length: signed(extent.length),
        ..Default::default()
    };
    t::DiskChangeInfo {
        start_offset: signed(window.start),
        length: signed(window.length),
        changed_area: window.extents.iter().map(area).collect(),
        ..Default::default()
    }
}

/// Makes an answer wrong in a way that a client has to notice.
fn spoil(info: &mut t::DiskChangeInfo, mutation: Mutation, capacity: u64) {
    let capacity = signed(capacity);
    let area = |start, length| t::DiskChangeExtent { start, length, ..Default::default() };
    match mutation {
        Mutation::Stall => {
            info.length = 0;
            info.changed_area.clear();
        }
        Mutation::Gap => {
            let shift = (info.length / 2).max(512);
            info.start_offset += shift;
            info.length = (info.length - shift).max(1);
            info.changed_area.retain(|area| area.start >= shift);
        }
        Mutation::ShortSum if info.start_offset == 0 => {
            info.length = (info.length / 2).max(1);
            info.changed_area.retain(|area| area.start + area.length <= info.length);
        }
        Mutation::ShortSum => info.length = capacity - info.start_offset + 65_536,
        Mutation::Overlap => {
            let first = info.changed_area.first().cloned().unwrap_or_else(|| area(info.start_offset, 1024));
            info.changed_area = vec![first.clone(), area(first.start + first.length / 2, first.length)];
        }
        Mutation::Omit => info.changed_area.clear(),
        Mutation::ExtraExtents => {
            let end = info.start_offset + info.length;
            let mut at = info.start_offset;
            let mut all = Vec::new();
            for changed in std::mem::take(&mut info.changed_area) {
                // The first 64 KiB of every gap, which are said to have changed as well.
                let gap = (changed.start - at).min(65_536);
                if gap > 0 {
                    all.push(area(at, gap));
                }
                at = changed.start + changed.length;
                all.push(changed);
            }
            if at < end {
                all.push(area(at, (end - at).min(65_536)));
            }
            info.changed_area = all;
        }
        Mutation::RefuseAll => {}
        Mutation::BeyondCapacity => info.changed_area.push(area(capacity - 512, 65_536)),
    }
}
