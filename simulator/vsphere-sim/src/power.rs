//! Power operations.

use std::sync::{Arc, PoisonError};

use vim_api::dynamic::Element;
use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Fault, Outcome, fault, not_found, task_in_progress};
use crate::hardware;
use crate::inventory::power_state;
use crate::machine::Power;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `PowerOnVM_Task`.
pub(crate) fn on(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        power_on(shared, &id).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.powerOn", work)
}

/// `PowerOffVM_Task`.
pub(crate) fn off(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        power_off(shared, &id, false).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.powerOff", work)
}

/// `ShutdownGuest`: answered at once, the machine goes off a little later.
pub(crate) fn shutdown_guest(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    later(shared, call, |shared, id| power_off(shared, id, true))
}

/// What the guest of a machine that is on does by itself, after it was asked to.
fn later(shared: &Arc<Shared>, call: &Call, act: fn(&Shared, &str) -> Outcome<()>) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        match (&machine.busy, machine.power) {
            (Some(task), _) => Err(task_in_progress(task)),
            (None, Power::On) => Ok(()),
            (None, other) => Err(wrong_state(Power::On, other)),
        }
    })?;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        crate::clock::sleep(&shared, shared.settings.task_duration).await;
        let done = tokio::task::spawn_blocking(move || act(&shared, &id)).await;
        if let Ok(Err(fault)) = done {
            tracing::debug!(message = fault.message, "the guest was off before it had ended");
        }
    });
    Ok(Answer::void())
}

/// Powers a machine on. Pending change tracking takes effect.
pub(crate) fn power_on(shared: &Shared, id: &str) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    if machine.power == Power::On {
        return Err(wrong_state(Power::Off, Power::On));
    }
    if machine.config.template {
        return Err(fault(t::NotSupported::default(), "A template cannot be powered on."));
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    chain::apply_tracking(shared, &machine)?;
    crate::lifecycle::write_nvram(shared, id)?;
    shared.update(|world| {
        let now = world.clock.now();
        if let Some(machine) = world.machine_mut(id) {
            if machine.power == Power::Off {
                machine.booted = Some(now);
            }
            machine.power = Power::On;
            machine.suspended = None;
            hardware::connect(machine.config_mut(), true);
        }
        world.post_of_machine(id, t::VmPoweredOnEvent::default(), "is powered on");
        tracing::info!(machine = id, "powered on");
    });
    Ok(())
}

fn power_off(shared: &Shared, id: &str, clean: bool) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    if machine.power == Power::Off {
        return Err(wrong_state(Power::On, Power::Off));
    }
    // Waits until the guest has ended the write it is at.
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    if !clean && machine.power == Power::On && shared.settings.tracking.renewed_by_power_loss {
        chain::renew_tracking(shared, &machine)?;
    }
    shared.update(|world| {
        if let Some(machine) = world.machine_mut(id) {
            machine.power = Power::Off;
            machine.booted = None;
            machine.suspended = None;
            machine.clean_power_off = clean;
            hardware::connect(machine.config_mut(), false);
        }
        world.post_of_machine(id, t::VmPoweredOffEvent::default(), "is powered off");
        tracing::info!(machine = id, clean, "powered off");
    });
    Ok(())
}

/// `StandbyGuest`: answered at once, the guest lies down a little later, which suspends the machine.
pub(crate) fn standby_guest(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    later(shared, call, suspend_machine)
}

/// `SuspendVM_Task`.
pub(crate) fn suspend(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        suspend_machine(shared, &id).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.suspend", work)
}

fn suspend_machine(shared: &Shared, id: &str) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    if machine.power != Power::On {
        return Err(wrong_state(Power::On, machine.power));
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    shared.update(|world| {
        let now = world.clock.now();
        if let Some(machine) = world.machine_mut(id) {
            machine.power = Power::Suspended;
            machine.suspended = Some(now);
            hardware::connect(machine.config_mut(), false);
        }
        world.post_of_machine(id, t::VmSuspendedEvent::default(), "is suspended");
    });
    Ok(())
}

/// `ResetVM_Task`: the machine stays on, and its guest begins anew.
pub(crate) fn reset(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        restart(shared, &id).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.reset", work)
}

/// `RebootGuest`: answered at once.
pub(crate) fn reboot_guest(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    restart(shared, call.this.value())?;
    Ok(Answer::void())
}

fn restart(shared: &Shared, id: &str) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    if machine.power != Power::On {
        return Err(wrong_state(Power::On, machine.power));
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    shared.update(|world| {
        let now = world.clock.now();
        if let Some(machine) = world.machine_mut(id) {
            machine.booted = Some(now);
        }
    });
    Ok(())
}

/// `Datacenter.PowerOnMultiVM_Task`: each machine gets a task of its own, and those that cannot start are told at once.
pub(crate) fn on_many(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let machines: Vec<vim_api::MoRef<vim_api::mo::VirtualMachine>> = call.list("vm")?;
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let mut result = t::ClusterPowerOnVmResult::default();
        for (at, vm) in machines.iter().enumerate() {
            match crate::population::materialize(shared, vm.value())
                .and_then(|()| power_on(shared, vm.value()))
            {
                Ok(()) => {
                    result.attempted.push(t::ClusterAttemptedVmInfo { vm: vm.clone(), ..Default::default() });
                }
                Err(fault) => result.not_attempted.push(t::ClusterNotAttemptedVmInfo {
                    vm: vm.clone(),
                    fault: crate::fault::localized(&fault),
                    ..Default::default()
                }),
            }
            progress.step(at as u64 + 1, machines.len() as u64)?;
        }
        Ok(Some(result.to_value()))
    });
    Ok(tasks::start_apart(shared, call, user, "Datacenter.powerOnVm", work))
}

/// The fault where a machine is in another power state than it has to be.
pub(crate) fn wrong_state(requested: Power, existing: Power) -> Fault {
    let value = t::InvalidPowerState {
        requested_state: Some(power_state(requested)),
        existing_state: power_state(existing),
        ..Default::default()
    };
    let named = match existing {
        Power::On => "Powered on",
        Power::Off => "Powered off",
        Power::Suspended => "Suspended",
    };
    fault(value, format!("The attempted operation cannot be performed in the current state ({named})."))
}
