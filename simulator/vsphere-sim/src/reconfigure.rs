//! `ReconfigVM_Task`: the settings that can be changed here.

use std::sync::Arc;

use vim_api::dynamic::{Value, get_path};
use vim_api::types as t;

use crate::chain;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::machine::Power;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// The fields of the specification that are understood. Any other is refused, not ignored.
const KNOWN: [&str; 6] =
    ["changeVersion", "name", "annotation", "numCPUs", "memoryMB", "changeTrackingEnabled"];

/// `ReconfigVM_Task`. Change tracking is configured at once and takes effect when the machine is stunned next.
pub(crate) fn start(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let spec: t::VirtualMachineConfigSpec = call.required("spec")?;
    check(&spec)?;
    let id = call.this.value().to_owned();
    let this = call.this.clone();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 2)?;
        shared.update(|world| {
            let machine = world.machine_mut(&id).ok_or_else(|| not_found(&this))?;
            if machine.power == Power::On && (spec.num_cpus.is_some() || spec.memory_mb.is_some()) {
                let message = "CPUs and memory can be changed while the machine is off.";
                return Err(fault(
                    t::InvalidPowerState {
                        existing_state: t::VirtualMachinePowerState::PoweredOn,
                        ..Default::default()
                    },
                    message,
                ));
            }
            let (event, old_name) = (spec.clone(), machine.settings.name.clone());
            let settings = &mut machine.settings;
            if let Some(name) = spec.name {
                settings.name = name;
            }
            if let Some(annotation) = spec.annotation {
                settings.annotation = annotation;
            }
            if let Some(tracking) = spec.change_tracking_enabled {
                settings.change_tracking = tracking;
            }
            if let Some(cpus) = spec.num_cpus {
                settings.cpus = cpus;
            }
            if let Some(memory) = spec.memory_mb.and_then(|memory| i32::try_from(memory).ok()) {
                settings.memory_mb = memory;
            }
            machine.generation += 1;
            world.post_reconfigured(&id, &old_name, event);
            Ok(())
        })?;
        chain::write_text_files(shared, &id)?;
        Ok(None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.reconfigure", work)
}

fn check(spec: &t::VirtualMachineConfigSpec) -> Outcome<()> {
    if spec.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 80) {
        return Err(invalid_argument("spec.name", "A name has 1 to 80 characters."));
    }
    if spec.num_cpus.is_some_and(|cpus| !(1..=768).contains(&cpus)) {
        return Err(invalid_argument("spec.numCPUs", "A machine has 1 to 768 CPUs."));
    }
    if spec.memory_mb.is_some_and(|memory| !(4..=24 << 20).contains(&memory)) {
        return Err(invalid_argument("spec.memoryMB", "A machine has 4 MB to 24 TB of memory."));
    }
    let info = <t::VirtualMachineConfigSpec as vim_api::dynamic::DataObject>::INFO;
    for field in info.fields.iter().filter(|field| !KNOWN.contains(&field.name)) {
        match get_path(spec, field.name) {
            Ok(None) => {}
            Ok(Some(Value::Array(array))) if array.items().is_empty() => {}
            _ => {
                let message = format!("This simulator cannot change \"{}\".", field.name);
                return Err(fault(t::NotSupported::default(), message));
            }
        }
    }
    Ok(())
}
