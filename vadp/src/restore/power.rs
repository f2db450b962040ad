//! Switching a machine off for a restore, and on again.

use std::fmt;
use std::time::Duration;

use vim_api::mo::{Managed, VirtualMachine};
use vim_api::types::VirtualMachinePowerState;

use crate::error::{Error, ErrorKind};
use crate::machine::ProtectedVm;

/// How often the state of a machine is looked at that is going off or on.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a machine may take to be on once its task is done: a server may still move it, or wait for somebody's word.
const POWER_ON_PATIENCE: Duration = Duration::from_secs(120);

/// What becomes of a machine that runs when its restore begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PowerPolicy {
    /// It is not restored.
    #[default]
    Refuse,
    /// Its guest is asked to shut down. When it is not off by then, it is not restored.
    Shutdown {
        /// How long the guest may take.
        deadline: Duration,
    },
    /// Its guest is asked to shut down; when it is not off by then, or has no Tools to be asked, it is powered off.
    ShutdownThenOff {
        /// How long the guest may take.
        deadline: Duration,
    },
    /// It is powered off, as by pulling the plug. What is on its disks is to be overwritten anyway.
    PowerOff,
}

impl fmt::Display for PowerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("it is refused"),
            Self::Shutdown { deadline } => {
                write!(f, "its guest is shut down within {} s", deadline.as_secs())
            }
            Self::ShutdownThenOff { deadline } => {
                write!(f, "its guest is shut down, or the machine powered off after {} s", deadline.as_secs())
            }
            Self::PowerOff => f.write_str("it is powered off"),
        }
    }
}

/// Whether the machine runs, and may be switched off.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when it runs and may not, and for one that is suspended: its memory belongs to what its disks are now.
pub(super) async fn check(vm: &ProtectedVm, policy: PowerPolicy) -> Result<bool, Error> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::NotEligible, format!("{} {why}", vm.name())));
    match state(vm).await? {
        VirtualMachinePowerState::PoweredOff => Ok(false),
        VirtualMachinePowerState::PoweredOn if policy != PowerPolicy::Refuse => Ok(true),
        VirtualMachinePowerState::PoweredOn => refuse(
            "is not powered off: shut it down first, or have the restore do so (Restore::power); its disks cannot be written while it \
             runs",
        ),
        _ => refuse(
            "is suspended: its memory belongs to its disks as they are; resume it or power it off first",
        ),
    }
}

/// Switches the machine off, as the policy says. Returns whether it ran.
///
/// # Errors
/// As [`check`], and [`ErrorKind::NotEligible`] when it is not off by its deadline.
pub(super) async fn switch_off(vm: &ProtectedVm, policy: PowerPolicy) -> Result<bool, Error> {
    if !check(vm, policy).await? {
        return Ok(false);
    }
    let (deadline, then_off) = match policy {
        PowerPolicy::Refuse => return Ok(false),
        PowerPolicy::PowerOff => (None, true),
        PowerPolicy::Shutdown { deadline } => (Some(deadline), false),
        PowerPolicy::ShutdownThenOff { deadline } => (Some(deadline), true),
    };
    if let Some(deadline) = deadline {
        match vm.vm().shutdown_guest().await {
            Ok(()) => {
                if reaches(vm, &VirtualMachinePowerState::PoweredOff, deadline).await? {
                    return Ok(true);
                }
            }
            // No Tools, or it went off by itself: what it is now decides.
            Err(error) if then_off => {
                tracing::info!(%error, vm = vm.name(), "the guest cannot be asked to shut down")
            }
            Err(error) => {
                return Err(Error::api(format!("asking the guest of {} to shut down", vm.name()), error));
            }
        }
        if !then_off {
            let hint = format!(
                "the guest of {} was not down {} s after it was asked: give it longer, or have the machine powered off then",
                vm.name(),
                deadline.as_secs()
            );
            return Err(Error::new(ErrorKind::NotEligible, hint));
        }
    }
    let off = async { vm.vm().power_off_vm_task().await?.wait().await };
    let off = off.await;
    // Also when the task failed: the guest may have been quicker.
    if vm.is_powered_off().await? {
        return Ok(true);
    }
    let context = format!("powering {} off", vm.name());
    Err(match off {
        Err(error) => Error::api(context, error),
        Ok(()) => {
            Error::new(ErrorKind::OutcomeUnknown, format!("{context}: its task succeeded, and it runs"))
        }
    })
}

/// Starts the machine, and looks until it runs.
///
/// # Errors
/// When it does not, with the question that the server wants answered first, if there is one.
pub(crate) async fn switch_on(vm: &ProtectedVm) -> Result<(), Error> {
    let context = || format!("powering {} on again", vm.name());
    let on = async { vm.vm().power_on_vm_task(None).await?.wait().await };
    let on = on.await;
    let patience = if on.is_ok() { POWER_ON_PATIENCE } else { Duration::ZERO };
    if reaches(vm, &VirtualMachinePowerState::PoweredOn, patience).await? {
        return Ok(());
    }
    let runtime = vm.vm().require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
    let question =
        runtime.question.map(|question| format!(": it asks {:?}", question.text)).unwrap_or_default();
    let error = Error::new(ErrorKind::OutcomeUnknown, format!("{}: it does not run{question}", context()));
    Err(match on {
        Err(cause) => error.because(cause),
        Ok(()) => error,
    })
}

async fn reaches(
    vm: &ProtectedVm,
    wanted: &VirtualMachinePowerState,
    patience: Duration,
) -> Result<bool, Error> {
    let give_up = tokio::time::Instant::now() + patience;
    loop {
        if state(vm).await? == *wanted {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= give_up {
            return Ok(false);
        }
        tokio::time::sleep(PERIOD.min(patience)).await;
    }
}

async fn state(vm: &ProtectedVm) -> Result<VirtualMachinePowerState, Error> {
    let runtime = vm.vm().require(VirtualMachine::RUNTIME).await;
    Ok(runtime.map_err(|e| Error::api(format!("reading the state of {}", vm.name()), e))?.power_state)
}
