//! Power operations.

use std::sync::{Arc, PoisonError};

use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Fault, Outcome, fault, not_found, task_in_progress};
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
    let id = call.this.value().to_owned();
    shared.read(|world| {
        let machine = world.machine(&id).ok_or_else(|| not_found(&call.this))?;
        match (&machine.busy, machine.power) {
            (Some(task), _) => Err(task_in_progress(task)),
            (None, Power::Off) => Err(wrong_state(Power::On, Power::Off)),
            (None, Power::On) => Ok(()),
        }
    })?;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(shared.settings.task_duration).await;
        let done = tokio::task::spawn_blocking(move || power_off(&shared, &id, true)).await;
        if let Ok(Err(fault)) = done {
            tracing::debug!(message = fault.message, "the guest was off before its shutdown ended");
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
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    chain::apply_tracking(shared, &machine.settings)?;
    shared.update(|world| {
        let now = world.clock.now();
        if let Some(machine) = world.machine_mut(id) {
            machine.power = Power::On;
            machine.booted = Some(now);
        }
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
    shared.update(|world| {
        if let Some(machine) = world.machine_mut(id) {
            machine.power = Power::Off;
            machine.booted = None;
            machine.clean_power_off = clean;
        }
    });
    Ok(())
}

/// A machine that is in another state than the one it should be in.
pub(crate) fn wrong_state(requested: Power, existing: Power) -> Fault {
    let value = t::InvalidPowerState {
        requested_state: Some(power_state(requested)),
        existing_state: power_state(existing),
        ..Default::default()
    };
    let named = if existing == Power::On { "Powered on" } else { "Powered off" };
    fault(value, format!("The attempted operation cannot be performed in the current state ({named})."))
}
