//! Going back to a snapshot of ours.

use vim_api::mo::VirtualMachineSnapshot;
use vim_api::types::TaskInProgress;

use super::{BUSY_TRIES, Found, Purpose, busy_pause, find, wait_for_tasks};
use crate::error::{Error, ErrorKind};
use crate::machine::ProtectedVm;

/// Brings the machine's disks and hardware back to the snapshot called `name`, which stays. The machine is off, and stays off. Going
/// back twice is going back once, so an answer that is lost does no harm.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when the machine is not off; [`ErrorKind::OutcomeUnknown`] when the snapshot is not there, or the machine
/// was busy throughout.
pub(super) async fn revert(vm: &ProtectedVm, name: &str) -> Result<(), Error> {
    let context = || format!("undoing what was written to {} since its snapshot {name}", vm.name());
    if Purpose::of(name) != Some(Purpose::Rollback) {
        return Err(Error::new(ErrorKind::Journal, format!("{}: it is not one of ours", context())));
    }
    let mut last = None;
    for attempt in 0..BUSY_TRIES {
        wait_for_tasks(vm).await?;
        if !vm.is_powered_off().await? {
            let hint = format!("{}: it is not powered off; shut it down first", context());
            return Err(Error::new(ErrorKind::NotEligible, hint));
        }
        let found = find(vm.vm(), name).await.map_err(|e| Error::api(context(), e))?;
        let Some(Found { moref, .. }) = found else {
            return Err(Error::new(ErrorKind::OutcomeUnknown, format!("{}: it is gone", context())));
        };
        let snapshot: VirtualMachineSnapshot = vm.client().bind(&moref);
        let reverted = async {
            let call = snapshot.revert_to_snapshot_task(None, Some(true));
            call.resend_after_login().await?.wait().await
        };
        match reverted.await {
            Ok(()) => return Ok(()),
            Err(error)
                if error.fault::<TaskInProgress>().is_some()
                    || error.is_retryable()
                    || error.is_not_found()
                    || error.kind() == vim_api::ErrorKind::OutcomeUnknown =>
            {
                last = Some(error);
                tokio::time::sleep(busy_pause(attempt)).await;
            }
            Err(error) => return Err(Error::api(context(), error)),
        }
    }
    let error = Error::new(ErrorKind::OutcomeUnknown, format!("{}: it was busy throughout", context()));
    Err(match last {
        Some(source) => error.because(source),
        None => error,
    })
}
