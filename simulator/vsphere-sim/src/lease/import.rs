//! Leases to bring a machine in with its disks.

use std::sync::Arc;

use vim_api::dynamic::Poly;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use super::{LeaseFile, Way, Wish, device_path, disks_of, start, target};
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::inventory::Node;
use crate::machine::Machine;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `ResourcePool.ImportVApp`. The machine is made at once with empty disks; the lease holds it until it is complete.
pub(crate) async fn import(shared: &Arc<Shared>, cookie: &str, user: &str, call: &Call) -> Outcome<Answer> {
    let spec: Poly<t::ImportSpec> = call.required("spec")?;
    let Some(spec) = spec.downcast_ref::<t::VirtualMachineImportSpec>().cloned() else {
        let message = format!("A {} cannot be imported here, only a virtual machine.", spec.type_name());
        return Err(fault(t::NotSupported::default(), message));
    };
    let folder: Option<MoRef<mo::Folder>> = call.optional("folder")?;
    let host: Option<MoRef<mo::HostSystem>> = call.optional("host")?;
    shared.read(|world| {
        for object in [folder.as_ref().map(MoRef::cast), host.as_ref().map(MoRef::cast)].into_iter().flatten()
        {
            let object: MoRef = object;
            world.node(&object, None).ok_or_else(|| not_found(&object))?;
        }
        Ok(())
    })?;
    let worker = Arc::clone(shared);
    let place = target::Place { pool: call.this.clone(), folder, host };
    let config_spec = spec.config_spec.clone();
    let made = tokio::task::spawn_blocking(move || target::create(&worker, &config_spec, &place)).await;
    let died = |error| fault(t::SystemError::default(), format!("The machine could not be made: {error}"));
    let (id, begun) = made.map_err(died)??;
    let mut import = Some(begun);
    let started = start(shared, cookie, user, call, |world| {
        let gone: MoRef<mo::VirtualMachine> = MoRef::new(id.as_str());
        let machine = world.machine(&id).ok_or_else(|| not_found(&gone.cast()))?;
        Ok(Wish {
            machine: id.clone(),
            snapshot: None,
            way: Way::In,
            files: files(world, machine, &spec.config_spec)?,
            import: import.take(),
            description_id: "ResourcePool.ImportVAppLRO",
        })
    });
    if let Some(begun) = import {
        shared.update(|world| world.remove_machine(&id));
        let worker = Arc::clone(shared);
        let removed = tokio::task::spawn_blocking(move || begun.give_up(&worker)).await;
        removed.map_err(died)?;
    }
    started
}

/// The disks of the new machine, each with the key that the specification knows it by; behind them the other files that the
/// specification wants to be sent.
fn files(world: &World, machine: &Machine, spec: &t::VirtualMachineConfigSpec) -> Outcome<Vec<LeaseFile>> {
    let name = spec.name.as_deref().unwrap_or_default();
    let config = world.config_of(Node::Machine(machine))?;
    let mut files = Vec::new();
    for device in disks_of(&config.hardware.device) {
        let path = super::text(device.disk, "backing.fileName").unwrap_or_default();
        let key = format!("/{}/{}", machine.id, device.path);
        let file =
            world.lease_file(key, format!("disk-{}.vmdk", files.len()), &path, Some(device.capacity))?;
        files.push(file);
    }
    let wanted = disk_paths(spec);
    if wanted.len() != files.len() {
        return Err(invalid_argument(
            "spec.configSpec.deviceChange",
            "The disks do not fit the machine that was made.",
        ));
    }
    // The machine may have got them in another order, or on a controller of another kind.
    let by_path = |file: &LeaseFile| {
        let own = file.key.rsplit('/').next().unwrap_or_default();
        wanted.iter().position(|path| path == own)
    };
    let known: Option<Vec<usize>> = files.iter().map(by_path).collect();
    let order = known.unwrap_or_else(|| (0..files.len()).collect());
    for (file, at) in files.iter_mut().zip(order) {
        file.import_key = format!("/{name}/{}", wanted[at]);
    }
    if spec.extra_config.iter().any(|option| option.key == "nvram") {
        let path = nvram_beside(machine);
        let key = format!("/{}/nvram", machine.id);
        let mut file = world.lease_file(key, format!("disk-{}.nvram", files.len()), &path, None)?;
        file.import_key = format!("/{name}/nvram");
        files.push(file);
    }
    Ok(files)
}

/// What the specification calls its disks, in its order.
fn disk_paths(spec: &t::VirtualMachineConfigSpec) -> Vec<String> {
    let devices = || spec.device_change.iter().map(|change| &change.device);
    let disks = devices().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    disks.map(|disk| device_path(devices(), &disk.base)).collect()
}

fn nvram_beside(machine: &Machine) -> String {
    let vmx = machine.config.files.vm_path_name.clone().unwrap_or_default();
    format!("{}.nvram", vmx.strip_suffix(".vmx").unwrap_or(&vmx))
}
