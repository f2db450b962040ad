use vim_api::mo::{Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types::{FileFault, InvalidArgument, NotFound, SystemError, VirtualMachineConfigSpec};

use super::{ChangeId, ChangedMap, MapBuilder, Window};
use crate::error::{Error, ErrorKind};
use crate::journal::Journal;
use crate::machine::ProtectedVm;
use crate::progress::Report;
use crate::snapshot::{QuiescePolicy, SnapshotGuard};

/// What the server said to a query of changes.
pub(crate) enum Answer {
    /// The proof.
    Map(ChangedMap),
    /// The server cannot tell the changes since this id. The text is its fault.
    Refused(String),
}

/// Asks for all areas of the disk at `device_key` that changed since `since`, up to `snapshot`.
///
/// # Errors
/// [`ErrorKind::IncompleteChanges`] when the answers do not cover the disk exactly; otherwise that of the call.
pub(crate) async fn query(
    vm: &VirtualMachine,
    snapshot: &VirtualMachineSnapshot,
    device_key: i32,
    capacity: u64,
    since: &ChangeId,
) -> Result<Answer, Error> {
    let context = || format!("asking which blocks of disk {device_key} changed since {since}");
    let mut map = MapBuilder::new(capacity);
    while let Some(offset) = map.next_offset() {
        let start = i64::try_from(offset)
            .map_err(|e| Error::new(ErrorKind::IncompleteChanges, context()).because(e))?;
        let answer =
            vm.query_changed_disk_areas(Some(&snapshot.moref()), device_key, start, since.as_str()).await;
        let info = match answer {
            Ok(info) => info,
            Err(error) if offset == 0 && is_refusal(&error) => return Ok(Answer::Refused(error.to_string())),
            Err(error) => return Err(Error::api(context(), error)),
        };
        let window = Window {
            start: info.start_offset,
            length: info.length,
            areas: info.changed_area.iter().map(|a| (a.start, a.length)).collect(),
        };
        map.add(&window).map_err(|e| Error::new(ErrorKind::IncompleteChanges, context()).because(e))?;
    }
    map.finish().map(Answer::Map).map_err(|e| Error::new(ErrorKind::IncompleteChanges, context()).because(e))
}

/// The faults with which a server says that it does not know the id (any more): tracking is off or broken
/// (`FileFault`), the id is foreign or malformed (`InvalidArgument` on it). Everything else is an error.
fn is_refusal(error: &vim_api::Error) -> bool {
    let argument = error.fault::<InvalidArgument>();
    error.fault::<FileFault>().is_some()
        || error.fault::<NotFound>().is_some()
        || error.fault::<SystemError>().is_some()
        || argument.is_some_and(|a| a.invalid_property.as_deref().is_none_or(|p| p.contains("changeId")))
}

/// Whether changed block tracking is switched on for the machine.
///
/// # Errors
/// When the property cannot be read.
pub async fn is_enabled(vm: &VirtualMachine) -> Result<bool, Error> {
    let config = vm.require(VirtualMachine::CONFIG).await;
    let config = config.map_err(|e| Error::api("reading the machine's configuration", e))?;
    Ok(config.change_tracking_enabled.unwrap_or(false))
}

/// Switches changed block tracking on where it is off, and takes and removes a snapshot, which makes it begin.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when the machine or its hardware version cannot track, or when it has snapshots:
/// tracking that is switched on under a snapshot is not trustworthy (KB 1020128). Otherwise those of the calls and of the
/// journal.
pub async fn enable(machine: &ProtectedVm, journal: &Journal) -> Result<(), Error> {
    let vm = machine.vm();
    let context = || format!("switching on changed block tracking of {}", machine.name());
    let capability = vm.require(VirtualMachine::CAPABILITY).await.map_err(|e| Error::api(context(), e))?;
    if !capability.change_tracking_supported.unwrap_or(false) {
        let hint =
            format!("{}: the machine does not support it (hardware version 7 or later is needed)", context());
        return Err(Error::new(ErrorKind::NotEligible, hint));
    }
    if is_enabled(vm).await? {
        return Ok(());
    }
    if vm.get(VirtualMachine::SNAPSHOT).await.map_err(|e| Error::api(context(), e))?.is_some() {
        let hint = format!(
            "{}: remove its snapshots first; what changed below them would not be tracked",
            context()
        );
        return Err(Error::new(ErrorKind::NotEligible, hint));
    }
    set(vm, true).await?;
    if !is_enabled(vm).await? {
        let hint = format!("{}: the server accepted it, and it is still off", context());
        return Err(Error::new(ErrorKind::Api, hint));
    }
    stun(machine, journal).await
}

/// Ends the epoch of the tracking, so that no id from before is accepted any more (KB 2139574): off, a snapshot that makes
/// it so, on again, and another snapshot. The machine may run; before its disks are written from outside it has to be off.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when the machine has snapshots: then tracking is left as it is, since it must not be switched
/// on under a snapshot. Otherwise those of the calls and of the journal.
pub async fn reset(vm: &ProtectedVm, journal: &Journal) -> Result<(), Error> {
    let context = || format!("resetting changed block tracking of {}", vm.name());
    if vm.vm().get(VirtualMachine::SNAPSHOT).await.map_err(|e| Error::api(context(), e))?.is_some() {
        let hint = format!("{}: remove its snapshots first", context());
        return Err(Error::new(ErrorKind::NotEligible, hint));
    }
    set(vm.vm(), false).await?;
    stun(vm, journal).await?;
    set(vm.vm(), true).await?;
    stun(vm, journal).await
}

/// Sees to it that no id from before is accepted any more, before the disks of a machine that is off are written from outside: tracking
/// begins anew, or ends where the machine has snapshots. Then it returns why.
pub(crate) async fn end_epoch(machine: &ProtectedVm, journal: &Journal) -> Result<Option<String>, Error> {
    match reset(machine, journal).await {
        Ok(()) => Ok(None),
        // It takes effect with the next snapshot, which is taken before anything is written.
        Err(error) if error.kind() == ErrorKind::NotEligible => {
            set(machine.vm(), false).await?;
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// Stuns the machine for a moment: what was set for its tracking takes effect.
async fn stun(vm: &ProtectedVm, journal: &Journal) -> Result<(), Error> {
    let silent = Report(&|_| ());
    SnapshotGuard::take(vm, journal, &QuiescePolicy::default(), &silent).await?.release(&silent).await?;
    Ok(())
}

async fn set(vm: &VirtualMachine, on: bool) -> Result<(), Error> {
    let context = || format!("setting changeTrackingEnabled={on} on {:?}", vm.moref());
    let spec = VirtualMachineConfigSpec { change_tracking_enabled: Some(on), ..Default::default() };
    let task = vm.reconfig_vm_task(&spec).resend_after_login().await.map_err(|e| Error::api(context(), e))?;
    task.wait().await.map_err(|e| Error::api(context(), e))
}
