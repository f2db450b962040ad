//! Giving a disk to a machine, and taking it back: the machine is reconfigured, as by `ReconfigVM_Task`.

use std::sync::Arc;

use vim_api::MoRef;
use vim_api::dynamic::Poly;
use vim_api::types as t;

use super::hold::{Held, HeldMachine};
use super::making::name_of_datastore;
use super::{device_of, invalid_state, missing};
use crate::configure;
use crate::fault::{Fault, Outcome, fault, not_found};
use crate::hardware;
use crate::machine::Machine;
use crate::population;
use crate::tasks::{self, Progress, Work};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `VirtualMachine.AttachDisk_Task`.
pub(crate) fn attach(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk: t::ID = call.required("diskId")?;
    let datastore: MoRef = call.required("datastore")?;
    let (controller, unit) = (call.optional("controllerKey")?, call.optional("unitNumber")?);
    let store = shared.read(|world| name_of_datastore(world, &datastore))?;
    let vm = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        attach_to(shared, &vm, &disk.id, Some(&store), (controller, unit), progress).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.attachDisk", work)
}

/// `VslmAttachDisk_Task`.
pub(crate) fn attach_by_service(call: &Call) -> Outcome<Work> {
    let disk: t::ID = call.required("id")?;
    let vm: MoRef = call.required("vm")?;
    let at = (call.optional("controllerKey")?, call.optional("unitNumber")?);
    Ok(Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        population::materialize(shared, vm.value())?;
        let _machine = HeldMachine::take(shared, vm.value(), progress.task())?;
        attach_to(shared, vm.value(), &disk.id, None, at, progress).map(|()| None)
    }))
}

/// Gives a disk to a machine that is held for it.
pub(super) fn attach_to(
    shared: &Shared,
    vm: &str,
    disk: &str,
    datastore: Option<&str>,
    (controller, unit): (Option<i32>, Option<i32>),
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let held = Held::take_alone(shared, disk, progress.task())?;
    held.check_detached()?;
    if datastore.is_some_and(|datastore| datastore != held.disk.path.datastore()) {
        return Err(missing("disk on this datastore with the id", disk));
    }
    let other =
        shared.read(|world| world.kept_by(disk).find(|machine| machine.id != vm).map(Machine::plain_name));
    if let Some(other) = other {
        return Err(invalid_state(format!("A snapshot of the machine {other} has the disk.")));
    }
    let controller = shared.read(|world| {
        let machine = world.machine(vm).ok_or_else(|| gone(vm))?;
        controller_for(machine, controller, unit)
    })?;
    let backing = t::VirtualDiskFlatVer2BackingInfo {
        base: t::VirtualDeviceFileBackingInfo { file_name: held.disk.path.to_string(), ..Default::default() },
        disk_mode: "persistent".to_owned(),
        ..Default::default()
    };
    let device = t::VirtualDisk {
        base: t::VirtualDevice {
            key: -1,
            controller_key: Some(controller),
            unit_number: unit,
            backing: Some(Poly::new(backing)),
            ..Default::default()
        },
        ..Default::default()
    };
    change(shared, vm, t::VirtualDeviceConfigSpecOperation::Add, hardware::device(device), progress)?;
    tracing::info!(disk, machine = vm, "first-class disk attached");
    Ok(())
}

/// `VirtualMachine.DetachDisk_Task`.
pub(crate) fn detach(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk: t::ID = call.required("diskId")?;
    let vm = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        let held = Held::take_alone(shared, &disk.id, progress.task())?;
        let (device, kept) = shared.read(|world| {
            let machine = world.machine(&vm).ok_or_else(|| gone(&vm))?;
            let key = device_of(&machine.config, &disk.id).ok_or_else(|| missing("disk", &disk.id))?;
            let device = machine.config.hardware.device.iter().find(|device| device.key == key).cloned();
            let kept = machine.snapshots.iter().any(|kept| device_of(&kept.config, &disk.id).is_some());
            Ok((device.ok_or_else(|| missing("disk", &disk.id))?, kept))
        })?;
        if kept {
            return Err(invalid_state("A snapshot of the machine has the disk."));
        }
        change(shared, &vm, t::VirtualDeviceConfigSpecOperation::Remove, device, progress)?;
        tracing::info!(disk = held.disk.id, machine = vm, "first-class disk detached");
        Ok(None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.detachDisk", work)
}

fn change(
    shared: &Shared,
    vm: &str,
    operation: t::VirtualDeviceConfigSpecOperation,
    device: Poly<t::VirtualDevice>,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let change = t::VirtualDeviceConfigSpec { operation: Some(operation), device, ..Default::default() };
    let spec = t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
    configure::reconfigure(shared, vm, &spec, progress)
}

/// The controller that a disk goes to: the one that is asked for, or the first SCSI controller with the unit free.
fn controller_for(machine: &Machine, wish: Option<i32>, unit: Option<i32>) -> Outcome<i32> {
    let devices = &machine.config.hardware.device;
    if let Some(wish) = wish {
        let found = devices.iter().find(|device| device.key == wish);
        let is_controller = found.is_some_and(|device| device.is::<t::VirtualController>());
        let base = t::InvalidDeviceSpec::default();
        let unknown = t::InvalidController { base, controller_key: wish };
        return match is_controller {
            true => Ok(wish),
            false => Err(fault(unknown, format!("The machine has no controller {wish}."))),
        };
    }
    let has_room = |controller: &&Poly<t::VirtualDevice>| {
        let (count, own) = hardware::units(controller);
        let taken = |unit: i32| {
            Some(unit) == own
                || devices.iter().any(|device| {
                    device.controller_key == Some(controller.key) && device.unit_number == Some(unit)
                })
        };
        unit.map_or_else(|| (0..count).any(|unit| !taken(unit)), |unit| unit < count && !taken(unit))
    };
    let mut controllers = devices.iter().filter(|device| device.is::<t::VirtualSCSIController>());
    let none = || {
        let base = t::InvalidDeviceSpec::default();
        fault(t::MissingController { base }, "The machine has no SCSI controller with room for the disk.")
    };
    controllers.find(has_room).map(|device| device.key).ok_or_else(none)
}

fn gone(vm: &str) -> Fault {
    not_found(&MoRef::<vim_api::mo::VirtualMachine>::new(vm).cast())
}
